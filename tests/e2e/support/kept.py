"""The kept spools: what versions of Postern left behind, and all later ones must read. tests/e2e/kept/make
makes them, tests/e2e/test_kept.py opens them."""
import hashlib
import json
import lzma
import os
import shutil
import tarfile
from pathlib import Path

KEPT = Path(__file__).resolve().parents[1] / "kept"
SPOOL_USER = "_postern-queued"

# What was configured when they were made; a spool is opened with the segments that it has.
SETTINGS = {
    "limits": {"recipients": 100},
    "space": {"stop_intake": "1MiB", "segment": "1MiB", "reserve": "2MiB"},
}

SHOWN = ("id", "from", "hello", "client", "arrived", "size", "bounce", "origin")
SHOWN_RECIPIENT = ("address", "queue", "end", "state", "tries", "last_try", "last_reply", "remote")


class Kept:
    """One of them."""

    def __init__(self, version):
        self.folder = KEPT / version
        self.expected = json.loads((self.folder / "expected.json").read_text())

    def export(self, file):
        """The export file, as `file`."""
        file.write_bytes(lzma.decompress((self.folder / "export.postern.xz").read_bytes()))
        return file

    def unpack(self, directory):
        """The spool below `directory`, as its server left it."""
        with tarfile.open(self.folder / "spool.tar.xz") as archive:
            archive.extractall(directory)
        spool = directory / "spool"
        if os.getuid() == 0:
            for path in (spool, *spool.rglob("*")):
                shutil.chown(path, SPOOL_USER, SPOOL_USER)
        return spool


def look(server):
    """What is kept of a queue, in words that later versions will have too."""
    messages = {}
    for row in server.messages():
        shown = server.ctl("show", row["id"]).rows[0]
        body = server.ctl_text("body", row["id"]).out.encode("utf-8", "surrogateescape")
        messages[row["id"]] = {
            **{key: shown.get(key) for key in SHOWN},
            "recipients": [{key: recipient.get(key) for key in SHOWN_RECIPIENT}
                           for recipient in shown["recipients"]],
            "sha256": hashlib.sha256(body).hexdigest()}
    return {"messages": messages,
            "blocks": [{key: row.get(key) for key in ("kind", "name", "reason", "since")}
                       for row in server.ctl("blocks").rows],
            "history": [{key: row.get(key) for key in ("id", "from", "to", "end", "size")}
                        for row in server.ctl("history").rows]}
