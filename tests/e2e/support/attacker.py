"""A user who attacks whoever files mail for him, run as that user by a test until its stdin is closed: the names of his
Maildir lead elsewhere all the time. He removes no file, so whatever is filed for him stays below his home.

    attacker.py UID HOME VICTIM MODE      VICTIM: a Maildir of somebody else's, which anybody may write to"""
import contextlib
import itertools
import os
import random
import select
import sys
import time

MAILDIR = "Maildir"
SUBS = ("new", "tmp", "cur")
KILLS_ONE_IN = 300


class Attacker:
    def __init__(self, victim, mode):
        self.mode = mode  # of what he makes
        self.luck = random.Random()
        self.numbers = itertools.count()
        # With where the victim has its like.
        self.names = [(MAILDIR, victim)] + [(f"{MAILDIR}/{sub}", f"{victim}/{sub}") for sub in SUBS]
        self.ways = (self.link, self.link, self.link, self.pipe, self.replace, self.lock, self.hard_links, self.exchange)

    def run(self):
        while not select.select([sys.stdin], [], [], 0)[0]:
            with contextlib.suppress(OSError):  # whoever files makes directories, too
                self.luck.choice(self.ways)(*self.luck.choice(self.names))
            self.mend()
            if self.luck.randrange(KILLS_ONE_IN) == 0:
                self.kill()

    def mend(self):
        """So that the next way has something to attack, and mail a place to go to."""
        for name, _ in self.names:
            with contextlib.suppress(OSError):
                if os.path.lexists(name) and (os.path.islink(name) or not os.path.isdir(name)):
                    os.unlink(name)
                if not os.path.lexists(name):
                    os.mkdir(name)
                os.chmod(name, self.mode)

    def pause(self):
        time.sleep(self.luck.random() / 200)

    def put_aside(self, name):
        other = f"aside-{next(self.numbers)}"
        os.rename(name, other)
        return other

    def link(self, name, like):
        """To the victim."""
        other = self.put_aside(name)
        os.symlink(like, name)
        self.pause()
        os.unlink(name)
        os.rename(other, name)

    def pipe(self, name, _):
        other = self.put_aside(name)
        os.mkfifo(name)
        self.pause()
        os.unlink(name)
        os.rename(other, name)

    def replace(self, name, _):
        """For good: what is being filed goes into the old one."""
        self.put_aside(name)
        self.pause()

    def lock(self, name, _):
        os.chmod(name, self.luck.choice((0, 0o300, 0o500, 0o2770, 0o777)))
        self.pause()
        os.chmod(name, self.mode)

    def hard_links(self, name, like):
        """Of the victim's files into ours, where the kernel lets us, and of ours."""
        for source in (like, name):
            for file in os.listdir(source)[:3]:
                with contextlib.suppress(OSError):
                    os.link(f"{source}/{file}", f"{name}/linked-{next(self.numbers)}", follow_symlinks=False)

    def exchange(self, name, _):
        """Two of the directories, for good."""
        other = self.luck.choice(self.names[1:])[0]
        if name not in (MAILDIR, other):
            middle = self.put_aside(name)
            os.rename(other, name)
            self.pause()
            os.rename(middle, other)

    def kill(self):
        """What runs as us: the process that files for us. It does not show its user in /proc."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(int(entry), 9)


def main():
    uid, home, victim, mode = sys.argv[1:]
    os.umask(0)
    os.chdir(home)
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
    attacker = Attacker(victim, int(mode, 8))
    attacker.mend()
    print("ready", flush=True)
    attacker.run()


if __name__ == "__main__":
    main()
