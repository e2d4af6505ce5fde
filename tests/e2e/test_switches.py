"""The switches: outbound, also at once with --now, and intake."""
import re
import smtplib
import subprocess
import threading

import pytest

from support.server import BUILD, MX_PORT, send_on
from support.sink import honest
from support.waiting import wait_for


def back(server):
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))


# --- Outbound ---------------------------------------------------------------------------------------

class Hanging:
    """A next hop that takes its time at one verb ("." is the final dot), and then answers."""

    def __init__(self, make_script, verb):
        self.answers = threading.Event()
        self.reached = threading.Event()

        def script(line, state):
            now = "." if state.get("data") and line == "." else line.split(" ")[0].upper()
            if now == verb and (verb == "." or not state.get("data")):
                self.reached.set()
                self.answers.wait(60)
            return honest(line, state)
        self.script = make_script(script)
        self.via = self.script.via


def test_outbound_disable_waits_for_what_is_in_flight(server, make_script):
    hop = Hanging(make_script, ".")
    server.route("*", hop.via).start()
    server.send("x@remote.example")
    assert hop.reached.wait(30)
    tool = subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, "outbound", "disable", "--reason",
                             "spam run"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, bufsize=1)
    assert tool.stdout.readline() == "outbound is disabled, 1 in flight\n"
    status = server.status()["outbound"]
    assert not status["enabled"] and status["in_flight"] == 1
    assert tool.poll() is None
    hop.answers.set()
    assert tool.stdout.readlines()[-1] == "0 in flight\n"
    assert tool.wait() == 0
    server.wait_empty()


@pytest.mark.parametrize("verb, twice", [(".", True), ("MAIL", False), ("DATA", False)])
def test_outbound_disable_now_cuts(server, make_script, verb, twice):
    hop = Hanging(make_script, verb)
    server.route("*", hop.via).start()
    ident = server.send("x@remote.example")
    assert hop.reached.wait(30)
    rows = server.ctl("outbound", "disable", "--reason", "at once", "--now", "--yes").rows
    assert rows[0]["in_flight"] == 1 and rows[-1]["in_flight"] == 0
    assert rows[-1]["may_repeat"] == ([ident] if twice else [])
    shown = server.ctl("show", ident).rows[0]["recipients"][0]
    assert shown["state"] == "off"
    assert shown["tries"] == (1 if twice else 0)
    assert ("broken off" in shown["last_reply"]) == twice
    assert server.wait_log("outbound.disabled")["broken_off"] == "1"
    hop.answers.set()
    server.ctl("outbound", "enable", "--yes")
    server.wait_empty()


def test_what_may_arrive_twice_is_named_to_people(server, make_script):
    hop = Hanging(make_script, ".")
    server.route("*", hop.via).start()
    ident = server.send("x@remote.example")
    assert hop.reached.wait(30)
    said = server.ctl_text("outbound", "disable", "--reason", "at once", "--now", "--yes").out
    assert said == ("outbound is disabled, 1 in flight\n0 in flight\n"
                    f"1 message may arrive twice, for the final dot had been sent:\n{ident}\n")
    hop.answers.set()


def test_spared_routes_are_named_and_go_on(server, make_sink):
    out, inner = make_sink(), make_sink()
    server.route("*", out.via).route("corp.example", inner.via, internal=True).start()
    server.ctl("outbound", "disable", "--reason", "spam run", "--now", "--yes")
    assert server.status()["outbound"]["spared"] == ["corp.example"]
    screen = server.ctl_text("status").out
    assert re.search(r'OUTBOUND  DISABLED \d\d:\d\d:\d\d by \S+: "spam run"   clocks stopped\n'
                     r"          0 in flight; spared: corp.example\n", screen), screen
    assert "ATTENTION outbound off" in screen
    server.send(["x@remote.example", "x@corp.example", "bob@example.org"])
    inner.wait()
    server.wait_mail("bob")
    assert not out.messages
    said = server.ctl("outbound", "enable", "--yes").rows[0]["text"]
    assert said == "outbound is enabled; expire within 24h: 0"
    out.wait()


# --- Intake -----------------------------------------------------------------------------------------

def test_intake_disable_answers_421_and_stays_up(server, sink):
    server.route("*", sink.via).start()
    with server.smtp() as idle, server.smtp() as begun, server.smtp() as busy:
        idle.ehlo()
        begun.ehlo()
        busy.ehlo()
        begun.docmd("MAIL FROM:<alice@example.org>")
        begun.docmd("RCPT TO:<x@remote.example>")
        said = server.ctl("intake", "disable", "--reason", "moving the spool", "--yes").rows[0]
        assert said["text"] == "intake is disabled"
        fields = server.wait_log("intake.disabled", reason="moving the spool")
        assert fields["who"]
        # Nothing that comes now is accepted: not in a session that runs,
        assert idle.docmd("MAIL FROM:<alice@example.org>")[0] == 421
        # nor of a transaction that had begun,
        assert begun.data("Subject: late\r\n\r\nx\r\n")[0] == 421
        # nor on a new connection. Other commands are answered.
        for port in (None, MX_PORT):
            with pytest.raises(smtplib.SMTPConnectError) as refused:
                server.smtp(port) if port else server.smtp()
            assert refused.value.smtp_code == 421
        assert busy.docmd("NOOP")[0] == 250
    assert server.messages() == []
    status = server.status()["intake"]
    assert not status["open"] and status["disabled"] and status["reason"] == "moving the spool"
    assert status["who"] and status["since"]
    screen = server.ctl_text("status")
    assert screen.exit == 1 and "intake off by" in screen.out
    assert re.search(r'INTAKE    DISABLED \d\d:\d\d:\d\d by \S+: "moving the spool"\n', screen.out)
    assert "intake" in server.ctl_text("blocks").out
    wait_for("ps shows it", lambda: any("intake disabled" in title for title in server.alive().values()))
    server.ctl("intake", "enable", "--yes")
    server.wait_log("intake.enabled")
    server.send("x@remote.example")
    sink.wait()


def test_intake_stays_off_over_kill_and_restart(server, sink):
    server.route("*", sink.via).start()
    server.ctl("intake", "disable", "--reason", "x", "--yes")

    def refused():
        try:
            with server.smtp():
                return False
        except smtplib.SMTPConnectError as error:
            return error.smtp_code == 421
    for role in ("queued", "smtpd"):
        server.kill(role)
        back(server)
        wait_for(f"{role} is back and refuses", lambda: server.pids(role) and not server.status()["intake"]["open"])
        try:
            with server.smtp() as client:  # it may not have heard of it yet
                client.ehlo()
                with pytest.raises(smtplib.SMTPException):
                    send_on(client, "alice@example.org", ["x@remote.example"], "\r\nx\r\n")
        except (smtplib.SMTPException, OSError):
            pass
    server.restart()
    wait_for("it refuses", refused)
    server.ctl("intake", "enable", "--yes")
    server.send("x@remote.example")
    assert len(sink.wait()) == 1
    server.wait_empty()
    assert len(sink.messages) == 1


def test_intake_of_mail_that_is_here_goes_on(server, sink):
    """Delivery does not mind the switch."""
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    server.send("x@remote.example")
    server.ctl("intake", "disable", "--reason", "x", "--yes")
    server.ctl("unfreeze", "remote.example")
    sink.wait()
    server.wait_empty()


@pytest.mark.parametrize("words, status", [
    (["intake", "disable"], 64), (["intake", "enable"], 65), (["intake", "enable", "--reason", "x"], 64),
    (["intake"], 64), (["outbound", "enable", "--now"], 64), (["outbound", "enable"], 65),
])
def test_mistakes(postern, words, status):
    assert postern.ctl(*words, "--yes", check=False).exit == status
    assert postern.ctl("blocks").rows == []
