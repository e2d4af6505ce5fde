"""What earlier versions wrote is read, all of it; what a later one wrote is refused, and not touched."""
import re

import pytest

from support.kept import KEPT, SETTINGS, Kept, look
from support.later import LATER, later_export
from support.sink import sha256
from support.tree import picture
from support.waiting import wait_for

VERSIONS = sorted(path.name for path in KEPT.iterdir() if path.is_dir())


@pytest.fixture(params=VERSIONS)
def kept(request):
    return Kept(request.param)


@pytest.fixture
def sink(make_sink):
    return make_sink(smtputf8=True)


@pytest.fixture
def old(server, kept):
    """A server on a copy of the kept spool, not started. However old it is, its mail does not age by that."""
    kept.unpack(server.directory)
    return server.configure(**SETTINGS, retry={"after": ["1h"], "max_gap": "1s"})


def is_notice(message):
    return message.content.startswith(b"Date: ")  # it has no trace


def names(sink):
    """{name: [(checksum, recipients) of each]} of what came, without the notice."""
    found = {}
    for message in sink.messages:
        if not is_notice(message):
            name = re.match(rb"X-Kept: (.*)\r\n", message.body)[1].decode()
            found.setdefault(name, []).append((sha256(message.body), message.recipients))
    return found


def expect_all(sink, kept):
    """Each message, to each of its recipients once, and the notice."""
    came = names(sink)
    assert {name: {sha for sha, _ in all_of} for name, all_of in came.items()} == {
        name: {sha} for name, sha in kept.expected["bodies"].items()}
    for name, all_of in came.items():
        recipients = [recipient for _, some in all_of for recipient in some]
        assert len(recipients) == len(set(recipients)), f"{name} came twice"
    notices = [message for message in sink.messages if is_notice(message)]
    assert [notice.recipients for notice in notices] == [["ann@sender.example"]]
    assert b"nobody@refusing.example" in notices[0].content


def test_all_of_it_is_there_and_what_is_due_is_delivered(old, kept, sink):
    old.route("*", sink.via).start()
    assert not any("damage" in phrase for phrase in old.status()["attention"])
    assert look(old) == {key: kept.expected[key] for key in ("messages", "blocks", "history")}
    assert old.ctl("check-spool").rows[-1]["findings"] == 0
    for row in old.ctl("blocks").rows:
        if row["kind"] == "freeze":
            old.ctl("unfreeze", row["name"])
    old.ctl("release", "--all", "--yes")
    old.ctl("retry", "--all", "--yes")
    old.wait_empty()
    expect_all(sink, kept)
    # And the next start finds the same.
    old.restart()
    old.wait_empty()
    assert len(old.ctl("history").rows) > len(kept.expected["history"])


def test_without_its_index_it_is_the_same(old, kept, sink):
    (old.directory / "spool" / "index").unlink()
    old.route("*", sink.via).start()
    found = look(old)["messages"]
    assert found == kept.expected["messages"]


def test_a_kept_export_is_imported(server, kept, sink, tmp_path):
    server.route("*", sink.via).start()
    said = server.ctl("import", "--release", kept.export(tmp_path / "export")).rows[0]["text"]
    count = len(kept.expected["messages"])
    assert said.startswith(f"imported {count} messages of {count}"), said
    server.ctl("release", "--all", "--yes")  # those that people held, there
    server.ctl("retry", "--all", "--yes")
    server.wait_empty()
    expect_all(sink, kept)


# --- Later versions ----------------------------------------------------------------------------------

@pytest.fixture
def newest(server):
    Kept(VERSIONS[-1]).unpack(server.directory)
    server.may_die = True  # its queued ends again and again
    return server.configure(**SETTINGS)


@pytest.mark.parametrize("kind", LATER)
def test_a_spool_of_a_later_version_is_refused_and_not_touched(newest, tmp_path, kind):
    spool = newest.directory / "spool"
    name = LATER[kind](spool)
    before = picture(spool)
    words = f"use the spool: a later version of Postern wrote its file {name}"
    newest.write()
    newest.launch()
    wait_for("the refusal", lambda: any(words in line and "nothing was touched" in line
                                        for line in list(newest.lines)))
    newest.process.wait(30)  # it never ran, so the parent gives up
    wait_for("no process is left", lambda: not newest.alive())
    assert picture(spool) == before
    # Nor by the tools that work without a server.
    found = newest.ctl("check-spool", check=False)
    assert found.exit == 65 and words in found.rows[0]["finding"], found.out + found.err
    for verb in ("export", "import"):
        file = tmp_path / verb
        if verb == "import":
            Kept(VERSIONS[-1]).export(file)
        refused = newest.ctl_text(verb, file)
        assert refused.exit != 0 and words in refused.err, refused.out + refused.err
    assert picture(spool) == before


@pytest.mark.parametrize("running", [True, False])
def test_an_export_of_a_later_version_is_refused_and_nothing_is_imported(server, tmp_path, running):
    server.start()
    server.send("x@frozen.example")
    if not running:
        server.stop()
    file = later_export(Kept(VERSIONS[-1]).export(tmp_path / "export"))
    refused = server.ctl_text("import", file)
    assert refused.exit != 0
    assert "has format version" in refused.err and "use a newer one" in refused.err, refused.err
    if not running:
        server.start_again()
    assert len(server.messages()) == 1
