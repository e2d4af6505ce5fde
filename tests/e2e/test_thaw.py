"""Very many messages that are let go at once starve nobody: mail for another next hop goes on as before."""
import os
import statistics
import time

import pytest

from support.figures import note
from support.load import Taker, send, taken
from support.server import send_on
from support.waiting import wait_for

MANY = 100_000 if os.environ.get("POSTERN_LONG") else 5_000
PROBES, FEW = 20, 5
# Of the many, that go while one probe is on its way: their sink takes a thousand a second.
MEANWHILE = 500


class Probes:
    """Messages for a next hop of their own, one after the other."""

    def __init__(self, server, taker):
        self.server, self.taker, self.count = server, taker, 0

    def go(self, most, while_=lambda: True):
        """(when it was sent, when it was taken) of each, in milliseconds."""
        gone = []
        with self.server.smtp() as client:
            while len(gone) < most and while_():
                begun = time.time() * 1000
                send_on(client, "alice@example.org", ["x@probe.example"], "Subject: probe\r\n\r\n")
                self.count += 1
                times = wait_for("the probe", self.times, 120)
                gone.append((begun, times[-1]))
        return gone

    def times(self):
        """Nobody named them, so that they are strange to the sink."""
        lines = self.taker.ledger.read_text().split("\n")[:-1]
        times = [int(line.split(" ")[1]) for line in lines if line.startswith("strange ")]
        return times if len(times) == self.count else None


@pytest.mark.parametrize("stop, go", [
    (["freeze", "*.test", "--future"], ["unfreeze", "*.test"]),
    (["hold", "--to", ".test", "--also-new"], ["release", "--to", ".test"]),
], ids=["unfreeze", "release"])
def test_what_is_let_go_starves_nobody(server, tmp_path, closing, stop, go):
    many = closing(Taker(tmp_path / "many", "--mood", "dot:delay=20ms"))
    other = closing(Taker(tmp_path / "probes"))
    server.route("*", many.via, connections=20).route("probe.example", other.via).start()
    server.ctl(*stop, "--reason", "x", "--yes")
    send(server, tmp_path / "sent", "r{n}@d{n%100}.test", MANY, "--size", "1KiB", timeout=3600)
    assert many["messages"] == 0
    probes = Probes(server, other)
    before = probes.go(PROBES)
    server.ctl(*go, "--yes")
    wait_for("it flows", lambda: many["messages"] > 0)
    during = probes.go(PROBES, lambda: many["messages"] < MANY * 3 // 4)
    server.wait_empty(3600)
    many.end()
    assert len(taken(many.ledger)) == MANY
    times = [when for when, _ in taken(many.ledger)]
    assert len(during) >= FEW, "the many had gone before a few probes had: this shows nothing"
    meanwhile = [sum(sent <= when <= arrived for when in times) for sent, arrived in during]
    assert statistics.median(meanwhile) <= MEANWHILE and max(meanwhile) < MANY // 2, meanwhile
    delays = [statistics.median(arrived - sent for sent, arrived in some) for some in (before, during)]
    note(f"{MANY} messages let go by {go[0]}: a probe took {delays[0]:.0f} ms before, {delays[1]:.0f} ms meanwhile")
