"""Logging in at a smart host: aiosmtpd, and Dovecot's submission service, which speaks SCRAM."""
import subprocess

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from support.certificates import Authority
from support.dovecot import PORT as DOVECOT_PORT
from support.dovecot import DovecotSubmission
from support.net import Address
from support.sink import SINK_PORT, Sink
from support.waiting import PATIENCE, wait_for

HOST = "smart.example"
USER = "ann@example.org"
PASSWORD = "open sesame"
TO = "x@far.example"


class _SmartHost(Controller):
    starttls = None
    mechanisms_off = ()
    authenticator = None

    def factory(self):
        return SMTP(self.handler, hostname=HOST, tls_context=self.starttls, require_starttls=True, auth_required=True,
                    authenticator=self.authenticator, auth_exclude_mechanism=self.mechanisms_off)


class SmartHost(Sink):
    """Takes mail of who has logged in alone. `answer`: None (the password decides), or what AUTH gets."""
    controller = _SmartHost

    def __init__(self, tls, mechanisms_off=()):
        self.tried = []
        self.answer = None

        def check(server, session, envelope, mechanism, data):
            login, password = data.login.decode(), data.password.decode()
            self.tried.append((mechanism, login, password, session.ssl is not None))
            if self.answer:
                return AuthResult(success=False, handled=False, message=self.answer)
            return AuthResult(success=(login, password) == (USER, PASSWORD), handled=False)

        self.controller = type("Controller", (_SmartHost,), {
            "authenticator": staticmethod(check), "mechanisms_off": mechanisms_off})
        super().__init__(tls=tls)


@pytest.fixture
def smart_host(authority):
    """Starts one, for which of the mechanisms PLAIN and LOGIN are not `off`."""
    started = []

    def make(off=(), certificate=None):
        started.append(SmartHost(authority.server(*(certificate or authority.issue(HOST))), off))
        return started[-1]
    yield make
    for host in started:
        host.close()


def route(server, zone, authority, ip, port=SINK_PORT, password=PASSWORD, scheme="smtp"):
    """Not started: all mail goes to the smart host, by its name."""
    zone.a(HOST, ip)
    (server.directory / "relay.password").write_text(password + "\n")
    server.configure(delivery={"ca": str(authority.root)}, retry={"after": ["1h"]})
    return server.route("*", f"{scheme}://{HOST}:{port}", tls="verified", login=USER,
                        password_file="relay.password")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_mail_goes_to_who_lets_us_in(server, zone, authority, smart_host, mechanism):
    host = smart_host(off=[one for one in ("PLAIN", "LOGIN") if one != mechanism])
    route(server, zone, authority, host.ip).start()
    server.send(TO)
    line = server.wait_log("delivery.ok", to=TO)
    assert line["verified"] == f"yes: {HOST}", line
    assert host.tried == [(mechanism, USER, PASSWORD, True)]
    assert host.wait()[0].recipients == [TO]


def test_a_wrong_password_defers_and_is_told(server, zone, authority, smart_host):
    host = smart_host()
    route(server, zone, authority, host.ip, password="guessed").start()
    server.send(TO)
    line = server.wait_log("queue.deferred")
    assert line["class"] == "login" and line["reply"].startswith("535 "), line
    assert len(host.tried) == 1 and not host.messages
    hop = f"{HOST}:{SINK_PORT}/verified/login={USER}"
    assert server.status()["attention"] == [f"login refused by {hop}"]
    (row,) = server.ctl("explain", "far.example").rows
    assert "535" in str(row)
    assert not server.events("bounce.sent")
    # The right one, and one command.
    (server.directory / "relay.password").write_text(PASSWORD + "\n")
    server.ctl("reload")
    server.ctl("retry", "--all")
    server.wait_log("delivery.ok", to=TO)
    assert server.status()["attention"] == []


def test_who_cannot_say_now_is_asked_again(server, zone, authority, smart_host):
    host = smart_host()
    host.answer = "454 4.7.0 Temporary authentication failure"
    route(server, zone, authority, host.ip).configure(retry={"after": ["1s"]}).start()
    server.send(TO)
    line = server.wait_log("queue.deferred")
    assert line["class"] == "login" and line["reply"].startswith("454 4.7.0"), line
    assert server.status()["attention"] == []
    host.answer = None
    server.wait_log("delivery.ok", to=TO)


def test_nobody_else_hears_the_password(server, zone, authority, smart_host, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for certificate in (authority.issue("elsewhere.example"), Authority(stranger).issue(HOST)):
        host = smart_host(certificate=certificate)
        zone.a(HOST, host.ip)
    route(server, zone, authority, host.ip).start()
    server.send(TO)
    assert server.wait_log("queue.deferred")["class"] == "tls"
    assert not host.tried and not host.messages


def test_mx_first_then_the_smart_host(server, zone, authority, smart_host, sink, closing):
    """The password demands a host that proves its name; the MX hosts need not."""
    host = smart_host()
    route(server, zone, authority, host.ip).configure(delivery={"port": SINK_PORT})
    server.config["route"][0]["via"].insert(0, "mx?tls=optional")
    for name, ip in (("near.example", sink.ip), ("far.example", closing(Address()).ip)):
        zone.mx(name, (10, f"mx.{name}"))
        zone.a(f"mx.{name}", ip)
    server.start()
    server.send("x@near.example")
    assert sink.wait()[0].recipients == ["x@near.example"]
    assert not host.tried
    server.send(TO)
    assert host.wait()[0].recipients == [TO]
    assert host.tried[0][1:] == (USER, PASSWORD, True)


def test_a_password_in_clear_is_refused_at_the_start(server):
    (server.directory / "relay.password").write_text("x\n")
    server.route("*", "smtp://127.0.0.1:25", tls="required", login="ann", password_file="relay.password")
    server.write()
    said = subprocess.run([server.program, "-n", "-c", server.file], capture_output=True, text=True, check=False)
    assert said.returncode == 78
    assert "a password is sent over verified TLS alone" in said.stdout + said.stderr


# --- Dovecot --------------------------------------------------------------------------------------


@pytest.fixture
def dovecot(authority, sink, closing):
    """Dovecot's submission service in front of the sink."""
    return closing(DovecotSubmission(HOST, *authority.issue(HOST), USER, PASSWORD, (sink.ip, SINK_PORT)))


def test_dovecot_takes_us_by_scram(server, zone, authority, sink, dovecot):
    route(server, zone, authority, dovecot.ip, port=DOVECOT_PORT).start()
    for _ in range(3):
        server.send(TO)
    server.wait_log("delivery.ok", count=3, to=TO)
    assert [message.recipients for message in sink.wait(3)] == [[TO]] * 3
    assert server.wait_log("relay.login")["mechanism"] == "SCRAM-SHA-256"
    log = dovecot.log()
    assert f"user=<{USER}>" in log and "method=SCRAM-SHA-256" in log, log


def test_dovecot_refuses_a_wrong_password(server, zone, authority, dovecot):
    route(server, zone, authority, dovecot.ip, port=DOVECOT_PORT, password="guessed").start()
    server.send(TO)
    line = server.wait_log("queue.deferred")
    assert line["class"] == "login" and line["reply"].startswith("535 5.7.8"), line
