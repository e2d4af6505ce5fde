"""Domains whose next hop is asked for recipients: mail for unknown ones is refused, and never bounces."""
import pytest

from support.server import MX_PORT
from support.sink import honest
from support.waiting import wait_for

BODY = "Subject: x\r\n\r\nbody\r\n"


class KnowsOnly(dict):
    """What a sink refuses that knows these recipients."""

    def __init__(self, *known):
        super().__init__()
        self.known = set(known)

    def __contains__(self, address):
        return address not in self.known

    def __getitem__(self, address):
        return "550 5.1.1 never heard of"


@pytest.fixture
def inner(server, sink):
    """The next hop of asked.example."""
    sink.refuse = KnowsOnly("known@asked.example", "ann+tag@asked.example")
    ask(server, sink.via)
    return sink


def ask(server, via):
    server.configure(domain=[*server.config["domain"],
                             {"name": ["asked.example"], "deliver": via, "recipients": "ask"}])


def rcpt(server, *recipients):
    """What RCPT is answered."""
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        client.docmd("MAIL FROM:<victim@remote.example>")
        return [client.docmd(f"RCPT TO:<{to}>") for to in recipients]


def test_a_thousand_unknown_recipients_are_refused_and_none_bounces(server, inner):
    server.start()
    refused = 0
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        for n in range(1000):
            client.docmd("MAIL FROM:<victim@remote.example>")
            code, text = client.docmd(f"RCPT TO:<u{n}@asked.example>")
            refused += code == 550 and text.startswith(b"5.1.1") and b"never heard of" in text
            client.docmd("RSET")
        client.sendmail("alice@example.org", ["known@asked.example"], BODY)
    assert refused == 1000
    inner.wait()
    server.wait_empty()
    total = server.status()["total"]
    assert (total["accepted"], total["failed"], total["bounces"]) == (1, 0, 0)
    assert [message.recipients for message in inner.messages] == [["known@asked.example"]]


def test_in_an_alias_domain_the_real_recipient_is_asked_for(server, inner):
    server.configure(domains={"default": "example.org", "alias": {"old.example": "asked.example"}}).start()
    assert [code for code, _ in rcpt(server, "known@old.example", "unknown@old.example")] == [250, 550]
    server.send("known@old.example")
    assert inner.wait()[0].recipients == ["known@asked.example"]


def test_answers_keep_their_order_and_are_remembered(server, inner):
    server.start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.send(b"MAIL FROM:<a@c.example>\r\nRCPT TO:<x@asked.example>\r\nRCPT TO:<known@asked.example>\r\n"
              b"RCPT TO:<dave@example.org>\r\nRCPT TO:<ann+tag@asked.example>\r\nDATA\r\n")
    for code in ("250", "550", "250", "550", "250", "354"):
        assert hand.reply().startswith(code)
    hand.expect("Subject: x\r\n\r\n.", "250")
    inner.wait()
    assert inner.messages[0].recipients == ["known@asked.example", "ann+tag@asked.example"]
    asked = len(server.events("recipient.asked"))
    assert asked == 3
    assert [code for code, _ in rcpt(server, "x@asked.example", "known@asked.example")] == [550, 250]
    assert len(server.events("recipient.asked")) == asked


def test_while_nobody_can_say_nothing_is_accepted_and_nothing_lost(server, make_sink):
    ask(server, "smtp://127.0.0.1:9")
    server.start()
    (code, text), = rcpt(server, "known@asked.example")
    assert code == 451 and text.startswith(b"4.4.1")
    up = make_sink()
    server.config["domain"][-1]["deliver"] = up.via
    server.write()
    server.ctl("reload")
    server.send("known@asked.example", BODY, port=MX_PORT)
    up.wait()
    server.wait_empty()
    assert server.status()["total"]["bounces"] == 0


def test_a_next_hop_that_defers_is_a_451(server, make_script):
    def greylisting(line, state):
        return b"451 4.7.1 greylisted\r\n" if line.upper().startswith("RCPT") else honest(line, state)
    ask(server, make_script(greylisting).via)
    server.start()
    (code, text), = rcpt(server, "known@asked.example")
    assert code == 451 and text.startswith(b"4.3.0") and b"greylisted" in text


def test_a_next_hop_that_is_silent_costs_a_session_its_patience_and_no_other_one(server, make_script):
    silent = make_script(lambda line, state: None)
    ask(server, silent.via)
    server.start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<a@c.example>", "250")
    hand.send(b"RCPT TO:<known@asked.example>\r\n")
    wait_for("it is asked", lambda: silent.connections)
    server.send("bob@example.org", port=MX_PORT)  # meanwhile all else goes on
    server.wait_mail("bob")
    hand.sock.settimeout(40)
    assert hand.reply().startswith("451")


def test_a_frozen_domain_is_answered_from_memory(server, inner):
    server.start()
    assert [code for code, _ in rcpt(server, "known@asked.example", "x@asked.example")] == [250, 550]
    server.ctl("freeze", "asked.example", "--future", "--reason", "work")
    answers = rcpt(server, "known@asked.example", "x@asked.example", "ann+tag@asked.example")
    assert [code for code, _ in answers] == [250, 550, 451]
    server.ctl("unfreeze", "asked.example")
    assert rcpt(server, "ann+tag@asked.example")[0][0] == 250
    # An inner next hop is spared when outbound is disabled.
    server.ctl("outbound", "disable", "--reason", "work", "--yes")
    assert rcpt(server, "y@asked.example")[0][0] == 550


def test_queued_may_die_while_it_is_asked(server, make_script):
    silent = make_script(lambda line, state: None)
    ask(server, silent.via)
    server.start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<a@c.example>", "250")
    hand.send(b"RCPT TO:<known@asked.example>\r\n")
    wait_for("it is asked", lambda: silent.connections)
    server.kill("queued")
    assert hand.reply().startswith("451")
    hand.expect("RCPT TO:<bob@example.org>", "250")


def test_postmaster_is_always_there(server, inner):
    server.start()
    assert rcpt(server, "postmaster@asked.example")[0][0] == 250
    assert not server.events("recipient.asked")
