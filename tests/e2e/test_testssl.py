"""What testssl.sh finds at our TLS: nothing above "low"."""
import json
import subprocess

import pytest

from support.certificates import Authority

NAME = "mx.example.org"
STARTTLS_PORT = 2587
TLS_PORT = 2465
# Of a certificate that a test makes for itself: nobody could revoke it, nobody has logged it.
OF_THE_TEST = {"cert_revocation", "certificate_transparency", "DNS_CAArecord"}


@pytest.mark.parametrize("kind, words, port", [("rsa", ["--starttls", "smtp"], STARTTLS_PORT), ("P-256", [], TLS_PORT)])
def test_nothing_above_low(server, tmp_path, kind, words, port):
    authority = Authority(tmp_path)
    chain, key = authority.issue(NAME, kind=kind, days=300, stem="mx")
    server.configure(certificate=[{"chain": str(chain), "key": str(key), "names": [NAME]}])
    server.config["listen"] += [
        {"address": f"{server.ip}:{STARTTLS_PORT}", "service": "mx"},
        {"address": f"{server.ip}:{TLS_PORT}", "service": "mx", "tls": "implicit"}]
    server.start()
    found = tmp_path / "found.json"
    done = subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
                           "--ip", server.ip, "--add-ca", authority.root, "-p", "-f", "-P", "-S", "-s", "-U",
                           "--jsonfile", found, *words, f"{NAME}:{port}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    rows = json.loads(found.read_text())
    assert len(rows) > 60, done.stdout[-2000:]
    worse = [(row["id"], row["severity"], row["finding"]) for row in rows
             if row["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and row["id"].split()[0] not in OF_THE_TEST]
    assert worse == []
