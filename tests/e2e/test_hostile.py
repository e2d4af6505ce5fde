"""Clients that are broken or mean: a clear reply or a close, nothing lost, no process dies."""
import os
import socket
import threading

import pytest

from support.client import Closed, Session
from support.server import MX_PORT
from support.waiting import wait_for


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_endless_line(postern):
    hand = postern.session_by_hand()
    before = sum(rss(pid) for pid in postern.pids("smtpd"))
    try:
        for _ in range(400):
            hand.send(b"x" * 65536)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert hand.is_closed()
    assert sum(rss(pid) for pid in postern.pids("smtpd")) - before < 20_000
    postern.send("bob@example.org")


def test_early_end_at_every_place(postern):
    """The stream ends after each byte of a transaction: never a message."""
    wire = (b"EHLO c\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            b"Subject: x\r\n\r\nx\r\n.\r")
    for end in range(0, len(wire) + 1, 3 if len(wire) % 3 else 1):
        sock = socket.create_connection((postern.ip, MX_PORT), 30)
        sock.sendall(wire[:end])
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(30)
        while sock.recv(65536):
            pass
        sock.close()
    postern.wait_empty()
    assert postern.status()["total"]["accepted"] == 0


def test_reset_in_the_body(postern):
    import struct
    for _ in range(20):
        hand = postern.session_by_hand(MX_PORT)
        hand.begin()
        hand.send(b"x" * 300_000)
        hand.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        hand.close()
    postern.send("bob@example.org")
    postern.wait_mail("bob")
    postern.wait_empty()
    assert postern.status()["total"]["accepted"] == 1
    wait_for("no large file is left", lambda: not [
        path for path in (postern.directory / "spool" / "large").glob("*")], 15)


def test_wrong_order(postern):
    hand = postern.session_by_hand(MX_PORT)
    hand.expect("MAIL FROM:<a@b.example>", "503")
    hand.expect("EHLO c", "250")
    hand.expect("RCPT TO:<bob@example.org>", "503")
    hand.expect("DATA", "503")
    hand.expect("MAIL FROM:<a@b.example>", "250")
    hand.expect("MAIL FROM:<a@b.example>", "503")
    hand.expect("DATA", "5")
    hand.expect("EHLO again", "250")
    hand.expect("RCPT TO:<bob@example.org>", "503")


@pytest.mark.parametrize("command, code", [
    ("", "500"), ("XYZZY", "500"), ("MAIL", "501"), ("MAIL FROM", "501"), ("MAIL FROM:<", "501"),
    ("MAIL FROM:<a@b", "501"), ("MAIL FROM:<a@b> X=Y", "5"), ("MAIL FROM:<a@b> SIZE=x", "501"),
    ("MAIL FROM:<a@b> BODY=x", "501"), ("MAIL FROM:<@>", "5"), ("MAIL FROM:<a@b..c>", "5"),
    ("MAIL FROM:<" + "a" * 70 + "@b.example>", "5"), ("EHLO", "501"), ("HELO", "501"),
    ("QUIT now", "501"), ("DATA x", "50"), ("STARTTLS", "50"), ("AUTH PLAIN", "50"),
    ("BDAT 0 LAST", "50"), ("TURN", "50"),
])
def test_malformed(postern, command, code):
    hand = postern.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect(command, code)
    hand.expect("NOOP", "250")


def test_control_characters_in_addresses(postern):
    for byte in [*range(0, 10), 11, 12, *range(14, 32), 127, 200]:
        hand = postern.session_by_hand(MX_PORT)
        hand.expect("EHLO c", "250")
        hand.send(b"MAIL FROM:<a" + bytes([byte]) + b"b@c.example>\r\n")
        assert hand.reply().startswith("5"), byte
        hand.close()


def test_commands_that_bring_no_message(postern):
    hand = postern.session_by_hand(MX_PORT)
    threading.Thread(target=hand.send, args=(b"NOOP\r\n" * 4000 + b"RSET\r\n" * 2000,), daemon=True).start()
    assert [hand.reply()[:3] for _ in range(5001)] == ["250"] * 5000 + ["421"]
    assert hand.is_closed()
    postern.send("bob@example.org")


def test_recipients_that_nobody_takes(postern):
    hand = postern.session_by_hand(MX_PORT)
    hand.expect("EHLO client.example", "250")
    hand.expect("MAIL FROM:<ann@client.example>", "250")
    guesses = b"".join(b"RCPT TO:<u%d@example.org>\r\n" % n for n in range(6000))
    threading.Thread(target=hand.send, args=(guesses,), daemon=True).start()
    assert [hand.reply()[:3] for _ in range(4999)] == ["550"] * 4998 + ["421"]
    assert hand.is_closed()


@pytest.mark.parametrize("count", [5_000, 20_000])
def test_replies_larger_than_any_buffer(server, count):
    """A client may send everything first and read afterwards, as long as it reads at all."""
    server.configure(limits={"recipients": 20_000}, space={"segment": "100MiB"}).start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO client.example", "250")
    hand.expect("MAIL FROM:<ann@client.example>", "250")
    threading.Thread(target=hand.send, args=(b"RCPT TO:<bob@example.org>\r\n" * count + b"QUIT\r\n",), daemon=True).start()
    codes = [hand.reply()[:3] for _ in range(count + 1)]
    assert codes == ["250"] * count + ["221"]


def test_too_many_errors(postern):
    hand = postern.session_by_hand(MX_PORT)
    codes = []
    try:
        for _ in range(200):
            codes.append(hand.say("WHAT")[:3])
    except (Closed, BrokenPipeError, ConnectionResetError):
        pass
    assert codes[-1] == "421" and len(codes) < 100


def test_too_large(server):
    server.configure(limits={"message_size": "100KB"}).start()
    hand = server.session_by_hand(MX_PORT)
    assert "SIZE 100000" in hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<a@b.example> SIZE=100001", "552 5.3.4")
    for size, code in ((100_000, "250"), (100_001, "552 5.3.4"), (300_000, "552 5.3.4")):
        hand = server.session_by_hand(MX_PORT)
        hand.begin()
        hand.send(b"x" * (size - 2) + b"\r\n.\r\n")
        assert hand.reply().startswith(code), size
        hand.expect("NOOP", "250")
    hand = server.session_by_hand(MX_PORT)
    hand.begin()
    with pytest.raises(OSError):  # whoever never ends is cut off
        for _ in range(2000):
            hand.send(b"x" * 65_536)
    assert server.status()["total"]["accepted"] == 1


ENDLESS_HEADERS = {
    "one line": b"x" * 65_536,
    "one field": (b" " + b"x" * 76 + b"\r\n") * 830,
    "many fields": b"X-Field: of a header that goes on and on and on and on\r\n" * 1_200,
    "names without a colon": b"Received\r\n" * 6_500,
    "fields that are looked at": b"Delivered-To: bob@example.org" + b" " * 2_000 + b"\r\n" + b"Date: \r\n" * 7_900,
}


@pytest.mark.parametrize("piece", ENDLESS_HEADERS.values(), ids=ENDLESS_HEADERS)
def test_a_header_that_never_ends(server, piece):
    """It ends where a message must, and nobody keeps it in memory until then."""
    server.configure(limits={"message_size": "16MiB"}).start()
    hand = server.session_by_hand(MX_PORT)
    hand.begin()
    before = sum(rss(pid) for pid in server.pids("smtpd"))
    sent = 0
    try:
        while sent < 4 * (16 << 20) + (32 << 20):  # cut off at four times the limit, and what is on its way
            hand.send(piece)
            sent += len(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert hand.is_closed()
    assert sent > 16 << 20
    assert sum(rss(pid) for pid in server.pids("smtpd")) - before < 20_000
    assert server.status()["total"]["accepted"] == 0
    server.send("bob@example.org")
    server.wait_mail("bob")
    assert server.status()["total"]["accepted"] == 1


def test_a_header_as_large_as_a_message_may_be(server):
    server.configure(limits={"message_size": "2MB"}).start()
    line = b"X-Field: " + b"x" * 89 + b"\r\n"
    for more, code in ((b"", "250"), (b"x", "552 5.3.4")):
        hand = server.session_by_hand(MX_PORT)
        hand.begin()
        hand.send(line * 19_999 + b"Y: " + b"y" * 95 + more + b"\r\n.\r\n")
        assert hand.reply().startswith(code)
        hand.expect("NOOP", "250")
    [mail] = server.wait_mail("bob")
    assert mail.read_bytes().endswith(line[:-2] + b"\nY: " + b"y" * 95 + b"\n")


def test_too_many_recipients(server):
    server.configure(limits={"recipients": 10}).start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<a@b.example>", "250")
    codes = [hand.say(f"RCPT TO:<bob+{n}@example.org>")[:3] for n in range(12)]
    assert codes == ["250"] * 10 + ["452"] * 2
    hand.expect("DATA", "354")
    hand.send(b".\r\n")
    assert hand.reply().startswith("250")
    server.wait_mail("bob", 10)


def test_many_recipients(server):
    server.configure(limits={"recipients": 1000}, space={"segment": "8MiB"}).start()  # room for what 1,000 failures would take
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<a@b.example>", "250")
    hand.send(b"".join(b"RCPT TO:<bob+%d@example.org>\r\n" % n for n in range(1001)))
    codes = [hand.reply()[:3] for _ in range(1001)]
    assert codes == ["250"] * 1000 + ["452"]
    hand.expect("DATA", "354")
    hand.send(b"Subject: x\r\n\r\n.\r\n")
    assert hand.reply().startswith("250")
    server.wait_empty(60)
    assert server.status()["total"]["delivered"] == 1000


def test_loop(postern):
    hand = postern.session_by_hand(MX_PORT)
    hand.begin()
    hand.send(b"Received: from a by b; c\r\n" * 150 + b"\r\nx\r\n.\r\n")
    assert hand.reply().startswith("554 5.4.6")


def test_timeouts(server):
    server.configure(limits={"timeout": {"command": "1s", "data": "1s", "idle": "1s"}}).start()
    hand = server.session_by_hand(MX_PORT)
    assert hand.reply().startswith("421")
    assert hand.is_closed()
    hand = server.session_by_hand(MX_PORT)
    hand.begin()
    hand.send(b"slow")
    assert hand.is_closed()
    assert server.status()["total"]["accepted"] == 0


def test_connections_per_client(server):
    server.configure(limits={"connections_per_client": 3}).start()
    held = [server.session_by_hand(MX_PORT) for _ in range(3)]
    sock = socket.create_connection((server.ip, MX_PORT), 30)
    sock.settimeout(30)
    assert sock.recv(1000).startswith(b"421")
    for hand in held:
        hand.expect("QUIT", "221")
        assert hand.is_closed()

    def again():
        try:
            hand = server.session_by_hand(MX_PORT)
        except Closed:
            return False
        return hand.greeting.startswith("220")
    wait_for("a slot is free again", again)


def test_connection_flood(server):
    server.configure(limits={"connections": 50, "connections_per_client": 0}).start()
    socks = [socket.create_connection((server.ip, MX_PORT), 30) for _ in range(200)]
    greetings = []
    for sock in socks:
        sock.settimeout(30)
        try:
            greetings.append(sock.recv(1000)[:3])
        except ConnectionResetError:
            greetings.append(b"")
    assert set(greetings) <= {b"220", b"421", b""} and greetings.count(b"220") >= 50
    for sock in socks:
        sock.close()
    wait_for("it serves again", lambda: server.session_by_hand(MX_PORT).greeting[:3] == "220"
             if server.alive() else False)


def test_a_client_that_never_reads(postern):
    """Replies pile up for it; then it is read no further, and the others go on."""
    sock = socket.create_connection((postern.ip, MX_PORT), 30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(2)
    before = sum(rss(pid) for pid in postern.pids("smtpd"))
    try:
        for _ in range(2000):
            sock.sendall(b"HELP\r\n" * 1000)
    except (socket.timeout, BrokenPipeError, ConnectionResetError):
        pass
    assert sum(rss(pid) for pid in postern.pids("smtpd")) - before < 30_000
    postern.send("bob@example.org")
    postern.wait_mail("bob")
    sock.close()


def test_random_bytes(postern):
    """Noise in many sessions at once, while a well-behaved one goes on."""
    def noise():
        for _ in range(15):
            try:
                hand = Session(socket.create_connection((postern.ip, MX_PORT), 30))
                hand.send(os.urandom(3000) + b"\r\n" + os.urandom(3000))
                hand.sock.shutdown(socket.SHUT_WR)
                hand.is_closed()
                hand.close()
            except (OSError, Closed):
                pass
    threads = [threading.Thread(target=noise) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        postern.send("bob@example.org")
    for thread in threads:
        thread.join(60)
    postern.wait_mail("bob", 20)
    text = (postern.directory / "log").read_text(errors="replace")
    assert all(line.isprintable() for line in text.splitlines())


def test_foreign_text_cannot_forge_a_log_line(postern):
    hand = postern.session_by_hand(MX_PORT)
    hand.send(b"EHLO x event=message.accepted\" \\\x1b[2J\t\xff\r\n")
    hand.reply()
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<\"a event=x\"@b.example>", "250")
    hand.expect('RCPT TO:<"no\\ one level=error"@example.org>', "550")
    hand.expect("QUIT", "221")
    hand.is_closed()
    postern.send("bob@example.org")
    postern.wait_mail("bob")
    assert len(postern.events("message.accepted")) == 1
