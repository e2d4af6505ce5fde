"""A new configuration: applied as a whole without dropping a session, or refused as a whole."""
import signal

from support.client import Closed
from support.server import MX_PORT
from support.waiting import wait_for


def test_reload_keeps_sessions_and_applies(server, make_sink):
    first, second = make_sink(), make_sink()
    server.route("*", first.via).start()
    hand = server.session_by_hand(MX_PORT)
    hand.expect("EHLO c", "250")
    hand.expect("MAIL FROM:<x@remote.example>", "250")
    hand.expect("RCPT TO:<bob@example.org>", "250")
    hand.expect("RCPT TO:<dave@example.org>", "550")
    (server.directory / "users").write_text("alice\nbob\ncarol\ndave\n")
    server.config["route"] = []
    server.route("*", second.via)
    server.write()
    server.process.send_signal(signal.SIGHUP)
    server.wait_log("config.reloaded")
    assert server.status()["generation"] == 2
    hand.expect("DATA", "354")
    hand.send(b"Subject: over the reload\r\n\r\n")
    hand.expect(".", "250")
    server.wait_mail("bob")
    server.send("dave@example.org", port=MX_PORT)
    server.wait_mail("dave")
    server.send("x@remote.example")
    second.wait()
    assert not first.messages
    hand.expect("QUIT", "221")


def test_reload_by_posternctl(server):
    server.start()
    (server.directory / "users").write_text("alice\nbob\ncarol\ndave\n")
    server.ctl("reload")
    server.send("dave@example.org", port=MX_PORT)
    server.wait_mail("dave")


def test_a_broken_configuration_is_refused(server):
    server.start()
    good = server.file.read_text()
    for bad, what in ((good.replace("hostname", "hostnaem"), "hostnaem"),
                      (good + "[route\n", "postern.toml"),
                      (good.replace("file:users", "file:gone"), "gone")):
        server.write(bad)
        # A file that is no TOML does not tell where the socket is either.
        answer = server.ctl("reload", "--socket", server.runtime / "control.sock", check=False)
        assert answer.exit == 78, answer
        assert what in answer.rows[0]["text"] and "postern.toml:" in answer.rows[0]["text"]
        server.write(good)
        assert server.status()["generation"] == 1
    server.write(good.replace("hostname", "hostnaem"))
    server.process.send_signal(signal.SIGHUP)
    wait_for("the refusal is logged", lambda: any("hostnaem" in line for line in server.lines))
    server.send("bob@example.org", port=MX_PORT)
    server.wait_mail("bob")
    server.write(good)
    server.ctl("reload")
    assert server.status()["generation"] == 2


def test_new_limits_hold_for_new_sessions(server):
    server.start()
    server.configure(limits={"message_size": "1MiB"})
    server.write()
    server.ctl("reload")
    hand = server.session_by_hand()
    assert "SIZE 1048576" in hand.expect("EHLO c", "250")


def test_listeners_come_and_go(server):
    server.start()
    server.config["listen"].append({"address": f"{server.ip}:2527", "service": "mx"})
    server.write()
    server.ctl("reload")
    server.send("bob@example.org", port=2527)
    server.wait_mail("bob")
    server.config["listen"].pop()
    server.write()
    server.ctl("reload")

    def refused():
        try:
            server.session_by_hand(2527).close()
            return False
        except Closed:  # it came while the port was being closed
            return False
        except OSError:
            return True
    wait_for("the port is closed", refused)
    server.send("bob@example.org", port=MX_PORT)


def test_a_listener_that_cannot_be_bound_refuses_the_reload(server):
    import socket
    server.start()
    with socket.create_server((server.ip, 2528)):
        server.config["listen"].append({"address": f"{server.ip}:2528", "service": "mx"})
        server.write()
        answer = server.ctl("reload", check=False)
        assert answer.exit != 0 and "2528" in answer.rows[0]["text"]
    server.send("bob@example.org", port=MX_PORT)
    server.wait_mail("bob")
