"""Next hops: an honest one (aiosmtpd), and one that follows a script and may lie."""
import dataclasses
import hashlib
import socket
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from support.net import Address, endpoint
from support.waiting import wait_for

SINK_PORT = 2627


@dataclasses.dataclass
class Received:
    """One message that a sink took."""
    sender: str
    recipients: list
    content: bytes
    peer: tuple
    tls: bool

    @property
    def body(self):
        """What stood below our trace headers: all that follows the first Received field."""
        return without_trace(self.content)


def without_trace(content, line_end=b"\r\n"):
    """A message as it was before Postern put its headers on top: Return-Path and Delivered-To (in a
    mailbox), Received."""
    lines = content.split(line_end)
    at = 0
    for field in (b"Return-Path: ", b"Delivered-To: "):
        at += lines[at].startswith(field)
    assert lines[at].startswith(b"Received: "), content[:300]
    at += 1
    while lines[at][:1] in (b" ", b"\t"):
        at += 1
    return line_end.join(lines[at:])


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class _Server(SMTP):
    """aiosmtpd with room for large messages and for lines of any length."""
    line_length_limit = 1 << 20


class _Controller(Controller):
    starttls = None
    smtputf8 = False

    def factory(self):
        return _Server(self.handler, enable_SMTPUTF8=self.smtputf8, data_size_limit=64 << 20,
                       hostname="sink.example", tls_context=self.starttls)


class Sink:
    """Takes what it is not told to refuse; `refuse` maps recipients to replies. `tls`: a context for
    STARTTLS, or with `implicit` for the first byte."""
    controller = _Controller

    def __init__(self, ip=None, port=SINK_PORT, tls=None, implicit=False, smtputf8=False):
        self.address = None if ip else Address()
        self.ip = ip or self.address.ip
        self.port = port
        self.messages = []
        self.refuse = {}
        self.reply = "250 2.0.0 taken"
        self._lock = threading.Lock()
        self._controller = self.controller(self, hostname=self.ip, port=port,
                                           ssl_context=tls if implicit else None)
        self._controller.starttls = None if implicit else tls
        self._controller.smtputf8 = smtputf8
        self._controller.start()

    @property
    def via(self):
        return f"smtp://{endpoint(self.ip, self.port)}"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        if not self.reply.startswith("2"):
            return self.reply
        with self._lock:
            self.messages.append(Received(envelope.mail_from, list(envelope.rcpt_tos),
                                          envelope.original_content, session.peer,
                                          session.ssl is not None))
        return self.reply

    def wait(self, count=1, timeout=30.0):
        wait_for(f"{count} messages at the sink, which has {len(self.messages)}",
                 lambda: len(self.messages) >= count, timeout)
        return self.messages

    def close(self):
        self._controller.stop()
        if self.address:
            self.address.close()


class Script:
    """A next hop that says what its script says. `script(line)` gets each line from the client ("" at
    the start; body lines too) and returns bytes to send, None to say nothing, or Script.CLOSE."""
    CLOSE = object()

    def __init__(self, script, port=SINK_PORT):
        self.address = Address()
        self.ip = self.address.ip
        self.port = port
        self.script = script
        self.connections = 0
        self.lines = []
        self._listener = socket.create_server((self.ip, port))
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def via(self):
        return f"smtp://{endpoint(self.ip, self.port)}"

    def _accept(self):
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        state = {}
        try:
            with sock, sock.makefile("rb") as lines:
                if not self._say(sock, self.script("", state)):
                    return
                for raw in lines:
                    line = raw.decode("latin-1").rstrip("\r\n")
                    self.lines.append(line)
                    if not self._say(sock, self.script(line, state)):
                        return
        except OSError:
            pass

    def _say(self, sock, what):
        if what is Script.CLOSE:
            return False
        if what:
            sock.sendall(what)
        return True

    def wait_lines(self, start, count=1):
        wait_for(f"{count} x {start}",
                 lambda: sum(line.upper().startswith(start) for line in list(self.lines)) >= count)

    def close(self):
        self._stopped.set()
        self._listener.close()
        self.address.close()


def honest(line, state):
    """The replies of a server without extensions that takes everything."""
    if state.get("data"):
        if line == ".":
            state["data"] = False
            return b"250 2.0.0 ok\r\n"
        return None
    verb = line.split(" ")[0].upper()
    if line == "":
        return b"220 sink.example ESMTP\r\n"
    if verb == "DATA":
        state["data"] = True
        return b"354 go on\r\n"
    if verb == "QUIT":
        return b"221 bye\r\n"
    return b"250 ok\r\n"


def instead(verb, answer):
    """Honest, but for one verb ("" is the greeting, "." the final dot)."""
    def script(line, state):
        now = "." if state.get("data") and line == "." else line.split(" ")[0].upper()
        if now == verb and (verb == "." or not state.get("data")):
            state["data"] = False
            return answer
        return honest(line, state)
    return script


def silence(seconds):
    """Says nothing for a while, then closes."""
    def wait(line, state):
        time.sleep(seconds)
        return Script.CLOSE
    return wait
