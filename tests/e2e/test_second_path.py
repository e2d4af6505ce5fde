"""Whom a next hop refuses by its policy (X.7.N) goes by the next hop of the route, in the same try."""
import pytest

from support.net import Address
from support.sink import SINK_PORT
from support.waiting import wait_for

BLOCKED = "550 5.7.1 your address is blocked"
GREYLISTED = "450 4.7.1 greylisted by policy"


@pytest.fixture
def hosts(server, make_sink):
    """The first and the second next hop of a route that promises a second path."""
    first, second = make_sink(), make_sink()
    server.configure(retry={"after": ["1h"]})
    server.route("*", first.via, second.via, second_path=True)
    return first, second


def recipient(server, identity, address):
    one, = (row for row in server.ctl("show", identity).rows[0]["recipients"] if row["address"] == address)
    return one


@pytest.mark.parametrize("refusal", [BLOCKED, GREYLISTED])
def test_who_is_refused_so_goes_by_the_second_and_nobody_else(server, hosts, refusal):
    first, second = hosts
    first.refuse["b@remote.example"] = refusal
    server.start()
    identity = server.send(["a@remote.example", "b@remote.example"])
    server.wait_empty()
    assert [message.recipients for message in first.messages] == [["a@remote.example"]]
    assert [message.recipients for message in second.messages] == [["b@remote.example"]]
    event, = server.events("delivery.second_path", id=identity)
    assert event["to"] == "b@remote.example" and event["queue"] == "remote.example"
    assert first.ip in event["remote"]
    assert event["reply"] == refusal and event["next"] == second.via
    done, = server.events("delivery.ok", to="b@remote.example")
    assert done["tries"] == "1" and second.ip in done["remote"] and refusal in done["reply"]
    row, = wait_for("the history", lambda: [row for row in server.ctl("history", identity).rows
                                            if row["to"] == "b@remote.example"])
    assert row["tries"] == 1 and second.ip in row["remote"]
    assert first.ip in row["reply"] and refusal in row["reply"]


def test_a_refusal_behind_the_dot_counts_too(server, hosts):
    first, second = hosts
    first.reply = "554 5.7.1 looks like spam"
    server.start()
    server.send(["a@remote.example", "b@remote.example"])
    server.wait_empty()
    assert not first.messages
    assert sorted(to for message in second.messages for to in message.recipients) == \
        ["a@remote.example", "b@remote.example"]


def test_another_refusal_is_final(server, hosts):
    first, second = hosts
    first.refuse["gone@remote.example"] = "550 5.1.1 no such user"
    server.start()
    server.send("gone@remote.example")
    assert b"5.1.1" in server.wait_mail("alice")[0].read_bytes()
    assert not second.messages and not server.events("delivery.second_path")


def test_the_second_refusal_is_the_result_and_is_told_once(server, hosts):
    first, second = hosts
    first.refuse["b@remote.example"] = BLOCKED
    second.refuse["b@remote.example"] = "550 5.7.1 here as well"
    server.start()
    server.send("b@remote.example")
    server.wait_empty()
    notice, = server.wait_mail("alice")
    assert b"here as well" in notice.read_bytes()
    assert len(server.events("delivery.second_path")) == len(server.events("delivery.failed")) == 1


def test_a_route_that_does_not_promise_it_has_none(server, make_sink):
    first, second = make_sink(), make_sink()
    first.refuse["b@remote.example"] = BLOCKED
    server.route("*", first.via, second.via).start()
    server.send("b@remote.example")
    server.wait_mail("alice")
    assert not second.messages


def test_a_frozen_second_host_leaves_it_deferred(server, hosts):
    first, second = hosts
    first.refuse["b@remote.example"] = BLOCKED
    server.start()
    server.ctl("freeze", "--hop", second.ip, "--reason", "its disk is full")
    identity = server.send("b@remote.example")
    event = server.wait_log("delivery.deferred", id=identity)
    assert "its disk is full" in event["reply"] and BLOCKED in event["reply"]
    assert "its disk is full" in server.ctl_text("explain", identity).out
    assert not server.events("delivery.failed")
    server.ctl("unfreeze", "--hop", second.ip)
    server.ctl("retry", identity)
    assert second.wait()[0].recipients == ["b@remote.example"]
    server.wait_empty()


def test_a_dead_second_host_leaves_it_deferred(server, make_sink, closing):
    first, address = make_sink(), closing(Address())
    first.refuse["b@remote.example"] = BLOCKED
    server.configure(retry={"after": ["1h"]})
    server.route("*", first.via, f"smtp://{address.ip}:{SINK_PORT}", second_path=True).start()
    identity = server.send("b@remote.example")
    event = server.wait_log("delivery.deferred", id=identity)
    assert BLOCKED in event["reply"] and not server.events("delivery.failed")
    assert recipient(server, identity, "b@remote.example")["tries"] == 1
