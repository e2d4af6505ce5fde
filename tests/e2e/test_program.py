"""The programs themselves: options, the check of the configuration, what they say when they cannot."""
import subprocess

import pytest

from support.server import BUILD, REPOSITORY, toml


def run(server, *words):
    return subprocess.run([server.program, *words], capture_output=True, text=True, timeout=60,
                          check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("program", ["parent/postern", "ctl/posternctl"])
def test_version(program):
    done = subprocess.run([BUILD / program, "--version"], capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.startswith(("postern 0.", "posternctl 0."))


def test_check_prints_the_rights(server):
    server.write()
    done = run(server, "-n", "-c", server.file)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert f"{server.ip}:2525" in text and "127.0.0.0/8" in text and "example.org" in text


def test_check_warns_of_an_open_relay(server):
    server.config["listen"][0]["relay_from"] = ["0.0.0.0/0"]
    server.write()
    done = run(server, "-n", "-c", server.file)
    assert done.returncode == 0
    assert "WARNING" in done.stdout + done.stderr


@pytest.mark.parametrize("change, what", [
    (("hostname", "hostnaem"), "hostnaem"),
    (("[retry]", "[retry"), "postern.toml:"),
    (('"1s"', '"soon"'), "soon"),
    (("file:users", "file:gone"), "gone"),
    (("[space]", "[pickup]\ndirectory = \"in\"\n[space]"), "later"),
    (("2525", "99999"), "99999"),
])
def test_mistakes_are_named_with_their_place(server, change, what):
    server.write(toml(server.config).replace(*change))
    for words in (("-n",), ("-f",)):
        done = run(server, *words, "-c", server.file)
        assert done.returncode == 78, done
        assert "postern.toml:" in done.stderr + done.stdout
        assert what in done.stderr + done.stdout


def test_the_sample_configuration_is_good(server, tmp_path):
    sample = (REPOSITORY / "conf" / "postern.toml").read_text()
    (tmp_path / "postern.toml").write_text(sample)
    (tmp_path / "users").write_text((REPOSITORY / "conf" / "users").read_text())
    done = run(server, "-n", "-c", tmp_path / "postern.toml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_usage(server):
    assert run(server, "--nonsense").returncode == 64
    done = run(server, "-f", "-c", server.directory / "missing.toml")
    assert done.returncode == 78 and "missing.toml" in done.stderr


def test_a_spool_that_cannot_be_made(server):
    server.configure(spool="users/spool")  # users is a file
    server.write()
    done = run(server, "-f", "-c", server.file)
    assert done.returncode != 0 and "users/spool" in done.stderr
