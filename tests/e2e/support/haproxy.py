"""Haproxy: a real one in front of a server, with an address of its own from which it connects."""
import socket
import subprocess

from support.net import Address
from support.waiting import wait_for

READY_PORTS = 2998, 2999  # its first and its last: in whatever order it goes, one of them is behind all others


class Haproxy:
    """`ways`: {port that it listens on: (port of the server, options of its line)}."""

    def __init__(self, directory, server, ways):
        self.address = Address()
        self.ip = self.address.ip
        self.directory = directory
        lines = ["global", "  maxconn 100", "defaults", "  mode tcp", "  timeout connect 5s",
                 "  timeout client 60s", "  timeout server 60s",
                 "  unique-id-format %{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid",
                 *self._ready(READY_PORTS[0])]
        for port, (to, options) in ways.items():
            lines += [f"listen p{port}", f"  bind {self.ip}:{port}", "  option smtpchk EHLO check.example",
                      f"  server postern {server.ip}:{to} source {self.ip} {options}"]
        lines += self._ready(READY_PORTS[1])
        (directory / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        self.process = None

    def _ready(self, port):
        return [f"frontend ready{port}", f"  bind {self.ip}:{port}", "  tcp-request connection reject"]

    def start(self):
        log = open(self.directory / "haproxy.log", "wb")
        self.process = subprocess.Popen(["haproxy", "-db", "-f", self.directory / "haproxy.cfg"],
                                        stdout=log, stderr=subprocess.STDOUT)
        log.close()
        wait_for("haproxy listens", self._listens)
        return self

    def _listens(self):
        assert self.process.poll() is None, (self.directory / "haproxy.log").read_text()
        return all(self._listens_on(port) for port in READY_PORTS)

    def _listens_on(self, port):
        with socket.socket() as sock:
            return sock.connect_ex((self.ip, port)) == 0

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.address.close()
