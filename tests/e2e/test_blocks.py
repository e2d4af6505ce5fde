"""Freeze and outbound disable: at once, durable, with a reason, and nothing else stops."""
import json

from support.server import send_on
from support.waiting import wait_for


def test_a_frozen_queue_keeps_its_mail_and_lets_it_go(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "they asked for it", "--future")
    ident = server.send("x@remote.example")
    server.send("x@other.example")
    assert sink.wait()[0].recipients == ["x@other.example"]
    block = server.ctl("blocks").rows
    assert len(block) == 1
    assert (block[0]["kind"], block[0]["name"]) == ("freeze", "remote.example")
    assert block[0]["reason"] == "they asked for it" and block[0]["who"] and block[0]["since"]
    assert [m["id"] for m in server.messages()] == [ident]
    server.ctl("unfreeze", "remote.example")
    sink.wait(2)
    server.wait_empty()
    assert server.ctl("blocks").rows == []


def test_a_freeze_survives_restart_and_kill(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "kept", "--future")
    server.send("x@remote.example")
    server.restart()
    assert server.queues()["remote.example"]["state"] == "frozen"
    server.kill("queued")
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1)
             and server.queues().get("remote.example", {}).get("state") == "frozen")
    assert server.ctl("blocks").rows[0]["reason"] == "kept"
    assert not sink.messages
    server.ctl("unfreeze", "remote.example")
    sink.wait()


def test_freeze_by_pattern(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "*.remote.example", "--reason", "all below", "--future")
    server.send("x@a.remote.example")
    server.send("x@b.remote.example")
    server.send("x@remote.example")
    assert sink.wait()[0].recipients == ["x@remote.example"]
    assert {name for name, row in server.queues().items() if row["state"] == "frozen"} == {
        "a.remote.example", "b.remote.example"}
    server.ctl("unfreeze", "*.remote.example")
    sink.wait(3)


def test_freeze_local(postern):
    postern.ctl("freeze", "local", "--reason", "moving the mailboxes", "--future")
    postern.send("bob@example.org")
    assert postern.queues()["local"]["state"] == "frozen"
    postern.ctl("unfreeze", "local")
    postern.wait_mail("bob")


def test_freeze_while_mail_is_being_delivered(server, make_script):
    """Nothing starts after the freeze was reported."""
    from support.sink import honest
    script = make_script(honest)
    server.route("*", script.via, connections=2).start()
    with server.smtp() as client:
        for n in range(30):
            send_on(client, "alice@example.org", ["x@remote.example"], f"\r\n{n}\r\n")
        server.ctl("freeze", "remote.example", "--reason", "stop", "--future")
        before = sum(line.startswith("MAIL") for line in list(script.lines))
        for n in range(5):
            send_on(client, "alice@example.org", ["x@remote.example"], f"\r\n{n}\r\n")
    assert server.queues()["remote.example"]["messages"] >= 5
    assert server.queues()["remote.example"]["connections"] == 0
    after = sum(line.startswith("MAIL") for line in list(script.lines))
    assert after == before
    server.ctl("unfreeze", "remote.example")
    server.wait_empty()
    assert sum(line.startswith("MAIL") for line in script.lines) == 35


def test_outbound_disable_spares_local_mail(server, make_sink):
    out, inner = make_sink(), make_sink()
    server.route("*", out.via).route("corp.example", inner.via, internal=True).start()
    server.ctl("outbound", "disable", "--reason", "spam run", "--yes")
    server.send(["x@remote.example", "y@corp.example", "bob@example.org"])
    server.wait_mail("bob")
    assert inner.wait()[0].recipients == ["y@corp.example"]
    row = server.queues()["remote.example"]
    assert row["state"] == "off" and row["messages"] == 1
    status = server.status()
    assert not status["outbound"]["enabled"] and status["outbound"]["reason"] == "spam run"
    assert status["outbound"]["who"] and status["attention"]
    server.restart()
    assert not server.status()["outbound"]["enabled"]
    assert server.ctl("blocks").rows[0]["kind"] == "outbound"
    assert not out.messages
    server.ctl("outbound", "enable", "--yes")
    out.wait()
    server.wait_empty()


def test_outbound_disable_all(server, make_sink):
    inner = make_sink()
    server.route("corp.example", inner.via, internal=True).start()
    server.ctl("outbound", "disable", "--reason", "everything", "--all", "--yes")
    server.send("y@corp.example")
    server.send("bob@example.org")
    server.wait_mail("bob")
    assert server.queues()["corp.example"]["state"] == "off"
    server.ctl("outbound", "enable", "--yes")
    inner.wait()


def test_start_disabled(server, sink):
    server.configure(delivery={"start": "disabled"})
    server.route("*", sink.via).start()
    server.send("x@remote.example")
    assert not server.status()["outbound"]["enabled"]
    assert server.queues()["remote.example"]["state"] == "off"
    server.ctl("outbound", "enable", "--yes")
    sink.wait()


def test_damaged_blocks_start_with_outbound_off(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    server.send("x@remote.example")
    server.stop()
    control = server.directory / "spool" / "control.json"
    json.loads(control.read_text())
    control.write_text(control.read_text()[:-10])
    server.start_again()
    status = server.status()
    assert not status["outbound"]["enabled"]
    assert "recovery" in status["outbound"]["who"] + status["outbound"]["reason"]
    assert status["attention"]
    server.send("bob@example.org")
    server.wait_mail("bob")
    assert not sink.messages
    server.ctl("outbound", "enable", "--yes")
    sink.wait()


def test_missing_blocks_in_a_used_spool(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    server.send("x@remote.example")
    server.stop()
    (server.directory / "spool" / "control.json").unlink()
    server.start_again()
    assert not server.status()["outbound"]["enabled"]


def test_a_foreign_reason_cannot_steer_a_terminal(postern):
    postern.ctl("freeze", "remote.example", "--reason", "a\x1b[2J\nb", "--future")
    assert "\x1b" not in postern.ctl_text("blocks").out
    assert len(postern.ctl_text("blocks").out.splitlines()) == 2
    assert postern.ctl("blocks").rows[0]["reason"]
