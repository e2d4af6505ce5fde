"""Submission through a Unix socket: who that is, the kernel says. With smtplib's kin by hand, and with swaks."""
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.client import Closed, Session
from support.waiting import PATIENCE, wait_for

FAR = "ann@far.example"
ME = pwd.getpwuid(os.getuid()).pw_name
OTHER = pwd.getpwnam("nobody")
NAMELESS = 54321  # no user has this number

# Says each of its arguments through the socket as another user, and prints all replies as JSON, until the server
# closes or the test has seen enough.
AS_USER = """
import json, os, socket, sys
uid = int(sys.argv[1])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(30)
sock.connect(sys.argv[2])
lines = sock.makefile("r", newline="\\r\\n")
def reply():
    while True:
        line = lines.readline()
        if not line:
            sys.exit()
        if line[3:4] != "-":
            print(json.dumps(line.rstrip()), flush=True)
            return
reply()
for word in sys.argv[3:]:
    sock.sendall(word.encode() + b"\\r\\n")
    reply()
while True:
    reply()
"""


@pytest.fixture
def local(server, sink):
    """Not started. Everybody may reach the socket's directory."""
    directory = Path(tempfile.mkdtemp(prefix="postern-"))
    directory.chmod(0o755)
    server.socket = directory / "submit.sock"
    server.config["listen"].append({"address": f"unix:{server.socket}", "service": "submission"})
    server.route("far.example", sink.via)
    yield server
    shutil.rmtree(directory)


def connect(server):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(server.socket))
    return Session(sock)


def send(session, sender="<alice@example.org>"):
    session.begin(sender, f"<{FAR}>")
    return session.say("Subject: hello\r\n\r\nhello\r\n.")


class AsUser:
    """A client that is another user, and its replies so far."""

    def __init__(self, server, uid, *words):
        self.process = subprocess.Popen([sys.executable, "-c", AS_USER, str(uid), str(server.socket), *words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def reply(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


MAIL = ("EHLO cron", "MAIL FROM:<{}>", f"RCPT TO:<{FAR}>", "DATA", "Subject: hello\r\n\r\nhello\r\n.")


def mail_from(sender):
    return [word.format(sender) for word in MAIL]


def test_whoever_connects_is_logged_in_as_itself(local, sink):
    local.start()
    session = connect(local)
    assert session.greeting.startswith("220 mx.example.org ")
    offered = session.expect("EHLO client.example", "250")
    assert "AUTH" not in offered and "STARTTLS" not in offered
    session.expect("AUTH PLAIN AGJvYgBzZWNyZXQ=", "502 5.5.1")
    session.expect("STARTTLS", "502 5.5.1")
    session.expect("MAIL FROM:<cron>", "250")  # completed, as for who may relay
    session.expect(f"RCPT TO:<{FAR}>", "250")
    session.expect("DATA", "354")
    session.expect("Subject: hello\r\n\r\nhello\r\n.", "250 2.0.0")
    session.expect("QUIT", "221")
    session.close()
    (message,) = sink.wait(1)
    assert message.sender == "cron@example.org"
    received = " ".join(message.content.decode().partition("\r\n\r\n")[0].split())
    assert received.startswith("Received: from client.example by mx.example.org with ESMTPA id ")
    assert local.wait_log("login.ok")["account"] == ME
    assert local.events("login.ok")[0]["mechanism"] == "peer credentials"
    assert local.wait_log("message.accepted")["account"] == ME
    assert local.wait_log("session.close", account=ME)["messages"] == "1"


def test_a_real_client(local, sink):
    local.start()
    done = subprocess.run(["swaks", "--socket", local.socket, "--from", "alice@example.org", "--to", FAR,
                           "--ehlo", "client.example", "--body", "by swaks"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert b"by swaks" in sink.wait(1)[0].content


@pytest.mark.root
def test_another_user_has_limits_senders_and_locks_of_its_own(local, sink):
    local.configure(account=[{"name": OTHER.pw_name, "senders": [f"{OTHER.pw_name}@example.org"],
                              "messages": ["2/h"]}])
    local.start()
    other = AsUser(local, OTHER.pw_uid, *mail_from("alice@example.org"), *mail_from("nobody@example.org"),
                   *mail_from("nobody@example.org"), *mail_from("nobody@example.org"))
    replies = [other.reply() for _ in range(1 + 4 * len(MAIL))]
    ends = replies[len(MAIL)::len(MAIL)]
    assert ends[0].startswith("550 5.7.1 ")  # not as alice
    assert ends[1].startswith("250 2.0.0 ") and ends[2].startswith("250 2.0.0 ")
    assert ends[3].startswith("452 4.7.1 "), ends  # two in an hour
    assert [message.sender for message in sink.wait(2)] == ["nobody@example.org"] * 2
    local.ctl("user", "lock", OTHER.pw_name, "--reason", "sends spam")
    assert other.reply().startswith("421 4.7.0 ")
    other.end()
    locked = AsUser(local, OTHER.pw_uid)
    assert locked.reply().startswith("554 ")
    locked.end()
    assert send(connect(local)).startswith("250 ")  # nobody else is locked out
    local.ctl("user", "unlock", OTHER.pw_name)
    again = AsUser(local, OTHER.pw_uid)
    assert again.reply().startswith("220 ")
    again.end()


@pytest.mark.root
def test_a_user_without_a_name_is_known_by_its_number(local, sink):
    local.start()
    nameless = AsUser(local, NAMELESS, *mail_from("alice@example.org"))
    assert [nameless.reply() for _ in range(1 + len(MAIL))][-1].startswith("250 2.0.0 ")
    assert local.wait_log("message.accepted")["account"] == f"uid:{NAMELESS}"
    nameless.end()


def test_a_reload_takes_the_socket_away_and_brings_it_back(local):
    local.start()
    mode = local.socket.stat().st_mode
    assert mode & 0o777 == 0o666
    listener = local.config["listen"].pop()
    # auth is there for these users alone, so what goes is not the last one of them.
    second = local.socket.with_name("second.sock")
    local.config["listen"].append({**listener, "address": f"unix:{second}"})
    local.write()
    local.ctl("reload")
    assert not local.socket.exists()
    local.socket, first = second, local.socket
    assert send(connect(local)).startswith("250 ")
    local.config["listen"][-1] = listener
    local.write()
    local.ctl("reload")
    assert not second.exists()
    local.socket = first
    assert send(connect(local)).startswith("250 ")


def test_what_a_dead_server_left_is_replaced(local):
    local.start()
    local.stop()
    left = socket.socket(socket.AF_UNIX)
    local.socket.unlink(missing_ok=True)
    left.bind(str(local.socket))
    left.close()
    local.start_again()
    assert connect(local).greeting.startswith("220 ")


def test_a_socket_that_cannot_be_made_is_named(local):
    local.config["listen"][-1]["address"] = "unix:/no/such/directory/submit.sock"
    local.write()
    done = subprocess.run([local.program, "-f", "-c", local.file], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "postern.toml:" in done.stderr and "/no/such/directory/submit.sock" in done.stderr


def test_all_of_them_together_have_as_many_connections_as_one_client(local):
    local.configure(limits={"connections_per_client": 2})
    local.start()
    sessions = [connect(local) for _ in range(2)]
    assert all(session.greeting.startswith("220 ") for session in sessions)
    assert connect(local).greeting.startswith("421 4.3.2 ")
    sessions[0].expect("QUIT", "221")
    assert sessions[0].is_closed()
    wait_for("a place that is free again", lambda: connect(local).greeting.startswith("220 "))


def test_while_nobody_can_tell_who_that_is_it_says_later(local):
    local.may_die = True
    local.start()
    held = connect(local)
    auth = local.pids("auth")[0]
    os.kill(auth, 19)  # it stands still
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(local.socket))
    waiting.settimeout(0.5)
    with pytest.raises(TimeoutError):
        waiting.recv(1)  # smtpd has asked, and nobody answers
    os.kill(auth, 9)
    try:
        greeting = Session(waiting).greeting
    except Closed:
        greeting = ""
    assert greeting.startswith("421 4.3.2 "), greeting
    wait_for("a new auth process", lambda: connect(local).greeting.startswith("220 "))
    assert send(held).startswith("250 ")  # of its login queued knows
