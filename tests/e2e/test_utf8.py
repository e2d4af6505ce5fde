"""Internationalized mail (RFC 6531 to 6533): addresses and headers in UTF-8, taken, kept, found, handed on
where the next hop knows them, and reported."""
import email
import email.policy
import os
import pty
import quopri
import smtplib
import subprocess
import sys

import pytest

from support.server import BUILD, RELAY_PORT, REPOSITORY
from support.sink import SINK_PORT, without_trace
from support.waiting import wait_for
from test_notices import offering, start_postfix

BÜCHER = "xn--bcher-kva.example"  # bücher.example
BODY = "From: böb@bücher.example\r\nSubject: grüß\r\n\r\nhällo\r\n".encode()
ASCII_BODY = b"From: bob@example.org\r\nSubject: plain\r\n\r\nhi\r\n"


def send(server, to, sender="alice@example.org", body=BODY, mail=("SMTPUTF8",), rcpt=()):
    """One message over smtplib, which speaks UTF-8 where SMTPUTF8 is said."""
    with server.smtp() as client:
        client.ehlo()
        assert client.has_extn("smtputf8") and client.has_extn("8bitmime")
        client.sendmail(sender, [to] if isinstance(to, str) else to, body, list(mail), list(rcpt))


@pytest.fixture
def local(server):
    """example.org with jürg; bücher.example, written in U-labels, likewise."""
    (server.directory / "users").write_text("alice\nbob\ncarol\nJürg\n", encoding="utf-8")
    server.config["domain"].append({"name": ["Bücher.example"], "deliver": "mailbox",
                                    "recipients": "file:books", "extension": "+"})
    (server.directory / "books").write_text("jürg\nannie@bücher.example\n", encoding="utf-8")
    return server


@pytest.fixture
def wide(make_sink):
    """A next hop that speaks SMTPUTF8."""
    return make_sink(smtputf8=True)


# --- Taken, and put into mailboxes -------------------------------------------------------------------

def test_a_mailbox_gets_its_mail_however_its_name_is_written(local):
    local.start()
    for to in ("jürg@bücher.example", "JÜRG+lists@Bücher.Example", "ju\u0308rg@" + BÜCHER):
        send(local, to, sender="böb@bücher.example")
    mails = [path.read_bytes() for path in local.wait_mail("jürg", 3, domain=BÜCHER)]
    for mail in mails:
        lines = mail.decode().split("\n")
        assert lines[0] == f"Return-Path: <böb@{BÜCHER}>"
        assert "\tby mx.example.org with UTF8SMTP id " in mail.decode()
        assert without_trace(mail, b"\n") == BODY.replace(b"\r\n", b"\n")
    delivered_to = {mail.decode().split("\n")[1] for mail in mails}
    assert delivered_to == {f"Delivered-To: {name}@{BÜCHER}"  # as it was written
                            for name in ("jürg", "JÜRG+lists", "ju\u0308rg")}
    local.wait_empty()
    assert local.status()["total"]["delivered"] == 3


def test_curl_sends_in_utf8(local, tmp_path):
    local.start()
    (tmp_path / "mail").write_bytes(BODY)
    subprocess.run(["curl", "-sS", f"smtp://{local.ip}:{RELAY_PORT}/client.example", "--mail-from",
                    "böb@bücher.example", "--mail-rcpt", "jürg@example.org", "-T", tmp_path / "mail"],
                   check=True, capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    mail = local.wait_mail("jürg")[0].read_bytes()
    assert b"with UTF8SMTP" in mail and without_trace(mail, b"\n") == BODY.replace(b"\r\n", b"\n")


def test_without_smtputf8_only_ascii_is_heard(local):
    local.start()
    with local.smtp() as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        for mail in ("böb@example.org", "bob@bücher.example"):
            assert client.docmd(f"MAIL FROM:<{mail}>")[0:2] == (
                550, b"5.6.7 An address beyond ASCII needs SMTPUTF8 with MAIL")
        assert client.docmd("MAIL FROM:<bob@example.org>")[0] == 250
        for rcpt in ("jürg@example.org", "jürg@bücher.example", "annie@bücher.example"):
            assert client.docmd(f"RCPT TO:<{rcpt}>")[0] == 553
        # The same domain in A-labels is ASCII.
        assert client.docmd(f"RCPT TO:<annie@{BÜCHER}>")[0] == 250
        assert client.data(ASCII_BODY)[0] == 250
    assert b"with ESMTP id" in local.wait_mail("annie", domain=BÜCHER)[0].read_bytes()
    # Replies are ASCII, whatever was said (RFC 6531 3.7.4.1).
    with local.smtp() as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        client.docmd("MAIL FROM:<böb@example.org> SMTPUTF8")
        assert client.docmd("RCPT TO:<nöbody@example.org>") == (550, b"5.1.1 no such user here")


# --- Handed on ---------------------------------------------------------------------------------------

def test_a_next_hop_that_speaks_it_gets_it_as_it_came(server, wide):
    server.route("*", wide.via).start()
    send(server, ["jürg@bücher.example", "ann@bücher.example"], sender="böb@bücher.example")
    taken, = wide.wait()
    assert taken.sender == f"böb@{BÜCHER}"
    assert sorted(taken.recipients) == [f"ann@{BÜCHER}", f"jürg@{BÜCHER}"]
    assert taken.body == BODY


def test_it_is_said_only_where_it_is_needed(server, make_script):
    hop = make_script(offering("8BITMIME", "SMTPUTF8"))
    server.route("*", hop.via).start()
    send(server, "ann@bücher.example", body=ASCII_BODY)  # its address is ASCII in A-labels
    server.wait_empty()
    send(server, "ann@bücher.example", body=BODY)
    server.wait_empty()
    send(server, "jürg@remote.example", body=ASCII_BODY, rcpt=["ORCPT=utf-8;J\\x{FC}rg@remote.example"])
    server.wait_empty()
    said = [line.encode("latin-1").decode() for line in hop.lines if line.startswith(("MAIL", "RCPT"))]
    assert said == ["MAIL FROM:<alice@example.org>", f"RCPT TO:<ann@{BÜCHER}>",
                    "MAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8", f"RCPT TO:<ann@{BÜCHER}>",
                    # The trace names the recipient, so that the header is UTF-8 too.
                    "MAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8", "RCPT TO:<jürg@remote.example>"]


def test_what_is_ascii_after_all_goes_to_any_next_hop(server, sink):
    server.route("*", sink.via).start()
    send(server, "ann@bücher.example", sender="bob@bücher.example", body=ASCII_BODY + "hällo\r\n".encode())
    taken, = sink.wait()
    assert (taken.sender, taken.recipients) == (f"bob@{BÜCHER}", [f"ann@{BÜCHER}"])
    assert taken.body == ASCII_BODY + "hällo\r\n".encode()


def test_a_utf8_domain_is_looked_up_by_its_a_labels(server, zone, make_sink):
    sink = make_sink(smtputf8=True)
    server.configure(delivery={"port": SINK_PORT})
    zone.mx(BÜCHER, (10, "mx.remote.example"))
    zone.a("mx.remote.example", sink.ip)
    server.start()
    send(server, "jürg@bücher.example")
    assert sink.wait()[0].recipients == [f"jürg@{BÜCHER}"]


def test_an_alias_beyond_ascii_leads_anywhere(server, sink):
    server.config["domain"][0]["aliases"] = "aliases"
    (server.directory / "aliases").write_text("jürg: x@remote.example\n", encoding="utf-8")
    server.route("*", sink.via).start()
    send(server, "jürg@example.org", body=ASCII_BODY)
    taken, = sink.wait()
    assert (taken.recipients, taken.body) == (["x@remote.example"], ASCII_BODY)
    assert b"Delivered-To: j\\x{FC}rg@example.org\r\n" in taken.content and b"\tfor <" not in taken.content
    # And it is known when it comes back, as is what another host may have named in UTF-8.
    for came in (taken.content, "Delivered-To: JÜRG@example.org\r\n".encode() + ASCII_BODY):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(server, "Jürg@example.org", body=came)
        assert refused.value.smtp_code == 554 and b"5.4.6" in refused.value.smtp_error
    server.wait_empty()


def test_it_survives_a_crash(server, make_script):
    server.configure(retry={"after": ["1h"]}).route("*", "smtp://127.0.0.1:9").start()
    send(server, "ann@remote.example", rcpt=["ORCPT=utf-8;Änn@remote.example"])
    wait_for("it waits", lambda: server.queues().get("remote.example", {}).get("state") == "retry")
    wait_for("its row is there", lambda: b"@remote.example" in (server.directory / "spool" / "index").read_bytes())
    server.kill("queued")
    hop = make_script(offering("8BITMIME", "SMTPUTF8", "DSN"))
    server.config["route"][0]["via"] = [hop.via]
    server.write()
    wait_for("queued is back", lambda: server.ctl("reload", check=False).exit == 0)
    server.ctl("retry", "--all")
    server.wait_empty()
    lines = [line.encode("latin-1").decode() for line in hop.lines]
    assert "MAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8" in lines
    assert "RCPT TO:<ann@remote.example> ORCPT=utf-8;Änn@remote.example" in lines


def test_it_moves_with_an_export(make_server, make_script, tmp_path):
    old, new = make_server("old"), make_server("new")
    old.route("*", "smtp://127.0.0.1:9").start()
    send(old, "ann@remote.example")
    wait_for("it waits", lambda: old.queues().get("remote.example", {}).get("state") == "retry")
    old.ctl("export", "--remove", tmp_path / "export")
    hop = make_script(offering("8BITMIME", "SMTPUTF8"))
    new.route("*", hop.via).start()
    new.ctl("import", "--release", tmp_path / "export")
    new.wait_empty()
    assert "MAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8" in hop.lines


def test_a_recipient_is_asked_for_in_utf8(server, wide, make_sink):
    narrow = make_sink()
    wide.refuse["nöbody@wide.example"] = "550 5.1.1 nobody"
    server.config["domain"] += [{"name": [f"{name}.example"], "deliver": hop.via, "recipients": "ask"}
                                for name, hop in (("wide", wide), ("narrow", narrow))]
    server.start()
    with server.smtp() as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        client.docmd("MAIL FROM:<böb@example.org> SMTPUTF8")
        assert client.docmd("RCPT TO:<jürg@wide.example>")[0] == 250
        assert client.docmd("RCPT TO:<nöbody@wide.example>")[0] == 550
        code, text = client.docmd("RCPT TO:<jürg@narrow.example>")
        assert code == 550 and text.startswith(b"5.6.7 ") and b"no SMTPUTF8" in text
        assert client.docmd("RCPT TO:<ann@narrow.example>")[0] == 250


# --- Reported ----------------------------------------------------------------------------------------

def parts(mail):
    notice = email.message_from_bytes(mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
                                      policy=email.policy.default)
    assert notice.get_content_type() == "multipart/report"
    return notice.get_payload()


def blocks(status):
    """The fields of each recipient: of the type that the package knows, and of the one that it does not."""
    if status.get_content_type() == "message/delivery-status":
        return status.get_payload()[1:]
    rest = status.get_payload(0).get_payload(decode=True).decode().replace("\r\n", "\n")
    return [email.message_from_string(block) for block in rest.strip().split("\n\n")]


def test_where_the_next_hop_does_not_speak_it_the_message_bounces(server, sink):
    server.route("*", sink.via).start()
    send(server, ["jürg@remote.example", "ann@remote.example"], body=ASCII_BODY)
    text, status, original = parts(server.wait_mail("alice")[0].read_bytes())
    jürg, = blocks(status)
    assert status.get_content_type() == "message/delivery-status"
    assert jürg["Final-Recipient"] == "utf-8; j\\x{FC}rg@remote.example"
    assert (jürg["Action"], jürg["Status"]) == ("failed", "5.6.7")
    words = " ".join(text.get_content().split())
    assert "<jürg@remote.example>" in words and "(no SMTPUTF8)" in words
    assert original.get_content_type() == "text/rfc822-headers"
    # The others of the same message got it.
    assert [taken.recipients for taken in sink.wait()] == [["ann@remote.example"]]
    server.wait_empty()
    # And one whose header needs it goes to none of them.
    send(server, ["ann@remote.example", "eve@remote.example"])
    notice, = (mail for path in server.wait_mail("alice", 2) if b"5.6.9" in (mail := path.read_bytes()))
    _, status, original = parts(notice)
    assert [block["Status"] for block in blocks(status)] == ["5.6.9", "5.6.9"]
    assert original.get_content_type() == "message/global-headers"
    header = quopri.decodestring(notice.split(b"message/global-headers")[1])
    assert "Subject: grüß".encode() in header and notice.isascii()
    assert len(sink.messages) == 1


def test_a_sender_beyond_ascii_gets_the_notice_in_utf8(local, sink):
    sink.refuse["ann@remote.example"] = "550 5.1.1 no such user"
    local.route("*", sink.via).start()
    send(local, ["jörg@remote.example"], sender="jürg@example.org",
         rcpt=["ORCPT=utf-8;Jörg\\x{2B}x@remote.example"], mail=("SMTPUTF8", "RET=FULL", "ENVID=one"))
    mail = local.wait_mail("jürg")[0].read_bytes()
    text, status, original = parts(mail)
    assert status.get_content_type() == "message/global-delivery-status"
    jörg, = blocks(status)
    assert jörg["Original-Recipient"] == "utf-8; Jörg+x@remote.example"
    assert jörg["Final-Recipient"] == "utf-8; jörg@remote.example"
    assert jörg["Status"] == "5.6.7"
    assert "<jörg@remote.example>" in text.get_content()
    assert original.get_content_type() == "message/global"
    assert b"To: <j\xc3\xbcrg@example.org>\n" in mail
    assert BODY.replace(b"\r\n", b"\n") in mail
    local.wait_empty()


def test_a_notice_in_utf8_goes_where_it_can_be_read(server, make_script, sink):
    home = make_script(offering("8BITMIME", "SMTPUTF8"))
    sink.refuse["ann@remote.example"] = "550 5.1.1 no such user"
    server.route("home.example", home.via).route("*", sink.via).start()
    send(server, "ann@remote.example", sender="jürg@home.example")
    home.wait_lines("MAIL FROM")
    server.wait_empty()
    lines = [line.encode("latin-1").decode() for line in home.lines]
    assert "MAIL FROM:<> BODY=8BITMIME SMTPUTF8" in lines
    assert "RCPT TO:<jürg@home.example>" in lines and "To: <jürg@home.example>" in lines


def test_a_part_with_a_name_in_utf8_comes_back_encoded(server, make_script, wide):
    wide.refuse["ann@remote.example"] = "550 5.1.1 no such user"
    home = make_script(offering("8BITMIME"))
    server.route("home.example", home.via).route("*", wide.via).start()
    body = ('Subject: plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n'
            'Content-Disposition: attachment; filename="grüß"\r\n\r\nhi\r\n--b--\r\n').encode()
    send(server, "ann@remote.example", sender="bob@home.example", body=body, mail=("SMTPUTF8", "RET=FULL"))
    home.wait_lines("MAIL FROM")
    server.wait_empty()
    assert "MAIL FROM:<>" in home.lines and "Content-Type: message/global" in home.lines
    assert 'Content-Disposition: attachment; filename=3D"gr=C3=BC=C3=9F"' in home.lines


def test_success_is_reported_with_the_original_recipient(local):
    local.start()
    send(local, "jürg@example.org", rcpt=["NOTIFY=SUCCESS", "ORCPT=utf-8;J\\x{FC}rg@old.example"])
    _, status, _ = parts(local.wait_mail("alice")[0].read_bytes())
    jürg, = blocks(status)
    assert jürg["Original-Recipient"] == "utf-8; J\\x{FC}rg@old.example"
    assert jürg["Final-Recipient"] == "utf-8; j\\x{FC}rg@example.org"
    assert jürg["Action"] == "delivered"


# --- Shown -------------------------------------------------------------------------------------------

def on_a_terminal(server, *words, locale):
    """What posternctl writes to a terminal of that locale."""
    ours, its = pty.openpty()
    done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", server.file, *words], stdin=subprocess.DEVNULL,
                          stdout=its, check=True, timeout=60, env={**os.environ, "LC_ALL": locale})
    assert done.returncode == 0
    os.close(its)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # all of it was read
        pass
    os.close(ours)
    return text


def test_people_find_and_read_addresses(server):
    server.configure(retry={"after": ["1h"]}).route("*", "smtp://127.0.0.1:9").start()
    send(server, "jürg@bücher.example", sender="böb@bücher.example")
    send(server, "jurg@remote.example")
    wait_for("both wait", lambda: {queue["state"] for queue in server.queues().values()} == {"retry"})
    for words in (("--from", "BÖB@"), ("--to", "ju\u0308rg"), ("--to", "@bücher"), ("--queue", "bücher.example"),
                  ("--from", f"böb@{BÜCHER}")):
        assert [row["from"] for row in server.messages(*words)] == [f"böb@{BÜCHER}"], words
    assert f"böb@{BÜCHER}" in server.ctl_text("messages").out
    assert f"jürg@{BÜCHER}" in server.ctl_text("explain", server.messages("--to", "jürg")[0]["id"]).out
    assert f"böb@{BÜCHER}".encode() in on_a_terminal(server, "messages", locale="C.UTF-8")
    shown = on_a_terminal(server, "messages", locale="C")
    assert shown.isascii() and b"b\\xc3\\xb6b@" in shown
    assert any(f'from="böb@{BÜCHER}"' in line for line in server.lines)
    server.ctl("freeze", "bücher.example", "--reason", "grüße")
    assert server.queues()[BÜCHER]["state"] == "frozen"
    server.ctl("hold", "--to", "jürg", "--also-new", "--reason", "x")
    assert [row["name"] for row in server.ctl("blocks").rows if row["kind"] == "hold"] == ["--to jürg"]
    server.restart()
    assert [row["name"] for row in server.ctl("blocks").rows if row["kind"] == "hold"] == ["--to jürg"]
    send(server, "Jürg@elsewhere.example")
    assert server.messages("--to", "@elsewhere")[0]["state"] == "held"


def test_finished_mail_is_found_by_its_utf8_address(server, wide):
    server.route("*", wide.via).start()
    send(server, "jürg@bücher.example", sender="böb@bücher.example")
    server.wait_empty()
    for words in (("--from", "böb@bücher"), ("--to", "JÜRG"), ("--to", "@bücher.example")):
        assert [row["to"] for row in server.ctl("history", *words).rows] == [f"jürg@{BÜCHER}"], words
    assert server.ctl("history", "--to", "jurg").rows == []


# --- A neighbour not written here --------------------------------------------------------------------

@pytest.mark.root
def test_postfix_takes_it_and_bounces_it_to_us(local, make_sink, closing, tmp_path, monkeypatch):
    sys.path.insert(0, str(REPOSITORY / "bench"))
    from rig.postfix import TUNING
    monkeypatch.setitem(TUNING, "smtputf8_enable", ("yes", "that is what is tested"))
    final = make_sink(smtputf8=True)
    final.refuse["jörg@remote.example"] = "550 5.1.1 no"
    postfix = start_postfix(tmp_path, closing, (final.ip, SINK_PORT))
    local.route("*", postfix).start()
    send(local, "änn@remote.example", sender="böb@example.org", rcpt=["ORCPT=utf-8;Änn@remote.example"])
    taken, = final.wait()
    assert (taken.sender, taken.recipients) == ("böb@example.org", ["änn@remote.example"])
    assert BODY in taken.content
    local.wait_empty()
    # Its notice about a message of ours comes to the final hop: all mail of this Postfix goes there.
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(local, "nöbody@example.org", sender="böb@example.org")
    send(local, "jörg@remote.example", sender="böb@elsewhere.example", rcpt=["ORCPT=utf-8;Jörg@old.example"])
    report = next(message for message in final.wait(2) if message.recipients == ["böb@elsewhere.example"])
    assert "jörg@remote.example".encode() in report.content
    assert "utf-8;Jörg@old.example".encode() in report.content or b"utf-8;J\\x{F6}rg@old.example" in report.content
