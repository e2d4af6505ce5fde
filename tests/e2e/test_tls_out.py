"""TLS with next hops: real receivers with every kind of certificate, under every demand of a route."""
import ssl

import pytest

from support.certificates import Authority
from support.dnssec import SignedZone
from support.server import MX_PORT
from support.sink import SINK_PORT, Script, honest
from support.waiting import wait_for

SMTPS_PORT = 2645


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that nobody believes."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def sender(server, zone, authority):
    """Not started: it believes `authority`, and finds hosts in `zone`."""
    return server.configure(retry={"after": ["1h"]}, delivery={"port": SINK_PORT, "ca": str(authority.root)})


def way(server, to, host, tls=None, port=SINK_PORT, scheme="smtp"):
    server.route(to, f"{scheme}://{host}:{port}", **({"tls": tls} if tls else {}))


def failure(server, address):
    """How the attempt for this recipient's queue failed."""
    return server.wait_log("queue.deferred", queue=address)


def delivered(server, to):
    return server.wait_log("delivery.ok", to=to)


RECEIVERS = ("good", "wrong", "expired", "selfsigned", "stranger")
DOUBTS = {"wrong": "hostname mismatch", "expired": "certificate has expired",
          "selfsigned": "self-signed certificate", "stranger": "unable to get local issuer certificate"}


def test_every_certificate_under_every_demand(sender, zone, authority, stranger, make_sink):
    shown = {
        "good": authority.issue("good.example"), "wrong": authority.issue("elsewhere.example"),
        "expired": authority.issue("expired.example", days=-1),
        "selfsigned": authority.self_signed("selfsigned.example"),
        "stranger": stranger.issue("stranger.example"),
    }
    sinks = {}
    for name in RECEIVERS:
        sinks[name] = make_sink(tls=authority.server(*shown[name]))
        zone.a(f"{name}.example", sinks[name].ip)
        for demand in ("off", "optional", "required", "verified"):
            way(sender, f"{demand}.{name}.test", f"{name}.example", demand)
    sender.start()
    for name in RECEIVERS:
        for demand in ("off", "optional", "required", "verified"):
            sender.send(f"x@{demand}.{name}.test")
    for name in RECEIVERS:
        assert delivered(sender, f"x@off.{name}.test")["tls"] == "none: off"
        for demand in ("optional", "required"):
            line = delivered(sender, f"x@{demand}.{name}.test")
            assert line["tls"].startswith("TLSv1.3 TLS_"), line
            assert line["verified"] == ("yes: good.example" if name == "good" else f"no: {DOUBTS[name]}")
        if name == "good":
            assert delivered(sender, "x@verified.good.test")["verified"] == "yes: good.example"
        else:
            line = failure(sender, f"verified.{name}.test")
            assert line["class"] == "tls" and DOUBTS[name] in line["reply"], line
        wait_for("the sink has all", lambda name=name: len(sinks[name].messages) == (4 if name == "good" else 3))
        clear = [m for m in sinks[name].messages if not m.tls]
        assert [m.recipients for m in clear] == [[f"x@off.{name}.test"]]


def starttls(answer):
    """Offers STARTTLS, and answers it so."""
    def script(line, state):
        verb = line.split(" ")[0].upper()
        if not state.get("data") and verb == "EHLO":
            return b"250-sink.example\r\n250 STARTTLS\r\n"
        if not state.get("data") and verb == "STARTTLS":
            return answer
        return honest(line, state)
    return script


@pytest.mark.parametrize(("answer", "why"), [
    (Script.CLOSE, "connection closed by the next hop while waiting for the reply to STARTTLS"),
    (b"421 4.3.2 later\r\n", "421 4.3.2 later"),
])
def test_what_fails_is_done_in_clear_where_that_will_do(sender, make_script, answer, why):
    script = make_script(starttls(answer))
    way(sender, "optional.test", script.ip)
    way(sender, "required.test", script.ip, "required")
    sender.start()
    sender.send("x@optional.test")
    line = sender.wait_log("relay.tls", then="once more, in clear")
    assert why in line["error"], line
    assert delivered(sender, "x@optional.test")["tls"].startswith("none: ")
    assert script.connections == 2
    sender.send("x@required.test")
    assert failure(sender, "required.test")["class"] == "tls"
    assert script.connections == 3


def test_a_host_whose_tls_is_of_another_age(sender, authority, make_sink):
    context = authority.server(*authority.issue("old.example"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    sink = make_sink(tls=context)
    way(sender, "optional.test", sink.ip)
    way(sender, "required.test", sink.ip, "required")
    sender.start().send("x@optional.test")
    line = delivered(sender, "x@optional.test")
    assert line["tls"].startswith("none: 4."), line  # its alert, or just the end
    assert not sink.wait()[0].tls
    sender.send("x@required.test")
    assert failure(sender, "required.test")["class"] == "tls"


def test_a_host_that_cannot_meet_the_least_version(sender, authority, make_sink):
    """Its handshake fails, and that means what it always means."""
    context = authority.server(*authority.issue("old.example"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    sink = make_sink(tls=context)
    new = make_sink(tls=authority.server(*authority.issue("new.example")))
    way(sender, "optional.test", sink.ip)
    way(sender, "required.test", sink.ip, "required")
    way(sender, "new.test", new.ip, "required")
    sender.configure(delivery={"tls_minimum": "1.3"}).start()
    for name in ("optional", "required", "new"):
        sender.send(f"x@{name}.test")
    assert delivered(sender, "x@new.test")["tls"].startswith("TLSv1.3 ")
    assert sink.ip in sender.wait_log("relay.tls", then="once more, in clear")["remote"]
    assert delivered(sender, "x@optional.test")["tls"].startswith("none: 4.")
    line = failure(sender, "required.test")
    assert line["class"] == "tls" and line["reply"].endswith("; required: by configuration"), line
    assert [(m.recipients, bool(m.tls)) for m in sink.messages] == [(["x@optional.test"], False)]
    sender.configure(delivery={"tls_minimum": "1.2"}).write()
    sender.ctl("reload")
    sender.ctl("retry", "--all", "--yes")
    assert delivered(sender, "x@required.test")["tls"].startswith("TLSv1.2 ")


def test_a_refusal_is_no_reason_for_another_session(sender, make_script):
    script = make_script(starttls(b"454 4.7.0 not now\r\n"))
    way(sender, "optional.test", script.ip)
    way(sender, "required.test", script.ip, "required")
    sender.start().send("x@optional.test")
    assert delivered(sender, "x@optional.test")["tls"] == "none: refused: 454 4.7.0 not now"
    assert script.connections == 1
    sender.send("x@required.test")
    line = failure(sender, "required.test")
    assert line["class"] == "tls" and "454 4.7.0 not now" in line["reply"]


def test_nothing_is_sent_to_who_speaks_out_of_turn(sender, make_script):
    script = make_script(starttls(b"220 go\r\n250 evil\r\n"))
    way(sender, "optional.test", script.ip)
    sender.start().send("x@optional.test")
    assert "between its reply to STARTTLS and TLS" in failure(sender, "optional.test")["reply"]
    assert not any(line.startswith("MAIL") for line in script.lines)


def test_a_host_without_tls(sender, sink):
    way(sender, "optional.test", sink.ip)
    way(sender, "required.test", sink.ip, "required")
    way(sender, "smtps.test", sink.ip, scheme="smtps")
    sender.start()
    for name in ("optional", "required", "smtps"):
        sender.send(f"x@{name}.test")
    assert delivered(sender, "x@optional.test")["tls"] == "none: not offered"
    assert failure(sender, "required.test")["reply"] == (
        "4.7.4 the next hop does not offer STARTTLS; required: by configuration")
    assert failure(sender, "smtps.test")["class"] == "tls"
    assert len(sink.messages) == 1


def test_tls_from_the_first_byte(sender, zone, authority, make_sink):
    sink = make_sink(port=SMTPS_PORT, tls=authority.server(*authority.issue("good.example")), implicit=True)
    zone.a("good.example", sink.ip)
    way(sender, "smtps.test", "good.example", port=SMTPS_PORT, scheme="smtps")
    way(sender, "verified.test", "good.example", "verified", port=SMTPS_PORT, scheme="smtps")
    way(sender, "wrong.test", sink.ip, "verified", port=SMTPS_PORT, scheme="smtps")
    sender.start()
    for name in ("smtps", "verified", "wrong"):
        sender.send(f"x@{name}.test")
    assert delivered(sender, "x@smtps.test")["verified"] == "yes: good.example"
    assert delivered(sender, "x@verified.test")["verified"] == "yes: good.example"
    assert "IP address mismatch" in failure(sender, "wrong.test")["reply"]
    assert len(sink.messages) == 2


def test_postern_to_postern(make_server, sender, zone, authority):
    """With resumption, and a key that lives in a process of its own."""
    other = make_server("b")
    chain, key = authority.issue("mx.other.example")
    other.configure(certificate=[{"chain": str(chain), "key": str(key)}],
                    domain=[{**other.config["domain"][0], "name": ["other.example"]}],
                    postmaster="alice@other.example").start()
    zone.a("mx.other.example", other.ip)
    way(sender, "other.example", "mx.other.example", "verified", port=MX_PORT)
    sender.start().send("bob@other.example")
    assert delivered(sender, "bob@other.example")["tls"] == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    other.wait_mail("bob", 1, "other.example")
    other.wait_log("session.close")
    sender.send("carol@other.example")
    assert delivered(sender, "carol@other.example")["tls"].endswith(" resumed")
    other.wait_mail("carol", 1, "other.example")


def test_the_demand_stands_in_explain(sender, zone, authority, make_sink):
    wrong = make_sink(tls=authority.server(*authority.issue("elsewhere.example")))
    zone.a("wrong.example", wrong.ip)
    way(sender, "verified.test", "wrong.example", "verified")
    way(sender, "optional.test", "wrong.example")
    sender.start()
    held = sender.send("x@verified.test")
    failure(sender, "verified.test")
    one = sender.ctl("explain", held).rows[0]["explanations"][0]
    assert one["route"]["via"] == f"smtp://wrong.example:{SINK_PORT} (tls verified)"
    assert one["route"]["hop"] == f"wrong.example:{SINK_PORT}/verified"
    assert "hostname mismatch" in str(one)
    assert "(tls verified)" in sender.ctl_text("explain", held).out
    sender.send("x@optional.test")  # the same host is not dead for others
    delivered(sender, "x@optional.test")
    sender.ctl("freeze", "--hop", "wrong.example", "--reason", "both ways", "--yes")
    assert {hop["hop"] for hop in sender.ctl("queues", "--hops").rows if hop["state"] == "frozen"} >= {
        f"wrong.example:{SINK_PORT}/verified"}


def test_a_reload_brings_other_authorities(sender, zone, authority, stranger, make_sink):
    sink = make_sink(tls=authority.server(*stranger.issue("mx.example")))
    zone.a("mx.example", sink.ip)
    way(sender, "verified.test", "mx.example", "verified")
    sender.start().send("x@verified.test")
    failure(sender, "verified.test")
    sender.configure(delivery={"ca": str(stranger.root)}).write()
    sender.ctl("reload")
    sender.ctl("retry", "--all", "--yes")
    assert delivered(sender, "x@verified.test")["verified"] == "yes: mx.example"


# --- DANE --------------------------------------------------------------------------------------------

@pytest.fixture
def dane(sender, zone, authority, make_sink):
    """A domain whose records are all vouched for; its host shows a certificate that no authority signed."""
    shown = authority.self_signed("whatever.example")
    sink = make_sink(tls=authority.server(*shown))
    zone.vouched = ("signed.test",)
    zone.mx("signed.test", (10, "mx.signed.test"))
    zone.a("mx.signed.test", sink.ip)
    sink.key = authority.spki(shown[0])
    return sink


def test_dane_believes_what_the_dns_names(sender, zone, dane):
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, dane.key)
    sender.start().send("x@signed.test")
    assert delivered(sender, "x@signed.test")["verified"] == "dane: whatever.example"
    assert (f"_{SINK_PORT}._tcp.mx.signed.test", "TLSA") in zone.asked


def test_dane_believes_nobody_else(sender, zone, dane):
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, bytes(32))
    sender.start().send("x@signed.test")
    line = failure(sender, "signed.test")
    assert line["class"] == "tls" and "verify failed" in line["reply"], line
    assert not dane.messages


def test_records_that_cannot_be_had_keep_the_mail_here(sender, zone, dane):
    zone.fail(f"_{SINK_PORT}._tcp.mx.signed.test")
    sender.start().send("x@signed.test")
    line = failure(sender, "signed.test")
    assert line["class"] == "tls" and "TLSA" in line["reply"], line
    assert not dane.messages


def test_what_nobody_vouches_for_is_only_tried(sender, zone, dane):
    zone.vouched = ()
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, bytes(32))
    sender.route("must.test", "mx", tls="dane")
    zone.mx("must.test", (10, "mx.signed.test"))
    sender.start().send("x@signed.test")
    assert delivered(sender, "x@signed.test")["verified"] == "no: self-signed certificate"
    sender.send("x@must.test")
    assert "DNSSEC does not vouch" in failure(sender, "must.test")["reply"]


def test_the_word_of_a_resolver_far_away_counts_where_it_is_said(sender, zone, dane):
    """Whether a resolver is near is a matter of its address alone; here one that cannot answer."""
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, bytes(32))
    dns = sender.config["delivery"]["dns"]
    sender.configure(delivery={"dns": [*dns, "192.0.2.1:53"]}).start().send("x@signed.test")
    assert delivered(sender, "x@signed.test")["verified"] == "no: self-signed certificate"
    sender.configure(delivery={"trust_ad": True}).write()
    sender.ctl("reload")
    sender.send("y@signed.test")
    assert failure(sender, "signed.test")["class"] == "tls"


def test_how_each_try_was_secured_and_why_is_told_afterwards(sender, zone, sink, dane):
    zone.tlsa("mx.signed.test", SINK_PORT, 3, 1, 1, dane.key)
    sink.refuse["later@clear.test"] = "450 4.2.1 come later"
    way(sender, "clear.test", sink.ip)
    sender.start()
    ident = sender.send("x@signed.test")
    line = delivered(sender, "x@signed.test")
    assert line["tls_policy"] == "dane: 1 TLSA record"
    told = f"{line['tls']}; dane: whatever.example; dane: 1 TLSA record"
    waiting = sender.send(["later@clear.test", "x@clear.test"])
    line = sender.wait_log("delivery.deferred", to="later@clear.test")
    assert (line["tls"], line["tls_policy"]) == ("none: not offered", "opportunistic: no policy")
    clear = "none: not offered; opportunistic: no policy"

    def is_told():
        row, = wait_for("the history was written", lambda: sender.ctl("history", ident).rows)
        assert row["tls"] == told
        assert sender.ctl("explain", ident).rows[0]["ended"][0]["tls"] == told
        assert f"  TLS      {told}\n" in sender.ctl_text("explain", ident).out
        one, = sender.ctl("explain", waiting).rows[0]["explanations"]
        assert one["tls"] == clear
        assert f"  TLS      {clear}\n" in sender.ctl_text("explain", waiting).out
        assert [row["tls"] for row in sender.ctl("history", waiting).rows] == [clear]
        shown = sender.ctl("show", waiting).rows[0]["recipients"]
        assert "later@clear.test" in [row["address"] for row in shown]
        assert {row["tls"] for row in shown} == {clear}
    delivered(sender, "x@clear.test")
    is_told()
    sender.restart()
    wait_for("it is read", lambda: sender.ctl("explain", waiting).rows[0]["explanations"][0]["state"] == "retry")
    is_told()


# --- DANE behind a resolver that checks ------------------------------------------------------------------

OTHER_KEY = "signed.test. DS 844 13 2 " + "00" * 32


@pytest.fixture
def signed(server, authority, make_sink, closing, tmp_path):
    """Not started: a server whose zone is signed by knot and checked by unbound; its sink's certificate is
    one that no authority signed. Call it with what the zone says of the sink, or the resolver trusts."""
    shown = authority.self_signed("whatever.example")
    sink = make_sink(tls=authority.server(*shown))
    sink.spki = authority.spki(shown[0]).hex()
    server.configure(retry={"after": ["1h"]}, delivery={"port": SINK_PORT})

    def make(*records, anchor=None):
        closing(SignedZone(tmp_path / "dns", server.ip, "signed.test",
                           ["@ MX 10 mx", f"mx A {sink.ip}", *records], anchor))
        return server.start()
    make.sink = sink
    return make


def tlsa(name, data):
    return f"_{SINK_PORT}._tcp.{name} TLSA 3 1 1 {data}"


def test_a_signed_zone_names_its_certificate(signed):
    server = signed(tlsa("mx", signed.sink.spki))
    server.send("x@signed.test")
    assert delivered(server, "x@signed.test")["verified"] == "dane: whatever.example"


def test_a_signed_zone_names_another_certificate(signed):
    server = signed(tlsa("mx", "ab" * 32))
    server.send("x@signed.test")
    line = failure(server, "signed.test")
    assert line["class"] == "tls" and line["hop"] == f"mx.signed.test:{SINK_PORT}/dnssec", line
    assert not signed.sink.messages


def test_a_signed_zone_without_tlsa_records(signed):
    """That there are none is proved as well."""
    server = signed()
    server.send("x@signed.test")
    assert delivered(server, "x@signed.test")["verified"] == "no: self-signed certificate"


def test_tlsa_records_of_an_alias(signed):
    server = signed("alias MX 10 second", "second CNAME mx", tlsa("mx", signed.sink.spki))
    server.send("x@alias.signed.test")
    assert delivered(server, "x@alias.signed.test")["verified"] == "dane: whatever.example"


def test_a_zone_with_a_false_signature(signed):
    server = signed(tlsa("mx", signed.sink.spki), anchor=OTHER_KEY)
    server.send("x@signed.test")
    assert failure(server, "signed.test")["class"] == "dns"
    assert not signed.sink.messages
