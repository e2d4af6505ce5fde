"""Start, stop, orphans, locks, titles, sandboxes."""
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.server import BUILD, MX_PORT
from support.waiting import wait_for

ROLES = ("smtpd", "queued", "relay", "local")


def wait_titles(server):
    wait_for(f"every role shows its title: {server.alive()}",
             lambda: all(server.pids(role) for role in ROLES))


def test_ps_shows_role_and_state(postern):
    wait_titles(postern)
    titles = postern.alive()
    assert len(titles) == 6, titles  # the parent, queued, relay, local, an smtpd for each service
    assert all(title.startswith("postern: ") or pid == postern.process.pid
               for pid, title in titles.items()), titles
    postern.ctl("freeze", "local", "--reason", "x", "--future")
    postern.send("bob@example.org")
    postern.ctl("outbound", "disable", "--reason", "x", "--yes")
    wait_for("queued's title tells",
             lambda: any("1 message" in t and "outbound disabled" in t
                         for t in postern.alive().values()))


def test_every_child_is_in_its_sandbox(postern):
    wait_titles(postern)
    for role in ROLES:
        for pid in postern.pids(role):
            status = dict(line.split(":", 1) for line in
                          Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
            assert status["Seccomp"].strip() == "2", role
            assert status["NoNewPrivs"].strip() == "1", role
            assert int(status["CapEff"].strip(), 16) == 0 or os.getuid() != 0, role
            if os.getuid() == 0:
                assert "0" not in status["Uid"].split(), role
                assert "0" not in status["Gid"].split(), role
                assert status["Groups"].split() == [], role
                assert os.readlink(f"/proc/{pid}/root") != "/", role


def test_children_hold_only_what_they_need(postern):
    """No smtpd holds a file, no queued an internet socket."""
    wait_titles(postern)
    postern.send("bob@example.org")
    postern.wait_mail("bob")
    if os.getuid() != 0:  # they cannot even be looked into by their own user
        for pid in postern.pids("smtpd"):
            with pytest.raises(PermissionError):
                list(Path(f"/proc/{pid}/fd").iterdir())
        return

    def held(role):
        found = []
        for pid in postern.pids(role):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    found.append(os.readlink(entry))
                except FileNotFoundError:
                    pass
        return found
    spool = str(postern.directory / "spool")
    for role in ("smtpd", "relay", "local"):
        assert not [path for path in held(role) if path.startswith(spool)], role
    tcp = set()
    for pid in postern.pids("queued"):
        for table in ("tcp", "tcp6", "udp", "udp6"):
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            tcp |= {f"socket:[{line.split()[9]}]" for line in lines}
    assert not tcp & set(held("queued"))
    assert not [path for path in held("smtpd") if path.startswith(str(postern.directory))]


def test_orderly_stop_is_quick_and_clean(postern):
    postern.send("bob@example.org")
    begin = time.monotonic()
    postern.stop()
    assert time.monotonic() - begin < 10


def test_stop_with_open_sessions(postern):
    idle = postern.session_by_hand()
    busy = postern.session_by_hand()
    busy.begin()
    busy.send(b"half a mess")
    postern.stop()
    assert idle.is_closed() and busy.is_closed()
    assert idle.pending == b"" or idle.pending.startswith(b"421")


def test_queued_mail_survives_a_restart(server, sink):
    server.start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    ids = [server.send("x@remote.example", f"Subject: {n}\r\n\r\n{n}\r\n") for n in range(20)]
    server.route("remote.example", sink.via)
    server.restart()
    assert [m["id"] for m in server.messages()] == ids
    server.ctl("unfreeze", "remote.example")
    sink.wait(20)
    server.wait_empty()
    server.restart()
    assert server.status()["queue"]["messages"] == 0
    fresh = server.send("x@remote.example")
    assert fresh > ids[-1]
    assert len(sink.wait(21)) == 21


def test_no_orphan_after_the_parents_death(server):
    server.start()
    hand = server.session_by_hand()
    hand.begin()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(10)
    wait_for(f"no orphan is left of {server.alive()}", lambda: not server.alive(), 6)
    assert hand.is_closed()
    server.start_again()  # ports and lock are free
    server.send("bob@example.org")
    server.wait_mail("bob")


def test_second_server_on_the_same_spool(server, make_server):
    server.start()
    second = make_server("b")
    second.configure(spool=str(server.directory / "spool"))
    second.may_die = True
    second.write()
    begin = time.monotonic()
    done = subprocess.run([second.program, "-f", "-c", second.file], capture_output=True, text=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert 5 < time.monotonic() - begin < 30
    assert f"use the spool {server.directory}/spool: process " in done.stderr
    assert "(postern: queued" in done.stderr and "has held it for 10 seconds" in done.stderr
    server.send("bob@example.org")
    server.wait_mail("bob")


def test_port_in_use(server, make_server):
    server.start()
    second = make_server("b")
    second.config["listen"] = server.config["listen"]
    second.write()
    done = subprocess.run([second.program, "-f", "-c", second.file], capture_output=True, text=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert f"{server.ip}:2525" in done.stderr
    assert "in use" in done.stderr.lower()


def test_same_program_twice_with_the_same_file(server):
    """Also the control socket of a live server is not taken away."""
    server.start()
    done = subprocess.run([server.program, "-f", "-c", server.file], capture_output=True, text=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert server.status()["attention"] == []


def test_without_f_it_goes_to_the_background(server):
    server.configure(log={"to": "postern.log"}).write()
    with open(server.directory / "stderr", "w", encoding="utf-8") as stderr:
        done = subprocess.run([server.program, "-c", server.file], stdout=subprocess.DEVNULL,
                              stderr=stderr, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (server.directory / "stderr").read_text()
    assert server.status()["processes"]
    server.send("bob@example.org", port=MX_PORT)
    server.wait_mail("bob")
    log = server.directory / "postern.log"
    # Log rotation: the old file is moved away, SIGUSR1 opens a new one.
    parent = [pid for pid, title in every_process().items() if str(server.file) in title]
    assert parent
    log.rename(server.directory / "postern.log.1")
    os.kill(parent[0], signal.SIGUSR1)
    wait_for("a new log file", log.exists)
    server.ctl("stop")
    wait_for("it ended", lambda: not Path(f"/proc/{parent[0]}").exists(), 15)
    assert " message.accepted " in (server.directory / "postern.log.1").read_text()


def every_process():
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = Path(f"/proc/{entry}/cmdline").read_bytes().replace(
                    b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def test_children_are_not_started_by_hand(server):
    for program in ("smtpd/postern-smtpd", "queued/postern-queued", "deliverd/postern-deliverd"):
        done = subprocess.run([BUILD / program, "smtpd"], capture_output=True, text=True, timeout=60,
                              check=False, close_fds=True)
        assert done.returncode == 64 and "postern" in done.stderr
