"""Chains that keep their first client: what the next hop hears of it by XFORWARD, XCLIENT or a PROXY header, and what
becomes of mail where it does not want to hear."""
import email
import re
import socket
import sys
import threading

import pytest

from support.client import Session
from support.server import MX_PORT, RELAY_PORT, REPOSITORY
from support.sink import SINK_PORT
from support.waiting import PATIENCE, wait_for
from test_notices import start_postfix

PORT = 2530  # where a neighbour may speak of its clients
NEIGHBOUR = "127.0.0.1"  # the address that a relay connects from
ACCEPTING = {"xforward": "xforward_from", "xclient": "xclient_from", "proxy": "proxy_from"}
FAR_AWAY = "198.51.100.7"


def via(server):
    return f"smtp://{server.ip}:{PORT}"


def listen(server, way, service="mx", **more):
    """A listener that believes its neighbour."""
    server.config["listen"].append({"address": f"{server.ip}:{PORT}", "service": service,
                                    ACCEPTING[way]: [NEIGHBOUR], **more})
    return server


def far_end(make_server, way, name="far"):
    """Not started: it has the mailboxes of far.example, and believes its neighbour."""
    server = make_server(name)
    server.configure(hostname=f"{name}.example", postmaster="carol@far.example", domains={"default": "far.example"},
                     domain=[{"name": ["far.example"], "deliver": "mailbox", "recipients": "file:users"}])
    return listen(server, way)


def connect(server, client, port=RELAY_PORT):
    return socket.create_connection((server.ip, port), PATIENCE, source_address=(client, 0))


def mail(server, client, recipient="bob@far.example", sender="alice@example.org", session=None):
    """One message of this client; its id."""
    session = session or Session(connect(server, client))
    session.expect("EHLO first.example", "250")
    session.expect(f"MAIL FROM:<{sender}>", "250")
    session.expect(f"RCPT TO:<{recipient}>", "250")
    session.expect("DATA", "354")
    session.send(f"Subject: from {client}\r\n\r\nhello\r\n".encode())
    return session.expect(".", "250").split()[-1]


def received(path):
    """The newest Received field of a file in a mailbox."""
    return " ".join(email.message_from_bytes(path.read_bytes()).get_all("Received")[0].split())


def told(client, ident):
    """As the log has what XFORWARD said."""
    return f"unknown [{client}] helo=first.example proto=ESMTP ident={ident} source=REMOTE"


# --- Two hosts --------------------------------------------------------------------------------------

def test_xforward_tells_the_far_end_for_its_log(make_server, insider):
    far = far_end(make_server, "xforward").start()
    near = make_server("near").route("far.example", via(far), pass_client="xforward").start()
    ident = mail(near, insider)
    accepted = far.wait_log("message.accepted")
    assert (accepted["client"], accepted["forwarded"]) == (NEIGHBOUR, told(insider, ident))
    (path,) = far.wait_mail("bob", domain="far.example")
    assert f"(forwarded {told(insider, ident)})" in received(path)
    assert not near.events("relay.pass_client")


@pytest.mark.parametrize("way", ("xclient", "proxy"))
def test_the_far_end_takes_the_session_for_the_clients(make_server, insider, way):
    far = far_end(make_server, way).start()
    near = make_server("near").route("far.example", via(far), pass_client=way).start()
    mail(near, insider)
    accepted = far.wait_log("message.accepted")
    assert (accepted["client"], accepted["peer"]) == (insider, NEIGHBOUR)
    (path,) = far.wait_mail("bob", domain="far.example")
    assert f"from first.example ([{insider}])" in received(path)


@pytest.mark.parametrize("way", ("xclient", "proxy"))
def test_each_message_is_its_own_clients(make_server, insider, stranger, way):
    far = far_end(make_server, way).start()
    near = make_server("near").route("far.example", via(far), pass_client=way, connections=5).start()

    def send(client):
        session = Session(connect(near, client))
        for _ in range(15):
            mail(near, client, session=session)
    threads = [threading.Thread(target=send, args=(client,)) for client in (insider, stranger)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for path in far.wait_mail("bob", 30, domain="far.example"):
        client = re.search(r"^Subject: from (\S+)", path.read_text(), re.MULTILINE)[1]
        assert f"([{client}])" in received(path)
    near.wait_empty()
    assert len(far.mailbox("bob", "far.example")) == 30


@pytest.mark.parametrize("way", ("xclient", "proxy"))
def test_the_client_has_its_own_rights_there(make_server, insider, stranger, way):
    """The far end would relay for its neighbour, and for the insider."""
    far = far_end(make_server, way)
    far.config["listen"].pop()
    listen(far, way, relay_from=[NEIGHBOUR, insider]).route("*", "discard").start()
    near = make_server("near").route("*", via(far), pass_client=way).start()
    mail(near, insider, "x@elsewhere.example")
    near.wait_log("delivery.ok", to="x@elsewhere.example")
    mail(near, stranger, "y@elsewhere.example")
    refused = near.wait_log("delivery.failed", to="y@elsewhere.example")
    assert "relaying denied" in refused["reply"]


@pytest.mark.parametrize("way", ACCEPTING)
def test_notices_of_our_own_come_from_us(make_server, insider, way):
    far = far_end(make_server, way).start()
    near = make_server("near").route("far.example", via(far), pass_client=way).route("*", "refuse").start()
    mail(near, insider, "x@refused.example", sender="bob@far.example")
    accepted = far.wait_log("message.accepted")
    assert accepted["client"] == NEIGHBOUR and "peer" not in accepted
    if way == "xforward":
        assert accepted["forwarded"].startswith("unknown [unknown] ident=")
        assert accepted["forwarded"].endswith(" source=LOCAL")
    (path,) = far.wait_mail("bob", domain="far.example")
    assert "from mx.example.org" in received(path)


@pytest.mark.parametrize("way", ("xclient", "proxy"))
def test_recipients_are_asked_for_in_our_own_name(make_server, stranger, way):
    """The far end takes nothing of the stranger's."""
    far = far_end(make_server, way).configure(policy={"clients": [f"!{stranger}"]}).start()
    near = make_server("near")
    near.configure(domain=[*near.config["domain"], {"name": ["far.example"], "deliver": via(far),
                                                    "recipients": "ask", "pass_client": way}]).start()
    session = Session(connect(near, stranger, MX_PORT))
    session.expect("EHLO first.example", "250")
    session.expect("MAIL FROM:<a@client.example>", "250")
    session.expect("RCPT TO:<nobody@far.example>", "550")
    session.expect("RCPT TO:<bob@far.example>", "250")
    assert not near.events("delivery.deferred")


# --- Three hosts ------------------------------------------------------------------------------------

def test_a_chain_of_three_tells_of_the_first(make_server, insider):
    """And the one in the middle remembers it over a restart."""
    last = far_end(make_server, "xforward", "last")
    middle = listen(make_server("middle"), "xforward", "relay", relay_from=[NEIGHBOUR])
    middle.configure(hostname="middle.example").route("far.example", via(last), pass_client="xforward").start()
    first = make_server("first").route("far.example", via(middle), pass_client="xforward").start()
    mail(first, insider)
    there = middle.wait_log("message.accepted")
    assert f"[{insider}]" in there["forwarded"]
    middle.wait_log("queue.deferred", queue="far.example")
    middle.restart()
    last.start()
    accepted = last.wait_log("message.accepted")
    assert accepted["forwarded"] == told(insider, there["id"])
    (path,) = last.wait_mail("bob", domain="far.example")
    assert f"(forwarded {told(insider, there['id'])})" in received(path)


def test_every_way_hands_on_what_another_brought(make_server):
    """A client that a proxy names, then XCLIENT, then a PROXY header: it may relay where it may, and nobody else."""
    network = "198.51.100.0/24"
    last = far_end(make_server, "proxy", "last").start()
    middle = listen(make_server("middle"), "xclient", "relay", relay_from=[network])
    middle.configure(hostname="middle.example").route("far.example", via(last), pass_client="proxy").start()
    first = listen(make_server("first"), "proxy", "relay", relay_from=[network])
    first.route("far.example", via(middle), pass_client="xclient").start()
    sock = connect(first, NEIGHBOUR, PORT)
    sock.sendall(f"PROXY TCP4 {FAR_AWAY} {first.ip} 4711 {PORT}\r\n".encode())
    mail(first, FAR_AWAY, session=Session(sock))
    assert middle.wait_log("message.accepted")["client"] == FAR_AWAY
    assert last.wait_log("message.accepted")["client"] == FAR_AWAY
    (path,) = last.wait_mail("bob", domain="far.example")
    assert f"from first.example ([{FAR_AWAY}])" in received(path)


# --- Next hops that do not want to hear -------------------------------------------------------------

def test_without_xforward_the_mail_goes_and_that_is_told_once(server, sink, insider):
    server.route("*", sink.via, pass_client="xforward", connections=1).start()
    server.ctl("freeze", "far.example", "--reason", "so that they go together", "--future")
    for _ in range(3):
        mail(server, insider)
    server.ctl("unfreeze", "far.example")
    sink.wait(3)
    server.wait_empty()
    line = server.wait_log("relay.pass_client")
    assert line["error"] == "the next hop does not offer XFORWARD"
    peers = {message.peer for message in sink.messages}
    assert len(server.events("relay.pass_client")) == len(peers)


def test_without_xclient_the_mail_waits(server, sink, insider):
    server.configure(retry={"after": ["1h"]}).route("*", sink.via, pass_client="xclient").start()
    mail(server, insider)
    deferred = server.wait_log("delivery.deferred", to="bob@far.example")
    assert "the next hop does not offer XCLIENT" in deferred["reply"]
    assert not sink.messages
    assert server.status()["queue"]["messages"] == 1


def test_who_may_not_say_xclient_hears_why(make_server, insider, stranger):
    """It is not offered to him, so he does not say it; nor is anything taken by a header that nobody asked for."""
    far = far_end(make_server, "xclient")
    far.config["listen"][-1]["xclient_from"] = [stranger]
    far.start()
    near = make_server("near").configure(retry={"after": ["1h"]})
    near.route("far.example", via(far), pass_client="xclient")
    near.route("other.example", via(far), pass_client="proxy").start()
    mail(near, insider)
    assert "XCLIENT" in near.wait_log("delivery.deferred", to="bob@far.example")["reply"]
    mail(near, insider, "x@other.example")
    near.wait_log("delivery.deferred", to="x@other.example")
    assert not far.events("message.accepted")


def test_a_client_that_is_refused_stops_nobody_else(make_server, insider, stranger):
    far = far_end(make_server, "proxy").configure(policy={"clients": [f"!{stranger}"]}).start()
    near = make_server("near").configure(retry={"after": ["1h"]})
    near.route("far.example", via(far), pass_client="proxy").start()
    mail(near, stranger)
    refused = near.wait_log("delivery.deferred", to="bob@far.example")
    assert refused["reply"].startswith("554 ")
    mail(near, insider)
    near.wait_log("delivery.ok", to="bob@far.example")
    assert not near.events("queue.deferred")


def test_a_next_hop_that_is_down_is_waited_for_as_a_whole(make_server, insider):
    far = far_end(make_server, "proxy")
    near = make_server("near").route("far.example", via(far), pass_client="proxy").start()
    mail(near, insider)
    assert near.wait_log("queue.deferred", queue="far.example")["class"] == "connect"
    far.start()
    accepted = far.wait_log("message.accepted")
    assert accepted["client"] == insider
    near.wait_empty()
    assert not near.events("delivery.deferred"), "the message itself was never tried"


# --- A neighbour not written here -------------------------------------------------------------------

def believing_postfix(tmp_path, make_sink, closing, monkeypatch):
    """A whole Postfix that believes what it is told of clients, by a PROXY header on another port of its own:
    (by which way it is reached how, the file of its log, its next hop)"""
    sys.path.insert(0, str(REPOSITORY / "bench"))
    from rig import postfix as rig
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxied = "{}:{}".format(*free.getsockname())
    monkeypatch.setattr(rig, "MASTER", f"{proxied} inet n - n - - smtpd\n"
                        "  -o smtpd_upstream_proxy_protocol=haproxy\n" + rig.MASTER)
    final = make_sink()
    believed = {f"smtpd_authorized_{what}_hosts": "127.0.0.0/8" for what in ("xclient", "xforward")}
    direct = start_postfix(tmp_path, closing, (final.ip, SINK_PORT), **believed)
    hops = {"xforward": direct, "xclient": direct, "proxy": f"smtp://{proxied}"}
    return hops, tmp_path / "postfix" / "log" / "mail.log", final


@pytest.mark.root
@pytest.mark.parametrize("way", ACCEPTING)
def test_postfix_hears_of_the_client(server, make_sink, closing, tmp_path, monkeypatch, insider, way):
    hops, log, final = believing_postfix(tmp_path, make_sink, closing, monkeypatch)
    server.route("*", hops[way], pass_client=way).start()
    ident = mail(server, insider)
    server.wait_log("delivery.ok", to="bob@far.example")
    (message,) = final.wait()
    field = " ".join(email.message_from_bytes(message.content).get_all("Received")[0].split())
    noted = f"client=unknown[{insider}]"
    if way == "xforward":
        noted = f"client=unknown[127.0.0.1], orig_queue_id={ident}, orig_client=unknown[{insider}]"
    else:
        assert f"from first.example (unknown [{insider}])" in field
    wait_for("Postfix logs it", lambda: noted in log.read_text())
