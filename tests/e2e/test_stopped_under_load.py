"""Freeze, hold and outbound disable under load: once the command has reported, nothing new starts. The sink's
ledger decides, by the moment at which the report was read."""
import re
import subprocess
import time

import pytest

from support.load import Load, Taker, compare, send, taken
from support.server import BUILD
from support.waiting import wait_for

RATE, SESSIONS, CONNECTIONS, DOMAINS = 400, 20, 4, 5
WAITING = 3_000  # messages of a queue that is not empty when it is stopped
SOON = 10  # seconds, on a busy machine, until a command reports; how fast it really is bench/stops measures
REPORT = re.compile(r"(\d+) in flight$")


class Report:
    """A command's words for people, each line with the moment at which it was read."""

    def __init__(self, server, *words):
        begun = time.monotonic()
        self.tool = subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, *words], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, text=True, bufsize=1)
        first = self.tool.stdout.readline()
        self.reported = time.time()  # it was true before we read it
        self.took = time.monotonic() - begun
        self.in_flight = int(REPORT.search(first.strip())[1])
        rest = self.tool.stdout.readlines()
        self.ended = time.time()
        assert self.tool.wait() == 0
        assert self.in_flight == 0 or rest[-1] == "0 in flight\n", (first, rest)


def taken_after(ledger, moment):
    """Messages that were taken in a later millisecond, each once for each time."""
    lines = [line.split(" ") for line in ledger.read_text().splitlines()]
    return [fields for fields in lines if fields[0] == "delivered" and int(fields[2]) > moment * 1000]


STOPS = pytest.mark.parametrize("stop, go", [
    (["freeze", "*.test", "--reason", "x"], ["unfreeze", "*.test"]),
    (["freeze", "--hop", "HOP", "--reason", "x"], ["unfreeze", "--hop", "HOP"]),
    (["outbound", "disable", "--reason", "x", "--yes"], ["outbound", "enable", "--yes"]),
    (["hold", "--from", "sender@client.example", "--also-new", "--reason", "x", "--yes"],
     ["release", "--from", "sender@client.example", "--yes"]),
], ids=["freeze", "freeze of a hop", "outbound", "hold"])


@STOPS
def test_nothing_starts_after_the_report(server, tmp_path, closing, stop, go):
    # Replies take a while, so that something is in flight at every moment.
    taker = closing(Taker(tmp_path / "taken", "--mood", "dot:delay=30ms,p=0.5"))
    server.route("*", taker.via, connections=CONNECTIONS).start()
    hop = taker.via.removeprefix("smtp://")
    clients = closing(Load(server, tmp_path / "sent", f"r{{n}}@d{{n%{DOMAINS}}}.test", "--rate", RATE,
                           "--sender", "sender@client.example", sessions=SESSIONS))
    in_flight = 0
    for _ in range(3):
        taker.wait("messages", 50)
        report = Report(server, *[hop if word == "HOP" else word for word in stop])
        clients.wait("acknowledged", RATE // 2)  # they would be on their way by now
        begun = len(taken_after(taker.ledger, report.reported))
        assert begun <= report.in_flight, f"{begun} were taken after {report.in_flight} in flight were reported"
        assert not taken_after(taker.ledger, report.ended)
        in_flight += report.in_flight
        server.ctl(*[hop if word == "HOP" else word for word in go])
    assert in_flight > 0
    taker.wait("messages", 50)
    summary = clients.end()
    server.wait_empty(120)
    taker.end()
    verdict = compare(clients.ledger, taker.ledger)
    assert verdict["delivered"] == summary["acknowledged"] and verdict["duplicate"] == 0, verdict


@STOPS
def test_nothing_starts_though_thousands_wait(server, tmp_path, closing, stop, go):
    taker = closing(Taker(tmp_path / "taken", "--mood", "dot:delay=30ms"))
    server.route("*", taker.via, connections=CONNECTIONS).start()
    hop = taker.via.removeprefix("smtp://")
    server.ctl("outbound", "disable", "--reason", "until all are there", "--yes")
    send(server, tmp_path / "sent", "r{n}@d{n%50}.test", WAITING, "--sender", "sender@client.example", "--size", "1KiB")
    server.ctl("outbound", "enable", "--yes")
    for round_ in range(3):
        taker.wait("messages", 50)
        report = Report(server, *[hop if word == "HOP" else word for word in stop])
        assert report.took < SOON
        # By another way mail still goes, so the server has not merely stood still.
        server.send("bob@example.org")
        server.wait_mail("bob", round_ + 1)
        begun = len(taken_after(taker.ledger, report.reported))
        assert begun <= report.in_flight, f"{begun} were taken after {report.in_flight} in flight were reported"
        assert not taken_after(taker.ledger, report.ended)
        gone = len(taken(taker.ledger))
        wait_for("each message is with the sink or queued, and none is both",
                 lambda: gone + server.status()["queue"]["messages"] == WAITING)
        assert gone < WAITING - 500, "too few waited: this shows little"
        server.ctl(*[hop if word == "HOP" else word for word in go])
