"""A damaged spool: the server starts, says what is wrong, sets it aside, and delivers everything else."""
import os
import random
import signal

import pytest

from support.sink import without_trace
from support.waiting import wait_for

SEEDS = range(int(os.environ.get("POSTERN_DAMAGE", "200")) // 100)


def die(server):
    """All processes end without a word, as in a power cut."""
    os.killpg(server.session, signal.SIGKILL)
    server.process.wait(10)
    wait_for("all are dead", lambda: not server.alive())


def fill(server, count=30):
    """Mail that stays, some of it large; {unique first line: body}."""
    server.ctl("freeze", "local", "--reason", "so that it stays", "--future")
    bodies = {}
    for n in range(count):
        size = 400_000 if n % 10 == 7 else 3_000
        text = f"X-Number: {n:04}\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72)
        bodies[f"X-Number: {n:04}".encode()] = text.encode()
        server.send("bob@example.org", text)
    return bodies


def arrived(server):
    """{first line: body} of bob's mail; none twice."""
    found = {}
    for path in server.mailbox("bob"):
        body = without_trace(path.read_bytes(), b"\n").replace(b"\n", b"\r\n")
        first = body.split(b"\r\n")[0]
        assert first not in found, f"{first} came twice"
        found[first] = body
    return found


def let_it_go(server):
    """What blocks may still stand, gone; waits until nothing more moves."""
    if server.status()["outbound"]["enabled"] is False:
        server.ctl("outbound", "enable")
    if server.ctl("blocks").rows:
        server.ctl("unfreeze", "local", check=False)


def compare(server, bodies, missing):
    wait_for(f"all but {missing} messages", lambda: len(arrived(server)) >= len(bodies) - missing)
    for first, body in arrived(server).items():
        assert bodies[first] == body, f"{first} is not what was sent"


def segments(server):
    return sorted(path for path in (server.directory / "spool" / "journal").iterdir()
                  if b"X-Number" in path.read_bytes())


@pytest.mark.parametrize("seed", SEEDS)
def test_journals_with_wrong_bits(server, seed):
    server.configure(limits={"recipients": 100}, space={"segment": "1MiB"}).start()
    bodies = fill(server)
    die(server)
    chance = random.Random(seed)
    path = segments(server)[-1]
    data = bytearray(path.read_bytes())
    start = data.index(b"X-Number: 0003")
    data[start + chance.randrange(2000)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    server.start_again()
    server.ctl("unfreeze", "local")
    compare(server, bodies, 1)
    told = wait_for("the damage in the log", lambda: server.events("store.damage"))
    assert told[0]["what"]
    assert any("damage" in phrase for phrase in server.status()["attention"])


def test_a_journal_that_is_cut_and_one_that_is_no_journal(server):
    server.configure(limits={"recipients": 100}, space={"segment": "1MiB"}).start()
    bodies = fill(server)
    die(server)
    journal = server.directory / "spool" / "journal"
    path = segments(server)[0]
    data = path.read_bytes()
    at = data.index(b"X-Number: 0020")
    path.write_bytes(data[:at])
    (journal / "777777").write_bytes(random.Random(1).randbytes(100_000))
    os.chown(journal / "777777", path.stat().st_uid, path.stat().st_gid)
    server.start_again()
    server.ctl("unfreeze", "local")
    compare(server, bodies, 10)  # number 20 and all behind, also the one whose body is a file
    what = " ".join(event["what"] for event in server.events("store.damage"))
    assert "777777" in what and path.name in what
    wait_for("it is set aside", lambda: not (journal / "777777").exists())
    assert any(p.name.startswith("777777") for p in (server.directory / "spool" / "damaged").iterdir())


def test_a_file_that_cannot_be_read_stops_three_starts_at_most(server):
    server.start()
    server.may_die = True
    bodies = fill(server, 5)
    wait_for("the start is complete", lambda: not (server.directory / "spool" / "recovering").exists())
    die(server)
    (server.directory / "spool" / "journal" / "000000").mkdir()  # as a file, it cannot be opened
    for _ in range(2):
        server.launch()
        server.wait_end(71)
    server.start_again()
    server.wait_log("recovery.failed", times="2")
    server.ctl("unfreeze", "local")
    compare(server, bodies, 0)
    assert any("000000" in event["what"] for event in server.events("store.damage"))
    assert not (server.directory / "spool" / "recovering").exists()


@pytest.mark.parametrize("harm", ["flip", "cut", "nothing", "nonsense", "deep"])
def test_damaged_blocks_start_with_outbound_disabled(server, sink, harm):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    server.send("x@remote.example")
    die(server)
    path = server.directory / "spool" / "control.json"
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[data.index(b"remote.example")] ^= 1
    elif harm == "cut":
        del data[len(data) // 2:]
    elif harm == "nothing":
        data = bytearray()
    elif harm == "nonsense":
        data = bytearray(random.Random(3).randbytes(5000))
    else:
        data = bytearray(b'{"v":1,"sum":"0","blocks":' + b"[" * 1_000_000)
    path.write_bytes(data)
    server.start_again()
    status = server.status()
    assert not status["outbound"]["enabled"]
    assert status["outbound"]["who"] == "recovery" and "control.json" in status["outbound"]["reason"]
    assert status["attention"]
    kept = server.directory / "spool" / "damaged" / "control.json.1"
    wait_for("it is kept", kept.exists)
    assert kept.read_bytes() == bytes(data)
    server.send("bob@example.org")  # intake and local delivery go on
    server.wait_mail("bob")
    assert not sink.messages
    server.restart()
    assert not server.status()["outbound"]["enabled"]
    server.ctl("outbound", "enable")
    sink.wait()


def test_an_index_with_wrong_bits_is_set_aside_and_rebuilt(server):
    server.start()
    bodies = fill(server)
    die(server)
    paths = [p for p in (server.directory / "spool").iterdir() if "index" in p.name]
    assert paths
    for path in paths:
        data = bytearray(path.read_bytes())
        for at in range(0, len(data), 512):
            data[at] ^= 0x55
        path.write_bytes(data)
    server.start_again()
    server.ctl("unfreeze", "local")
    compare(server, bodies, 0)
    assert any("index" in event["what"] for event in server.events("store.damage"))
    assert any("index" in p.name for p in (server.directory / "spool" / "damaged").iterdir())


def test_a_large_file_that_nothing_names(server):
    """It goes at the next start; after damage it is kept, for the record that named it may be lost."""
    server.start()
    bodies = fill(server, 10)
    large = server.directory / "spool" / "large"
    orphan = large / "0000000000001"
    orphan.write_text("nobody's")
    server.restart()
    assert not orphan.exists()
    assert len(list(large.iterdir())) == 1
    die(server)
    orphan.write_text("somebody's")
    path = segments(server)[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"X-Number: 0003") + 100] ^= 1
    path.write_bytes(data)
    for old in (server.directory / "spool").glob("index*"):
        old.unlink()
    server.start_again()
    server.ctl("unfreeze", "local")
    compare(server, bodies, 1)
    kept = server.directory / "spool" / "orphans" / orphan.name
    assert kept.read_text() == "somebody's" and not orphan.exists()


def test_a_large_body_with_a_wrong_bit_is_held_and_told(server):
    server.start()
    bodies = fill(server, 10)
    die(server)
    path, = (server.directory / "spool" / "large").iterdir()
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    server.start_again()
    server.ctl("unfreeze", "local")
    compare(server, bodies, 1)
    server.wait_log("message.held", id=path.name)
    assert any(path.name in event["what"] for event in server.events("store.damage"))
    assert path.exists()
