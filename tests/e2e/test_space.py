"""A full disk: 452 before it is full, what is queued goes on, and intake resumes."""
import os
import smtplib
import subprocess
import time

import pytest

from support.server import MX_PORT
from support.waiting import wait_for


def too_much(server):
    free = os.statvfs(server.directory)
    return f"{(free.f_bavail * free.f_frsize >> 30) + 1000}GiB"


def test_intake_stops_and_resumes(server, sink):
    server.route("*", sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "x", "--future")
    server.send("x@remote.example")
    before = server.config["space"]["stop_intake"]
    server.configure(space={"stop_intake": too_much(server)})
    server.write()
    server.ctl("reload")

    def refused():
        hand = server.session_by_hand(MX_PORT)
        hand.expect("EHLO c", "250")
        answer = hand.say("MAIL FROM:<x@remote.example>")
        hand.close()
        return answer.startswith("452 4.3.1")
    wait_for("MAIL is answered 452", refused)
    status = server.status()
    assert not status["intake"]["open"] and status["intake"]["reason"] and status["attention"]
    assert server.ctl_text("status").exit == 1
    server.ctl("unfreeze", "remote.example")  # draining goes on
    sink.wait()
    server.wait_empty()
    server.configure(space={"stop_intake": before})
    server.write()
    server.ctl("reload")
    wait_for("intake resumes", lambda: not refused())
    server.send("bob@example.org", port=MX_PORT)
    server.wait_mail("bob")


@pytest.mark.root
@pytest.mark.parametrize("size", [100_000, 400_000])
def test_a_spool_that_really_fills_up(server, small_disk, size):
    """Nothing acknowledged is lost, nothing refused arrives, and no process dies."""
    server.configure(spool=str(small_disk / "spool"), limits={"message_size": "1MiB", "recipients": 100},
                     space={"stop_intake": "32MiB", "segment": "1MiB", "reserve": "2MiB"})
    server.start()
    server.ctl("freeze", "local", "--reason", "so that it stays", "--future")
    acked = 0
    body = "Subject: x\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72)
    with server.smtp(MX_PORT) as client:
        client.ehlo()
        for _ in range(100_000):
            try:
                code = client.mail("x@remote.example")[0]
                if code != 250:
                    break
                client.rcpt("bob@example.org")
                code = client.data(body)[0]
                if code != 250:
                    break
                acked += 1
                server.status()  # no faster than a disk: the server looks at its space once a second
            except smtplib.SMTPException:
                break
    assert code == 452
    assert acked > 5
    assert server.status()["queue"]["messages"] == acked
    server.ctl("unfreeze", "local")
    server.wait_mail("bob", acked, timeout=90)
    server.wait_empty()
    assert len(server.mailbox("bob")) == acked
    if size > 256 * 1024:  # large files are gone at once; segments may stay for reuse
        def open_again():
            try:
                server.send("bob@example.org", port=MX_PORT)
                return True
            except smtplib.SMTPException:
                return False
        wait_for("intake resumes", open_again)


class Hog:
    """A file of somebody else that takes all room there is."""
    def __init__(self, disk):
        self.path = disk / "hog"

    def fill(self):
        piece = 1 << 20
        with open(self.path, "ab", buffering=0) as file:
            while piece >= 4096:
                try:
                    file.write(b"x" * piece)
                    os.fsync(file.fileno())
                except OSError:
                    piece //= 2

    def free(self):
        self.path.unlink(missing_ok=True)


def mail_is_refused(server, port=MX_PORT):
    hand = server.session_by_hand(port)
    hand.expect("EHLO c", "250")
    answer = hand.say("MAIL FROM:<x@remote.example>")
    hand.close()
    assert answer.startswith(("250", "452 4.3.1")), answer
    return answer.startswith("452")


def on_small_disk(server, disk, **space):
    return server.configure(
        spool=str(disk / "spool"), limits={"message_size": "1MiB", "recipients": 100},
        space={"stop_intake": "0", "segment": "1MiB", "reserve": "4MiB", **space})


def commands_work(server):
    """What the operator does on a full disk."""
    server.ctl("freeze", "held.example", "--reason", "x", "--future")
    server.ctl("unfreeze", "held.example")
    server.ctl("outbound", "disable", "--reason", "x", "--yes")
    server.ctl("outbound", "enable")


@pytest.mark.root
def test_a_final_dot_on_a_disk_that_has_just_become_full(server, small_disk):
    """Every client past its dot hears 250 or 452 at once; what was refused never arrives."""
    on_small_disk(server, small_disk).start()
    server.ctl("freeze", "local", "--reason", "so that it stays", "--future")
    hog = Hog(small_disk)
    wait_for("the reserve is whole", lambda: len(list((small_disk / "spool/reserve").glob("*"))) == 16)
    sessions = [server.session_by_hand(MX_PORT) for _ in range(40)]
    for number, hand in enumerate(sessions):
        hand.begin("<x@remote.example>")
        hand.send(f"Subject: {number}\r\n\r\n".encode() + b"y" * 70 + b"\r\n" + b"z" * 900 + b"\r\n")
        hand.send((b"z" * 900 + b"\r\n") * 220)  # below what goes into a file of its own
    hog.fill()
    began = time.monotonic()
    for hand in sessions:
        hand.send(b".\r\n")
    answers = [hand.reply() for hand in sessions]
    assert time.monotonic() - began < 10
    accepted = {number for number, answer in enumerate(answers) if answer.startswith("250")}
    refused = {number for number, answer in enumerate(answers) if answer.startswith("452 4.3.1")}
    assert accepted | refused == set(range(40)) and refused, answers
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    commands_work(server)
    server.restart()  # on the full disk
    assert server.status()["queue"]["messages"] == len(accepted)
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    commands_work(server)
    hog.free()
    server.ctl("unfreeze", "local")
    wait_for("intake resumes", lambda: not mail_is_refused(server))
    server.wait_mail("bob", len(accepted))
    server.wait_empty()
    arrived = [int(file.read_bytes().split(b"Subject: ")[1].split(b"\r\n")[0].split(b"\n")[0])
               for file in server.mailbox("bob")]
    assert sorted(arrived) == sorted(accepted)


FULL_FOR = 120 if os.environ.get("POSTERN_LONG") else 0  # seconds


def stay_full(server, hog):
    """All the while mail is refused and blocks change. What comes free is left to the server: each change
    takes of the reserve, which is not endless where somebody else takes all that is given back."""
    hog.fill()
    end = time.monotonic() + FULL_FOR
    while time.monotonic() < end:
        assert mail_is_refused(server)
        server.ctl("freeze", "held.example", "--reason", "x", "--future")
        server.ctl("unfreeze", "held.example")
        time.sleep(1)


@pytest.mark.root
def test_a_disk_that_is_full_for_a_while(server, small_disk, sink):
    """452 at MAIL; what is queued, large bodies too, goes out; commands work; intake resumes. The long
    run keeps it full for minutes."""
    on_small_disk(server, small_disk, stop_intake="1MiB")
    server.route("*", sink.via).start()
    server.ctl("outbound", "disable", "--reason", "x", "--yes")
    hog = Hog(small_disk)
    for number in range(30):
        size = 400_000 if number % 10 == 0 else 3_000
        server.send("x@remote.example", f"Subject: {number}\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72))
    hog.fill()
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    assert server.status()["attention"]
    for _ in range(5):  # starts on a full disk, too
        commands_work(server)
        server.ctl("outbound", "disable", "--reason", "x", "--yes")
        hog.fill()
        server.restart()
        wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    queued = server.pids("queued")
    stay_full(server, hog)
    assert server.pids("queued") == queued
    server.ctl("outbound", "enable")
    sink.wait(30)
    server.wait_empty()
    hog.fill()
    commands_work(server)
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    hog.free()
    wait_for("intake resumes", lambda: not mail_is_refused(server))
    server.send("x@remote.example")
    sink.wait(31)


def limit_descriptors(pid, soft):
    """Sets the soft limit of a process, as the user that it belongs to; the one before."""
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status", encoding="ascii"))
    uid, gid = (int(status[key].split()[0]) for key in ("Uid", "Gid"))
    other = {"user": uid, "group": gid, "extra_groups": []} if os.getuid() == 0 else {}
    limits = open(f"/proc/{pid}/limits", encoding="ascii").read()
    before = limits.split("Max open files")[1].split()[0]
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={soft}:"], check=True, **other)
    return before


def test_descriptors_used_up(server, sink):
    """452, and everything else goes on; nothing is lost, and no process ends."""
    server.route("*", sink.via).start()
    server.ctl("outbound", "disable", "--reason", "x", "--yes")
    for number in range(6):
        size = 400_000 if number % 2 == 0 else 3_000
        server.send("x@remote.example", f"Subject: {number}\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72))
    queued, = server.pids("queued")
    used = {int(fd) for fd in os.listdir(f"/proc/{queued}/fd")}
    usual = limit_descriptors(queued, min(set(range(len(used) + 1)) - used))  # not one more
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    commands_work(server)  # the last one enables outbound
    sink.wait(6)
    server.wait_empty()
    wait_for("MAIL is answered 452", lambda: mail_is_refused(server))
    limit_descriptors(queued, usual)
    wait_for("intake resumes", lambda: not mail_is_refused(server))
    server.send("x@remote.example", "Subject: 6\r\n\r\n" + ("y" * 70 + "\r\n") * 6000)
    sink.wait(7)
    server.wait_empty()
    assert server.pids("queued") == [queued]
