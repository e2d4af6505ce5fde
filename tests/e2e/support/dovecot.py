"""Dovecot's submission service: its users log in over TLS, and what they send goes on to one host."""
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.net import Address
from support.waiting import PATIENCE, wait_for

PORT = 2687

CONFIGURATION = """\
protocols = submission
listen = {ip}
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = required
ssl_cert = <{chain}
ssl_key = <{key}
hostname = {name}
auth_mechanisms = scram-sha-256 plain login
auth_failure_delay = 0 secs
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
first_valid_uid = 1
mail_location = maildir:~/Maildir
submission_relay_host = {next_hop[0]}
submission_relay_port = {next_hop[1]}
submission_relay_trusted = {trusted}
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner_group} home={base}/home
}}
"""


def group_of(user):
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


class DovecotSubmission:
    """Started. `next_hop`: (address, port). `trusted`: it tells the next hop by XCLIENT who its clients are."""

    def __init__(self, name, chain, key, user, password, next_hop, trusted=False):
        root = os.getuid() == 0
        me = pwd.getpwuid(os.getuid()).pw_name
        internal = "dovecot" if root else me
        owner = "nobody" if root else me
        self.address = Address()
        self.ip = self.address.ip
        self.base = Path(tempfile.mkdtemp(prefix="dovecot-"))  # short: its sockets' paths have a limit
        self.base.chmod(0o755)
        (self.base / "home").mkdir()
        shutil.chown(self.base / "home", owner)
        (self.base / "users").write_text(f"{user}:{{PLAIN}}{password}::::::\n")
        file = self.base / "dovecot.conf"
        file.write_text(CONFIGURATION.format(
            ip=self.ip, port=PORT, base=self.base, name=name, chain=chain, key=key, next_hop=next_hop,
            trusted="yes" if trusted else "no", login="dovenull" if root else me, internal=internal,
            internal_group=group_of(internal), owner=owner, owner_group=group_of(owner)))
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", file], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for("Dovecot's socket", (self.base / "run" / "auth-client").exists)

    def log(self):
        return (self.base / "log").read_text()

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.address.close()
        shutil.rmtree(self.base, ignore_errors=True)
