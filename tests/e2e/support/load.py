"""postern-load, postern-sink and postern-ledger, as a test uses them."""
import json
import signal
import subprocess
import threading

from support.net import Address
from support.server import BUILD, RELAY_PORT
from support.sink import SINK_PORT
from support.waiting import wait_for

TOOLS = BUILD / "bench"


class Tool:
    """One that prints its counts while they change, and at its end a summary as JSON."""

    def __init__(self, program, *options):
        self.counts = {}
        self.summary = None
        self.process = subprocess.Popen(
            [TOOLS / program, "--progress", "10ms", "--json", *map(str, options)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.summary = json.loads(line)
            else:
                self.counts = {key: int(value) for key, _, value in
                               (word.partition("=") for word in line.split())}

    def __getitem__(self, name):
        return self.counts.get(name, 0)

    def wait(self, name, count, timeout=60):
        """Until that many more are counted than now."""
        before = self[name]
        wait_for(f"{count} more {name} than {before}, of {self.counts}",
                 lambda: self[name] >= before + count, timeout)

    def end(self, timeout=120):
        """Lets it end what it has begun; its summary."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout) == 0, self.process.stderr.read()
        finally:
            self.close()
        return self.summary

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()


class Load(Tool):
    """Many clients of a server, until end()."""

    def __init__(self, server, ledger, recipient, *options, sessions=50, port=RELAY_PORT):
        self.ledger = ledger
        super().__init__("postern-load", "--to", f"{server.ip}:{port}", "--sessions", sessions,
                         "--seconds", 1e6, "--recipient", recipient, "--ledger", ledger, *options)


class Taker(Tool):
    """A next hop that writes down what comes."""

    def __init__(self, ledger, *options):
        self.ledger = ledger
        self.address = Address()
        super().__init__("postern-sink", "--listen", f"{self.address.ip}:{SINK_PORT}", "--ledger", ledger,
                         *options)

    @property
    def via(self):
        return f"smtp://{self.address.ip}:{SINK_PORT}"

    def close(self):
        super().close()
        self.address.close()


def send(server, ledger, recipient, messages, *options, sessions=20, port=RELAY_PORT, timeout=600):
    """So many messages, all of which must be acknowledged; the summary."""
    done = subprocess.run(
        [TOOLS / "postern-load", "--json", "--to", f"{server.ip}:{port}", "--sessions", str(min(sessions, messages)),
         "--messages", str(messages), "--recipient", recipient, "--ledger", ledger, *map(str, options)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["acknowledged"] == messages, summary
    return summary


def taken(ledger):
    """(milliseconds since 1970, recipients) of each message that a sink took whole, in their order."""
    lines = [line.split(" ") for line in ledger.read_text().splitlines()]
    return [(int(fields[2]), fields[3:]) for fields in lines if fields[0] == "delivered"]


def compare(*ledgers, mailbox=None):
    """What postern-ledger decides; an assertion where anything is lost, phantom or changed."""
    done = subprocess.run(
        [TOOLS / "postern-ledger", "compare", "--json", *ledgers, *(["--mailbox", mailbox] if mailbox else [])],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
