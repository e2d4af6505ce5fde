"""Explain: why a message, a queue or a next hop does not move, by which line of the configuration, and what
became of what is finished."""
import pytest

from support.net import Address
from support.waiting import wait_for


@pytest.fixture
def nowhere():
    """An address where nobody listens."""
    address = Address()
    yield address.ip
    address.close()


def line_of(server, text, name="postern.toml"):
    """Where this stands: "postern.toml:46"."""
    lines = (server.directory / name).read_text().splitlines()
    return f"{name}:{lines.index(text) + 1}"


def explained(server, ident):
    """All explanations of a message."""
    rows = server.ctl("explain", ident).rows
    assert len(rows) == 1 and list(rows[0])[0] == "v"
    return rows[0]["explanations"]


def blockers(explanation):
    return [one["blocker"] for one in explanation["because"]]


def test_a_dead_route(server, nowhere):
    server.configure(retry={"after": ["1h", "4h"], "spread": 0})
    server.route("remote.example", f"smtp://{nowhere}:2599", connections=7).start()
    ident = server.send(["x@remote.example", "y@remote.example"])
    wait_for("the hop is dead", lambda: server.queues()["remote.example"]["state"] == "retry")
    one, = explained(server, ident)
    assert one["addresses"] == ["x@remote.example", "y@remote.example"]
    assert one["state"] == "retry" and blockers(one) == ["hop dead"]
    dead = one["because"][0]
    assert dead["name"] == f"{nowhere}:2599" and dead["count"] == 1 and "refused" in dead["reason"]
    assert one["next"] == dead["until"] and abs_seconds(one["next"], server.queues()["remote.example"]["next_try"]) < 1
    assert one["route"]["by"] == "route" and one["route"]["place"] == line_of(server, "[[route]]")
    assert one["route"]["via"] == f"smtp://{nowhere}:2599"
    assert one["retry"] == {"place": line_of(server, "[retry]"), "failure": "connect",
                            "wait_seconds": 4 * 3600, "repeats": True}
    assert "connections 0/7" in one["passed"] and "freeze" in one["passed"]
    screen = server.ctl_text("explain", ident.lower()).out
    print(screen)
    assert screen.startswith(f"{ident} from alice@example.org")
    for words in ("x@remote.example, y@remote.example: RETRY in 59m", f"next hop {nowhere}:2599 is dead until",
                  "refused", "after a failure every 4h00m", f"Try      posternctl retry {ident}"):
        assert words in screen, screen
    for name in ("remote.example", f"{nowhere}:2599"):
        row = server.ctl("explain", name).rows[0]
        assert row["state"] == "retry" and row["next"] and blockers(row) == ["hop dead"]
        assert row["hops"][0]["name"] == f"{nowhere}:2599" and row["hops"][0]["failures"] == 1
        print(server.ctl_text("explain", name).out)
    assert server.ctl("explain", f"{nowhere}:2599").rows[0]["queues"] == ["remote.example"]
    # A restart forgets none of it.
    server.restart()
    wait_for("it is read", lambda: blockers(explained(server, ident)[0]) == ["hop dead"])
    assert explained(server, ident)[0]["because"][0]["name"] == f"{nowhere}:2599"


def abs_seconds(a, b):
    from datetime import datetime
    return abs((datetime.fromisoformat(a.rstrip("Z")) - datetime.fromisoformat(b.rstrip("Z"))).total_seconds())


def test_what_people_stop_comes_first_and_all_of_it_is_told(server, sink):
    server.route("*", sink.via).start()
    server.ctl("outbound", "disable", "--reason", "spam run", "--yes")
    ident = server.send("x@remote.example")
    server.ctl("freeze", "*.example", "--reason", "moving house")
    server.ctl("hold", ident, "--reason", "suspect")
    one, = explained(server, ident)
    assert one["state"] == "held" and one["next"] is None and one["clock_stands"]
    assert blockers(one)[:3] == ["held", "frozen", "off"]
    assert [b["reason"] for b in one["because"][:3]] == ["suspect", "moving house", "spam run"]
    assert all(b["who"] and b["since"] for b in one["because"][:3])
    assert one["because"][1]["name"] == "*.example"
    screen = server.ctl_text("explain", ident).out
    print(screen)
    assert "x@remote.example: HELD\n" in screen and f"Try      posternctl release {ident}" in screen
    server.ctl("release", ident)
    one, = explained(server, ident)
    assert one["state"] == "frozen" and blockers(one)[:2] == ["frozen", "off"]
    assert "Try      posternctl unfreeze remote.example" in server.ctl_text("explain", ident).out
    row = server.ctl("explain", "remote.example").rows[0]
    assert row["state"] == "frozen" and blockers(row)[:2] == ["frozen", "off"]
    assert row["recipients"]["ready"] == 1 and row["messages"] == 1
    print(server.ctl_text("explain", "remote.example").out)
    server.ctl("unfreeze", "*.example")
    one, = explained(server, ident)
    assert one["state"] == "off" and blockers(one)[0] == "off"
    assert "Try      posternctl outbound enable" in server.ctl_text("explain", ident).out
    server.ctl("outbound", "enable", "--yes")
    sink.wait()
    server.wait_empty()


def test_what_is_finished_is_told_by_the_history(server, sink):
    sink.refuse["y@remote.example"] = "450 4.2.1 come\x1b[2J later"
    server.configure(retry={"after": ["1h"], "spread": 0})
    server.route("*", sink.via).start()
    ident = server.send(["x@remote.example", "y@remote.example"])
    sink.wait()
    wait_for("one is left, and the history was written", lambda: len(server.ctl("explain", ident).rows[0]["ended"]) == 1
             and blockers(explained(server, ident)[0]) == ["retry"])
    row = server.ctl("explain", ident).rows[0]
    assert row["queued"] and row["ended"][0]["address"] == "x@remote.example"
    assert row["ended"][0]["end"] == "delivered" and sink.ip in row["ended"][0]["remote"]
    one, = row["explanations"]
    assert one["tries"] == 1 and one["last_reply"].startswith("450 4.2.1") and sink.ip in one["remote"]
    assert one["tls"] == row["ended"][0]["tls"] == "none: not offered; opportunistic: no policy"
    screen = server.ctl_text("explain", ident).out
    print(screen)
    assert "\x1b" not in screen and "y@remote.example: RETRY in 59m" in screen
    assert "x@remote.example: DELIVERED" in screen
    del sink.refuse["y@remote.example"]
    server.ctl("retry", ident)
    sink.wait(2)
    server.wait_empty()
    wait_for("the history was written", lambda: len(server.ctl("explain", ident).rows[0]["ended"]) == 2)
    row = server.ctl("explain", ident).rows[0]
    assert not row["queued"] and row["explanations"] == [] and row["from"] == "alice@example.org"
    screen = server.ctl_text("explain", ident).out
    print(screen)
    assert "finished" in screen and "y@remote.example: DELIVERED" in screen


def test_lines_of_included_files_and_of_domains(server):
    (server.directory / "conf.d").mkdir()
    (server.directory / "conf.d" / "routes.toml").write_text(
        '# ours\n\n[[route]]\nto = ["remote.example"]\nvia = ["smtp://127.0.0.1:1"]\ninternal = true\n')
    server.configure(include=["conf.d/*.toml"], delivery={"start": "disabled"})
    server.start()
    server.ctl("freeze", "*", "--reason", "nothing moves", "--future")
    ident = server.send(["x@remote.example", "y@other.example", "bob@example.org"])
    by = {one["queue"]: one for one in explained(server, ident)}
    assert by["remote.example"]["route"]["place"] == "conf.d/routes.toml:3"
    assert "off" not in blockers(by["remote.example"])  # spared
    assert "outbound (internal route)" in by["remote.example"]["passed"]
    assert by["other.example"]["route"]["by"] == "mx" and by["other.example"]["route"]["place"] == ""
    off = by["other.example"]["because"][1]
    assert off["blocker"] == "off" and off["who"] == "configuration"
    assert off["place"] == line_of(server, 'start = "disabled"')
    assert by["local"]["route"] == {"by": "domain", "place": line_of(server, "[[domain]]"), "via": "mailbox",
                                    "way": 1, "ways": 1, "hop": "mailbox:"}


def test_many_recipients_are_gathered(server):
    server.start()
    server.ctl("freeze", "*", "--reason", "nothing moves", "--future")
    recipients = [f"u{n}@{'a' if n % 2 else 'b'}.example" for n in range(500)]
    ident = server.send(recipients)
    by = {one["queue"]: one["addresses"] for one in explained(server, ident)}
    assert by == {"a.example": recipients[1::2], "b.example": recipients[::2]}
    assert "and 247 more: FROZEN" in server.ctl_text("explain", ident).out


@pytest.mark.parametrize("name, words", [("0000000000000", "history does not know it"),
                                         ("no.example", "no mail is queued for no.example"),
                                         ("10.0.0.1:25", "no mail is queued")])
def test_what_nobody_knows(postern, name, words):
    answer = postern.ctl_text("explain", name)
    assert answer.exit == 65 and words in answer.err and not answer.out
