"""A next hop of many moods: whatever it does, each message that was acknowledged arrives or is told in a
notice, and none that was refused arrives."""
import signal

import pytest

from support.load import Load, Taker, compare
from support.waiting import wait_for


def send(server, tmp_path, closing, *options, messages=400):
    clients = closing(Load(server, tmp_path / "sent", "r{n}.{i}@d{n%5}.test", "--messages", messages,
                           "--sender", "s{n}@back.test", "--recipients", 2, "--size", "lognormal:4KiB,4",
                           *options, sessions=10))
    wait_for("all was sent", lambda: clients.process.poll() is not None, 60)
    clients.close()
    return clients


def test_a_next_hop_of_many_moods(server, tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken", "--seed", 7, "--limit", 25,
                          "--mood", "connect:cut,p=0.05", "--mood", "mail:defer,p=0.05",
                          "--mood", "rcpt:refuse,for=*.1@d3.test", "--mood", "rcpt:defer,p=0.1",
                          "--mood", "dot:defer,p=0.05,for=r*", "--mood", "dot:drop,p=0.03,for=r*",
                          "--mood", "dot:delay=50ms,p=0.2", "--mood", "data:cut,p=0.02"))
    server.route("*", taker.via).start()
    clients = send(server, tmp_path, closing)
    server.wait_empty(120)
    taker.end()
    verdict = compare(clients.ledger, taker.ledger)
    assert verdict["acknowledged"] == 800
    assert verdict["noticed"] == 80, verdict  # the second recipient of each fifth message
    assert verdict["delivered"] == 720
    assert verdict["duplicate"] == 0, verdict


def test_what_is_taken_without_a_reply_may_come_twice(server, tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken", "--mood", "dot:cut,p=0.1"))
    server.route("*", taker.via).start()
    clients = send(server, tmp_path, closing)
    server.wait_empty(120)
    taker.end()
    verdict = compare(clients.ledger, taker.ledger)
    assert verdict["delivered"] == 800
    assert 0 < verdict["duplicate"] < 400, verdict


def test_moods_change_while_it_runs(server, tmp_path, closing):
    moods = tmp_path / "moods"
    moods.write_text("# all of it\nrcpt:defer\n")
    taker = closing(Taker(tmp_path / "taken", "--moods", moods))
    server.route("*", taker.via).start()
    clients = send(server, tmp_path, closing, messages=20)
    wait_for("all were tried", lambda: len(server.messages("--state", "retry")) == 20)
    assert taker["messages"] == 0
    moods.write_text("")
    taker.process.send_signal(signal.SIGHUP)
    server.wait_empty()
    taker.end()
    assert compare(clients.ledger, taker.ledger)["delivered"] == 40


@pytest.mark.parametrize("messages, options", [
    (100, ["--7bit"]), (100, ["--no-pipelining", "--messages-per-session", 3]),
    (30, ["--size", "uniform:100KiB-1MiB"])], ids=["7bit", "single commands", "large"])
def test_bodies_of_all_kinds_reach_a_mailbox_unchanged(server, tmp_path, closing, messages, options):
    server.start()
    clients = closing(Load(server, tmp_path / "sent", "bob@example.org", "--messages", messages, *options,
                           sessions=10))
    wait_for("all was sent", lambda: clients.process.poll() is not None, 60)
    clients.close()
    server.wait_empty()
    verdict = compare(clients.ledger, mailbox=server.directory / "mail")
    assert verdict["delivered"] == clients.summary["acknowledged"] == messages
