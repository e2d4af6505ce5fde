"""Postern out of a build directory: relays all that comes on one loopback port to one next hop."""
import json
import os
import signal
import subprocess
from pathlib import Path

from rig import load, processes

CONFIG = """\
hostname   = "mx.example.org"
postmaster = "postmaster@example.org"
spool      = "spool"
runtime    = "run"
[[listen]]
address    = "{listen}"
service    = "relay"
relay_from = ["127.0.0.0/8"]
[[route]]
to          = ["*"]
via         = ["smtp://{next_hop}"]
connections = {connections}
[limits]
connections_per_client = 0
[retry]
after = ["1s"]
[processes]
smtpd = {smtpd}
relay = {relay}
"""


class Postern:
    name = "Postern"

    def __init__(self, directory, build, listen, next_hop, connections=20, smtpd=0, relay=0):
        """`listen` and `next_hop` are (address, port)."""
        self.directory = Path(directory)
        self.build = Path(build)
        self.listen = listen
        self.process = None
        self.spool = self.directory / "spool"
        self.directory.mkdir(parents=True)
        (self.directory / "log").mkdir()
        self.file = self.directory / "postern.toml"
        self.file.write_text(CONFIG.format(
            listen="{}:{}".format(*listen), next_hop="{}:{}".format(*next_hop), connections=connections,
            smtpd=smtpd, relay=relay))

    @property
    def log_file(self):
        """In the foreground it logs to stderr, which is a file here."""
        return self.directory / "log" / "stderr"

    def start(self, before=(), preexec=None):
        """Starts it, under the command `before` if there is one, and waits for the greeting."""
        with open(self.log_file, "ab") as errors:
            self.process = subprocess.Popen(
                [*before, self.build / "parent" / "postern", "-f", "-c", self.file],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
                preexec_fn=preexec)
        processes.wait_greeting(self.listen, self.process, self.log_file)

    def stop(self):
        """Ends its processes, and no others."""
        processes.end(self.process, processes.named(self.process.pid, "postern"), signal.SIGTERM)

    def control(self, *words):
        """What posternctl --json says."""
        said = subprocess.run([self.build / "ctl" / "posternctl", "-c", self.file, "--json", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              check=False)
        if not said.stdout and said.returncode != 0:
            raise RuntimeError(f"posternctl {' '.join(words)}: {said.stderr.strip()}")
        return [json.loads(line) for line in said.stdout.splitlines()]

    def status(self):
        return self.control("status")[0]

    def queued(self):
        """Messages in its queue."""
        return self.status()["queue"]["messages"]

    def pids(self, role):
        """The processes of a role, by the title that ps shows."""
        found = []
        for pid in processes.tree(self.process.pid):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if title.startswith(b"postern: " + role.encode() + b","):
                found.append(pid)
        return sorted(found)


def usable(build):
    """Why this build directory cannot be measured; empty: it can."""
    build = Path(build)
    try:
        options = {o["name"]: o["value"]
                   for o in json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())}
    except OSError:
        return f"{build} is no build directory: meson setup {build} --buildtype=release, then ninja"
    if options["buildtype"] != "release" or options["sanitize"]:
        return f"{build} is no release build, and the figures are of one"
    for name in ("parent/postern", "ctl/posternctl", "smtpd/postern-smtpd", "queued/postern-queued",
                 "deliverd/postern-deliverd", *load.PROGRAMS):
        if not os.access(build / name, os.X_OK):
            return f"{build / name} is not built"
    return ""
