"""Load: postern-load in front, postern-sink behind."""
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from rig import processes

PROGRAMS = ("bench/postern-load", "bench/postern-sink")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Sink:
    """postern-sink, with its running counter read from a pipe. It listens at each of `addresses`, or at one
    that is free; `greets`: it does so there, and that is waited for."""

    def __init__(self, build, *options, addresses=(), greets=True):
        addresses = addresses or [("127.0.0.1", free_port())]
        self.address = addresses[0]
        self.process = subprocess.Popen(
            [Path(build) / "bench/postern-sink", "--progress", "4ms", *options,
             *(word for at in addresses for word in ("--listen", "{}:{}".format(*at)))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.count = self.wrong = self.encrypted = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if greets:
            processes.wait_greeting(self.address, self.process, os.devnull)

    def _read(self):
        for line in self.process.stdout:
            counts = dict(word.split(b"=") for word in line.split() if b"=" in word)
            if counts:
                self.wrong = int(counts[b"changed"]) + int(counts[b"strange"]) + int(counts[b"notices"])
                self.encrypted = int(counts[b"encrypted"])
                self.count = int(counts[b"messages"])  # last: it is what others wait for

    def wait(self, count, patience):
        """When it had `count` messages, all as they were sent, by the monotonic clock."""
        deadline = time.monotonic() + patience
        while self.count < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the sink has {self.count} of {count} messages after {patience} s")
            time.sleep(0.002)
        ended = time.monotonic()
        if self.wrong:
            raise RuntimeError(f"{self.wrong} messages at the sink are not what was sent")
        return ended

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self._reader.join()


def start_source(build, address, messages, sessions=50, size=4096, options=()):
    """postern-load, started: it sends them over persistent sessions."""
    return subprocess.Popen(
        [Path(build) / "bench/postern-load", "--to", "{}:{}".format(*address), "--sessions", str(sessions),
         "--messages", str(messages), "--size", str(size), "--json", *map(str, options)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def end_source(process, messages, patience=600):
    """When the last one was answered: what it says of it."""
    try:
        text, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"postern-load ended with {process.returncode}")
    said = json.loads(text)
    if said["acknowledged"] != messages:
        raise RuntimeError(f"{messages - said['acknowledged']} of {messages} messages were not acknowledged")
    return said


def source(build, address, messages, sessions=50, size=4096, options=(), patience=600):
    """Both in one."""
    return end_source(start_source(build, address, messages, sessions, size, options), messages, patience)
