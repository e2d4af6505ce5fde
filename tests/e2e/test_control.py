"""posternctl over the real control socket: what it shows, what it says when it cannot."""
import os
import pty
import re
import select
import subprocess

import pytest

from support.server import BUILD, send_on
from support.waiting import wait_for


@pytest.fixture
def waiting(server):
    """A server with mail for two remote domains that are frozen: it stays."""
    server.start()
    for queue in ("remote.example", "other.example"):
        server.ctl("freeze", queue, "--reason", "for a test", "--future")
    return server


def test_status(postern):
    postern.send(["bob@example.org", "carol@example.org"])
    postern.wait_empty()
    status = postern.status()
    assert list(status)[0] == "v" and status["v"] == 1
    assert status["hostname"] == "mx.example.org"
    assert status["attention"] == []
    assert status["outbound"]["enabled"] and status["intake"]["open"]
    assert status["total"]["accepted"] == 1 and status["total"]["delivered"] == 2
    assert status["queue"]["messages"] == 0 and status["queue"]["oldest"] is None
    assert status["disk"]["flushes"] >= 1 and status["disk"]["free"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status["now"])
    running = {row["role"]: (row["running"], row["wanted"]) for row in status["processes"]}
    assert running == {"smtpd": (2, 2), "queued": (1, 1), "relay": (1, 1), "local": (1, 1)}
    screen = postern.ctl_text("status")
    assert screen.exit == 0
    for word in ("OUTBOUND  on", "INTAKE    on", "QUEUE     0 messages", "smtpd 2/2"):
        assert word in screen.out


def test_status_is_1_while_something_needs_attention(postern):
    postern.ctl("outbound", "disable", "--reason", "spam run", "--yes")
    answer = postern.ctl_text("status")
    assert answer.exit == 1
    assert "ATTENTION " in answer.out and "DISABLED" in answer.out and '"spam run"' in answer.out
    postern.ctl("outbound", "enable", "--yes")
    assert postern.ctl_text("status").exit == 0


def test_status_counts_what_expires_soon(server):
    server.configure(retry={"expire": "5d"}).start()
    assert server.status()["queue"]["expire_within_24h"] == 0
    server.ctl("freeze", "remote.example", "--reason", "for a test", "--future")
    for name in ("x", "y"):
        server.send(f"{name}@remote.example")
    queue = server.status()["queue"]
    assert queue["messages"] == 2 and queue["expire_within_24h"] == 0
    assert re.search(r"^QUEUE     2 messages \S+; oldest \S+; expire within 24h: 0$",
                     server.ctl_text("status").out, re.M)
    server.configure(retry={"expire": "5h", "notify": "0"}).write()
    server.ctl("reload")
    queue = server.status()["queue"]
    assert queue["expire_within_24h"] == 2
    assert queue["expire_counted"] <= server.status()["now"]
    assert "; expire within 24h: 2\n" in server.ctl_text("status").out


def test_queues_and_messages(waiting):
    ids = [waiting.send("x@remote.example"), waiting.send(["y@remote.example", "z@other.example"],
                                                          "Subject: x\r\n\r\n" + "y" * 5000 + "\r\n")]
    rows = waiting.queues()
    assert sorted(rows) == ["other.example", "remote.example"]
    assert rows["remote.example"]["messages"] == 2
    assert rows["remote.example"]["state"] == "frozen"
    assert rows["remote.example"]["why"] == "for a test"
    assert rows["remote.example"]["bytes"] > 5000
    assert list(waiting.queues("other.*")) in ([], ["other.example"])
    assert list(waiting.queues("other.example")) == ["other.example"]
    messages = waiting.messages()
    assert [m["id"] for m in messages] == sorted(ids)
    assert messages[0]["from"] == "alice@example.org" and messages[0]["to"] == "x@remote.example"
    assert messages[1]["recipients"] == 2
    table = waiting.ctl_text("queues").out.splitlines()
    assert table[0].split()[:2] == ["QUEUE", "STATE"]
    assert len(table) == 3
    assert "for a test" in table[1]


def test_selectors(waiting):
    small = waiting.send("x@remote.example", sender="bob@example.org")
    large = waiting.send("y@other.example", "Subject: x\r\n\r\n" + ("y" * 70 + "\r\n") * 100)
    null = waiting.send("z@remote.example", sender="")

    def ids(*words):
        return [m["id"] for m in waiting.messages(*words)]
    assert ids(small, null) == [small, null]
    assert ids("--queue", "remote.example") == [small, null]
    assert ids("--from", "BOB@") == [small]
    assert ids("--from", "<>") == [null]
    assert ids("--to", "y@other") == [large]
    assert ids("--larger", "2KiB") == [large]
    assert ids("--smaller", "2KiB") == [small, null]
    assert ids("--older", "1h") == []
    assert ids("--newer", "1h") == [small, large, null]
    assert ids("--state", "frozen") == [small, large, null]
    assert ids("--state", "retry") == []
    assert ids("--queue", "remote.example", "--from", "bob") == [small]
    assert ids("--all") == [small, large, null]
    assert ids("--bounces") == []  # from nobody, but not by us
    assert ids("--sort", "size")[0] == large
    assert ids("--sort", "age") == ids("--sort", "next") == [small, large, null]
    assert waiting.ctl_text("messages", "--sort", "size").out.splitlines()[1].startswith(large)


def test_a_message_is_found_by_its_message_id(waiting):
    ids = [waiting.send("x@remote.example", f"Message-ID: <{name}@client.example>\r\n\r\nhello\r\n")
           for name in ("one", "two", "one")]
    large = waiting.send("x@other.example", "Message-ID:\r\n <large@client.example>\r\n\r\n" + ("y" * 70 + "\r\n") * 8000)
    body = waiting.send("x@other.example", "Subject: x\r\n\r\nMessage-ID: <large@client.example>\r\n")

    def found(*words):
        return [m["id"] for m in waiting.messages(*words)]
    assert found("--message-id", "<one@client.example>") == [ids[0], ids[2]]
    assert found("--message-id", "two@client.example") == [ids[1]]
    assert found("--message-id", "large@client.example") == [large]
    assert found("--message-id", "wo@client.example") == []
    assert found("--message-id", "one@client.example", ids[2], ids[1]) == [ids[2]]
    held = waiting.ctl("hold", "--message-id", "<two@client.example>", "--reason", "x").rows[0]
    assert held["text"] == "held 1 message"
    assert found("--state", "held") == [ids[1]]
    assert body in found("--all")
    for words in (["history", "--message-id", "<one@client.example>"],
                  ["hold", "--message-id", "<one@client.example>", "--also-new", "--reason", "x"]):
        refused = waiting.ctl_text(*words)
        assert refused.exit == 64 and ("no Message-ID" in refused.err or "--also-new takes" in refused.err)


def test_long_listings_come_in_pages(waiting):
    with waiting.smtp() as client:
        ids = [send_on(client, "alice@example.org", [f"u{n}@remote.example"], "\r\nx\r\n")
               for n in range(130)]
    assert [m["id"] for m in waiting.messages()] == ids
    for n in range(60):
        waiting.ctl("freeze", f"q{n}.example", "--reason", "x", "--future")
    assert len(waiting.ctl("blocks").rows) == 62
    lines = waiting.ctl_text("messages").out.splitlines()
    assert len(lines) == 131
    assert len({line.index("frozen") for line in lines[1:]}) == 1  # aligned over all pages


def test_show(waiting):
    recipients = [f"u{n}@remote.example" for n in range(45)]
    ident = waiting.send(recipients)
    shown = waiting.ctl("show", ident).rows[0]
    assert shown["id"] == ident and shown["from"] == "alice@example.org"
    assert shown["client"] == "127.0.0.1" and shown["hello"] == "client.example"
    assert [r["address"] for r in shown["recipients"]] == recipients
    assert {r["state"] for r in shown["recipients"]} == {"frozen"}
    assert {r["end"] for r in shown["recipients"]} == {"open"}
    assert shown["expires"] > shown["arrived"]
    page = waiting.ctl_text("show", ident.lower()).out
    assert page.startswith(f"{ident} from alice@example.org")
    assert "FROZEN" in page and "Because  for a test" in page


def test_show_tells_of_tries(server, sink):
    sink.refuse["x@remote.example"] = "450 4.2.1 come\x1b[2J later"
    server.configure(retry={"after": ["1h"]})
    server.route("*", sink.via).start()
    ident = server.send(["x@remote.example", "y@remote.example"])
    sink.wait()
    wait_for("one try", lambda: server.ctl("show", ident).rows[0]["recipients"][0]["tries"] == 1)
    answer = server.ctl("show", ident)
    assert "\x1b" not in answer.out
    first, second = answer.rows[0]["recipients"]
    assert first["last_reply"].startswith("450 4.2.1") and sink.ip in first["remote"]
    assert first["state"] == "retry" and first["next_try"] > first["last_try"]
    assert second["end"] == "delivered"
    assert server.messages("--error", "4.2.1")[0]["id"] == ident
    assert "\x1b" not in server.ctl_text("messages").out + server.ctl_text("show", ident).out


def test_body(waiting):
    sent = b"Subject: x\r\n\r\n.dot\r\n\x01\xe4\r\n"
    ident = waiting.send("x@remote.example", sent)
    done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", waiting.file, "body", ident],
                          capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"Received: ")
    assert done.stdout.endswith(b"\r\n" + sent)


def test_body_of_a_large_message(waiting):
    lines = "".join(f".{n:06d} " + "x" * 60 + "\r\n" for n in range(20_000))
    ident = waiting.send("x@remote.example", "Subject: big\r\n\r\n" + lines)
    done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", waiting.file, "body", ident],
                          capture_output=True, check=True, timeout=60)
    assert done.stdout.endswith(b"Subject: big\r\n\r\n" + lines.encode())


def on_a_terminal(server, words, answer=b""):
    """Runs posternctl with a terminal of its own; what it wrote, and its exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(BUILD / "ctl" / "posternctl", ["posternctl", "-c", str(server.file), *words])
    if answer:
        os.write(fd, answer)
    out = b""
    while True:
        if not select.select([fd], [], [], 60)[0]:
            break
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        out += more
    os.close(fd)
    return out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_is_asked_and_protected(waiting):
    ident = waiting.send("x@remote.example", "Subject: \x1b[2J\r\n\r\n\x07\r\n")
    out, exit_ = on_a_terminal(waiting, ["body", ident])
    assert exit_ == 0 and b"\x1b" not in out and b"\x07" not in out and b"\\x1b[2J" in out
    out, exit_ = on_a_terminal(waiting, ["outbound", "disable", "--reason", "x"], b"n\n")
    assert exit_ == 1 and b"Go on?" in out and b"nothing was done" in out
    assert waiting.status()["outbound"]["enabled"]
    out, exit_ = on_a_terminal(waiting, ["outbound", "disable", "--reason", "x"], b"y\n")
    assert exit_ == 0
    assert not waiting.status()["outbound"]["enabled"]
    out, exit_ = on_a_terminal(waiting, ["outbound", "enable", "--yes"])
    assert exit_ == 0 and b"Go on?" not in out
    out, exit_ = on_a_terminal(waiting, ["intake", "disable", "--reason", "x"], b"n\n")
    assert exit_ == 1 and b"No mail is accepted from anybody" in out and b"Go on?" in out and b"nothing was done" in out
    assert waiting.status()["intake"]["open"]
    out, exit_ = on_a_terminal(waiting, ["intake", "disable", "--reason", "x"], b"y\n")
    assert exit_ == 0 and b"intake is disabled" in out
    assert waiting.status()["intake"]["disabled"]
    out, exit_ = on_a_terminal(waiting, ["intake", "enable"], b"\n")  # nothing is no
    assert exit_ == 1 and b"Mail is accepted again" in out and waiting.status()["intake"]["disabled"]
    out, exit_ = on_a_terminal(waiting, ["intake", "enable", "--yes"])
    assert exit_ == 0 and b"Go on?" not in out and waiting.status()["intake"]["open"]
    out, exit_ = on_a_terminal(waiting, ["mess"])
    assert exit_ == 0 and ident.encode() in out
    out, exit_ = on_a_terminal(waiting, ["sto"])
    assert exit_ == 64


def test_retry(server, make_script, sink):
    from support.sink import instead
    script = make_script(instead("MAIL", b"451 4.3.0 not now\r\n"))
    server.configure(retry={"after": ["1h"]})
    server.route("remote.example", script.via).start()
    ident = server.send("x@remote.example")
    wait_for("a first try", lambda: server.queues().get("remote.example", {}).get("state") == "retry")
    script.wait_lines("MAIL", 1)
    listed, dry = server.ctl("retry", "--queue", "REMOTE.example", "--dry-run").rows
    assert listed["id"] == ident and listed["state"] == "retry"
    assert dry["exit"] == 0 and dry["text"] == "would retry 1 message"
    lines = server.ctl_text("retry", "--queue", "remote.example", "--dry-run").out.splitlines()
    assert lines[0].startswith("ID ") and lines[1].startswith(ident) and lines[2:] == ["would retry 1 message"]
    assert server.ctl_text("retry", "--queue", "other.example", "--dry-run").out == "would retry 0 messages\n"
    assert sum(line.startswith("MAIL") for line in script.lines) == 1
    server.ctl("retry", ident)
    script.wait_lines("MAIL", 2)


def test_retry_never_overrides_a_block(waiting):
    ident = waiting.send("x@remote.example")
    waiting.ctl("retry", ident, check=False)
    assert waiting.queues()["remote.example"]["state"] == "frozen"
    assert waiting.ctl("show", ident).rows[0]["recipients"][0]["tries"] == 0


@pytest.mark.parametrize("words, exit_", [
    (["show", "0000000000000"], 65), (["body", "0000000000000"], 65),
    (["retry"], 64), (["nonsense"], 64), (["freeze", "remote.example", "--reason", "x"], 65),
    (["unfreeze", "remote.example"], 65), (["freeze", "*bad*", "--reason", "x", "--future"], 64),
])
def test_exit_codes(postern, words, exit_):
    answer = postern.ctl_text(*words)
    assert answer.exit == exit_, answer
    assert answer.err.startswith("posternctl: ") and not answer.out


def test_no_server(server):
    server.write()
    answer = server.ctl_text("status")
    assert answer.exit == 69
    assert str(server.runtime / "control.sock") in answer.err and "start it" in answer.err


@pytest.mark.root
def test_a_user_without_the_right(postern):
    """Only root can play somebody else; an ordinary user's server serves that user."""
    for path in (postern.runtime, postern.directory, *postern.directory.parents):
        path.chmod(path.stat().st_mode | 0o111)
    postern.file.chmod(0o644)
    done = subprocess.run([BUILD / "ctl" / "posternctl", "-c", postern.file, "status"], user="nobody",
                          group="nogroup", extra_groups=[], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 77, done
    assert "no permission" in done.stderr and not done.stdout
    postern.wait_log("control.refused")


def test_local_times(waiting):
    waiting.send("x@remote.example")
    utc = waiting.ctl_text("status", environment={"TZ": "UTC"}).out.splitlines()[0]
    far = waiting.ctl_text("status", environment={"TZ": "XXX-7"}).out.splitlines()[0]
    assert utc.endswith("UTC") and far.endswith("XXX") and utc[-12:-4] != far[-12:-4]


def test_hostile_bytes_on_the_control_socket(postern):
    """Garbage ends that connection, and nothing else."""
    import socket
    path = str(postern.runtime / "control.sock")
    for noise in (b"\xff" * 70000, b"GET / HTTP/1.0\r\n\r\n", b"\0" * 8, b"\x10\0\0\0\xff\xff\0\0" + b"x" * 16):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.settimeout(30)
            try:
                sock.sendall(noise)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert postern.status()["attention"] == []


def test_stop(postern):
    answer = postern.ctl("stop")
    assert answer.exit == 0
    postern.wait_end(0)
