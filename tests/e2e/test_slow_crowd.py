"""Slow clients by the thousand, each in a mood of its own: a new one is greeted within a second all the same, and
its mail is taken. And nobody comes in beyond limits.connections.

POSTERN_CROWD sets how many there are. The long run has 10,000, from 200 addresses."""
import collections
import itertools
import os
import re
import resource
import selectors
import socket
import threading
import time

import pytest

from support.client import Closed, Session
from support.figures import note
from support.server import MX_PORT, RELAY_PORT
from support.waiting import PATIENCE, wait_for
from test_hostile import rss

CROWD = int(os.environ.get("POSTERN_CROWD", "2000"))
PER_CLIENT = 50  # the default of limits.connections_per_client
CONNECTIONS = CROWD + CROWD // 5
COMING = 500  # at the same time: fewer than the listening socket has room for
PAUSE = 0.5  # seconds from byte to byte of those who send some
NEWCOMERS = 10
ENOUGH = 1.0  # seconds until the 220
NEW_ADDRESS = "127.0.2.1"
TLS_PORT = 2465

TO_DATA = [b"EHLO slow.example\r\n", b"MAIL FROM:<slow@client.example>\r\n", b"RCPT TO:<alice@example.org>\r\n", b"DATA\r\n"]
# What each says, one piece behind each reply. The greeting is the first one.
MOODS = {
    "silent": [],
    "half a line": [b"EHL"],
    "half a body": [*TO_DATA, b"Subject: half\r\n\r\nof a li"],
    "half a chunk": [*TO_DATA[:3], b"BDAT 100000\r\nSubject: half\r\n\r\n"],
    "a line byte by byte": [b"NOOP "],
    "a body byte by byte": [*TO_DATA, b"Subject: slow\r\n\r\n"],
}


@pytest.fixture
def descriptors():
    """As many as may be had, for the crowd here and for a server that starts now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > CROWD + 1000, f"so many clients need more than {hard} descriptors: see ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SlowClient:
    def __init__(self, server, source, mood):
        self.mood = mood
        self.to_say = list(MOODS[mood])
        self.heard = b""
        self.greeted = False
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.bind((source, 0))
        self.sock.connect_ex((server.ip, MX_PORT))

    def listen(self):
        """Reads what came, and answers a reply that is whole."""
        more = self.sock.recv(65536)
        self.heard += more
        lines = self.heard.split(b"\r\n")
        if not more or (lines[-1] == b"" and lines[-2][:1] not in (b"2", b"3")):
            raise Closed(self.heard)
        if lines[-1] != b"" or lines[-2][3:4] != b" ":
            return
        self.heard = b""
        self.greeted = True
        if self.to_say:
            self.sock.send(self.to_say.pop(0))

    @property
    def settled(self):
        return self.greeted and not self.to_say

    def drop(self):
        self.sock.send(b"x")


class Crowd:
    """All of them, in a thread of their own: a portion comes in, the next follows as these are greeted, and who has
    begun to send byte by byte goes on. `left` has those that the server let go."""

    def __init__(self, server):
        self.server = server
        self.settled = 0
        self.left = []
        self._dropping = threading.Event()
        self._clients = []
        self._coming = 0
        self._droppers = []
        self._selector = selectors.DefaultSelector()
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        moods = itertools.cycle(MOODS)
        next_drop = time.monotonic() + PAUSE
        while not self._ending:
            while self._coming < COMING and len(self._clients) < CROWD:
                self._let_in(next(moods))
            for key, _ in self._selector.select(max(0, next_drop - time.monotonic())):
                self._try(key.data, key.data.listen)
            if time.monotonic() >= next_drop:
                self._dropping.set()
                for client in self._droppers:
                    self._try(client, client.drop)
                next_drop = time.monotonic() + PAUSE

    def _let_in(self, mood):
        client = SlowClient(self.server, f"127.0.1.{1 + len(self._clients) // PER_CLIENT}", mood)
        self._clients.append(client)
        self._coming += 1
        self._selector.register(client.sock, selectors.EVENT_READ, client)

    def _try(self, client, action):
        """What a client does; when it fails the server has let it go, and the test fails too."""
        greeted, settled = client.greeted, client.settled
        try:
            action()
        except (OSError, Closed) as error:
            self.left.append(f"{client.mood}: {error!r}")
            self._selector.unregister(client.sock)
            self._droppers = [other for other in self._droppers if other is not client]
        if client.greeted and not greeted:
            self._coming -= 1
        if client.settled and not settled:
            self.settled += 1
            if client.mood.endswith("byte by byte"):
                self._droppers.append(client)

    def wait_settled(self):
        wait_for("all have come, and are slow", lambda: self.left or self.settled == CROWD, 10 * PATIENCE)
        assert not self.left, collections.Counter(self.left)

    def wait_drops(self):
        """Until bytes begin to be sent once more."""
        self._dropping.clear()
        assert self._dropping.wait(PATIENCE)

    def close(self):
        self._ending = True
        self._thread.join()
        self._selector.close()
        for client in self._clients:
            client.sock.close()


def start(server, connections, smtpd=1):
    server.configure(limits={"connections": connections}, processes={"smtpd": smtpd}).start()


def arrive_by_hand(server, source, port):
    return socket.create_connection((server.ip, port), PATIENCE, (source, 0))


def arrive(server, source, port=MX_PORT):
    """A new client, who reads what it is greeted with."""
    return Session(arrive_by_hand(server, source, port))


def sessions(server):
    """By the titles that ps shows."""
    return sum(int(number) for title in server.alive().values() for number in re.findall(r"(\d+) sessions", title))


def memory(server):
    return sum(rss(pid) for pid in server.pids("smtpd"))


def test_a_crowd_of_slow_clients(server, descriptors, closing):
    # An smtpd takes half as many connections as it may have descriptors.
    start(server, CONNECTIONS, 1 + 2 * CONNECTIONS // descriptors)
    before = memory(server)
    begun = time.monotonic()
    crowd = closing(Crowd(server))
    crowd.wait_settled()
    came = time.monotonic() - begun
    wait_for("all are served", lambda: sessions(server) == CROWD)
    grown = memory(server) - before
    assert arrive(server, "127.0.1.1").greeting.endswith("too many connections from your address")
    times = []
    for _ in range(NEWCOMERS):
        crowd.wait_drops()
        begun = time.monotonic()
        hand = arrive(server, NEW_ADDRESS)
        times.append(time.monotonic() - begun)
        assert hand.greeting.startswith("220 ")
    hand.begin("<new@client.example>")
    hand.send(b"Subject: in spite of them\r\n\r\nhi\r\n.\r\n")
    assert hand.reply().startswith("250 ")
    file, = server.wait_mail("bob")
    assert b"Subject: in spite of them\n" in file.read_bytes()
    note(f"{CROWD} slow clients, who came within {came:.1f} s and take {grown // 1024} MiB of smtpd: {NEWCOMERS} new ones "
         f"were greeted within {max(times) * 1000:.0f} ms")
    assert max(times) < ENOUGH, times
    assert not crowd.left, collections.Counter(crowd.left)
    assert server.status()["total"]["accepted"] == 1


def test_a_crowd_that_never_shakes_hands(server, descriptors, authority):
    """More than handshakes can be under way at a time (smtpd/tls_desk.h), from two dozen addresses."""
    chain, key = authority.issue("mx.example.org", stem="mx")
    server.configure(certificate=[{"chain": str(chain), "key": str(key), "names": ["mx.example.org"]}])
    server.config["listen"].append({"address": f"{server.ip}:{TLS_PORT}", "service": "mx", "tls": "implicit"})
    start(server, CONNECTIONS)
    crowd = [arrive_by_hand(server, f"127.0.1.{1 + number // PER_CLIENT}", TLS_PORT)
             for number in range(1_000 + PER_CLIENT)]
    crowd[-1].settimeout(PATIENCE)
    assert crowd[-1].recv(1) == b""  # no place is left
    context = authority.client()
    context.check_hostname = False

    def comes_in():
        """How long it took; nothing where it was turned away."""
        begun = time.monotonic()
        try:
            hand = Session(context.wrap_socket(arrive_by_hand(server, NEW_ADDRESS, TLS_PORT)))
        except (OSError, Closed):
            return None
        assert hand.greeting.startswith("220 ")
        return time.monotonic() - begun
    wait_for("a new one comes in", lambda: comes_in() is not None, 20)  # long before the crowd's 30 s are over
    times = [comes_in() for _ in range(NEWCOMERS)]
    assert None not in times and max(times) < ENOUGH, times
    for sock in crowd:
        sock.close()


@pytest.mark.parametrize("smtpd", [1, 3])
def test_no_more_connections_than_the_limit(server, smtpd):
    """However many addresses they come from, and processes they come to; each that leaves makes room for one."""
    start(server, 60, smtpd)
    held = [arrive(server, f"127.0.1.{1 + number // 20}", (MX_PORT, RELAY_PORT)[number % 2]) for number in range(60)]
    assert {hand.greeting[:4] for hand in held} == {"220 "}

    def expect_refusal(source):
        hand = arrive(server, source)
        assert hand.greeting == "421 4.3.2 mx.example.org too many connections"
        assert hand.is_closed()

    def comes_in():
        hand = arrive(server, NEW_ADDRESS)
        if hand.greeting.startswith("220 "):
            held.append(hand)
        return len(held) == 60
    for leave in (lambda hand: hand.expect("QUIT", "221"), Session.close):
        for number in range(1, 10):
            expect_refusal(f"127.0.{number}.1")
        leave(held.pop(0))
        wait_for("a new one comes in", comes_in)
    expect_refusal(NEW_ADDRESS)
    assert all(hand.say("NOOP").startswith("250 ") for hand in held)
