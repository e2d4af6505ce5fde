"""[[collect]] (RFC 2645): mail that an outer host keeps is called for, and comes by the connection that we made."""
import email

import pytest

from support.certificates import Authority
from support.outer import PORT, Outer
from support.waiting import wait_for

HOST = "odmr.example"
USER = "inner"
PASSWORD = "open sesame"
ALICE = "alice@example.org"
FAR = "x@far.example"


@pytest.fixture
def outer(authority, closing):
    return closing(Outer(authority.server(*authority.issue(HOST)), USER, PASSWORD))


def collect(server, zone, authority, outer, password=PASSWORD, **more):
    """Not started."""
    zone.a(HOST, outer.ip)
    (server.directory / "outer.password").write_text(password + "\n")
    return server.configure(delivery={"ca": str(authority.root)}, collect=[{
        "from": f"{HOST}:{PORT}", "login": USER, "password_file": "outer.password", "every": "1h", **more}])


def test_mail_is_called_for(server, zone, authority, outer):
    outer.put(FAR, ALICE)
    outer.put(FAR, "bob@example.org")
    collect(server, zone, authority, outer, domains=["example.org"]).start()
    (message,) = server.wait_mail("alice")
    server.wait_mail("bob")
    assert outer.logins == [(USER, PASSWORD, True)]
    assert outer.calls == ["example.org"]
    # By an ordinary session, whose client is the outer host.
    received = email.message_from_bytes(message.read_bytes())["Received"]
    assert "outer.example" in received and outer.ip in received, received
    # In the TLS that the relay opened (RFC 3848: S); the host has not logged in, we have (no A).
    words = " ".join(received.split())
    assert "with ESMTPS (TLSv1." in words and f"client certificate {HOST})" in words, words
    for event in ("collect.turned", "message.accepted"):
        told = server.wait_log(event)
        assert told["tls"].startswith("TLSv1.") and told["certificate"] == HOST, told
    line = server.wait_log("collect.ended")
    assert line["end"] == "served" and outer.ip in line["remote"] and int(line["received"]) > 100, line
    (row,) = server.status()["collects"]
    assert (row["from"], row["calling"], row["result"]) == (f"{HOST}:{PORT}", False, "served"), row
    assert f"COLLECT   {HOST}:{PORT}  next call " in server.ctl_text("status").out


def test_the_host_is_a_stranger(server, zone, authority, outer):
    """Whatever networks it is in: it may send to our domains, is in TLS already, and is offered no login."""
    server.config["listen"][1]["relay_from"] = [outer.ip, "127.0.0.0/8"]
    for recipient in (FAR, "nobody@example.org", ALICE):
        outer.put("y@far.example", recipient)
    collect(server, zone, authority, outer).start()
    server.wait_mail("alice")
    server.wait_log("collect.ended", end="served")
    refused, unknown = outer.refused
    assert refused.startswith("550 5.7.1") and unknown.startswith("550 5.1.1"), outer.refused
    assert outer.calls == [""]
    (hello,) = outer.hellos
    offered = {word.split()[0] for word in hello.splitlines()[1:]}
    assert {"SIZE", "REQUIRETLS"} <= offered and not offered & {"STARTTLS", "AUTH", "ETRN", "XCLIENT"}, hello
    assert not server.queues()


def test_no_mail(server, zone, authority, outer):
    collect(server, zone, authority, outer, wait=True).start()
    assert server.wait_log("collect.ended")["end"] == "nothing"
    assert server.status()["collects"][0]["result"] == "no mail"
    assert len(outer.calls) == 1  # the next one is an hour away, for there is nothing to wait for


def test_each_period_brings_a_call(server, zone, authority, outer):
    collect(server, zone, authority, outer, every="1s").start()
    server.wait_log("collect.ended", count=2, end="nothing")
    outer.put(FAR, ALICE)
    server.wait_mail("alice")


def test_nobody_is_called_while_no_mail_is_taken(server, zone, authority, outer):
    collect(server, zone, authority, outer, every="1s").start()
    server.wait_log("collect.ended", end="nothing")
    server.ctl("intake", "disable", "--reason", "moving the spool", "--yes")
    outer.put(FAR, ALICE)
    row = wait_for("no call is under way", lambda: next((row for row in server.status()["collects"]
                                                         if not row["calling"]), None))
    assert row["next"] is None, row
    assert f"COLLECT   {HOST}:{PORT}  not called while no mail is taken; last " in server.ctl_text("status").out
    assert not server.mailbox("alice") and len(outer.mail) == 1
    server.ctl("intake", "enable", "--yes")
    server.wait_mail("alice")
    assert server.status()["collects"][0]["result"] in ("served", "no mail")


def test_a_wrong_password(server, zone, authority, outer):
    outer.put(FAR, ALICE)
    collect(server, zone, authority, outer, password="guessed", wait=True).start()
    line = server.wait_log("collect.ended")
    assert line["end"] == "failed" and line["reply"].startswith("535 "), line
    assert len(outer.logins) == 1 and not outer.calls
    # The right one, by a reload, at the next call.
    (server.directory / "outer.password").write_text(PASSWORD + "\n")
    server.config["collect"][0]["every"] = "1s"
    server.write()
    server.ctl("reload")
    server.wait_mail("alice")


@pytest.mark.parametrize("stranger", ["another name", "another authority"])
def test_nobody_else_hears_the_password(server, zone, authority, closing, tmp_path, stranger):
    if stranger == "another name":
        certificate = authority.issue("elsewhere.example")
    else:
        (tmp_path / "ca").mkdir()
        certificate = Authority(tmp_path / "ca").issue(HOST)
    outer = closing(Outer(authority.server(*certificate), USER, PASSWORD))
    outer.put(FAR, ALICE)
    collect(server, zone, authority, outer, every="1s").start()
    server.wait_log("collect.ended", count=2, end="failed")
    assert not outer.logins and not outer.calls


def test_who_waits_has_mail_at_once(server, zone, authority, outer):
    """The outer host keeps the session, and nothing is called for again while it lasts."""
    outer.hold = True
    collect(server, zone, authority, outer, wait=True).start()
    for count in range(1, 4):
        outer.put(FAR, ALICE)
        server.wait_mail("alice", count)
    assert len(outer.calls) == 1
    (row,) = server.status()["collects"]
    assert row["calling"] and row["serving"], row


def test_who_waits_calls_again(server, zone, authority, outer):
    collect(server, zone, authority, outer, wait=True)
    outer.put(FAR, ALICE)
    outer.answer = "250 now reversing"  # whatever it has
    server.start()
    server.wait_mail("alice")
    server.wait_log("collect.ended", count=2, end="served")
    outer.put(FAR, ALICE)
    server.wait_mail("alice", 2)


def test_a_reload_begins_and_ends_it(server, zone, authority, outer):
    outer.hold = True
    server.start()
    collect(server, zone, authority, outer, wait=True).write()
    server.ctl("reload")
    outer.put(FAR, ALICE)
    server.wait_mail("alice")
    server.configure(collect=[]).write()
    server.ctl("reload")
    assert server.status()["collects"] == []
    wait_for("the session to end", lambda: outer.sessions == 0)
    assert len(outer.calls) == 1


@pytest.mark.parametrize("role", ["smtpd", "relay", "queued"])
def test_what_was_acknowledged_is_kept(server, zone, authority, outer, role):
    server.may_die = True
    bodies = [f"Subject: {n}\r\n\r\n{'x' * 5000}\r\n" for n in range(60)]
    for body in bodies:
        outer.put(FAR, ALICE, body)
    collect(server, zone, authority, outer, wait=True, every="1s").start()
    for count in (10, 30):
        wait_for(f"{count} messages taken", lambda least=count: len(outer.taken) >= least)
        server.kill(role)
    wait_for("all taken", lambda: len(outer.taken) == len(bodies))

    def subjects():
        return {email.message_from_bytes(path.read_bytes())["Subject"] for path in server.mailbox("alice")}
    wait_for("all delivered", lambda: subjects() == {str(n) for n in range(len(bodies))})
