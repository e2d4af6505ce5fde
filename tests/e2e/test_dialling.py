"""How next hops are connected to: from pools of source addresses, and through a SOCKS server."""
import subprocess
from collections import Counter

import pytest
from dnslib import AAAA

from support.certificates import Authority
from support.net import Address
from support.server import MX_PORT, send_on
from support.sink import SINK_PORT, Sink
from support.socks import NOT_ALLOWED, Socks
from support.waiting import wait_for

FAR = "far.inside"  # no DNS that we know has it
TO = "x@remote.example"


@pytest.fixture
def socks(closing):
    return closing(Socks())


def deferred(server, ident):
    """Waits until the next hop is; the line that says so, and the reason that `explain` has."""
    line = server.wait_log("queue.deferred")

    def because():
        found = server.ctl("explain", ident).rows[0]["explanations"][0]["because"]
        return found[0] if found and found[0]["blocker"] == "hop dead" else None
    return line, wait_for("the hop is dead", because)["reason"]


# --- SOCKS ----------------------------------------------------------------------------------------

def test_mail_goes_through_by_name(server, zone, sink, socks):
    socks.hosts[FAR] = sink.ip
    server.route("*", f"smtp://{FAR}:{SINK_PORT}", socks=socks.endpoint).start()
    server.send(TO, "Subject: out\r\n\r\n.dot\r\n")
    message = sink.wait()[0]
    assert message.recipients == [TO] and message.body == b"Subject: out\r\n\r\n.dot\r\n"
    assert message.peer[0] == socks.ip
    assert server.wait_log("delivery.ok", to=TO)["remote"] == f"{FAR}:{SINK_PORT}"
    assert socks.asked == [(FAR, SINK_PORT)]
    assert not [name for name, _ in zone.asked if name == FAR]


def test_mail_goes_through_by_address(server, sink, socks):
    server.route("*", sink.via, socks=socks.endpoint).start()
    server.send(TO)
    assert sink.wait()[0].peer[0] == socks.ip
    assert server.wait_log("delivery.ok", to=TO)["remote"] == f"[{sink.ip}]:{SINK_PORT}"
    assert socks.asked == [(sink.ip, SINK_PORT)]


def test_mx_hosts_are_found_by_our_own_dns(server, zone, sink, socks):
    nobody = Address()
    zone.mx("remote.example", (10, "a.remote.example"), (20, "b.remote.example"))
    zone.a("a.remote.example", nobody.ip)
    zone.a("b.remote.example", sink.ip)
    server.configure(delivery={"port": SINK_PORT}).route("*", "mx", socks=socks.endpoint).start()
    server.send(TO)
    assert sink.wait()[0].peer[0] == socks.ip
    assert socks.asked == [(nobody.ip, SINK_PORT), (sink.ip, SINK_PORT)]
    nobody.close()


def test_the_host_proves_its_name_through_the_server(server, closing, socks, tmp_path):
    directory = tmp_path / "ca"
    directory.mkdir()
    authority = Authority(directory)
    sink = closing(Sink(tls=authority.server(*authority.issue(FAR))))
    socks.hosts[FAR] = sink.ip
    server.configure(delivery={"ca": str(authority.root)})
    server.route("*", f"smtp://{FAR}:{SINK_PORT}", socks=socks.endpoint, tls="verified").start()
    server.send(TO)
    assert server.wait_log("delivery.ok", to=TO)["verified"] == f"yes: {FAR}"
    assert sink.wait()[0].tls


def test_a_server_that_refuses_defers_and_is_told(server, socks):
    socks.refuse = NOT_ALLOWED
    server.configure(retry={"after": ["1h"]})
    server.route("*", f"smtp://{FAR}:{SINK_PORT}", socks=socks.endpoint).start()
    line, reason = deferred(server, server.send(TO))
    words = f"the SOCKS server {socks.endpoint} says: connection not allowed by ruleset"
    assert line["class"] == "connect" and line["remote"] == f"{FAR}:{SINK_PORT}", line
    assert line["reply"] == f"4.4.1 connecting: {words}"
    assert words in reason


def test_a_server_that_is_away_defers_until_it_is_back(server, sink, closing):
    address = closing(Address())
    server.configure(retry={"after": ["2s"]})
    server.route("*", sink.via, socks=f"{address.ip}:1080").start()
    line, reason = deferred(server, server.send(TO))
    words = f"the SOCKS server {address.ip}:1080 cannot be reached: Connection refused"
    assert line["class"] == "connect" and line["remote"] == f"[{sink.ip}]:{SINK_PORT}", line
    assert words in line["reply"] and words in reason
    assert not sink.messages  # which could be reached without
    closing(Socks(ip=address.ip))
    sink.wait()
    server.wait_empty()


def test_dane_needs_a_dns_that_the_server_has(server, socks):
    server.route("*", f"smtp://{FAR}:{SINK_PORT}", socks=socks.endpoint, tls="dane")
    server.write()
    said = subprocess.run([server.program, "-n", "-c", server.file], capture_output=True, text=True, check=False)
    assert said.returncode == 78
    assert "dane needs the DNS" in said.stdout + said.stderr


# --- Sources --------------------------------------------------------------------------------------

class Brief(Sink):
    """Takes one message in each session, so that each has a connection of its own."""

    def __init__(self, **more):
        self.peers = []  # of all that asked for a recipient
        super().__init__(**more)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return [*responses[:-1], "250-LIMITS MAILMAX=1", responses[-1]]

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.peers.append(session.peer[0])
        return await super().handle_RCPT(server, session, envelope, address, options)

    def sources(self, count):
        return Counter(message.peer[0] for message in self.wait(count))


@pytest.fixture
def brief(closing):
    return closing(Brief())


def test_each_source_gets_its_share(server, brief):
    server.route("*", brief.via, source=["127.0.0.2", "127.0.0.3?weight=3"]).start()
    with server.smtp() as client:
        for n in range(80):
            send_on(client, "alice@example.org", [TO], f"\r\n{n}\r\n")
    count = brief.sources(80)
    assert set(count) == {"127.0.0.2", "127.0.0.3"}
    assert 40 < count["127.0.0.3"] < 78, count  # 60 on average; out of reach of chance
    server.wait_log("relay.source", count=80)
    assert {line["source"] for line in server.events("relay.source")} == set(count)


def test_a_source_that_is_not_ours_defers_and_is_told(server, sink):
    server.configure(retry={"after": ["1h"]})
    server.route("*", sink.via, source=["192.0.2.5"]).start()
    line, reason = deferred(server, server.send(TO))
    words = "cannot send from 192.0.2.5: Cannot assign requested address"
    assert line["class"] == "connect" and line["reply"] == f"4.4.1 connecting: {words}", line
    assert words in reason
    assert server.events("relay.connect")[0]["source"] == "192.0.2.5"
    assert not sink.messages


def test_delivery_names_those_of_every_other_way(server, brief):
    """By MX, by a route, to a domain's next hop and for what it is asked; a route's own come first."""
    server.configure(delivery={"source": ["127.0.0.4"], "port": SINK_PORT},
                     domain=[*server.config["domain"],
                             {"name": ["asked.example"], "deliver": brief.via, "recipients": "ask"}])
    server.route("own.example", brief.via, source=["127.0.0.5"]).route("other.example", brief.via).start()
    server.send(f"x@[{brief.ip}]")
    server.send("x@other.example")
    server.send("x@asked.example", port=MX_PORT)
    assert brief.sources(3) == {"127.0.0.4": 3}
    assert brief.peers == ["127.0.0.4"] * 4
    server.send("x@own.example")
    assert brief.sources(4) == {"127.0.0.4": 3, "127.0.0.5": 1}


def test_new_connections_obey_a_reload(server, brief):
    server.configure(delivery={"source": ["127.0.0.4"]}).route("*", brief.via).start()
    server.send(TO)
    brief.wait()
    server.configure(delivery={"source": ["127.0.0.6"]}).write()
    server.ctl("reload")
    server.send(TO)
    assert brief.sources(2) == {"127.0.0.4": 1, "127.0.0.6": 1}


def test_a_family_without_a_source_is_passed_over(server, zone, brief):
    server.configure(delivery={"source": ["127.0.0.4"], "port": SINK_PORT}, retry={"after": ["1h"]})
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.add("a.remote.example", AAAA("2001:db8::1"))
    zone.a("a.remote.example", brief.ip)
    zone.add("six.example", AAAA("2001:db8::1"))
    server.start().send(TO)
    assert brief.sources(1) == {"127.0.0.4": 1}
    ident = server.send("x@six.example")
    line, reason = deferred(server, ident)
    assert line["queue"] == "six.example" and line["reply"] == "4.4.1 connecting: no source address is IPv6", line
    assert "no source address is IPv6" in reason


def test_the_socks_server_is_connected_to_from_the_source(server, sink, socks):
    server.route("*", sink.via, socks=socks.endpoint, source=["127.0.0.7"]).start()
    server.send(TO)
    assert sink.wait()[0].peer[0] == socks.ip
    assert socks.peers == ["127.0.0.7"]
