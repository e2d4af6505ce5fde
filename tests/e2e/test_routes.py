"""What a route may say of its next hops: shares of the mail, and another name for our domain."""
import pytest

from support.net import Address
from support.sink import SINK_PORT
from support.waiting import wait_for

TO = "x@remote.example"


def pile_up(server, count):
    """So many messages in one queue, of which none has gone; released at once."""
    server.ctl("freeze", "remote.example", "--reason", "until all are there", "--future")
    for n in range(count):
        server.send(TO, f"Subject: {n}\r\n\r\nhi\r\n")
    server.ctl("unfreeze", "remote.example")


def subjects(*sinks):
    return sorted(message.body.split(b"\r\n")[0] for sink in sinks for message in sink.messages)


def test_neighbours_share_by_their_weights(server, make_sink):
    often, seldom = make_sink(), make_sink()
    server.route("*", f"{often.via}?weight=3", f"{seldom.via}?weight=1").start()
    pile_up(server, 40)
    server.wait_empty()
    assert (len(often.messages), len(seldom.messages)) == (30, 10)
    assert len(set(subjects(often, seldom))) == 40
    # Each message has a queue of its own: who has which is left to chance, but both have some.
    for n in range(40):
        server.send(f"x@d{n}.example")
    server.wait_empty()
    assert len(often.messages) + len(seldom.messages) == 80
    assert 10 < len(seldom.messages) < len(often.messages)


def test_the_others_take_the_mail_of_one_that_is_away(server, make_sink, closing):
    first, second, behind = closing(Address()), make_sink(), make_sink()
    server.configure(retry={"after": ["1h"]})
    server.route("*", f"smtp://{first.ip}:{SINK_PORT}?weight=3", f"{second.via}?weight=1", behind.via).start()
    pile_up(server, 20)
    server.wait_empty()
    assert len(second.messages) == 20 and not behind.messages
    server.ctl("freeze", "--hop", second.ip, "--reason", "its disk is full")
    pile_up(server, 5)
    server.wait_empty()
    assert len(second.messages) == 20 and len(behind.messages) == 5
    # The one that is dead is so for an hour, and shares nothing meanwhile.
    server.ctl("unfreeze", "--hop", second.ip)
    pile_up(server, 5)
    server.wait_empty()
    assert len(second.messages) == 25 and len(behind.messages) == 5


def test_one_that_comes_back_shares_again(server, make_sink, closing):
    address, other = closing(Address()), make_sink()
    server.configure(retry={"after": ["1s"]})
    server.route("*", f"smtp://{address.ip}:{SINK_PORT}?weight=1", f"{other.via}?weight=1").start()
    pile_up(server, 4)
    server.wait_empty()
    assert len(other.messages) == 4
    back = make_sink(ip=address.ip)

    def shared():
        server.send(TO)
        server.wait_empty()
        return back.messages
    wait_for("a message at who came back", shared)
    before = len(back.messages), len(other.messages)
    pile_up(server, 20)
    server.wait_empty()
    assert (len(back.messages) - before[0], len(other.messages) - before[1]) == (10, 10)


def test_explain_tells_the_share(server, closing):
    one, other = closing(Address()), closing(Address())
    server.configure(retry={"after": ["1h"]})
    server.route("*", f"smtp://{one.ip}:{SINK_PORT}?weight=3", f"smtp://{other.ip}:{SINK_PORT}?weight=1").start()
    identity = server.send(TO)
    wait_for("both are dead", lambda: len(server.events("queue.deferred")) == 2)
    text = server.ctl_text("explain", identity).out
    assert "(weight 3 of 4)" in text or "(weight 1 of 4)" in text, text
    assert server.queues()["remote.example"]["state"] == "retry"


# --- Masquerade ----------------------------------------------------------------------------------

@pytest.fixture
def masked(server, make_sink):
    """Gets all mail for partner.example, under another domain than ours."""
    sink = make_sink()
    server.route("partner.example", sink.via, masquerade="public.example")
    return sink


def test_a_masquerade_is_for_its_route_alone(server, masked, sink):
    server.route("*", sink.via).start()
    server.send(["x@partner.example", "y@other.example"], "From: alice@example.org\r\n\r\nhi\r\n")
    assert masked.wait()[0].sender == "alice@public.example"
    assert sink.wait()[0].sender == "alice@example.org"
    assert masked.messages[0].body == sink.messages[0].body  # no header is touched
    server.send("x@partner.example", sender="carol@far.example")
    assert masked.wait(2)[1].sender == "carol@far.example"
    assert not server.events("message.accepted", **{"from": "alice@public.example"})


def test_who_sent_it_hears_of_its_failure(server, masked):
    masked.refuse["gone@partner.example"] = "550 5.1.1 no such user"
    server.start()
    server.send("gone@partner.example")
    assert b"gone@partner.example" in server.wait_mail("alice")[0].read_bytes()
    server.wait_empty()


def test_the_null_sender_stays(server, masked):
    server.start()
    server.send("x@partner.example", sender="")
    assert masked.wait()[0].sender == "<>"


def test_what_comes_back_to_the_mask_arrives(server, masked):
    """The domain leads back to ours, where it is an alias of it."""
    server.configure(domains={"alias": {"public.example": "example.org"}}).start()
    server.send("x@partner.example")
    server.send(masked.wait()[0].sender, sender="")
    server.wait_mail("alice")
