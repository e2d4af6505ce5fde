"""check-spool, export and import: a queue is read whole, and goes from one host to another, once."""
import json
import os
import signal
import subprocess
import threading

import pytest

from support.server import BUILD
from support.sink import honest
from support.tree import picture
from support.waiting import wait_for

SIZES = (100, 3_000, 70_000, 700_000)


def fill(server, count=12, queue="far.example", prefix="A"):
    """Mail that stays; {first line: body}. Some has two recipients, some a body in a file."""
    if not server.ctl("blocks").rows:
        server.ctl("freeze", queue, "--reason", "so that it stays", "--future")
    bodies = {}
    for n in range(count):
        first = f"X-Number: {prefix}{n:04}"
        text = first + "\r\n\r\n" + ".dot\r\n" + ("z" * 70 + "\r\n") * (SIZES[n % len(SIZES)] // 72)
        bodies[first.encode()] = text.encode()
        to = [f"x{n}@{queue}"] + ([f"y{n}@{queue}"] if n % 5 == 0 else [])
        server.send(to, text)
    return bodies


def wait_history(server):
    """Lines are written a second after they were said."""
    folder = server.directory / "spool" / "history"
    wait_for("a line of history", lambda: folder.is_dir() and any(
        b"bob@" in path.read_bytes() for path in folder.iterdir()))


def wait_rows(server, count):
    """Until the index has them: mail that ends within a second gets no row."""
    index = server.directory / "spool" / "index"
    wait_for("rows of the index", lambda: index.read_bytes().count(b"@far.example") >= count)


def came(sink):
    """{first line of what was sent: [recipients]}, each recipient once; the body as it was sent."""
    found = {}
    for message in sink.messages:
        first = message.body.split(b"\r\n")[0]
        found.setdefault(first, []).append((message.body, tuple(message.recipients)))
    return found


def expect_all_once(sink, bodies):
    found = came(sink)
    assert set(found) == set(bodies)
    for first, messages in found.items():
        recipients = [r for _, rs in messages for r in rs]
        assert len(recipients) == len(set(recipients)), f"{first} came twice"
        assert all(body == bodies[first] for body, _ in messages), f"{first} is not what was sent"


def release(server):
    """The holds end without a change of anything else."""
    server.ctl("release", "--all", "--yes")


@pytest.fixture
def pair(make_server, sink):
    """One that keeps its mail, and one that will deliver it."""
    old = make_server("old").route("*", "smtp://127.0.0.1:1").start()
    new = make_server("new").route("*", sink.via).start()
    return old, new


@pytest.mark.parametrize("running", [True, False])
def test_a_queue_goes_to_another_host(pair, sink, tmp_path, running):
    old, new = pair
    bodies = fill(old)
    before = {row["id"]: old.ctl("show", row["id"]).rows[0] for row in old.messages()}
    if not running:
        old.stop()
        new.stop()
    file = tmp_path / "queue.postern"
    said = old.ctl("export", file)
    assert "exported 12 messages for 15 recipients" in said.rows[0]["text"]
    assert oct(file.stat().st_mode & 0o777) == "0o600" and list(tmp_path.glob("*.part")) == []
    said = new.ctl("import", file)
    assert said.rows[0]["text"] == "imported 12 messages of 12; they are held"
    if not running:
        old.start_again()
        new.start_again()
    # Both hold it: nothing is there twice, nothing goes out.
    assert all("exported" in row["why"] for row in old.messages())
    rows = new.messages()
    assert len(rows) == 12 and all(row["why"] == "imported" for row in rows)
    assert not sink.messages
    for row in rows:
        shown = new.ctl("show", row["id"]).rows[0]
        origin = before[shown["origin"]]
        assert shown["id"] != shown["origin"]
        for key in ("from", "hello", "client", "arrived", "size", "bounce"):
            assert shown[key] == origin[key], key
        assert ([r["address"] for r in shown["recipients"]]
                == [r["address"] for r in origin["recipients"]])
        assert f"origin is {shown['origin']}" in new.ctl_text("show", row["id"]).out
    # Again: it is known.
    assert "imported whole before" in new.ctl("import", file).rows[0]["text"]
    assert new.ctl("import", "--again", file).rows[0]["text"] == (
        "imported 0 messages of 12; 12 were here already; they are held")
    assert len(new.messages()) == 12
    release(new)
    new.wait_empty()
    expect_all_once(sink, bodies)


def test_what_a_try_was_told_goes_with_the_mail(make_server, sink, tmp_path):
    """And how its session was secured, or why it was not."""
    sink.refuse = {"later@far.example": "451 4.7.1 greylisted, try again"}
    old, new = (make_server(name).configure(retry={"after": ["1h"]}).route("*", sink.via).start()
                for name in ("old", "new"))
    ident = old.send("later@far.example")
    old.wait_log("delivery.deferred", id=ident)

    def told(server):
        row, = server.messages()
        recipient, = server.ctl("show", row["id"]).rows[0]["recipients"]
        return {key: recipient[key] for key in ("tries", "last_try", "last_reply", "remote", "tls")}
    before = told(old)
    assert before["tls"].startswith("none: not offered"), before
    old.ctl("export", tmp_path / "queue.postern")
    new.ctl("import", tmp_path / "queue.postern")
    assert told(new) == before


@pytest.mark.parametrize("running", [True, False])
def test_remove_and_release(pair, sink, tmp_path, running):
    old, new = pair
    bodies = fill(old)
    if not running:
        old.stop()
        new.stop()
    file = tmp_path / "queue.postern"
    assert "removed 12 messages from here" in old.ctl("export", "--remove", file).rows[0]["text"]
    assert "removed 0 messages" in old.ctl("export", "--remove", file).rows[0]["text"]
    assert new.ctl("import", "--release", file).rows[0]["text"].endswith("they go out")
    if not running:
        old.start_again()
        new.start_again()
    assert old.messages() == []
    new.wait_empty()
    expect_all_once(sink, bodies)
    # All of it went; the same file once more takes nothing.
    assert "imported whole before" in new.ctl("import", "--release", file).rows[0]["text"]
    assert new.messages() == [] and len(sink.messages) == len(came(sink))
    if running:
        ends = {row["end"] for row in old.ctl("history").rows}
        assert ends == {"removed"}


def test_keep_lets_it_go_on(make_server, sink, tmp_path):
    server = make_server().route("*", sink.via).start()
    bodies = fill(server)
    file = tmp_path / "copy"
    assert "they may arrive twice" in server.ctl("export", "--keep", file).rows[0]["text"]
    server.ctl("unfreeze", "far.example")
    server.wait_empty()
    expect_all_once(sink, bodies)


def test_what_is_in_delivery_is_waited_for(make_server, make_script, tmp_path):
    """A message that a next hop is just taking is not written as if it were still here."""
    go = threading.Event()

    def script(line, state):
        if state.get("data") and line == ".":
            go.wait(30)
        return honest(line, state)
    hop = make_script(script)
    server = make_server().route("*", hop.via).start()
    server.send("x@slow.example")
    wait_for("the message on its way", lambda: "." in hop.lines)
    file = tmp_path / "queue"
    export = subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, "export", file],
                              stdout=subprocess.PIPE, text=True)
    server.wait_log("message.held")
    assert export.poll() is None
    go.set()
    out, _ = export.communicate(timeout=60)
    assert export.returncode == 0 and "exported 0 messages" in out
    server.wait_empty()


def test_bad_files_and_names(postern, tmp_path):
    file = tmp_path / "queue"
    postern.ctl("freeze", "local", "--reason", "stay", "--future")
    postern.send("bob@example.org")
    assert postern.ctl("export", tmp_path / "no" / "where", check=False).exit == 73
    postern.ctl("export", file)
    assert "there already" in postern.ctl_text("export", file).err
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    cut = postern.ctl_text("import", file)
    assert cut.exit == 65 and "is cut off behind byte" in cut.err
    file.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert "is damaged at byte" in postern.ctl_text("import", file).err
    file.write_bytes(b"hello\n")
    assert "is no file that posternctl export wrote" in postern.ctl_text("import", file).err
    assert len(postern.messages()) == 1
    # What is here, held by an export, is not taken a second time.
    file.write_bytes(whole)
    assert "1 were here already" in postern.ctl("import", file).rows[0]["text"]


# --- check-spool -------------------------------------------------------------------------------------

def check(server, expected=0):
    answer = server.ctl("check-spool", check=False)
    assert answer.exit == expected, answer.out + answer.err
    rows = answer.rows
    assert rows[-1]["findings"] == len(rows) - 1
    return rows


def test_a_healthy_spool_has_nothing_wrong(make_server, sink):
    server = make_server().route("*", sink.via).start()
    bodies = fill(server)
    server.send("bob@example.org")
    server.wait_mail("bob")
    wait_history(server)
    text = check(server)[-1]["summary"]
    assert f"checked {len(bodies)} messages with" in text and "3 in large files" in text
    assert "1 lines of history" in text
    wait_rows(server, len(bodies))
    server.stop()
    before = picture(server.directory / "spool")
    text = check(server)[-1]["summary"]
    assert f"checked {len(bodies)} messages with" in text and "12 rows of the index" in text
    assert picture(server.directory / "spool") == before
    server.start_again()
    assert len(server.messages()) == len(bodies)


def test_offline_after_a_kill_changes_nothing_and_finds_nothing(server):
    server.start()
    server.may_die = True
    fill(server)
    os.killpg(server.session, signal.SIGKILL)
    server.process.wait(10)
    wait_for("all are dead", lambda: not server.alive())
    before = picture(server.directory / "spool")
    check(server)
    assert picture(server.directory / "spool") == before


def in_journal(server, text):
    for path in sorted((server.directory / "spool" / "journal").iterdir()):
        at = path.read_bytes().find(text)
        if at >= 0:
            return path, at
    raise AssertionError(f"{text} is in no segment")


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def damage_body(server):
    flip(*in_journal(server, b"X-Number: A0001"))


def damage_large(server):
    path = sorted((server.directory / "spool" / "large").iterdir())[0]
    flip(path, 5_000)


def remove_large(server):
    sorted((server.directory / "spool" / "large").iterdir())[0].unlink()


def damage_index(server):
    path = server.directory / "spool" / "index"
    data = path.read_bytes()
    flip(path, data.index(b"far.example", 3 * 4096))


def damage_control(server):
    flip(server.directory / "spool" / "control.json", 60)


def remove_control(server):
    (server.directory / "spool" / "control.json").unlink()


def damage_history(server):
    path = next((server.directory / "spool" / "history").iterdir())
    flip(path, path.read_bytes().index(b" ", len(b"postern history 1\n")))


@pytest.mark.parametrize("damage, words", [
    (damage_body, "segment 1 of the journal (file "),
    (damage_large, "has a wrong checksum"),
    (remove_large, "is missing"),
    (damage_index, "file index: "),
    (damage_control, "file control.json: "),
    (remove_control, "file control.json is missing"),
    (damage_history, "file history/"),
])
def test_damage_is_named_and_nothing_is_changed(server, damage, words):
    server.start()
    fill(server, 8)
    server.send("bob@example.org")
    server.wait_mail("bob")
    wait_rows(server, 8)
    server.stop()
    damage(server)
    before = picture(server.directory / "spool")
    rows = check(server, 65)
    assert any(words in row.get("finding", "") for row in rows), rows
    assert picture(server.directory / "spool") == before


@pytest.mark.parametrize("damage, words", [(damage_large, "has a wrong checksum"),
                                           (damage_history, "makes no sense")])
def test_damage_is_found_while_mail_flows(server, damage, words):
    server.start()
    fill(server, 8)
    server.send("bob@example.org")
    server.wait_mail("bob")
    wait_history(server)
    damage(server)
    rows = check(server, 65)
    assert any(words in row.get("finding", "") for row in rows), rows


def test_a_spool_that_is_in_use_is_named(postern, tmp_path):
    """Another configuration of the same spool, whose server is not found by its socket."""
    other = tmp_path / "other.toml"
    text = postern.file.read_text().replace(str(postern.runtime), str(tmp_path / "nowhere"))
    text = text.replace('"spool"', json.dumps(str(postern.directory / "spool")))
    other.write_text(text)
    done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", other, "check-spool"],
                          capture_output=True, text=True, check=False)
    pid = postern.pids("queued")[0]
    assert done.returncode == 75
    assert f"process {pid} (postern: queued" in done.stderr, done.stderr


# --- Killed in the middle ----------------------------------------------------------------------------

def posternctl(server, *words):
    return subprocess.Popen([BUILD / "ctl" / "posternctl", "-c", server.file, *words],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("victim", ["posternctl", "queued"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_killed_in_an_export(pair, sink, tmp_path, victim, share):
    old, new = pair
    bodies = fill(old, 16)
    file = tmp_path / "queue"
    part = tmp_path / "queue.part"
    whole = sum(len(body) for body in bodies.values())
    export = posternctl(old, "export", "--remove", file)
    wait_for("a part of the file, or all of it", lambda: file.exists() or (
        part.exists() and part.stat().st_size > share * whole))
    if victim == "posternctl":
        export.kill()
    else:
        old.kill("queued")
    export.wait(60)
    wait_for("queued answers", lambda: old.ctl("status", check=False).exit in (0, 1))
    wait_for("its mail is loaded", lambda: old.ctl("export", "--remove", file, check=False).exit == 0)
    assert old.messages() == []
    new.ctl("import", "--release", file)
    new.wait_empty()
    expect_all_once(sink, bodies)


@pytest.mark.parametrize("victim", ["posternctl", "queued"])
@pytest.mark.parametrize("count", [1, 6, 14])
def test_killed_in_an_import(pair, sink, tmp_path, victim, count):
    old, new = pair
    bodies = fill(old, 16)
    file = tmp_path / "queue"
    old.ctl("export", file)
    taking = posternctl(new, "import", "--release", file)
    wait_for("some are taken", lambda: taking.poll() is not None
             or new.status()["queue"]["messages"] >= count)
    if victim == "posternctl":
        taking.kill()
    else:
        new.kill("queued")
    taking.wait(60)
    wait_for("queued answers", lambda: new.ctl("status", check=False).exit in (0, 1))
    wait_for("imported", lambda: new.ctl("import", "--release", file, check=False).exit == 0)
    new.wait_empty()
    expect_all_once(sink, bodies)
