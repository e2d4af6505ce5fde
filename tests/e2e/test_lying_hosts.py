"""Next hops that lie, hang or break off: the right class for every reply, nothing lost, nothing twice."""
import time

import pytest

from support.sink import Script, honest, instead
from support.waiting import wait_for

LATER, FAILED = "later", "failed"


def outcome(server):
    """What became of the only message: it waits, or its sender was told."""
    def known():
        if server.mailbox("alice"):
            return FAILED
        row = server.queues().get("remote.example")
        return LATER if row and row["state"] == "retry" else None
    return wait_for("an outcome", known, 60)


def run(server, script):
    server.configure(retry={"after": ["1h"]})
    server.route("*", script.via).start()
    server.send("x@remote.example")
    return outcome(server)


@pytest.mark.parametrize("verb, answer, wanted", [
    ("", b"421 4.3.2 go away\r\n", LATER),
    ("", b"554 5.7.1 no service\r\n", LATER),  # of this host, not of the message
    ("", b"garbage\r\n", LATER),
    ("", Script.CLOSE, LATER),
    ("MAIL", b"421 4.3.2 closing\r\n", LATER),
    ("MAIL", b"450 4.7.1 greylisted\r\n", LATER),
    ("MAIL", b"550 5.7.1 bad sender\r\n", FAILED),
    ("MAIL", Script.CLOSE, LATER),
    ("RCPT", b"421 4.3.2 closing\r\n", LATER),
    ("RCPT", b"450 4.2.0 busy\r\n", LATER),
    ("RCPT", b"550 5.1.1 no such user\r\n", FAILED),
    ("RCPT", b"551 try elsewhere\r\n", FAILED),
    ("RCPT", b"250-more\r\n550 5.1.1 mixed codes\r\n", LATER),
    ("RCPT", b"999 what\r\n", LATER),
    ("RCPT", Script.CLOSE, LATER),
    ("DATA", b"421 4.3.2 closing\r\n", LATER),
    ("DATA", b"451 4.3.0 later\r\n", LATER),
    ("DATA", b"554 5.6.0 no\r\n", FAILED),
    ("DATA", b"250 ok?\r\n", LATER),
    ("DATA", Script.CLOSE, LATER),
    (".", b"421 4.3.2 closing\r\n", LATER),
    (".", b"452 4.3.1 full\r\n", LATER),
    (".", b"550 5.7.1 spam\r\n", FAILED),
    (".", Script.CLOSE, LATER),
    (".", b"354 what\r\n", LATER),
])
def test_each_reply_has_its_class(server, make_script, verb, answer, wanted):
    assert run(server, make_script(instead(verb, answer))) == wanted
    if wanted is FAILED:
        server.wait_empty()
        assert len(server.mailbox("alice")) == 1
    else:
        assert server.status()["queue"]["messages"] == 1


def test_helo_when_ehlo_is_unknown(server, make_script):
    script = make_script(instead("EHLO", b"500 what\r\n"))
    server.route("*", script.via).start()
    server.send("x@remote.example")
    script.wait_lines("HELO")
    script.wait_lines(".")
    server.wait_empty()


def test_one_recipient_of_three(server, make_script):
    """The three replies to RCPT are told apart, also behind PIPELINING."""
    def script(line, state):
        if line.upper().startswith("EHLO"):
            return b"250-sink.example\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"
        if line.upper().startswith("RCPT TO:<BAD"):
            return b"550 5.1.1 no\r\n"
        if line.upper().startswith("RCPT TO:<LATE"):
            return b"450 4.2.1 later\r\n"
        return honest(line, state)
    sink = make_script(script)
    server.configure(retry={"after": ["1h"]})
    server.route("*", sink.via).start()
    ident = server.send(["bad@remote.example", "late@remote.example", "good@remote.example"])
    server.wait_mail("alice")
    shown = wait_for("all are tried", lambda: (lambda rows: rows if rows[1]["tries"] else None)(
        server.ctl("show", ident).rows[0]["recipients"]))
    assert [r["end"] for r in shown] == ["bounced", "open", "delivered"]
    assert sum(line == "." for line in sink.lines) == 1


def test_size_is_believed(server, make_script):
    """A message over the announced size fails without being sent."""
    def script(line, state):
        if line.upper().startswith("EHLO"):
            return b"250-sink.example\r\n250 SIZE 1000\r\n"
        if line.upper().startswith("MAIL") and "SIZE=" in line:
            return b"552 5.3.4 too large\r\n"
        return honest(line, state)
    sink = make_script(script)
    server.route("*", sink.via).start()
    server.send("x@remote.example", "Subject: x\r\n\r\n" + ("y" * 70 + "\r\n") * 100)
    server.wait_mail("alice")
    server.wait_empty()
    assert "DATA" not in sink.lines


def test_all_refused_then_nothing_is_sent(server, make_script):
    def script(line, state):
        if line.upper().startswith("EHLO"):
            return b"250-sink.example\r\n250 PIPELINING\r\n"
        if line.upper().startswith("RCPT"):
            return b"550 5.1.1 no\r\n"
        return honest(line, state)  # it says 354 to DATA all the same
    sink = make_script(script)
    server.route("*", sink.via).start()
    server.send("x@remote.example", "Subject: secret\r\n\r\nbody\r\n")
    server.wait_mail("alice")
    server.wait_empty()
    assert not any("secret" in line for line in sink.lines)


@pytest.mark.parametrize("answer", [
    b"x" * 1_000_000 + b"\r\n",
    b"250-x\r\n" * 200_000,
    b"250 " + b"y" * 100_000 + b"\r\n",
    b"\0\0\0\0\r\n",
    b"\n\n\n\n",
], ids=["one line", "many lines", "long line", "NUL", "bare LF"])
def test_monstrous_replies(server, make_script, answer):
    assert run(server, make_script(instead("EHLO", answer))) == LATER


def test_a_reply_in_pieces(server, make_script):
    def script(line, state):
        answer = honest(line, state)
        if answer:
            for at in range(len(answer) - 1):
                state["sock"].sendall(answer[at:at + 1])
            return answer[-1:]
        return answer
    sink = make_script(script)
    original = sink._serve

    def serve(sock):
        def bound(line, state):
            state["sock"] = sock
            return script(line, state)
        sink.script = bound
        original(sock)
    sink._serve = serve
    server.route("*", sink.via).start()
    server.send("x@remote.example")
    sink.wait_lines(".")
    server.wait_empty()


def test_closing_after_each_message(server, make_script):
    """A host that closes after every message still gets all of them once."""
    def script(line, state):
        answer = honest(line, state)
        if line == "." and not state.get("data"):
            state["done"] = True
            return answer
        return Script.CLOSE if state.get("done") else answer
    sink = make_script(script)
    server.route("*", sink.via, connections=2).start()
    for n in range(10):
        server.send("x@remote.example", f"Subject: {n}\r\n\r\n")
    server.wait_empty()
    subjects = sorted(line for line in sink.lines if line.startswith("Subject: "))
    assert subjects == sorted(f"Subject: {n}" for n in range(10))


def test_a_silent_host_does_not_hold_up_others(server, make_script, make_sink):
    silent, good = make_script(lambda line, state: time.sleep(60) or Script.CLOSE), make_sink()
    server.route("slow.example", silent.via).route("*", good.via).start()
    for _ in range(30):
        server.send("x@slow.example")
    for _ in range(5):
        server.send("x@good.example")
    good.wait(5)
    assert server.queues()["slow.example"]["messages"] == 30


def test_deferred_mail_is_tried_again_by_the_table(server, make_script):
    script = make_script(instead("RCPT", b"450 4.2.1 later\r\n"))
    server.configure(retry={"after": ["1s", "2s", "1h"]})
    server.route("*", script.via).start()
    server.send("x@remote.example")
    script.wait_lines("RCPT", 3)
    row = server.queues()["remote.example"]
    assert row["last_reply"].startswith("450 4.2.1")
