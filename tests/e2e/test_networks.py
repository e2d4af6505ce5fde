"""Several hosts, each in a network namespace of its own: families, source addresses, firewalls, and a chain of three."""
import email
import os
import signal
import socket
import subprocess

import pytest

from support.client import Session
from support.load import Load, compare
from support.net import endpoint
from support.networks import Network, Resident
from support.server import RELAY_PORT
from support.sink import Sink
from support.socks import Socks
from support.waiting import PATIENCE, wait_for
from support.zone import Zone
from test_auth import user
from test_dialling import TO, Brief, deferred
from test_foretold import moment
from test_pass_client import ACCEPTING, mail, received, told

pytestmark = pytest.mark.root

DOMAIN = TO.split("@")[1]
SENDER = SENDER_4, SENDER_6 = "192.0.2.1", "2001:db8:1::1"
RECEIVER = RECEIVER_4, RECEIVER_6 = "203.0.113.1", "2001:db8:2::1"
SPARE_4 = "203.0.113.2"
ATTEMPT = 30  # seconds that an attempt to connect may take; who waits for its end is late


@pytest.fixture
def network():
    """None for an ordinary user, whose tests are run through sudo."""
    if os.getuid() != 0:
        yield None
        return
    made = Network()
    yield made
    made.close()


@pytest.fixture
def make_resident(make_server, network):
    """Servers on hosts of their own, configured but not started."""
    return lambda name, *addresses: make_server(name, kind=Resident, host=network.host(*addresses))


@pytest.fixture
def make_zone(closing):
    """What a server hears when it asks its own host."""
    return lambda server: closing(server.host.have(Zone, server.ip))


@pytest.fixture
def receive(closing):
    """Sinks of a host, at each of its addresses or at those that are named."""
    def make(host, *ips, kind=Sink, port=25):
        return [closing(host.have(kind, ip=ip, port=port)) for ip in ips or host.addresses]
    return make


def mail_hosts(zone, domain, *hosts):
    """mx1 is preferred to mx2, and so on; each with these addresses."""
    for number, addresses in enumerate(hosts, 1):
        zone.mx(domain, (number, f"mx{number}.{domain}"))
        zone.host(f"mx{number}.{domain}", *addresses)


def remote(ip, number=1, domain=DOMAIN):
    return f"mx{number}.{domain}[{ip}]:25"


def shut(host, ip, port=25):
    """That a firewall, or the lack of a way, keeps this host from connecting there."""
    with host.inside(), pytest.raises(OSError):
        socket.create_connection((ip, port), 0.5)


# --- Families ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("there, here", zip(RECEIVER, SENDER), ids=["IPv4", "IPv6"])
def test_a_receiver_of_one_family(network, make_resident, make_zone, receive, there, here):
    sender = make_resident("sender", *SENDER)
    sink, = receive(network.host(there))
    mail_hosts(make_zone(sender), DOMAIN, [there])
    sender.start().send(TO)
    assert sink.wait()[0].peer[0] == here
    assert sender.wait_log("delivery.ok", to=TO)["remote"] == remote(there)
    sender.send("x@[{}{}]".format("IPv6:" if there == RECEIVER_6 else "", there))
    assert sink.wait(2)[1].peer[0] == here


@pytest.mark.parametrize("own", [0, 1], ids=["IPv4", "IPv6"])
def test_a_sender_of_one_family(network, make_resident, make_zone, receive, own):
    """It asks the DNS over its family too, and mail for a host of the other one waits."""
    sender = make_resident("sender", SENDER[own]).configure(retry={"after": ["1h"]})
    sinks = receive(network.host(*RECEIVER))
    zone = make_zone(sender)
    mail_hosts(zone, DOMAIN, RECEIVER)
    mail_hosts(zone, "other.example", [RECEIVER[not own]])
    sender.start().send(TO)
    assert sinks[own].wait(timeout=ATTEMPT / 2)[0].peer[0] == SENDER[own]
    line, reason = deferred(sender, sender.send("x@other.example"))
    assert line["class"] == "connect" and line["remote"] == remote(RECEIVER[not own], domain="other.example"), line
    assert "Network is unreachable" in line["reply"] and "Network is unreachable" in reason
    assert not sinks[not own].messages


def test_ipv6_comes_first(network, make_resident, make_zone, receive):
    sender = make_resident("sender", *SENDER)
    sinks = receive(network.host(*RECEIVER), kind=Brief)
    mail_hosts(make_zone(sender), DOMAIN, RECEIVER)
    sender.start()
    for _ in range(5):
        sender.send(TO)
    assert sinks[1].sources(5) == {SENDER_6: 5}
    assert not sinks[0].messages


ENDS = {"dropped": [], "rejected": ["Permission denied"], "nobody listens": ["Connection refused"],
        "no such host": ["Network is unreachable"]}  # what is heard, if it is heard in time


@pytest.mark.parametrize("why", ENDS)
def test_ipv6_that_leads_nowhere_delays_nothing(network, make_resident, make_zone, receive, why):
    sender = make_resident("sender", *SENDER)
    sink, = receive(network.host(*RECEIVER), RECEIVER_4)
    six = "2001:db8:ffff::1" if why == "no such host" else RECEIVER_6
    if why == "dropped":
        network.drop(to=six)
    elif why == "rejected":
        network.reject(to=six)
    mail_hosts(make_zone(sender), DOMAIN, [RECEIVER_4, six])
    sender.start().send(TO)
    assert sink.wait(timeout=ATTEMPT / 2)[0].peer[0] == SENDER_4
    assert sender.wait_log("delivery.ok", to=TO)["remote"] == remote(RECEIVER_4)
    failed = [line["error"] for line in sender.events("relay.connect")]
    assert failed in ([], ENDS[why]), "IPv4 does not wait for what becomes of it"


# --- Source addresses -------------------------------------------------------------------------------

def test_mail_comes_from_the_pool_alone(network, make_resident, make_zone, receive):
    pool = {4: ["192.0.2.5", "192.0.2.6"], 6: ["2001:db8:1::5", "2001:db8:1::6"]}
    sender = make_resident("sender", *SENDER, *pool[4], *pool[6])
    four, six = receive(network.host(*RECEIVER), kind=Brief)
    zone = make_zone(sender)
    mail_hosts(zone, "four.example", [RECEIVER_4])
    mail_hosts(zone, "six.example", [RECEIVER_6])
    sender.route("*", "mx", source=[*pool[4], *pool[6]]).start()
    count = 24  # once in four million runs chance leaves one of two out
    for _ in range(count):
        sender.send(["x@four.example", "x@six.example"])
    assert set(four.sources(count)) == set(pool[4])
    assert set(six.sources(count)) == set(pool[6])
    sender.wait_log("relay.source", count=2 * count)


def test_a_source_that_the_host_loses(network, make_resident, receive):
    """The mail waits until it is there again, and comes from nowhere else."""
    source = "192.0.2.5"
    sender = make_resident("sender", SENDER_4, source).configure(retry={"after": ["1h"]})
    sink, = receive(network.host(RECEIVER_4), kind=Brief)
    sender.route("*", f"smtp://{RECEIVER_4}", source=[source]).start()

    def warned():
        done = sender.host.have(subprocess.run, [sender.program, "-n", "-c", sender.file], capture_output=True, text=True,
                                check=True)
        return f"no interface of this host has {source}: nothing can be sent from it" in done.stdout + done.stderr
    assert not warned()
    sender.send(TO)
    assert sink.sources(1) == {source: 1}
    network.remove_address(sender.host, source)
    line, reason = deferred(sender, sender.send(TO))
    words = f"cannot send from {source}: Cannot assign requested address"
    assert line["class"] == "connect" and line["reply"] == f"4.4.1 connecting: {words}", line
    assert words in reason
    assert warned()
    network.add_address(sender.host, source)
    sender.ctl("retry", "--all")
    assert sink.sources(2) == {source: 2}


def test_a_family_whose_source_is_lost_is_passed_over(network, make_resident, make_zone, receive):
    pool = ["192.0.2.5", "2001:db8:1::5"]
    sender = make_resident("sender", *SENDER, *pool)
    four, six = receive(network.host(*RECEIVER), kind=Brief)
    mail_hosts(make_zone(sender), DOMAIN, RECEIVER)
    sender.route("*", "mx", source=pool).start().send(TO)
    assert six.sources(1) == {pool[1]: 1}
    network.remove_address(sender.host, pool[1])
    sender.send(TO)
    assert four.sources(1) == {pool[0]: 1}
    assert len(six.messages) == 1


def test_a_firewall_that_lets_one_source_out(network, make_resident, receive):
    allowed = "192.0.2.5"
    sender = make_resident("sender", SENDER_4, allowed).configure(retry={"after": ["1h"]})
    sink, = receive(network.host(RECEIVER_4))
    network.permit(source=allowed)
    network.reject(source=SENDER_4)
    sender.route("own.example", f"smtp://{RECEIVER_4}").route("*", f"smtp://{RECEIVER_4}", source=[allowed]).start()
    sender.send(TO)
    assert sink.wait()[0].peer[0] == allowed
    line, _ = deferred(sender, sender.send("x@own.example"))
    assert "No route to host" in line["reply"]
    assert len(sink.messages) == 1


# --- Firewalled ports -------------------------------------------------------------------------------

@pytest.mark.parametrize("how, error", [("drop", "Connection timed out"), ("reject", "No route to host"),
                                        ("close", "Connection refused")], ids=["dropped", "rejected", "closed"])
def test_the_next_mx_host_is_taken(network, make_resident, make_zone, receive, how, error):
    sender = make_resident("sender", SENDER_4)
    sender.host.give_up_soon()
    first = network.host(RECEIVER_4)
    if how != "close":
        receive(first)
        getattr(network, how)(to=RECEIVER_4, ports="25")
        shut(sender.host, RECEIVER_4)
    sink, = receive(network.host(SPARE_4))
    mail_hosts(make_zone(sender), DOMAIN, [RECEIVER_4], [SPARE_4])
    sender.start().send(TO)
    assert sink.wait()[0].recipients == [TO]
    assert sender.wait_log("delivery.ok", to=TO)["remote"] == remote(SPARE_4, 2)
    assert [(line["remote"], line["error"]) for line in sender.events("relay.connect")] == [(remote(RECEIVER_4), error)]
    assert not sender.events("queue.deferred")


def test_where_all_is_dropped_the_mail_waits(network, make_resident, make_zone, receive):
    sender = make_resident("sender", *SENDER).configure(retry={"after": ["1h"]})
    sender.host.give_up_soon()
    sinks = receive(network.host(*RECEIVER))
    for ip in RECEIVER:
        network.drop(to=ip, ports="25")
    mail_hosts(make_zone(sender), DOMAIN, RECEIVER)
    ident = sender.start().send(TO)
    line, reason = deferred(sender, ident)
    assert line["class"] == "connect" and line["reply"] == "4.4.1 connecting: Connection timed out", line
    assert "Connection timed out" in reason
    assert sorted(line["remote"] for line in sender.events("relay.connect")) == sorted(map(remote, RECEIVER))
    network.open()
    sender.ctl("retry", "--all")
    assert sinks[1].wait()[0].peer[0] == SENDER_6
    sender.wait_empty()


def test_a_firewall_that_lets_submission_out_alone(network, make_resident, make_zone, receive):
    """MX hosts are out of reach, the smart host is not."""
    smart = "198.51.100.1"
    sender = make_resident("sender", SENDER_4).configure(retry={"after": ["1h"]})
    mx, = receive(network.host(RECEIVER_4))
    submission, = receive(network.host(smart), port=587)
    network.permit(source=SENDER_4, ports="587")
    network.reject(source=SENDER_4)
    zone = make_zone(sender)
    mail_hosts(zone, DOMAIN, [RECEIVER_4])
    mail_hosts(zone, "direct.example", [RECEIVER_4])
    sender.route("*", "mx", f"smtp://{smart}:587").route("direct.example", "mx").start()
    sender.send(TO)
    assert submission.wait()[0].peer[0] == SENDER_4
    assert sender.wait_log("delivery.ok", to=TO)["remote"] == f"[{smart}]:587"
    line, _ = deferred(sender, sender.send("x@direct.example"))
    assert line["class"] == "connect" and line["reply"] == "4.4.1 connecting: No route to host", line
    assert not mx.messages


def test_a_socks_server_is_the_only_way_out(network, make_resident, make_zone, receive, closing):
    inside, way_out = "10.0.0.2", ("10.0.0.1", "198.51.100.1")
    sender = make_resident("sender", inside).configure(retry={"after": ["1h"]})
    sink, = receive(network.host(RECEIVER_4))
    socks = closing(network.host(*reversed(way_out)).have(Socks, ip=way_out[1]))
    network.permit(source=inside, to=way_out[1], ports="1080")
    network.reject(source=inside)
    shut(sender.host, RECEIVER_4)
    mail_hosts(make_zone(sender), DOMAIN, [RECEIVER_4])
    socks.hosts["far.inside"] = RECEIVER_4  # which no DNS has
    sender.route(DOMAIN, "mx", socks=socks.endpoint).route("named.example", "smtp://far.inside", socks=socks.endpoint)
    sender.route("direct.example", f"smtp://{RECEIVER_4}").start()
    sender.send(TO)
    sender.send("x@named.example")
    assert {message.peer[0] for message in sink.wait(2)} == {way_out[1]}
    assert sorted(socks.asked) == [(RECEIVER_4, 25), ("far.inside", 25)]
    assert set(socks.peers) == {inside}
    line, _ = deferred(sender, sender.send("x@direct.example"))
    assert "No route to host" in line["reply"]


# --- A chain of three -------------------------------------------------------------------------------

CLIENT, CLIENT_6 = "10.0.0.9", "fd00::9"
INNER, INNER_6 = "10.0.0.2", "fd00::2"
GATEWAY = GATEWAY_4, GATEWAY_6 = "192.0.2.1", "2001:db8:1::1"
OUTER = OUTER_4, OUTER_6 = "203.0.113.1", "2001:db8:2::1"
CHAIN_PORT = 2530  # where a neighbour may speak of its clients
BOB = "bob@outer.example"
WAITING = 50  # messages in the middle, when it is killed
REPEATED = 2 * 3 * 20  # messages by one kill: three in hand for each connection, on either side of it


def named(server, hostname, domain, **more):
    return server.configure(hostname=hostname, postmaster=f"carol@{domain}", domains={"default": domain},
                            domain=[{"name": [domain], "deliver": "mailbox", "recipients": "file:users", **more}])


@pytest.fixture
def make_chain(network, make_resident, make_zone):
    """The inner one has its client and the gateway; nobody else reaches it, and it reaches nobody else. Mail goes on to
    the outer one over IPv6."""
    def make(way, **far_end):
        inner = named(make_resident("inner", INNER, INNER_6), "inner.example", "inner.example")
        inner.configure(listen=[{"address": endpoint(INNER, RELAY_PORT), "service": "relay", "relay_from": [CLIENT]},
                                {"address": endpoint(INNER_6, RELAY_PORT), "service": "relay", "relay_from": [CLIENT_6]},
                                {"address": endpoint(INNER, 25), "service": "mx"}])
        inner.route("*", f"smtp://{GATEWAY_4}:{CHAIN_PORT}", pass_client=way)
        inner.client = network.host(CLIENT, CLIENT_6)

        gateway = named(make_resident("gateway", *GATEWAY), "gateway.example", "inner.example",
                        deliver=f"smtp://{INNER}", recipients="ask")
        gateway.configure(listen=[{"address": endpoint(GATEWAY_4, CHAIN_PORT), "service": "relay", ACCEPTING[way]: [INNER],
                                   "relay_from": [INNER, *([CLIENT, CLIENT_6] if way != "xforward" else [])]},
                                  {"address": endpoint(GATEWAY_6, 25), "service": "mx"}])
        gateway.route("outer.example", f"smtp://mx.outer.example:{CHAIN_PORT}", pass_client=way)
        make_zone(gateway).host("mx.outer.example", OUTER_6)

        outer = named(make_resident("outer", *OUTER), "mx.outer.example", "outer.example").configure(**far_end)
        outer.configure(listen=[{"address": endpoint(OUTER_6, CHAIN_PORT), "service": "mx", ACCEPTING[way]: [GATEWAY_6]},
                                {"address": endpoint(OUTER_4, CHAIN_PORT), "service": "mx"}])
        mail_hosts(make_zone(outer), "inner.example", [GATEWAY_6])

        for client, server in ((CLIENT, INNER), (CLIENT_6, INNER_6), (GATEWAY_4, INNER)):
            network.permit(source=client, to=server)
            network.permit(source=server, to=client)
        for server in (INNER, INNER_6):
            network.drop(to=server)
            network.reject(source=server)
        for server in (outer, gateway, inner):
            server.start()
        return inner, gateway, outer
    return make


def session(server, ip):
    """Of its client, with this address of the server."""
    with server.client.inside():
        return Session(socket.create_connection((ip, RELAY_PORT), PATIENCE))


def kill_whole(server):
    os.killpg(server.session, signal.SIGKILL)
    server.process.wait(PATIENCE)
    wait_for("all are dead", lambda: not server.alive())


@pytest.mark.parametrize("way", ACCEPTING)
def test_the_far_end_knows_the_first_client(make_chain, way):
    inner, gateway, outer = make_chain(way)
    shut(inner.host, OUTER_4, CHAIN_PORT)
    shut(outer.host, INNER)
    mail(inner, CLIENT_6, BOB, session=session(inner, INNER_6))
    there = gateway.wait_log("message.accepted")
    accepted = outer.wait_log("message.accepted")
    path, = outer.wait_mail("bob", domain="outer.example")
    if way == "xforward":
        known = told(CLIENT_6, there["id"])
        assert (there["client"], accepted["client"]) == (INNER, GATEWAY_6)
        assert accepted["forwarded"] == known and f"(forwarded {known})" in received(path)
    else:
        assert (there["client"], there["peer"]) == (CLIENT_6, INNER)
        assert (accepted["client"], accepted["peer"]) == (CLIENT_6, GATEWAY_6)
        assert f"from first.example ([IPv6:{CLIENT_6}])" in received(path)


def test_a_bounce_of_the_far_end_finds_its_way_back(make_chain):
    inner, gateway, outer = make_chain("xforward", mailbox={"quota": "4KiB"})
    inner.send(BOB, "Subject: large\r\n\r\n" + ("x" * 70 + "\r\n") * 100, sender="alice@inner.example")
    path, = inner.wait_mail("alice", domain="inner.example")
    notice = email.message_from_bytes(path.read_bytes())
    assert "mx.outer.example" in notice["From"] and b"Status: 5.2.3" in path.read_bytes()
    hops = [" ".join(field.split()) for field in notice.get_all("Received")]
    assert [hop.split()[1] for hop in hops][:2] == ["gateway.example", "mx.outer.example"], hops
    assert f"[{GATEWAY_4}]" in hops[0] and f"[{OUTER_6}]" in hops[1].replace("IPv6:", ""), hops
    for server in (inner, gateway, outer):
        server.wait_empty()
    assert not outer.mailbox("bob", "outer.example")


def test_mail_waits_where_the_middle_is_frozen(make_chain):
    inner, gateway, outer = make_chain("xclient")
    gateway.ctl("freeze", "outer.example", "--reason", "moving house")
    mail(inner, CLIENT, BOB, session=session(inner, INNER))
    ident = gateway.wait_log("message.accepted")["id"]
    inner.wait_empty()
    screen = gateway.ctl_text("explain", ident).out
    assert "FROZEN" in screen and "moving house" in screen and "Try      posternctl unfreeze outer.example" in screen, screen
    assert not outer.events("message.accepted")
    gateway.ctl("unfreeze", "outer.example")
    path, = outer.wait_mail("bob", domain="outer.example")
    assert f"from first.example ([{CLIENT}])" in received(path)
    gateway.wait_empty()


def test_a_kill_of_the_middle_loses_nothing(make_chain, tmp_path, closing):
    inner, gateway, outer = make_chain("xforward")
    gateway.ctl("freeze", "outer.example", "--reason", "so that something waits there")
    clients = closing(inner.client.have(Load, inner, tmp_path / "sent", BOB, "--rate", 100, sessions=5))
    wait_for("some wait in the middle", lambda: gateway.status()["queue"]["messages"] >= WAITING)

    def kill():
        kill_whole(gateway)
        clients.wait("acknowledged", 30)  # the inner one still takes mail
        assert inner.status()["queue"]["messages"] > 0
        gateway.start_again()
    kill()
    assert gateway.queues()["outer.example"]["messages"] >= WAITING and not outer.events("message.accepted")
    gateway.ctl("unfreeze", "outer.example")
    outer.wait_log("message.accepted", count=WAITING + 30)
    kill()  # while mail passes through
    outer.wait_log("message.accepted", count=len(outer.events("message.accepted")) + 30)
    sent = clients.end()["acknowledged"]
    for server in (inner, gateway, outer):
        server.wait_empty()
    verdict = compare(clients.ledger, mailbox=outer.directory / "mail")
    assert verdict["delivered"] == sent > WAITING
    assert verdict["duplicate"] <= 2 * REPEATED, verdict
    assert all(f"[{CLIENT}]" in line["forwarded"] for line in outer.events("message.accepted"))


# --- A chain of three whose inner host nobody may connect to ------------------------------------------

TURN_PORT = 366  # RFC 2645 3
GATEWAY_NAME = "gateway.example"
PASSWORD = "open sesame"
ALICE = "alice@inner.example"


@pytest.fixture
def odmr_chain(network, make_resident, make_zone, authority):
    """The inner one may connect to one port of the gateway, and is answered from there; nothing else passes to it or
    comes from it. Mail for it comes to the gateway over IPv6."""
    inner = named(make_resident("inner", INNER), "mail.inner.example", "inner.example")
    inner.configure(delivery={"ca": str(authority.root)}, collect=[{
        "from": GATEWAY_NAME, "login": "inner", "password_file": "gateway.password", "every": "1h", "wait": True}])
    (inner.directory / "gateway.password").write_text(PASSWORD + "\n")
    make_zone(inner).host(GATEWAY_NAME, GATEWAY_4)

    chain, key = authority.issue(GATEWAY_NAME)
    gateway = named(make_resident("gateway", *GATEWAY), GATEWAY_NAME, "inner.example", deliver="turn:")
    gateway.configure(listen=[{"address": endpoint(GATEWAY_4, TURN_PORT), "service": "submission", "tls": "required"},
                              {"address": endpoint(GATEWAY_6, 25), "service": "mx"}],
                      certificate=[{"chain": str(chain), "key": str(key), "names": [GATEWAY_NAME]}],
                      auth={"accounts": "accounts"},
                      account=[{"name": "inner", "atrn": ["inner.example"], "atrn_wait": "1h"}])
    (gateway.directory / "accounts").write_text("# nobody yet\n")
    gateway.write()
    user(gateway, "add", "inner", password=PASSWORD)

    outer = named(make_resident("outer", *OUTER), "mx.outer.example", "outer.example")
    mail_hosts(make_zone(outer), "inner.example", [GATEWAY_6])

    network.permit(source=INNER, to=GATEWAY_4, ports=str(TURN_PORT))
    network.permit(source=GATEWAY_4, to=INNER, from_ports=str(TURN_PORT))
    network.drop(to=INNER)
    network.reject(source=INNER)
    for server in (outer, gateway, inner):
        server.start()
    return inner, gateway, outer


def test_a_host_that_nobody_reaches_calls_for_its_mail(odmr_chain):
    """It dials out, and mail from outside is there within a second, by the connection that it made."""
    inner, gateway, outer = odmr_chain
    shut(gateway.host, INNER, RELAY_PORT)
    shut(outer.host, INNER, RELAY_PORT)
    shut(inner.host, OUTER_4, RELAY_PORT)
    gateway.wait_log("session.turned", account="inner")
    inner.wait_log("collect.turned")
    for count in range(1, 4):
        outer.send(ALICE)
        inner.wait_mail("alice", count, domain="inner.example")
        taken, came = (server.wait_log("message.accepted", count) for server in (gateway, inner))
        assert moment(came["time"]) - moment(taken["time"]) < 1, (taken, came)
        # By TLS, which the inner host has begun: it is the client there, and in the mail the gateway is.
        assert came["client"] == GATEWAY_4 and came["tls"].startswith("TLSv1.") and came["certificate"] == GATEWAY_NAME
    assert len(gateway.events("session.turned")) == 1, "one session for all"
    path = inner.mailbox("alice", "inner.example")[0]
    hops = [" ".join(field.split()) for field in email.message_from_bytes(path.read_bytes()).get_all("Received")]
    assert [hop.split()[1] for hop in hops[:2]] == [GATEWAY_NAME, "mx.outer.example"], hops
    assert f"[{GATEWAY_4}]" in hops[0] and "by mail.inner.example with ESMTPS (TLSv1." in hops[0], hops
    for server in (gateway, outer):
        server.wait_empty()


def test_a_gateway_that_dies_is_called_again(odmr_chain):
    inner, gateway, outer = odmr_chain
    inner.wait_log("collect.turned")
    kill_whole(gateway)
    inner.wait_log("collect.ended", end="served")
    outer.send(ALICE)
    outer.wait_log("queue.deferred", queue="inner.example")
    gateway.start_again()
    inner.wait_log("collect.turned", count=2)
    inner.wait_mail("alice", domain="inner.example")
    outer.wait_empty()
