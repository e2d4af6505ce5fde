"""How mail leaves: where it may go, how many recipients at once, in which form."""

import pytest
from dnslib import AAAA

from support.sink import SINK_PORT, honest
from support.waiting import wait_for


def mx_server(server, **delivery):
    server.configure(retry={"after": ["1h"]}, delivery={"port": SINK_PORT, **delivery})
    return server.start()


def bounce(server):
    text = server.wait_mail("alice")[0].read_bytes()
    server.wait_empty()
    return text


# --- Where it may go ---------------------------------------------------------------------------------

def test_what_the_dns_says_of_loopback_is_not_believed(server, zone, sink):
    """By default: a stranger's zone must not make us talk to services of this host."""
    del server.config["delivery"]["forbid"]
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", sink.ip)
    mx_server(server).send("x@remote.example")
    assert b"Status: 5.4.4" in bounce(server)
    assert not sink.messages


def test_forbidden_networks_are_left_out(server, zone, make_sink):
    private, public = make_sink(), make_sink()
    zone.mx("remote.example", (10, "a.remote.example"), (20, "b.remote.example"))
    zone.a("a.remote.example", private.ip)
    zone.a("b.remote.example", public.ip)
    mx_server(server, forbid=[f"{private.ip}/32"]).send("x@remote.example")
    public.wait()
    assert not private.messages


def test_an_address_literal_is_no_way_round(server, sink):
    mx_server(server, forbid=["127.0.0.0/8"]).send(f"x@[{sink.ip}]")
    assert b"Status: 5.4.4" in bounce(server)
    assert not sink.messages


def test_a_route_may_name_what_is_forbidden_for_strangers(server, sink):
    server.route("*", sink.via)
    mx_server(server, forbid=["127.0.0.0/8"]).send("x@remote.example")
    sink.wait()


def test_a_family_that_does_not_answer_costs_no_try(server, zone, sink):
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.add("a.remote.example", AAAA("2001:db8::1"), AAAA("2001:db8::2"))
    zone.a("a.remote.example", sink.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()
    assert not server.events("delivery.deferred")


# --- How many at once --------------------------------------------------------------------------------

def taking(limit, announced=""):
    """A next hop that takes so many recipients in one transaction."""
    def script(line, state):
        if not state.get("data"):
            if line.upper().startswith("EHLO"):
                return b"250-sink.example\r\n250-PIPELINING\r\n250 " + (announced or "SIZE").encode() + b"\r\n"
            if line.upper().startswith("MAIL"):
                state["count"] = 0
            if line.upper().startswith("RCPT"):
                state["count"] += 1
                if state["count"] > limit:
                    return b"452 4.5.3 too many recipients\r\n"
        return honest(line, state)
    return script


@pytest.mark.parametrize("announced", ["", "LIMITS RCPTMAX=2"], ids=["452", "LIMITS"])
def test_recipients_beyond_the_limit_follow_at_once(server, make_script, announced):
    """In further transactions, and without a failed try: the next one would be in an hour."""
    sink = make_script(taking(2, announced))
    server.route("*", sink.via)
    mx_server(server).send([f"r{n}@remote.example" for n in range(7)])
    server.wait_empty()
    assert sum(line == "." for line in sink.lines) == 4
    assert not server.events("delivery.deferred")
    if announced:
        assert sum(line.startswith("RCPT") for line in sink.lines) == 7


def domains(count):
    return [f"x@d{n}.example" for n in range(count)]


def test_one_copy_goes_for_many_domains_of_a_smart_host(server, sink):
    """As many recipients as a lease holds, 36, are one transaction, and those of a frozen domain stay."""
    server.route("*", sink.via, connections=1).start()
    server.ctl("freeze", "d7.example", "--reason", "full", "--future")
    server.send(domains(37))
    wait_for("the others are gone", lambda: list(server.queues()) == ["d7.example"])
    assert [len(message.recipients) for message in sink.messages] == [36]
    assert "x@d7.example" not in sink.messages[0].recipients
    server.ctl("unfreeze", "d7.example")
    server.wait_empty()
    assert sink.messages[1].recipients == ["x@d7.example"]
    server.send(domains(50))
    server.wait_empty()
    assert sorted(len(message.recipients) for message in sink.messages[2:]) == [14, 36]


def test_one_copy_goes_for_many_domains_of_the_same_mx_hosts(server, zone, sink):
    zone.a("mx.shared.example", sink.ip)
    for n in range(8):
        zone.mx(f"d{n}.example", (10, "mx.shared.example"))
    mx_server(server)
    hop = f"mx.shared.example:{SINK_PORT}"
    server.ctl("freeze", "--hop", hop, "--reason", "until all are known", "--future")
    server.send(domains(8))
    wait_for("all hosts are known", lambda: [row["state"] for row in server.queues().values()] == ["frozen"] * 8)
    server.ctl("unfreeze", "--hop", hop)
    server.wait_empty()
    assert [sorted(message.recipients) for message in sink.messages] == [domains(8)]


def test_each_recipient_of_a_copy_has_its_own_outcome(server, sink):
    sink.refuse = {"x@d1.example": "550 5.1.1 nobody", "x@d2.example": "451 4.2.0 later"}
    server.configure(retry={"after": ["1h"]})
    server.route("*", sink.via, connections=1).start()
    server.send(domains(4))
    server.wait_log("delivery.ok", to="x@d0.example")
    server.wait_log("delivery.ok", to="x@d3.example")
    assert server.wait_log("delivery.failed", to="x@d1.example")["queue"] == "d1.example"
    assert server.wait_log("delivery.deferred", to="x@d2.example")["queue"] == "d2.example"
    wait_for("what is left", lambda: list(server.queues()) == ["d2.example"])
    assert len(sink.messages) == 1


def test_a_limit_of_messages_is_no_trouble(server, make_script):
    """A host that ends each session with 421 behind its second message gets all of them at once."""
    def script(line, state):
        if line.upper().startswith("MAIL") and not state.get("data"):
            state["mails"] = state.get("mails", 0) + 1
            if state["mails"] > 2:
                return b"421 4.7.0 too many messages\r\n"
        return honest(line, state)
    sink = make_script(script)
    server.route("*", sink.via, connections=1)
    mx_server(server)
    for n in range(9):
        server.send("x@remote.example", f"Subject: {n}\r\n\r\n")
    server.wait_empty()
    assert sorted(line for line in sink.lines if line.startswith("Subject: ")) == [f"Subject: {n}" for n in range(9)]
    assert not server.events("delivery.deferred")


# --- In which form -----------------------------------------------------------------------------------

def test_a_host_that_takes_chunks(server, make_script):
    """BDAT counts its bytes, in plain lines; dots are not stuffed."""
    bodies = []

    def script(line, state):
        if state.get("left"):
            state["left"] -= len(line) + 2
            bodies[-1].append(line)
            assert state["left"] >= 0
            return b"250 2.6.0 taken\r\n" if state["left"] == 0 else None
        if line.upper().startswith("EHLO"):
            return b"250-sink.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
        if line.startswith("BDAT "):
            state["left"] = int(line.split()[1])
            bodies.append([])
            return None
        return honest(line, state)
    sink = make_script(script)
    server.route("*", sink.via)
    mx_server(server)
    for n in range(3):
        server.send("x@remote.example", f"Subject: {n}\r\n\r\n.\r\n..x\r\n.y\r\nend\r\n")
    server.wait_empty()
    assert sorted(body[-6:] for body in bodies) == [[f"Subject: {n}", "", ".", "..x", ".y", "end"] for n in range(3)]
    assert "DATA" not in sink.lines


def test_eight_bits_never_go_to_a_host_of_seven(server, make_script):
    seven = make_script(honest)
    server.route("*", seven.via)
    mx_server(server)
    server.send("x@remote.example", "Subject: x\r\n\r\ngr\u00fc\u00df\r\n".encode())
    assert b"Status: 5.6.3" in bounce(server)
    assert "DATA" not in seven.lines
    server.send("x@remote.example", "Subject: plain\r\n\r\n")
    seven.wait_lines("SUBJECT: PLAIN")
