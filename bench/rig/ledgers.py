"""What ledgers tell of time: how long each message took from its 250 to the sink."""
import bisect
import math
from pathlib import Path


def accepted(ledger):
    """{name: when it was acknowledged} of a ledger of postern-load; milliseconds since 1970."""
    found, run = {}, None
    for line in whole_lines(ledger):
        words = line.split(" ", 5)
        if words[0] == "postern-ledger":
            run = words[3]
        elif words[0] == "acknowledged":
            found[f"{run}-{words[1]}"] = int(words[2])
    return found


def taken(ledger):
    """{name: when it was first taken} of a ledger of postern-sink."""
    found = {}
    for line in whole_lines(ledger):
        words = line.split(" ", 3)
        if words[0] == "delivered":
            found.setdefault(words[1], int(words[2]))
    return found


def whole_lines(ledger):
    with open(Path(ledger), encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file if line.endswith("\n"))


def delays(sent, received):
    """Milliseconds from acceptance until the sink had it, of each message in both, sorted. One that the sink
    had before its client had read the 250 took none."""
    return sorted(max(0, received[name] - when) for name, when in sent.items() if name in received)


def quantile(values, share):
    """Of sorted whole milliseconds, as if those that are the same were spread evenly over one."""
    value = values[min(len(values) - 1, math.floor(share * len(values)))]
    below = bisect.bisect_left(values, value)
    same = bisect.bisect_right(values, value) - below
    return max(0.0, value - 0.5 + (share * len(values) - below) / same)
