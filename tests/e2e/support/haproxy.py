"""Haproxy: a real one in front of a server, with an address of its own from which it connects."""
import socket
import subprocess

from support.net import Address
from support.waiting import wait_for

READY_PORT = 2999  # it listens there when it listens everywhere


class Haproxy:
    """`ways`: {port that it listens on: (port of the server, options of its line)}."""

    def __init__(self, directory, server, ways):
        self.address = Address()
        self.ip = self.address.ip
        self.directory = directory
        lines = ["global", "  maxconn 100", "defaults", "  mode tcp", "  timeout connect 5s",
                 "  timeout client 60s", "  timeout server 60s",
                 "  unique-id-format %{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid",
                 "frontend ready", f"  bind {self.ip}:{READY_PORT}", "  tcp-request connection reject"]
        for port, (to, options) in ways.items():
            lines += [f"listen p{port}", f"  bind {self.ip}:{port}", "  option smtpchk EHLO check.example",
                      f"  server postern {server.ip}:{to} source {self.ip} {options}"]
        (directory / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        self.process = None

    def start(self):
        log = open(self.directory / "haproxy.log", "wb")
        self.process = subprocess.Popen(["haproxy", "-db", "-f", self.directory / "haproxy.cfg"],
                                        stdout=log, stderr=subprocess.STDOUT)
        log.close()
        wait_for("haproxy listens", self._listens)
        return self

    def _listens(self):
        assert self.process.poll() is None, (self.directory / "haproxy.log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex((self.ip, READY_PORT)) == 0

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.address.close()
