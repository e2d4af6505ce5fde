"""Load: smtp-source in front, smtp-sink behind."""
import os
import re
import socket
import subprocess
import threading
import time

from rig import peers, processes


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Sink:
    """smtp-sink, with its running counter read from a pipe."""
    MESSAGES = re.compile(rb"mesg=(\d+)")

    def __init__(self, root):
        self.address = ("127.0.0.1", free_port())
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        # It takes 256 connections unless -m says otherwise; -c prints "sess=N quit=N mesg=N" each time.
        self.process = subprocess.Popen(
            [peers.program(root, "smtp-sink"), *user, "-c", "-m", "1000",
             "inet:{}:{}".format(*self.address), "1000"],
            env=peers.environment(root), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.count = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        processes.wait_greeting(self.address, self.process, "/dev/null")

    def _read(self):
        tail = b""
        while fresh := os.read(self.process.stdout.fileno(), 65536):
            tail = (tail + fresh)[-256:]
            if found := self.MESSAGES.findall(tail.rpartition(b"\r")[0]):
                self.count = int(found[-1])
            time.sleep(0.004)  # in large pieces, so that counting costs little

    def wait(self, count, patience):
        """When it had `count` messages, by the monotonic clock."""
        deadline = time.monotonic() + patience
        while self.count < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the sink has {self.count} of {count} messages after {patience} s")
            time.sleep(0.002)
        return time.monotonic()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self._reader.join()


def source(root, address, messages, sessions=50, size=4096, patience=600):
    """Sends them over persistent sessions; returns when the last one was acknowledged."""
    subprocess.run(
        [peers.program(root, "smtp-source"), "-d", "-s", str(sessions), "-m", str(messages), "-l", str(size),
         "-M", "client.example", "-f", "sender@client.example", "-t", "recipient@remote.example",
         "inet:{}:{}".format(*address)],
        env=peers.environment(root), stdin=subprocess.DEVNULL, check=True, timeout=patience)
