"""ETRN (RFC 1985): from configured networks and accounts a queue is tried at once, whatever its retry time says."""
import smtplib

import pytest

from support.net import Address
from support.server import MX_PORT
from support.sink import SINK_PORT, Sink
from support.waiting import PATIENCE

TO = "x@inner.example"


@pytest.fixture
def inside(closing):
    return closing(Address()).ip


@pytest.fixture
def waiting(server, inside):
    """A running server with a message for a host that is down, and tries again in an hour."""
    host = Address()
    server.config["listen"][1]["etrn_from"] = [inside]
    server.route("inner.example", f"smtp://{host.ip}:{SINK_PORT}").configure(retry={"after": ["1h"]}).start()
    server.send(TO)
    server.wait_log("queue.deferred")
    yield server, host
    host.close()


def etrn(server, source, name):
    with smtplib.SMTP(server.ip, MX_PORT, "inner.example", PATIENCE, (source, 0)) as client:
        client.ehlo()
        return client.has_extn("etrn"), *client.docmd("ETRN", name)


def test_who_may_has_a_queue_tried_at_once(waiting, inside, closing):
    server, host = waiting
    sink = closing(Sink(ip=host.ip))
    offered, code, words = etrn(server, inside, "Inner.Example")
    assert offered and code == 253 and words == b"2.0.0 1 pending messages for node inner.example started"
    server.wait_log("delivery.ok", to=TO)
    assert sink.wait()[0].recipients == [TO]
    assert etrn(server, inside, "inner.example")[1] == 251


def test_nobody_else_may(waiting, closing):
    server, _ = waiting
    stranger = closing(Address()).ip
    offered, code, _ = etrn(server, stranger, "inner.example")
    assert not offered and code == 502
    assert not server.events("queue.asked")


def test_a_freeze_stands(waiting, inside, closing):
    server, host = waiting
    sink = closing(Sink(ip=host.ip))
    server.ctl("freeze", "inner.example", "--reason", "moving house")
    assert etrn(server, inside, "inner.example")[1] == 253
    server.wait_log("queue.asked")
    assert server.queues()["inner.example"]["state"] == "frozen"
    server.ctl("unfreeze", "inner.example")
    server.wait_log("delivery.ok", to=TO)
    assert len(sink.messages) == 1
