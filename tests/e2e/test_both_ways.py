"""Mail servers of others, both ways: what they take, refuse and put off from us, and we from them."""
import json
import os
import re
import smtplib
import subprocess
from collections import Counter
from urllib.parse import urlsplit

import pytest
from aiosmtpd.lmtp import LMTP

from support.certificates import Authority
from support.exim import Exim
from support.net import Address
from support.opensmtpd import OpenSmtpd
from support.server import RELAY_PORT
from support.sink import SINK_PORT, Script, Sink, _Controller, without_trace
from support.smtp_server import SmtpServer
from support.waiting import PATIENCE, wait_for
from test_lmtp import Dovecot
from test_notices import start_postfix
from test_peers import PEERS, exim_root

MODULES = PEERS / "npm" / "node_modules"
TAKEN, REFUSED, LATER = (f"{name}@far.example" for name in ("taken", "refused", "later"))

HEADER = (b"From: alice@example.org\r\nSubject: both ways\r\nDate: Thu, 26 Nov 2026 12:00:00 +0000\r\n"
          b"Message-ID: <one@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
          b"Content-Transfer-Encoding: 8bit\r\n\r\n")
BODY = (b".\r\n..\r\n.a\r\n...\r\n \r\n\r\nGr\xc3\xbc\xc3\x9fe, and what is no text: \x80\xfe\xff\r\n" +
        b"." * 998 + b"\r\n" + b"\xe4" * 998 + b"\r\nFrom here\r\nQUIT\r\n" + b".line\r\n" * 5_000 + b"\r\n.\r\n\r\n")


def body_of(content):
    return content.partition(b"\r\n\r\n")[2]


# --- The others --------------------------------------------------------------------------------------
# Each takes what it hears, but REFUSED never, and LATER only from let_in() on.

class Relay:
    """One that hands all on to `next_hop`; retry() tries all in its queue again."""

    def __init__(self, via, let_in, retry, log):
        self.via = via
        self.let_in = let_in
        self.retry = retry
        self.log = log

    def send(self, recipients, content):
        """As its client: it takes all, and answers for it."""
        url = urlsplit(self.via)
        with smtplib.SMTP(url.hostname, url.port, "client.example", PATIENCE) as smtp:
            assert smtp.sendmail("alice@example.org", recipients, content, ["BODY=8BITMIME"]) == {}


def postfix(tmp_path, closing, next_hop, **settings):
    """It looks into its queue each second, for what has waited for two: within one, it may not have let go of it."""
    replies = {REFUSED: b"action=550 5.1.1 Postfix knows no such user\n\n",
               LATER: b"action=451 4.2.0 Postfix is busy\n\n"}

    def policy(line, state):
        """Postfix's access policy delegation: attributes, an empty line, and the action."""
        name, _, value = line.partition("=")
        if name == "recipient":
            state["recipient"] = value
        if line or not state:
            return None
        return replies.get(state.pop("recipient"), b"action=dunno\n\n")
    asked = closing(Script(policy))
    via = start_postfix(tmp_path, closing, next_hop, **{
        "smtpd_recipient_restrictions": f"check_policy_service inet:{asked.ip}:{asked.port}",
        "minimal_backoff_time": "2s", "queue_run_delay": "1s", **settings})
    return Relay(via, lambda: replies.pop(LATER), lambda: None, (tmp_path / "postfix" / "log" / "mail.log").read_text)


def exim(tmp_path, closing, next_hop):
    peer = closing(Exim(tmp_path / "exim", exim_root(), *next_hop, REFUSED, LATER))
    return Relay(peer.via, peer.let_in, peer.retry, peer.log)


def opensmtpd(tmp_path, closing, next_hop):
    peer = closing(OpenSmtpd(tmp_path / "opensmtpd", PEERS / "opensmtpd", next_hop, REFUSED, LATER))
    return Relay(peer.via, peer.let_in, peer.retry, peer.log)


RELAYS = [pytest.param(start, id=start.__name__, marks=pytest.mark.root) for start in (postfix, exim, opensmtpd)]


def relaying(start):
    """A relay, and the bodies that came to the host behind it."""
    def make(tmp_path, closing):
        final = closing(Sink())
        relay = start(tmp_path, closing, (final.ip, SINK_PORT))
        return relay.via, relay.let_in, lambda: arrived(final.messages)
    return make


def arrived(messages):
    return [(recipient, body_of(message.content)) for message in messages for recipient in message.recipients]


class _LmtpController(_Controller):
    def factory(self):
        return LMTP(self.handler, hostname="lmtp.example", enable_SMTPUTF8=False)


class LmtpSink(Sink):
    controller = _LmtpController

    @property
    def via(self):
        return f"lmtp://{self.ip}:{self.port}"

    async def handle_DATA(self, server, session, envelope):
        reply = await super().handle_DATA(server, session, envelope)
        return "\r\n".join([reply] * len(envelope.rcpt_tos))


def aiosmtpd(kind):
    def make(_, closing):
        sink = closing(kind())
        sink.refuse = {REFUSED: "550 5.1.1 aiosmtpd knows no such user", LATER: "451 4.2.0 aiosmtpd is busy"}
        return sink.via, lambda: sink.refuse.pop(LATER), lambda: arrived(sink.messages)
    return make


def smtp_server(protocol):
    def make(_, closing):
        server = closing(SmtpServer(MODULES, protocol))
        server.answer(REFUSED, (550, "5.1.1 smtp-server knows no such user"))
        server.answer(LATER, (451, "4.2.0 smtp-server is busy"))
        return server.via, lambda: server.answer(LATER), lambda: arrived(server.messages)
    return make


def dovecot(_, closing):
    """LATER is one whose mailbox cannot be made yet."""
    peer = closing(Dovecot(closing(Address()).ip))
    users = peer.base / "users"
    users.write_text(users.read_text().replace("bob@inner.example", TAKEN).replace("eve@inner.example", LATER))
    in_the_way = peer.mail / "eve"
    in_the_way.touch()

    def mail():
        return [(f"{user}@far.example", body_of(path.read_bytes().replace(b"\n", b"\r\n")))
                for user, folder in (("taken", "bob"), ("later", "eve")) for path in peer.mailbox(folder)]
    return f"lmtp:unix:{peer.socket}", in_the_way.unlink, mail


# --- To them -----------------------------------------------------------------------------------------

LAST = {"dovecot-lmtp": dovecot, "aiosmtpd": aiosmtpd(Sink), "aiosmtpd-lmtp": aiosmtpd(LmtpSink),
        "smtp-server": smtp_server("smtp"), "smtp-server-lmtp": smtp_server("lmtp")}


@pytest.mark.parametrize("start", [
    *(pytest.param(relaying(*relay.values), id=relay.id, marks=relay.marks) for relay in RELAYS),
    *(pytest.param(start, id=name) for name, start in LAST.items())])
def test_each_recipient_fares_as_the_peer_says(server, tmp_path, closing, start):
    via, let_in, mail = start(tmp_path, closing)
    server.configure(retry={"after": ["1s"]}).route("far.example", via).start()
    with server.smtp() as client:
        client.sendmail("alice@example.org", [TAKEN, REFUSED, LATER], HEADER + BODY, ["BODY=8BITMIME"])
    bounce = server.wait_mail("alice")[0].read_text(errors="replace")
    assert f"Final-Recipient: rfc822; {REFUSED}" in bounce and "Diagnostic-Code: smtp; 550 " in bounce
    assert f"rfc822; {TAKEN}" not in bounce and f"rfc822; {LATER}" not in bounce
    assert server.wait_log("delivery.deferred", to=LATER)["reply"].startswith("45")
    wait_for("it has what it takes", lambda: [to for to, _ in mail()] == [TAKEN])
    let_in()
    wait_for("it has all", lambda: len(mail()) == 2)
    server.wait_empty()
    assert mail() == [(TAKEN, BODY), (LATER, BODY)]
    assert len(server.mailbox("alice")) == 1


def test_smtp_server_by_starttls_with_addresses_in_utf8(server, tmp_path, closing):
    chain, key = Authority(tmp_path).issue("node.example")
    peer = closing(SmtpServer(MODULES, certificate=(chain, key)))
    server.route("far.example", peer.via).start()
    with server.smtp() as client:
        client.ehlo()
        client.sendmail("j\u00fcrgen@example.org", ["gr\u00fcn@far.example"], HEADER + BODY,
                        ["SMTPUTF8", "BODY=8BITMIME"])
    (message,) = peer.wait()
    assert (message.sender, message.recipients) == ("j\u00fcrgen@example.org", ["gr\u00fcn@far.example"])
    assert message.tls and body_of(message.content) == BODY
    assert peer.options[0]["SMTPUTF8"] is True and peer.options[0]["BODY"] == "8BITMIME"


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_smtp_server_refuses_behind_the_message(server, closing, protocol):
    """For good, and for now: it says so before it has looked at what comes."""
    peer = closing(SmtpServer(MODULES, protocol))
    peer.answer(REFUSED, (552, "5.3.4 too big for me"), at="data")
    peer.answer(LATER, (452, "4.3.1 no room"), at="data")
    server.configure(retry={"after": ["1s"]}).route("far.example", peer.via).start()
    for recipient in (REFUSED, LATER):
        server.send(recipient, HEADER + BODY)
    assert "552 5.3.4 too big for me" in server.wait_mail("alice")[0].read_text(errors="replace")
    assert server.wait_log("delivery.deferred", to=LATER)["reply"] == "452 4.3.1 no room"
    assert not peer.messages
    peer.answer(LATER, at="data")
    peer.wait()
    server.wait_empty()
    assert arrived(peer.messages) == [(LATER, BODY)]
    assert len(server.mailbox("alice")) == 1


# --- From them ---------------------------------------------------------------------------------------

OURS = ["bob@example.org", "nobody@example.org", "later@asked.example"]


@pytest.fixture
def next_hop(server, sink):
    """Ours, with the inner host of asked.example, which is busy at first."""
    sink.refuse["later@asked.example"] = "451 4.2.0 busy"
    server.configure(domain=[*server.config["domain"],
                             {"name": ["asked.example"], "deliver": sink.via, "recipients": "ask"}])
    server.start()
    return server.ip, RELAY_PORT


def in_our_mailbox(server, user="bob"):
    return [without_trace(path.read_bytes(), b"\n").replace(b"\n", b"\r\n") for path in server.wait_mail(user)]


@pytest.mark.parametrize("start", RELAYS)
def test_their_mail_fares_as_we_say(server, sink, next_hop, tmp_path, closing, start):
    relay = start(tmp_path, closing, next_hop)
    relay.send(OURS, HEADER + BODY)
    assert [body_of(content) for content in in_our_mailbox(server)] == [BODY]
    bounce = server.wait_mail("alice")[0].read_text(errors="replace")  # the relay's own
    assert "nobody@example.org" in bounce and "550 5.1.1" in bounce
    assert "later@asked.example" not in bounce
    wait_for("the relay waits", lambda: "451 4.3.0" in relay.log())
    sink.refuse.clear()
    wait_for("it comes again", lambda: relay.retry() or sink.messages)
    server.wait_empty()
    assert arrived(sink.messages) == [("later@asked.example", BODY)]
    assert len(server.mailbox("bob")) == len(server.mailbox("alice")) == 1


NODEMAILER = """
const [host, port, ...to] = process.argv.slice(1);
const transport = require('nodemailer').createTransport(
  { host, port: Number(port), ignoreTLS: true, name: 'client.example' });
const raw = [];
process.stdin.on('data', (data) => raw.push(data)).on('end', () => transport.sendMail({
  envelope: { from: 'alice@example.org', to }, raw: Buffer.concat(raw),
}).then(({ accepted, rejectedErrors }) => console.log(JSON.stringify({
  accepted, rejected: Object.fromEntries((rejectedErrors || []).map((error) => [error.recipient, error.responseCode])),
}))));
"""


def nodemailer(next_hop, recipients):
    done = subprocess.run(["node", "-e", NODEMAILER, next_hop[0], str(next_hop[1]), *recipients], input=HEADER + BODY,
                          capture_output=True, env={**os.environ, "NODE_PATH": str(MODULES)}, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nodemailer_hears_of_each_recipient(server, sink, next_hop):
    assert nodemailer(next_hop, OURS) == {"accepted": OURS[:1], "rejected": {OURS[1]: 550, OURS[2]: 451}}
    sink.refuse.clear()
    assert nodemailer(next_hop, OURS[2:]) == {"accepted": OURS[2:], "rejected": {}}
    assert [body_of(content) for content in in_our_mailbox(server)] == [BODY]
    sink.wait()
    assert arrived(sink.messages) == [(OURS[2], BODY)]


@pytest.mark.root
def test_postfix_sends_the_rest_in_another_transaction(server, tmp_path, closing):
    """Of 150 recipients in one: what is behind our limit hears 452 and comes again."""
    server.configure(limits={"recipients": 100}).start()
    relay = postfix(tmp_path, closing, (server.ip, RELAY_PORT), smtp_destination_recipient_limit="1000")
    recipients = [f"bob+{number}@example.org" for number in range(150)]
    relay.send(recipients, HEADER + BODY)
    files = server.wait_mail("bob", 150)
    server.wait_empty()
    assert len(re.findall("status=deferred .*said: 452 4.5.3", relay.log())) == 50
    assert Counter(re.search(rb"^Delivered-To: (.*)$", path.read_bytes(), re.MULTILINE)[1].decode()
                   for path in files) == dict.fromkeys(recipients, 1)
    assert [event["nrcpt"] for event in server.events("message.accepted")] == ["100", "50"]
