"""postern-load and postern-sink with nothing between them: what they say must hold whatever happens to them."""
import json
import smtplib
import socket
import ssl
import subprocess

from support.certificates import Authority
from support.load import TOOLS, Taker, Tool, compare
from support.net import Address
from support.sink import SINK_PORT
from support.waiting import PATIENCE, wait_for


def run(*options):
    done = subprocess.run([TOOLS / "postern-load", "--json", *map(str, options)], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_is_acknowledged_is_in_the_ledgers_though_both_are_killed(tmp_path, closing):
    address = closing(Address())
    to = f"{address.ip}:{SINK_PORT}"
    sent, taken = tmp_path / "sent", tmp_path / "taken"

    def sink():
        return closing(Tool("postern-sink", "--listen", to, "--ledger", taken))
    first = sink()
    load = closing(Tool("postern-load", "--to", to, "--sessions", 50, "--seconds", 1e6, "--ledger", sent))
    load.wait("acknowledged", 200)
    first.process.kill()
    first.close()
    load.wait("failures", 1)
    second = sink()
    load.wait("acknowledged", 200)
    load.process.kill()
    load.close()
    second.process.kill()
    second.close()
    verdict = compare(sent, taken)
    assert verdict["delivered"] >= 400
    assert verdict["unknown"] + verdict["unsent"] > 0, verdict


def test_gives_up_where_nobody_answers(tmp_path, closing):
    to = f"{closing(Address()).ip}:{SINK_PORT}"
    status, out, err = run("--to", to, "--messages", 5, "--patience", "300ms", "--ledger", tmp_path / "sent")
    assert status == 75, err
    assert "no greeting" in err
    assert json.loads(out)["never_begun"] == 5


def test_gives_up_where_somebody_listens_and_says_nothing(closing):
    address = closing(Address())
    with socket.create_server((address.ip, SINK_PORT)):
        status, out, err = run("--to", f"{address.ip}:{SINK_PORT}", "--messages", 5, "--patience", "300ms")
    assert status == 75, err
    assert json.loads(out)["messages"] == 0


def test_leaves_a_server_that_never_answers_the_dot(tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken", "--mood", "dot:stall"))
    status, out, _ = run("--to", f"{taker.address.ip}:{SINK_PORT}", "--messages", 3, "--timeout", "300ms",
                         "--ledger", tmp_path / "sent")
    assert status == 0
    assert json.loads(out)["unknown"] == 3
    taker.end()
    assert compare(tmp_path / "sent", taker.ledger)["unknown"] == 3


def test_keeps_its_rate_and_connects_again(tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken"))
    status, out, _ = run("--to", f"{taker.address.ip}:{SINK_PORT}", "--messages", 30, "--rate", 100,
                         "--messages-per-session", 4, "--sessions", 2, "--ledger", tmp_path / "sent")
    said = json.loads(out)
    assert status == 0 and said["acknowledged"] == 30
    assert said["seconds"] >= 0.28
    assert said["connections"] >= 8
    wait_for("the sink counts them all", lambda: taker["messages"] == 30)
    taker.end()
    assert compare(tmp_path / "sent", taker.ledger)["delivered"] == 30


def greeted(address):
    """A client of a sink that may not listen yet; nothing before it does."""
    try:
        return smtplib.SMTP(address.ip, SINK_PORT, timeout=PATIENCE)
    except ConnectionRefusedError:
        return None


def test_takes_mail_by_tls_and_in_clear_text_and_tells_which(tmp_path, closing):
    authority = Authority(tmp_path)
    chain, key = authority.issue("sink.test")
    taker = closing(Taker(tmp_path / "taken", "--chain", chain, "--key", key))
    trusting = ssl.create_default_context(cafile=authority.root)
    trusting.check_hostname = False  # the test knows an address only
    with wait_for("the sink greets", lambda: greeted(taker.address)) as client:
        client.sendmail("a@x.test", "b@y.test", "Subject: clear\r\n\r\nclear\r\n")
        client.starttls(context=trusting)
        for size in (10, 100_000):
            client.sendmail("a@x.test", "b@y.test", "Subject: hidden\r\n\r\n" + "hidden\r\n" * size)
        assert not client.has_extn("starttls")
    summary = taker.end()
    assert (summary["messages"], summary["encrypted"]) == (3, 2)


def test_a_certificate_that_cannot_be_used_is_a_sentence(tmp_path):
    chain, _ = Authority(tmp_path).issue("sink.test")
    for key, words in (("none.key", "none.key: "), (chain.name, f"{chain.name}: ")):
        done = subprocess.run([TOOLS / "postern-sink", "--listen", "127.0.0.1:1", "--chain", chain, "--key", key],
                              cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 66 and words in done.stderr, done.stderr


def test_a_ledger_with_a_message_missing_is_not_good(tmp_path, closing):
    taker = closing(Taker(tmp_path / "taken"))
    run("--to", f"{taker.address.ip}:{SINK_PORT}", "--messages", 5, "--run", "r", "--ledger", tmp_path / "sent")
    taker.end()
    lines = taker.ledger.read_text().splitlines(keepends=True)
    taker.ledger.write_text("".join(line for line in lines if " r-3 " not in line))
    done = subprocess.run([TOOLS / "postern-ledger", "compare", tmp_path / "sent", taker.ledger],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lost: r-3 recipient@remote.example" in done.stdout


def test_mistakes_on_the_command_line_are_sentences():
    for options, words in ((["--to", "x", "--messages", 1], "ADDRESS:PORT"),
                           (["--to", "127.0.0.1:1"], "--messages or --seconds"),
                           (["--to", "127.0.0.1:1", "--messages", 1, "--size", "much"], "4KiB"),
                           (["--to", "127.0.0.1:1", "--messages", 1, "--recipients", 2], "{i}")):
        status, _, err = run(*options)
        assert status == 64 and words in err, err
