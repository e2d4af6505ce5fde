"""Ledger: sends many messages at once and writes down what the server said about each: acknowledged,
refused, or nothing. What arrives is compared with it."""
import hashlib
import itertools
import re
import smtplib
import threading

from support.server import RELAY_PORT, send_on

_NAME = re.compile(rb"^X-Ledger: (\S+) ([0-9a-f]{64})\r?\n", re.MULTILINE)


class Ledger:
    def __init__(self, server, recipient, threads=6, size=2000, port=RELAY_PORT):
        self.acked, self.refused, self.unknown = set(), set(), set()
        self.server = server
        self.recipient = recipient
        self.size = size
        self.port = port
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *trouble):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def message(self, number):
        text = (f"line {number} " * 10 + "\n.dot\n") * (1 + number % 5 * self.size // 500)
        text = text.replace("\n", "\r\n")
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"m{number}", f"X-Ledger: m{number} {digest}\r\nSubject: x\r\n\r\n{text}"

    def _run(self):
        client = None
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
            name, text = self.message(number)
            try:
                if client is None:
                    client = smtplib.SMTP(self.server.ip, self.port, "client.example", timeout=90)
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.02)  # the server is not there: try again
                continue
            try:
                send_on(client, "alice@example.org", [self.recipient], text)
                verdict = self.acked
            except (smtplib.SMTPServerDisconnected, OSError):
                verdict = self.unknown
            except smtplib.SMTPException as error:
                verdict = self.refused
                if getattr(error, "smtp_code", 0) == 421:
                    client.close()
                    client = None
            if verdict is self.unknown:
                client.close()
                client = None
            with self._lock:
                verdict.add(name)
        if client is not None:
            client.close()

    def wait_acked(self, count):
        """Until that many more were acknowledged than now."""
        from support.waiting import wait_for
        before = len(self.acked)
        wait_for(f"{count} more acknowledged ({len(self.acked)}, refused {len(self.refused)}, "
                 f"unknown {len(self.unknown)})\n{self.server.log_tail()}",
                 lambda: len(self.acked) >= before + count, 60)

    def compare(self, contents, duplicates=0):
        """`contents`: every message that arrived. At most `duplicates` may have come twice."""
        seen = {}
        for content in contents:
            found = _NAME.search(content)
            assert found, content[:500]
            body = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[1].replace(b"\r\n", b"\n")
            digest = hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest()
            assert digest == found.group(2).decode(), f"{found.group(1)} arrived changed"
            name = found.group(1).decode()
            seen[name] = seen.get(name, 0) + 1
        lost = self.acked - set(seen)
        phantom = self.refused & set(seen)
        twice = sum(count - 1 for count in seen.values())
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged messages are lost: {sorted(lost)[:5]}"
        assert not phantom, f"refused and yet delivered: {sorted(phantom)[:5]}"
        assert twice <= duplicates, f"{twice} duplicates"
