"""REQUIRETLS (RFC 8689): a message whose sender wants TLS on its whole way, from a client to a mailbox, or back."""
import re
import ssl

import pytest

from support.server import ACCEPTED, MX_PORT, RELAY_PORT
from support.sink import SINK_PORT, Sink, _Controller, _Server
from support.waiting import wait_for

SECRET = "Subject: precious\r\n\r\nnot for everybody\r\n"


class _PromisingServer(_Server):
    async def smtp_MAIL(self, arg):
        """aiosmtpd knows no such parameter."""
        arg, said = re.subn(r" REQUIRETLS\b", "", arg)
        self.event_handler.said.append(bool(said))
        await super().smtp_MAIL(arg)


class _PromisingController(_Controller):
    def factory(self):
        return _PromisingServer(self.handler, hostname="sink.example", tls_context=self.starttls)


class PromisingSink(Sink):
    """Offers REQUIRETLS in TLS, and keeps in `said` whether it came with each MAIL."""
    controller = _PromisingController

    def __init__(self, **more):
        self.said = []
        super().__init__(**more)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return responses[:-1] + (["250-REQUIRETLS"] if session.ssl else []) + responses[-1:]


@pytest.fixture
def issue(authority):
    """The [[certificate]] of a host."""
    def make(name):
        chain, key = authority.issue(name)
        return [{"chain": str(chain), "key": str(key)}]
    return make


@pytest.fixture
def sender(server, zone, authority, issue):
    """Not started: it believes `authority`, finds hosts in `zone`, and offers REQUIRETLS itself."""
    return server.configure(certificate=issue("mx.example.org"), retry={"after": ["1h"]},
                            delivery={"port": SINK_PORT, "ca": str(authority.root)})


@pytest.fixture
def make_host(zone, authority, make_sink, closing):
    """A next hop with a good certificate for its name; `promising`: it offers REQUIRETLS."""
    def make(name, promising=True):
        context = authority.server(*authority.issue(name))
        host = closing(PromisingSink(tls=context)) if promising else make_sink(tls=context)
        zone.a(name, host.ip)
        return host
    return make


def route(server, to, host):
    server.route(to, f"smtp://{host}:{SINK_PORT}", tls="verified")


def send(server, to, *options, sender="alice@example.org", port=RELAY_PORT):
    """One message that requires TLS; the queue id."""
    whoever = ssl.create_default_context()
    whoever.check_hostname, whoever.verify_mode = False, ssl.CERT_NONE
    with server.smtp(port) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        client.starttls(context=whoever)
        client.ehlo()
        assert client.has_extn("requiretls")
        assert client.mail(sender, ["REQUIRETLS", *options])[0] == 250
        assert client.rcpt(to)[0] == 250
        code, text = client.data(SECRET)
        assert code == 250, text
        return ACCEPTED.search(text).group(1).decode()


def bounce(server, user="alice"):
    return server.wait_mail(user)[0].read_text()


def test_two_of_us_in_a_row(make_server, sender, zone, issue):
    """The first hands it to the second, which is told, and takes it to its mailbox."""
    last = make_server("b").configure(
        certificate=issue("mx.other.example"), postmaster="alice@other.example",
        domain=[{"name": ["other.example"], "deliver": "mailbox", "recipients": "file:users"}]).start()
    zone.a("mx.other.example", last.ip)
    sender.route("other.example", f"smtp://mx.other.example:{MX_PORT}", tls="verified").start()
    send(sender, "bob@other.example")
    assert sender.wait_log("message.accepted")["requires"] == "tls"
    assert last.wait_log("message.accepted")["requires"] == "tls"
    last.wait_mail("bob", 1, "other.example")
    sender.send("carol@other.example")
    last.wait_mail("carol", 1, "other.example")
    assert "requires" not in last.wait_log("message.accepted", count=2)


def test_it_is_refused_in_clear(sender):
    sender.start()
    with sender.smtp() as client:
        client.ehlo()
        code, text = client.mail("alice@example.org", ["REQUIRETLS"])
        assert (code, text) == (555, b"5.5.4 REQUIRETLS is not offered without TLS")


@pytest.mark.parametrize("options", [(), ("RET=FULL",)])
def test_who_does_not_promise_it_gets_nothing(sender, make_host, options):
    """And its sender the header alone, whatever was asked for."""
    host = make_host("good.example", promising=False)
    route(sender, "remote.example", "good.example")
    sender.start()
    send(sender, "x@remote.example", *options)
    line = sender.wait_log("delivery.failed", to="x@remote.example")
    assert line["reply"].startswith("5.7.30 ") and "(no REQUIRETLS)" in line["reply"], line
    text = bounce(sender)
    assert "Status: 5.7.30\n" in text and "Subject: precious\n" in text and "not for everybody" not in text
    assert not host.messages
    sender.send("x@remote.example")
    host.wait()


def test_in_clear_it_goes_nowhere(sender, sink):
    sender.route("*", sink.via)
    sender.start()
    send(sender, "x@remote.example")
    assert sender.wait_log("delivery.failed")["reply"].startswith("5.7.10 ")
    assert "Status: 5.7.10\n" in bounce(sender)
    assert not sink.messages


def test_its_notice_requires_tls_too_where_it_can(sender, make_host, sink):
    """RFC 8689 5: the way back may not promise it, and a notice is not lost for that."""
    back = make_host("back.example")
    make_host("remote.example", promising=False)
    route(sender, "remote.test", "remote.example")
    route(sender, "back.test", "back.example")
    sender.route("clear.test", sink.via)
    sender.start()
    send(sender, "x@remote.test", sender="ann@back.test")
    assert "5.7.30" in back.wait()[0].content.decode()
    assert back.said == [True]
    send(sender, "x@remote.test", sender="ann@clear.test")
    assert "5.7.30" in sink.wait()[0].content.decode()


def test_a_domains_host_has_to_be_vouched_for(sender, zone, make_host):
    """By DNSSEC, or by nobody where it is the domain itself."""
    proved, other, itself = make_host("mx.proved.test"), make_host("mx.other.test"), make_host("itself.test")
    for name in ("proved.test", "other.test"):
        zone.mx(name, (10, f"mx.{name}"))
    zone.vouched = ("proved.test",)
    sender.start()
    for name in ("proved", "other", "itself"):
        send(sender, f"x@{name}.test")
    proved.wait()
    itself.wait()
    line = sender.wait_log("delivery.failed", to="x@other.test")
    assert "5.7.30 " in line["reply"] and "neither DNSSEC nor an MTA-STS policy" in line["reply"], line
    assert (proved.said, itself.said, other.messages) == ([True], [True], [])


def test_the_next_host_of_the_domain_may_do(sender, zone, make_host):
    first, second = make_host("one.vouched.test", promising=False), make_host("two.vouched.test")
    zone.mx("vouched.test", (10, "one.vouched.test"), (20, "two.vouched.test"))
    zone.vouched = ("vouched.test",)
    sender.start()
    send(sender, "x@vouched.test")
    second.wait()
    assert second.said == [True] and not first.messages
    sender.send("y@vouched.test")
    assert first.wait()[0].recipients == ["y@vouched.test"]


def test_it_survives_a_restart_and_an_export(make_server, sender, zone, authority, make_host, tmp_path):
    host = make_host("good.example")
    route(sender, "remote.example", "good.example")
    sender.start()
    sender.ctl("freeze", "remote.example", "--reason", "test", "--future")
    kept = send(sender, "x@remote.example")
    other = sender.send("y@remote.example")
    sender.restart()
    shown = {ident: sender.ctl("show", ident).rows[0]["requires_tls"] for ident in (kept, other)}
    assert shown == {kept: True, other: False}
    assert "its sender requires TLS" in sender.ctl_text("show", kept).out
    sender.ctl("export", "--remove", tmp_path / "export")
    there = make_server("b").configure(
        delivery={"dns": sender.config["delivery"]["dns"], "ca": str(authority.root)})
    route(there, "remote.example", "good.example")
    there.start()
    there.ctl("import", "--release", tmp_path / "export")
    host.wait(2)
    wait_for("one of the two said so", lambda: sorted(host.said) == [False, True])
