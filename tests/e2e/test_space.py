"""A full disk: 452 before it is full, what is queued goes on, and intake resumes."""
import os
import smtplib

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


@pytest.mark.parametrize("size", [100_000, 400_000])
def test_a_spool_that_really_fills_up(server, small_disk, size):
    """Nothing acknowledged is lost, nothing refused arrives, and no process dies."""
    if small_disk is None:
        print("did not run: only root may mount a small disk")
        return
    server.configure(spool=str(small_disk / "spool"), space={"stop_intake": "32MiB", "segment": "1MiB"})
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
