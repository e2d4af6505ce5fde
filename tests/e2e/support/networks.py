"""Network: hosts in network namespaces of their own, each with a wire to the one router between them, which is their
firewall too. Needs root. A namespace has no name, and lives as long as a descriptor here or a process in it: nothing is
left behind, whatever happens."""
import contextlib
import ctypes
import os
import subprocess
from pathlib import Path

from support.server import Postern

CLONE_NEWNET = 0x40000000
ROUTER = {4: "198.18.0.1", 6: "fe80::1"}  # at its end of each wire
FIRST_RULE = 100  # behind that for its own addresses, before the one for all routes

_libc = ctypes.CDLL(None, use_errno=True)


def version(ip):
    return 6 if ":" in ip else 4


def alone(ip):
    return f"{ip}/{32 if version(ip) == 4 else 128}"


def _check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _here():
    """The namespace of this thread."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _then_back():
    """The namespace of a thread is its own business, and that of the threads and processes that it starts."""
    before = _here()
    try:
        yield
    finally:
        back = _libc.setns(before, CLONE_NEWNET)
        os.close(before)
        _check(back)


class Namespace:
    def __init__(self):
        try:
            with _then_back():
                _check(_libc.unshare(CLONE_NEWNET))
                self.fd = _here()
        except OSError as error:
            raise AssertionError("no network namespace can be made here; as root of a machine of its own, or of a "
                                 f"container with CAP_SYS_ADMIN and CAP_NET_ADMIN, it could: {error}") from None
        # An address can be used at once; there are no others on its wire.
        self.set("net/ipv6/conf/all/accept_dad", 0)
        self.set("net/ipv6/conf/default/accept_dad", 0)
        self.ip("link set lo up")

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextlib.contextmanager
    def inside(self):
        """What is opened, and who is started, is there."""
        with _then_back():
            _check(_libc.setns(self.fd, CLONE_NEWNET))
            yield

    def have(self, make, *words, **more):
        """Makes it there: have(Sink, ip=..., port=25)."""
        with self.inside():
            return make(*words, **more)

    def ip(self, *commands, options=()):
        """Of ip(8), without its name."""
        done = self.have(subprocess.run, ["ip", *options, "-batch", "-"], input="\n".join(commands) + "\n",
                         capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{commands}: {done.stdout}{done.stderr}"

    def set(self, name, value):
        self.have((Path("/proc/sys") / name).write_text, str(value))

    def close(self):
        os.close(self.fd)


class Host(Namespace):
    def __init__(self, addresses):
        super().__init__()
        self.addresses = addresses
        self.address = addresses[0]  # where its server listens

    def give_up_soon(self):
        """To connect to who says nothing takes 3 s in place of two minutes."""
        self.set("net/ipv4/tcp_syn_retries", 1)
        if Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts").exists():
            self.set("net/ipv4/tcp_syn_linear_timeouts", 0)


class Network:
    """Everybody reaches everybody, but for what `drop` and `reject` say."""

    def __init__(self):
        self.router = Namespace()
        self.hosts = []
        self._rules = []
        for name, value in {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv4/icmp_ratelimit": 0,
                            "ipv6/icmp/ratelimit": 0}.items():
            self.router.set(f"net/{name}", value)

    def host(self, *addresses):
        """With these addresses. Where nobody chooses, connections are made from the first of a family; of a family
        without one it has nothing."""
        host = Host(addresses)
        wire = f"wire{len(self.hosts)}"
        self.hosts.append(host)
        self.router.ip(f"link add {wire} type veth peer name eth0 netns {host.path}", f"link set {wire} up",
                       f"addr add {ROUTER[4]}/32 dev {wire}", f"addr add {ROUTER[6]}/64 dev {wire} nodad")
        host.ip("link set eth0 up")
        for ip in addresses:
            self.add_address(host, ip)
        for family, own in {version(ip): ip for ip in reversed(addresses)}.items():
            host.ip(f"route add default via {ROUTER[family]} dev eth0 onlink src {own}")
        if all(version(ip) == 6 for ip in addresses):
            host.ip("addr del 127.0.0.1/8 dev lo")
        return host

    def add_address(self, host, ip):
        # Without nodad it may be tentative for a moment, and no route can name it.
        host.ip(f"addr add {alone(ip)} dev eth0{' nodad' if version(ip) == 6 else ''}")
        self.router.ip(f"route replace {alone(ip)} dev wire{self.hosts.index(host)}")

    def remove_address(self, host, ip):
        """From the host; the way there stays."""
        host.ip(f"addr del {alone(ip)} dev eth0")

    # --- firewall: the first rule that fits holds ------------------------------------------------

    def drop(self, **what):
        """Without a word."""
        self._rule("blackhole", **what)

    def reject(self, **what):
        """With an ICMP message that says so."""
        self._rule("prohibit", **what)

    def permit(self, **what):
        self._rule("lookup main", **what)

    def _rule(self, action, source=None, to=None, ports=None, from_ports=None):
        """`ports`: of TCP, "25" or "1-1023", where packets go; `from_ports`: where they come from, as the answers of a
        server do. Of one family, that of the addresses."""
        words = [f"pref {FIRST_RULE + len(self._rules)}", *([f"from {source}"] if source else []),
                 *([f"to {to}"] if to else []), *(["ipproto tcp"] if ports or from_ports else []),
                 *([f"dport {ports}"] if ports else []), *([f"sport {from_ports}"] if from_ports else []), action]
        self._rules.append((" ".join(words), version(source or to)))
        self._tell("add", self._rules[-1])

    def _tell(self, verb, rule):
        self.router.ip(f"rule {verb} {rule[0]}", options=[f"-{rule[1]}"])

    def open(self):
        """No rule holds any more."""
        for rule in self._rules:
            self._tell("del", rule)
        self._rules.clear()

    def close(self):
        for namespace in (*self.hosts, self.router):
            namespace.close()


class Resident(Postern):
    """A server of such a host. Who sends to it by smtp() and send() is on `client`."""

    def __init__(self, directory, host):
        super().__init__(directory, ip=host.address)
        self.host = host
        self.client = host
        self.config["listen"][0]["relay_from"] = list(host.addresses)

    def launch(self):
        with self.host.inside():
            super().launch()

    def smtp(self, *words, **more):
        with self.client.inside():
            return super().smtp(*words, **more)
