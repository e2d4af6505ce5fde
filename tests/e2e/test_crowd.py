"""Two dozen next hops at once, each in a mood of its own: the ledgers decide what became of the mail."""
import collections
import signal

from support.load import Load, Taker, compare
from support.waiting import wait_for

MESSAGES = 20  # for each of them
# What each does to a part of those who come. A hop that stalls is let go by the operator: no client waits for
# minutes here.
MOODS = {
    "connect-defer": "connect:defer,p=0.3", "connect-refuse": "connect:refuse,p=0.5",
    "connect-cut": "connect:cut,p=0.3", "connect-delay": "connect:delay=200ms,p=0.5",
    "connect-stall": "connect:stall,p=0.5",
    "mail-defer": "mail:defer,p=0.3", "mail-refuse": "mail:refuse,p=0.3", "mail-cut": "mail:cut,p=0.3",
    "mail-delay": "mail:delay=100ms,p=0.5", "mail-stall": "mail:stall,p=0.3",
    "rcpt-defer": "rcpt:defer,p=0.3", "rcpt-refuse": "rcpt:refuse,p=0.3", "rcpt-cut": "rcpt:cut,p=0.3",
    "rcpt-delay": "rcpt:delay=100ms,p=0.5", "rcpt-stall": "rcpt:stall,p=0.3",
    "data-defer": "data:defer,p=0.3", "data-refuse": "data:refuse,p=0.3", "data-cut": "data:cut,p=0.3",
    "data-delay": "data:delay=100ms,p=0.5",
    "dot-defer": "dot:defer,p=0.3", "dot-refuse": "dot:refuse,p=0.3", "dot-cut": "dot:cut,p=0.3",
    "dot-drop": "dot:drop,p=0.3", "dot-delay": "dot:delay=100ms,p=0.5", "dot-stall": "dot:stall,p=0.3",
    "limit": None, "well": None,
}
# A host that turns away whoever connects has not refused any message: it is tried again.
REFUSES = {name for name in MOODS if name.endswith("refuse")} - {"connect-refuse"}
STALLS = {name for name in MOODS if name.endswith("stall")}


class Hop:
    """A sink in its mood, which a signal ends."""

    def __init__(self, name, number, tmp_path, closing):
        self.moods = tmp_path / f"moods-{name}"
        self.moods.write_text((MOODS[name] or "") + "\n")
        options = ["--limit", 3] if name == "limit" else []
        self.taker = closing(Taker(tmp_path / f"taken-{name}", "--seed", number, "--moods", self.moods, *options))

    def cheer_up(self):
        self.moods.write_text("")
        self.taker.process.send_signal(signal.SIGHUP)

    def arrived(self):
        """{(message, recipient): how often it was taken}."""
        found = collections.Counter()
        for line in self.taker.ledger.read_text().splitlines():
            kind, name, _, *recipients = line.split(" ")
            if kind == "delivered":
                found.update((name, recipient) for recipient in recipients)
        return found


def test_two_dozen_next_hops_in_moods_of_their_own(server, tmp_path, closing):
    hops = {name: Hop(name, number, tmp_path, closing) for number, name in enumerate(MOODS)}
    back = closing(Taker(tmp_path / "taken-back"))
    for number, hop in enumerate(hops.values()):
        server.route(f"d{number}.test", hop.taker.via, connections=4)
    server.route("back.test", back.via).start()
    queue_of = {name: f"d{number}.test" for number, name in enumerate(hops)}
    clients = closing(Load(server, tmp_path / "sent", f"r{{n}}.{{i}}@d{{n%{len(hops)}}}.test", "--messages",
                           MESSAGES * len(hops), "--recipients", 2, "--sender", "s{n}@back.test", "--size",
                           "lognormal:4KiB,4", sessions=20))
    wait_for("all was sent", lambda: clients.process.poll() is not None, 60)
    clients.close()
    stalling = {queue_of[name] for name in STALLS}
    wait_for("all is gone but what hangs", lambda: set(server.queues()) <= stalling, 120)
    assert set(server.queues()) == stalling  # each of them holds some
    for name in STALLS:
        hops[name].cheer_up()
    server.ctl("outbound", "disable", "--now", "--reason", "they hang", "--yes")
    server.ctl("outbound", "enable", "--yes")
    server.wait_empty(120)
    for hop in [hop.taker for hop in hops.values()] + [back]:
        hop.end()
    verdict = compare(clients.ledger, back.ledger, *(hop.taker.ledger for hop in hops.values()))
    recipients = 2 * MESSAGES
    assert verdict["acknowledged"] == recipients * len(hops), verdict
    assert verdict["delivered"] + verdict["noticed"] == verdict["acknowledged"], verdict
    arrived = {name: hop.arrived() for name, hop in hops.items()}
    for name, found in arrived.items():
        # What was refused its sender heard of; all else came, whatever happened on the way.
        assert len(found) < recipients if name in REFUSES else len(found) == recipients, name
        # What was taken without a word is brought again, and nothing else is.
        twice = sum(found.values()) - len(found)
        assert twice > 0 if name == "dot-cut" else twice == 0, name
    assert verdict["noticed"] == sum(recipients - len(arrived[name]) for name in REFUSES)
    assert verdict["duplicate"] == sum(arrived["dot-cut"].values()) - recipients
