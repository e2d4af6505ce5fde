"""kill -9 of any process under load: what was acknowledged arrives, what was refused does not."""
import os
import signal

import pytest

from support.ledger import Ledger
from support.server import MX_PORT
from support.sink import without_trace
from support.waiting import wait_for

ROUNDS = int(os.environ.get("POSTERN_ROUNDS", "4"))


def read_all(paths):
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("role", ["smtpd", "queued", "local"])
def test_kill_under_load_with_mailboxes(server, role):
    server.configure(processes={"smtpd": 2}).start()
    server.may_die = True
    with Ledger(server, "bob@example.org") as ledger:
        for _ in range(ROUNDS):
            ledger.wait_acked(25)
            server.kill(role)
            ledger.wait_acked(10)
    server.wait_empty()
    assert len(ledger.acked) >= ROUNDS * 35
    # A kill repeats at most what was in flight and not yet journaled: 40 recipients a lease, 4 workers.
    allowed = 160 * ROUNDS if role in ("local", "queued") else 0
    ledger.compare(read_all(server.mailbox("bob")), duplicates=allowed)
    status = server.status()
    died = {row["role"]: row["deaths"] for row in status["processes"]}
    assert died[role] >= ROUNDS


@pytest.mark.parametrize("role", ["queued", "relay"])
def test_kill_under_load_with_a_next_hop(server, sink, role):
    server.route("*", sink.via, connections=4).start()
    server.may_die = True
    with Ledger(server, "x@remote.example") as ledger:
        for _ in range(ROUNDS):
            ledger.wait_acked(25)
            server.kill(role)
            ledger.wait_acked(10)
    server.wait_empty(60)
    ledger.compare([without_trace(m.content) for m in sink.messages], duplicates=8 * ROUNDS)


def test_kill_of_everything_but_the_parent(server):
    server.start()
    server.may_die = True
    with Ledger(server, "bob@example.org") as ledger:
        for _ in range(2):
            ledger.wait_acked(25)
            for pid in list(server.alive()):
                if pid != server.process.pid:
                    os.kill(pid, signal.SIGKILL)
            ledger.wait_acked(10)
    server.wait_empty()
    ledger.compare(read_all(server.mailbox("bob")), duplicates=400)


def test_whole_server_killed_under_load(server):
    server.start()
    with Ledger(server, "bob@example.org") as ledger:
        for _ in range(3):
            ledger.wait_acked(25)
            os.killpg(server.session, signal.SIGKILL)
            server.process.wait(10)
            wait_for("all are dead", lambda: not server.alive())
            server.start_again()
            ledger.wait_acked(10)
    server.wait_empty()
    ledger.compare(read_all(server.mailbox("bob")), duplicates=600)


def test_orderly_stop_under_load_loses_and_repeats_nothing(server):
    server.start()
    with Ledger(server, "bob@example.org") as ledger:
        for _ in range(3):
            ledger.wait_acked(25)
            server.restart()
            ledger.wait_acked(10)
    server.wait_empty()
    ledger.compare(read_all(server.mailbox("bob")))


def test_large_messages_survive_a_kill_of_queued(server):
    server.start()
    server.may_die = True
    with Ledger(server, "bob@example.org", threads=3, size=1_000_000) as ledger:
        for _ in range(3):
            ledger.wait_acked(4)
            server.kill("queued")
            ledger.wait_acked(2)
    server.wait_empty()
    ledger.compare(read_all(server.mailbox("bob")), duplicates=60)
    large = server.directory / "spool" / "large"
    wait_for("no large file is left", lambda: not large.is_dir() or not list(large.iterdir()))


def test_queued_gone_while_a_client_waits_for_its_answer(server):
    """The client gets no reply, or one that is true."""
    server.start()
    server.may_die = True
    hand = server.session_by_hand(MX_PORT)
    hand.begin()
    hand.send(b"X-Ledger: a\r\n\r\n")
    for pid in server.pids("queued"):
        os.kill(pid, signal.SIGSTOP)
    hand.send(b"body\r\n.\r\n")
    server.kill("queued")
    answer = hand.reply()
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))
    server.wait_empty()
    arrived = len(server.mailbox("bob"))
    assert arrived == (1 if answer.startswith("250") else 0), answer


def test_a_process_that_dies_again_and_again_does_not_spin(server):
    server.start()
    server.may_die = True
    killed = set()
    for _ in range(5):
        # One that was killed is listed until it is collected.
        fresh = wait_for("a new relay runs", lambda: set(server.pids("relay")) - killed)
        for pid in fresh:
            os.kill(pid, signal.SIGKILL)
        killed |= fresh
    wait_for("relay runs", lambda: set(server.pids("relay")) - killed, 20)
    wait_for("every death is counted", lambda: len(killed) == {
        row["role"]: row["deaths"] for row in server.status()["processes"]}["relay"])


def test_torn_last_record(server):
    """What a power cut leaves behind: zeros or noise after the last whole batch."""
    server.start()
    server.ctl("freeze", "local", "--reason", "keep", "--future")
    ids = [server.send("bob@example.org") for _ in range(5)]
    os.killpg(server.session, signal.SIGKILL)
    server.process.wait(10)
    wait_for("all are dead", lambda: not server.alive())
    server.start_again()
    assert [m["id"] for m in server.messages()] == ids
    server.ctl("unfreeze", "local")
    server.wait_mail("bob", 5)
