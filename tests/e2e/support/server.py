"""Postern: one running server with a directory, an address and a configuration of its own."""
import copy
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from support.client import Session
from support.net import Address, endpoint
from support.waiting import PATIENCE, wait_for

REPOSITORY = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("POSTERN_BUILD", REPOSITORY / "build")).resolve()

RELAY_PORT = 2525  # for clients that may send anywhere
MX_PORT = 2526     # for everybody, for our domains
DNS_PORT = 5353

# The tool runs some thousand times, for a moment each: half of its time under sanitizers was the search for leaks, and
# the notes of who allocated what.
TOOL = {"ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=0"}

# What a sanitizer or a failed CHECK says; a server that did is broken, whatever else it did.
BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|CHECK\(.*\) failed|terminate called")


def toml(tree):
    """A nested dict as TOML: plain values, then tables, then arrays of tables."""
    lines = []

    def value(v):
        if isinstance(v, dict):
            return "{ " + ", ".join(f"{json.dumps(k)} = {value(x)}" for k, x in v.items()) + " }"
        return json.dumps(v)

    def is_tables(v):
        return isinstance(v, list) and v and isinstance(v[0], dict)

    for key, v in tree.items():
        if not isinstance(v, dict) and not is_tables(v):
            lines.append(f"{key} = {value(v)}")
    for key, v in tree.items():
        sections = v if is_tables(v) else [v] if isinstance(v, dict) else []
        for section in sections:
            lines.append(f"[[{key}]]" if is_tables(v) else f"[{key}]")
            lines.extend(f"{k} = {value(x)}" for k, x in section.items())
    return "\n".join(lines) + "\n"


def log_fields(line):
    """The fields of a log line: time, level, event, then key=value."""
    try:
        words = shlex.split(line)
    except ValueError:
        return {}
    fields = dict(zip(("time", "level", "event"), words))
    for word in words[3:]:
        key, equals, value = word.partition("=")
        if equals:
            fields[key] = value
    return fields


@dataclasses.dataclass
class Answer:
    """What posternctl said."""
    exit: int
    out: str
    err: str

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]


def processes(session):
    """{pid: (state, command line)} of a session, zombies left out."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
            title = Path(f"/proc/{entry}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat[stat.rindex(")") + 2:].split()
        if int(fields[3]) == session and fields[0] not in "ZX":
            found[int(entry)] = title.rstrip(b"\0").replace(b"\0", b" ").decode()
    return found


class Postern:
    def __init__(self, directory, program=None, ip=None):
        self.directory = Path(directory)
        self.address = None if ip else Address()
        self.ip = ip or self.address.ip
        # Short: the path of a socket has at most 107 bytes.
        self.runtime = Path(tempfile.mkdtemp(prefix="postern-"))
        self.program = program or BUILD / "parent" / "postern"
        self.file = self.directory / "postern.toml"
        self.environment = {}  # more of it
        self.lines = []
        self.process = None
        self.may_die = False  # a test kills processes itself
        self._news = threading.Condition()
        self._reader = None
        self.session = None
        (self.directory / "users").write_text("alice\nbob\ncarol\n")
        self.config = {
            "hostname": "mx.example.org",
            "postmaster": "carol@example.org",
            "spool": "spool",
            "runtime": str(self.runtime),
            "listen": [
                {"address": endpoint(self.ip, RELAY_PORT), "service": "relay",
                 "relay_from": ["127.0.0.0/8"]},
                {"address": endpoint(self.ip, MX_PORT), "service": "mx"},
            ],
            "domains": {"default": "example.org"},
            "domain": [{"name": ["example.org"], "deliver": "mailbox", "recipients": "file:users"}],
            "mailbox": {"path": "maildir:mail/{domain}/{user}"},
            # All that tests start is here; one process less for each of them but those of MTA-STS.
            "delivery": {"dns": [endpoint(self.ip, DNS_PORT)], "forbid": [], "mta_sts": False},
            "retry": {"after": ["1s"]},
            "limits": {"recipients": 500},  # a segment must have room for their notices
            "space": {"stop_intake": "1MiB", "segment": "4MiB", "reserve": "8MiB"},
            "processes": {"smtpd": 1, "relay": 1},
        }

    # --- life ----------------------------------------------------------------------------------

    def configure(self, **sections):
        """Replaces top-level keys; merges into tables."""
        for key, value in sections.items():
            if isinstance(value, dict) and isinstance(self.config.get(key), dict):
                self.config[key] = {**self.config[key], **value}
            else:
                self.config[key] = copy.deepcopy(value)
        return self

    def route(self, to, *via, **more):
        self.config.setdefault("route", []).append({"to": [to], "via": list(via), **more})
        return self

    def write(self, text=None):
        self.file.write_text(toml(self.config) if text is None else text)

    def start(self):
        self.write()
        self.launch()
        self.wait_log("server.ready")
        return self

    def launch(self):
        """Starts the program without waiting for readiness."""
        environment = {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
                       **self.environment}
        self.process = subprocess.Popen(
            [self.program, "-f", "-c", self.file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
            env=environment)
        self.session = self.process.pid
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, pipe):
        with open(self.directory / "log", "a", encoding="utf-8") as copy_:
            for line in pipe:
                copy_.write(line)
                copy_.flush()
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def stop(self):
        """The orderly end: exit 0 within 10 s, and nothing is left."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_end(0)

    def wait_end(self, status, timeout=10):
        try:
            got = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout} s after it was told to stop: "
                                 f"{self.alive()}") from None
        assert got == status, f"exit {got}\n{self.log_tail()}"
        wait_for(f"no process is left of {self.alive()}", lambda: not self.alive(), 2)
        self._reader.join(PATIENCE)

    def restart(self):
        self.stop()
        return self.start_again()

    def start_again(self):
        with self._news:
            self.lines.clear()
        return self.start()

    def clean_up(self):
        """For the fixture: ends what runs, and judges what the log says."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            for pid in self.alive() if self.session else ():
                os.kill(pid, signal.SIGKILL)
            if self.address:
                self.address.close()
            shutil.rmtree(self.runtime, ignore_errors=True)
        text = (self.directory / "log").read_text() if (self.directory / "log").exists() else ""
        broken = [line for line in text.splitlines() if BROKEN.search(line)]
        assert not broken, "\n".join(broken[:20])
        if not self.may_die:
            died = [line for line in text.splitlines() if " process.died " in line]
            assert not died, "\n".join(died)

    # --- processes -----------------------------------------------------------------------------

    def alive(self):
        return processes(self.session)

    def pids(self, role):
        """The processes of a role, by the title that ps shows."""
        return [pid for pid, title in self.alive().items() if title.startswith(f"postern: {role}")]

    def damage_index(self):
        """Of a server that is stopped."""
        files = [path for path in (self.directory / "spool").iterdir()
                 if "index" in path.name and "lock" not in path.name]
        assert files
        for path in files:
            path.write_bytes(b"\xff" * 65536)

    def kill(self, role, number=signal.SIGKILL):
        self.may_die = True
        killed = wait_for(f"a {role} among {self.alive()}", lambda: self.pids(role))
        for pid in killed:
            os.kill(pid, number)
        return killed

    # --- log -----------------------------------------------------------------------------------

    def events(self, name, /, **fields):
        """The fields of every such line so far."""
        with self._news:
            lines = [line for line in self.lines if name in line]
        found = [log_fields(line) for line in lines]
        return [f for f in found
                if f.get("event") == name and all(f.get(k) == v for k, v in fields.items())]

    def wait_log(self, name, /, count=1, timeout=PATIENCE, **fields):
        """Waits until `count` such lines were logged; the last one's fields."""
        def ready():
            found = self.events(name, **fields)
            if len(found) >= count:
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended ({self.process.returncode}) before {name}:\n"
                                     + self.log_tail())
            return None
        try:
            return wait_for(f"{count} x {name} {fields}", ready, timeout)[-1]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def log_tail(self, count=25):
        with self._news:
            return "\n".join(self.lines[-count:])

    # --- control -------------------------------------------------------------------------------

    def ctl(self, *words, check=True):
        """posternctl --json; an Answer. A verb that fails is an error unless check=False."""
        answer = self.ctl_text("--json", *words)
        if check:
            assert answer.exit == 0, f"posternctl {words}: {answer.exit} {answer.out}{answer.err}"
        return answer

    def ctl_text(self, *words, stdin=subprocess.DEVNULL, environment=None):
        done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", self.file, *words], stdin=stdin,
                              capture_output=True, timeout=90, check=False,
                              env={**os.environ, **TOOL, **(environment or {})})
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def status(self):
        return self.ctl("status", check=False).rows[0]

    def queues(self, *words):
        return {row["queue"]: row for row in self.ctl("queues", *words).rows}

    def messages(self, *words):
        return self.ctl("messages", *words).rows

    def wait_empty(self, timeout=PATIENCE):
        wait_for("the queue is empty", lambda: self.status()["queue"]["messages"] == 0, timeout)

    # --- mail ----------------------------------------------------------------------------------

    def smtp(self, port=RELAY_PORT, **more):
        return smtplib.SMTP(self.ip, port, local_hostname="client.example", timeout=PATIENCE, **more)

    def session_by_hand(self, port=RELAY_PORT):
        return Session(socket.create_connection((self.ip, port), PATIENCE))

    def send(self, to, body="Subject: hello\r\n\r\nhi\r\n", sender="alice@example.org",
             port=RELAY_PORT):
        """One message; the queue id of the 250."""
        with self.smtp(port) as client:
            return send_on(client, sender, [to] if isinstance(to, str) else to, body)

    def mailbox(self, user, domain="example.org"):
        """The files of a mailbox, new ones, in no order."""
        new = self.directory / "mail" / domain / user / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def wait_mail(self, user, count=1, domain="example.org", timeout=PATIENCE):
        try:
            return wait_for(f"{count} messages of {user}",
                            lambda: (self.mailbox(user, domain)
                                     if len(self.mailbox(user, domain)) >= count else None), timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {len(self.mailbox(user, domain))}\n"
                                 + self.log_tail()) from None


ACCEPTED = re.compile(rb"queued as ([0-9A-Z]{13})")


def send_on(client, sender, recipients, body):
    """One transaction on an smtplib connection; the queue id. Refusals raise as in smtplib."""
    client.ehlo_or_helo_if_needed()
    code, text = client.docmd(f"MAIL FROM:<{sender}>")
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, text, sender)
    for recipient in recipients:
        code, text = client.docmd(f"RCPT TO:<{recipient}>")
        if code != 250:
            client.docmd("RSET")
            raise smtplib.SMTPRecipientsRefused({recipient: (code, text)})
    code, text = client.data(body)
    if code != 250:
        raise smtplib.SMTPDataError(code, text)
    return ACCEPTED.search(text).group(1).decode()
