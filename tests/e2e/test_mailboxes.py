"""Mailboxes with a quota, and their folders by extension."""
import os

from support.waiting import wait_for

LARGE = "Subject: large\r\n\r\n" + ("x" * 76 + "\r\n") * 110  # 8.6 KB


def test_a_full_mailbox_waits_for_room(server):
    server.configure(mailbox={"quota": "20KB"}).start()
    server.send("bob@example.org", LARGE)
    server.send("bob@example.org", LARGE)
    (first, _) = server.wait_mail("bob", 2)
    third = server.send("bob@example.org", LARGE)
    waits = server.wait_log("delivery.deferred")
    assert waits["reply"] == "4.2.2 the mailbox is full"
    assert "the mailbox is full" in server.ctl_text("show", third).out
    # Nobody else waits with it.
    server.send("alice@example.org", LARGE)
    server.wait_mail("alice")
    assert len(server.mailbox("bob")) == 2
    first.unlink()
    server.wait_empty(30)  # what lies there is counted every ten seconds
    assert len(server.mailbox("bob")) == 2


def test_what_no_mailbox_can_hold_comes_back(server):
    server.configure(mailbox={"quota": "5KB"}).start()
    server.send("bob@example.org", LARGE)
    bounce = server.wait_mail("alice")[0].read_text()
    assert "5.2.3" in bounce and "larger than the mailbox may be" in bounce
    assert not server.mailbox("bob")
    server.wait_empty()


def test_a_quota_comes_with_a_reload(server):
    server.start()
    server.send("bob@example.org", LARGE)
    server.wait_mail("bob")
    server.configure(mailbox={"quota": "10KB"}).write()
    server.ctl("reload")
    server.send("bob@example.org", LARGE)
    server.wait_log("delivery.deferred")
    server.configure(mailbox={"quota": "0"}).write()
    server.ctl("reload")
    server.wait_mail("bob", 2)


def test_folders_by_extension(server):
    server.configure(mailbox={"folders": True}).start()
    server.send("bob+lists@example.org")
    (path,) = server.wait_mail("bob")
    path.unlink()
    box = path.parents[1]
    owner = box.stat()
    for name in (".lists", ".lists/tmp", ".lists/new", ".lists/cur"):
        (box / name).mkdir()
        os.chown(box / name, owner.st_uid, owner.st_gid)
    server.send("bob+Lists@example.org")
    wait_for("mail in the folder", lambda: list((box / ".lists/new").iterdir()))
    server.send("bob+other@example.org")
    server.wait_mail("bob")
    server.wait_empty()
    assert len(list((box / ".lists/new").iterdir())) == 1
    assert sorted(entry.name for entry in box.iterdir()) == [".lists", "cur", "new", "tmp"]
