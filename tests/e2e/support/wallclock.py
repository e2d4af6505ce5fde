"""A wall clock in the test's hands: it jumps for all processes of a server alike; see wallclock.c."""
import struct
import subprocess
import time
from pathlib import Path


class WallClock:
    def __init__(self, directory):
        self.library = directory / "wallclock.so"
        source = Path(__file__).parent / "wallclock.c"
        subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self.library, source,
                        "-ldl"], check=True)
        self.file = directory / "shift"
        self.shift = 0
        self.jump(0)
        for path in (directory, *directory.parents):
            if path.stat().st_mode & 0o005 != 0o005 and path.owner() != "nobody":
                path.chmod(path.stat().st_mode | 0o055)

    def jump(self, seconds):
        """In place: the processes have it mapped."""
        self.shift += seconds
        with open(self.file, "r+b" if self.file.exists() else "wb") as out:
            out.write(struct.pack("<q", self.shift))

    def now(self):
        return time.time() + self.shift

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self.library), "WALLCLOCK": str(self.file),
                "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=0:verify_asan_link_order=0"}
