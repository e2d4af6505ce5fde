"""Programs of other mail systems: Postfix's smtp-source and smtp-sink, Dovecot over our Maildir."""
import grp
import imaplib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pytest

from support.net import Address
from support.server import RELAY_PORT, REPOSITORY
from support.sink import SINK_PORT
from support.waiting import wait_for

PEERS = Path(os.environ.get("POSTERN_PEERS", REPOSITORY / "build-check-peers"))


def postfix_tool(name):
    for root in (Path("/"), PEERS):
        for place in ("usr/sbin", "usr/libexec/postfix", "usr/lib/postfix/sbin"):
            if (root / place / name).exists():
                libraries = root / "usr/lib/postfix"
                return [str(root / place / name)], {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    raise AssertionError(f"{name} is in no {PEERS}: contrib/check puts it there")


def exim_root():
    for root in (Path("/"), PEERS / "exim"):
        if (root / "usr/sbin/exim4").exists():
            return root
    raise AssertionError(f"exim4 is in no {PEERS}: contrib/check puts it there")


def test_smtp_source(postern):
    command, environment = postfix_tool("smtp-source")
    subprocess.run([*command, "-c", "-s", "20", "-m", "300", "-l", "4096", "-f", "alice@example.org",
                    "-t", "bob@example.org", f"inet:{postern.ip}:{RELAY_PORT}"],
                   check=True, capture_output=True, env=environment, timeout=120)
    postern.wait_mail("bob", 300, timeout=90)
    postern.wait_empty()
    assert len(postern.mailbox("bob")) == 300
    status = postern.status()
    assert status["total"]["accepted"] == 300
    assert status["disk"]["flushes"] < status["disk"]["records"]  # they share flushes


@pytest.mark.parametrize("options", [["-c"], ["-e"], ["-p", "-8"]],
                         ids=["all features", "HELO only", "no PIPELINING, no 8BITMIME"])
def test_smtp_sink(server, options):
    command, environment = postfix_tool("smtp-sink")
    address = Address()
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    with subprocess.Popen([*command, *user, *options, f"inet:{address.ip}:{SINK_PORT}", "100"],
                          env=environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as sink:
        try:
            server.route("*", f"smtp://{address.ip}:{SINK_PORT}", connections=10).start()
            source, environment = postfix_tool("smtp-source")
            subprocess.run([*source, "-s", "10", "-m", "200", "-l", "4096", "-f", "alice@example.org",
                            "-t", "x@remote.example", f"inet:{server.ip}:{RELAY_PORT}"],
                           check=True, capture_output=True, env=environment, timeout=120)
            server.wait_empty(90)
            assert server.status()["total"]["delivered"] == 200
        finally:
            sink.terminate()
    address.close()


@pytest.fixture
def dovecot(server, tmp_path, closing):
    """Starts Dovecot's IMAP over the mailboxes of example.org; returns its address."""
    address = closing(Address())
    me = pwd.getpwuid(os.getuid()).pw_name
    owner = "_postern-local" if os.getuid() == 0 else me
    identity = pwd.getpwnam(owner)
    group = grp.getgrgid(identity.pw_gid).gr_name
    base = Path(tempfile.mkdtemp(prefix="dovecot-"))  # short: its sockets' paths have a limit
    for path in (base, tmp_path, *tmp_path.parents):  # Dovecot's own user must get through
        if os.getuid() == 0 and path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    (base / "users").write_text("bob:{PLAIN}secret::::::\n")
    login = "dovenull" if os.getuid() == 0 else me
    internal = "dovecot" if os.getuid() == 0 else me
    config = base / "dovecot.conf"
    config.write_text(f"""
protocols = imap
listen = {address.ip}
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = no
disable_plaintext_auth = no
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {grp.getgrgid(pwd.getpwnam(internal).pw_gid).gr_name}
first_valid_uid = 1
mail_location = maildir:{server.directory}/mail/example.org/%n
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 1143
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
  args = uid={owner} gid={group} home={base}
}}
""")
    with subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", config], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        def connect():
            assert process.poll() is None, (base / "log").read_text()
            try:
                return imaplib.IMAP4(address.ip, 1143, timeout=30)
            except OSError:
                return None
        wait_for("Dovecot answers", connect).shutdown()
        yield address.ip
        process.terminate()
    shutil.rmtree(base)


def test_dovecot_reads_our_maildir(server, dovecot):
    server.start()
    sent = "Subject: for Dovecot\r\n\r\nhello\r\n.dot\r\n"
    server.send("bob@example.org", sent)
    path = server.wait_mail("bob")[0]
    arrived = path.stat().st_mtime
    assert abs(arrived - time.time()) < 60
    imap = imaplib.IMAP4(dovecot, 1143, timeout=60)
    imap.login("bob", "secret")
    assert imap.select()[1] == [b"1"]
    _, data = imap.fetch("1", "(INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    internal = time.mktime(imaplib.Internaldate2tuple(data[0][0]))
    assert int(internal) == int(arrived)
    assert data[0][1].endswith(sent.encode())
    imap.logout()


def test_internal_date_is_the_arrival_not_the_delivery(server, dovecot):
    server.start()
    server.ctl("freeze", "local", "--reason", "so that it waits", "--future")
    ident = server.send("bob@example.org")
    arrived = datetime.fromisoformat(server.ctl("show", ident).rows[0]["arrived"][:-1] + "+00:00")
    wait_for("two seconds pass", lambda: time.time() - arrived.timestamp() > 2)
    server.ctl("unfreeze", "local")
    path = server.wait_mail("bob")[0]
    assert abs(path.stat().st_mtime - arrived.timestamp()) < 1
    imap = imaplib.IMAP4(dovecot, 1143, timeout=60)
    imap.login("bob", "secret")
    imap.select()
    _, data = imap.fetch("1", "(INTERNALDATE)")
    assert abs(time.mktime(imaplib.Internaldate2tuple(data[0])) - arrived.timestamp()) < 1.1
    imap.logout()
