"""Every known way to ask a host for what it must not relay, said by a client that may not: nothing leaves but what the
configuration itself sends on. The forms are those of the classic tests of open relays, of RFC 5321's source routes and
of UUCP, and tricks on parsers."""
import contextlib
import itertools
import re
import socket

import pytest

from support.client import Session
from support.server import MX_PORT, RELAY_PORT, send_on
from support.waiting import PATIENCE

FAR = "user@far.example"

# The first ones lie: they are the server itself, its domain, this host, or the next hop.
HELLOS = ("EHLO mx.example.org", "HELO example.org", "HELO localhost", "EHLO [127.0.0.1]", "HELO far.example",
          "EHLO client.example")

BARE = "<spammer>"  # the only one that MAIL refuses
SENDERS = ("<>", "<bob@example.org>", "<bob@mx.example.org>", "<postmaster@example.org>", "<root@localhost>",
           "<bob@[{ip}]>", "<@example.org:spammer@elsewhere.example>", FAR, BARE)
FEW = ("<>", FAR, BARE)  # for what is taken: each message costs a flush and a file

# What stands behind "RCPT TO:"; {ip} is the server's address, {sink} the next hop's.
REFUSED = {
    # Addresses of others
    "plain": f"<{FAR}>",
    "without brackets": FAR,
    "a blank before the path": f" <{FAR}>",
    "a tab before the path": f"\t<{FAR}>",
    "upper case": "<USER@FAR.EXAMPLE>",
    "a final dot": "<user@far.example.>",
    "postmaster elsewhere": "<postmaster@far.example>",
    "our user elsewhere": "<bob@far.example>",
    "below our domain": "<bob@sub.example.org>",
    "our domain as a label": "<bob@example.org.far.example>",
    "our domain as an end": "<bob@farexample.org>",
    "our domain with a final dot": "<bob@example.org.>",
    "a word in front": f"Bob <{FAR}>",
    "a word of ours in front": f'"bob@example.org" <{FAR}>',
    "brackets within brackets": f"<<{FAR}>>",
    "two paths": f"<bob@example.org><{FAR}>",
    "a path behind ours": f"<bob@example.org> <{FAR}>",
    "two addresses": f"<bob@example.org,{FAR}>",
    "two addresses with a semicolon": f"<{FAR};bob@example.org>",
    "ORCPT of ours": f"<{FAR}> ORCPT=rfc822;bob@example.org",
    "a parameter that nobody knows": f"<{FAR}> RELAY=YES",
    # Address literals and this host
    "the next hop's address": "<user@[{sink}]>",
    "the next hop's address without brackets": "<user@{sink}>",
    "loopback": "<user@[127.0.0.1]>",
    "loopback of IPv6": "<user@[IPv6:::1]>",
    "the next hop's address as IPv6": "<user@[IPv6:::ffff:{sink}]>",
    "the server's address": "<user@[{ip}]>",
    "our user at the server's address": "<bob@[{ip}]>",
    "an address as a number": "<user@#2130706433>",
    "a literal that is not closed": "<user@[127.0.0.1>",
    "a name as a literal": "<user@[far.example]>",
    "localhost": "<user@localhost>",
    "our user at localhost": "<bob@localhost>",
    "our host": "<user@mx.example.org>",
    "our user at our host": "<bob@mx.example.org>",
    # The percent hack
    "percent at ours": "<user%far.example@example.org>",
    "percent at ours without brackets": "user%far.example@example.org",
    "percent at our host": "<user%far.example@mx.example.org>",
    "percent at the server's address": "<user%far.example@[{ip}]>",
    "percent at localhost": "<user%far.example@localhost>",
    "percent twice": "<user%far.example%example.org@example.org>",
    "percent and no domain": "<user%far.example>",
    "percent and an empty domain": "<user%far.example@>",
    "percent in quotes": '<"user%far.example">',
    "percent in quotes at ours": '<"user%far.example"@example.org>',
    "percent behind our user": "<bob%far.example@example.org>",
    "percent behind ours": "<user@far.example%example.org>",
    "percent behind our address": "<bob@example.org%far.example>",
    "percent behind postmaster": "<postmaster%far.example@example.org>",
    "percent behind the bare postmaster": "<postmaster%far.example>",
    "percent behind who sends our notices": "<MAILER-DAEMON%far.example@mx.example.org>",
    # UUCP
    "bang": "<far.example!user>",
    "bang without brackets": "far.example!user",
    "bang at ours": "<far.example!user@example.org>",
    "bang at our host": "<far.example!user@mx.example.org>",
    "bang at the server's address": "<far.example!user@[{ip}]>",
    "bang by ours": "<example.org!far.example!user>",
    "bang by ours at ours": "<example.org!far.example!user@example.org>",
    "bang to our user": "<far.example!bob@example.org>",
    "bang with a domain elsewhere": "<example.org!bob@far.example>",
    "bang and percent": "<far.example!user%far.example@example.org>",
    "bang in quotes": '<"far.example!user"@example.org>',
    # Source routes: what is behind the colon counts
    "route by ours": f"<@example.org:{FAR}>",
    "route by ours without brackets": f"@example.org:{FAR}",
    "route by our host": f"<@mx.example.org:{FAR}>",
    "route by two": f"<@example.org,@second.example:{FAR}>",
    "route by the server's address": f"<@[{{ip}}]:{FAR}>",
    "route by localhost": f"<@localhost:{FAR}>",
    "route by IPv6": f"<@[IPv6:::1]:{FAR}>",
    "route by far and percent": "<@far.example:user%far.example@example.org>",
    "route and bang": "<@example.org:far.example!user>",
    "route without a colon": "<@example.org>",
    "route without an address": "<@example.org:>",
    "route behind a route": f"<@example.org:@example.org:{FAR}>",
    "route with blanks": f"<@example.org, @second.example: {FAR}>",
    "route as old hosts wrote it": f"<example.org:{FAR}>",
    "route longer than a line": f"<{'@example.org,' * 200}@example.org:{FAR}>",
    # Two at signs, and quotes
    "at ours behind": f"<{FAR}@example.org>",
    "at our host behind": f"<{FAR}@mx.example.org>",
    "at the server's address behind": f"<{FAR}@[{{ip}}]>",
    "at ours before": "<user@example.org@far.example>",
    "our address before": "<bob@example.org@far.example>",
    "at and nothing": f"<{FAR}@>",
    "in quotes": f'<"{FAR}">',
    "in quotes without brackets": f'"{FAR}"',
    "in quotes at ours": f'<"{FAR}"@example.org>',
    "in quotes at our host": f'<"{FAR}"@mx.example.org>',
    "in quotes at the server's address": f'<"{FAR}"@[{{ip}}]>',
    "in quotes and percent": f'<"{FAR}"%example.org@example.org>',
    "our address in quotes elsewhere": '<"bob@example.org"@far.example>',
    "a quoted user": '<"user"@far.example>',
    "a quoted domain": '<user@"far.example">',
    "our domain in quotes behind": f'<{FAR}"@example.org">',
    "brackets in quotes": f'<"<{FAR}>"@example.org>',
    "a quote that is not closed": f'<"{FAR}>',
    "an empty quote": '<""@far.example>',
    "a blank in quotes": '<"bob user"@example.org>',
    "a blank before the address in quotes": f'<" {FAR}"@example.org>',
    "an escaped at": "<user\\@far.example@example.org>",
    "an escaped at in quotes": '<"user\\@far.example"@example.org>',
    "an escaped quote": '<"bob\\"@example.org"@far.example>',
    "an escaped user": "<\\user@far.example>",
    # Comments, blanks and empty parts
    "a comment behind": "<user@far.example(example.org)>",
    "a comment with our address": "<user@far.example (bob@example.org)>",
    "a comment before": "<(bob@example.org)user@far.example>",
    "a comment in ours": "<user(@far.example)@example.org>",
    "blanks around the at": "<user @ far.example>",
    "a blank behind": "<user@far.example >",
    "a tab inside": "<user@far.example\t@example.org>",
    "an empty domain": "<user@>",
    "no user": "<@far.example>",
    "no address": "<>",
    "a user alone": "<user>",
    "our user alone": "<bob>",
    "two dots": "<user@far..example>",
    "a user longer than 64 bytes": f"<{'bob' * 30}@example.org>",
    # Bytes that end or hide something elsewhere
    "NUL behind ours": f"<bob@example.org\0{FAR}>",
    "NUL behind theirs": f"<{FAR}\0@example.org>",
    "CR LF inside": f"<{FAR}\r\n@example.org>",
    "backspaces": f"<bob@example.org{chr(8) * 15}{FAR}>",
    "DEL": f"<{FAR}\x7f@example.org>",
    # Beyond ASCII
    "U-labels": "<user@bücher.example>",
    "A-labels": "<user@xn--bcher-kva.example>",
    "a wide at": "<user＠far.example@example.org>",
    "a wide percent": "<user％far.example@example.org>",
    "a wide dot": "<user@far。example>",
    "a domain that looks like ours": "<bob@exаmple.org>",
    "a user that looks like ours": "<ｂｏｂ@example.org>",
    "a soft hyphen": "<bob@far\u00ad.example>",
    "letters that turn round": "<user\u202e@far.example>",
    # Extensions, the alias, the alias domain and the domains of another host
    "an address in the extension of nobody": "<user+user=far.example@example.org>",
    "the extension of a user elsewhere": "<bob+example.org@far.example>",
    "the target of our alias": "<ann@elsewhere.example>",
    "percent behind our alias": "<away%far.example@example.org>",
    "bang before our alias": "<far.example!away@example.org>",
    "our alias and at": "<away@far.example@example.org>",
    "percent at the alias domain": "<user%far.example@old.example>",
    "percent behind our user at the alias domain": "<bob%far.example@old.example>",
    "bang at the alias domain": "<far.example!user@old.example>",
    "in quotes at the alias domain": f'<"{FAR}"@old.example>',
    "route by the alias domain": f"<@old.example:{FAR}>",
    "percent at the relay domain": "<zoe%far.example@inner.example>",
    "bang at the relay domain": "<far.example!zoe@inner.example>",
    "in quotes at the relay domain": f'<"{FAR}"@inner.example>',
    # Its host might read a route in these, and trusts ours.
    "percent in the extension at the relay domain": "<zoe+user%far.example@inner.example>",
    "bang in the extension at the relay domain": "<zoe+far.example!user@inner.example>",
    "percent where any user is taken": "<user%far.example@any.example>",
    "bang where any user is taken": "<far.example!user@any.example>",
    "in quotes where any user is taken": f'<"{FAR}"@any.example>',
    "route by the relay domain": f"<@inner.example:{FAR}>",
    "at the relay domain behind": f"<{FAR}@inner.example>",
}

# Half a line's end: it ends the session, so that no command can hide in another.
ENDING = {
    "CR inside": f"<{FAR}\r@example.org>",
    "LF inside": f"<{FAR}\n@example.org>",
    "CR and a command": f"<bob@example.org>\rRCPT TO:<{FAR}>",
    "LF and a command": f"<bob@example.org>\nRCPT TO:<{FAR}>",
}

# And what is ours however it is written: where it must arrive, and nowhere else.
BOB, POSTMASTER, AWAY = "mailbox bob", "mailbox carol", "sink ann@elsewhere.example"
TAKEN = {
    "our user": ("<bob@example.org>", BOB),
    "our user by a route": ("<@far.example:bob@example.org>", BOB),
    "our user in quotes": ('<"bob"@example.org>', BOB),
    "our user, escaped": ('<"\\b\\o\\b"@example.org>', BOB),
    "our user in wide letters": ("<bob@ｅｘａｍｐｌｅ.org>", BOB),
    "our user with ORCPT elsewhere": (f"<bob@example.org> ORCPT=rfc822;{FAR}", BOB),
    "a refused one behind": (f"<bob@example.org>\r\nRCPT TO:<{FAR}>", BOB),
    "an address in the extension": ("<bob+user=far.example@example.org>", BOB),
    "percent in the extension": ("<bob+user%far.example@example.org>", BOB),
    "bang in the extension": ("<bob+far.example!user@example.org>", BOB),
    "at in the extension": (f'<"bob+{FAR}"@example.org>', BOB),
    "the alias domain": ("<bob@old.example>", BOB),
    "at in the extension at the alias domain": (f'<"bob+{FAR}"@old.example>', BOB),
    "postmaster without a domain": ("<postmaster>", POSTMASTER),
    "postmaster of this host": ("<postmaster@mx.example.org>", POSTMASTER),
    "the alias": ("<away@example.org>", AWAY),
    "an address in the extension of the alias": ("<away+user=far.example@example.org>", AWAY),
    "the alias at the alias domain": ("<away@old.example>", AWAY),
    "the relay domain": ("<zoe@inner.example>", "inner zoe@inner.example"),
    "the extension at the relay domain": ("<zoe+user=far.example@inner.example>",
                                          "inner zoe+user=far.example@inner.example"),
    "where any user is taken": ("<user=far.example@any.example>", "inner user=far.example@any.example"),
}


@pytest.fixture
def inner(make_sink):
    """The host to which the relay domains belong."""
    return make_sink()


@pytest.fixture
def guarded(server, zone, sink, inner, insider):
    """Running; all that goes to others goes to the sink, and only the insider may send there."""
    (server.directory / "aliases").write_text("away: ann@elsewhere.example\n")
    (server.directory / "inner").write_text("zoe\n")
    for listener in server.config["listen"]:
        listener["relay_from"] = [insider]
    server.config["domain"][0]["aliases"] = "aliases"
    server.config["domain"].append({"name": ["inner.example"], "deliver": inner.via, "recipients": "file:inner"})
    server.config["domain"].append({"name": ["any.example"], "deliver": inner.via, "recipients": "any"})
    server.configure(domains={"default": "example.org", "alias": {"old.example": "example.org"}})
    return server.route("*", sink.via).start()


class Prober:
    """A client that says probes, and remembers in `sent` the token of each message that was taken, and in `wrong`
    what was answered otherwise than it must be."""

    def __init__(self, server, sink, address, port):
        self.server = server
        self.sink = sink
        self.address = address
        self.port = port
        self.sent = {}
        self.wrong = []
        self._numbers = itertools.count(1)

    def _connect(self):
        return contextlib.closing(Session(socket.create_connection((self.server.ip, self.port), PATIENCE,
                                                                   source_address=(self.address, 0))))

    def _filled(self, text):
        return text.replace("{ip}", self.server.ip).replace("{sink}", self.sink.ip)

    def probe(self, name, path, place=None):
        """Says the path after every hello, behind every sender; place: where it must arrive. One wrong answer is
        enough."""
        for hello in HELLOS:
            utf8 = " SMTPUTF8" if hello.startswith("EHLO") and not path.isascii() else ""
            needs_ehlo = not path.isascii() or "ORCPT=" in path
            heard = None if needs_ehlo and not hello.startswith("EHLO") else place
            with self._connect() as client:
                client.expect(hello, "250")
                for sender in FEW if place else SENDERS:
                    said = f"MAIL FROM:{self._filled(sender)}{utf8}\r\nRCPT TO:{self._filled(path)}"
                    answers = self._transaction(client, said, heard)
                    taken = answers[1].startswith("2")
                    if taken != (heard is not None and sender != BARE) or not (taken or answers[1].startswith("5")):
                        self.wrong.append(f"{name}: {hello}\n{said}\n{answers}")
                        return
                client.expect("QUIT", "221")

    def last(self, name, path):
        """Says what must end the session, after every hello."""
        for hello in HELLOS:
            with self._connect() as client:
                client.expect(hello, "250")
                client.send(f"MAIL FROM:<>\r\nRCPT TO:{path}\r\nNOOP\r\n".encode())
                answers = [client.reply(), client.reply()]
                if not answers[1].startswith("500") or not client.is_closed() or client.pending:
                    self.wrong.append(f"{name}: {hello}\n{path!r}\n{answers}")

    def _transaction(self, client, said, place):
        """MAIL and RCPT, and a message if that was taken; all their answers."""
        client.send(said.encode() + b"\r\nNOOP\r\n")
        answers = [client.reply()]
        while not answers[-1].startswith("250 2.0.0"):  # NOOP's: some probes are two commands
            answers.append(client.reply())
        if any(answer.startswith("250 2.1.5") for answer in answers):
            token = f"token-{self.port}-{next(self._numbers)}"
            client.expect("DATA", "354")
            client.send(f"To: {FAR}\r\nBcc: {FAR}\r\nSubject: {token}\r\n\r\nprobe\r\n.\r\n".encode())
            assert client.reply().startswith("250")
            self.sent[token] = place
        else:
            client.expect("RSET", "250")
        return answers


def token_of(content):
    return re.search(rb"Subject: (\S+)", content).group(1).decode()


def arrived(server, **hosts):
    """{token: where it arrived}, once the queue is empty."""
    server.wait_empty()
    found = [(token_of(path.read_bytes()), f"mailbox {path.parts[-3]}")
             for path in (server.directory / "mail").glob("*/*/new/*")]
    found += [(token_of(message.content), f"{name} {' '.join(message.recipients)}")
              for name, host in hosts.items() for message in host.messages]
    assert len(dict(found)) == len(found), "something arrived twice"
    return dict(found)


def test_there_are_many_distinct_probes():
    assert len(set(REFUSED.values())) == len(REFUSED) >= 60
    assert not set(REFUSED.values()) & {path for path, _ in TAKEN.values()}


def test_who_may_relay_reaches_the_sink(guarded, sink, insider):
    """Or all that follows would prove nothing."""
    with guarded.smtp(MX_PORT, source_address=(insider, 0)) as client:
        for to in (FAR, f"user@[{sink.ip}]", f"@example.org:{FAR}"):
            send_on(client, "bob@example.org", [to], "Subject: control\r\n\r\nhello\r\n")
    assert sorted(message.recipients for message in sink.wait(3)) == sorted([[FAR], [FAR], [f"user@[{sink.ip}]"]])


def probe_all(prober, taken):
    """`taken`: of TAKEN, where mail must arrive for those that this listener takes."""
    for name, path in REFUSED.items():
        prober.probe(name, path)
    for name, path in ENDING.items():
        prober.last(name, path)
    for name, (path, place) in TAKEN.items():
        prober.probe(name, path, place if place in taken else None)
    assert not prober.wrong, "\n\n".join(prober.wrong)
    assert set(prober.sent.values()) == taken


def test_no_probe_is_relayed(guarded, zone, sink, inner, stranger):
    prober = Prober(guarded, sink, stranger, MX_PORT)
    probe_all(prober, {place for _, place in TAKEN.values()})
    assert arrived(guarded, sink=sink, inner=inner) == prober.sent
    assert guarded.status()["total"]["accepted"] == len(prober.sent)
    assert not guarded.events("bounce.sent") and not guarded.events("notice.sent")
    assert not zone.asked  # nor was anybody else looked for


def test_the_relay_listener_takes_postmasters_mail_alone(guarded, zone, sink, inner, stranger):
    prober = Prober(guarded, sink, stranger, RELAY_PORT)
    probe_all(prober, {POSTMASTER})
    assert arrived(guarded, sink=sink, inner=inner) == prober.sent
    assert not zone.asked
