"""Debian's postfix package, unpacked into a private root: all of Postfix, and smtp-source and smtp-sink."""
import os
import subprocess
from pathlib import Path

DEFAULT_ROOT = Path(__file__).resolve().parents[2] / "build" / "peers"


class PeerError(Exception):
    """A sentence for the person at the terminal."""


def unpack(root=DEFAULT_ROOT):
    """The root, unpacked now if it is not there yet."""
    root = Path(root)
    if (root / "usr/sbin/smtp-source").exists():
        return root
    download = root / "download"
    download.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(["apt-get", "download", "-qq", "postfix"], cwd=download, check=False,
                             capture_output=True, text=True)
    packages = list(download.glob("postfix_*.deb"))
    if not packages:
        raise PeerError(f"apt-get download postfix: {fetched.stderr.strip()}")
    subprocess.run(["dpkg", "-x", packages[0], root], check=True)
    for package in packages:
        package.unlink()
    download.rmdir()
    return root


def environment(root):
    """With the libraries of the private root."""
    return {**os.environ, "LD_LIBRARY_PATH": str(Path(root) / "usr/lib/postfix")}


def check(root):
    """PeerError names the libraries that its programs miss here."""
    path = Path(root) / "usr/sbin/postconf"
    linked = subprocess.run(["ldd", path], env=environment(root), check=True, capture_output=True, text=True)
    missing = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    if missing:
        raise PeerError(f"Postfix needs {', '.join(missing)}: apt-get install libdb5.3 libicu72 libnsl2 "
                        "libsasl2-2")
