"""OpenSMTPD out of a private root: takes all that comes but what it is told to refuse, and hands it on to one host."""
import os
import signal
import socket
import subprocess
from pathlib import Path

from support.net import Address
from support.waiting import PATIENCE, wait_for

PORT = 2626

CONFIGURATION = """\
table refused {{ {refused} }}
table later file:{directory}/later
filter "refuse" phase rcpt-to match rcpt-to <refused> reject "550 5.1.1 OpenSMTPD knows no such user"
filter "later" phase rcpt-to match rcpt-to <later> reject "451 4.2.0 OpenSMTPD is busy"
filter "all" chain {{ "refuse", "later" }}
listen on {ip} port {port} hostname opensmtpd.example filter "all"
action "out" relay host "smtp+notls://{next_hop}:{next_port}" helo opensmtpd.example
match from any for any action "out"
"""

# Its users and its places are compiled in: it sees files and folders of its own there.
QUEUE_GROUP = 65532  # smtpctl wants to be of it
FILES = {
    "passwd": "opensmtpd:x:65531:65531::/nonexistent:/bin/false\nopensmtpq:x:65532:65532::/nonexistent:/bin/false\n",
    "group": f"opensmtpd:x:65531:\nopensmtpq:x:{QUEUE_GROUP}:\n",
    "resolv.conf": "lookup file\n",
}
FOLDERS = {"spool": "/var/spool", "run": "/run", "lib": "/var/lib"}


class OpenSmtpd:
    """Started; needs root. `next_hop`: (address, port). `later`: a recipient for whom it says 451 until
    let_in()."""

    def __init__(self, directory, root, next_hop, refused, later):
        self.root = Path(root)
        self.directory = Path(directory)
        self.directory.mkdir()
        for path in (self.directory, *self.directory.parents):  # its own users must get through
            if path.stat().st_uid == 0 and path != path.parent:
                path.chmod(path.stat().st_mode | 0o111)
        self.address = Address()
        self.ip = self.address.ip
        self._make_places()
        (self.directory / "later").write_text(f"{later}\n")
        self.file = self.directory / "smtpd.conf"
        self.file.write_text(CONFIGURATION.format(
            directory=self.directory, ip=self.ip, port=PORT, refused=refused, next_hop=next_hop[0],
            next_port=next_hop[1]))
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(self._command("smtpd", "-d", "-f", self.file), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        wait_for("OpenSMTPD listens", self._listens)

    def _make_places(self):
        for name, line in FILES.items():
            inherited = "" if name == "resolv.conf" else Path("/etc", name).read_text()
            (self.directory / name).write_text(inherited + line)
        for name in ("spool/smtpd", "run", "lib/opensmtpd/empty"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "spool" / "smtpd").chmod(0o711)

    def _listens(self):
        with socket.socket() as sock:
            return sock.connect_ex((self.ip, PORT)) == 0

    @property
    def via(self):
        return f"smtp://{self.ip}:{PORT}"

    @property
    def log_file(self):
        return self.directory / "log"

    def log(self):
        return self.log_file.read_text(errors="replace")

    def _command(self, program, *words):
        places = {**{f"{self.directory}/{name}": f"/etc/{name}" for name in FILES},
                  **{f"{self.directory}/{name}": place for name, place in FOLDERS.items()}}
        binds = " && ".join(f"mount --bind {own} {place}" for own, place in places.items())
        return ["unshare", "-m", "sh", "-c", f'{binds} && exec "$@"', "sh",
                self.root / "usr" / "sbin" / program, *words]

    def _control(self, *words):
        done = subprocess.run(self._command("smtpctl", *words), group=QUEUE_GROUP, capture_output=True,
                              timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr

    def let_in(self):
        (self.directory / "later").write_text("")
        self._control("update", "table", "later")

    def retry(self):
        """All that waits in its queue, now."""
        self._control("schedule", "all")

    def close(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.address.close()
