"""Processes: their tree, their end, and when a server is there."""
import os
import signal
import socket
import subprocess
import time
from pathlib import Path


def stat(pid):
    """The fields of /proc/PID/stat from `state` on; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2:].split()


def tree(root):
    """The pids of a process and all that descend from it, zombies left out."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(entry)) and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, to_visit = [], [root]
    while to_visit:
        pid = to_visit.pop()
        found.append(pid)
        to_visit.extend(children.get(pid, ()))
    return found


def named(root, name):
    """The process of the tree with this program name: itself, or below what it was started under."""
    for pid in tree(root):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return pid
        except (FileNotFoundError, ProcessLookupError):
            continue
    return root


def end(process, target, number, patience=15):
    """Signals `target`, waits for `process`; kills what is left of its tree."""
    members = tree(process.pid)
    try:
        os.kill(target, number)
    except ProcessLookupError:
        pass
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    deadline = time.monotonic() + 5
    while (left := [pid for pid in members if (s := stat(pid)) and s[0] not in "ZX"]) \
            and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def wait_greeting(address, process, log, patience=20):
    """Until a server says 220 there; RuntimeError with the end of its log when it does not."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(address, 2) as connection:
                connection.settimeout(patience)
                if connection.recv(512).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    connection.recv(512)
                    return
        except OSError:
            pass
        time.sleep(0.05)
    tail = Path(log).read_text(errors="replace")[-2000:] if Path(log).exists() else "(no log)"
    raise RuntimeError(f"no greeting on {address}; the log ends with:\n{tail}")
