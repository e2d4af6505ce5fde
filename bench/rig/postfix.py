"""A whole Postfix out of the private root: relays all that comes on one loopback port to one next hop.

It is tuned for throughput as somebody who knows it would, and keeps its own durability: one fsync of
each message before the 250. Nothing outside its directory is written, and nothing of the system changes.
"""
import grp
import os
import pwd
import signal
import subprocess
from pathlib import Path

from rig import peers, processes

# name -> (value, why). Not listed: durability, which stays as Postfix has it.
TUNING = {
    "smtp_destination_concurrency_limit": ("50", "as many connections to the next hop as clients"),
    "initial_destination_concurrency": ("20", "without a slow start"),
    "default_process_limit": ("200", "a process for each client and each delivery"),
    "max_use": ("100000", "processes are not renewed while the load lasts"),
    "in_flow_delay": ("0", "no brake on intake"),
    "smtp_connection_cache_on_demand": ("no", "on loopback a fresh connection costs less than scache(8): "
                                              "1030 messages a second against 830 to 930"),
    "smtp_dns_support_level": ("disabled", "no DNS"),
    "smtp_host_lookup": ("native", "no DNS"),
    "smtpd_peername_lookup": ("no", "no DNS"),
    "smtpd_client_connection_count_limit": ("0", "one address may open all connections"),
    "smtpd_client_event_limit_exceptions": ("static:all", "no anvil"),
    "local_header_rewrite_clients": ("", "headers are not rewritten"),
    "receive_override_options": ("no_unknown_recipient_checks,no_header_body_checks,no_address_mappings",
                                 "cleanup has nothing to look up"),
    "disable_mime_input_processing": ("yes", "bodies are not parsed"),
    "smtputf8_enable": ("no", "no conversion of addresses"),
    "swap_bangpath": ("no", "addresses are not rewritten"),
    "allow_percent_hack": ("no", "addresses are not rewritten"),
    "smtp_tls_security_level": ("none", "no TLS, on either side"),
    "smtpd_tls_security_level": ("none", "no TLS, on either side"),
}

MASTER = """\
{listen}   inet  n  -  n  -  -  smtpd
pickup     unix  n  -  n  60 1  pickup
cleanup    unix  n  -  n  -  0  cleanup
qmgr       unix  n  -  n  300  1  qmgr
rewrite    unix  -  -  n  -  -  trivial-rewrite
bounce     unix  -  -  n  -  0  bounce
defer      unix  -  -  n  -  0  bounce
trace      unix  -  -  n  -  0  bounce
verify     unix  -  -  n  -  1  verify
flush      unix  n  -  n  1000?  0  flush
proxymap   unix  -  -  n  -  -  proxymap
smtp       unix  -  -  n  -  -  smtp
relay      unix  -  -  n  -  -  smtp
error      unix  -  -  n  -  -  error
retry      unix  -  -  n  -  -  error
discard    unix  -  -  n  -  -  discard
anvil      unix  -  -  n  -  1  anvil
scache     unix  -  -  n  -  1  scache
postlog    unix-dgram  n  -  n  -  1  postlogd
"""

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
          "saved", "trace")


def _owner():
    """(user, group of postdrop): Postfix's own where they exist, else two that every Debian has."""
    for name in ("postfix", "uucp"):
        try:
            user = pwd.getpwnam(name)
            break
        except KeyError:
            continue
    else:
        raise peers.PeerError("there is no user that Postfix could run as (postfix or uucp)")
    for name in ("postdrop", "news"):
        try:
            if grp.getgrnam(name).gr_gid != user.pw_gid:
                return user, grp.getgrnam(name)
        except KeyError:
            continue
    raise peers.PeerError("there is no group that Postfix could use (postdrop or news)")


class Postfix:
    name = "Postfix"

    def __init__(self, directory, root, listen, next_hop, settings=None):
        """`listen` and `next_hop` are (address, port); `settings`: more of main.cf, or instead of what stands here."""
        if os.getuid() != 0:
            raise peers.PeerError("Postfix starts as root only; --only postern measures Postern alone")
        peers.check(root)
        self.directory = Path(directory)
        self.root = Path(root)
        self.listen = listen
        self.process = None
        self.spool = self.directory / "queue"
        user, group = _owner()
        self._make_directories(user, group)
        self._write_configuration(user, group, next_hop, settings or {})

    def _make_directories(self, user, group):
        self.directory.mkdir(parents=True)
        for path in (self.directory, *self.directory.parents):
            if not path.stat().st_mode & 0o001:
                raise peers.PeerError(f"{path} must be open to other users, for Postfix runs as one")
        for name in ("conf", "queue", "queue/pid", "log"):
            (self.directory / name).mkdir()
        self.log_file.touch()  # the process that writes it may come late
        for name in QUEUES:
            (self.spool / name).mkdir(mode=0o700)
            os.chown(self.spool / name, user.pw_uid, 0)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (self.spool / name).mkdir()
            os.chown(self.spool / name, user.pw_uid, group.gr_gid)
            (self.spool / name).chmod(mode)
        (self.directory / "data").mkdir(mode=0o700)
        os.chown(self.directory / "data", user.pw_uid, 0)

    def _write_configuration(self, user, group, next_hop, more):
        libraries = self.root / "usr/lib/postfix"
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.spool,
            "data_directory": self.directory / "data",
            "daemon_directory": libraries / "sbin",
            "command_directory": self.root / "usr/sbin",
            "shlib_directory": libraries,
            "meta_directory": self.directory / "conf",
            "mail_owner": user.pw_name,
            "setgid_group": group.gr_name,
            "import_environment": f"MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH={libraries}",
            "maillog_file": self.log_file,
            "maillog_file_prefixes": self.directory,
            "myhostname": "mx.example.org",
            "inet_interfaces": self.listen[0],
            "inet_protocols": "ipv4",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks,reject",
            "smtpd_recipient_restrictions": "",
            "relayhost": "[{}]:{}".format(*next_hop),
            "alias_maps": "",
            "local_recipient_maps": "",
            **{name: value for name, (value, _) in TUNING.items()},
            **more,
        }
        conf = self.directory / "conf"
        (conf / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        os.utime(conf / "main.cf", (0, 0))  # each of its processes waits until nobody has written there for two seconds
        (conf / "master.cf").write_text(MASTER.format(listen="{}:{}".format(*self.listen)))
        (conf / "dynamicmaps.cf").write_text("")

    @property
    def log_file(self):
        return self.directory / "log" / "mail.log"

    def start(self, before=(), preexec=None):
        """Starts its master, under the command `before` if there is one, and waits for the greeting."""
        self.process = subprocess.Popen(
            [*before, self.root / "usr/lib/postfix/sbin/master", "-c", self.directory / "conf"],
            env=peers.environment(self.root), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=preexec)
        processes.wait_greeting(self.listen, self.process, self.log_file)

    def stop(self):
        """Ends its processes, and no others."""
        master = processes.named(self.process.pid, "master")
        processes.end(self.process, master, signal.SIGTERM)

    def release(self):
        """What is on hold may leave, but nobody looks for it yet."""
        self._tool("postsuper", "-H", "ALL")

    def flush(self):
        """Looks for what may leave, now."""
        self._tool("postqueue", "-f")

    def _tool(self, name, *words):
        done = subprocess.run([self.root / "usr/sbin" / name, "-c", self.directory / "conf", *words],
                              env=peers.environment(self.root), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr.strip()}")

    def queued(self):
        """Messages in its queue."""
        return sum(len(files) for name in ("incoming", "active", "deferred")
                   for _, _, files in os.walk(self.spool / name))
