"""Each kind of block in each view, after kill -9 of queued at any moment around its command, and beside a
damaged index."""
import os
import random
import signal
import subprocess
import time

import pytest

from support.load import send
from support.server import BUILD
from support.waiting import wait_for

MANY = 2_000 if os.environ.get("POSTERN_LONG") else 300  # messages that are held at once
KILLS = int(os.environ.get("POSTERN_KILLS", "4"))  # for each kind
FORGIVEN = 3  # deaths, before the parent waits for seconds until it starts queued again
REASON = "spring cleaning"
QUEUE, MAILBOX = "remote.example", "x@remote.example"


class Kind:
    """A way to stop mail: `begin` and `end` are words of posternctl; HOP and ID stand for a next hop and a
    message. `name`: as `blocks` has it."""

    def __init__(self, begin, end, block, name, state, blocker, log):
        self.begin_words = [*begin.split(), "--reason", REASON, "--yes"]
        self.end_words = [*end.split(), "--yes"]
        self.block, self.name, self.state, self.blocker, self.log = block, name, state, blocker, log
        self.all, self.until = "--all" in self.begin_words, "--until" in self.begin_words

    @staticmethod
    def typed(words, hop, ident):
        return [{"HOP": hop, "ID": ident}.get(word, word) for word in words]


KINDS = {
    "freeze by name": Kind(f"freeze {QUEUE} --future", f"unfreeze {QUEUE}", "freeze", QUEUE, "frozen", "frozen",
                           "queue.frozen"),
    "freeze by pattern": Kind("freeze *.example --future", "unfreeze *.example", "freeze", "*.example", "frozen",
                              "frozen", "queue.frozen"),
    "freeze until": Kind(f"freeze {QUEUE} --future --until 3h", f"unfreeze {QUEUE}", "freeze", QUEUE, "frozen", "frozen",
                         "queue.frozen"),
    "freeze of a next hop": Kind("freeze --hop HOP", "unfreeze --hop HOP", "freeze", "HOP", "frozen", "hop frozen",
                                 "hop.frozen"),
    "outbound": Kind("outbound disable", "outbound enable", "outbound", "", "off", "off", "outbound.disabled"),
    "outbound, all of it": Kind("outbound disable --all", "outbound enable", "outbound", "", "off", "off",
                                "outbound.disabled"),
    "intake": Kind("intake disable", "intake enable", "intake", "", None, None, "intake.disabled"),
    "standing hold": Kind(f"hold --to {MAILBOX} --also-new", f"release --to {MAILBOX}", "hold", f"--to {MAILBOX}",
                          "held", "held", "hold.begun"),
    "hold of a message": Kind("hold ID", "release ID", None, None, "held", "held", "message.held"),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


class Waiting:
    """A server with one message whose next try is far away, so that it stays whatever is done to blocks."""

    def __init__(self, server, sink, kind):
        self.server, self.sink, self.kind = server, sink, kind
        sink.refuse[MAILBOX] = "450 4.2.0 not now"
        server.configure(retry={"after": ["1h"]}).route(QUEUE, sink.via).start()
        self.ident = server.send(MAILBOX)
        wait_for("it was tried", lambda: server.messages("--state", "retry"))
        self.hop = sink.via.removeprefix("smtp://")

    def words(self, words):
        return Kind.typed(words, self.hop, self.ident)


def is_there(server, kind, hop, ident):
    """All of it; None: a part. A standing hold is one of the messages that were there, too."""
    held = any(row["id"] == ident for row in server.messages("--state", "held"))
    if kind.block is None:
        return held
    name = hop if kind.name == "HOP" else kind.name
    stands = any((row["kind"], row["name"], row["reason"], row["all"], bool(row["until"])) ==
                 (kind.block, name, REASON, kind.all, kind.until) for row in server.ctl("blocks").rows)
    return stands if kind.block != "hold" or stands == held else None


def in_status(server, kind):
    status, screen = server.status(), server.ctl_text("status").out
    if kind.block in ("freeze", "outbound", "intake"):
        assert REASON in screen and status["attention"]
    if kind.block == "freeze":
        assert status["freezes"] == 1 and "\nFROZEN " in screen
    if kind.block in ("outbound", "intake"):
        row = status[kind.block]
        assert row["reason"] == REASON and row["who"] and row["since"]
        assert f"\n{kind.block.upper():10}DISABLED" in screen
        assert not (row["enabled"] if kind.block == "outbound" else row["open"])
        assert kind.block != "outbound" or row["all"] == kind.all
    if kind.block == "hold":
        assert status["standing_holds"] == 1 and "1 standing hold" in screen
    if kind.state:
        assert status["queue"][kind.state] == 1 and f"{kind.state} 1" in screen


def in_queues(server, kind):
    row, screen = server.queues()[QUEUE], server.ctl_text("queues").out
    why = f"its messages are held: by root: {REASON}" if kind.state == "held" else REASON
    assert row["state"] == kind.state and why in row["why"] and row["next_try"] is None
    assert bool(row["until"]) == kind.until
    assert kind.state in screen and why in screen


def in_hops(server, kind, hop):
    rows, screen = server.ctl("queues", "--hops").rows, server.ctl_text("queues", "--hops").out
    by_hop = {row["hop"]: row for row in rows}
    if kind.name != "HOP":  # it is stopped before its next hop
        assert not [row for row in rows if row["state"] == "frozen"] and REASON not in screen
        return
    assert by_hop[hop]["state"] == "frozen" and REASON in by_hop[hop]["why"] and by_hop[hop]["messages"] == 1, rows
    assert hop in screen and "frozen" in screen and REASON in screen


def in_messages(server, kind, ident):
    row, = server.messages()
    screen = server.ctl_text("messages").out
    assert row["id"] == ident and row["state"] == kind.state and REASON in row["why"]
    assert kind.state in screen and REASON in screen
    assert [one["id"] for one in server.messages("--state", kind.state)] == [ident]


def in_show(server, kind, ident):
    row = server.ctl("show", ident).rows[0]["recipients"][0]
    screen = server.ctl_text("show", ident).out
    assert row["state"] == kind.state and REASON in row["why"]
    assert kind.state.upper() in screen and REASON in screen


def in_explain(server, kind, hop, ident):
    one, = server.ctl("explain", ident).rows[0]["explanations"]
    because = one["because"][0]
    assert one["state"] == kind.state and because["blocker"] == kind.blocker, one
    assert because["reason"] == REASON and because["who"] and because["since"]
    if kind.block == "freeze":
        assert because["name"] == (hop if kind.name == "HOP" else kind.name)
    assert bool(because["until"]) == bool(one["next"]) == kind.until
    screen = server.ctl_text("explain", ident).out
    end = " in 2h" if kind.until else "\n"
    assert f"{MAILBOX}: {kind.state.upper()}{end}" in screen and REASON in screen
    for name in [QUEUE] + [hop] * (kind.name == "HOP"):
        row = server.ctl("explain", name).rows[0]
        assert row["state"] == kind.state and row["because"][0]["blocker"] == kind.blocker, name


def in_blocks(server, kind, hop):
    rows, screen = server.ctl("blocks").rows, server.ctl_text("blocks").out
    if kind.block is None:  # one message's own
        assert rows == []
        return
    row, = rows
    name = hop if kind.name == "HOP" else kind.name
    assert (row["kind"], row["name"], row["reason"]) == (kind.block, name, REASON)
    assert row["who"] and row["since"] and row["hop"] == (kind.name == "HOP")
    assert row["all"] == kind.all and bool(row["until"]) == kind.until
    assert kind.block in screen and name in screen and REASON in screen


def in_log(server, kind):
    fields = server.wait_log(kind.log)
    assert REASON in fields["reason"]
    assert fields["level"] == "warning"


def expect_it_stops(server, sink, waiting):
    """Its mail, which a retry does not move, and only until it is lifted."""
    kind, ident = waiting.kind, waiting.ident
    sink.refuse.clear()
    server.ctl("retry", ident)
    if kind.state is None:  # it stops none that is here
        sink.wait()
    else:
        wait_for("its mail is stopped", lambda: server.messages("--state", kind.state))
        in_queues(server, kind)
        in_hops(server, kind, waiting.hop)
        in_messages(server, kind, ident)
        in_show(server, kind, ident)
        in_explain(server, kind, waiting.hop, ident)
        assert not sink.messages
    server.ctl(*waiting.words(kind.end_words))
    sink.wait()
    server.wait_empty()


@every_kind
def test_every_view_shows_it(server, sink, kind):
    waiting = Waiting(server, sink, kind)
    hop = waiting.hop
    server.ctl(*waiting.words(kind.begin_words))
    in_status(server, kind)
    in_blocks(server, kind, hop)
    in_log(server, kind)
    expect_it_stops(server, sink, waiting)
    assert server.ctl("blocks").rows == [] and server.status()["attention"] == []


@every_kind
def test_it_outlives_kill_at_any_moment(server, sink, kind):
    """What was reported is there after a kill; what was not may be, or not. The same of its end."""
    waiting = Waiting(server, sink, kind)
    ident, hop = waiting.ident, waiting.hop
    luck = random.Random()
    kills = 0
    while kills < KILLS:
        for words, begins in ((kind.begin_words, True), (kind.end_words, False)):
            tool = subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, *waiting.words(words)],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(luck.random() * 0.15)  # any moment: of its start, of the flush, of the report, afterwards
            server.kill("queued")
            reported, _ = tool.communicate(timeout=60)
            kills += 1
            wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))
            wait_for("it knows its mail", server.messages)
            if reported:
                assert is_there(server, kind, hop, ident) == begins, reported
            if is_there(server, kind, hop, ident) != begins:
                server.ctl(*waiting.words(words))
            assert is_there(server, kind, hop, ident) == begins
            if kills % FORGIVEN == 0:
                server.restart()
                wait_for("it knows its mail", server.messages)
                assert is_there(server, kind, hop, ident) == begins
    assert not sink.messages


@pytest.mark.parametrize("words, held", [
    (["hold", "--from", "sender@client.example", "--reason", REASON], True),
    (["release", "--from", "sender@client.example"], False),
], ids=["hold", "release"])
def test_what_was_reported_of_many_outlives_a_kill_at_that_moment(server, sink, tmp_path, words, held):
    """They are in memory no more, so each is read before it is held, or let go."""
    server.route("*", sink.via).start()
    server.ctl("freeze", "*.test", "--reason", "x", "--future")
    send(server, tmp_path / "sent", "r{n}@d{n%7}.test", MANY, "--size", "1KiB")
    if not held:
        server.ctl("hold", "--all", "--reason", "before", "--yes")
    server.restart()
    server.wait_log("queue.loaded")
    pid, = server.pids("queued")
    server.may_die = True
    tool = subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, *words, "--yes"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    first = tool.stdout.readline()
    os.kill(pid, signal.SIGKILL)
    tool.communicate(timeout=60)
    assert str(MANY) in first
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))
    wait_for("it knows its mail", lambda: len(server.messages()) == MANY)
    rows = server.messages("--state", "held")
    assert len(rows) == (MANY if held else 0)
    assert all(REASON in row["why"] for row in rows)
    assert not sink.messages


@every_kind
def test_it_outlives_a_damaged_index(server, sink, kind):
    """The journal tells the queue, and control.json what was stopped."""
    waiting = Waiting(server, sink, kind)
    ident, hop = waiting.ident, waiting.hop
    server.ctl(*waiting.words(kind.begin_words))
    before = server.ctl("blocks").rows
    server.stop()
    server.damage_index()
    server.start_again()
    wait_for("it knows its mail", server.messages)
    assert any(path.name.startswith("index") for path in (server.directory / "spool" / "damaged").iterdir())
    after = server.ctl("blocks").rows
    for row in before + after:
        row["since"] = None if row["kind"] == "intake" else row["since"]  # since this start
    assert after == before
    assert is_there(server, kind, hop, ident)
    in_status(server, kind)
    expect_it_stops(server, sink, waiting)
