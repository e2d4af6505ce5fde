"""A zone that is really signed: knot serves and signs it, unbound checks it and answers Postern."""
import socket
import subprocess

from dnslib import DNSRecord

from support.server import DNS_PORT
from support.waiting import wait_for

KNOT_PORT = 5454

KNOT = """
server:
  rundir: "{directory}"
  listen: "{ip}@{port}"
database:
  storage: "{directory}/db"
log:
- target: stderr
  any: warning
policy:
- id: quick
  algorithm: ecdsap256sha256
  single-type-signing: on
zone:
- domain: "{name}"
  storage: "{directory}"
  file: "zone"
  zonefile-load: whole
  dnssec-signing: on
  dnssec-policy: quick
"""

UNBOUND = """
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  interface: {ip}@{port}
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-ip6: no
  so-rcvbuf: 0
  module-config: "validator iterator"
  trust-anchor: "{anchor}"
  local-zone: "test." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "{name}"
  stub-addr: {knot}@{knot_port}
"""


class SignedZone:
    """`records`: lines of a zone file. `anchor`: what the resolver trusts in place of the zone's own key."""

    def __init__(self, directory, ip, name, records, anchor=None):
        self.directory = directory
        self._processes = []
        (directory / "db").mkdir(parents=True)
        (directory / "zone").write_text(
            f"$ORIGIN {name}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A {ip}\n"
            + "\n".join(records) + "\n")
        (directory / "knot.conf").write_text(
            KNOT.format(directory=directory, ip=ip, port=KNOT_PORT, name=name))
        self._start("knotd", "-c", directory / "knot.conf")
        self._ask(ip, KNOT_PORT, name)
        anchor = anchor or subprocess.run(
            ["keymgr", "-c", directory / "knot.conf", name, "ds"], check=True, capture_output=True,
            text=True).stdout.splitlines()[0]
        (directory / "unbound.conf").write_text(UNBOUND.format(
            directory=directory, ip=ip, port=DNS_PORT, name=name, anchor=anchor, knot=ip,
            knot_port=KNOT_PORT))
        self._start("unbound", "-d", "-c", directory / "unbound.conf")
        self._ask(ip, DNS_PORT, name)

    def _start(self, *words):
        with open(self.directory / f"{words[0]}.log", "wb") as log:
            self._processes.append(subprocess.Popen(words, stdout=log, stderr=log))

    def _ask(self, ip, port, name):
        """Until the server there answers for the zone, well or badly."""
        query = DNSRecord.question(name, "SOA").pack()

        def answers():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.3)
                sock.sendto(query, (ip, port))
                try:
                    return bool(sock.recv(4096))
                except OSError:
                    return False
        wait_for(f"a name server at {ip}:{port}", answers)

    def close(self):
        for process in self._processes:
            process.terminate()
            process.wait(10)
