"""Bounces: one for a permanent failure, in the form of RFC 3464; none for a bounce."""
import email
import email.policy

from support.server import MX_PORT
from support.waiting import wait_for


def test_bounce_parses_as_rfc_3464(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no such user: <b>"
    server.route("*", sink.via).start()
    ident = server.send(["x@remote.example", "good@remote.example"],
                        "Subject: precious\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n")
    path = server.wait_mail("alice")[0]
    assert path.read_bytes().startswith(b"Return-Path: <>\n")
    bounce = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert bounce.get_content_type() == "multipart/report"
    assert bounce.get_param("report-type") == "delivery-status"
    assert bounce["To"] and "alice@example.org" in bounce["To"]
    assert "Mail Delivery System" in bounce["From"]
    assert bounce["Auto-Submitted"].startswith("auto-")
    assert bounce["Date"] and bounce["Message-ID"] and bounce["Subject"]
    parts = list(bounce.iter_parts())
    assert [part.get_content_type() for part in parts][:2] == ["text/plain", "message/delivery-status"]
    assert "x@remote.example" in parts[0].get_content()
    fields = parts[1].get_payload()
    assert fields[0]["Reporting-MTA"] == "dns; mx.example.org"
    assert len(fields) == 2  # the message's fields, one failed recipient
    assert fields[1]["Final-Recipient"] == "rfc822; x@remote.example"
    assert fields[1]["Action"] == "failed"
    assert fields[1]["Status"] == "5.1.1"
    assert fields[1]["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such user")
    assert parts[2].get_content_type() in ("text/rfc822-headers", "message/rfc822")
    assert "precious" in parts[2].as_string()
    server.wait_empty()
    assert sink.wait()[0].recipients == ["good@remote.example"]
    status = server.status()["total"]
    assert (status["failed"], status["bounces"]) == (1, 1)
    assert ident in path.read_text()


def test_two_failures_of_one_message_are_one_bounce(server, sink):
    for user in ("x", "y"):
        sink.refuse[f"{user}@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    server.send(["x@remote.example", "y@remote.example"])
    server.wait_empty()
    text = server.wait_mail("alice")[0].read_text()
    assert "x@remote.example" in text and "y@remote.example" in text
    assert len(server.mailbox("alice")) == 1


def test_no_bounce_for_a_bounce(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    server.send("x@remote.example", sender="")
    server.wait_empty()
    assert server.status()["total"]["bounces"] == 0
    assert not server.mailbox("carol")  # postmaster


def test_a_bounce_that_fails_ends_there(server, sink):
    """The sender's own domain is remote and refuses: the notice fails once, and nothing follows."""
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    sink.refuse["sender@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    server.send("x@remote.example", sender="sender@remote.example")
    server.wait_empty()
    assert server.status()["total"]["bounces"] == 1
    assert not sink.messages


def test_bounce_goes_out_to_a_remote_sender(server, sink):
    sink.refuse["x@remote.example"] = "554 5.7.1 not you"
    server.route("*", sink.via).start()
    server.send("x@remote.example", sender="sender@remote.example")
    message = sink.wait()[0]
    assert message.sender in ("", "<>") and message.recipients == ["sender@remote.example"]
    server.wait_empty()


def test_a_reply_with_control_characters_stays_on_its_line(server, make_script):
    from support.sink import instead
    script = make_script(instead("RCPT", b"550 5.1.1 a\x1b[2J\x00b\rc \xff\r\n"))
    server.route("*", script.via).start()
    server.send("x@remote.example")
    text = server.wait_mail("alice")[0].read_bytes()
    assert b"\x1b" not in text and b"\x00" not in text and b"\r" not in text
    server.wait_empty()
    assert all("\x1b" not in line for line in server.lines)


def test_large_message_is_not_returned_whole(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    server.send("x@remote.example", "Subject: big\r\n\r\n" + ("x" * 70 + "\r\n") * 60000)
    path = server.wait_mail("alice")[0]
    assert path.stat().st_size < 200_000
    assert b"Subject: big" in path.read_bytes()


def test_rejected_mail_from_strangers_makes_no_bounce(postern):
    """What is refused at RCPT is the client's to report."""
    hand = postern.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<alice@example.org>", "250")
    hand.expect("RCPT TO:<nobody@example.org>", "550")
    hand.expect("QUIT", "221")
    wait_for("nothing is queued", lambda: postern.status()["queue"]["messages"] == 0)
    assert not postern.mailbox("alice")
