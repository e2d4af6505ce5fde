"""smtp-server of npm, a next hop in Node.js that speaks SMTP or LMTP."""
import base64
import json
import os
import queue
import subprocess
import threading
from pathlib import Path

from support.net import Address
from support.sink import Received
from support.waiting import PATIENCE, wait_for

PORT = 2629


class SmtpServer:
    """Started. `modules`: where npm has put it. With a `certificate` (chain, key) it offers STARTTLS."""

    def __init__(self, modules, protocol="smtp", certificate=()):
        self.address = Address()
        self.via = f"{protocol}://{self.address.ip}:{PORT}"
        self.messages = []
        self.options = []  # of MAIL, one dict for each message
        self._told = queue.Queue()
        self._replies = {"rcpt": {}, "data": {}}
        self.process = subprocess.Popen(
            ["node", Path(__file__).with_suffix(".js"), self.address.ip, str(PORT), protocol, *certificate],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "NODE_PATH": str(modules)})
        threading.Thread(target=self._read, daemon=True).start()
        self._told.get(timeout=PATIENCE)  # it listens

    def _read(self):
        for line in self.process.stdout:
            one = json.loads(line)
            if not one:
                self._told.put(one)
                continue
            self.options.append(one["options"] or {})
            self.messages.append(Received(one["sender"], one["recipients"], base64.b64decode(one["content"]), None,
                                          one["secure"]))

    def answer(self, recipient, reply=None, at="rcpt"):
        """From now on: `reply` (code, text) to this recipient, or behind the message for him; None: 250 again."""
        self._replies[at][recipient] = reply
        print(json.dumps(self._replies), file=self.process.stdin, flush=True)
        self._told.get(timeout=PATIENCE)

    def wait(self, count=1):
        wait_for(f"{count} messages at smtp-server", lambda: len(self.messages) >= count)
        return self.messages

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.address.close()
