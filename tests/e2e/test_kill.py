"""kill -9 of each process under the load of 50 sessions, at any moment: the ledgers of postern-load and
postern-sink decide whether anything is lost, changed, or delivered though it was refused."""
import collections
import contextlib
import functools
import os
import random
import signal
import smtplib
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from support.certificates import Authority
from support.client import Closed
from support.figures import note, note_verdict
from support.load import Load, Taker, compare
from support.server import BUILD, MX_PORT
from support.waiting import PATIENCE, wait_for

KILLS = int(os.environ.get("POSTERN_KILLS", "5"))  # in each test
RATE = 1000  # messages a second: enough to be in the middle of something at any moment
SESSIONS = 50
GOT_OVER = SESSIONS + 10  # more than can have been on their way to the clients when something was killed
FORGIVEN = 3  # kills, before the parent waits for seconds until it starts a process again
CONNECTIONS, DOMAINS, USERS = 4, 5, 20
SUBMISSION_PORT = 2587
PASSWORD = "correct horse"
RECIPIENT = f"r{{n}}@d{{n%{DOMAINS}}}.test"


@pytest.fixture
def taker(tmp_path, closing):
    return closing(Taker(tmp_path / "taken"))


@pytest.fixture
def load(server, tmp_path, closing):
    """Starts the load."""
    return lambda recipient: closing(Load(server, tmp_path / "sent", recipient, "--rate", RATE, "--size",
                                          "lognormal:3KiB,3", sessions=SESSIONS))


def under_load(server, load, kill):
    """Kills again and again, whatever is going on just then: sometimes the next one as well, as soon as it
    is there, but no third. What three starts in a row fail over is set aside, and rightly. In between all
    of the server is stopped and started, under the same load, so that the parent forgets the deaths."""
    luck = random.Random()
    kills = forgiven = 0
    while kills < KILLS:
        load.wait("acknowledged", GOT_OVER + luck.randrange(GOT_OVER))
        for _ in range(min(luck.choice((1, 1, 2)), KILLS - kills)):
            kill()
            kills += 1
        if kills - forgiven >= FORGIVEN:
            load.wait("acknowledged", GOT_OVER)
            server.restart()
            forgiven = kills
    load.wait("acknowledged", GOT_OVER)
    return load.end()


KILLED = collections.Counter()  # processes, by role, in all these tests


@pytest.fixture(scope="module", autouse=True)
def roles_killed():
    yield
    note("kill -9 hit in all: " + ", ".join(f"{role} {count}" for role, count in sorted(KILLED.items())))


def role_of(title):
    """Of a process, by the title that ps shows; the parent's is its command line."""
    return title.split()[1].rstrip(",") if title.startswith("postern: ") else "parent"


def kill(server, role):
    """And sees it dead, so that the next kill is of the next one."""
    killed = server.kill(role)
    KILLED[role] += len(killed)
    wait_for(f"{role} is dead", lambda: not set(killed) & set(server.alive()))


def count_all(server, but=()):
    KILLED.update(role_of(title) for pid, title in server.alive().items() if pid not in but)


def drain(server):
    """Until the queue is empty, however much has gathered, for as long as its number changes: while it is being
    read after a start, that grows. What two dying deliverers had in their hands is held, and asked for here."""
    def count():
        return server.status()["queue"]["messages"]

    def changes(before):
        if count() != before:
            return True
        server.ctl("release", "--all", "--yes", check=False)
        server.ctl("retry", "--all", "--yes", check=False)
        time.sleep(0.5)
        return False
    while (left := count()) > 0:
        wait_for(f"something becomes of {left} messages", functools.partial(changes, left), 120)
        time.sleep(0.5)


# A kill repeats what was on its way, one message on each connection, and what had just arrived.
REPEATED = 3 * CONNECTIONS * DOMAINS


def expect_all(server, clients, taker, summary, killed, most=REPEATED):
    """What was acknowledged has come, and no more of it twice than was under way."""
    drain(server)
    taker.end()
    verdict = compare(clients.ledger, taker.ledger)
    note_verdict(f"kill -9 of {killed}, {KILLS} times", verdict)
    assert verdict["delivered"] == summary["acknowledged"] >= GOT_OVER
    assert verdict["duplicate"] <= most * KILLS, verdict


@pytest.mark.parametrize("role, most", [("smtpd", 0), ("queued", REPEATED), ("relay", REPEATED)])
def test_kill_on_the_way_to_a_next_hop(server, load, taker, role, most):
    server.configure(processes={"smtpd": 2}).route("*", taker.via, connections=CONNECTIONS).start()
    clients = load(RECIPIENT)
    summary = under_load(server, clients, lambda: kill(server, role))
    expect_all(server, clients, taker, summary, f"{role}, relaying", most)


@pytest.mark.parametrize("role, most", [("queued", 240), ("local", 240)])
def test_kill_on_the_way_to_mailboxes(server, load, role, most):
    """40 recipients in a lease, 4 workers: so many deliveries may be repeated by one kill, and some by the
    next."""
    (server.directory / "users").write_text("carol\n" + "".join(f"u{i}\n" for i in range(USERS)))
    server.start()
    clients = load(f"u{{n%{USERS}}}@example.org")
    summary = under_load(server, clients, lambda: kill(server, role))
    drain(server)
    verdict = compare(clients.ledger, mailbox=server.directory / "mail")
    note_verdict(f"kill -9 of {role}, into mailboxes, {KILLS} times", verdict)
    assert verdict["delivered"] == summary["acknowledged"] >= GOT_OVER
    assert verdict["duplicate"] <= most * KILLS, verdict


def test_kill_of_the_whole_server(server, load, taker):
    server.route("*", taker.via, connections=CONNECTIONS).start()
    clients = load(RECIPIENT)

    def kill_all():
        count_all(server)
        os.killpg(server.session, signal.SIGKILL)
        server.process.wait(10)
        wait_for("all are dead", lambda: not server.alive())
        server.start_again()
    summary = under_load(server, clients, kill_all)
    expect_all(server, clients, taker, summary, "the whole server")


def test_kill_of_everything_but_the_parent(server, load, taker):
    server.route("*", taker.via, connections=CONNECTIONS).start()
    clients = load(RECIPIENT)

    def kill_all():
        server.may_die = True
        count_all(server, [server.process.pid])
        for pid in list(server.alive()):
            if pid != server.process.pid:
                with contextlib.suppress(ProcessLookupError):  # it has ended with another one
                    os.kill(pid, signal.SIGKILL)
    summary = under_load(server, clients, kill_all)
    expect_all(server, clients, taker, summary, "everything but the parent")


def test_kill_of_the_parent_alone(server, load, taker):
    """What it leaves ends by itself, so that the next one finds ports and spool free."""
    server.route("*", taker.via, connections=CONNECTIONS).start()
    clients = load(RECIPIENT)

    def kill_parent():
        KILLED["parent"] += 1
        server.process.kill()
        server.process.wait(10)
        wait_for("its children have ended", lambda: not server.alive())
        server.start_again()
    summary = under_load(server, clients, kill_parent)
    expect_all(server, clients, taker, summary, "the parent alone")


def test_kill_of_key(server, load, taker, tmp_path):
    """Mail goes on without it, and the next one signs: each kill is followed by a handshake."""
    folder = tmp_path / "ca"
    folder.mkdir()
    authority = Authority(folder)
    chain, key = authority.issue("mx.example.org")
    server.configure(certificate=[{"chain": str(chain), "key": str(key)}],
                     limits={"connections_per_client": SESSIONS + 1})
    server.route("*", taker.via, connections=CONNECTIONS).start()
    context = ssl.create_default_context(cafile=str(authority.root))
    context.check_hostname = False
    clients = load(RECIPIENT)

    def handshake():
        try:
            with smtplib.SMTP(server.ip, MX_PORT, timeout=PATIENCE) as client:
                client.starttls(context=context)
                return client.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def kill_key():
        kill(server, "key")
        wait_for("the next one signs", handshake)
    summary = under_load(server, clients, kill_key)
    expect_all(server, clients, taker, summary, "key, relaying", most=0)


def test_kill_of_auth(server, load, taker):
    """Mail goes on without it, and the next one knows the passwords: each kill is followed by a login."""
    server.configure(auth={"accounts": "accounts", "allow_plaintext": True},
                     limits={"connections_per_client": SESSIONS + 1})
    server.config["listen"].append({"address": f"{server.ip}:{SUBMISSION_PORT}", "service": "submission", "tls": "off"})
    (server.directory / "accounts").write_text("")
    server.write()
    subprocess.run([BUILD / "ctl" / "posternctl", "-c", server.file, "user", "add", "bob"], input=f"{PASSWORD}\n",
                   text=True, capture_output=True, timeout=PATIENCE, check=True)
    server.route("*", taker.via, connections=CONNECTIONS).start()
    clients = load(RECIPIENT)

    def login(password):
        """Who is let in: True, False, or None if nobody says."""
        try:
            with smtplib.SMTP(server.ip, SUBMISSION_PORT, timeout=PATIENCE) as client:
                return client.login("bob", password)[0] == 235
        except smtplib.SMTPAuthenticationError as refusal:
            return False if refusal.smtp_code == 535 else None
        except (OSError, smtplib.SMTPException):
            return None

    def kill_auth():
        kill(server, "auth")
        wait_for("the next one lets bob in", lambda: login(PASSWORD))
    wait_for("bob is let in", lambda: login(PASSWORD))
    summary = under_load(server, clients, kill_auth)
    assert login("wrong") is False
    expect_all(server, clients, taker, summary, "auth, relaying", most=0)


def test_a_stop_while_the_queue_is_read_is_no_failed_start(server, load):
    server.route("*", "smtp://127.0.0.1:9").start()
    server.ctl("outbound", "disable", "--reason", "so that it stays", "--yes")
    clients = load(RECIPIENT)
    clients.wait("acknowledged", 4000)
    clients.end()
    for _ in range(5):
        server.restart()
    assert not server.events("recovery.failed")


def settled(pid):
    """The process has done what there was to do: it sleeps, and did so all the time."""
    def switches():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return status["State"].split()[0], status["voluntary_ctxt_switches"]
    before = switches()
    time.sleep(0.1)
    return before[0] == "S" and switches() == before


@pytest.mark.parametrize("killed", [["smtpd"], ["queued"], ["queued", "smtpd"]], ids="+".join)
def test_kill_between_the_flush_and_the_reply(server, killed):
    """The message is on disk, and nobody has told the client: it hears 250 or nothing, never a refusal."""
    server.configure(listen=server.config["listen"][1:]).start()  # one smtpd alone
    server.ctl("freeze", "local", "--reason", "to look at it", "--future")
    (smtpd,), (queued,) = server.pids("smtpd"), server.pids("queued")
    hand = server.session_by_hand(MX_PORT)
    hand.begin()
    os.kill(queued, signal.SIGSTOP)
    hand.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
    wait_for("smtpd has handed it over", lambda: settled(smtpd))
    os.kill(smtpd, signal.SIGSTOP)
    os.kill(queued, signal.SIGCONT)
    wait_for("it is in the queue", lambda: len(server.messages()) == 1)
    for role in killed:
        KILLED[role] += len(server.kill(role))
    if "smtpd" not in killed:
        os.kill(smtpd, signal.SIGCONT)
    hand.sock.settimeout(2 * PATIENCE)
    try:
        answer = hand.reply()
    except Closed:
        answer = ""
    # A living smtpd has the answer in its channel, or asks the next queued; a dead one heard not a word.
    assert answer == "" if "smtpd" in killed else answer.startswith("250"), answer
    wait_for("the new ones are there", lambda: server.ctl("status", check=False).exit in (0, 1))
    server.ctl("unfreeze", "local")
    server.wait_empty()
    assert len(server.mailbox("bob")) == 1
