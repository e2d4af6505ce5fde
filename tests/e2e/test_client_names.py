"""Which hosts clients are: looked up while they speak, noted in Received and the log, required where that is said."""
import email
import socket

import pytest

from support.client import Session
from support.net import Address
from support.waiting import PATIENCE, wait_for

PORT = 2530
CLIENTS = {"good": "192.0.2.1", "liar": "192.0.2.2", "nameless": "192.0.2.3", "slow": "192.0.2.4"}


@pytest.fixture
def gateway(server, zone, closing):
    """Not started: a listener where one address speaks for others, by PROXY; what the DNS says of them."""
    inside = closing(Address()).ip
    server.config["listen"].append({"address": f"{server.ip}:{PORT}", "service": "mx", "proxy_from": [inside]})
    zone.ptr(CLIENTS["good"], "wrong.client.example", "good.client.example")
    zone.a("good.client.example", "192.0.2.77", CLIENTS["good"])
    zone.ptr(CLIENTS["liar"], "good.client.example")
    zone.silent.add("4.2.0.192.in-addr.arpa")

    def connect(name):
        sock = socket.create_connection((server.ip, PORT), PATIENCE, source_address=(inside, 0))
        sock.sendall(f"PROXY TCP4 {CLIENTS[name]} {server.ip} 4711 {PORT}\r\n".encode())
        session = Session(sock)
        assert session.greeting.startswith("220 ")
        session.expect("EHLO client.example", "250")
        return session
    return connect


def answered(zone, name, kind):
    wait_for(f"{kind} of {name} is asked for", lambda: (name, kind) in zone.asked)


def send(session, to="bob"):
    session.expect("MAIL FROM:<a@client.example>", "250")
    session.expect(f"RCPT TO:<{to}@example.org>", "250")
    session.expect("DATA", "354")
    session.send(b"Subject: x\r\n\r\nhello\r\n")
    return session.expect(".", "250")


def test_a_name_that_leads_back_is_noted(server, zone, gateway):
    server.start()
    first = gateway("good")
    answered(zone, "good.client.example", "A")
    wait_for("the name is known", lambda: send(gateway("good"), "alice") and
             any(f.get("name") for f in server.events("message.accepted")))
    send(first)
    line = server.wait_log("message.accepted", client=CLIENTS["good"], name="good.client.example")
    assert line["name"] == "good.client.example"
    (path, *_) = server.wait_mail("bob")
    received = email.message_from_bytes(path.read_bytes()).get_all("Received")[0]
    assert f"from client.example (good.client.example [{CLIENTS['good']}])" in " ".join(received.split())


@pytest.mark.parametrize("name", ["liar", "nameless", "slow"])
def test_any_other_is_no_reason_to_refuse_or_to_wait(server, gateway, name):
    server.start()
    send(gateway(name))
    line = server.wait_log("message.accepted", client=CLIENTS[name])
    assert "name" not in line
    (path,) = server.wait_mail("bob")
    received = email.message_from_bytes(path.read_bytes()).get_all("Received")[0]
    assert f"from client.example ([{CLIENTS[name]}])" in " ".join(received.split())


def test_nothing_is_asked_where_that_is_said(server, zone, gateway):
    server.configure(policy={"reverse": "off"}).start()
    send(gateway("good"))
    assert not [one for one in zone.asked if one[1] == "PTR"]


def rcpt(session):
    session.expect("MAIL FROM:<a@client.example>", "250")
    return session.say("RCPT TO:<bob@example.org>")[:10].rstrip()


def test_a_name_may_be_required(server, gateway):
    server.configure(policy={"reverse": "require"}).start()
    assert rcpt(gateway("slow")) == "450 4.7.25"
    for name, code in (("good", "250 2.1.5"), ("liar", "550 5.7.25"), ("nameless", "550 5.7.25")):
        wait_for(f"{name} is known", lambda name=name, code=code: rcpt(gateway(name)) == code)
    assert server.wait_log("message.refused", client=CLIENTS["liar"])["reply"]
