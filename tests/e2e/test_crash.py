"""The server stops, or some of it dies, while mail is on its way. (test_kill.py kills at random.)"""
import os
import signal

from support.load import Load, compare
from support.server import MX_PORT
from support.waiting import wait_for


def test_orderly_stop_under_load_loses_and_repeats_nothing(server, tmp_path, closing):
    server.start()
    clients = closing(Load(server, tmp_path / "sent", "bob@example.org", "--rate", 400))
    for _ in range(3):
        clients.wait("acknowledged", 25)
        server.restart()
        clients.wait("acknowledged", 10)
    clients.end()
    server.wait_empty()
    assert compare(clients.ledger, mailbox=server.directory / "mail")["duplicate"] == 0


def test_large_messages_survive_a_kill_of_queued(server, tmp_path, closing):
    server.start()
    clients = closing(Load(server, tmp_path / "sent", "bob@example.org", "--size", "1MB", sessions=3))
    for _ in range(3):
        clients.wait("acknowledged", 4)
        server.kill("queued")
        clients.wait("acknowledged", 2)
    clients.end()
    server.wait_empty()
    assert compare(clients.ledger, mailbox=server.directory / "mail")["duplicate"] <= 60
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
