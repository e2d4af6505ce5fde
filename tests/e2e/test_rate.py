"""Rates of next hops: what the sink's ledger says of them, and reloads that change them. By one connection a message
is handed out when the one before it was taken, so that a busy machine makes mail later, but never closer together:
of any that follow each other all but the first interval are whole."""
from support.load import Taker, send, taken

CLOCK = 2  # milliseconds by which two readings of clocks that show whole ones may be off


def whole(intervals, length):
    """Milliseconds from one message to the one so many intervals behind it, at least."""
    return (intervals - 1) * length - CLOCK


def batch(server, tmp_path, taker, messages):
    """So many messages for three queues; when the sink took them."""
    before = len(taken(taker.ledger)) if taker.ledger.exists() else 0
    send(server, tmp_path / "sent", "r{n}@d{n%3}.test", messages)
    server.wait_empty(120)
    times = [time for time, _ in taken(taker.ledger)[before:]]
    assert len(times) == messages
    return times


def test_a_next_hop_keeps_its_rate(server, tmp_path, closing):
    """Which is that of its queues together."""
    taker = closing(Taker(tmp_path / "taken"))
    server.route("*", taker.via, connections=1, rate="20/s").start()
    times = batch(server, tmp_path, taker, 40)
    assert times[-1] - times[0] >= whole(39, 50), times  # 1.9 s
    crowded = [times[n:n + 4] for n in range(37) if times[n + 3] - times[n] < whole(3, 50)]
    assert not crowded, "more than three in 100 ms"


def test_a_reload_changes_a_rate(server, tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken"))
    server.route("*", taker.via, connections=1, rate="1/s").start()

    def reload(rate):
        server.config["route"][0]["rate"] = rate
        server.write()
        server.ctl("reload")
    slow = batch(server, tmp_path, taker, 4)
    assert slow[-1] - slow[0] >= whole(3, 1000), slow
    reload("20/s")
    quick = batch(server, tmp_path, taker, 30)
    assert quick[-1] - quick[0] >= whole(29, 50), quick
    assert quick[-1] - quick[0] < 15_000, "as slow as before it takes 29 s"
    reload("1/s")
    slow = batch(server, tmp_path, taker, 4)
    assert slow[-1] - slow[0] >= whole(3, 1000), slow
