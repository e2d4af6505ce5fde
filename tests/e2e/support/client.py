"""Session: SMTP by hand, byte by byte."""
import socket

from support.waiting import PATIENCE


class Closed(Exception):
    """The server closed the connection."""


class Session:
    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.pending = b""
        self.greeting = self.reply()

    def send(self, data):
        """Bytes as they are."""
        self.sock.sendall(data)

    def line(self):
        while b"\r\n" not in self.pending:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed(self.pending)
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\r\n")
        return line.decode("ascii")

    def reply(self):
        """All lines of one reply; the code is that of the last."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return "\n".join(lines)

    def say(self, text):
        """A command, and its reply."""
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def expect(self, text, start):
        answer = self.say(text)
        assert answer.startswith(start), f"{text!r}: {answer!r}, not {start!r}"
        return answer

    def begin(self, sender="<alice@example.org>", recipient="<bob@example.org>"):
        """Up to the 354."""
        self.expect("EHLO client.example", "250")
        self.expect(f"MAIL FROM:{sender}", "250")
        self.expect(f"RCPT TO:{recipient}", "250")
        self.expect("DATA", "354")

    def is_closed(self):
        """Waits for the server's end of the stream."""
        try:
            while True:
                more = self.sock.recv(65536)
                if not more:
                    return True
                self.pending += more
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.sock.close()
