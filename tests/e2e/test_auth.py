"""Logging in, with clients of others: smtplib, swaks, curl, msmtp, Net::SMTP; and a real Dovecot."""
import base64
import email
import email.utils
import grp
import hashlib
import hmac
import os
import pwd
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from support.client import Closed, Session
from support.server import RELAY_PORT
from support.waiting import PATIENCE, wait_for

SUBMISSION_PORT = 2587  # STARTTLS
TLS_PORT = 2465         # implicit
CLEAR_PORT = 2588       # no TLS
NAME = "mx.example.org"
FAR = "ann@far.example"
PASSWORD = "correct horse"


@pytest.fixture
def auth_server(server, authority, sink):
    """Not started, without accounts: submission listeners, and a sink for mail that goes elsewhere."""
    chain, key = authority.issue(NAME, stem="mx")
    server.configure(certificate=[{"chain": str(chain), "key": str(key), "names": [NAME]}],
                     auth={"accounts": "accounts"})
    server.config["listen"] += [
        {"address": f"{server.ip}:{port}", "service": "submission", "tls": mode}
        for port, mode in ((SUBMISSION_PORT, "required"), (TLS_PORT, "implicit"))]
    server.route("far.example", sink.via)
    (server.directory / "accounts").write_text("# nobody yet\n")
    server.write()
    return server


def user(server, *words, password=None, check=True):
    answer = subprocess.run([server.program.parent.parent / "ctl" / "posternctl", "-c", server.file, "user", *words],
                            input=None if password is None else password + "\n", text=True,
                            stdin=None if password is not None else subprocess.DEVNULL,
                            capture_output=True, timeout=60, check=False)
    if check:
        assert answer.returncode == 0, answer.stderr
    return answer


@pytest.fixture
def auth(auth_server):
    """Running; bob has a password."""
    user(auth_server, "add", "bob", password=PASSWORD)
    return auth_server.start()


def context(authority):
    made = authority.client()
    made.check_hostname = False  # its address is an IP address here
    return made


def client(server, authority, port=SUBMISSION_PORT):
    if port == TLS_PORT:
        return smtplib.SMTP_SSL(server.ip, port, local_hostname="client.example", timeout=PATIENCE,
                                context=context(authority))
    made = smtplib.SMTP(server.ip, port, local_hostname="client.example", timeout=PATIENCE)
    made.starttls(context=context(authority))
    return made


def by_hand(server, authority, version=None, former=None):
    """A Session over TLS behind its EHLO, and what that answered. `former`: a socket whose TLS is resumed."""
    made = former.context if former else authority.client(version)
    made.check_hostname = False
    sock = made.wrap_socket(socket.create_connection((server.ip, TLS_PORT), PATIENCE),
                            session=former and former.session)
    session = Session(sock)
    return session, session.expect("EHLO client.example", "250")


def plain(name, password=PASSWORD):
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def wait_sent(sink, count=1):
    return wait_for(f"{count} messages at the sink", lambda: (sink.messages if len(sink.messages) >= count else None))


# --- Clients of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtplib(auth, authority, sink, mechanism):
    with client(auth, authority) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("bob@example.org", [FAR], "Subject: early\r\n\r\n")
        assert refused.value.smtp_code == 530
        smtp.user, smtp.password = "bob", PASSWORD
        method = smtp.auth_plain if mechanism == "PLAIN" else smtp.auth_login
        assert smtp.auth(mechanism, method)[0] == 235
        smtp.sendmail("bob@example.org", [FAR], "Subject: hello\r\n\r\nhi\r\n")
    message = wait_sent(sink)[0]
    received = email.message_from_bytes(message.content).get_all("Received")[0]
    assert " with ESMTPSA " in " ".join(received.split()), received
    assert auth.wait_log("login.ok")["mechanism"] == mechanism
    assert auth.wait_log("message.accepted")["account"] == "bob"


def test_swaks(auth, sink):
    for port, tls in ((SUBMISSION_PORT, "--tls"), (TLS_PORT, "--tlsc")):
        for mechanism in ("PLAIN", "LOGIN"):
            done = subprocess.run(
                ["swaks", "--server", auth.ip, "--port", str(port), tls, "--auth", mechanism, "--auth-user", "bob",
                 "--auth-password", PASSWORD, "--from", "bob@example.org", "--to", FAR, "--ehlo", "client.example"],
                capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    wait_sent(sink, 4)
    wrong = subprocess.run(
        ["swaks", "--server", auth.ip, "--port", str(SUBMISSION_PORT), "--tls", "--auth", "PLAIN", "--auth-user", "bob",
         "--auth-password", "wrong", "--from", "bob@example.org", "--to", FAR, "--ehlo", "client.example"],
        capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 28, wrong.stdout  # swaks(1): AUTH failed
    assert "535 5.7.8" in wrong.stdout


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl(auth, authority, sink, tmp_path, mechanism):
    (tmp_path / "mail").write_text("Subject: from curl\r\n\r\nhello\r\n")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority.root), "--resolve", f"{NAME}:{TLS_PORT}:{auth.ip}",
         f"smtps://{NAME}:{TLS_PORT}/client.example", "--login-options", f"AUTH={mechanism}", "-u", f"bob:{PASSWORD}",
         "--mail-from", "bob@example.org", "--mail-rcpt", FAR, "-T", tmp_path / "mail"],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"from curl" in wait_sent(sink)[0].content


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
def test_msmtp(auth, authority, sink, mechanism):
    done = subprocess.run(
        ["msmtp", "-C", "/dev/null", f"--host={auth.ip}", f"--port={TLS_PORT}", "--tls=on", "--tls-starttls=off",
         f"--tls-trust-file={authority.root}", f"--tls-host-override={NAME}", f"--auth={mechanism}", "--user=bob",
         f"--passwordeval=printf %s '{PASSWORD}'", "--from=bob@example.org", "--domain=client.example", FAR],
        input="Subject: from msmtp\n\nhello\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"from msmtp" in wait_sent(sink)[0].content
    assert auth.wait_log("login.ok")["mechanism"] == mechanism.upper()


def test_net_smtp(auth, authority, sink):
    script = """
        use Net::SMTP;
        my $smtp = Net::SMTP->new($ARGV[0], Port => $ARGV[1], Hello => 'client.example', Timeout => 30,
                                  SSL => 1, SSL_ca_file => $ARGV[2], SSL_verifycn_name => $ARGV[3])
            or die "connect: $@";
        $smtp->auth('bob', $ARGV[4]) or die 'auth: ' . $smtp->message;
        $smtp->mail('bob@example.org') and $smtp->to($ARGV[5]) or die $smtp->message;
        $smtp->data("Subject: from perl\\n\\nhello\\n") or die $smtp->message;
        $smtp->quit;
    """
    done = subprocess.run(["perl", "-e", script, auth.ip, str(TLS_PORT), authority.root, NAME, PASSWORD, FAR],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"from perl" in wait_sent(sink)[0].content


# --- SCRAM ----------------------------------------------------------------------------------------


def scram(session, name, password, header="n,,", binding=b"", mechanism="SCRAM-SHA-256"):
    """The last reply, and whether the server proved that it knows the verifier."""
    def b64(text):
        return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()

    def mac(key, text):
        return hmac.new(key, text, hashlib.sha256).digest()
    bare = f"n={name},r=rOprNGfwEbeRWgbNEkqO"
    reply = session.say(f"AUTH {mechanism} {b64(header + bare)}")
    if not reply.startswith("334 "):
        return reply, False
    server_first = base64.b64decode(reply[4:]).decode()
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = mac(salted, b"Client Key")
    without = f"c={b64(header.encode() + binding)},r={fields['r']}"
    message = f"{bare},{server_first},{without}".encode()
    proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), message)))
    reply = session.say(b64(f"{without},p={b64(proof)}"))
    if not reply.startswith("334 "):
        return reply, False
    signature = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), message))
    return session.say(""), base64.b64decode(reply[4:]) == signature


def test_scram_and_who_is_there_cannot_be_told(auth, authority):
    session, features = by_hand(auth, authority)
    assert "AUTH PLAIN LOGIN SCRAM-SHA-256\n" in features
    assert scram(session, "bob", PASSWORD) == ("235 2.7.0 Authentication successful", True)
    salts = []
    for _ in range(2):
        session, _ = by_hand(auth, authority)
        first = base64.b64encode(b"n,,n=nobody,r=abcdef").decode()
        reply = base64.b64decode(session.expect(f"AUTH SCRAM-SHA-256 {first}", "334")[4:]).decode()
        salts.append(reply.split(",")[1:])
        session.close()
    assert salts[0] == salts[1] and salts[0][1] == "i=65536"
    session, _ = by_hand(auth, authority)
    assert scram(session, "nobody", PASSWORD) == ("535 5.7.8 Authentication credentials invalid", False)


def test_scram_plus_binds_to_the_channel(auth_server, authority):
    user(auth_server, "add", "bob", password=PASSWORD)
    auth_server.configure(auth={"mechanisms": ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]})
    auth_server.start()
    session, features = by_hand(auth_server, authority, ssl.TLSVersion.TLSv1_2)
    assert "AUTH SCRAM-SHA-256 SCRAM-SHA-256-PLUS\n" in features
    unique = session.sock.get_channel_binding("tls-unique")
    plus = {"header": "p=tls-unique,,", "mechanism": "SCRAM-SHA-256-PLUS"}
    assert scram(session, "bob", PASSWORD, binding=b"x" + unique[1:], **plus)[0].startswith("535")
    assert scram(session, "bob", PASSWORD, binding=unique, **plus) == ("235 2.7.0 Authentication successful", True)
    # The first Finished is the server's there (RFC 5929 3).
    resumed, _ = by_hand(auth_server, authority, former=session.sock)
    assert resumed.sock.session_reused
    unique = resumed.sock.get_channel_binding("tls-unique")
    assert scram(resumed, "bob", PASSWORD, binding=unique, **plus) == ("235 2.7.0 Authentication successful", True)
    session, _ = by_hand(auth_server, authority)
    assert scram(session, "bob", PASSWORD, header="y,,")[0].startswith("535")  # -PLUS was taken out on the way


class SClient:
    """openssl s_client behind EHLO: it alone tells what TLS 1.3 lets a login be bound to (RFC 9266)."""
    def __init__(self, server, authority):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{server.ip}:{TLS_PORT}", "-servername", NAME, "-CAfile",
             authority.root, "-tls1_3", "-ign_eof", "-crlf", "-keymatexport", "EXPORTER-Channel-Binding",
             "-keymatexportlen", "32"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.exported = bytes.fromhex(self.line_with("Keying material: ").split()[-1])
        self.line_with("220 ")
        self.say("EHLO client.example")

    def line_with(self, start):
        for line in self.process.stdout:
            if line.strip().startswith(start):
                return line.strip()
        raise AssertionError(f"s_client ended before {start!r}")

    def say(self, words):
        """The last line of the reply; what s_client itself says in between is passed over."""
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line[:3].isdigit() and line[3:4] == " ":
                return line.strip()
        raise AssertionError(f"s_client ended behind {words!r}")

    def close(self):
        self.process.kill()
        self.process.communicate()


def test_scram_plus_binds_to_the_channel_in_tls_1_3(auth_server, authority):
    user(auth_server, "add", "bob", password=PASSWORD)
    auth_server.configure(auth={"mechanisms": ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]})
    auth_server.start()
    plus = {"header": "p=tls-exporter,,", "mechanism": "SCRAM-SHA-256-PLUS"}
    for good in (False, True):
        client = SClient(auth_server, authority)
        try:
            binding = client.exported if good else client.exported[::-1]
            answer, proved = scram(client, "bob", PASSWORD, binding=binding, **plus)
        finally:
            client.close()
        assert (answer[:3], proved) == (("235", True) if good else ("535", False))


# --- What is added ------------------------------------------------------------------------------

def test_what_a_users_message_lacks_is_added(auth, authority, sink):
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")
    wholes = ["Subject: 1\r\n", "Subject: 2\r\ndate: Thu, 26 Nov 2026 00:00:00 +0000\r\n",
              "Subject: 3\r\nMessage-Id : <mine@client.example>\r\n"]
    for header in wholes:
        session.expect("MAIL FROM:<bob>", "250")  # the default domain is his too
        session.expect(f"RCPT TO:<{FAR}>", "250")
        session.expect("DATA", "354")
        session.send(header.encode() + b"\r\nhello\r\n")
        session.expect(".", "250")
    relay = auth.session_by_hand(RELAY_PORT)
    relay.expect("EHLO client.example", "250")
    relay.expect("MAIL FROM:<ann@client.example>", "250")
    relay.expect(f"RCPT TO:<{FAR}>", "250")
    relay.expect("DATA", "354")
    relay.send(b"Subject: 4\r\n\r\nhello\r\n")
    relay.expect(".", "250")
    came = {message["Subject"]: message for message in
            (email.message_from_bytes(sent.content) for sent in wait_sent(sink, 4))}
    dates, ids = ([came[str(n)].get_all(field, []) for n in range(1, 5)] for field in ("Date", "Message-ID"))
    assert [len(found) for found in dates] == [1, 1, 1, 0]
    assert dates[1] == ["Thu, 26 Nov 2026 00:00:00 +0000"]
    assert abs(email.utils.parsedate_to_datetime(dates[0][0]).timestamp() - time.time()) < 600
    assert [len(found) for found in ids[:2]] == [1, 1] and ids[3] == []
    assert all(re.fullmatch(rf"<[0-9A-Z]+@{NAME}>", found[0]) for found in ids[:2]) and ids[0] != ids[1]
    assert came["3"].as_string().lower().count("message-id") == 1
    assert all(sent.sender == "bob@example.org" for sent in sink.messages if b"Subject: 1" in sent.content)


# --- What is refused ------------------------------------------------------------------------------


def test_no_password_without_tls(auth, authority):
    session = Session(socket.create_connection((auth.ip, SUBMISSION_PORT), PATIENCE))
    assert "AUTH" not in session.expect("EHLO client.example", "250")
    session.expect(f"AUTH PLAIN {plain('bob')}", "530 5.7.0")
    relay = auth.session_by_hand(RELAY_PORT)
    assert "AUTH" not in relay.expect("EHLO client.example", "250")


def test_clear_text_where_it_is_allowed(auth_server, sink):
    user(auth_server, "add", "bob", password=PASSWORD)
    auth_server.configure(auth={"allow_plaintext": True})
    auth_server.config["listen"].append(
        {"address": f"{auth_server.ip}:{CLEAR_PORT}", "service": "submission", "tls": "off"})
    auth_server.start()
    with auth_server.smtp(CLEAR_PORT) as smtp:
        smtp.login("bob", PASSWORD)
        smtp.sendmail("bob@example.org", [FAR], "Subject: hello\r\n\r\n")
    assert b" with ESMTPA " in wait_sent(sink)[0].content.replace(b"\r\n\t", b" ")


def test_guessers_wait_and_strangers_take_as_long(auth, authority):
    took = []
    for name in ("bob", "nobody", "bob", "bob", "bob", "bob"):
        session, _ = by_hand(auth, authority)
        began = time.monotonic()
        session.expect(f"AUTH PLAIN {plain(name, 'guess')}", "535 5.7.8")
        took.append(time.monotonic() - began)
        session.close()
    assert took[5] > 0.9, took  # the pauses have doubled: 0.25, 0.5, 1 s
    reasons = [event["reason"] for event in auth.events("login.failed")]
    assert set(reasons) == {"wrong name or password"}
    assert "guess" not in auth.log_tail(200)
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")  # but who knows it gets in


def test_three_wrong_ones_end_the_session(auth, authority):
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob', 'x')}", "535")
    session.expect(f"AUTH PLAIN {plain('bob', 'x')}", "535")
    session.expect(f"AUTH PLAIN {plain('bob', 'x')}", "421 4.7.0")
    assert session.is_closed()


# --- Processes ------------------------------------------------------------------------------------


def test_a_login_outlives_the_auth_process_and_queued(auth, authority, sink):
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")

    def send():
        session.expect("MAIL FROM:<bob@example.org>", "250")
        session.expect(f"RCPT TO:<{FAR}>", "250")
        session.expect("DATA", "354")
        return session.say("Subject: hello\r\n\r\nhi\r\n.")
    started = len(auth.events("process.started", process="auth[0]"))
    auth.kill("auth")
    auth.wait_log("process.started", started + 1, process="auth[0]")
    assert send().startswith("250"), auth.log_tail()
    # The new auth process knows nothing of this login, and so the new queued does not hear of it.
    started = len(auth.events("process.started", process="queued[0]"))
    auth.kill("queued")
    auth.wait_log("process.started", started + 1, process="queued[0]")
    assert send().startswith("451 4.7.0"), auth.log_tail()
    session, _ = by_hand(auth, authority)
    wait_for("a login again", lambda: session.say(f"AUTH PLAIN {plain('bob')}").startswith("235"))
    auth.kill("queued")
    auth.wait_log("process.started", started + 2, process="queued[0]")
    wait_for("auth has told the new queued", lambda: send().startswith("250"))


@pytest.mark.root
def test_only_auth_holds_passwords(auth):
    """Of the memory of the processes; readable to root alone."""
    line = next(line for line in (auth.directory / "accounts").read_text().splitlines() if line.startswith("bob:"))
    secret = line.split(":")[1].encode()
    holds = {}
    for pid, title in auth.alive().items():
        if not title.startswith("postern: ") or title.startswith("postern: parent"):
            continue  # the parent reads the file
        found = False
        with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for row in maps:
                place, rights = row.split()[:2]
                first, last = (int(part, 16) for part in place.split("-"))
                if "r" not in rights or "[v" in row or last - first > 1 << 30:
                    continue
                try:
                    memory.seek(first)
                    found = found or secret in memory.read(last - first)
                except OSError:
                    pass
        holds[title.split()[1].rstrip(",")] = found
    assert holds.pop("auth"), holds
    assert not any(holds.values()), holds


# --- posternctl user ------------------------------------------------------------------------------


def test_users_are_added_changed_and_removed_at_once(auth, authority):
    accounts = auth.directory / "accounts"
    accounts.chmod(0o640)
    said = user(auth, "add", "Amy", password="another one").stdout
    assert said.startswith("account amy is added; configuration"), said
    assert oct(accounts.stat().st_mode)[-3:] == "640"
    assert accounts.read_text().startswith("# nobody yet\nbob:$y$")
    rows = auth.ctl("user", "list").rows
    assert [(row["account"], row["hash"], row["scram"]) for row in rows] == [
        ("bob", "yescrypt", True), ("amy", "yescrypt", True)]
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('amy', 'another one')}", "235")
    user(auth, "passwd", "amy", password="a new one")
    assert session.reply().startswith("421 4.7.0")  # its session ended with its password
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('amy', 'another one')}", "535")
    session.expect(f"AUTH PLAIN {plain('amy', 'a new one')}", "235")
    user(auth, "remove", "amy")
    assert session.reply().startswith("421 4.7.0")
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('amy', 'a new one')}", "535")
    assert [path.name for path in auth.directory.glob("accounts*")] == ["accounts"]


def test_what_user_refuses(auth):
    assert user(auth, "add", "bob", password="x", check=False).returncode == 65
    assert user(auth, "passwd", "eve", password="x", check=False).returncode == 65
    assert user(auth, "remove", "eve", check=False).returncode == 65
    assert user(auth, "add", "eve", password="", check=False).returncode == 65
    assert user(auth, "add", "eve", password="grün", check=False).returncode == 65
    assert user(auth, "add", "e:ve", password="x", check=False).returncode == 64
    assert user(auth, "lock", "bob", check=False).returncode == 64
    assert user(auth, "unlock", "bob", check=False).returncode == 65


def test_without_a_server_the_file_is_edited_all_the_same(auth_server):
    said = user(auth_server, "add", "bob", password=PASSWORD).stdout
    assert said == "account bob is added; no server runs; it counts when one starts\n"


def test_a_lock_ends_sessions_and_outlives_everything(auth, authority):
    idle, _ = by_hand(auth, authority)
    idle.expect(f"AUTH PLAIN {plain('bob')}", "235")
    busy, _ = by_hand(auth, authority)
    busy.expect(f"AUTH PLAIN {plain('bob')}", "235")
    busy.expect("MAIL FROM:<bob@example.org>", "250")
    busy.expect(f"RCPT TO:<{FAR}>", "250")
    busy.expect("DATA", "354")
    busy.send(b"Subject: half a message\r\n")
    began = time.monotonic()
    auth.ctl("user", "lock", "bob", "--reason", "sends spam")
    for session in (idle, busy):
        assert session.reply().startswith("421 4.7.0")
        assert session.is_closed()
    assert time.monotonic() - began < 1
    assert [(row["kind"], row["name"], row["reason"]) for row in auth.ctl("blocks").rows] == [
        ("lock", "bob", "sends spam")]
    assert "account bob locked" in auth.status()["attention"]
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "535")
    auth.kill("queued")
    auth.wait_log("process.died")
    auth.restart()
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "535")
    auth.ctl("user", "unlock", "bob")
    assert auth.status()["attention"] == []
    session, _ = by_hand(auth, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")


# --- What an account may send ---------------------------------------------------------------------


def test_an_account_sends_no_more_than_it_may(auth_server, authority, sink):
    auth_server.configure(account=[{"name": "*", "messages": ["3/h"], "recipients": ["4/h", "100/day"]},
                                   {"name": "amy"}])
    for name in ("bob", "amy"):
        user(auth_server, "add", name, password=PASSWORD)
    auth_server.start()

    def send(account, recipients):
        with client(auth_server, authority) as session:
            session.login(account, PASSWORD)
            session.sendmail("bob@example.org", recipients, "Subject: x\r\n\r\nhello\r\n")

    def refused(account, recipients):
        with pytest.raises(smtplib.SMTPDataError) as error:
            send(account, recipients)
        return error.value.smtp_code, error.value.smtp_error

    def refused_again():
        try:
            return refused("bob", [FAR])[0] == 452
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 454  # auth does not know yet that the queue is back
            return False

    assert refused("bob", [f"r{i}@far.example" for i in range(5)])[0] == 550
    send("bob", [FAR, "eve@far.example"])
    code, words = refused("bob", [f"r{i}@far.example" for i in range(3)])
    assert (code, words) == (452, b"4.7.1 Account bob has sent its 4 recipients in an hour, try again later")
    send("bob", [FAR])
    for _ in range(5):  # nobody's: that comes in
        auth_server.send("alice@example.org")
    send("bob", [FAR])
    assert refused("bob", [FAR])[1] == b"4.7.1 Account bob has sent its 3 messages in an hour, try again later"
    line = auth_server.wait_log("message.refused", account="bob")
    assert line["reply"].startswith("452 4.7.1")
    send("amy", [FAR] * 5)
    auth_server.restart()
    assert refused("bob", [FAR])[0] == 452
    loaded = len(auth_server.events("queue.loaded"))
    auth_server.kill("queued")
    auth_server.wait_log("queue.loaded", count=loaded + 1)
    wait_for("queued says so again", refused_again)
    sink.wait(4)


def test_an_account_sends_as_nobody_else(auth_server, authority, sink):
    auth_server.configure(account=[{"name": "*", "senders": ["{account}", "*@lists.example"]}])
    user(auth_server, "add", "bob", password=PASSWORD)
    auth_server.start()

    def send(sender):
        with client(auth_server, authority) as session:
            session.login("bob", PASSWORD)
            session.sendmail(sender, [FAR], "Subject: x\r\n\r\nhello\r\n")

    for sender in ("bob@example.org", "bob+home@example.org", "news@lists.example", ""):
        send(sender)
    with pytest.raises(smtplib.SMTPDataError) as error:
        send("alice@example.org")
    assert (error.value.smtp_code, error.value.smtp_error) == (550, b"5.7.1 Account bob may not send as this sender")
    line = auth_server.wait_log("message.refused", account="bob")
    assert line["from"] == "alice@example.org"
    sink.wait(4)


# --- Dovecot --------------------------------------------------------------------------------------


@pytest.fixture
def dovecot(tmp_path):
    """Starts Dovecot's authentication service; returns (its socket, a function that ends and one that starts it)."""
    root = os.getuid() == 0
    me = pwd.getpwuid(os.getuid()).pw_name
    internal = "dovecot" if root else me
    base = Path(tempfile.mkdtemp(prefix="dovecot-"))
    base.chmod(0o755)
    (base / "users").write_text("bob:{PLAIN}" + PASSWORD + "::::::\n")
    (base / "dovecot.conf").write_text(f"""
protocols =
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0 secs
default_login_user = {"dovenull" if root else me}
default_internal_user = {internal}
default_internal_group = {grp.getgrgid(pwd.getpwnam(internal).pw_gid).gr_name}
service auth {{
  unix_listener auth-postern {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = static
  args = uid={me} gid={grp.getgrgid(pwd.getpwnam(me).pw_gid).gr_name} home={base}
}}
""")
    running = []

    def start():
        running.append(subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", base / "dovecot.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for("Dovecot's socket", (base / "run" / "auth-postern").exists)

    def stop():
        process = running.pop()
        process.terminate()
        process.wait(PATIENCE)
    start()
    yield base / "run" / "auth-postern", stop, start
    if running:
        stop()
    shutil.rmtree(base)


def test_dovecot_knows_the_accounts(auth_server, authority, sink, dovecot):
    path, stop, start = dovecot
    auth_server.config["auth"] = {"dovecot": f"unix:{path}"}
    auth_server.start()
    auth_server.wait_log("auth.dovecot")
    session, features = by_hand(auth_server, authority)
    assert "AUTH PLAIN LOGIN\n" in features
    session.expect(f"AUTH PLAIN {plain('bob', 'wrong')}", "535 5.7.8")
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")
    session.expect("MAIL FROM:<bob@example.org>", "250")
    session.expect(f"RCPT TO:<{FAR}>", "250")
    session.expect("DATA", "354")
    assert session.say("Subject: hello\r\n\r\nhi\r\n.").startswith("250")
    wait_sent(sink)
    with client(auth_server, authority) as smtp:
        smtp.user, smtp.password = "bob", PASSWORD
        smtp.ehlo()  # login() would do so
        assert smtp.auth("LOGIN", smtp.auth_login)[0] == 235
    # Without Dovecot nobody can say; when it is back, all is well by itself.
    stop()
    auth_server.wait_log("auth.no_dovecot")
    session, _ = by_hand(auth_server, authority)
    session.expect(f"AUTH PLAIN {plain('bob')}", "454 4.7.0")
    connected = len(auth_server.events("auth.dovecot"))
    start()
    auth_server.wait_log("auth.dovecot", connected + 1)
    session.expect(f"AUTH PLAIN {plain('bob')}", "235")


def test_closed_before_the_answer_nothing_is_left(auth, authority):
    """Clients that leave in the middle of an exchange, and then one that logs in."""
    for said in ("AUTH LOGIN", f"AUTH PLAIN {plain('bob')}"):
        for _ in range(20):
            session, _ = by_hand(auth, authority)
            session.send(said.encode() + b"\r\n")
            session.close()
    session, _ = by_hand(auth, authority)
    try:
        session.expect(f"AUTH PLAIN {plain('bob')}", "235")
    except Closed:
        pytest.fail(auth.log_tail())
