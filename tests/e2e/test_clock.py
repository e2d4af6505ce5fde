"""The wall clock jumps, forward and back, by an hour, a day and ten years, while the server runs and while
it does not: nothing expires, retries keep their distance, ids rise. The jumps are made for all processes
alike by a library that is loaded into them; their steady clocks are the system's."""
import time
from datetime import datetime

import pytest

from support.sink import Sink
from support.waiting import wait_for

HOUR, DAY = 3600, 86400
YEARS = 3653 * DAY
JUMPS = [HOUR, -HOUR, DAY, -DAY, YEARS, -YEARS]


class Deferring(Sink):
    """A next hop that defers, and knows when it was asked."""

    def __init__(self):
        self.attempts = []
        super().__init__()
        self.refuse = {"x@remote.example": "451 4.2.0 later"}

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            self.attempts.append(time.monotonic())
        return await super().handle_RCPT(server, session, envelope, address, options)

    def wait_attempts(self, count):
        wait_for(f"{count} attempts, of {len(self.attempts)}", lambda: len(self.attempts) >= count)


@pytest.fixture
def deferring(closing):
    return closing(Deferring())


@pytest.fixture
def jumping(server, deferring, wall):
    """A server whose wall clock is in our hands, with one deferred message."""
    server.environment = wall.environment
    server.route("*", deferring.via).configure(retry={"after": ["2s"], "expire": "5d"}).start()
    ids = [server.send("x@remote.example")]
    deferring.wait_attempts(1)
    return ids


def keeps_its_mail(server, ids):
    assert not server.events("message.expired") and not server.events("bounce.sent")
    wait_for("what went into a mailbox is gone", lambda: [row["id"] for row in server.messages()] == ids)
    assert ids == sorted(ids) and len(set(ids)) == len(ids)


def distances(times):
    return [after - before for before, after in zip(times, times[1:])]


def test_jumps_while_running(server, deferring, wall, jumping):
    ids = jumping
    for jump in JUMPS:
        seen = len(deferring.attempts)
        wall.jump(jump)
        shown = datetime.fromisoformat(server.status()["now"].replace("Z", "+00:00"))
        assert abs(shown.timestamp() - wall.now()) < 5, "the jump did not happen"
        deferring.wait_attempts(seen + 2)
        ids.append(server.send("bob@example.org"))  # local, so gone soon
        server.wait_mail("bob", len(ids) - 1)
        keeps_its_mail(server, ids[:1])
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    assert all(1.8 < gap < 6 for gap in distances(deferring.attempts)), distances(deferring.attempts)
    deferring.refuse = {}
    deferring.wait(1)
    server.wait_empty()


def test_jumps_across_restarts(server, deferring, wall, jumping):
    ids = jumping
    for jump in JUMPS:
        server.stop()
        wall.jump(jump)
        server.start_again()
        gap = server.wait_log("clock.resumed")
        assert abs(int(gap["seconds"]) - jump) < 10
        assert 0 <= int(gap["counted"]) <= DAY
        seen = len(deferring.attempts)
        deferring.wait_attempts(seen + 1)
        ids.append(server.send("bob@example.org"))
        server.wait_mail("bob", len(ids) - 1)
        keeps_its_mail(server, ids[:1])
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    deferring.refuse = {}
    deferring.wait(1)
    server.wait_empty()
