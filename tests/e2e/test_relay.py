"""Mail goes out by routes, and through DNS."""
import smtplib
import time

from support.net import Address
from support.server import MX_PORT, send_on
from support.sink import SINK_PORT, Sink
from support.waiting import wait_for


def test_route_to_a_host(server, sink):
    server.route("*", sink.via).start()
    server.send("x@remote.example", "Subject: out\r\n\r\n.dot\r\n")
    message = sink.wait()[0]
    assert message.sender == "alice@example.org"
    assert message.recipients == ["x@remote.example"]
    assert message.body == b"Subject: out\r\n\r\n.dot\r\n"
    server.wait_empty()
    assert server.status()["total"]["delivered"] == 1


def test_most_specific_route(server, make_sink):
    rest, corp, below = make_sink(), make_sink(), make_sink()
    server.route("*", rest.via).route("corp.example", corp.via).route("*.corp.example", below.via)
    server.start()
    for domain in ("corp.example", "a.corp.example", "elsewhere.example"):
        server.send(f"x@{domain}")
    assert corp.wait()[0].recipients == ["x@corp.example"]
    assert below.wait()[0].recipients == ["x@a.corp.example"]
    assert rest.wait()[0].recipients == ["x@elsewhere.example"]


def test_many_recipients_of_one_domain_share_a_transaction(server, sink):
    server.route("*", sink.via).start()
    recipients = [f"u{n}@remote.example" for n in range(30)]
    server.send(recipients)
    server.wait_empty()
    assert sorted(r for m in sink.messages for r in m.recipients) == sorted(recipients)
    assert len(sink.messages) == 1


def test_many_messages_share_connections(server, sink):
    server.route("*", sink.via, connections=2).start()
    with server.smtp() as client:
        for n in range(40):
            send_on(client, "alice@example.org", ["x@remote.example"], f"\r\n{n}\r\n")
    sink.wait(40)
    assert len({message.peer for message in sink.messages}) <= 12
    assert len({message.body for message in sink.messages}) == 40


def test_local_and_remote_recipients(server, sink):
    server.route("*", sink.via).start()
    server.send(["bob@example.org", "x@remote.example", "y@other.example"])
    server.wait_mail("bob")
    server.wait_empty()
    assert sorted(r for m in sink.messages for r in m.recipients) == ["x@remote.example",
                                                                      "y@other.example"]


def test_domain_that_is_delivered_elsewhere(server, sink):
    server.config["domain"].append({"name": ["inner.example"], "deliver": sink.via,
                                    "recipients": "any"})
    server.start()
    server.send("x@inner.example", port=MX_PORT)
    assert sink.wait()[0].recipients == ["x@inner.example"]


def test_routes_refuse_and_discard(server):
    server.route("no.example", "refuse").route("gone.example", "discard").start()
    server.send("x@gone.example")
    server.wait_empty()
    assert not server.mailbox("alice")
    with server.smtp() as client:
        try:
            send_on(client, "alice@example.org", ["x@no.example"], "\r\n")
        except smtplib.SMTPRecipientsRefused:
            return
    # Taken, and refused when it was routed: then the sender is told.
    assert b"x@no.example" in server.wait_mail("alice")[0].read_bytes()


# --- MX ------------------------------------------------------------------------------------------

def mx_server(server):
    server.configure(delivery={"port": SINK_PORT})
    return server.start()


def test_lowest_preference_first(server, zone, make_sink):
    first, second = make_sink(), make_sink()
    zone.mx("remote.example", (20, "b.remote.example"), (10, "a.remote.example"))
    zone.a("a.remote.example", first.ip)
    zone.a("b.remote.example", second.ip)
    mx_server(server)
    for _ in range(5):
        server.send("x@remote.example")
    first.wait(5)
    assert not second.messages


def test_falls_back_to_the_second_mx(server, zone, sink):
    nobody = Address()
    zone.mx("remote.example", (10, "a.remote.example"), (20, "b.remote.example"))
    zone.a("a.remote.example", nobody.ip)
    zone.a("b.remote.example", sink.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()
    nobody.close()


def test_falls_back_within_the_addresses_of_one_host(server, zone, sink):
    nobody = Address()
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", nobody.ip, sink.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()
    nobody.close()


def test_falls_back_when_the_first_mx_greets_badly(server, zone, sink, make_script):
    busy = make_script(lambda line, state: b"421 4.3.2 busy\r\n")
    zone.mx("remote.example", (10, "a.remote.example"), (20, "b.remote.example"))
    zone.a("a.remote.example", busy.ip)
    zone.a("b.remote.example", sink.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()


def test_implicit_mx(server, zone, sink):
    zone.a("remote.example", sink.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()


def test_an_mx_that_exists_hides_the_address(server, zone, sink, make_sink):
    """RFC 5321 5.1: with an MX, the domain's own address is never used."""
    wrong = make_sink()
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", sink.ip)
    zone.a("remote.example", wrong.ip)
    mx_server(server).send("x@remote.example")
    sink.wait()
    assert not wrong.messages


def bounced(server, *parts):
    """The bounce in alice's mailbox, which holds all parts."""
    text = server.wait_mail("alice")[0].read_bytes()
    for part in parts:
        assert part in text, text.decode(errors="replace")
    server.wait_empty()
    return text


def test_null_mx_bounces(server, zone):
    zone.mx("remote.example", (0, "."))
    mx_server(server).send("x@remote.example")
    bounced(server, b"x@remote.example", b"5.1.10")


def test_no_such_domain_bounces(server, zone):
    mx_server(server).send("x@remote.example")
    bounced(server, b"x@remote.example", b"Status: 5.1.2")


def test_mx_whose_hosts_do_not_exist(server, zone):
    zone.mx("remote.example", (10, "gone.remote.example"))
    mx_server(server).send("x@remote.example")
    bounced(server, b"x@remote.example", b"Status: 5.")


def deferred(server, queue="remote.example"):
    """Waits until the queue waits for its next try; its row."""
    def waiting():
        row = server.queues().get(queue)
        return row if row and row["state"] == "retry" and row["last_reply"] else None
    return wait_for(f"{queue} is deferred", waiting)


def test_dns_trouble_defers_and_heals(server, zone, sink):
    server.configure(retry={"after": ["2s"]})
    zone.fail("remote.example")
    mx_server(server).send("x@remote.example")
    deferred(server)
    assert not server.mailbox("alice")
    zone.failing.clear()
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", sink.ip)
    sink.wait()


def test_trouble_with_the_address_of_the_only_mx_defers(server, zone):
    server.configure(retry={"after": ["1h"]})
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.fail("a.remote.example")
    mx_server(server).send("x@remote.example")
    deferred(server)
    assert not server.mailbox("alice")


def test_a_resolver_that_never_answers_defers(server, zone):
    server.configure(retry={"after": ["1h"]})
    zone.silent.add("remote.example")
    mx_server(server).send("x@remote.example")
    wait_for("remote.example is deferred",
             lambda: server.queues().get("remote.example", {}).get("state") == "retry", 60)


def test_mx_that_names_only_ourselves_defers(server, zone):
    """It is a mistake in somebody's zone, which may be mended: no bounce, no loop."""
    server.configure(retry={"after": ["1h"]}, delivery={"port": MX_PORT})
    zone.mx("remote.example", (10, "mx.example.org"))
    zone.a("mx.example.org", server.ip)
    server.start().send("x@remote.example")
    deferred(server)
    assert server.status()["total"]["accepted"] == 1
    assert not server.mailbox("alice")


def test_a_thousand_mx(server, zone, sink):
    nobody = Address()
    zone.mx("remote.example", *((n, f"h{n}.remote.example") for n in range(200)))
    zone.a("h0.remote.example", nobody.ip)
    zone.a("h1.remote.example", sink.ip)
    mx_server(server).send("x@remote.example")  # more than UDP holds: truncated, asked by TCP
    sink.wait()
    nobody.close()


def test_cname_before_mx(server, zone, sink):
    from dnslib import CNAME
    zone.add("alias.example", CNAME("remote.example"))
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", sink.ip)
    server.configure(retry={"after": ["1s"]})
    # A resolver follows the name; this zone answers as one.
    zone.records["alias.example"].extend(
        record for record in zone.records["remote.example"])
    mx_server(server).send("x@alias.example")
    assert sink.wait()[0].recipients == ["x@alias.example"]


def test_dead_host_comes_back(server, zone, closing):
    address = Address()
    zone.mx("remote.example", (10, "a.remote.example"))
    zone.a("a.remote.example", address.ip)
    mx_server(server)
    with server.smtp() as client:
        for n in range(5):
            send_on(client, "alice@example.org", ["x@remote.example"], f"\r\n{n}\r\n")
    deferred(server)
    sink = closing(Sink(ip=address.ip))
    sink.wait(5)
    server.wait_empty()
    address.close()


def test_expiry_bounces_after_a_failed_attempt(server, zone):
    nobody = Address()
    zone.a("remote.example", nobody.ip)
    server.configure(retry={"after": ["1s"], "expire": "3s"})
    mx_server(server)
    begin = time.monotonic()
    server.send("x@remote.example")
    text = bounced(server, b"x@remote.example")
    assert time.monotonic() - begin >= 3
    assert b"Status: 4.4.1" in text and b"delivery time expired" not in text  # the last attempt's words
    assert server.events("message.expired", to="x@remote.example")
    failed, = server.events("delivery.failed", to="x@remote.example")
    assert failed["reply"].startswith("5.4.7 delivery time expired; last: 4.4.1 connecting: ")
    nobody.close()
