"""What explain foretells happens, and when it says so, by the log's own time."""
from datetime import datetime

import pytest

from support.net import Address
from support.waiting import wait_for

# In seconds: one is promised, and a busy machine takes others.
LATE = 3.0
SAME = 0.05  # two clocks that are read one after the other


@pytest.fixture
def nowhere():
    """An address where nobody listens."""
    address = Address()
    yield address.ip
    address.close()


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def foretold(server, ident, state):
    """When something happens next to all of a message, by explain of it and of its queue."""
    def told():
        one, = server.ctl("explain", ident).rows[0]["explanations"]
        return one if one["state"] == state else None
    one = wait_for(f"it is {state}", told)
    of_queue = server.ctl("explain", one["queue"]).rows[0]
    at = moment(one["next"])
    assert of_queue["state"] == state and abs(moment(of_queue["next"]) - at) < SAME, of_queue
    return at


def expect(foretold_at, event):
    happened = moment(event["time"])
    assert -SAME <= happened - foretold_at <= LATE, f"foretold for {foretold_at}, at {happened} came {event}"


@pytest.mark.parametrize("hop", [False, True], ids=["a queue", "a next hop"])
def test_a_freeze_that_ends_by_itself(server, sink, hop):
    server.route("*", sink.via).start()
    what = ["--hop", sink.via.removeprefix("smtp://")] if hop else ["remote.example", "--future"]
    server.ctl("freeze", *what, "--reason", "a pause", "--until", "8s")
    ident = server.send("x@remote.example")
    at = foretold(server, ident, "frozen")
    expect(at, server.wait_log("hop.unfrozen" if hop else "queue.unfrozen"))
    expect(at, server.wait_log("delivery.ok", id=ident))


def test_a_retry(server, sink):
    sink.refuse["x@remote.example"] = "450 4.2.0 not now"
    server.configure(retry={"after": ["5s"]}).route("*", sink.via).start()
    ident = server.send("x@remote.example")
    server.wait_log("delivery.deferred", id=ident)
    at = foretold(server, ident, "retry")
    expect(at, server.wait_log("delivery.deferred", count=2, id=ident))
    at = foretold(server, ident, "retry")  # once more, and it is another time
    sink.refuse.clear()
    expect(at, server.wait_log("delivery.ok", id=ident))


def test_a_dead_next_hop(server, nowhere):
    server.configure(retry={"after": ["5s"]}).route("*", f"smtp://{nowhere}:2599").start()
    ident = server.send("x@remote.example")
    server.wait_log("queue.deferred")
    at = foretold(server, ident, "retry")
    assert abs(moment(server.ctl("explain", f"{nowhere}:2599").rows[0]["next"]) - at) < SAME
    expect(at, server.wait_log("queue.deferred", count=2))


def test_a_freeze_over_a_retry(server, sink):
    """Of the two the later one counts."""
    sink.refuse["x@remote.example"] = "450 4.2.0 not now"
    server.configure(retry={"after": ["2s"]}).route("*", sink.via).start()
    ident = server.send("x@remote.example")
    server.wait_log("delivery.deferred", id=ident)
    server.ctl("freeze", "remote.example", "--reason", "a pause", "--until", "8s")
    at = foretold(server, ident, "frozen")
    tries = len(server.events("delivery.deferred", id=ident))
    expect(at, server.wait_log("delivery.deferred", count=tries + 1, id=ident))


def test_a_way_that_is_frozen_while_another_is_left(server, make_sink):
    """What is due later goes by the other one then, and is not called frozen meanwhile."""
    first, second = make_sink(), make_sink()
    first.refuse["x@remote.example"] = "450 4.2.0 not now"
    server.configure(retry={"after": ["8s"]}).route("*", first.via, second.via).start()
    server.ctl("hold", "--to", "y@", "--also-new", "--reason", "so that its queue stays where it stands")
    ident = server.send("x@remote.example")
    server.send("y@remote.example")
    server.wait_log("delivery.deferred", id=ident)
    server.ctl("freeze", "--hop", first.via.removeprefix("smtp://"), "--reason", "its disk is full")
    at = foretold(server, ident, "retry")
    assert [row["id"] for row in server.messages("--state", "retry")] == [ident]
    assert server.queues()["remote.example"]["state"] == "retry" and server.status()["queue"]["frozen"] == 0
    expect(at, server.wait_log("delivery.ok", id=ident))
    assert second.wait()[0].recipients == ["x@remote.example"]
