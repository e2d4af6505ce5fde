"""TLS with clients of others: Python's ssl and smtplib, openssl s_client, swaks, curl."""
import email
import os
import re
import signal
import socket
import ssl
import subprocess

import pytest

from support.certificates import Authority
from support.client import Session
from support.server import MX_PORT, RELAY_PORT
from support.waiting import PATIENCE, wait_for

TLS_PORT = 2465      # implicit
REQUIRED_PORT = 2587
NAME = "mx.example.org"


def certificate(chain, key, *names):
    return {"chain": str(chain), "key": str(key), **({"names": list(names)} if names else {})}


@pytest.fixture
def tls_server(server, authority):
    """Not started: a listener for each way to speak TLS, all for clients that may relay."""
    server.configure(certificate=[certificate(*authority.issue(NAME, stem="mx"), NAME)])
    server.config["listen"] += [
        {"address": f"{server.ip}:{port}", "service": "relay", "relay_from": ["127.0.0.0/8"], "tls": mode}
        for port, mode in ((TLS_PORT, "implicit"), (REQUIRED_PORT, "required"))]
    return server


@pytest.fixture
def tls(tls_server):
    return tls_server.start()


class TlsSession(Session):
    """SMTP by hand over TLS, begun by STARTTLS or at once."""

    def __init__(self, server, context, port=MX_PORT, name=NAME, session=None):
        sock = socket.create_connection((server.ip, port), PATIENCE)
        self.clear = sock.dup() if port != TLS_PORT else None
        if port != TLS_PORT:
            plain = Session(sock)
            plain.expect("EHLO client.example", "250")
            plain.expect("STARTTLS", "220")
            assert plain.pending == b""
        secured = context.wrap_socket(sock, server_hostname=name, session=session)
        if port == TLS_PORT:
            super().__init__(secured)
        else:
            self.sock, self.pending = secured, b""
            self.sock.settimeout(PATIENCE)

    def say_hello(self):
        return self.expect("EHLO client.example", "250")


def send_message(session, recipient="bob@example.org", body=b"Subject: tls\r\n\r\nhello\r\n"):
    session.say_hello()
    session.expect("MAIL FROM:<alice@example.org>", "250")
    session.expect(f"RCPT TO:<{recipient}>", "250")
    session.expect("DATA", "354")
    session.send(body + b".\r\n")
    reply = session.reply()
    assert reply.startswith("250"), reply


def received(server, user="bob", count=1):
    newest = max(server.wait_mail(user, count), key=lambda path: path.stat().st_mtime_ns)
    return email.message_from_bytes(newest.read_bytes()).get_all("Received")[0]


@pytest.mark.parametrize("kind", ["rsa", "P-256", "P-384", "ed25519"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_key_in_every_version(tls_server, authority, kind, version):
    tls_server.configure(certificate=[certificate(*authority.issue(NAME, kind=kind))])
    tls_server.start()
    session = TlsSession(tls_server, authority.client(version))
    assert session.sock.version() == version.name.replace("_", ".")
    cipher = session.sock.cipher()[0]
    assert "GCM" in cipher or "CHACHA20" in cipher
    send_message(session)
    assert re.search(rf"with ESMTPS\s+\({session.sock.version()} {cipher}\)", received(tls_server))
    accepted = tls_server.wait_log("message.accepted")
    assert accepted["tls"] == f"{session.sock.version()} {cipher}"


def test_the_first_version_is_configured(tls_server, authority):
    tls_server.configure(tls={"minimum": "1.3"}).start()
    with pytest.raises(ssl.SSLError):
        TlsSession(tls_server, authority.client(ssl.TLSVersion.TLSv1_2))
    closed = tls_server.wait_log("session.close", reason="TLS failed")
    assert "unsupported protocol" in closed["tls_error"]
    send_message(TlsSession(tls_server, authority.client(ssl.TLSVersion.TLSv1_3)))


def test_old_versions_and_weak_ciphers_are_refused(tls):
    for words in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
                  ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]):
        done = s_client(tls, MX_PORT, "-starttls", "smtp", *words)
        assert "Cipher is (NONE)" in done.stdout, done.stdout


def s_client(server, port, *words, talk="QUIT\r\n"):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"{server.ip}:{port}", "-servername", NAME, "-ign_eof", *words],
        input=talk, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)


def test_openssl_s_client(tls, authority):
    for words in ([MX_PORT, "-starttls", "smtp"], [TLS_PORT]):
        done = s_client(tls, *words, "-CAfile", str(authority.root), "-verify_return_error",
                        talk="EHLO c\r\nQUIT\r\n")
        assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
        assert "221 2.0.0" in done.stdout
        assert "STARTTLS" not in done.stdout.split("---")[-1]


def test_renegotiation_is_off(tls):
    with subprocess.Popen(["openssl", "s_client", "-connect", f"{tls.ip}:{MX_PORT}", "-starttls", "smtp",
                           "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as client:
        client.stdin.write("R\n")
        client.stdin.flush()
        client.wait(PATIENCE)  # it gives up by itself
        said = client.stdout.read()
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said


def test_swaks(tls):
    for words in (["--port", str(MX_PORT), "--tls"], ["--port", str(TLS_PORT), "--tls-on-connect"],
                  ["--port", str(REQUIRED_PORT), "--tls"]):
        subprocess.run(["swaks", "--server", tls.ip, *words, "--from", "ann@example.org", "--to",
                        "bob@example.org", "--helo", "client.example", "--timeout", "20"],
                       check=True, capture_output=True, timeout=60)
    tls.wait_mail("bob", 3)


def test_curl(tls, tmp_path, authority):
    message = tmp_path / "message"
    message.write_bytes(b"Subject: curl\r\n\r\nhello\r\n")
    for url, words in ((f"smtp://{NAME}:{REQUIRED_PORT}/client.example", ["--ssl-reqd"]),
                       (f"smtps://{NAME}:{TLS_PORT}/client.example", [])):
        subprocess.run(["curl", "-sS", url, *words, "--connect-to", f"{NAME}::{tls.ip}:", "--cacert",
                        str(authority.root), "--mail-from", "ann@example.org", "--mail-rcpt",
                        "bob@example.org", "-T", str(message)],
                       check=True, capture_output=True, timeout=60)
    tls.wait_mail("bob", 2)


def test_smtplib(tls, authority):
    with tls.smtp(MX_PORT) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        # smtplib names the host that it was given; the certificate is for a name.
        client._host = NAME
        client.starttls(context=authority.client())
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("alice@example.org", ["bob@example.org"], "Subject: smtplib\r\n\r\nhi\r\n")
    tls.wait_mail("bob")


def test_required(tls, authority):
    hand = tls.session_by_hand(REQUIRED_PORT)
    hand.expect("EHLO client.example", "250")
    assert hand.say("MAIL FROM:<alice@example.org>") == "530 5.7.0 Must issue a STARTTLS command first"
    send_message(TlsSession(tls, authority.client(), REQUIRED_PORT))
    tls.wait_mail("bob")
    assert len(tls.mailbox("bob")) == 1


def test_a_server_without_certificates_has_no_key_process(postern):
    assert not postern.pids("key")
    hand = postern.session_by_hand(MX_PORT)
    assert "STARTTLS" not in hand.say("EHLO client.example")
    hand.expect("STARTTLS", "502")


def test_one_byte_behind_starttls_closes(tls):
    for more in (b"R", b"RSET\r\n", b"\x16\x03\x01"):
        hand = tls.session_by_hand(MX_PORT)
        hand.expect("EHLO client.example", "250")
        hand.send(b"STARTTLS\r\n" + more)
        assert hand.reply().startswith("554 5.5.1")
        assert hand.is_closed()


def test_what_was_said_before_is_forgotten(tls, authority):
    session = TlsSession(tls, authority.client())
    session.expect("MAIL FROM:<alice@example.org>", "503")
    session.say_hello()
    session.expect("STARTTLS", "503 5.5.1 TLS is active")


def test_certificates_by_name(tls_server, authority):
    other, any_ = authority.issue("other.example"), authority.issue("*.any.example", kind="rsa")
    tls_server.config["certificate"] += [certificate(*other), certificate(*any_)]
    tls_server.start()

    def shown(name):
        context = authority.client()
        context.check_hostname = False
        session = TlsSession(tls_server, context, name=name)
        return session.sock.getpeercert()["subjectAltName"][0][1]
    assert shown(NAME) == NAME
    assert shown("other.example") == "other.example"
    assert shown("a.any.example") == "*.any.example"
    assert shown("unknown.example") == NAME
    assert shown(None) == NAME


def test_sessions_resume_with_another_process(tls_server, authority):
    tls_server.configure(processes={"smtpd": 2}).start()
    for number, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        context = authority.client(version)
        first = TlsSession(tls_server, context)
        first.say_hello()  # in TLS 1.3 the ticket comes behind the handshake
        line = tls_server.wait_log("session.tls", 2 * number + 1)
        assert line["resumed"] == "false"
        started = tls_server.events("process.started", process=line["role"])[-1]
        os.kill(int(started["pid"]), signal.SIGSTOP)  # so that the other one serves the next
        try:
            second = TlsSession(tls_server, context, session=first.sock.session)
            assert second.sock.session_reused
            second.say_hello()
            again = tls_server.wait_log("session.tls", 2 * number + 2)
        finally:
            os.kill(int(started["pid"]), signal.SIGCONT)
        assert again["resumed"] == "true" and again["role"] != line["role"]


def test_a_reload_takes_new_certificates_and_keeps_sessions(tls, authority):
    context = authority.client()
    before = TlsSession(tls, context)
    before.say_hello()
    serial = before.sock.getpeercert()["serialNumber"]
    authority.issue(NAME, kind="rsa", stem="mx")  # another key, in the same files
    tls.ctl("reload")
    before.expect("MAIL FROM:<alice@example.org>", "250")
    before.expect("RCPT TO:<bob@example.org>", "250")
    after = TlsSession(tls, context)
    assert after.sock.getpeercert()["serialNumber"] != serial
    send_message(after)
    before.expect("DATA", "354")
    before.send(b"x\r\n.\r\n")
    assert before.reply().startswith("250")
    tls.wait_mail("bob", 2)


def test_a_reload_with_a_bad_certificate_changes_nothing(tls, authority, tmp_path):
    _, other = authority.issue(NAME)
    tls.config["certificate"][0]["key"] = str(other)
    tls.write()
    answer = tls.ctl("reload", check=False)
    assert answer.exit == 78 and "does not belong to the certificate" in answer.rows[0]["text"]
    send_message(TlsSession(tls, authority.client()))


def test_the_first_certificate_needs_a_restart(server, authority):
    server.start()
    server.configure(certificate=[certificate(*authority.issue(NAME))])
    server.write()
    answer = server.ctl("reload", check=False)
    assert answer.exit == 78 and "the first or last [[certificate]]" in answer.rows[0]["text"]


def test_the_key_process_may_die(tls, authority):
    context = authority.client()
    kept = TlsSession(tls, context)
    kept.say_hello()
    ticket = kept.sock.session
    [key] = tls.pids("key")
    os.kill(key, signal.SIGSTOP)  # it stands still: no signature comes
    waiting = socket.create_connection((tls.ip, TLS_PORT), PATIENCE)
    waiting.setblocking(False)
    outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    waiting.sendall(outgoing.read())
    kept.expect("NOOP", "250")  # and nobody else waits for it
    assert TlsSession(tls, context, session=ticket).sock.session_reused
    tls.kill("key")
    waiting.settimeout(PATIENCE)
    while more := waiting.recv(65536):
        incoming.write(more)
    with pytest.raises(ssl.SSLError, match="alert"):
        hello.do_handshake()
    kept.expect("NOOP", "250")

    def again():
        try:
            return TlsSession(tls, context)
        except (ssl.SSLError, OSError):
            return None
    send_message(wait_for("handshakes work again", again))
    assert tls.pids("key") != [key]


@pytest.mark.root
def test_no_process_but_key_holds_the_key(tls, authority):
    send_message(TlsSession(tls, authority.client()))
    text = (authority.directory / "mx.key").read_text()
    der = ssl.PEM_cert_to_DER_cert(text.replace("PRIVATE KEY", "CERTIFICATE"))
    secret = der[36:68]  # of PKCS 8 with P-256: the number itself
    forms = (secret, secret[::-1], text.encode()[30:90])  # of a file, and of a number in memory
    for role in ("smtpd", "queued", "relay", "local", "key"):
        for pid in tls.pids(role):
            holds = any(form in chunk for chunk in memory(pid) for form in forms)
            assert holds == (role == "key"), role


def memory(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            # Shadow memory of the sanitizers is as large as the address space.
            if not rights.startswith("rw") or end - begin > 1 << 30:
                continue
            try:
                mem.seek(begin)
                yield mem.read(end - begin)
            except (OSError, ValueError):
                continue


def test_client_certificates(tls_server, authority, tmp_path_factory):
    tls_server.configure(tls={"client_ca": str(authority.root)}).start()
    own = authority.issue("relay.example.net")
    stranger = Authority(tmp_path_factory.mktemp("stranger")).issue("relay.example.net")
    for number, (proof, named) in enumerate(((own, True), (stranger, False), (None, False)), 1):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = authority.client(version, proof)
            count = 2 * number - (version == ssl.TLSVersion.TLSv1_2)
            session = TlsSession(tls_server, context)
            send_message(session)
            header = received(tls_server, count=count)
            assert ("client certificate relay.example.net" in " ".join(header.split())) == named
            line = tls_server.wait_log("message.accepted", count)
            assert (line.get("certificate") == "relay.example.net") == named
            resumed = TlsSession(tls_server, context, session=session.sock.session)
            assert resumed.sock.session_reused
            resumed.say_hello()
            line = tls_server.wait_log("session.tls", count, resumed="true")
            assert (line["certificate"] == "relay.example.net") == named


def test_a_ticket_does_not_outlive_a_change_of_whom_we_believe(tls_server, authority, tmp_path_factory):
    tls_server.configure(tls={"client_ca": str(authority.root)}).start()
    context = authority.client(certificate=authority.issue("relay.example.net"))
    first = TlsSession(tls_server, context)
    first.say_hello()
    other = Authority(tmp_path_factory.mktemp("other"))
    tls_server.configure(tls={"client_ca": str(other.root)}).write()
    tls_server.ctl("reload")
    second = TlsSession(tls_server, context, session=first.sock.session)
    assert not second.sock.session_reused
    second.say_hello()
    assert tls_server.wait_log("session.tls", 2)["certificate"] == ""


def everything(sock):
    """What comes until the other side ends."""
    sock.settimeout(PATIENCE)
    answer = b""
    try:
        while more := sock.recv(65536):
            answer += more
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("ending", ["close_notify", "end", "clear", "reset", "alert"])
def test_tls_that_ends_inside_a_transaction_loses_it(tls, authority, ending):
    """At places of a real session; every offset is tried in memory (tests/unit/smtpd)."""
    context = authority.client()
    steps = [b"EHLO c\r\n", b"MAIL FROM:<alice@example.org>\r\n", b"RCPT TO:<bob@example.org>\r\n",
             b"DATA\r\n", b"Subject: lost\r\n\r\nhello", b"\r\n.", b"\r"]
    for count in range(1, len(steps) + 1):
        session = TlsSession(tls, context)
        for step in steps[:count]:
            session.send(step)
            if step.endswith(b"\r\n"):
                session.reply()
        raw = session.clear
        if ending == "close_notify":
            session.sock.settimeout(PATIENCE)
            session.sock.unwrap()
        elif ending == "end":
            raw.shutdown(socket.SHUT_WR)
        elif ending == "clear":
            raw.sendall(b"\n.\r\nMAIL FROM:<alice@example.org>\r\n")
        elif ending == "alert":
            raw.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
        else:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.close()
            session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            session.sock.close()
            continue
        answer = everything(raw)
        assert b"250" not in answer and b"500" not in answer
        session.sock.close()
    tls.wait_log("session.close", len(steps))
    assert tls.status()["queue"]["messages"] == 0 and not tls.mailbox("bob")
    send_message(TlsSession(tls, context))
    tls.wait_mail("bob")


def test_garbage_in_place_of_a_handshake(tls):
    hello_of_ssl2 = b"\x80\x2e\x01\x03\x01" + bytes(43)
    for bytes_ in (b"EHLO c\r\n", b"\x16\x03\x01\x00\x05hello", b"\x9e\x01\x00" + os.urandom(300), hello_of_ssl2):
        with socket.create_connection((tls.ip, TLS_PORT), PATIENCE) as sock:
            sock.sendall(bytes_)
            assert b"220" not in everything(sock)


def test_large_bodies(tls, authority):
    body = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 20_000
    send_message(TlsSession(tls, authority.client()), body=body)
    [mail] = tls.wait_mail("bob")
    assert mail.read_bytes().endswith(body.replace(b"\r\n", b"\n"))


def test_the_check_says_what_is_served(tls_server, authority):
    def check():
        tls_server.write()
        return subprocess.run([tls_server.program, "-n", "-c", tls_server.file], capture_output=True,
                              text=True, check=False)
    done = check()
    assert done.returncode == 0
    assert f"{tls_server.ip}:{TLS_PORT}  relay, TLS from the first byte" in done.stdout
    assert f"{NAME}: EC P-256, until 20" in done.stdout
    tls_server.configure(certificate=[certificate(*authority.issue(NAME, days=3))])
    assert "expires soon" in check().stdout
    chain, _ = authority.issue(NAME)
    _, key = authority.issue(NAME)
    tls_server.configure(certificate=[certificate(chain, key)])
    done = check()
    assert done.returncode == 78
    assert re.search(r"postern\.toml:\d+:\d+: certificate\.key = .* does not belong", done.stderr)
