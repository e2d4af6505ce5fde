"""BDAT and BINARYMIME (RFC 3030) through the whole server, and LIMITS (RFC 9422): what comes in by chunks leaves
byte for byte as it came, by DATA or by BDAT, and what no next hop or mailbox may have never gets there."""
import email
import email.policy
import itertools
import random
import re
import socket
import subprocess

import pytest

from support.chunking import ChunkingClient, ChunkingSink, send_chunks
from support.exim import Exim
from support.server import BUILD, MX_PORT, RELAY_PORT
from support.sink import SINK_PORT, sha256, without_trace
from support.waiting import wait_for
from test_notices import start_postfix
from test_peers import exim_root

ALL_BYTES = bytes(range(256))
TEXT = b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\nMAIL FROM:<x@y.example>\r\n\r\n.\r\n"
BINARY = (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
          b"Content-Transfer-Encoding: binary\r\n\r\n")


@pytest.fixture
def chunking_sink(closing):
    return closing(ChunkingSink())


def cut(body, seed):
    """Into chunks, some of them empty, one after the other."""
    chosen = random.Random(seed)
    chunks = []
    while body:
        size = chosen.choice((0, 1, 2, 3, 700, 65_536, 300_000))
        chunks.append(body[:size])
        body = body[size:]
    return chunks + [b""]


def binary_body(size, seed=1):
    """A header, and bytes that are anything."""
    return BINARY + b"\n" + random.Random(seed).randbytes(size)


def bounce(server):
    text = server.wait_mail("alice")[0].read_bytes()
    server.wait_empty()
    return text


# --- Text --------------------------------------------------------------------------------------------

BODIES = {
    "empty": b"",
    "dots": TEXT,
    "no end of the last line": b"Subject: x\r\n\r\n.no end",
    "zero and eight bits": b"Subject: x\r\n\r\n\0\xff\r\n.\0\r\n",
    "large": b"Subject: x\r\n\r\n" + b".line of a large message\r\n" * 40_000,
}


@pytest.mark.parametrize("name", BODIES)
def test_text_leaves_by_data_and_by_chunks_as_it_came(server, sink, chunking_sink, name):
    body = BODIES[name]
    server.route("data.example", sink.via).route("*", chunking_sink.via).start()
    send_chunks(server, ["x@data.example", "y@chunks.example", "bob@example.org"], cut(body, 7), RELAY_PORT)
    ended = body if body.endswith(b"\r\n") or not body else body + b"\r\n"  # RFC 5321 4.1.1.4
    assert sha256(sink.wait()[0].body) == sha256(ended)
    assert sha256(chunking_sink.wait()[0].body) == sha256(ended)
    content = server.wait_mail("bob")[0].read_bytes()
    assert sha256(without_trace(content, b"\n")) == sha256(body.replace(b"\r\n", b"\n"))
    server.wait_empty()
    large = server.directory / "spool" / "large"
    wait_for("no large file is left", lambda: not list(large.glob("*")))


def test_ehlo_says_what_holds(server):
    server.configure(limits={"recipients": 3, "messages_per_session": 2}).start()
    with ChunkingClient(server, MX_PORT) as client:
        assert client.has_extn("chunking") and client.has_extn("binarymime")
        assert client.esmtp_features["limits"].split() == ["MAILMAX=2", "RCPTMAX=3"]
        client.docmd("MAIL", "FROM:<x@remote.example>")
        assert [client.docmd("RCPT", f"TO:<bob+{n}@example.org>")[0] for n in range(4)] == [250, 250, 250, 452]
        assert client.chunk(TEXT, last=True)[0] == 250
        assert client.send_chunks(["bob@example.org"], [TEXT])[0] == 250
        assert client.docmd("MAIL", "FROM:<x@remote.example>")[0] == 421
    server.wait_mail("bob", 4)


def test_pipelined_chunks(server):
    """All of several messages in one write; the replies come in their order."""
    server.start()
    hand = server.session_by_hand()
    hand.expect("EHLO client.example", "250")
    wire = b""
    for n in range(20):
        wire += b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
        wire += b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 6\r\nQUIT\r\nBDAT 0\r\nBDAT 4 LAST\r\n%02d\r\n" % n
    hand.send(wire + b"QUIT\r\n")
    for _ in range(20):
        assert [hand.reply()[:3] for _ in range(6)] == ["250"] * 6
    assert hand.reply().startswith("221")
    numbers = sorted(path.read_bytes().rsplit(b"QUIT\n", 1)[1] for path in server.wait_mail("bob", 20))
    assert numbers == [b"%02d\n" % n for n in range(20)]


def test_what_is_refused_is_read_and_given_up(server):
    server.configure(limits={"message_size": "1MiB"}).start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO client.example", "250")
    evil = b"MAIL FROM:<evil@remote.example>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\nx\r\n.\r\n" * 12_000
    for recipient, size, answers in ((b"nobody@example.org", len(evil), ["250", "550", "554", "554"]),
                                     (b"bob@example.org", len(evil), ["250", "250", "250", "552"])):
        hand.send(b"MAIL FROM:<x@remote.example>\r\nRCPT TO:<" + recipient + b">\r\nBDAT 500000\r\n" + evil[:500_000]
                  + b"BDAT %d LAST\r\n" % size + evil)
        assert [hand.reply()[:3] for _ in range(4)] == answers
        hand.expect("RSET", "250")
    hand.expect("NOOP", "250")
    hand.send(b"BDAT 999999999999 LAST\r\n")
    assert hand.reply().startswith("552 5.3.4") and hand.is_closed()
    server.wait_empty()
    assert server.status()["total"]["accepted"] == 0 and not server.mailbox("carol")


def test_a_connection_that_ends_inside_a_chunk_brings_nothing(server):
    server.start()
    for sent in (b"BDAT 300000\r\n" + b"x" * 299_999, b"BDAT 5\r\nabc\r\n", b"BDAT 5 LAST\r\nabc\r", b"BDAT 5 LAST"):
        hand = server.session_by_hand()
        hand.expect("EHLO client.example", "250")
        hand.expect("MAIL FROM:<alice@example.org>", "250")
        hand.expect("RCPT TO:<bob@example.org>", "250")
        hand.send(sent)
        hand.sock.shutdown(socket.SHUT_WR)
        assert hand.is_closed()
    server.wait_empty()
    assert server.status()["total"]["accepted"] == 0
    large = server.directory / "spool" / "large"
    wait_for("no large file is left", lambda: not list(large.glob("*")))


def test_smuggling_permutations(server, sink):
    """All 3^6 mixtures of CR, LF and NUL around a dot, in one chunk or two: never a second message, neither here
    nor at the next hop, which gets it by DATA."""
    server.route("*", sink.via).start()
    accepted = 0
    hand = server.session_by_hand()
    hand.expect("EHLO client.example", "250")
    for number, mixture in enumerate(itertools.product((b"\r", b"\n", b"\0"), repeat=6)):
        end = b"".join(mixture[:3]) + b"." + b"".join(mixture[3:])
        text = (b"Subject: %d\r\n\r\na" % number + end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<carol@example.org>\r\n"
                b"DATA\r\nx\r\n.\r\n")
        at = len(text) if number % 2 else text.index(end) + number % 7
        hand.expect("MAIL FROM:<alice@example.org>", "250")
        hand.expect("RCPT TO:<x@remote.example>", "250")
        hand.send(b"BDAT %d\r\n" % at + text[:at] + b"BDAT %d LAST\r\n" % (len(text) - at) + text[at:])
        answers = [hand.reply(), hand.reply()]
        bare = re.search(rb"\r(?!\n)|(?<!\r)\n", text) is not None
        if bare:
            assert any(answer.startswith("550 5.6.11") for answer in answers), (end, answers)
            hand.expect("RSET", "250")
        else:
            assert [answer[:3] for answer in answers] == ["250", "250"], (end, answers)
        accepted += not bare
    server.wait_empty(90)
    assert accepted > 0 and server.status()["total"]["accepted"] == accepted
    assert len(sink.messages) == accepted
    assert {tuple(message.recipients) for message in sink.messages} == {("x@remote.example",)}
    assert not server.mailbox("carol")


# --- Binary ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 3_000, 200_000, 3_000_000])
def test_binary_arrives_byte_for_byte(server, chunking_sink, size):
    body = BINARY + ALL_BYTES + b"\r\n.\r\n.\n.\r." + binary_body(size)
    server.configure(limits={"message_size": "64MiB"}).route("*", chunking_sink.via).start()
    send_chunks(server, ["x@remote.example", "bob@example.org"], cut(body, size), RELAY_PORT, " BODY=BINARYMIME")
    assert sha256(chunking_sink.wait()[0].body) == sha256(body)
    assert chunking_sink.bodies == ["BINARYMIME"]
    # A mailbox gets the same bytes; its lines end as on the wire.
    assert sha256(without_trace(server.wait_mail("bob")[0].read_bytes())) == sha256(body)
    server.wait_empty()


def test_a_binary_message_that_is_none_may_go_as_text(server, sink, chunking_sink):
    server.route("data.example", sink.via).route("*", chunking_sink.via).start()
    send_chunks(server, ["x@data.example", "y@chunks.example", "bob@example.org"], [TEXT], RELAY_PORT,
                " BODY=BINARYMIME")
    assert sink.wait()[0].body == TEXT and chunking_sink.wait()[0].body == TEXT
    assert chunking_sink.bodies in ([""], ["8BITMIME"])
    assert without_trace(server.wait_mail("bob")[0].read_bytes(), b"\n") == TEXT.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("features", [(), ("CHUNKING",), ("BINARYMIME",)], ids=["none", "CHUNKING", "BINARYMIME"])
@pytest.mark.parametrize("size", [3_000, 400_000])
def test_binary_is_returned_where_it_is_not_taken(server, closing, features, size):
    """RFC 3030 3; the report is no binary message, so the original's body is not in it."""
    sink = closing(ChunkingSink(features))
    server.route("*", sink.via).start()
    body = binary_body(size).replace(b"Subject: x", b"Subject: a\nb")
    send_chunks(server, ["x@remote.example"], [body], RELAY_PORT, " BODY=BINARYMIME RET=FULL")
    text = bounce(server)
    assert b"Status: 5.6.3" in text and b"BINARYMIME" in text
    notice = email.message_from_bytes(text, policy=email.policy.default)
    _, _, original = notice.iter_parts()
    assert original.get_content_type() == "text/rfc822-headers"
    assert b"Subject: a=0Ab" in text and body[len(BINARY) + 1:][:20] not in text
    assert not sink.messages and not sink.bodies


def test_binary_needs_chunks(server):
    server.start()
    hand = server.session_by_hand()
    hand.expect("EHLO client.example", "250")
    hand.expect("MAIL FROM:<alice@example.org> BODY=BINARYMIME", "250")
    hand.expect("RCPT TO:<bob@example.org>", "250")
    hand.expect("DATA", "503 5.5.1")
    hand.expect("RSET", "250")


def test_binary_survives_a_restart_an_export_and_every_view(server, make_server, chunking_sink, tmp_path):
    body = binary_body(5_000)
    server.route("*", chunking_sink.via).start()
    server.ctl("freeze", "remote.example", "--reason", "test", "--future")
    with ChunkingClient(server, RELAY_PORT) as client:
        code, text = client.send_chunks(["x@remote.example"], [body], options=" BODY=BINARYMIME")
        assert code == 250
    message = re.search(rb"queued as ([0-9A-Z]{13})", text)[1].decode()
    server.may_die = True
    server.kill("queued")
    wait_for("queued is back", lambda: server.ctl("status", check=False).exit in (0, 1))
    assert server.ctl("check-spool").rows[-1]["findings"] == 0
    shown = subprocess.run([BUILD / "ctl" / "posternctl", "-c", server.file, "body", message],
                           capture_output=True, check=True).stdout
    assert sha256(without_trace(shown)) == sha256(body)
    server.ctl("export", "--remove", tmp_path / "export")
    other = make_server("b").route("*", chunking_sink.via).start()
    other.ctl("import", "--release", tmp_path / "export")
    assert sha256(chunking_sink.wait()[0].body) == sha256(body)
    assert chunking_sink.bodies == ["BINARYMIME"]


def test_two_of_us_in_a_row(server, make_server):
    """The first hands it to the second as what it is, for that offers both."""
    last = make_server("last").configure(
        postmaster="carol@example.net", domains={"default": "example.net"},
        domain=[{"name": ["example.net"], "deliver": "mailbox", "recipients": "file:users"}]).start()
    server.route("*", f"smtp://{last.ip}:{MX_PORT}").start()
    bodies = {}
    for number, size in enumerate((10, 250_000, 1_000_000)):
        body = binary_body(size, number)
        bodies[sha256(body)] = number
        send_chunks(server, ["bob@example.net"], cut(body, size), RELAY_PORT, " BODY=BINARYMIME")
    came = [path.read_bytes() for path in last.wait_mail("bob", 3, "example.net")]
    assert {sha256(without_trace(without_trace(content))) for content in came} == set(bodies)
    assert all(b"with ESMTP" in content for content in came)


# --- Programs not written here -----------------------------------------------------------------------

@pytest.mark.root
def test_postfix_takes_our_chunks(server, make_sink, closing, tmp_path):
    """A whole Postfix offers CHUNKING, not BINARYMIME."""
    final = make_sink()
    postfix = start_postfix(tmp_path, closing, (final.ip, SINK_PORT))
    server.route("*", postfix).start()
    for number, text in enumerate((TEXT, b"Subject: x\r\n\r\n.no end")):
        send_chunks(server, ["x@remote.example"], cut(text, number), RELAY_PORT)
        came = final.wait(number + 1)[number].content
        assert came.endswith(text if text.endswith(b"\r\n") else text + b"\r\n"), came
    send_chunks(server, ["y@remote.example"], [binary_body(100)], RELAY_PORT, " BODY=BINARYMIME")
    assert b"Status: 5.6.3" in bounce(server)
    assert len(final.messages) == 2


@pytest.mark.root
def test_exim_both_ways(server, make_server, closing, tmp_path):
    """Exim takes our chunks, and its own come to us pipelined with MAIL and RCPT."""
    last = make_server("last").start()
    exim = closing(Exim(tmp_path / "exim", exim_root(), last.ip, RELAY_PORT))
    server.config["domain"][0]["name"] = ["example.com"]
    server.configure(postmaster="carol@example.com", domains={"default": "example.com"})
    server.route("*", exim.via).start()
    send_chunks(server, ["bob@example.org"], cut(TEXT, 5), RELAY_PORT)
    exim.send("x@remote.example", "bob@example.org", "Subject: own\n\n.\n..\nline\n" * 1000)
    exim.send("x@remote.example", "nobody@example.org", "Subject: refused\n\nQUIT\n")
    files = [path.read_bytes() for path in last.wait_mail("bob", 2)]
    assert any(content.endswith(TEXT.replace(b"\r\n", b"\n")) for content in files)
    assert any(b"\nSubject: own\n" in content and content.endswith(b"\n\n.\n..\nline\n") for content in files)
    log = exim.log()
    assert log.count(" K ") >= 2, log  # by chunks, each way: received and delivered
    wait_for("the refusal", lambda: "550 5.1.1" in exim.log())
