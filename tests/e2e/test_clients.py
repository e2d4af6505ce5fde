"""Mail comes in from clients that others wrote, and by hand."""
import email
import email.utils
import smtplib
import subprocess
import time

import pytest

from support.server import MX_PORT, RELAY_PORT, send_on


def only(paths):
    assert len(paths) == 1
    return paths[0].read_bytes()


def test_swaks(postern):
    subprocess.run(["swaks", "--server", postern.ip, "--port", str(RELAY_PORT), "--from",
                    "alice@example.org", "--to", "bob@example.org", "--header", "Subject: by swaks",
                    "--body", "one\n.two\n"], check=True, capture_output=True, timeout=60)
    text = only(postern.wait_mail("bob"))
    assert b"Subject: by swaks\n" in text
    assert b"\none\n.two\n" in text


def test_curl(postern, tmp_path):
    mail = tmp_path / "mail"
    mail.write_bytes(b"Subject: by curl\r\n\r\nhello\r\n")
    subprocess.run(["curl", "--silent", "--show-error", "--url", f"smtp://{postern.ip}:{RELAY_PORT}",
                    "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org",
                    "--mail-rcpt", "carol@example.org", "--upload-file", mail],
                   check=True, capture_output=True, timeout=60)
    for user in ("bob", "carol"):
        assert b"Subject: by curl\n\nhello\n" in only(postern.wait_mail(user))


def test_smtplib_many_messages_on_one_connection(postern):
    with postern.smtp() as client:
        ids = [send_on(client, "alice@example.org", ["bob@example.org"], f"Subject: {n}\r\n\r\n{n}\r\n")
               for n in range(50)]
    assert len(set(ids)) == 50
    assert ids == sorted(ids)
    found = [path.read_text() for path in postern.wait_mail("bob", 50)]
    assert sorted(int(text.rsplit("\n\n", 1)[1]) for text in found) == list(range(50))


def test_by_hand_in_lower_case_without_brackets(postern):
    hand = postern.session_by_hand()
    assert hand.greeting == "220 mx.example.org ESMTP Postern"
    hand.expect("helo me", "250 mx.example.org")
    hand.expect("mail from: alice@example.org", "250 2.1.0")
    hand.expect("rcpt to: bob@example.org", "250 2.1.5")
    hand.expect("data", "354")
    hand.send(b"subject: by hand\r\n\r\nhi\r\n")
    answer = hand.expect(".", "250 2.0.0 Ok: queued as ")
    hand.expect("quit", "221")
    assert hand.is_closed()
    text = only(postern.wait_mail("bob"))
    assert b"subject: by hand\n\nhi\n" in text
    assert answer.split()[-1].encode() in text  # the id of the 250 is in our Received header


def test_a_bare_user_gets_the_default_domain(postern):
    hand = postern.session_by_hand()
    hand.expect("helo me", "250")
    hand.expect("mail from: alice", "250")
    hand.expect("rcpt to: bob", "250")
    hand.expect("data", "354")
    hand.send(b"\r\nhi\r\n")
    hand.expect(".", "250")
    assert only(postern.wait_mail("bob")).startswith(b"Return-Path: <alice@example.org>\n")


def test_pipelined_in_one_write(postern):
    hand = postern.session_by_hand()
    hand.expect("EHLO client.example", "250")
    hand.send(b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<nobody@example.org>"
              b"\r\nDATA\r\n")
    assert [hand.reply()[:3] for _ in range(4)] == ["250", "250", "550", "354"]
    hand.send(b"one\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
    assert [hand.reply()[:3] for _ in range(4)] == ["250", "250", "250", "221"]
    assert only(postern.wait_mail("bob")).endswith(b"\none\n")


def test_one_byte_at_a_time(postern):
    hand = postern.session_by_hand()
    wire = (b"EHLO c\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            b"a: b\r\n\r\n..x\r\n.\r\nQUIT\r\n")
    for at in range(len(wire)):
        hand.send(wire[at:at + 1])
    assert [hand.reply()[:3] for _ in range(6)] == ["250", "250", "250", "354", "250", "221"]
    assert only(postern.wait_mail("bob")).endswith(b"a: b\n\n.x\n")


def test_trace_headers(postern):
    with postern.smtp() as client:
        client.ehlo("hello.example")
        ident = send_on(client, "alice@example.org", ["bob@example.org"], "Subject: x\r\n\r\ny\r\n")
    parsed = email.message_from_bytes(only(postern.wait_mail("bob")))
    assert parsed["Return-Path"] == "<alice@example.org>"
    received = parsed.get_all("Received")
    assert len(received) == 1
    words = " ".join(received[0].split())
    assert "from hello.example" in words and "[127.0.0.1]" in words
    assert "by mx.example.org" in words and f"id {ident}" in words and "with ESMTP" in words
    assert "for <bob@example.org>" in words
    when = email.utils.parsedate_to_datetime(words.rsplit(";", 1)[1].strip())
    assert abs(when.timestamp() - time.time()) < 60


def test_two_recipients_do_not_see_each_other(postern):
    postern.send(["bob@example.org", "carol@example.org"])
    assert b"carol" not in only(postern.wait_mail("bob"))
    assert b"bob" not in only(postern.wait_mail("carol"))


def test_extension_case_and_postmaster(postern):
    postern.send("BOB+news@Example.ORG", port=MX_PORT)
    postern.wait_mail("bob", 1)
    # And who stands in our notices.
    for postmaster in ("postmaster", "Postmaster@example.org", "postmaster@mx.example.org",
                       "MAILER-DAEMON@mx.example.org", "mailer-daemon@example.org"):
        postern.send(postmaster, port=MX_PORT)
    postern.wait_mail("carol", 5)


def test_strangers_reach_our_users_only(postern):
    with postern.smtp(MX_PORT) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send_on(client, "x@remote.example", ["y@elsewhere.example"], "\r\n")
        assert refused.value.recipients["y@elsewhere.example"][0] == 550
        assert refused.value.recipients["y@elsewhere.example"][1].startswith(b"5.7.1")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send_on(client, "x@remote.example", ["nobody@example.org"], "\r\n")
        assert refused.value.recipients["nobody@example.org"][1].startswith(b"5.1.1")
        send_on(client, "x@remote.example", ["bob@example.org"], "Subject: x\r\n\r\n")
    postern.wait_mail("bob")
    assert postern.status()["total"]["accepted"] == 1


def test_a_client_outside_relay_from(server):
    """The relay listener serves only its own networks."""
    server.config["listen"][0]["relay_from"] = ["192.0.2.0/24"]
    server.start()
    hand = server.session_by_hand()
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<alice@example.org>", "250")
    hand.expect("RCPT TO:<x@remote.example>", "550 5.7.1")


def test_commands_of_rfc_5321(postern):
    hand = postern.session_by_hand()
    extensions = hand.expect("EHLO client.example", "250-mx.example.org")
    for word in ("PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"):
        assert word in extensions
    hand.expect("NOOP anything", "250")
    hand.expect("VRFY bob", "252")
    hand.expect("EXPN list", "5")
    hand.expect("HELP", "214")
    hand.expect("RSET", "250")
    hand.expect("MAIL FROM:<alice@example.org> SIZE=99999999", "552")
    hand.expect("MAIL FROM:<alice@example.org> SIZE=10 BODY=8BITMIME", "250")
    hand.expect("QUIT", "221")


def test_drop(server):
    server.configure(mailbox={"path": "drop:drop"}).start()
    ident = server.send(["bob@example.org", "carol@example.org"])
    server.wait_empty()
    files = sorted((server.directory / "drop").iterdir())
    assert files and all(path.suffix == ".eml" for path in files)
    assert all(ident.encode() in path.read_bytes() for path in files)


def test_recipients_any(server):
    server.config["domain"].append({"name": ["any.example"], "deliver": "mailbox",
                                    "recipients": "any"})
    server.start()
    server.send("Who.Ever@any.example", port=MX_PORT)
    server.wait_mail("who.ever", domain="any.example")
    server.send('"../../up"@any.example', port=MX_PORT)
    server.wait_empty()
    names = sorted(path.name for path in (server.directory / "mail" / "any.example").iterdir())
    assert len(names) == 2 and all("/" not in name and not name.startswith(".") for name in names)
    assert not (server.directory / "up").exists() and not (server.directory / "mail" / "up").exists()
