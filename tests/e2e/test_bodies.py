"""Bodies leave byte for byte as they came, but for trace headers; what is not legal on the wire is
refused."""
import os
import random
import re
from pathlib import Path

import pytest

from support.server import MX_PORT, REPOSITORY
from support.sink import sha256, without_trace
from support.waiting import wait_for

# Awkward messages that others collected; see its README. Not part of this repository.
SHARED = Path(os.environ.get("POSTERN_SHARED_DATA", REPOSITORY.parent / "shared" / "data")) / "messages"

BODIES = {
    "empty": b"",
    "one empty line": b"\r\n",
    "no header": b"just text\r\n",
    "dots": b".\r\n..\r\n...\r\n.a\r\n..a\r\n\r\n.\r\n",
    "all bytes but CR and LF": bytes(b for b in range(256) if b not in (10, 13)) + b"\r\n",
    "long line": b"x" * 100_000 + b"\r\n",
    "long line of dots": b"." * 5000 + b"\r\n",
    "many short lines": b"\r\n" * 50_000,
    "unfinished headers": b"Subject: x\r\n  folded\r\nNo colon\r\n: empty\r\n\r\n\r\n",
    "mbox": b"From someone\r\n>From x\r\n\r\nFrom y\r\n",
    "utf-8": "Subject: Grüße\r\n\r\n\u2028é\r\n".encode(),
    "utf-16": "\ufeffSubject: x\r\n".encode("utf-16-le").replace(b"\r\0\n\0", b"\r\n"),
    "looks like SMTP": b"DATA\r\nQUIT\r\nMAIL FROM:<x@y.example>\r\n",
    "own trace": b"Return-Path: <x@y.example>\r\nReceived: from a by b; c\r\n\r\nx\r\n",
    "just below a slice": b"a" * (60 * 1024 - 2) + b"\r\n",
    "just above a slice": b".a" * (30 * 1024) + b"\r\n",
    "at the limit of memory": b"b" * (256 * 1024 - 2) + b"\r\n",
    "one byte more": b"b" * (256 * 1024 - 1) + b"\r\n",
}


def shared_messages():
    return sorted(SHARED.glob("*.eml")) if SHARED.is_dir() else []


def stuffed(body):
    return re.sub(rb"(^|\r\n)\.", rb"\1..", body)


def in_pieces(hand, wire, seed):
    chosen = random.Random(seed)
    at = 0
    while at < len(wire):
        size = chosen.choice((1, 2, 3, 100, 1460, 16_384, 65_536))
        hand.send(wire[at:at + size])
        at += size


def submit(server, body, recipient, pieces=None):
    hand = server.session_by_hand()
    hand.begin(recipient=f"<{recipient}>")
    wire = stuffed(body) + b".\r\n"
    if pieces is None:
        hand.send(wire)
    else:
        in_pieces(hand, wire, pieces)
    answer = hand.reply()
    hand.close()
    return answer



def check_all(server, sink, bodies):
    """Each body goes to a mailbox and to a next hop, and arrives there with the same hash."""
    wanted = {}
    for number, (name, body) in enumerate(bodies.items()):
        answer = submit(server, body, f"x{number}@remote.example", pieces=number)
        assert answer.startswith("250"), (name, answer)
        answer = submit(server, body, f"bob+{number}@example.org")
        assert answer.startswith("250"), (name, answer)
        wanted[number] = (name, body)
    sink.wait(len(wanted), 60)
    for message in sink.messages:
        name, body = wanted[int(message.recipients[0][1:].split("@")[0])]
        assert sha256(message.body) == sha256(body), name
    server.wait_empty()
    files = server.wait_mail("bob", len(wanted))
    assert len(files) == len(wanted)
    for path in files:
        content = path.read_bytes()
        number = int(re.search(rb"for <bob\+(\d+)@example.org>", content).group(1))
        name, body = wanted[number]
        assert sha256(without_trace(content, b"\n")) == sha256(body.replace(b"\r\n", b"\n")), name


@pytest.fixture
def both(server, sink):
    server.route("*", sink.via)
    server.configure(limits={"message_size": "64MiB"})
    return server.start()


def test_awkward_bodies(both, sink):
    check_all(both, sink, BODIES)


def test_messages_that_others_collected(both, sink):
    found = shared_messages()
    if not found:
        print(f"did not run: {SHARED} does not exist here")
        return
    good = {}
    for path in found:
        body = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        if re.search(rb"\r(?!\n)", body):
            assert submit(both, body, "bob@example.org").startswith("550"), path.name
        else:
            good[path.name] = body
    assert len(good) > 90
    check_all(both, sink, good)


@pytest.mark.parametrize("megabytes", [1, 10, 30])
def test_large(both, sink, megabytes):
    line = bytes(range(32, 127)) * 10 + b"\r\n"
    body = b"Subject: large\r\n\r\n" + b".start\r\n" + line * (megabytes * 1_000_000 // len(line))
    assert submit(both, body, "x@remote.example").startswith("250")
    assert submit(both, body, "bob@example.org", pieces=1).startswith("250")
    assert sha256(sink.wait(1, 90)[0].body) == sha256(body)
    content = both.wait_mail("bob", 1, timeout=90)[0].read_bytes()
    assert sha256(without_trace(content, b"\n")) == sha256(body.replace(b"\r\n", b"\n"))
    both.wait_empty()
    large = both.directory / "spool" / "large"
    wait_for("no large file is left", lambda: not list(large.glob("*")))


@pytest.mark.parametrize("bare", [b"a\nb\r\n", b"a\rb\r\n", b"\n\r\n", b"a\r\r\n", b"a\n.\nb\r\n",
                                  b"a\r\n.\nb\r\n", b"a\n.\r\nb\r\n", b"a\r\n.\rb\r\n", b"a\r.\r\nb\r\n",
                                  b"a\n\r.\n\rb\r\n"])
def test_a_cr_or_lf_that_stands_alone_is_refused(postern, bare):
    """SMTP smuggling: nothing that might be an end of data elsewhere gets in, and no second message."""
    hand = postern.session_by_hand()
    hand.begin()
    hand.send(bare + b"MAIL FROM:<evil@remote.example>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n"
              b"smuggled\r\n.\r\n")
    assert hand.reply().startswith("550 5.6.11")
    assert hand.is_closed()
    postern.send("bob@example.org")
    postern.wait_mail("bob")
    assert postern.status()["total"]["accepted"] == 1
    assert not postern.mailbox("carol")


def test_smuggling_permutations(postern):
    """All 3^6 mixtures of CR, LF and NUL around a dot: never a second message."""
    import itertools
    ends = [b"".join(p[:3]) + b"." + b"".join(p[3:])
            for p in itertools.product((b"\r", b"\n", b"\0"), repeat=6)]
    accepted = 0
    for end in ends:
        hand = postern.session_by_hand(MX_PORT)
        hand.begin(sender="<x@remote.example>")
        wire = b"a" + end + b"RCPT TO:<carol@example.org>\r\n.\r\n"
        hand.send(wire)
        answer = hand.reply()
        body = wire[:wire.index(b"\r\n.\r\n")]  # some of them hold the one real end
        bare = re.search(rb"\r(?!\n)|(?<!\r)\n", body) is not None
        assert answer.startswith("550" if bare else "250"), (end, answer)
        accepted += not bare
        hand.close()
    postern.wait_empty()
    assert postern.status()["total"]["accepted"] == accepted
    assert not postern.mailbox("carol")
