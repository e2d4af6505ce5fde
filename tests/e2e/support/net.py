"""Loopback addresses: every server and sink gets one of its own from 127.64.0.0/10, so that tests in
parallel never meet on a port."""
import random
import socket

_CLAIM_PORT = 61005


def endpoint(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class Address:
    """One claimed address; the claim is an open UDP socket."""

    def __init__(self):
        chosen = random.SystemRandom()
        for _ in range(100):
            self.ip = "127.%d.%d.%d" % (64 + chosen.randrange(64), chosen.randrange(256),
                                        1 + chosen.randrange(250))
            self._claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._claim.bind((self.ip, _CLAIM_PORT))
                return
            except OSError:
                self._claim.close()
        raise RuntimeError("no free loopback address")

    def close(self):
        self._claim.close()
