"""Programs that speak BDAT (RFC 3030): a client on smtplib, a next hop on aiosmtpd."""
import re
import smtplib

from aiosmtpd.smtp import syntax

from support.sink import Sink, _Controller, _Server
from support.waiting import PATIENCE


class ChunkingClient(smtplib.SMTP):
    """smtplib with BDAT."""

    def __init__(self, server, port):
        super().__init__(server.ip, port, local_hostname="client.example", timeout=PATIENCE)
        self.ehlo()

    def chunk(self, data, last=False):
        """One chunk, and its reply."""
        self.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
        return self.getreply()

    def send_chunks(self, recipients, chunks, sender="alice@example.org", options=""):
        """One transaction; the reply to its last chunk."""
        self.docmd("MAIL", f"FROM:<{sender}>{options}")
        for recipient in recipients:
            code, text = self.docmd("RCPT", f"TO:<{recipient}>")
            assert code == 250, text
        for number, data in enumerate(chunks):
            reply = self.chunk(data, number + 1 == len(chunks))
            if reply[0] != 250:
                return reply
        return reply


def send_chunks(server, recipients, chunks, port, options=""):
    """The same on a connection of its own; it must be taken."""
    with ChunkingClient(server, port) as client:
        code, text = client.send_chunks(recipients, chunks, options=options)
        assert code == 250, (code, text)


class _ChunkingServer(_Server):
    @syntax("BDAT size [LAST]")
    async def smtp_BDAT(self, arg):
        words = arg.upper().split()
        data = await self._reader.readexactly(int(words[0]))
        self.envelope.chunks = getattr(self.envelope, "chunks", b"") + data
        if words[1:] != ["LAST"]:
            await self.push(f"250 2.0.0 {words[0]} octets")
            return
        self.envelope.original_content = self.envelope.chunks
        reply = await self.event_handler.handle_DATA(self, self.session, self.envelope)
        self._set_post_data_state()
        await self.push(reply)

    async def smtp_MAIL(self, arg):
        self.event_handler.bodies.append((re.findall(r"BODY=(\w+)", arg) or [""])[0])
        await super().smtp_MAIL(arg.replace("BODY=BINARYMIME", "BODY=8BITMIME"))


class _ChunkingController(_Controller):
    def factory(self):
        return _ChunkingServer(self.handler, enable_SMTPUTF8=False, data_size_limit=64 << 20,
                               hostname="sink.example")


class ChunkingSink(Sink):
    """Offers `features` too, and keeps in `bodies` what MAIL said of each."""
    controller = _ChunkingController

    def __init__(self, features=("CHUNKING", "BINARYMIME")):
        self.features = features
        self.bodies = []
        super().__init__()

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return responses[:-1] + [f"250-{feature}" for feature in self.features] + responses[-1:]
