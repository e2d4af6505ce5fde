"""Freezes in full: until a time, by next hop, by patterns and exceptions, and what kill, restarts and a damaged
index leave of them."""
import re
import subprocess
import threading
import time
from datetime import datetime, timedelta

import pytest

from support.server import BUILD, send_on
from support.sink import SINK_PORT, honest
from support.waiting import wait_for


def back(server):
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))


def frozen(server):
    return {row["name"]: row for row in server.ctl("blocks").rows if row["kind"] == "freeze"}


# --- Until ------------------------------------------------------------------------------------------

def test_a_freeze_ends_when_its_time_has_come(server, sink):
    server.route("*", sink.via).start()
    said = server.ctl("freeze", "remote.example", "--reason", "a pause", "--until", "+8s", "--future")
    assert said.rows == [{"v": 1, "exit": 0, "text": "remote.example is frozen", "in_flight": 0}]
    until = frozen(server)["remote.example"]["until"]
    assert until
    ident = server.send("x@remote.example")
    assert server.queues()["remote.example"]["until"] == until
    assert server.messages()[0]["until"] == until
    assert server.ctl("show", ident).rows[0]["recipients"][0]["until"] == until
    for verb in ("status", "blocks", "queues", "messages"):
        assert re.search(r"until \d\d:\d\d:\d\d|UNTIL", server.ctl_text(verb).out), verb
    assert "until" in server.ctl_text("show", ident).out
    assert server.wait_log("queue.frozen")["until"] == until
    sink.wait()
    ended = server.wait_log("queue.unfrozen", queue="remote.example")
    assert ended["reason"] == "its time is over" and ended["until"] == until
    assert frozen(server) == {}
    server.restart()
    assert frozen(server) == {}


def test_a_time_that_comes_while_the_server_is_down(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "short", "--until", "6s", "--future")
    server.ctl("freeze", "kept.example", "--reason", "long", "--until", "1h", "--future")
    server.send("x@remote.example")
    server.stop()
    assert not sink.messages
    time.sleep(6)  # the wall clock itself is what is waited for
    server.start_again()
    server.wait_log("queue.unfrozen", queue="remote.example")
    sink.wait()
    assert list(frozen(server)) == ["kept.example"]
    server.kill("queued")
    back(server)
    assert list(frozen(server)) == ["kept.example"]
    assert len(server.events("queue.unfrozen")) == 1


def test_the_wall_clock_decides_however_it_jumps(server, sink, wall):
    server.environment = wall.environment
    server.route("*", sink.via).configure(retry={"expire": "5d"}).start()
    until = (datetime.now().astimezone() + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M")
    server.ctl("freeze", "remote.example", "--reason", "two hours", "--until", until, "--future")
    ident = server.send("x@remote.example")
    wall.jump(-86400)
    wall.jump(86400 + 3600)
    assert "remote.example" in frozen(server)
    assert [row["id"] for row in server.messages("--state", "frozen")] == [ident]
    wall.jump(3700)
    sink.wait()
    server.wait_log("queue.unfrozen", queue="remote.example")
    assert not server.events("message.expired")


@pytest.mark.parametrize("words, exit_, said", [
    (["--until", "yesterday"], 64, "expected a time like 18:00"),
    (["--until", "2001-01-01 00:00"], 64, "over already"),
    (["--until", "0"], 64, "over already"),
    (["--until", ""], 0, ""),  # as if it were not there
])
def test_mistakes_in_until(postern, words, exit_, said):
    answer = postern.ctl_text("freeze", "local", "--reason", "x", *words)
    assert answer.exit == exit_ and said in answer.err
    assert len(frozen(postern)) == (exit_ == 0)


def test_the_caller_s_zone_counts(postern):
    for zone, offset in (("UTC0", 0), ("EST5", 5)):
        answer = postern.ctl_text("freeze", "local", "--reason", "x", "--until", "2099-12-24 18:00",
                                  environment={"TZ": zone})
        assert answer.exit == 0 and answer.out == "local is frozen until 2099-12-24 18:00, 0 in flight\n" \
            or "was frozen already" in answer.out
        assert frozen(postern)["local"]["until"].startswith(f"2099-12-24T{18 + offset}:00")


# --- Names ------------------------------------------------------------------------------------------

def test_an_unfrozen_member_is_an_exception(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "*.remote.example", "--reason", "all below", "--future")
    for name in ("a", "b"):
        server.send(f"x@{name}.remote.example")
    said = server.ctl("unfreeze", "a.remote.example").rows[0]["text"]
    assert said.startswith("a.remote.example is an exception to the freeze of *.remote.example now")
    assert sink.wait()[0].recipients == ["x@a.remote.example"]
    server.kill("queued")
    back(server)
    kinds = {row["name"]: row["kind"] for row in server.ctl("blocks").rows}
    assert kinds == {"*.remote.example": "freeze", "a.remote.example": "exception"}
    server.send("y@a.remote.example")
    sink.wait(2)
    wait_for("only the other is left", lambda: [m["to"] for m in server.messages()] == ["x@b.remote.example"])
    server.ctl("unfreeze", "*.remote.example")
    sink.wait(3)
    assert server.ctl("blocks").rows == []


def test_a_name_that_matches_nothing(server, sink):
    server.route("corp.example", sink.via).route("*.lab.example", sink.via).start()
    for name in ("corp.exampel", "far.example", "*.far.example"):
        answer = server.ctl_text("freeze", name, "--reason", "x")
        assert answer.exit == 65 and "--future" in answer.err
    assert server.ctl_text("freeze", "--hop", "nowhere.example", "--reason", "x").exit == 65
    for name in ("corp.example", "*.lab.example", "example.org", "local"):
        assert server.ctl_text("freeze", name, "--reason", "x").exit == 0
    assert server.ctl_text("unfreeze", "far.example").exit == 65
    assert server.ctl_text("freeze", "a b", "--reason", "x", "--future").exit == 64


def test_a_route_s_host_is_frozen(server, make_sink):
    one, two = make_sink(), make_sink()
    server.route("one.example", one.via).route("two.example", two.via).start()
    host = one.via.removeprefix("smtp://")
    said = server.ctl_text("freeze", "--hop", host, "--reason", "its disk is full")
    assert said.out == f"--hop {host} is frozen, 0 in flight\n"
    server.wait_log("hop.frozen", hop=host, reason="its disk is full")
    ident = server.send(["x@one.example", "x@two.example"])
    two.wait()
    row = server.queues()["one.example"]
    assert row["state"] == "frozen" and row["why"] == f"--hop {host}: its disk is full"
    assert f"--hop {host}" in server.ctl_text("show", ident).out
    assert f"--hop {host}" in server.ctl_text("blocks").out
    assert f"next hop {host} frozen" in server.status()["attention"]
    server.kill("queued")
    back(server)
    assert server.queues()["one.example"]["state"] == "frozen"
    assert not one.messages
    assert server.ctl_text("unfreeze", "--hop", host.split(":")[0]).exit == 65  # as it was frozen
    server.ctl("unfreeze", "--hop", host)
    one.wait()
    server.wait_empty()


def test_a_real_mx_host_is_frozen(server, zone, make_sink):
    """Two domains share it, a third one has hosts of its own."""
    shared, own = make_sink(), make_sink()
    for domain in ("one.example", "two.example"):
        zone.mx(domain, (10, "mx.shared.example"))
    zone.mx("three.example", (10, "mx.three.example"))
    zone.a("mx.shared.example", shared.ip)
    zone.a("mx.three.example", own.ip)
    host = f"mx.shared.example:{SINK_PORT}"
    server.configure(delivery={"port": SINK_PORT}, retry={"after": ["1h"]}).start()
    server.ctl("freeze", "--hop", host, "--reason", "its disk is full", "--future")
    server.send(["x@one.example", "x@two.example", "x@three.example"])
    own.wait()
    wait_for("both are frozen", lambda: [server.queues().get(name, {}).get("state") for name in
                                         ("one.example", "two.example")] == ["frozen"] * 2)
    for name in ("one.example", "two.example"):
        assert server.queues()[name]["why"] == f"--hop {host}: its disk is full"
        because = server.ctl("explain", name).rows[0]["because"][0]
        assert because["blocker"] == "hop frozen" and because["name"] == host
    assert f"next hop {host} frozen" in server.status()["attention"]
    # What is known of it by now is no way around it.
    ident = server.send("y@one.example")
    server.ctl("retry", ident)
    server.send("y@three.example")
    own.wait(2)
    assert not shared.messages
    server.ctl("unfreeze", "--hop", host)
    server.wait_empty()
    assert sorted(to for message in shared.messages for to in message.recipients) == [
        "x@one.example", "x@two.example", "y@one.example"]


def test_an_mx_host_stays_frozen_for_mail_that_waits(server, zone, make_sink):
    """Its next try is an hour away, and until then nobody asks the DNS where it goes: also not after a death."""
    sink = make_sink()
    sink.refuse["x@one.example"] = "450 4.2.0 not now"
    zone.mx("one.example", (10, "mx.one.example"))
    zone.a("mx.one.example", sink.ip)
    server.configure(delivery={"port": SINK_PORT}, retry={"after": ["1h"]}).start()
    ident = server.send("x@one.example")
    server.wait_log("delivery.deferred", id=ident)
    server.ctl("freeze", "--hop", "mx.one.example", "--reason", "its disk is full", "--future")

    def expect_it_is_shown():
        row, = server.messages("--state", "frozen")
        assert row["id"] == ident and row["why"] == "--hop mx.one.example: its disk is full" and not row["next_try"]
        assert server.ctl("show", ident).rows[0]["recipients"][0]["state"] == "frozen"
        row = server.queues()["one.example"]
        assert (row["state"], row["why"], row["next_try"]) == ("frozen", "--hop mx.one.example: its disk is full", None)
        one, = server.ctl("explain", ident).rows[0]["explanations"]
        assert one["state"] == "frozen" and not one["next"]
        because = one["because"][0]
        assert because["blocker"] == "hop frozen" and because["freeze"] == "mx.one.example"
        assert "posternctl unfreeze --hop mx.one.example\n" in server.ctl_text("explain", ident).out

    expect_it_is_shown()
    server.kill("queued")
    back(server)
    expect_it_is_shown()
    sink.refuse.clear()
    server.ctl("retry", ident)  # which has the DNS asked
    wait_for("its host is known", lambda: [row for row in server.ctl("queues", "--hops").rows
                                           if row["hop"] == f"mx.one.example:{SINK_PORT}" and row["queues"]])
    expect_it_is_shown()
    assert not sink.messages
    server.ctl("unfreeze", "--hop", "mx.one.example")
    sink.wait()
    server.wait_empty()


# --- Clocks -----------------------------------------------------------------------------------------

def test_clocks_stand_or_go_on(server, sink, wall):
    """Mail lives for five hours, and six pass while the server is down: what is frozen with its clock stopped
    outlives that."""
    sink.refuse = {f"x@{name}.example": "451 4.2.0 later" for name in ("still", "kept")}
    server.environment = wall.environment
    server.route("*", sink.via).configure(retry={"after": ["1s"], "expire": "5h", "notify": "0"}).start()
    server.ctl("freeze", "still.example", "--reason", "x", "--future")
    server.ctl("freeze", "kept.example", "--reason", "x", "--keep-clock", "--future")
    assert {name: row["keep_clock"] for name, row in frozen(server).items()} == {
        "still.example": False, "kept.example": True}
    still, kept = server.send("x@still.example"), server.send("x@kept.example")
    # A hold over the freeze takes its time off once, not twice.
    server.ctl("hold", still, "--reason", "x")
    server.stop()
    wall.jump(6 * 3600)
    server.start_again()
    server.ctl("release", still)
    said = server.ctl("unfreeze", "still.example").rows[0]["text"]
    assert said == "still.example is not frozen any more; expire within 24h: 1"
    server.wait_log("delivery.deferred", id=still)
    expires = datetime.fromisoformat(server.ctl("show", still).rows[0]["expires"].replace("Z", "+00:00"))
    assert abs(expires.timestamp() - wall.now() - 5 * 3600) < 60
    server.ctl("unfreeze", "kept.example")
    server.wait_log("message.expired", id=kept)  # at its first failure
    assert not server.events("message.expired", id=still)


# --- At once ----------------------------------------------------------------------------------------

def test_nothing_begins_behind_the_first_line(server, make_script):
    """Under load: what the next hop sees of MAIL behind the tool's first line was leased before it, and that line
    says how much it was. A transaction takes the next hop a while, so some are always in flight."""
    begun, ended = [], []

    def slow(line, state):
        if line.startswith("MAIL") and not state.get("data"):
            begun.append(time.monotonic())
        if line == "." and state.get("data"):
            time.sleep(0.05)
            ended.append(time.monotonic())
        return honest(line, state)
    script = make_script(slow)
    server.route("*", script.via, connections=8).start()

    def load():
        with server.smtp() as client:
            for n in range(150):
                send_on(client, "alice@example.org", ["x@remote.example"], f"\r\n{n}\r\n")
    sender = threading.Thread(target=load)
    sender.start()
    wait_for("it flows", lambda: len(ended) > 20)
    tool = subprocess.Popen(
        [BUILD / "ctl" / "posternctl", "-c", server.file, "freeze", "remote.example", "--reason", "stop"],
        stdout=subprocess.PIPE, text=True, bufsize=1)
    first = tool.stdout.readline()
    told = time.monotonic()
    in_flight = int(re.fullmatch(r"remote.example is frozen, (\d+) in flight\n", first).group(1))
    last = (tool.stdout.readlines() or [first])[-1]
    quiet = time.monotonic()
    assert tool.wait() == 0 and (last == "0 in flight\n" or in_flight == 0)
    sender.join()
    assert len([t for t in begun if t > told]) <= in_flight, first
    # And with the last line it was over.
    assert not [t for t in begun + ended if t > quiet]
    assert server.queues()["remote.example"]["messages"] == 150 - len(ended)
    server.ctl("unfreeze", "remote.example")
    server.wait_empty()
    assert len(begun) == 150


def test_leaving_the_tool_leaves_the_freeze(server, make_script):
    patience = threading.Event()

    def hanging(line, state):
        if line == "." and state.get("data"):
            patience.wait(30)
        return honest(line, state)
    script = make_script(hanging)
    server.route("*", script.via).start()
    server.send("x@remote.example")
    script.wait_lines(".")
    tool = subprocess.Popen(
        [BUILD / "ctl" / "posternctl", "-c", server.file, "freeze", "remote.example", "--reason", "stop"],
        stdout=subprocess.PIPE, text=True, bufsize=1)
    assert tool.stdout.readline() == "remote.example is frozen, 1 in flight\n"
    tool.send_signal(2)
    assert tool.wait() != 0
    assert list(frozen(server)) == ["remote.example"]
    patience.set()
    server.wait_empty()
    assert list(frozen(server)) == ["remote.example"]


# --- What outlives what -----------------------------------------------------------------------------

def test_what_was_reported_outlives_a_kill_at_any_moment(server, sink):
    """The server is killed while freezes come one after the other: those that were reported are there, and of
    the others each is there as a whole or not."""
    server.route("*", sink.via).start()
    for round_ in range(4):
        reported = []

        def freezes(round_=round_, reported=reported):
            for n in range(100):
                name = f"r{round_}-{n}.example"
                if server.ctl("freeze", name, "--reason", f"why {name}", "--until", "+1h", "--keep-clock",
                              "--future", check=False).exit != 0:
                    return
                reported.append(name)
        operator = threading.Thread(target=freezes)
        operator.start()
        wait_for("some freezes", lambda: len(reported) >= 2 + round_, 60)
        server.kill("queued")
        operator.join()
        back(server)
        there = frozen(server)
        assert set(reported) <= set(there)
        for name, row in there.items():
            assert row["reason"] == f"why {name}" and row["keep_clock"] and row["until"] and row["who"]


def test_blocks_outlive_a_damaged_index(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "*.example", "--reason", "kept", "--until", "+1h", "--keep-clock", "--future")
    server.ctl("freeze", "--hop", "mx1.example.net", "--reason", "dead", "--future")
    server.ctl("unfreeze", "free.example")
    server.ctl("intake", "disable", "--reason", "checking", "--yes")
    before = server.ctl("blocks").rows
    server.ctl("intake", "enable", "--yes")
    server.send("x@frozen.example")
    server.ctl("intake", "disable", "--reason", "checking", "--yes")
    server.stop()
    server.damage_index()
    server.start_again()
    after = server.ctl("blocks").rows
    for row in before + after:
        row["since"] = None if row["kind"] == "intake" else row["since"]
    assert after == before and len(after) == 4
    wait_for("its mail is frozen", lambda: server.queues().get("frozen.example", {}).get("state") == "frozen")
    assert not sink.messages
