"""Hold and release: messages and, by standing holds, what comes; durable, with a reason."""
import pytest

from support.waiting import wait_for


def test_held_messages_stay_and_go(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "until they are held", "--future")
    held = server.send("x@remote.example")
    free = server.send("y@remote.example")
    said = server.ctl("hold", held, "--reason", "suspect").rows[0]
    assert said["exit"] == 0 and said["text"] == "held 1 message"
    fields = server.wait_log("message.held", id=held)
    assert "suspect" in fields["reason"]
    assert [row["id"] for row in server.messages("--state", "held")] == [held]
    server.ctl("unfreeze", "remote.example")
    assert sink.wait()[0].recipients == ["y@remote.example"]
    wait_for("the free one is gone", lambda: [row["id"] for row in server.messages()] == [held])
    shown = server.ctl("show", held).rows[0]["recipients"][0]
    assert shown["state"] == "held" and "suspect" in shown["why"]
    assert server.status()["queue"]["held"] == 1 and server.status()["queue"]["frozen"] == 0
    assert server.queues()["remote.example"]["state"] == "held"
    # Retry overrides no block.
    server.ctl("retry", "--all", "--yes")
    assert server.ctl("release", free, check=False).exit == 65
    assert len(sink.messages) == 1
    assert server.ctl("release", held).rows[0]["text"] == "released 1 message; expire within 24h: 0"
    server.wait_log("message.released", id=held)
    sink.wait(2)
    server.wait_empty()


def test_a_hold_outlives_kill_and_a_lost_index(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "until they are held", "--future")
    idents = [server.send("x@remote.example") for _ in range(5)]
    server.ctl("hold", "--to", "x@remote", "--reason", "kept")
    server.kill("queued")  # right after the tool's success
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1)
             and [m["id"] for m in server.messages("--state", "held")] == idents)
    server.stop()
    server.damage_index()
    server.start_again()
    wait_for("all are held", lambda: [m["id"] for m in server.messages("--state", "held")] == idents)
    server.ctl("unfreeze", "remote.example")
    assert not sink.messages
    server.ctl("release", "--all", "--yes")
    sink.wait(5)
    server.wait_empty()


def test_a_standing_hold_takes_what_comes(server, sink):
    server.route("*", sink.via).start()
    server.ctl("hold", "--from", "spam@", "--also-new", "--reason", "account stolen")
    held = server.send("x@remote.example", sender="spam@example.org")
    server.kill("queued")
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1)
             and server.ctl("blocks", check=False).out)
    row = server.ctl("blocks").rows[0]
    assert (row["kind"], row["name"], row["reason"]) == ("hold", "--from spam@", "account stolen")
    assert row["who"] and row["since"]
    also = server.send(["x@remote.example", "bob@example.org"], sender="spam@example.org")
    server.send("y@remote.example")
    assert sink.wait()[0].recipients == ["y@remote.example"]
    assert [m["id"] for m in server.messages("--state", "held")] == [held, also]
    assert not server.mailbox("bob")
    server.ctl("release", "--from", "spam@")
    assert server.ctl("blocks").rows == []
    sink.wait(3)
    server.wait_mail("bob")
    server.send("z@remote.example", sender="spam@example.org")
    sink.wait(4)


@pytest.mark.parametrize("words, status", [
    (["hold", "--reason", "x"], 64), (["release"], 64), (["hold", "--all", "--yes"], 64),
    (["hold", "--all", "--also-new", "--reason", "x"], 64),
    (["hold", "--older", "1d", "--also-new", "--reason", "x"], 64),
    (["hold", "0000000000001", "--reason", "x"], 65), (["release", "0000000000001"], 65),
    (["hold", "--client", "10.0.0.1/8", "--reason", "x"], 64),
])
def test_mistakes(postern, words, status):
    assert postern.ctl(*words, check=False).exit == status
    assert postern.ctl("blocks").rows == []


def test_dry_run_changes_nothing(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    ident = server.send("x@remote.example")
    listed, said = server.ctl("hold", "--client", "127.0.0.0/8", "--reason", "x", "--dry-run").rows
    assert listed["id"] == ident and said["text"] == "would have held 1 message"
    assert server.messages("--state", "held") == []
    assert [row.get("text") for row in server.ctl("release", "--all", "--dry-run").rows] == [
        "would have released 0 messages; expire within 24h: 0"]
    server.ctl("hold", ident, "--reason", "x")
    listed, said = server.ctl("release", "--all", "--dry-run").rows
    assert listed["id"] == ident and said["text"].startswith("would have released 1 message;")
    assert [m["id"] for m in server.messages("--state", "held")] == [ident]
