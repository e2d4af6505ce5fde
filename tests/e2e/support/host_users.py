"""Users of this host for one server alone: it sees another /etc/passwd, in a mount namespace of its own. Needs root, and
leaves nothing behind. Their numbers are nobody's, and no other test's that runs at the same time."""
import os
from pathlib import Path

from support.server import BUILD

FIRST = 61000 + 10 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
ALICE, BOB, CAROL = FIRST, FIRST + 1, FIRST + 2


class HostUsers:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir()
        # A server that is started by it keeps the number of the process, which its tests signal.
        self.program = self.directory / "postern"
        self.program.write_text(
            "#!/bin/sh\nexec unshare -m sh -c "
            f"""'mount --bind {self.directory}/passwd /etc/passwd && exec {BUILD}/parent/postern "$@"' postern "$@"\n""")
        self.program.chmod(0o755)
        self.set(alice=ALICE, bob=BOB, carol=CAROL)

    def set(self, **uids):
        """In place, so that a server that runs sees it."""
        lines = [f"{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for name, uid in uids.items()]
        (self.directory / "passwd").write_text(Path("/etc/passwd").read_text().rstrip("\n") + "\n" + "".join(lines))
