"""The two ends of the guard's scenarios: a client and a next hop that do the same each time."""
import socket
import threading
import time

BODY_SIZE = 4096
PATIENCE = 30


def message():
    """4 KiB in lines, as on the wire; its dot is the caller's."""
    head = b"From: sender@client.example\r\nSubject: the guard\r\n\r\n"
    lines = b"x" * 62 + b"\r\n"
    body = head + lines * ((BODY_SIZE - len(head)) // len(lines))
    return body + b"x" * (BODY_SIZE - len(body) - 2) + b"\r\n"


class Client:
    """One SMTP session; what it sends goes out in one write."""
    ENVELOPE = b"MAIL FROM:<sender@client.example>\r\nRCPT TO:<recipient@remote.example>\r\nDATA\r\n"

    def __init__(self, address, hello=True):
        self._socket = socket.create_connection(address, PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = b""
        self.reply()
        if hello:
            self.ask(b"EHLO client.example\r\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def reply(self):
        """The code of one reply, however many lines it has."""
        while True:
            while b"\r\n" not in self._kept:
                fresh = self._socket.recv(65536)
                if not fresh:
                    raise RuntimeError("the server closed the connection")
                self._kept += fresh
            line, self._kept = self._kept.split(b"\r\n", 1)
            if line[3:4] != b"-":
                return int(line[:3])

    def ask(self, text):
        self._socket.sendall(text)
        return self.reply()

    def send_all(self, messages, body):
        """One after the other: the envelope pipelined, then the body, then the 250."""
        for _ in range(messages):
            self._socket.sendall(self.ENVELOPE)
            codes = [self.reply() for _ in range(3)]
            codes.append(self.ask(body + b".\r\n"))
            if codes != [250, 250, 354, 250]:
                raise RuntimeError(f"the server answered {codes}")


class Sink:
    """Takes all, announces PIPELINING, and answers what came in one read in one write."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"220 sink.example ESMTP\r\n")
        kept, in_body = b"", False
        with connection:
            while fresh := connection.recv(65536):
                kept += fresh
                answers, taken = b"", 0
                while True:
                    if in_body:
                        _, dot, rest = kept.partition(b"\r\n.\r\n")
                        if not dot:
                            break
                        kept, in_body, taken = rest, False, taken + 1
                        answers += b"250 2.0.0 taken\r\n"
                        continue
                    line, end, rest = kept.partition(b"\r\n")
                    if not end:
                        break
                    kept = rest
                    verb = line[:4].upper()
                    in_body = verb == b"DATA"
                    answers += {b"EHLO": b"250-sink.example\r\n250 PIPELINING\r\n", b"DATA": b"354 go on\r\n",
                                b"QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n")
                if answers:
                    connection.sendall(answers)
                self.count += taken

    def wait(self, count):
        deadline = time.monotonic() + PATIENCE
        while self.count < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the sink has {self.count} of {count} messages")
            time.sleep(0.0002)

    def close(self):
        self._listener.close()
