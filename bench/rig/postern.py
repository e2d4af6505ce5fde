"""Postern out of a build directory: relays all that comes on one loopback port to one next hop."""
import json
import os
import signal
import subprocess
import time
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
{routes}\
[limits]
connections_per_client = 0
[retry]
after = ["1s"]
[processes]
smtpd = {smtpd}
relay = {relay}
"""
ROUTE = """\
[[route]]
to          = ["{to}"]
via         = ["smtp://{next_hop[0]}:{next_hop[1]}"]
connections = {connections}
internal    = {internal}
"""


class Postern:
    name = "Postern"

    def __init__(self, directory, build, listen, next_hop, connections=20, smtpd=0, relay=0, internal=()):
        """`listen` and `next_hop` are (address, port); or {destination: next hop} in place of the latter.
        `internal`: destinations that `outbound disable` spares."""
        self.directory = Path(directory)
        self.build = Path(build)
        self.listen = listen
        self.process = None
        self.spool = self.directory / "spool"
        self.directory.mkdir(parents=True)
        (self.directory / "log").mkdir()
        self.file = self.directory / "postern.toml"
        routes = next_hop if isinstance(next_hop, dict) else {"*": next_hop}
        self.file.write_text(CONFIG.format(
            listen="{}:{}".format(*listen), smtpd=smtpd, relay=relay,
            routes="".join(ROUTE.format(to=to, next_hop=hop, connections=connections,
                                        internal=str(to in internal).lower())
                           for to, hop in routes.items())))

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
        said = subprocess.run(self.tool("--json", *words),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              check=False)
        if not said.stdout and said.returncode != 0:
            raise RuntimeError(f"posternctl {' '.join(words)}: {said.stderr.strip()}")
        return [json.loads(line) for line in said.stdout.splitlines()]

    def tool(self, *words):
        """posternctl, to be run."""
        return [self.build / "ctl" / "posternctl", "-c", self.file, *words]

    def unread(self, *words):
        """Seconds until posternctl has printed all of it, where nobody reads."""
        begun = time.monotonic()
        done = subprocess.run(self.tool(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=600,
                              check=False)
        seconds = time.monotonic() - begun
        if done.returncode not in (0, 1):  # 1: something needs attention
            raise RuntimeError(f"posternctl {' '.join(words)}: exit {done.returncode}")
        return seconds

    def first_lines(self, count, *words):
        """Seconds until it has printed so many lines; then it is ended."""
        begun = time.monotonic()
        with subprocess.Popen(self.tool(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as tool:
            for got in range(count):
                if not tool.stdout.readline():
                    raise RuntimeError(f"posternctl {' '.join(words)} printed {got} lines, not {count}")
            seconds = time.monotonic() - begun
            tool.kill()
        return seconds

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
