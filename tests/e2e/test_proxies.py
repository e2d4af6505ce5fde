"""Clients behind others: PROXY headers of a real haproxy and of swaks, XCLIENT of swaks, XFORWARD. The first
client is the one that counts; whoever may not speak for others is not believed."""
import contextlib
import email
import os
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from support.certificates import Authority
from support.client import Closed, Session
from support.haproxy import Haproxy
from support.server import MX_PORT, send_on
from support.waiting import PATIENCE, wait_for

PROXIED_PORT = 2530   # peers of proxy_from
IMPLICIT_PORT = 2531  # likewise, with TLS from the first byte
BODY = "Subject: x\r\n\r\nbody\r\n"
NAME = "mx.example.org"
VERSIONS = {"v1": "send-proxy", "v2": "send-proxy-v2",
            "v2-tlvs": "send-proxy-v2 proxy-v2-options crc32c,unique-id"}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxied(server, insider, *proxies, port=PROXIED_PORT, **more):
    """A listener where `proxies` speak for others, and the insider may send anywhere."""
    server.config["listen"].append({"address": f"{server.ip}:{port}", "service": "mx",
                                    "relay_from": [insider], **more,
                                    **({"proxy_from": list(proxies)} if proxies else {})})
    server.route("far.example", "discard")
    return server


def connect(ip, port, source=None):
    return socket.create_connection((ip, port), PATIENCE, source_address=(source, 0) if source else None)


def relays(session):
    """The replies to one recipient far away and to one of ours."""
    session.expect("EHLO client.example", "250")
    session.expect("MAIL FROM:<alice@example.org>", "250")
    return [session.say(f"RCPT TO:<{to}>")[:9] for to in ("x@far.example", "bob@example.org")]


def received(server, user="bob"):
    paths = server.wait_mail(user)
    fields = email.message_from_bytes(paths[-1].read_bytes()).get_all("Received")
    return " ".join(fields[0].split())


# --- PROXY --------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
def test_haproxy(server, closing, tmp_path, insider, stranger, version):
    haproxy = closing(Haproxy(tmp_path, server, {PROXIED_PORT: (PROXIED_PORT, VERSIONS[version])}))
    proxied(server, insider, haproxy.ip).start()
    haproxy.start()
    session = Session(connect(haproxy.ip, PROXIED_PORT, insider))
    assert session.greeting == f"220 {NAME} ESMTP Postern"
    assert relays(session) == ["250 2.1.5", "250 2.1.5"]
    session.expect("DATA", "354")
    session.send(BODY.encode())
    session.expect(".", "250")
    assert f"from client.example ([{insider}])" in received(server)
    accepted = server.wait_log("message.accepted", client=insider)
    assert accepted["peer"] == haproxy.ip
    other = Session(connect(haproxy.ip, PROXIED_PORT, stranger))
    assert relays(other) == ["550 5.7.1", "250 2.1.5"]


def test_haproxy_checks_health_in_its_own_name(server, closing, tmp_path, insider):
    haproxy = closing(Haproxy(tmp_path, server, {PROXIED_PORT: (
        PROXIED_PORT, "send-proxy-v2 check check-send-proxy inter 100")}))
    proxied(server, insider, haproxy.ip).start()
    haproxy.start()
    closed = server.wait_log("session.close", hello="check.example")
    assert closed["client"] == haproxy.ip and "peer" not in closed


@pytest.mark.parametrize("version", ("v1", "v2"))
def test_haproxy_in_front_of_tls(server, closing, tmp_path, insider, version):
    authority = Authority(tmp_path)
    chain, key = authority.issue(NAME)
    server.configure(certificate=[{"chain": str(chain), "key": str(key)}])
    haproxy = closing(Haproxy(tmp_path, server, {
        PROXIED_PORT: (PROXIED_PORT, VERSIONS[version]),
        IMPLICIT_PORT: (IMPLICIT_PORT, VERSIONS[version])}))
    proxied(server, insider, haproxy.ip)
    proxied(server, insider, haproxy.ip, port=IMPLICIT_PORT, tls="implicit")
    server.config["route"].pop()
    server.start()
    haproxy.start()
    context = authority.client()
    tls = context.wrap_socket(connect(haproxy.ip, IMPLICIT_PORT, insider), server_hostname=NAME)
    assert relays(Session(tls)) == ["250 2.1.5", "250 2.1.5"]
    sock = connect(haproxy.ip, PROXIED_PORT, insider)
    plain = Session(sock)
    plain.expect("EHLO client.example", "250")
    plain.expect("STARTTLS", "220")
    plain.sock = context.wrap_socket(sock, server_hostname=NAME)
    assert relays(plain) == ["250 2.1.5", "250 2.1.5"]
    assert server.wait_log("session.tls", 2)["client"] == insider


@pytest.mark.parametrize("options", (
    ("--proxy-version", "1", "--proxy-family", "TCP4"),
    ("--proxy-version", "2", "--proxy-family", "AF_INET"),
), ids=("v1", "v2"))
def test_swaks_proxy(server, insider, stranger, options):
    proxied(server, insider, "127.0.0.0/8").start()

    def run(source):
        return subprocess.run(
            ["swaks", "--server", server.ip, "--port", str(PROXIED_PORT), "--from", "alice@example.org",
             "--to", "x@far.example", *options, "--proxy-source", source, "--proxy-source-port", "4321",
             "--proxy-dest", "192.0.2.25", "--proxy-dest-port", "25"],
            capture_output=True, text=True, timeout=60, check=False)
    done = run(insider)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.wait_log("message.accepted", client=insider)["peer"].startswith("127.")
    done = run(stranger)
    assert "550 5.7.1 <x@far.example>: relaying denied" in done.stdout


def test_without_a_header_a_proxy_is_closed(server, insider):
    proxied(server, insider, "127.0.0.0/8").start()
    for count, wire in enumerate((b"EHLO client.example\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
                                  SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
                                  b"\x16\x03\x01\x02\x00\x01"), 1):
        sock = connect(server.ip, PROXIED_PORT)
        sock.sendall(wire)
        assert sock.recv(100) == b""
        server.wait_log("proxy.refused", count)
    assert [line["reason"] for line in server.events("proxy.refused")] == [
        "no PROXY header", "expected two addresses and two ports", "unknown family or transport",
        "no PROXY header"]


def test_a_late_header_is_no_header(server, insider):
    proxied(server, insider, "127.0.0.0/8").start()
    sock = connect(server.ip, PROXIED_PORT)
    sock.sendall(b"PROXY TCP4 ")
    assert sock.recv(100) == b""
    assert server.wait_log("proxy.refused")["reason"] == "no PROXY header came in time"


def test_nobody_else_is_believed(server, insider, stranger):
    proxied(server, insider, stranger).start()
    session = Session(connect(server.ip, PROXIED_PORT))
    session.expect(f"PROXY TCP4 {insider} 192.0.2.25 4321 25", "500 5.5.2")
    assert relays(session) == ["550 5.7.1", "250 2.1.5"]
    sock = connect(server.ip, PROXIED_PORT)
    sock.sendall(SIGNATURE + b"\x21\x11" + struct.pack(">H", 12) + socket.inet_aton(insider) +
                 socket.inet_aton("192.0.2.25") + struct.pack(">HH", 4321, 25))
    other = Session(sock)
    with pytest.raises(Closed):
        while True:
            assert other.reply().startswith("500 ")


# --- XCLIENT and XFORWARD -----------------------------------------------------------------------

def test_swaks_xclient(server, insider, stranger):
    proxied(server, insider, xclient_from=["127.0.0.0/8"]).start()

    def run(client, recipient="x@far.example"):
        return subprocess.run(
            ["swaks", "--server", server.ip, "--port", str(PROXIED_PORT), "--from", "alice@example.org",
             "--to", recipient, "--ehlo", "client.example", "--xclient-addr", client, "--xclient-name",
             "host.example.net", "--xclient-port", "4321", "--xclient-proto", "ESMTP"],
            capture_output=True, text=True, timeout=60, check=False)
    done = run(insider)
    assert done.returncode == 0, done.stdout + done.stderr
    accepted = server.wait_log("message.accepted", client=insider)
    assert accepted["peer"].startswith("127.") and accepted["name"] == "host.example.net"
    assert "550 5.7.1 <x@far.example>: relaying denied" in run(stranger).stdout
    assert run(stranger, "bob@example.org").returncode == 0
    assert f"from client.example (host.example.net [{stranger}])" in received(server)


def test_xclient_is_for_those_who_are_named(server, insider, stranger):
    proxied(server, insider, xclient_from=[stranger], xforward_from=[stranger]).start()
    session = Session(connect(server.ip, PROXIED_PORT))
    assert "XCLIENT" not in session.say("EHLO client.example")
    session.expect(f"XCLIENT ADDR={insider}", "550 5.7.0")
    session.expect(f"XFORWARD ADDR={insider}", "550 5.7.0")
    assert relays(session) == ["550 5.7.1", "250 2.1.5"]
    named = Session(connect(server.ip, PROXIED_PORT, stranger))
    offer = named.say("EHLO client.example")
    assert "250-XCLIENT NAME ADDR" in offer and "250-XFORWARD NAME ADDR" in offer
    named.expect(f"XCLIENT ADDR={insider}", "220")
    assert relays(named) == ["250 2.1.5", "250 2.1.5"]


def test_xforward_is_told_and_gives_nothing(server, insider):
    proxied(server, insider, xforward_from=["127.0.0.0/8"]).start()
    session = Session(connect(server.ip, PROXIED_PORT))
    session.expect("EHLO proxy.example", "250")
    session.expect(f"XFORWARD NAME=first.example ADDR={insider} HELO=a+20b IDENT=4bXk", "250")
    session.expect("MAIL FROM:<alice@example.org>", "250")
    session.expect("RCPT TO:<x@far.example>", "550 5.7.1")
    session.expect("RCPT TO:<bob@example.org>", "250")
    session.expect("DATA", "354")
    session.expect(BODY + ".", "250")
    accepted = server.wait_log("message.accepted")
    assert accepted["forwarded"] == f"first.example [{insider}] helo=a b ident=4bXk"
    assert accepted["client"].startswith("127.") and accepted["client"] != insider
    assert f"(forwarded first.example [{insider}] helo=a b ident=4bXk)" in received(server)


# --- Limits of one client over all processes ----------------------------------------------------

@pytest.fixture
def pair(server):
    """Two processes for the mx listener: (stop one and let the other serve)."""
    server.configure(processes={"smtpd": 2, "relay": 1})
    server.config["listen"] = [x for x in server.config["listen"] if x["service"] == "mx"]
    stopped = []

    def go_on():
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def serve_by(index):
        pids = wait_for("two smtpds", lambda: len(server.pids("smtpd")) == 2 and
                        sorted(server.pids("smtpd")))
        go_on()
        stopped[:] = [pids[1 - index]]
        os.kill(stopped[0], signal.SIGSTOP)
    yield serve_by
    go_on()


def test_connections_are_counted_over_all_processes(server, pair, insider, stranger):
    server.configure(limits={"connections_per_client": 2}).start()
    pair(0)
    held = [Session(connect(server.ip, MX_PORT, insider)) for _ in range(2)]
    assert all(session.greeting.startswith("220") for session in held)
    assert Session(connect(server.ip, MX_PORT, insider)).greeting.startswith("421 ")
    pair(1)
    assert Session(connect(server.ip, MX_PORT, insider)).greeting == (
        f"421 4.3.2 {NAME} too many connections from your address")
    assert Session(connect(server.ip, MX_PORT, stranger)).greeting.startswith("220")
    pair(0)
    held[0].expect("QUIT", "221")
    server.wait_log("session.close", client=insider)
    pair(1)
    assert Session(connect(server.ip, MX_PORT, insider)).greeting.startswith("220")


def test_who_speaks_for_others_is_limited_by_whom_it_names(server, insider, stranger):
    proxied(server, insider, xclient_from=[stranger]).configure(limits={"connections_per_client": 1}).start()
    sessions = [Session(connect(server.ip, PROXIED_PORT, stranger)) for _ in range(3)]
    assert all(session.greeting.startswith("220") for session in sessions)
    sessions[0].expect(f"XCLIENT ADDR={insider}", "220")
    sessions[1].expect(f"XCLIENT ADDR={insider}", "421")
    sessions[2].expect("XCLIENT ADDR=192.0.2.1", "220")
    assert Session(connect(server.ip, PROXIED_PORT, insider)).greeting.startswith("421")


def test_the_rate_of_a_client_is_counted_over_all_processes(server, pair, insider, stranger):
    server.configure(policy={"rate": "3/h"}).start()

    def mail(client):
        session = Session(connect(server.ip, MX_PORT, client))
        session.expect("EHLO client.example", "250")
        return session.say("MAIL FROM:<a@client.example>")
    pair(0)
    assert [mail(insider)[:3] for _ in range(2)] == ["250", "250"]
    pair(1)
    assert mail(insider).startswith("250")
    assert mail(insider) == "450 4.7.1 Too many messages from your address; try again later"
    assert mail(stranger).startswith("250")
    pair(0)
    assert mail(insider).startswith("450")
    server.kill("smtpd")
    server.wait_log("process.died", 2)
    pair(0)
    assert mail(insider).startswith("450"), "what was counted outlives the process"


# --- Policy -------------------------------------------------------------------------------------

def test_policy_and_its_reload(server, insider, stranger):
    (server.directory / "deny").write_text(
        "sender *@spam.example 550 5.7.1 We want nothing of yours\n")
    server.configure(policy={"clients": [f"!{stranger}"], "deny": "deny"}).start()
    session = Session(connect(server.ip, MX_PORT, stranger))
    assert session.greeting == f"554 {NAME} takes no mail from your address"
    session.expect("EHLO client.example", "503")
    session.expect("QUIT", "221")
    session = Session(connect(server.ip, MX_PORT, insider))
    session.expect("EHLO client.example", "250")
    session.expect("MAIL FROM:<x@spam.example>", "250")
    session.expect("RCPT TO:<bob@example.org>", "550 5.7.1 We want nothing of yours")
    assert server.wait_log("message.refused", client=insider)["reply"].startswith("550 5.7.1 We want")
    (server.directory / "deny").write_text("sender *@spam.example\nrubbish\n")
    answer = server.ctl("reload", check=False)
    assert answer.exit == 78 and "deny:2:1" in answer.out + answer.err
    session.expect("RCPT TO:<bob@example.org>", "550 5.7.1 We want nothing of yours")
    (server.directory / "deny").write_text("# nothing\n")
    server.ctl("reload")
    session.expect("RCPT TO:<bob@example.org>", "250")
