"""What became of finished mail, as posternctl history tells it."""
from support.server import MX_PORT
from support.waiting import wait_for


def rows(server, *words):
    return server.ctl("history", *words).rows


def test_every_end_is_told(server, sink):
    sink.refuse["no@remote.example"] = "550 5.1.1 nobody <here>"
    server.route("*", sink.via).start()
    delivered = server.send("yes@remote.example")
    failed = server.send(["no@remote.example", "yes@remote.example"], sender="x@remote.example")
    local = server.send("bob@example.org", port=MX_PORT)
    server.wait_empty()
    found = wait_for("five ends", lambda: (r := rows(server)) if len(rows(server)) == 5 else None)
    assert {row["v"] for row in found} == {1}
    by_id = {(row["id"], row["to"]): row for row in found}
    row = by_id[delivered, "yes@remote.example"]
    assert row["end"] == "delivered" and row["remote"].endswith(":2627") and row["tries"] == 1
    assert row["tls"] == "none: not offered; opportunistic: no policy"
    assert row["from"] == "alice@example.org" and row["client"] == "127.0.0.1" and row["reply"]
    assert row["arrived"] <= row["ended"]
    row = by_id[failed, "no@remote.example"]
    assert row["end"] == "bounced" and row["reply"] == "550 5.1.1 nobody <here>"
    assert by_id[local, "bob@example.org"]["queue"] == "local"
    assert by_id[local, "bob@example.org"]["tls"] == ""
    notice, = (row for row in found if row["from"] == "")
    assert notice["to"] == "x@remote.example" and notice["end"] == "delivered"

    assert len(rows(server, "--queue", "local")) == 1
    assert len(rows(server, failed)) == 2
    assert len(rows(server, "--error", "nobody")) == 1
    assert rows(server, "--older", "1h") == []
    assert "550 5.1.1 nobody <here>" in server.ctl_text("history", "--to", "no@").out
    assert server.ctl_text("history", "--to", "nowhere").out == "nothing of it is in the history\n"

    # It survives a restart, and a line that was cut.
    server.stop()
    file, = (server.directory / "spool" / "history").iterdir()
    with open(file, "ab") as history:
        history.write(file.read_bytes().splitlines()[1][:60])
    server.start_again()
    again = server.send("bob@example.org", port=MX_PORT)
    wait_for("the new one is there", lambda: len(rows(server, again)) == 1)
    assert len(rows(server)) == 6


def test_without_history(server):
    server.configure(history={"keep": "0"}).start()
    server.send("bob@example.org", port=MX_PORT)
    server.wait_empty()
    assert rows(server) == []
    assert not (server.directory / "spool" / "history").exists() or \
        not list((server.directory / "spool" / "history").iterdir())
