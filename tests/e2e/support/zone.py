"""Zone: a DNS server of a test's own, over UDP and TCP, that answers what it is told."""
import threading

from dnslib import MX, PTR, QTYPE, RCODE, RR, TLSA, TXT, A, AAAA, CNAME, NS, DNSError
from dnslib.server import BaseResolver, DNSLogger, DNSServer


class Zone(BaseResolver):
    """Names are given without the final dot. A name that is not there is NXDOMAIN."""

    def __init__(self, ip, port=5353):
        self.records = {}  # name -> [RR]
        self.failing = {}  # name or (name, type) -> rcode
        self.silent = set()  # names that are never answered
        self.vouched = ()  # ends of names for which the answer says that DNSSEC proves it
        self.ttl = 60
        self.asked = []
        self._lock = threading.Lock()
        logger = DNSLogger("-request,-reply,-truncated,-error", prefix=False, logf=lambda text: None)
        self._servers = [DNSServer(self, address=ip, port=port, tcp=tcp, logger=logger)
                         for tcp in (False, True)]
        for server in self._servers:
            # By its own way it would look only every half second whether it is to end.
            threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def add(self, name, *data):
        kinds = {MX: QTYPE.MX, A: QTYPE.A, AAAA: QTYPE.AAAA, CNAME: QTYPE.CNAME, NS: QTYPE.NS, TLSA: QTYPE.TLSA,
                 PTR: QTYPE.PTR, TXT: QTYPE.TXT}
        self.records.setdefault(name, []).extend(
            RR(name, kinds[type(item)], rdata=item, ttl=self.ttl) for item in data)

    def mx(self, name, *hosts):
        """hosts: (preference, host name)"""
        self.add(name, *(MX(host, preference) for preference, host in hosts))

    def a(self, name, *ips):
        self.add(name, *(A(ip) for ip in ips))

    def host(self, name, *ips):
        """With addresses of both families."""
        self.add(name, *(AAAA(ip) if ":" in ip else A(ip) for ip in ips))

    def ptr(self, ip, *names):
        self.add(".".join(reversed(ip.split("."))) + ".in-addr.arpa", *(PTR(name) for name in names))

    def tlsa(self, host, port, usage, selector, matching, data):
        self.add(f"_{port}._tcp.{host}", TLSA(usage, selector, matching, data))

    def txt(self, name, *texts):
        """In place of those that are there."""
        self.records[name] = []
        self.add(name, *(TXT(text) for text in texts))

    def fail(self, name, rcode="SERVFAIL", kind=None):
        self.failing[(name, kind) if kind else name] = getattr(RCODE, rcode)

    def resolve(self, request, handler):
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        with self._lock:
            self.asked.append((name, kind))
        reply = request.reply()
        reply.header.ad = int(any(name.endswith(end) for end in self.vouched))
        if name in self.silent:
            raise DNSError("lost on the way")  # dnslib then sends nothing
        rcode = self.failing.get((name, kind), self.failing.get(name))
        if rcode is not None:
            reply.header.rcode = rcode
            return reply
        records = self.records.get(name)
        if records is None:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        for record in records:
            if record.rtype in (request.q.qtype, QTYPE.CNAME):
                reply.add_answer(record)
        return reply

    def close(self):
        for server in self._servers:
            server.stop()
            server.server.server_close()

