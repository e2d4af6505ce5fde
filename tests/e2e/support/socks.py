"""Socks: a SOCKS5 server (RFC 1928), as a firewall has one: without a log-in, and with names that it alone knows."""
import socket
import socketserver
import struct
import threading

from support.net import Address

SOCKS_PORT = 1080

OPENED, NOT_ALLOWED, UNREACHABLE, REFUSED = 0, 2, 4, 5  # RFC 1928 6
IPV4, NAME, IPV6 = 1, 3, 4


def exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def pump(source, drain):
    """Until one of them ends."""
    try:
        while data := source.recv(1 << 16):
            drain.sendall(data)
        drain.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Socks:
    """Connects to whom it is asked for, from its own address."""

    def __init__(self, ip=None):
        self.address = None if ip else Address()
        self.ip = ip or self.address.ip
        self.hosts = {}  # name -> address
        self.refuse = OPENED  # or what everybody gets
        self.asked = []  # (name or address, port)
        self.peers = []  # addresses of clients
        self.quiet = set()  # ports at which hosts wait to be spoken to
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                owner.peers.append(self.client_address[0])
                try:
                    owner.serve(self.request)
                except (OSError, EOFError):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            block_on_close = False  # tunnels end with those at their ends

        self.server = Server((self.ip, SOCKS_PORT), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        return f"{self.ip}:{SOCKS_PORT}"

    def serve(self, client):
        assert exactly(client, 3) == b"\5\1\0"  # no log-in, and nothing else
        client.sendall(b"\5\0")
        assert exactly(client, 3) == b"\5\1\0"  # CONNECT
        kind, = exactly(client, 1)
        if kind == NAME:
            host = exactly(client, *exactly(client, 1)).decode()
        else:
            host = socket.inet_ntop(*((socket.AF_INET, exactly(client, 4)) if kind == IPV4
                                      else (socket.AF_INET6, exactly(client, 16))))
        port, = struct.unpack("!H", exactly(client, 2))
        self.asked.append((host, port))
        if self.refuse != OPENED:
            return self.answer(client, self.refuse)
        if kind == NAME and host not in self.hosts:
            return self.answer(client, UNREACHABLE)
        try:
            far = socket.create_connection((self.hosts.get(host, host), port), source_address=(self.ip, 0))
        except OSError:
            return self.answer(client, REFUSED)
        with far:
            greeting = b"" if port in self.quiet else far.recv(1 << 16)
            self.answer(client, OPENED, greeting)  # in one piece
            back = threading.Thread(target=pump, args=(far, client), daemon=True)
            back.start()
            pump(client, far)
            back.join()

    def answer(self, client, reply, behind=b""):
        client.sendall(bytes((5, reply, 0, IPV4)) + bytes(6) + behind)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        if self.address:
            self.address.close()
