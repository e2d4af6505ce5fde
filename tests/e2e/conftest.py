"""Fixtures of the end-to-end tests: real processes on loopback, talked to by programs of others."""
import ctypes
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.certificates import Authority  # noqa: E402
from support.net import Address  # noqa: E402
from support.server import BUILD, Postern  # noqa: E402
from support.sink import Script, Sink  # noqa: E402
from support.wallclock import WallClock  # noqa: E402
from support.zone import Zone  # noqa: E402

USERS = ("_postern-smtpd", "_postern-queued", "_postern-relay", "_postern-local", "_postern-key",
         "_postern-auth", "_postern-fetch")


def pytest_sessionstart(session):
    for program in ("parent/postern", "ctl/posternctl", "bench/postern-load"):
        if not (BUILD / program).exists():
            pytest.exit(f"{BUILD / program} is missing: build first, or set POSTERN_BUILD", 3)
    if os.getuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        missing = [user for user in USERS if user not in known]
        if missing:
            pytest.exit(f"root runs need the users {missing}: contrib/check makes them", 3)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """What needs root is run through sudo for an ordinary user, as a run of its own, and fails where that
    cannot be: a test that did not run has not passed."""
    if os.getuid() == 0 or pyfuncitem.get_closest_marker("root") is None:
        return None
    if shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL,
                                                      capture_output=True, check=False).returncode != 0:
        pytest.fail("this needs root: run it as root, or let sudo work without a password", pytrace=False)
    kept = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(("POSTERN_", "ASAN_", "UBSAN_", "PYTEST_XDIST_WORKER"))]
    here = Path(__file__).parent
    done = subprocess.run(
        ["sudo", "-n", "env", "PYTHONDONTWRITEBYTECODE=1", f"POSTERN_BUILD={BUILD}", *kept, sys.executable, "-m", "pytest",
         "-q", "-c", "pytest.ini", f"{pyfuncitem.path.name}::{pyfuncitem.name}"],
        cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA of a module's own tests."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def tmp_path(request, tmp_path):
    """Kept if the test fails: what all of them leave in a long run would fill a disk."""
    yield tmp_path
    if not request.node.failed:
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def closing():
    """Calls close() of everything that is registered, last first."""
    things = []

    def register(thing):
        things.append(thing)
        return thing
    yield register
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def insider(closing):
    """The address of a client that may send anywhere."""
    return closing(Address()).ip


@pytest.fixture
def stranger(closing):
    return closing(Address()).ip


@pytest.fixture
def make_server(request, tmp_path):
    """Servers that are configured but not started."""
    made = []

    def make(name="a", kind=Postern, **more):
        directory = tmp_path / name
        directory.mkdir()
        made.append(kind(directory, **more))
        return made[-1]
    yield make
    troubles = []
    for server in made:
        try:
            server.clean_up()
        except AssertionError as error:
            troubles.append(str(error))
        print(f"--- log of {server.directory}\n{server.log_tail(80)}")
    request.node.failed |= bool(troubles)
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def postern(server):
    """A running server: example.org is local with alice, bob and carol; 127/8 may relay."""
    return server.start()


@pytest.fixture
def make_sink(closing):
    return lambda **more: closing(Sink(**more))


@pytest.fixture
def sink(make_sink):
    return make_sink()


@pytest.fixture
def make_script(closing):
    return lambda script: closing(Script(script))


@pytest.fixture
def zone(server, closing):
    """A DNS zone that `server` asks."""
    return closing(Zone(server.ip))


@pytest.fixture
def wall(tmp_path):
    """A wall clock that a test may put forward and back; a server obeys it by its `environment`."""
    directory = tmp_path / "clock"
    directory.mkdir()
    return WallClock(directory)


CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB in a mount namespace of this process's own, so that nothing is left behind
    whatever happens. For tests that are marked `root`: an ordinary user, who may not mount, gets none."""
    if os.getuid() != 0:
        yield None
        return
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result):
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    check(libc.unshare(CLONE_NEWNS))
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    check(libc.mount(b"postern-test", str(place).encode(), b"tmpfs", 0, b"size=64m,mode=755"))
    yield place
    libc.umount2(str(place).encode(), 2)  # lazily: a server may still hold it
