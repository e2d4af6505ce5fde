"""Aliases (aliases(5)) and alias domains, from RCPT to the mailbox, the next hop, and the notices."""
import smtplib

import pytest

from support.server import MX_PORT
from support.waiting import wait_for
from test_notices import BODY, offering, read, send


def aliases(server, text, **files):
    """Writes the aliases of example.org and the files that they include."""
    server.config["domain"][0]["aliases"] = "aliases"
    (server.directory / "aliases").write_text(text)
    for name, content in files.items():
        (server.directory / name).write_text(content)
    return server


def senders(sink):
    return {(message.sender, tuple(sorted(message.recipients))) for message in sink.messages}


def test_one_recipient_becomes_all_that_it_stands_for(server, sink):
    aliases(server, "team: bob, members@example.org, \\alice\n"
                    "members: :include:members\n", members="# far and near\nx@remote.example\ncarol\nbob\n")
    server.route("*", sink.via).start()
    number = server.send("Team+lunch@example.org", port=MX_PORT)
    mails = [server.wait_mail(user)[0].read_text() for user in ("alice", "bob", "carol")]
    assert all("\nDelivered-To: team@example.org\nReceived: " in mail and "for <team@example.org>;" in mail
               for mail in mails)
    assert sink.wait()[0].recipients == ["x@remote.example"]
    server.wait_empty()
    assert [len(server.mailbox(user)) for user in ("alice", "bob", "carol")] == [1, 1, 1]
    accepted = server.events("message.accepted", id=number)[0]
    assert accepted["alias"] == "team@example.org" and accepted["nrcpt"] == "4"
    assert {event["to"]: event["alias"] for event in server.events("delivery.ok", id=number)} == {
        to: "Team+lunch@example.org"
        for to in ("alice@example.org", "bob@example.org", "carol@example.org", "x@remote.example")}
    # What an alias leads to is relayed; who names it gains no right.
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        client.mail("s@far.example")
        assert client.rcpt("x@remote.example")[0] == 550
        assert client.rcpt("tea@example.org")[0] == 550
        assert client.rcpt("team@example.org")[0] == 250


def test_an_alias_is_shown_where_its_mail_waits(server):
    aliases(server, "news: x@remote.example\nowner-news: bob\n")
    server.configure(retry={"after": ["1h"]}).route("*", "smtp://127.0.0.1:9").start()
    number = server.send("news@example.org")
    wait_for("it waits", lambda: server.queues().get("remote.example", {}).get("state") == "retry")
    assert [row["alias"] for row in server.messages()] == ["news@example.org"]
    shown = server.ctl("show", number).rows[0]["recipients"][0]
    assert (shown["alias"], shown["sender"]) == ("news@example.org", "owner-news@example.org")
    assert server.ctl("explain", number).rows[0]["explanations"][0]["alias"] == "news@example.org"
    assert "alias news@example.org" in server.ctl_text("messages").out.lower()
    assert "  Alias    news@example.org\n" in server.ctl_text("show", number).out
    assert "  Alias    news@example.org\n" in server.ctl_text("explain", number).out


def test_a_list_has_its_owner_as_sender_and_tells_him(server, sink):
    sink.refuse["x@remote.example"] = "550 5.1.1 gone"
    aliases(server, "news: x@remote.example, y@remote.example, carol\nowner-news: bob\n")
    server.route("*", sink.via).start()
    send(server, ["news@example.org", "z@remote.example"], ["ENVID=mine"], ["NOTIFY=SUCCESS,FAILURE"])
    mail = server.wait_mail("carol")[0].read_text()
    assert mail.startswith("Return-Path: <owner-news@example.org>\n") and "Delivered-To: news" not in mail
    _, message, (recipient,), _ = read(server.wait_mail("bob")[0])  # owner-news is an alias itself
    assert recipient["Final-Recipient"] == "rfc822; x@remote.example"
    assert "Original-Envelope-Id" not in message
    # The first sender hears that the list has it, and of whom he named himself; of its members nothing.
    told = {}
    for path in server.wait_mail("alice", 2):
        _, message, recipients, _ = read(path)
        assert message["Original-Envelope-Id"] == "mine"
        told |= {r["Final-Recipient"]: r["Action"] for r in recipients}
    assert told == {"rfc822; news@example.org": "delivered", "rfc822; z@remote.example": "relayed"}
    server.wait_empty()
    assert senders(sink) == {("owner-news@example.org", ("y@remote.example",)),
                             ("alice@example.org", ("z@remote.example",))}


def test_what_the_sender_asked_for_is_handed_on(server, make_script):
    hop = make_script(offering("DSN"))
    aliases(server, "one: x@remote.example\ntwo: y@remote.example, bob\n").route("*", hop.via).start()
    send(server, "one@example.org", ["ENVID=mine"], ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;old@example.org"])
    send(server, "two@example.org", ["ENVID=mine"], ["NOTIFY=SUCCESS,DELAY"])
    _, _, (recipient,), _ = read(server.wait_mail("alice")[0])
    assert (recipient["Final-Recipient"], recipient["Action"]) == ("rfc822; two@example.org", "expanded")
    server.wait_empty()
    assert "RCPT TO:<x@remote.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@example.org" in hop.lines
    assert "RCPT TO:<y@remote.example> NOTIFY=DELAY ORCPT=rfc822;two@example.org" in hop.lines
    assert len(server.mailbox("alice")) == 1 and len(server.mailbox("bob")) == 1


def test_what_comes_back_is_a_loop(server, sink):
    aliases(server, "out: x@remote.example\n").route("*", sink.via).start()
    server.send("out@example.org")
    content = sink.wait()[0].content
    with server.smtp(MX_PORT) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("s@far.example", ["OUT@example.org"], content)
        assert refused.value.smtp_code == 554 and b"5.4.6" in refused.value.smtp_error
        client.sendmail("s@far.example", ["bob@example.org"], content)
    server.wait_empty()


def test_expanded_recipients_survive_a_crash(server, sink):
    aliases(server, "news: x@remote.example, bob\nowner-news: carol\n").route("*", sink.via)
    server.start()
    server.ctl("outbound", "disable", "--reason", "test")
    number = server.send("news@example.org")
    server.wait_mail("bob")
    server.kill("queued")
    wait_for("queued is back", lambda: server.ctl("outbound", "enable", check=False).exit == 0)
    assert sink.wait()[0].sender == "owner-news@example.org"
    server.wait_empty()
    assert server.events("delivery.ok", id=number, to="x@remote.example")[0]["alias"] == "news@example.org"
    assert len(server.mailbox("bob")) == 1


def test_another_file_counts_from_the_reload_on(server):
    aliases(server, "team: bob\n").start()
    server.send("team@example.org")
    server.wait_mail("bob")
    (server.directory / "aliases").write_text("team: carol\nteam: bob\n|x\n")
    refused = server.ctl("reload", check=False)
    assert refused.exit == 78 and "aliases:2" in refused.out
    (server.directory / "aliases").write_text("team: carol\n")
    server.ctl("reload")
    server.send("team@example.org")
    server.wait_mail("carol")
    server.wait_empty()
    assert len(server.mailbox("bob")) == 1


def test_an_alias_domain_has_the_same_users(server, sink):
    aliases(server, "team: bob, x@remote.example\n")
    server.configure(domains={"default": "example.org", "alias": {"old.example": "example.org"}})
    server.route("*", sink.via).start()
    for to in ("bob+tag@OLD.example", "team@old.example"):
        server.send(to, port=MX_PORT)
    mails = [path.read_text() for path in server.wait_mail("bob", 2)]
    assert sum("\nDelivered-To: bob+tag@example.org\n" in mail for mail in mails) == 1
    assert sink.wait()[0].recipients == ["x@remote.example"]
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        client.mail("s@far.example")
        assert client.rcpt("nobody@old.example")[0] == 550
    server.wait_empty()


def test_an_alias_of_nobody_comes_back(server):
    aliases(server, "team: bob, nobody\n")
    server.start()
    send(server, "team@example.org", body=BODY)
    server.wait_mail("bob")
    _, _, (recipient,), _ = read(server.wait_mail("alice")[0])
    assert recipient["Final-Recipient"] == "rfc822; nobody@example.org" and recipient["Status"] == "5.1.1"
    assert recipient["Original-Recipient"] == "rfc822; team@example.org"
    server.wait_empty()
