"""What senders are told: DSN parameters taken and handed on, reports of every kind, delays, badmail."""
import email
import email.policy
import re
import smtplib
import socket
import sys
import threading

import pytest

from support.server import MX_PORT, REPOSITORY
from support.sink import SINK_PORT, honest, instead
from support.waiting import wait_for
from test_peers import PEERS

BODY = "Subject: precious\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"


def send(server, to, mail=(), rcpt=(), body=BODY, sender="alice@example.org"):
    """One message with parameters of MAIL and RCPT."""
    with server.smtp() as client:
        client.ehlo()
        assert client.has_extn("dsn")
        client.sendmail(sender, [to] if isinstance(to, str) else to, body, mail, rcpt)


def read(path):
    """(the notice's text for people, its fields, those of each recipient, the original's part)"""
    notice = email.message_from_bytes(path.read_bytes().replace(b"\n", b"\r\n"),
                                      policy=email.policy.default)
    assert notice.get_content_type() == "multipart/report"
    assert notice.get_param("report-type") == "delivery-status"
    text, status, original = notice.iter_parts()
    message, *recipients = status.get_payload()
    return text.get_content(), message, recipients, original


def notices_of(server, user="alice"):
    return [read(path) for path in server.mailbox(user)]


def offering(*keywords):
    """An honest next hop with these extensions."""
    def script(line, state):
        if line.upper().startswith("EHLO") and not state.get("data"):
            words = ["sink.example", *keywords]
            return "".join(f"250{'-' if word is not words[-1] else ' '}{word}\r\n"
                           for word in words).encode()
        return honest(line, state)
    return script


# --- parameters -------------------------------------------------------------------------------------

def test_a_next_hop_with_dsn_is_told_what_is_wanted(server, make_script):
    hop = make_script(offering("DSN"))
    server.route("*", hop.via).start()
    send(server, "x@remote.example", ["RET=HDRS", "ENVID=QQ+2B1"],
         ["NOTIFY=success,delay", "ORCPT=rfc822;old+2Bx@remote.example"])
    server.wait_empty()
    assert "MAIL FROM:<alice@example.org> RET=HDRS ENVID=QQ+2B1" in hop.lines
    assert ("RCPT TO:<x@remote.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Bx@remote.example"
            in hop.lines)
    assert not server.mailbox("alice")  # the next hop reports


def test_what_is_wanted_survives_a_crash(server, make_script):
    server.configure(retry={"after": ["1h"]}).route("*", "smtp://127.0.0.1:9").start()
    send(server, "x@remote.example", ["ENVID=here"], ["NOTIFY=NEVER", "ORCPT=x;y"])
    wait_for("it waits", lambda: server.queues().get("remote.example", {}).get("state") == "retry")
    wait_for("its blocks are saved", (server.directory / "spool" / "control.json").exists)
    server.kill("queued")
    hop = make_script(offering("DSN", "PIPELINING"))
    server.config["route"][0]["via"] = [hop.via]
    server.write()
    wait_for("queued is back", lambda: server.ctl("reload", check=False).exit == 0)
    server.ctl("retry", "--all")
    server.wait_empty()
    assert "RCPT TO:<x@remote.example> NOTIFY=NEVER ORCPT=x;y" in hop.lines


# --- successes --------------------------------------------------------------------------------------

def test_a_message_that_is_handed_on_beyond_reports_is_reported_relayed(server, sink):
    server.route("*", sink.via).start()
    send(server, "x@remote.example", ["RET=FULL", "ENVID=QQ+2B1"],
         ["NOTIFY=SUCCESS", "ORCPT=rfc822;old+2Bx@remote.example"])
    text, message, (recipient,), original = read(server.wait_mail("alice")[0])
    assert "x@remote.example" in text
    assert message["Original-Envelope-Id"] == "QQ+1"
    assert recipient["Original-Recipient"] == "rfc822; old+x@remote.example"
    assert recipient["Action"] == "relayed" and recipient["Status"].startswith("2.")
    assert original.get_content_type() == "text/rfc822-headers"  # only failures bring it back whole
    server.wait_empty()
    assert server.status()["total"]["bounces"] == 0


def test_a_message_in_its_mailbox_is_reported_delivered(postern):
    send(postern, ["bob@example.org", "carol@example.org"], rcpt=["NOTIFY=SUCCESS"])
    _, _, recipients, _ = read(postern.wait_mail("alice")[0])
    assert {r["Final-Recipient"] for r in recipients} == {"rfc822; bob@example.org",
                                                          "rfc822; carol@example.org"}
    assert {r["Action"] for r in recipients} == {"delivered"}
    assert not any("Remote-MTA" in r for r in recipients)
    postern.wait_empty()
    assert len(postern.mailbox("alice")) == 1


def test_a_hundred_successes_at_one_host_are_one_notice(server, sink):
    """They are handed on in several transactions, each of which is recorded as soon as it is known."""
    users = [f"u{n}@remote.example" for n in range(100)]
    server.route("*", sink.via).start()
    send(server, users, ["ENVID=QQ+2B1"], ["NOTIFY=SUCCESS"])
    _, message, recipients, _ = read(server.wait_mail("alice")[0])
    server.wait_empty()
    assert len(sink.wait()) >= 3 and len(server.mailbox("alice")) == 1
    assert message["Original-Envelope-Id"] == "QQ+1"
    assert sorted(r["Final-Recipient"] for r in recipients) == sorted(f"rfc822; {user}" for user in users)
    assert {r["Action"] for r in recipients} == {"relayed"}
    assert len(server.events("notice.sent")) == 1
    assert server.status()["total"]["bounces"] == 0


def second_is_silent(make_script, reply=None):
    """A host whose first session answers RCPT (with `reply`, else as it should), and whose others say nothing to it
    while "silent" holds of what is seen."""
    seen = {"sessions": 0, "silent": True}
    second = threading.Event()

    def script(line, state):
        if line == "":
            seen["sessions"] += 1
            state["silent"] = seen["sessions"] > 1 and seen["silent"]
        if not line.upper().startswith("RCPT"):
            return honest(line, state)
        if state["silent"]:
            second.set()
            return None
        second.wait(30)  # or the first session might be given the others too
        return reply or honest(line, state)

    return seen, make_script(script)


def test_a_crash_loses_no_success_and_tells_none_twice(server, make_script):
    """The first session takes its recipients, the second one says nothing to its own until queued is dead."""
    seen, hop = second_is_silent(make_script)
    server.route("*", hop.via, connections=2).start()
    users = [f"u{n}@remote.example" for n in range(72)]
    send(server, users, rcpt=["NOTIFY=SUCCESS"])
    server.wait_log("delivery.ok", 36)
    assert not server.events("notice.sent")
    wait_for("its blocks are saved", (server.directory / "spool" / "control.json").exists)
    seen["silent"] = False
    server.kill("queued")
    server.kill("relay")
    server.wait_empty(90)  # the first notice is due when its half a minute is over
    told = [r["Final-Recipient"] for n in notices_of(server) for r in n[2]]
    assert sorted(told) == sorted(f"rfc822; {user}" for user in users)


def test_failures_and_successes_at_one_host_are_one_notice(server, sink):
    users = [f"u{n}@remote.example" for n in range(100)]
    sink.refuse.update({user: "550 5.1.1 no" for user in users[::2]})
    server.route("*", sink.via).start()
    send(server, users, rcpt=["NOTIFY=SUCCESS,FAILURE"])
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    server.wait_empty()
    assert len(server.mailbox("alice")) == 1
    assert {r["Final-Recipient"]: r["Action"] for r in recipients} == {
        f"rfc822; {user}": "relayed" if n % 2 else "failed" for n, user in enumerate(users)}


# --- failures ---------------------------------------------------------------------------------------

def test_never_means_never(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    send(server, "x@remote.example", rcpt=["NOTIFY=NEVER"])
    server.wait_empty()
    assert server.status()["total"]["failed"] == 1
    assert not server.mailbox("alice") and not (server.directory / "spool" / "badmail").exists()
    assert server.ctl("history", "--to", "x@").rows[0]["end"] == "failed"


def test_thirty_failures_are_one_notice(server, sink):
    users = [f"u{n}@remote.example" for n in range(30)]
    sink.refuse.update({user: "550 5.1.1 no" for user in users})
    server.route("*", sink.via).start()
    send(server, users)
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    server.wait_empty()
    assert len(server.mailbox("alice")) == 1
    assert {r["Final-Recipient"] for r in recipients} == {f"rfc822; {user}" for user in users}


def test_a_thousand_refusals_by_one_host_are_one_notice(server, sink):
    users = [f"u{n}@remote.example" for n in range(1000)]
    sink.refuse.update({user: "550 5.1.1 no" for user in users})
    server.configure(space={"segment": "16MiB"}, limits={"recipients": 1000})
    server.route("*", sink.via).start()
    send(server, users)
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    server.wait_empty()
    assert len(recipients) == 1000
    assert len(server.mailbox("alice")) == 1 and len(server.events("bounce.sent")) == 1
    assert server.status()["total"]["failed"] == 1000


def test_a_crash_loses_no_failure_that_waits_for_others(server, make_script):
    """The first session refuses its 36 recipients, the second one says nothing to its own."""
    seen, hop = second_is_silent(make_script, b"550 5.1.1 no\r\n")
    server.route("*", hop.via, connections=2).start()
    users = [f"u{n}@remote.example" for n in range(72)]
    send(server, users)
    wait_for("36 were refused, 36 wait", lambda: seen["sessions"] >= 2 and
             sum(line.upper().startswith("RCPT") for line in list(hop.lines)) >= 37)
    assert not server.events("bounce.sent")
    wait_for("its blocks are saved", (server.directory / "spool" / "control.json").exists)
    seen["silent"] = False
    server.kill("queued")
    server.kill("relay")
    server.wait_mail("alice")
    server.wait_empty()
    told = [r["Final-Recipient"] for n in notices_of(server) for r in n[2]]
    assert sorted(told) == sorted(f"rfc822; {user}" for user in users)


def test_a_domain_that_does_not_exist_fails_all_its_recipients_in_one_notice(server, zone):
    server.start()  # the zone knows of nothing
    send(server, [f"u{n}@nowhere.example" for n in range(200)])
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    assert len(recipients) == 200
    server.wait_empty()
    assert len(server.mailbox("alice")) == 1


def test_the_whole_message_comes_back_as_it_was(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    body = "Subject: gr\u00fc\u00df\r\n\r\n.a dot\r\n\u00e9\r\n".encode() + b"x" * 998 + b"\r\n\xff\r\n"
    send(server, "x@remote.example", ["RET=FULL", "BODY=8BITMIME"], body=body)
    path = server.wait_mail("alice")[0]
    _, _, _, original = read(path)
    assert original.get_content_type() == "message/rfc822"
    assert body.replace(b"\r\n", b"\n") in path.read_bytes()


def test_to_where_seven_bits_are_taken_the_header_comes_back(server, make_script, sink):
    home = make_script(offering("SIZE"))
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("home.example", home.via).route("*", sink.via).start()
    body = "Subject: plain\r\n\r\nh\u00e4llo\r\n".encode()
    send(server, "x@remote.example", ["RET=FULL", "BODY=8BITMIME"], body=body, sender="ann@home.example")
    home.wait_lines("MAIL FROM:<>")
    server.wait_empty()
    assert "Content-Type: text/rfc822-headers" in home.lines and "Subject: plain" in home.lines
    assert not any("llo" in line for line in home.lines) and "Status: 5.1.1" in home.lines
    assert not (server.directory / "spool" / "badmail").exists()
    removed, = server.events("message.removed")
    assert "sent without the returned message as " in removed["reply"] and "no 8BITMIME" in removed["reply"]


def test_headers_come_back_readable_whatever_they_hold(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    body = "Subject: gr\u00fc\u00df\r\nX-Long: ".encode() + b"y" * 5000 + b"\r\n\r\nbody\r\n"
    send(server, "x@remote.example", ["RET=HDRS", "BODY=8BITMIME"], body=body)
    path = server.wait_mail("alice")[0]
    assert max(map(len, path.read_bytes().split(b"\n"))) <= 998
    *_, original = read(path)
    header = original.get_payload(decode=True)
    assert "Subject: gr\u00fc\u00df".encode() in header and b"y" * 5000 in header


def test_a_copy_of_each_bounce(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 no"
    server.configure(bounce={"copy_to": "bob@example.org"}).route("*", sink.via).start()
    send(server, ["x@remote.example", "y@remote.example"], rcpt=["NOTIFY=FAILURE,SUCCESS"])
    server.wait_mail("alice")
    copy, = server.wait_mail("bob")
    assert any(r["Action"] == "failed" for r in read(copy)[2])
    send(server, "y@remote.example", rcpt=["NOTIFY=SUCCESS"])
    server.wait_mail("alice", 2)
    server.wait_empty()
    assert len(server.mailbox("bob")) == 1


# --- delays -----------------------------------------------------------------------------------------

def test_a_delay_of_a_recipient_is_told_once(server, make_script):
    server.configure(retry={"after": ["1s"], "notify": "2s"})
    server.route("*", make_script(instead("RCPT", b"451 4.7.1 greylisted\r\n")).via).start()
    send(server, "x@remote.example")
    send(server, "y@remote.example", rcpt=["NOTIFY=FAILURE"])
    text, _, (recipient,), _ = read(server.wait_mail("alice")[0])
    assert "greylisted" in text and "has not been delivered yet" in text
    assert recipient["Final-Recipient"] == "rfc822; x@remote.example"
    assert recipient["Action"] == "delayed" and recipient["Status"] == "4.7.1"
    assert recipient["Will-Retry-Until"]
    assert len(server.messages()) == 2  # both are still tried
    server.kill("queued")
    deferred = len(server.events("delivery.deferred"))
    server.wait_log("delivery.deferred", deferred + 6)
    assert len(server.mailbox("alice")) == 1
    assert len(server.events("notice.sent")) == 1


def test_a_delay_of_a_whole_queue_is_told_once_for_each_message(server):
    server.configure(retry={"after": ["1s"], "notify": "2s"})
    server.route("*", "smtp://127.0.0.1:9").start()
    for _ in range(3):
        send(server, ["x@remote.example", "y@remote.example"])
    server.wait_mail("alice", 3)
    deferred = len(server.events("queue.deferred"))
    server.wait_log("queue.deferred", deferred + 3)
    for _, _, recipients, _ in notices_of(server):
        assert [r["Action"] for r in recipients] == ["delayed", "delayed"]
    assert len(server.mailbox("alice")) == 3
    assert not server.events("delivery.deferred")  # no recipient was touched


def test_a_delay_of_many_at_one_host_is_one_notice(server, make_script):
    """The first attempts are too early, and at the second ones all are late."""
    server.configure(retry={"after": ["8s"], "notify": "6s"})
    server.route("*", make_script(instead("RCPT", b"451 4.7.1 greylisted\r\n")).via).start()
    users = [f"u{n}@remote.example" for n in range(72)]
    send(server, users)
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    assert sorted(r["Final-Recipient"] for r in recipients) == sorted(f"rfc822; {user}" for user in users)
    assert {r["Action"] for r in recipients} == {"delayed"}
    assert len(server.mailbox("alice")) == 1 and len(server.events("notice.sent")) == 1
    assert server.messages()  # it is still tried


def test_a_delay_of_several_domains_behind_one_host_is_one_notice(server):
    server.configure(retry={"after": ["1s"], "notify": "2s"})
    server.route("*", "smtp://127.0.0.1:9").start()
    users = [f"x@{name}.example" for name in ("one", "two", "three")]
    send(server, users)
    _, _, recipients, _ = read(server.wait_mail("alice")[0])
    deferred = len(server.events("queue.deferred"))
    server.wait_log("queue.deferred", deferred + 3)
    assert {r["Final-Recipient"] for r in recipients} == {f"rfc822; {user}" for user in users}
    assert len(server.mailbox("alice")) == 1


def test_a_frozen_queue_causes_no_notice_of_delay(server):
    server.configure(retry={"after": ["1s"], "notify": "3s"})
    server.route("*", "smtp://127.0.0.1:9").start()
    server.ctl("freeze", "remote.example", "--future", "--reason", "work")
    send(server, "x@remote.example")
    send(server, "x@other.example")
    server.wait_mail("alice")  # of the other queue: the time has passed
    server.ctl("unfreeze", "remote.example")
    wait_for("it is tried", lambda: server.events("queue.deferred", queue="remote.example"))
    assert [n[2][0]["Final-Recipient"] for n in notices_of(server)] == ["rfc822; x@other.example"]
    server.wait_mail("alice", 2)  # when its own time has come


def test_a_large_message_of_eight_bits_is_called_so(server, make_script):
    hop = make_script(offering("8BITMIME"))
    server.route("*", hop.via).start()
    line = b"x" * 70 + b"\r\n"
    for eight_bit in (True, False):  # its client says nothing of it
        last = b"\xe4\r\n" if eight_bit else line
        send(server, "x@remote.example", body=b"Subject: large\r\n\r\n" + line * 10_000 + last)
        server.wait_empty()
    assert [said for said in hop.lines if said.startswith("MAIL")] == [
        "MAIL FROM:<alice@example.org> BODY=8BITMIME", "MAIL FROM:<alice@example.org>"]


# --- badmail ----------------------------------------------------------------------------------------

def refused_from_nobody(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 never heard of"
    server.route("*", sink.via).start()
    ident = server.send("x@remote.example", BODY, sender="")
    server.wait_empty()
    return ident


def check_badmail(folder, ident):
    assert sorted(path.name for path in folder.iterdir()) == [f"{ident}.eml", f"{ident}.reason"]
    assert (folder / f"{ident}.eml").read_bytes().endswith(BODY.encode())
    reason = (folder / f"{ident}.reason").read_text()
    assert "To: <x@remote.example>" in reason and "550 5.1.1 never heard of" in reason


def test_what_cannot_be_returned_goes_into_badmail(server, sink):
    ident = refused_from_nobody(server, sink)
    check_badmail(server.directory / "spool" / "badmail", ident)
    assert server.ctl("history", ident).rows[0]["end"] == "badmail"
    assert server.status()["total"]["bounces"] == 0


def test_badmail_elsewhere(server, sink):
    server.configure(bounce={"badmail": "bad/mail"})
    ident = refused_from_nobody(server, sink)
    check_badmail(server.directory / "bad" / "mail", ident)
    assert not (server.directory / "spool" / "badmail").exists()
    server.configure(bounce={"badmail": "other"}).write()
    answer = server.ctl("reload", check=False)
    assert answer.exit != 0 and "bounce.badmail" in answer.out + answer.err


def test_a_notice_that_fails_goes_into_badmail(server, sink):
    for user in ("x", "sender"):
        sink.refuse[f"{user}@remote.example"] = "550 5.1.1 no"
    server.route("*", sink.via).start()
    send(server, "x@remote.example", sender="sender@remote.example")
    folder = server.directory / "spool" / "badmail"
    kept, = wait_for("it is in badmail",
                     lambda: list(folder.glob("*.eml")) if server.events("message.badmail") else None)
    assert email.message_from_bytes(kept.read_bytes()).get_content_type() == "multipart/report"
    assert "a notice of our own" in kept.with_suffix(".reason").read_text()


# --- loops ------------------------------------------------------------------------------------------

def test_a_hundred_received_fields_are_a_loop(postern):
    trace = "".join(f"Received: from a by b; {n}\r\n" for n in range(100))
    postern.send("bob@example.org", trace + BODY)
    try:
        postern.send("bob@example.org", "Received: from a by b\r\n" + trace + BODY)
    except smtplib.SMTPDataError as error:
        assert error.smtp_code == 554 and error.smtp_error.startswith(b"5.4.6")
    else:
        raise AssertionError("a loop was taken")
    postern.wait_mail("bob")
    postern.wait_empty()
    assert not postern.mailbox("alice")


def test_an_mx_that_names_only_ourselves_asks_for_attention(server, zone):
    server.configure(retry={"after": ["1h"]}, delivery={"port": MX_PORT})
    zone.mx("remote.example", (10, "mx.example.org"))
    zone.a("mx.example.org", server.ip)
    server.start()
    assert server.status()["attention"] == []
    server.send("x@remote.example")
    wait_for("it asks for attention", lambda: server.status()["attention"])
    assert server.status()["attention"] == ["MX of remote.example names only this host"]
    assert "ATTENTION MX of remote.example" in server.ctl_text("status").out
    assert "does not take mail for it" in server.wait_log("queue.deferred")["reply"]
    assert server.status()["queue"]["messages"] == 1 and not server.mailbox("alice")


# --- recipients of a domain that we relay for -------------------------------------------------------

def test_a_thousand_unknown_recipients_of_a_relay_domain_bounce_never(server, sink):
    (server.directory / "known").write_text("known@relayed.example\n")
    server.configure(domain=[*server.config["domain"],
                             {"name": ["relayed.example"], "deliver": sink.via,
                              "recipients": "file:known"}])
    server.start()
    refused = 0
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        for n in range(1000):
            client.docmd("MAIL FROM:<victim@remote.example>")
            code, text = client.docmd(f"RCPT TO:<u{n}@relayed.example>")
            refused += code == 550 and text.startswith(b"5.1.1")
            client.docmd("RSET")
        client.sendmail("alice@example.org", ["known@relayed.example"], BODY)
    assert refused == 1000
    sink.wait()
    server.wait_empty()
    total = server.status()["total"]
    assert (total["accepted"], total["failed"], total["bounces"]) == (1, 0, 0)
    assert len(sink.messages) == 1


# --- a neighbour not written here -------------------------------------------------------------------

def start_postfix(tmp_path, closing, next_hop, **settings):
    """A whole Postfix that relays all to `next_hop`; its own user must get through to its files."""
    sys.path.insert(0, str(REPOSITORY / "bench"))
    from rig.postfix import Postfix
    with socket.create_server(("127.0.0.1", 0)) as free:  # it listens on interfaces' addresses only
        listen = free.getsockname()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != path.parent:
            path.chmod(path.stat().st_mode | 0o111)
    postfix = Postfix(tmp_path / "postfix", PEERS, listen, next_hop, settings)
    postfix.start()
    postfix.close = postfix.stop
    closing(postfix)
    return "smtp://{}:{}".format(*listen)


@pytest.mark.root
def test_postfix_takes_each_kind_of_notice(server, make_sink, closing, tmp_path):
    """Failed, delayed and relayed, with the header alone, and in UTF-8."""
    next_hop, final = make_sink(), make_sink(smtputf8=True)
    next_hop.refuse = {"failed@far.example": "550 5.1.1 no", "delayed@far.example": "451 4.2.0 later",
                       "gr\u00fcn@far.example": "550 5.1.1 no"}
    postfix = start_postfix(tmp_path, closing, (final.ip, SINK_PORT))
    server.configure(retry={"after": ["1s"], "notify": "2s"})
    server.route("far.example", next_hop.via).route("*", postfix).start()
    for kind in ("failed", "delayed", "relayed"):
        send(server, f"{kind}@far.example", ["RET=HDRS", f"ENVID={kind}"], ["NOTIFY=SUCCESS,FAILURE,DELAY"],
             sender="sender@remote.example")
    with server.smtp() as client:
        client.ehlo()
        client.sendmail("sender@remote.example", "gr\u00fcn@far.example", BODY, ["SMTPUTF8"])
    notices = [email.message_from_bytes(sent.content, policy=email.policy.default) for sent in final.wait(4)]
    seen = []
    for notice in notices:
        assert not notice.defects
        _, status, original = notice.iter_parts()
        text = status.as_string()  # of message/global-delivery-status Python's package makes no fields
        ident, action = (re.search(rf"^{field}: (.*)$", text, re.MULTILINE) for field in ("Original-Envelope-Id", "Action"))
        seen.append((ident and ident[1].strip(), action and action[1].strip(), original.get_content_type()))
    assert sorted(seen, key=str)[:3] == [(kind, kind, "text/rfc822-headers") for kind in ("delayed", "failed", "relayed")]
    assert {one[:2] for one in seen} - {(kind, kind) for kind in ("delayed", "failed", "relayed")} == {(None, "failed")}
    for sent in final.messages:
        assert sent.sender in (None, "", "<>")


@pytest.mark.root
def test_postfix_takes_our_notices_and_reports_what_we_hand_on(server, make_sink, closing, tmp_path):
    refusing, final = make_sink(), make_sink()
    refusing.refuse["x@refusing.example"] = "550 5.1.1 no"
    postfix = start_postfix(tmp_path, closing, (final.ip, SINK_PORT))
    server.route("refusing.example", refusing.via).route("*", postfix).start()
    body = "Subject: gr\u00fc\u00df\r\n\r\n.a dot\r\n".encode()
    send(server, "x@refusing.example", ["RET=FULL", "ENVID=one", "BODY=8BITMIME"],
         body=body, sender="sender@remote.example")
    server.wait_log("delivery.ok", to="sender@remote.example")  # Postfix took the notice
    notice = email.message_from_bytes(final.wait()[0].content, policy=email.policy.default)
    assert final.messages[0].sender in (None, "", "<>")
    assert notice.get_content_type() == "multipart/report" and body in final.messages[0].content
    # The last hop knows nothing of reports, so Postfix says that it relayed.
    send(server, "y@remote.example", ["ENVID=two+2B"],
         ["NOTIFY=SUCCESS", "ORCPT=rfc822;old+2By@remote.example"])
    report = next(email.message_from_bytes(m.content, policy=email.policy.default)
                  for m in final.wait(3) if m.recipients == ["alice@example.org"])
    _, status, _ = report.iter_parts()
    message, recipient = status.get_payload()
    assert message["Original-Envelope-Id"] == "two+"
    assert recipient["Original-Recipient"] == "rfc822;old+y@remote.example"
    assert recipient["Action"] == "relayed"
    assert not server.mailbox("alice")
