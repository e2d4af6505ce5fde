"""Mailboxes that are their users' own: who files into them, and what a user can do to that. POSTERN_LONG: 10,000
deliveries against an attacker."""
import itertools
import os
import pwd
import random
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from support import attacker
from support.figures import note
from support.host_users import ALICE, BOB, CAROL, HostUsers
from support.server import send_on
from support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.root

DELIVERIES = 10_000 if os.environ.get("POSTERN_LONG") else 500
KILLS = int(os.environ.get("POSTERN_KILLS", "5"))
LARGE = "Subject: large\r\n\r\n" + ("x" * 76 + "\r\n") * 110  # 8.6 KB


@pytest.fixture
def host(tmp_path):
    return HostUsers(tmp_path / "host")


@pytest.fixture
def owned(make_server, host):
    """Not started."""
    return make_server(program=host.program).configure(mailbox={"owner": "user"})


@pytest.fixture
def public():
    """A directory of root's that everybody can look into."""
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def owner_of(path):
    info = path.lstat()
    return info.st_uid, info.st_gid, oct(info.st_mode & 0o7777)


def status_of(pid, key):
    return re.search(rf"^{key}:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1).split()


def test_mail_is_filed_as_its_user(owned):
    owned.start()
    owned.send(["alice@example.org", "bob+x@example.org"])
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        mail, = owned.wait_mail(name)
        assert owner_of(mail) == (uid, uid, "0o600")
        box = mail.parents[1]
        for directory in (box, *(box / sub for sub in ("new", "tmp", "cur"))):
            assert owner_of(directory) == (uid, uid, "0o700")
        assert owner_of(box.parent) == (0, 0, "0o755")
    boxes = {os.readlink(f"/proc/{pid}/root"): pid for pid in owned.pids("mailbox")}
    assert boxes.keys() == {str(owned.directory / "mail/example.org" / name) for name in ("alice", "bob")}
    alice = boxes[str(owned.directory / "mail/example.org/alice")]
    assert status_of(alice, "Uid") == status_of(alice, "Gid") == [str(ALICE)] * 4
    assert status_of(alice, "Groups") == [] and status_of(alice, "NoNewPrivs") == ["1"]
    assert int(status_of(alice, "CapEff")[0], 16) == 0 and status_of(alice, "Seccomp") == ["2"]
    local, = owned.pids("local")
    assert os.readlink(f"/proc/{local}/root") == str(owned.runtime / "empty")
    assert status_of(local, "Uid")[0] == str(pwd.getpwnam("_postern-local").pw_uid)
    # A second message finds them; without any they end.
    owned.send("alice@example.org")
    owned.wait_mail("alice", 2)
    assert alice in owned.pids("mailbox")
    wait_for("the processes end without mail", lambda: not owned.pids("mailbox"))
    owned.send("alice@example.org")
    owned.wait_mail("alice", 3)
    owned.stop()


def test_folders_quota_and_large_bodies(owned):
    owned.configure(mailbox={"folders": True, "quota": "2MB"}).start()
    owned.send("alice+lists@example.org")
    mail, = owned.wait_mail("alice")
    box = mail.parents[1]
    for name in (".lists", ".lists/tmp", ".lists/new", ".lists/cur"):
        (box / name).mkdir()
        os.chown(box / name, ALICE, ALICE)
    owned.send("alice+Lists@example.org", LARGE * 100)  # so large that it comes as a file
    wait_for("mail in the folder", lambda: list((box / ".lists/new").iterdir()))
    filed, = (box / ".lists/new").iterdir()
    assert owner_of(filed) == (ALICE, ALICE, "0o600")
    assert filed.read_bytes().count(b"x" * 76 + b"\n") == 11_000
    owned.send("alice@example.org", LARGE * 200)
    waits = owned.wait_log("delivery.deferred")
    assert waits["reply"] == "4.2.2 the mailbox is full"
    owned.send("bob@example.org")
    owned.wait_mail("bob")  # nobody else waits with it


def refused(server):
    """What the program says of the configuration, alike at a check and at a start."""
    server.write()
    said = []
    for option in ("-n", "-f"):
        done = subprocess.run([server.program, option, "-c", server.file], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 78, done.stderr
        said.append(done.stderr)
    assert said[0] == said[1]
    return said[0]


def test_who_has_no_mailbox_is_a_mistake(owned, host):
    host.set(alice=ALICE, carol=500)
    users = owned.directory / "users"
    assert refused(owned) == (
        f'{users}:2:1: "bob": no user of this host has this name, so its mailbox has no owner\n'
        f'{users}:3:1: "carol": the uid of this user, 500, is below mailbox.min_uid (1000)\n')
    host.set(alice=ALICE, bob=BOB, carol=500)
    owned.configure(mailbox={"min_uid": 500}).start()
    owned.send("carol@example.org")
    mail, = owned.wait_mail("carol")
    assert owner_of(mail)[0] == 500


def test_a_reload_looks_users_up(owned, host):
    owned.start()
    owned.send("alice@example.org")
    owned.wait_mail("alice")
    users = owned.directory / "users"
    users.write_text("alice\nbob\ncarol\ndave\n")
    answer = owned.ctl("reload", check=False)
    assert answer.exit == 78
    assert f'{users}:4:1: "dave": no user of this host' in owned.ctl_text("reload").err
    host.set(alice=ALICE, bob=BOB, carol=CAROL, dave=BOB)
    owned.configure(mailbox={"folders": True}).write()
    before = owned.pids("mailbox")
    owned.ctl("reload")
    owned.send("dave@example.org")
    mail, = owned.wait_mail("dave")
    assert owner_of(mail)[0] == BOB
    wait_for("processes of the old configuration end", lambda: not set(before) & set(owned.pids("mailbox")))
    owned.send("alice@example.org")
    owned.wait_mail("alice", 2)


def test_it_needs_root(make_server, public):
    server = make_server()
    server.directory = public
    server.file = public / "postern.toml"
    server.configure(mailbox={"owner": "user"}, postmaster="nobody@example.org")
    (public / "users").write_text("nobody\n")
    server.write()
    done = subprocess.run([server.program, "-f", "-c", server.file], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False, user="nobody", group="nogroup", extra_groups=[])
    assert done.returncode == 71
    assert 'mailbox.owner = "user": only root can file mail as each of its users' in done.stderr


WRONG = {
    "another user's": (lambda box: os.chown(box, ALICE, ALICE),
                       f"belongs to uid {ALICE}, neither to root nor to its user (uid {BOB})"),
    "root's": (lambda box: None, f"belongs to uid 0, not to its user (uid {BOB})"),
    "open to others": (lambda box: (os.chown(box, BOB, BOB), box.chmod(0o770)), "may be written to by others (mode 0770)"),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_mailbox_that_is_not_its_users_is_left_alone(owned, which):
    spoil, reason = WRONG[which]
    box = owned.directory / "mail/example.org/bob"
    owned.configure(retry={"after": ["1h"]}).start()
    owned.send("alice@example.org")
    owned.wait_mail("alice")
    box.mkdir(0o700)
    spoil(box)
    ident = owned.send("bob@example.org")
    waits = owned.wait_log("delivery.deferred", to="bob@example.org")
    assert waits["reply"] == f"4.3.0 the mailbox cannot be filed into: {box} {reason}"
    assert reason in owned.wait_log("mailbox.trouble")["error"]
    assert reason in owned.ctl_text("explain", ident).out
    assert not list(box.iterdir()) and not owned.events("process.died")
    os.chown(box, BOB, BOB)
    box.chmod(0o700)
    owned.ctl("retry", ident)
    owned.wait_mail("bob")


def test_no_link_is_followed_to_a_mailbox(owned):
    owned.configure(retry={"after": ["1h"]}).start()
    owned.send("alice@example.org")
    box = owned.wait_mail("alice")[0].parents[1]
    box.with_name("bob").symlink_to(box)
    owned.send("bob@example.org")
    waits = owned.wait_log("delivery.deferred")
    assert waits["reply"].endswith(f"{box.with_name('bob')} is a symbolic link, which is not followed")
    assert len(owned.mailbox("alice")) == 1


def test_a_root_that_others_may_write_to_is_refused(owned):
    root = owned.directory / "mail"
    root.mkdir()
    root.chmod(0o775)
    owned.write()
    done = subprocess.run([owned.program, "-f", "-c", owned.file], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 71
    assert f"{root} may be written to by others (mode 0775): it must be root's alone" in done.stderr


# --- What becomes of messages, each known by a number in its subject ---------------------------------------

NUMBER = re.compile(rb"^Subject: number (\d+)\r?$", re.MULTILINE)


def send_many(server, to, count, first=0):
    with server.smtp() as client:
        for number in range(first, first + count):
            send_on(client, "carol@example.org", [to], f"Subject: number {number}\r\n\r\nhi\r\n")


def filed(home):
    """The number of each message that bears the name of one that was filed, wherever below; as often as it is there."""
    numbers, seen = [], set()
    for directory, _, names in os.walk(home):
        for name in names:
            path = Path(directory, name)
            info = path.lstat()
            if ",S=" in name and info.st_ino not in seen:
                seen.add(info.st_ino)
                numbers.append(int(NUMBER.search(path.read_bytes()).group(1)))
    return numbers


def drain(server):
    def is_empty():
        server.ctl("retry", "--all", "--yes", check=False)
        return server.status()["queue"]["messages"] == 0
    wait_for("all is filed", is_empty, 10 * PATIENCE)


def test_kill_9_in_the_middle_of_deliveries_loses_and_doubles_nothing(owned):
    owned.may_die = True
    owned.start()
    sent, over = itertools.count(), threading.Event()

    def send():
        while not over.is_set():
            send_many(owned, "alice@example.org", 1, next(sent))
    sender = threading.Thread(target=send)
    sender.start()
    luck = random.Random()
    try:
        for _ in range(KILLS):
            most = len(owned.mailbox("alice")) + luck.randrange(10)
            wait_for("more is filed", lambda most=most: len(owned.mailbox("alice")) > most)
            killed = owned.kill("mailbox")
            wait_for("it is dead", lambda killed=killed: not set(killed) & set(owned.alive()))
    finally:
        over.set()
        sender.join()
    drain(owned)
    count = next(sent)
    assert sorted(filed(owned.directory / "mail")) == list(range(count))
    note(f"kill -9 of a mailbox's process, {KILLS} times: of {count} messages none lost, none twice")


def test_what_dies_with_the_server_ends(owned):
    """kill -9 of local, and then of the parent: no process of a mailbox is left."""
    owned.may_die = True
    owned.start()
    owned.send("alice@example.org")
    owned.wait_mail("alice")
    before = owned.pids("mailbox")
    owned.kill("local")
    wait_for("the processes of the dead one end", lambda: not set(before) & set(owned.alive()))
    owned.send("alice@example.org")
    owned.wait_mail("alice", 2)
    assert owned.pids("mailbox")
    owned.process.kill()
    owned.process.wait()
    wait_for("nothing is left", lambda: not owned.alive())


# --- An attacker -----------------------------------------------------------------------------------------

class Attack:
    """By alice, whose home is below the mailbox root. The victim is a Maildir of somebody else's that anybody may write
    to, so that a link to it that was followed would be seen."""

    def __init__(self, directory, owner, victim, mode):
        self.root, self.victim, self.mode = directory / "mail", directory / "victim", mode
        self.home = self.root / "alice"
        self.make(self.root, owner, 0o755)
        self.make(self.home, ALICE, mode)
        for place in (self.victim, *(self.victim / sub for sub in attacker.SUBS)):
            self.make(place, victim, 0o777)
            (place / "theirs").write_text("not yours")
        self.before = self.look()
        self.process = None

    @staticmethod
    def make(directory, uid, mode):
        directory.mkdir()
        directory.chmod(mode)
        os.chown(directory, uid, uid)

    def look(self):
        """All that is the victim's, and would be another if anything was done there."""
        seen = {}
        for path in (self.victim, *self.victim.rglob("*")):
            info = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            seen[path] = (info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, content)
        return seen

    def begin(self):
        self.process = subprocess.Popen(
            [sys.executable, attacker.__file__, str(ALICE), self.home, self.victim, f"{self.mode:o}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


@pytest.fixture
def attack(public, closing):
    return lambda **more: closing(Attack(public, **more))


def under_attack(server, attack):
    """Mail is filed meanwhile; each message is delivered or waits, and in the end all are there."""
    server.may_die = True
    server.configure(mailbox={"path": f"maildir:{attack.root}/{{user}}/{attacker.MAILDIR}"}).start()
    attack.begin()
    send_many(server, "alice@example.org", DELIVERIES)
    wait_for("most of it is filed", lambda: server.status()["queue"]["messages"] < DELIVERIES / 10, 40 * PATIENCE)
    deferred = len(server.events("delivery.deferred"))
    attack.end()
    assert deferred > 0, "nothing was ever in its way"
    drain(server)
    numbers = filed(attack.home)
    assert set(numbers) == set(range(DELIVERIES))
    assert attack.look() == attack.before
    note(f"{DELIVERIES} deliveries against an attacker: {deferred} tries deferred, none lost, "
         f"{len(numbers) - DELIVERIES} filed twice, nothing outside")


def test_an_attacker_moves_nothing_that_is_filed_as_himself(owned, attack):
    made = attack(owner=0, victim=BOB, mode=0o700)
    under_attack(owned, made)
    for path in made.root.rglob("*"):
        assert made.home in (path, *path.parents), path
        assert path.lstat().st_uid == ALICE, path


def test_an_attacker_moves_nothing_that_the_owner_of_all_files(server, attack):
    """A directory of his below the root of _postern-local, which may write to it."""
    local = pwd.getpwnam("_postern-local").pw_uid
    made = attack(owner=local, victim=local, mode=0o777)
    under_attack(server, made)
    for path in made.root.rglob("*"):
        assert made.home in (path, *path.parents), path
