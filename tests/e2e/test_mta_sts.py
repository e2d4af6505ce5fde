"""MTA-STS (RFC 8461): policies from a real HTTPS server, and what they do to mail on its way to MX hosts."""
import pytest

from support.certificates import Authority
from support.policy_host import HTTPS_PORT, PATH, PolicyHost, policy
from support.sink import SINK_PORT
from support.socks import NOT_ALLOWED, OPENED, Socks
from support.waiting import wait_for


@pytest.fixture
def sender(server, zone, authority):
    """Not started: it believes `authority`, and asks for policies."""
    return server.configure(retry={"after": ["1h"]}, delivery={
        "port": SINK_PORT, "ca": str(authority.root), "mta_sts": True, "mta_sts_port": HTTPS_PORT})


@pytest.fixture
def receiver(zone, authority, make_sink):
    """receiver(domain, ...): a sink that is `host`, the domain's MX, and has a certificate for its name."""
    def make(domain, host=None, shown=None, tls=True):
        host = host or f"mx.{domain}"
        sink = make_sink(tls=authority.server(*(shown or authority.issue(host))) if tls else None)
        zone.mx(domain, (10, host))
        zone.a(host, sink.ip)
        return sink
    return make


@pytest.fixture
def publish(zone, authority, closing):
    """publish(domain, text): its policy, named in the DNS and at its host."""
    def make(domain, text="", shown=None, clear=False, number="1"):
        shown = shown or authority.issue(f"mta-sts.{domain}")
        host = closing(PolicyHost(None if clear else authority.server(*shown), text))
        zone.txt(f"_mta-sts.{domain}", f"v=STSv1; id={number};")
        zone.a(f"mta-sts.{domain}", host.ip)
        return host
    return make


@pytest.fixture
def socks(closing):
    server = closing(Socks())
    server.quiet.add(HTTPS_PORT)
    return server


def failure(server, queue):
    return server.wait_log("queue.deferred", queue=queue)


def delivered(server, to):
    return server.wait_log("delivery.ok", to=to)


def test_a_policy_is_obeyed(sender, receiver, publish):
    sink = receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    ident = sender.start().send("x@sts.test")
    line = delivered(sender, "x@sts.test")
    assert line["verified"] == "mta-sts: mx.sts.test"
    assert line["tls_policy"] == "mta-sts: enforce, policy 1 of sts.test"
    assert sink.messages[0].tls
    told = "; mta-sts: mx.sts.test; mta-sts: enforce, policy 1 of sts.test"
    assert sender.ctl("history", ident).rows[0]["tls"].endswith(told)
    assert host.asked == [("mta-sts.sts.test", f"mta-sts.sts.test:{HTTPS_PORT}", PATH)]
    line = sender.wait_log("sts.fetched", domain="sts.test")
    assert (line["mode"], line["policy"], line["hosts"], line["max_age"]) == ("enforce", "1", "1", "604800")
    assert [row["hop"] for row in sender.ctl("queues", "--hops").rows] == [f"mx.sts.test:{SINK_PORT}/mta-sts"]
    sender.send("y@sts.test")
    delivered(sender, "y@sts.test")
    assert len(host.asked) == 1
    assert len(sender.pids("fetch")) == 1


def test_mail_goes_to_no_host_that_the_policy_does_not_name(sender, receiver, publish):
    sink = receiver("sts.test", "mx.evil.test")
    publish("sts.test", policy("mx.sts.test", "*.sts.test"))
    held = sender.start().send("x@sts.test")
    line = failure(sender, "sts.test")
    reason = "the MTA-STS policy of sts.test does not name mx.evil.test"
    assert line["class"] == "tls" and reason in line["reply"], line
    assert reason in str(sender.ctl("explain", held).rows[0]["explanations"][0])
    assert reason in sender.ctl_text("explain", held).out
    assert not sink.messages


def test_the_hosts_that_it_names_are_left(sender, zone, receiver, publish):
    other = receiver("sts.test", "mx.evil.test")
    sink = receiver("sts.test", "mx2.sts.test")
    zone.records["sts.test"] = []
    zone.mx("sts.test", (10, "mx.evil.test"), (20, "mx2.sts.test"))
    publish("sts.test", policy("*.sts.test"))
    sender.start().send("x@sts.test")
    assert delivered(sender, "x@sts.test")["verified"] == "mta-sts: mx2.sts.test"
    assert len(sink.messages) == 1 and not other.messages


@pytest.mark.parametrize(("shown", "tls", "why"), [
    ("elsewhere.test", True, "hostname mismatch"), (None, True, "self-signed certificate"),
    (None, False, "does not offer STARTTLS")])
def test_nothing_but_a_certificate_for_the_name_will_do(sender, authority, receiver, publish, shown, tls, why):
    sink = receiver("sts.test", tls=tls,
                    shown=authority.issue(shown) if shown else authority.self_signed("mx.sts.test"))
    publish("sts.test", policy("mx.sts.test"))
    sender.start().send("x@sts.test")
    line = failure(sender, "sts.test")
    assert line["class"] == "tls" and why in line["reply"], line
    assert line["reply"].endswith("; mta-sts: enforce, policy 1 of sts.test"), line
    assert not sink.messages


def test_a_policy_that_is_tested_stops_nothing_and_is_told(sender, authority, receiver, publish):
    receiver("stranger.test", "mx.evil.test")
    receiver("doubt.test", shown=authority.self_signed("mx.doubt.test"))
    receiver("clear.test", tls=False)
    receiver("good.test")
    for domain in ("stranger", "doubt", "clear", "good"):
        publish(f"{domain}.test", policy(f"mx.{domain}.test", mode="testing"))
    sender.start()
    for domain in ("stranger", "doubt", "clear", "good"):
        sender.send(f"x@{domain}.test")
        line = delivered(sender, f"x@{domain}.test")
        assert line["tls_policy"] == f"opportunistic: mta-sts testing, policy 1 of {domain}.test"
    for domain, why in (("stranger", "the policy does not name mx.evil.test"), ("doubt", "self-signed certificate"),
                        ("clear", "TLS: none: not offered")):
        assert sender.wait_log("relay.mta_sts", domain=f"{domain}.test", mode="testing")["error"] == why
    assert not sender.events("relay.mta_sts", domain="good.test")


def test_mode_none_is_as_no_policy(sender, authority, receiver, publish):
    receiver("sts.test", shown=authority.self_signed("mx.sts.test"))
    publish("sts.test", policy(mode="none"))
    sender.start().send("x@sts.test")
    assert delivered(sender, "x@sts.test")["verified"] == "no: self-signed certificate"
    assert sender.wait_log("sts.fetched", domain="sts.test")["mode"] == "none"


def test_without_a_record_nobody_is_asked(sender, zone, authority, receiver, publish):
    receiver("sts.test", shown=authority.self_signed("mx.sts.test"))
    host = publish("sts.test", policy("mx.sts.test"))
    del zone.records["_mta-sts.sts.test"]
    sender.start().send("x@sts.test")
    assert delivered(sender, "x@sts.test")["verified"] == "no: self-signed certificate"
    assert not host.asked


def test_what_is_no_policy(sender, zone, authority, receiver, publish, closing):
    """Each host does something else wrong; mail goes as if its domain had no policy."""
    good = policy("mx.none.test")
    other = closing(PolicyHost(authority.server(*authority.issue("other.test")), good))
    hosts = {
        "large": publish("large.test", good + "x: " + "y" * 65536 + "\r\n"),
        "moved": publish("moved.test", good),
        "missing": publish("missing.test", good),
        "html": publish("html.test", good),
        "nonsense": publish("nonsense.test", "hello"),
        "cut": publish("cut.test", good),
        "wrong": publish("wrong.test", good, shown=authority.issue("other.test")),
        "expired": publish("expired.test", good, shown=authority.issue("mta-sts.expired.test", days=-1)),
        "selfsigned": publish("selfsigned.test", good, shown=authority.self_signed("mta-sts.selfsigned.test")),
        "clear": publish("clear.test", good, clear=True),
        "gone": publish("gone.test", good),
        "nowhere": publish("nowhere.test", good),
        "forbidden": publish("forbidden.test", good),
    }
    hosts["moved"].status = 301
    hosts["moved"].headers["Location"] = f"https://{other.ip}:{HTTPS_PORT}{PATH}"
    hosts["missing"].status = 404
    hosts["html"].headers["Content-Type"] = "text/html"
    hosts["cut"].missing = 1
    hosts["gone"].stop()
    del zone.records["mta-sts.nowhere.test"]
    sender.configure(delivery={"forbid": [f"{hosts['forbidden'].ip}/32"]})
    why = {"large": "longer than 64 KiB", "moved": "answered 301, and redirects are not followed",
           "missing": "answered 404", "html": "not text/plain: text/html", "nonsense": "not of version STSv1",
           "cut": "mta-sts.cut.test: the connection ended before the answer did",
           "wrong": "hostname mismatch", "expired": "certificate has expired",
           "selfsigned": "self-signed certificate", "clear": "TLS with mta-sts.clear.test",
           "gone": "connecting to mta-sts.gone.test: Connection refused",
           "nowhere": "mta-sts.nowhere.test has no address",
           "forbidden": "mta-sts.forbidden.test is at addresses to which this server sends nothing"}
    sink = receiver("all.test", shown=authority.self_signed("mx.all.test"))
    sender.start()
    for name in hosts:
        zone.mx(f"{name}.test", (10, "mx.all.test"))
        sender.send(f"x@{name}.test")
    for name, text in why.items():
        assert delivered(sender, f"x@{name}.test")["verified"] == "no: self-signed certificate"
        line = sender.wait_log("sts.failed", domain=f"{name}.test")
        assert text in line["error"] and line["kept"] == "none", line
    assert len(sink.messages) == len(hosts)
    assert not other.asked and not hosts["forbidden"].asked


def test_a_policy_outlives_its_host_its_record_and_a_restart(sender, zone, receiver, publish):
    receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    sender.start().send("x@sts.test")
    delivered(sender, "x@sts.test")
    evil = receiver("sts.test", "mx.evil.test")
    zone.records["sts.test"] = zone.records["sts.test"][1:]
    # Another policy, which cannot be had: what is held holds.
    host.stop()
    zone.txt("_mta-sts.sts.test", "v=STSv1; id=2;")
    sender.restart().send("y@sts.test")
    assert "does not name mx.evil.test" in failure(sender, "sts.test")["reply"]
    line = sender.wait_log("sts.failed", domain="sts.test")
    assert line["policy"] == "2" and line["kept"] == "1", line
    # No record at all.
    del zone.records["_mta-sts.sts.test"]
    sender.restart()
    sender.ctl("retry", "--all", "--yes")
    assert "does not name mx.evil.test" in failure(sender, "sts.test")["reply"]
    assert sender.wait_log("sts.unnamed", domain="sts.test")["kept"] == "1"
    assert not evil.messages


def test_a_policy_outlives_fetch(sender, zone, receiver, publish):
    receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    sender.start().send("x@sts.test")
    delivered(sender, "x@sts.test")
    kept = sender.directory / "spool" / "policies"
    wait_for("the policy is written", lambda: b"mx.sts.test" in kept.read_bytes())
    host.stop()
    receiver("sts.test", "mx.evil.test")
    zone.records["sts.test"] = zone.records["sts.test"][1:]
    before = sender.kill("fetch") + sender.kill("relay")  # which remembers the hosts
    wait_for("others", lambda: len(set(sender.pids("fetch") + sender.pids("relay")) - set(before)) == 2)
    sender.send("y@sts.test")
    assert "does not name mx.evil.test" in failure(sender, "sts.test")["reply"]


def test_a_new_id_brings_a_new_policy(sender, zone, receiver, publish):
    receiver("sts.test", "mx.other.test")
    host = publish("sts.test", policy("mx.sts.test"))
    sender.start().send("x@sts.test")
    failure(sender, "sts.test")
    host.text = policy("mx.other.test")
    sender.ctl("reload")  # forgets what the DNS said
    sender.ctl("retry", "--all", "--yes")
    sender.wait_log("queue.deferred", queue="sts.test", count=2)
    assert len(host.asked) == 1, "the id is the same"
    zone.txt("_mta-sts.sts.test", "v=STSv1; id=2;")
    sender.ctl("reload")
    sender.ctl("retry", "--all", "--yes")
    assert delivered(sender, "x@sts.test")["verified"] == "mta-sts: mx.other.test"
    assert len(host.asked) == 2


def test_domains_that_share_hosts_share_no_session(sender, zone, authority, receiver, publish):
    sink = receiver("plain.test", "mx.shared.test", shown=authority.self_signed("mx.shared.test"))
    zone.mx("sts.test", (10, "mx.shared.test"))
    publish("sts.test", policy("mx.shared.test"))
    sender.start()
    for _ in range(3):
        sender.send("x@plain.test")
        sender.send("x@sts.test")
    assert delivered(sender, "x@plain.test")["verified"] == "no: self-signed certificate"
    assert failure(sender, "sts.test")["hop"] == f"mx.shared.test:{SINK_PORT}/mta-sts"
    wait_for("all of the other", lambda: len(sink.messages) == 3)
    assert {m.recipients[0] for m in sink.messages} == {"x@plain.test"}


def test_dane_goes_before_it(sender, zone, authority, receiver, publish):
    shown = authority.self_signed("whatever.test")
    receiver("signed.test", shown=shown)
    zone.vouched = ("signed.test",)
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, authority.spki(shown[0]))
    publish("signed.test", policy("mx.elsewhere.test"))
    sender.start().send("x@signed.test")
    assert delivered(sender, "x@signed.test")["verified"] == "dane: whatever.test"


def test_ways_that_do_not_heed_it(sender, authority, receiver, publish, zone):
    receiver("off.test", shown=authority.self_signed("mx.off.test"))
    host = publish("off.test", policy("mx.elsewhere.test"))
    sender.route("off.test", "mx", tls="off")
    sender.start().send("x@off.test")
    assert delivered(sender, "x@off.test")["tls"] == "none: off"
    assert not host.asked and ("_mta-sts.off.test", "TXT") not in zone.asked


def test_it_can_be_left(sender, receiver, publish, authority):
    receiver("sts.test", shown=authority.self_signed("mx.sts.test"))
    host = publish("sts.test", policy("mx.elsewhere.test"))
    sender.configure(delivery={"mta_sts": False}).start().send("x@sts.test")
    delivered(sender, "x@sts.test")
    assert not host.asked and not sender.pids("fetch")
    sender.configure(delivery={"mta_sts": True}).write()
    refused = sender.ctl("reload", check=False)
    assert refused.exit == 78 and "whether MTA-STS policies are asked for" in refused.out + refused.err


def test_a_reload_brings_other_authorities(sender, authority, receiver, publish, tmp_path):
    stranger_directory = tmp_path / "stranger"
    stranger_directory.mkdir()
    stranger = Authority(stranger_directory)
    receiver("sts.test")
    publish("sts.test", policy("mx.sts.test"), shown=stranger.issue("mta-sts.sts.test"))
    sender.start().send("x@sts.test")
    assert delivered(sender, "x@sts.test")["verified"] == "yes: mx.sts.test"
    both = tmp_path / "both.pem"
    both.write_text(stranger.root.read_text() + authority.root.read_text())
    sender.configure(delivery={"ca": str(both)}).write()
    sender.ctl("reload")
    sender.send("y@sts.test")
    assert delivered(sender, "y@sts.test")["verified"] == "mta-sts: mx.sts.test"


# --- Through a SOCKS server -----------------------------------------------------------------------

def test_a_policy_is_fetched_as_the_mail_goes(sender, receiver, publish, socks):
    sinks = {name: receiver(f"{name}.test") for name in ("through", "direct")}
    hosts = {name: publish(f"{name}.test", policy(f"mx.{name}.test")) for name in sinks}
    sender.route("*", "mx", socks=socks.endpoint).route("direct.test", "mx").start()
    for name, sink in sinks.items():
        sender.send(f"x@{name}.test")
        assert delivered(sender, f"x@{name}.test")["verified"] == f"mta-sts: mx.{name}.test"
        assert hosts[name].asked == [(f"mta-sts.{name}.test", f"mta-sts.{name}.test:{HTTPS_PORT}", PATH)]
    assert hosts["through"].peers == [socks.ip] and sinks["through"].messages[0].peer[0] == socks.ip
    assert socks.ip not in hosts["direct"].peers and sinks["direct"].messages[0].peer[0] != socks.ip
    # Of the one domain nothing went elsewhere, and of the other nothing there.
    assert socks.asked == [(hosts["through"].ip, HTTPS_PORT), (sinks["through"].ip, SINK_PORT)]


def test_a_policy_holds_whatever_way_it_came(sender, receiver, publish, socks):
    sink = receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    sender.route("*", "mx", socks=socks.endpoint).start().send("x@sts.test")
    delivered(sender, "x@sts.test")
    del sender.config["route"]
    sender.write()
    sender.ctl("reload")
    sender.send("y@sts.test")
    assert delivered(sender, "y@sts.test")["verified"] == "mta-sts: mx.sts.test"
    assert sink.messages[1].peer[0] != socks.ip and host.peers == [socks.ip]


def test_no_policy_host_is_connected_to_past_the_socks_server(sender, receiver, publish, socks):
    sink = receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    socks.refuse = NOT_ALLOWED
    sender.route("*", "mx", socks=socks.endpoint).start().send("x@sts.test")
    failure(sender, "sts.test")
    error = sender.wait_log("sts.failed", domain="sts.test")["error"]
    words = f"the SOCKS server {socks.endpoint} says: connection not allowed by ruleset"
    assert error == f"connecting to mta-sts.sts.test: {words}"
    assert not host.peers and not sink.messages
    socks.refuse = OPENED
    sender.ctl("reload")  # so that it is tried again at once
    sender.ctl("retry", "--all", "--yes")
    assert delivered(sender, "x@sts.test")["verified"] == "mta-sts: mx.sts.test"
    assert host.peers == [socks.ip]


def test_a_socks_server_at_a_new_port_needs_a_restart(sender, receiver, publish, socks):
    """The sandbox of fetch knows the ports that it may connect to."""
    receiver("sts.test")
    host = publish("sts.test", policy("mx.sts.test"))
    sender.start().route("*", "mx", socks=socks.endpoint).write()
    refused = sender.ctl("reload", check=False)
    assert refused.exit == 78 and "fetch was not started for TCP port 1080" in refused.out + refused.err
    sender.restart().send("x@sts.test")
    assert delivered(sender, "x@sts.test")["verified"] == "mta-sts: mx.sts.test"
    assert host.peers == [socks.ip]
    del sender.config["route"]
    sender.write()
    sender.ctl("reload")  # one that is not used any more does not
