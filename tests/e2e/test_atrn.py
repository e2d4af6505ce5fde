"""ODMR (RFC 2645), the outer side: an inner host that nobody may connect to dials out, logs in, turns the session round
and takes its mail over the connection that it opened."""
import base64
import smtplib
import socket
import ssl
import subprocess
import threading

import pytest

from support.waiting import PATIENCE, wait_for

TURN_PORT = 2366   # RFC 2645's is 366
CLEAR_PORT = 2367
NAME = "mx.example.org"
INNER, OTHER = "inner.example", "other.example"
PASSWORD = "correct horse"


@pytest.fixture
def outer(server, authority):
    """Not started. amy takes what is there, zoe waits for more, bob may nothing."""
    chain, key = authority.issue(NAME, stem="mx")
    server.configure(certificate=[{"chain": str(chain), "key": str(key), "names": [NAME]}],
                     auth={"accounts": "accounts", "allow_plaintext": True},
                     account=[{"name": "amy", "atrn": [INNER, "branch.example"]},
                              {"name": "zoe", "atrn": [INNER], "atrn_wait": "1h"},
                              {"name": "bob"}])
    server.config["listen"] += [
        {"address": f"{server.ip}:{TURN_PORT}", "service": "submission", "tls": "optional"},
        {"address": f"{server.ip}:{CLEAR_PORT}", "service": "submission", "tls": "off"}]
    for domain in (INNER, "branch.example", OTHER):
        server.route(domain, "turn:")
    (server.directory / "accounts").write_text("# nobody yet\n")
    server.write()
    for name in ("amy", "zoe", "bob"):
        added = subprocess.run([server.program.parent.parent / "ctl" / "posternctl", "-c", server.file, "user", "add", name],
                               input=PASSWORD + "\n", text=True, capture_output=True, timeout=60, check=False)
        assert added.returncode == 0, added.stderr
    return server


class InnerHost:
    """Logs in, says ATRN, and serves SMTP on the same connection."""

    def __init__(self, server, account, authority=None):
        self.messages = []  # (sender, recipients, text)
        self.verbs = []
        self.tls = authority is not None
        self.news = threading.Condition()
        port = TURN_PORT if authority else CLEAR_PORT
        self.client = smtplib.SMTP(server.ip, port, INNER, PATIENCE)
        if authority:
            context = authority.client()
            context.check_hostname = False
            self.client.starttls(context=context)
        self.client.ehlo()
        self.offered = self.client.has_extn("atrn")
        self.client.login(account, PASSWORD)
        self.sock = None
        self.thread = None

    def atrn(self, *domains):
        return self.client.docmd("ATRN", ",".join(domains))

    def turn(self, *domains):
        code, words = self.atrn(*domains)
        assert code == 250, (code, words)
        self.sock = self.client.sock
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def _serve(self):
        try:
            self._talk(self.sock.makefile("rb"))
        except (OSError, ssl.SSLError):
            pass
        finally:
            self.close()

    def _say(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def _talk(self, lines):
        self._say(f"220 {INNER} ready")
        sender, recipients = "", []
        while line := lines.readline():
            words = line.decode().rstrip("\r\n")
            verb = words.split(" ")[0].upper()
            self.verbs.append(verb)
            if verb == "EHLO":
                self._say(f"250-{INNER}" + ("\r\n250-REQUIRETLS" if self.tls else "") + "\r\n250 8BITMIME")
            elif verb == "MAIL":
                sender, recipients = words[words.index("<") + 1:words.index(">")], []
                self._say("250 ok")
            elif verb == "RCPT":
                recipients.append(words[words.index("<") + 1:words.index(">")])
                self._say("250 ok")
            elif verb == "DATA":
                self._say("354 go on")
                text = b""
                while (line := lines.readline()) not in (b".\r\n", b""):
                    text += line
                if not line:
                    return
                with self.news:
                    self.messages.append((sender, recipients, text.decode()))
                    self.news.notify_all()
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def wait(self, count):
        with self.news:
            assert self.news.wait_for(lambda: len(self.messages) >= count, PATIENCE), self.messages
        return self.messages

    def wait_over(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def close(self):
        self.client.close()


@pytest.fixture
def inner(outer, authority, closing):
    def make(account, tls=True):
        return closing(InnerHost(outer, account, authority if tls else None))
    return make


def test_an_inner_host_takes_what_waits_for_it(outer, inner):
    outer.start()
    for number in range(3):
        outer.send(f"x{number}@{INNER}")
    outer.send("b@branch.example")
    outer.send(f"o@{OTHER}")
    assert outer.queues()[INNER]["state"] == "uncalled"
    waits = outer.status()["queue"]
    assert (waits["uncalled"], waits["ready"]) == (5, 0), "nobody may wonder why they do not go"
    assert "ready 0  uncalled 5  retry 0" in outer.ctl_text("status").out
    assert "postern.toml:" in outer.queues()[INNER]["why"]
    assert not outer.events("delivery.ok")
    host = inner("amy")
    assert host.offered
    host.turn()
    taken = host.wait(4)
    host.wait_over()
    assert sorted(r for _, recipients, _ in taken for r in recipients) == \
        sorted([f"x{n}@{INNER}" for n in range(3)] + ["b@branch.example"])
    assert host.verbs[-1] == "QUIT"
    outer.wait_log("delivery.ok", count=4)
    for ok in outer.events("delivery.ok"):
        assert ok["remote"].startswith("amy[") and ok["tls"].startswith("TLS"), ok
    assert list(outer.queues()) == [OTHER], "what it did not call for stays"


def test_in_clear_text_where_that_is_allowed(outer, inner):
    outer.start()
    outer.send(f"x@{INNER}")
    host = inner("amy", tls=False).turn(INNER)
    host.wait(1)
    assert outer.wait_log("delivery.ok")["tls"].startswith("none")


def test_a_route_may_demand_tls(outer, inner):
    outer.config["route"][0]["tls"] = "required"
    outer.write()
    outer.start()
    outer.send(f"x@{INNER}")
    assert inner("amy", tls=False).atrn(INNER)[0] == 530
    inner("amy").turn(INNER).wait(1)


def test_a_message_that_requires_tls_goes_in_tls_alone(outer, inner, authority):
    outer.start()
    context = authority.client()
    context.check_hostname = False
    with smtplib.SMTP(outer.ip, TURN_PORT, "client.example", PATIENCE) as client:
        client.starttls(context=context)
        client.login("bob", PASSWORD)
        client.sendmail("alice@example.org", [f"x@{INNER}"], "Subject: precious\r\n\r\nhi\r\n", ["REQUIRETLS"])
    host = inner("amy", tls=False).turn(INNER)
    outer.wait_log("delivery.deferred")
    host.wait_over()
    assert not host.messages
    inner("amy").turn(INNER).wait(1)


def test_nobody_takes_the_mail_of_others(outer, inner):
    outer.start()
    outer.send(f"x@{INNER}")
    outer.send(f"o@{OTHER}")
    assert inner("bob").atrn(INNER)[0] == 450
    assert inner("amy").atrn(OTHER)[0] == 450
    assert inner("amy").atrn(INNER, OTHER)[0] == 450
    with smtplib.SMTP(outer.ip, TURN_PORT, INNER, PATIENCE) as stranger:
        stranger.ehlo()
        assert stranger.docmd("ATRN", INNER)[0] == 530
    assert len(outer.messages()) == 2


def test_no_mail_is_said(outer, inner):
    outer.start()
    host = inner("amy")
    assert host.atrn(INNER) == (453, b"4.0.0 You have no mail")
    outer.send(f"x@{INNER}")
    host.turn(INNER).wait(1)


def test_mail_leaves_when_it_comes_while_a_host_waits(outer, inner):
    outer.start()
    host = inner("zoe").turn(INNER)
    outer.wait_log("relay.turned")
    for number in range(1, 4):
        outer.send(f"x{number}@{INNER}")
        host.wait(number)
    outer.wait_log("delivery.ok", count=3)
    assert len(outer.events("session.turned")) == 1, "one session for all"
    assert "QUIT" not in host.verbs


def test_a_freeze_holds_the_mail_back(outer, inner):
    outer.start()
    outer.send(f"x@{INNER}")
    outer.ctl("freeze", INNER, "--reason", "moving house")
    assert inner("amy").atrn(INNER)[0] == 450
    assert "frozen" in outer.wait_log("queue.called")["reason"]
    outer.ctl("unfreeze", INNER)
    inner("amy").turn(INNER).wait(1)


def test_a_freeze_of_its_next_hop_holds_the_mail_back(outer, inner):
    """As `queues --hops` names it. The host is refused, not taken and sent away."""
    outer.start()
    ident = outer.send(f"x@{INNER}")
    hop = f"turn:{INNER}"
    wait_for("it is a next hop", lambda: hop in [row["hop"] for row in outer.ctl("queues", "--hops").rows])
    outer.ctl("freeze", "--hop", hop, "--reason", "moving house")
    assert inner("amy").atrn(INNER)[0] == 450
    row, = outer.messages()
    assert row["state"] == "frozen" and row["why"] == f"--hop {hop}: moving house"
    assert f"posternctl unfreeze --hop {hop}\n" in outer.ctl_text("explain", ident).out
    outer.ctl("unfreeze", "--hop", hop)
    inner("amy").turn(INNER).wait(1)


def test_outbound_off_holds_the_mail_back(outer, inner):
    outer.start()
    outer.send(f"x@{INNER}")
    outer.ctl("outbound", "disable", "--reason", "spam run", "--yes")
    assert inner("amy").atrn(INNER)[0] == 450
    outer.ctl("outbound", "enable")
    inner("amy").turn(INNER).wait(1)


def test_a_lock_ends_the_session(outer, inner):
    outer.start()
    host = inner("zoe").turn(INNER)
    outer.wait_log("relay.turned")
    outer.ctl("user", "lock", "zoe", "--reason", "sends spam")
    host.wait_over()
    outer.send(f"x@{INNER}")
    assert not host.messages and len(outer.messages()) == 1


def test_a_reload_that_takes_the_right_ends_the_session(outer, inner):
    outer.start()
    host = inner("zoe").turn(INNER)
    outer.wait_log("relay.turned")
    outer.config["account"] = outer.config["account"][:1]
    outer.write()
    outer.ctl("reload")
    host.wait_over()
    outer.wait_log("queue.recalled", account="zoe")


@pytest.mark.parametrize("role", ["relay", "smtpd", "queued"])
def test_a_death_in_between_loses_nothing(outer, inner, role):
    outer.may_die = True
    outer.start()
    host = inner("zoe").turn(INNER)
    outer.send(f"x1@{INNER}")
    host.wait(1)
    outer.wait_log("delivery.ok")
    outer.kill(role)
    host.wait_over()

    def submitted():
        try:
            outer.send(f"x2@{INNER}")
            return True
        except (OSError, smtplib.SMTPException):
            return False
    wait_for("a message to be taken again", submitted)

    def called_again():
        try:
            again = inner("zoe")
            return again.atrn(INNER)[0] == 250 and again
        except (OSError, smtplib.SMTPException):
            return False
    again = wait_for("ATRN to be answered with 250", called_again)
    again.sock = again.client.sock
    again.thread = threading.Thread(target=again._serve, daemon=True)
    again.thread.start()
    assert again.wait(1)[0][1] == [f"x2@{INNER}"]


def test_what_follows_the_command_is_not_believed(outer):
    outer.start()
    outer.send(f"x@{INNER}")
    login = base64.b64encode(b"\0amy\0" + PASSWORD.encode()).decode()
    with socket.create_connection((outer.ip, CLEAR_PORT), PATIENCE) as sock:
        lines = sock.makefile("rb")
        assert lines.readline().startswith(b"220")
        sock.sendall(f"HELO {INNER}\r\nEHLO {INNER}\r\nAUTH PLAIN {login}\r\n".encode())
        while not (line := lines.readline()).startswith(b"235"):
            assert line, "no login"
        sock.sendall(f"ATRN {INNER}\r\n220 {INNER} ready\r\n".encode())
        assert lines.readline().startswith(b"554")
        assert lines.readline() == b""
    assert len(outer.messages()) == 1


@pytest.mark.parametrize("account, text", [
    ({"name": "amy", "atrn": ["far.example"]}, "far.example does not wait for a call"),
    ({"name": "*", "atrn": [INNER]}, "name the account"),
    ({"name": "amy", "atrn_wait": "1h"}, "may take no mail"),
])
def test_a_wrong_account_is_told_with_its_line(outer, account, text):
    outer.config["account"] = [account]
    outer.write()
    checked = subprocess.run([outer.program, "-n", "-c", outer.file], capture_output=True, text=True, timeout=60,
                             check=False)
    said = checked.stdout + checked.stderr
    assert checked.returncode == 78 and text in said and "postern.toml:" in said
