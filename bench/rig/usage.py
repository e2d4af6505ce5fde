"""What a server costs: CPU, memory, flushes."""
import os
import re
import shutil
import time
from pathlib import Path

from rig import processes

TICK = os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """CPU seconds of a server's processes, those that ended counted too: by a control group of its own
    where one can be made, else by the process tree."""

    def __init__(self, name):
        self.group = None
        self.root = None
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split()
            if kind != "cgroup2":
                continue
            group = Path(mount) / f"postern-bench-{os.getpid()}-{name}"
            try:
                group.mkdir()
            except OSError:
                continue
            self.group = group
            break

    @property
    def how(self):
        return "cgroup v2" if self.group else "utime + stime of the process tree"

    def enter(self):
        """In the child before exec."""
        if self.group:
            (self.group / "cgroup.procs").write_text("0")

    def seconds(self):
        if self.group:
            text = (self.group / "cpu.stat").read_text()
            return int(re.search(r"usage_usec (\d+)", text).group(1)) / 1e6
        total = 0
        for pid in processes.tree(self.root):
            if fields := processes.stat(pid):
                total += sum(int(ticks) for ticks in fields[11:15])  # with reaped children
        return total / TICK

    def members(self):
        if self.group:
            return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]
        return processes.tree(self.root)

    def close(self):
        if not self.group:
            return
        for _ in range(100):  # the last member may still be on its way out
            try:
                return self.group.rmdir()
            except OSError:
                time.sleep(0.05)


def host_busy():
    """CPU seconds that all processes of this host together have used."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / TICK


def children_seconds():
    """CPU seconds of our children that ended: the load generator."""
    times = os.times()
    return times.children_user + times.children_system


def own_seconds(pid):
    fields = processes.stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0


def proportional_memory(pids, spool):
    """(bytes, bytes mapped from files below `spool`): the sum of the processes' proportional sets."""
    own = of_spool = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        below = False
        for line in text.splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                below = str(spool) in line
            elif line.startswith("Pss:"):
                size = int(line.split()[1]) * 1024
                of_spool += size if below else 0
                own += 0 if below else size
    return own, of_spool


def flush_counter(file):
    """The command to start a server under, which counts its flushes into `file` and slows down nothing
    else; none where strace is not installed."""
    strace = shutil.which("strace")
    return [strace, "-f", "--seccomp-bpf", "-qq", "-c", "-o", str(file), "-e",
            "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range"] if strace else None


def counted(file):
    """{system call: calls} of a strace -c summary."""
    calls = {}
    for line in Path(file).read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls
