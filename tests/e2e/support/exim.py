"""Exim out of a private root: takes all that comes but what it is told to refuse, and hands it on to one host. It
speaks BDAT both ways, and sends it in one write with MAIL and RCPT."""
import os
import signal
import subprocess
from pathlib import Path

from support.net import Address
from support.waiting import wait_for

PORT = 2625

CONFIGURATION = """\
primary_hostname = exim.example
exim_path = {program}
spool_directory = {directory}/spool
log_file_path = {directory}/spool/%slog
never_users =
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
disable_ipv6 = true
local_interfaces = {ip}
daemon_smtp_ports = {port}
pid_file_path = {directory}/exim.pid
acl_smtp_rcpt = take
begin acl
take:
  deny
    recipients = {refused}
    message = 550 5.1.1 Exim knows no such user
  defer
    recipients = {later}
    condition = ${{if exists{{{directory}/later}}}}
    message = 451 4.2.0 Exim is busy
  accept
begin routers
all:
  driver = manualroute
  route_list = * {next_hop}
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {next_port}
begin retry
* * F,1h,1m
"""


class Exim:
    """Started; needs root, for it is told of its own user by a file that is bound over /etc/passwd. `later`: a
    recipient for whom it says 451 until let_in()."""

    def __init__(self, directory, root, next_hop, next_port, refused="", later=""):
        self.program = root / "usr" / "sbin" / "exim4"
        self.directory = Path(directory)
        self.directory.mkdir()
        for path in (self.directory, *self.directory.parents):  # its own user must get through
            if path.stat().st_uid == 0 and path != path.parent:
                path.chmod(path.stat().st_mode | 0o111)
        self.address = Address()
        self.ip = self.address.ip
        self.file = self.directory / "exim.conf"
        self.file.write_text(CONFIGURATION.format(
            program=self.program, directory=self.directory, ip=self.ip, port=PORT, next_hop=next_hop,
            next_port=next_port, refused=refused, later=later))
        (self.directory / "later").touch()
        for name, line in (("passwd", "Debian-exim:x:65533:65533::/nonexistent:/bin/false"),
                           ("group", "Debian-exim:x:65533:")):
            (self.directory / name).write_text(Path("/etc", name).read_text() + line + "\n")
        self.process = subprocess.Popen(self._command("-bdf"), start_new_session=True)
        wait_for("Exim listens", lambda: "listening for SMTP" in self.log())

    @property
    def via(self):
        return f"smtp://{self.ip}:{PORT}"

    def _command(self, *words):
        line = (f"mount --bind {self.directory}/passwd /etc/passwd && mount --bind {self.directory}/group /etc/group "
                f'&& exec {self.program} -C {self.file} "$@"')
        return ["unshare", "-m", "sh", "-c", line, "exim", *words]

    def log(self):
        file = self.directory / "spool" / "mainlog"
        return file.read_text() if file.exists() else ""

    def send(self, sender, recipient, text):
        """As its own sendmail; back when it was delivered, or was not."""
        subprocess.run(self._command("-odi", "-oi", "-f", sender, recipient), input=text.encode(), check=True, timeout=60)

    def let_in(self):
        (self.directory / "later").unlink()

    def retry(self):
        """All that waits in its queue, now; back when it was tried."""
        subprocess.run(self._command("-qff"), check=True, timeout=60)

    def close(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
        self.address.close()
