"""Retry tables: rules for destinations and classes of failure, and a reload that changes them."""
from support.server import toml
from support.sink import instead
from support.waiting import wait_for

GREYLISTED = instead("RCPT", b"451 4.7.1 greylisted\r\n")


def write(server, *rules):
    """The configuration with these rules, as [[retry.rule]] sections."""
    server.write(toml(server.config) + "".join(f"[[retry.rule]]\n{toml(rule)}" for rule in rules))


def start(server, *rules):
    write(server, *rules)
    server.launch()
    server.wait_log("server.ready")


def deferred(server, queue):
    return len(server.events("delivery.deferred", queue=queue))


def test_the_most_specific_rule_says_how_long_mail_waits(server, make_script):
    hop = make_script(GREYLISTED)
    server.configure(retry={"after": ["1h"]}).route("*", hop.via)
    start(server, {"to": ["*.example"], "after": ["2h"]},
          {"to": ["fast.example"], "on": "policy", "after": ["1s"]},
          {"to": ["fast.example"], "on": "dns", "after": ["3h"]})
    server.send("x@slow.example")
    server.send("x@fast.example")
    wait_for("the fast one is tried again and again", lambda: deferred(server, "fast.example") >= 4)
    assert deferred(server, "slow.example") == 1


def test_a_reload_brings_forward_what_waits(server, make_script):
    hop = make_script(GREYLISTED)
    server.configure(retry={"after": ["1h"]})
    server.route("dead.example", "smtp://127.0.0.1:9").route("*", hop.via)
    start(server)
    server.send("x@slow.example")
    server.send("x@dead.example")
    wait_for("both failed", lambda: deferred(server, "slow.example")
             and server.events("queue.deferred", queue="dead.example"))
    write(server, {"to": ["slow.example", "dead.example"], "after": ["1s"]})
    server.ctl("reload")
    wait_for("the message is tried again", lambda: deferred(server, "slow.example") >= 2)
    wait_for("the queue is tried again",
             lambda: len(server.events("queue.deferred", queue="dead.example")) >= 2)
    # And back again: what waits now is not put off, the next wait is the long one.
    tries = deferred(server, "slow.example")
    write(server)
    server.ctl("reload")
    wait_for("it is tried once more", lambda: deferred(server, "slow.example") > tries)


def test_a_rule_may_give_up_early(server, make_script):
    hop = make_script(GREYLISTED)
    server.configure(retry={"after": ["1s"], "expire": "5d"}).route("*", hop.via)
    start(server, {"to": ["fast.example"], "expire": "2s"})
    server.send("x@fast.example")
    server.send("x@slow.example")
    server.wait_mail("alice")
    assert [row["to"] for row in server.messages()] == ["x@slow.example"]


def test_rules_that_contradict_each_other_are_refused_with_their_places(server):
    server.start()
    write(server, {"to": ["a.example"], "after": ["1s"]}, {"to": ["A.example"], "after": ["2s"]})
    answer = server.ctl("reload", check=False)
    assert answer.exit != 0
    said = answer.out + answer.err
    assert "retry.rule.to" in said and "stands already at" in said and "postern.toml:" in said
