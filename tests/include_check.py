#!/usr/bin/env python3
"""The include rule (docs/architecture.md, "Layout"): layers only downwards, daemons know common/ and
themselves, foreign headers have one place, pure parts do no I/O. Prints each break of it."""
import re
import sys
from pathlib import Path

# A layer may use those before it.
LAYERS = ["base", "log", "os", "event", "tls", "mail", "ipc", "transfer", "dns", "sasl", "config", "role"]

# Headers of plain data that the message list speaks of: fields and their limits, no code above them.
DATA_HEADERS = {"common/config/roles.h", "common/config/rights.h", "common/config/policy.h",
                "common/sasl/account.h", "common/sasl/mechanism.h"}
# Of TLS: what is asked of a signer, the keys of tickets, versions, with no library behind them; and
# digests, with one that does no I/O.
TLS_DATA_HEADERS = {"common/tls/signer.h", "common/tls/tickets.h", "common/tls/version.h",
                    "common/tls/digest.h"}

# Where a daemon's own parts stand; none includes another's.
DAEMONS = ["smtpd", "queued", "deliverd", "parent", "ctl"]

# What measures and judges the daemons, and so uses nothing of theirs.
TOOLS = ("bench/ledger/", "bench/load/", "bench/sink/")

# Foreign headers, and the only files or folders that may include them.
FOREIGN = {
    r"event2/.*": ["common/event/"],
    r"ares.*\.h": ["common/dns/"],
    r"toml\+\+/.*": ["common/config/toml_file.cc"],
    r"CLI/.*": ["ctl/command.cc", "bench/ledger/command_line.h"],
    r"nlohmann/.*": ["ctl/json.cc", "ctl/json_row.cc", "queued/", "tests/unit/", "bench/ledger/sources.cc"],
    r"seccomp\.h": ["common/os/"],
    r"linux/.*": ["common/os/"],
    r"idn2\.h": ["common/mail/domain.cc"],
    r"uni(case|norm|width)\.h": ["common/base/utf8.cc"],
    r"lmdb\.h": ["queued/lmdb_index.cc"],
    r"openssl/.*": ["common/tls/", "bench/own_key/"],
    r"crypt\.h": ["common/sasl/"],
}

# Pure: what they include, through all of our own headers, does no I/O.
PURE = [
    r"common/mail/.*",
    r"common/ipc/(codec|message|messages)\.(h|cc)",
    r"common/transfer/.*",
    r"common/config/(network_set|policy|rights|units|mistake|schema|value)\.(h|cc)",
    r"smtpd/(client_attributes|introductions|protocol|proxy_header|envelope)\.(h|cc)",
    r"common/sasl/(account|mechanism|scram_text|scram_verifier)\.(h|cc)",
    r"smtpd/auth/(accounts|checker|dovecot|exchange|plain|scram|throttle)\.(h|cc)",
    r"deliverd/fetch/(cache|http|sts|ways)\.(h|cc)",
    r"deliverd/relay/(body|client_state|features|introduction|login|logins|next_hop|protocol|session_start|socks|sources|tls_plan)\.(h|cc)",
    r"queued/(backlog|blocks|destination|dispatch|frozen_name|groups|hop|index_pages|index_row|record|schedule|schedule_mail|policy|retry|ring|routes|selector|shares|standstill|turns|usage|ways)\.(h|cc)",
    r"ctl/(command|explain_screen|human|json|json_row|names|screens|table|until)\.(h|cc)",
    r"bench/ledger/(book|content|lines|mix|name|report|template)\.(h|cc)",
    r"bench/load/(client|latencies|message|plan|sizes)\.(h|cc)",
    r"bench/sink/(moods|protocol)\.(h|cc)",
]
IMPURE_FOLDERS = ("common/os/", "common/event/", "common/log/", "common/tls/")
IMPURE_HEADERS = re.compile(
    r"unistd\.h|fcntl\.h|poll\.h|sys/(socket|stat|types|epoll|un|uio|mman)\.h|netdb\.h|fstream|iostream"
    r"|filesystem|event2/.*|ares.*\.h")
# Types that a pure part may name without using them: an address that knows its sockaddr, a clock.
BASE_FOLDER = "common/base/"

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def layer(name):
    parts = name.split("/")
    return LAYERS.index(parts[1]) if parts[0] == "common" and parts[1] in LAYERS else None


def check_place(root, name, kind, header):
    """What is wrong with this include of this file, by itself."""
    if kind == "<":
        for pattern, places in FOREIGN.items():
            if re.fullmatch(pattern, header) and not name.startswith(tuple(places)):
                yield f"<{header}> belongs to {', '.join(places)}"
        return
    home, there = name.split("/")[0], header.split("/")[0]
    if home in ("tests", "bench") and ((root / name).parent / header).is_file():
        return  # a test's own helper, beside it
    if there not in ("common", "tests", "bench", *DAEMONS):
        yield f'"{header}" is not written from the top of the tree'
    if there == "bench" and home not in ("tests", "bench"):
        yield f'"{header}": bench/ is for measuring only'
    if name.startswith(TOOLS) and there not in ("common", "bench"):
        yield f'"{header}": the load generator, the sink and their ledger may know common/ and bench/'
    if there in DAEMONS and home != there and home not in ("tests", "bench"):
        yield f'"{header}": {home} may know common/ and itself'
    if home == "common" and there == "common" and header not in DATA_HEADERS:
        mine, its = layer(name), layer(header)
        if mine is None or its is None:
            yield f'"{header}": this layer is not in the list'
        elif its > mine:
            yield f'"{header}": {LAYERS[its]} stands above {LAYERS[mine]}'


def reachable(root, name, seen):
    """Our own headers that a file includes, through others, with the way there."""
    for kind, header in includes(root / name):
        if kind == '"' and header not in seen and (root / header).is_file():
            seen[header] = name
            reachable(root, header, seen)
    return seen


def check_purity(root, name):
    for kind, header in includes(root / name):
        if kind == "<" and IMPURE_HEADERS.fullmatch(header):
            yield f"pure, but includes <{header}>"
    for header, by in reachable(root, name, {}).items():
        if header.startswith(IMPURE_FOLDERS) and header not in TLS_DATA_HEADERS:
            yield f'pure, but gets "{header}" by {by}'
        elif not header.startswith(BASE_FOLDER):
            for kind, foreign in includes(root / header):
                if kind == "<" and IMPURE_HEADERS.fullmatch(foreign):
                    yield f"pure, but gets <{foreign}> by {header}"


def main(root):
    broken = 0
    for path in sorted(p for top in ("common", "tests", "bench", *DAEMONS)
                       for p in (root / top).rglob("*") if p.suffix in (".h", ".cc")):
        name = path.relative_to(root).as_posix()
        found = [text for kind, header in includes(path) for text in check_place(root, name, kind, header)]
        if any(re.fullmatch(pattern, name) for pattern in PURE):
            found += check_purity(root, name)
        for text in found:
            print(f"{name}: {text}")
        broken += len(found)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
