"""LMTP (RFC 2033) over Unix sockets and TCP: a reply for each recipient, with Dovecot, aiosmtpd, and a server that
breaks off where it hurts."""
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller, UnixSocketController
from aiosmtpd.lmtp import LMTP

from support.net import Address
from support.server import MX_PORT
from support.waiting import PATIENCE, wait_for

PORT = 2424
BODY = "Subject: inner\r\n\r\nhello\r\n.dot\r\n"


def to(*names):
    return [f"{name}@inner.example" for name in names]


def inner(server, via, recipients="any"):
    """A domain of ours whose mail goes there."""
    return server.configure(domain=[*server.config["domain"],
                                    {"name": ["inner.example"], "deliver": via, "recipients": recipients}])


class Inner:
    """A server of LMTP on a Unix socket. `plan` is asked for each message how many replies are given before the
    connection ends (None: all of them)."""

    def __init__(self, path, plan=lambda number: None):
        self.path = path
        self.plan = plan
        self.answered = []  # recipients, of replies that were sent and were 250
        self.sessions = []
        self.messages = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(20)
        os.chmod(path, 0o666)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.sessions.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            def say(*text):
                connection.sendall("".join(f"{line}\r\n" for line in text).encode())
            say("220 inner LMTP")
            recipients = []
            for line in lines:
                verb = line.split(b" ")[0].strip().upper()
                if verb == b"LHLO":
                    say("250-inner", "250-PIPELINING", "250 8BITMIME")
                elif verb == b"RCPT":
                    recipients.append(line[line.index(b"<") + 1:line.index(b"@")].decode())
                    say("250 ok")
                elif verb == b"DATA":
                    say("354 go")
                    for body in lines:
                        if body == b".\r\n":
                            break
                    count = self.plan(self.messages)
                    self.messages += 1
                    for recipient in recipients[:count]:
                        self.answered.append(recipient)
                        say(f"250 2.0.0 {recipient} has it")
                    if count is not None:
                        return
                    recipients = []
                elif verb == b"QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")

    def close(self):
        self._listener.close()
        for session in self.sessions:
            try:
                session.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        Path(self.path).unlink(missing_ok=True)


class Replies:
    """aiosmtpd's handler: each recipient's next reply, 250 where there are no more."""

    def __init__(self):
        self.script = {}
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        replies = []
        for recipient in envelope.rcpt_tos:
            waiting = self.script.get(recipient)
            replies.append(waiting.pop(0) if waiting else "250 2.0.0 taken")
            if replies[-1].startswith("250"):
                self.taken.append((recipient, envelope.original_content))
        return "\r\n".join(replies)


class _Tcp(Controller):
    def factory(self):
        return LMTP(self.handler, hostname="inner.example", enable_SMTPUTF8=False)


class _Unix(UnixSocketController):
    def factory(self):
        return LMTP(self.handler, hostname="inner.example", enable_SMTPUTF8=False)


@pytest.fixture
def place(server):
    """The path of a socket."""
    return server.runtime / "lmtp"


@pytest.fixture(params=["tcp", "unix"])
def aiosmtpd_lmtp(request, place, closing):
    """(its handler, what leads there)"""
    handler = Replies()
    if request.param == "tcp":
        address = closing(Address())
        controller = _Tcp(handler, hostname=address.ip, port=PORT)
        via = f"lmtp://{address.ip}:{PORT}"
    else:
        controller = _Unix(handler, unix_socket=str(place))
        via = f"lmtp:unix:{place}"
    controller.start()
    if request.param == "unix":
        place.chmod(0o666)
    yield handler, via
    controller.stop()


def test_each_recipient_has_an_outcome_of_its_own(server, aiosmtpd_lmtp):
    handler, via = aiosmtpd_lmtp
    inner(server, via).start()
    handler.script = {"late@inner.example": ["452 4.3.1 later"], "full@inner.example": ["552 5.2.2 full"]}
    server.send(to("bob", "late", "full", "eve"), BODY)
    server.wait_empty()
    assert Counter(recipient for recipient, _ in handler.taken) == Counter(to("bob", "late", "eve"))
    assert all(content.endswith(b"Subject: inner\r\n\r\nhello\r\n.dot\r\n") for _, content in handler.taken)
    bounce = server.wait_mail("alice")[0].read_text()
    assert "full@inner.example" in bounce and "552 5.2.2 full" in bounce
    assert str(server.runtime) not in bounce  # where the socket is, is nobody else's affair
    for other in ("bob", "late", "eve"):
        assert f"{other}@inner.example" not in bounce.split("Subject: inner")[0]
    ok = server.events("delivery.ok")
    assert {event["remote"] for event in ok if "inner.example" in event.get("to", "")} == {
        f"unix:{server.runtime}/lmtp" if "unix" in via else "[" + via[7:-5] + f"]:{PORT}"}


def test_what_was_answered_is_never_delivered_again(server, place, closing):
    """The connection ends behind none, one, two, ... replies."""
    hop = closing(Inner(place, lambda number: number if number < 4 else None))
    inner(server, f"lmtp:unix:{place}").start()
    names = ["a", "b", "c", "d", "e"]
    server.send(to(*names), BODY)
    server.wait_empty()
    assert Counter(hop.answered) == Counter(names)
    assert hop.messages == 4  # 0 of 5, 1 of 5, 2 of 4, 3 of the 2 that are left, which is all
    assert server.status()["total"]["delivered"] == 5


def test_a_socket_that_is_not_there_yet(server, place, closing):
    server.configure(retry={"after": ["1h"]})
    inner(server, f"lmtp:unix:{place}").start()
    ident = server.send(to("bob"), BODY)
    waits = server.wait_log("queue.deferred")
    assert waits["hop"] == waits["remote"] == f"unix:{place}"
    assert waits["reply"] == "4.4.1 connecting: No such file or directory"
    assert f"unix:{place}" in server.ctl_text("explain", ident).out
    assert server.queues()["inner.example"]["messages"] == 1
    # Mail for mailboxes does not wait for it.
    server.send("bob@example.org")
    server.wait_mail("bob")
    hop = closing(Inner(place))
    server.ctl("retry", ident)
    server.wait_empty()
    assert hop.answered == ["bob"]


def test_a_frozen_socket(server, place, closing):
    hop = closing(Inner(place))
    inner(server, f"lmtp:unix:{place}").start()
    server.ctl("freeze", "--hop", f"unix:{place}", "--reason", "moving")
    ident = server.send(to("bob"), BODY)
    assert "moving" in server.ctl_text("explain", ident).out
    assert hop.messages == 0
    server.ctl("unfreeze", "--hop", f"unix:{place}")
    server.wait_empty()
    assert hop.answered == ["bob"]


def test_sockets_come_with_a_reload(server, place, closing):
    """A new one may move those that are there to other places in the list."""
    first = closing(Inner(place))
    inner(server, f"lmtp:unix:{place}").start()
    server.send(to("bob"), BODY)
    server.wait_empty()
    other = server.runtime / "a"
    second = closing(Inner(other))
    server.route("far.example", f"lmtp:unix:{other}").write()
    server.ctl("reload")
    server.send([*to("bob"), "eve@far.example"], BODY)
    server.wait_empty()
    assert first.answered == ["bob", "bob"]
    assert second.answered == ["eve"]


def test_another_way_when_the_socket_is_dead(server, sink, place):
    server.route("far.example", f"lmtp:unix:{place}", sink.via).start()
    server.send("eve@far.example", BODY)
    assert sink.wait()[0].recipients == ["eve@far.example"]


def test_the_local_deliverer_dies(server, place, closing):
    """Whatever was answered before is known; no more than what was being answered comes twice."""
    hop = closing(Inner(place))
    inner(server, f"lmtp:unix:{place}").start()
    for number in range(60):
        server.send(to(f"a{number}", f"b{number}"), BODY)
        if number % 20 == 10:
            server.kill("local")
        if number % 20 == 19:
            server.wait_empty(60)  # what is there at two deaths in a row is held
    times = Counter(hop.answered)
    assert set(times) == {f"{letter}{number}" for number in range(60) for letter in "ab"}
    assert max(times.values()) <= 2


# --- Dovecot --------------------------------------------------------------------------------------


class Dovecot:
    """Dovecot's LMTP over mailboxes of its own."""

    def __init__(self, address):
        root = os.getuid() == 0
        me = pwd.getpwuid(os.getuid())
        owner = pwd.getpwnam("_postern-local") if root else me
        internal = "dovecot" if root else me.pw_name
        self.base = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.base.chmod(0o755)
        self.mail = self.base / "mail"
        self.mail.mkdir()
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        self.socket = self.base / "run" / "lmtp"
        (self.base / "users").write_text("".join(
            f"{name}@inner.example:{{PLAIN}}x:{owner.pw_uid}:{owner.pw_gid}::{self.mail}/{name}::\n"
            for name in ("bob", "eve")))
        (self.base / "dovecot.conf").write_text(f"""
protocols = lmtp
listen = {address}
base_dir = {self.base}/run
state_dir = {self.base}/state
log_path = {self.base}/log
ssl = no
hostname = inner.example
postmaster_address = postmaster@inner.example
default_login_user = {"dovenull" if root else me.pw_name}
default_internal_user = {internal}
default_internal_group = {grp.getgrgid(pwd.getpwnam(internal).pw_gid).gr_name}
first_valid_uid = 1
mail_location = maildir:~/Maildir
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {PORT}
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
  args = {self.base}/users
}}
userdb {{
  driver = passwd-file
  args = {self.base}/users
}}
""")
        self._process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.base / "dovecot.conf"],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("Dovecot's socket", self.socket.exists)

    def _lmtp(self):
        """(pid, state) of its processes that speak LMTP."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    status = (entry / "stat").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                state, parent = status[status.rindex(")") + 2:].split()[:2]
                if int(parent) == self._process.pid and "(lmtp)" in status:
                    found.append((int(entry.name), state))
        return found

    def kill_lmtp(self):
        """Its processes that speak LMTP; their number. Files that they have locked would stay so for two minutes."""
        self._process.send_signal(signal.SIGSTOP)  # no others come meanwhile
        killed = set()

        def dead():
            alive = [pid for pid, state in self._lmtp() if state != "Z"]
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            killed.update(alive)
            return not alive
        wait_for("they are dead", dead)
        for lock in self.mail.rglob("dovecot-uidlist.lock"):
            lock.unlink()
        self._process.send_signal(signal.SIGCONT)
        return len(killed)

    def mailbox(self, user):
        new = self.mail / user / "Maildir" / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def close(self):
        self._process.terminate()
        self._process.wait(PATIENCE)
        shutil.rmtree(self.base)


@pytest.fixture
def dovecot(closing):
    return closing(Dovecot(closing(Address()).ip))


def test_dovecot_over_its_socket(server, dovecot):
    inner(server, f"lmtp:unix:{dovecot.socket}", "ask").start()
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        client.docmd("MAIL FROM:<a@remote.example>")
        assert client.docmd("RCPT TO:<bob@inner.example>")[0] == 250
        code, text = client.docmd("RCPT TO:<nobody@inner.example>")
        assert code == 550 and text.startswith(b"5.1.1")
    server.send(to("bob", "eve"), BODY)
    server.wait_empty()
    for user in ("bob", "eve"):
        (file,) = dovecot.mailbox(user)
        assert file.read_bytes().endswith(b"Subject: inner\n\nhello\n.dot\n")
    assert server.events("delivery.ok", remote=f"unix:{dovecot.socket}")


def test_dovecot_over_tcp(server, dovecot):
    address = (dovecot.base / "dovecot.conf").read_text().split("listen = ")[1].split()[0]
    inner(server, f"lmtp://{address}:{PORT}").start()
    server.send(to("bob", "nobody", "eve"), BODY)
    server.wait_empty()
    assert len(dovecot.mailbox("bob")) == len(dovecot.mailbox("eve")) == 1
    assert "nobody@inner.example" in server.wait_mail("alice")[0].read_text()


def test_dovecot_is_killed_again_and_again(server, dovecot):
    """What was answered is not sent again: only what the log calls unknown may be there twice."""
    inner(server, f"lmtp:unix:{dovecot.socket}").start()
    count, killed = 80, 0
    with server.smtp() as client:
        for number in range(count):
            client.sendmail("alice@example.org", to("bob", "eve"), f"Subject: {number}\r\n\r\nhello\r\n")
            if number % 8 == 3:
                killed += dovecot.kill_lmtp()
    server.wait_empty(120)
    assert killed > 0
    unknown = sum("reply to the message" in event["reply"] for event in server.events("delivery.deferred"))
    for user in ("bob", "eve"):
        subjects = Counter(line for file in dovecot.mailbox(user)
                           for line in file.read_text().splitlines() if line.startswith("Subject: "))
        assert set(subjects) == {f"Subject: {number}" for number in range(count)}
        assert sum(subjects.values()) <= count + unknown
    assert not server.mailbox("alice")  # no bounce
