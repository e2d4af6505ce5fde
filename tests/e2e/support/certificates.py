"""Certificates for tests, made by the openssl program: an authority and what it signed."""
import hashlib
import itertools
import ssl
import subprocess

KINDS = {
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "P-256": ("EC", "ec_paramgen_curve:P-256"),
    "P-384": ("EC", "ec_paramgen_curve:P-384"),
    "ed25519": ("ED25519", None),
}


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self._numbers = itertools.count(1)
        self._key("root", "P-256")
        self._run("req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=root", "-days", "30",
                  "-out", "root.pem")
        self.root = directory / "root.pem"

    def _run(self, *words):
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)

    def _key(self, stem, kind):
        algorithm, option = KINDS[kind]
        self._run("genpkey", "-algorithm", algorithm, *(["-pkeyopt", option] if option else []),
                  "-out", f"{stem}.key")

    def issue(self, *names, kind="P-256", days=30, stem=None):
        """(chain, key): the paths of the files; a stem that is named again is written anew."""
        stem = stem or f"c{next(self._numbers)}"
        self._key(stem, kind)
        text = ",".join(f"DNS:{name}" for name in names)
        (self.directory / f"{stem}.ext").write_text(f"subjectAltName={text}\n")
        self._run("req", "-new", "-key", f"{stem}.key", "-subj", f"/CN={names[0]}", "-out", f"{stem}.csr")
        self._run("x509", "-req", "-in", f"{stem}.csr", "-CA", "root.pem", "-CAkey", "root.key",
                  "-CAcreateserial", "-extfile", f"{stem}.ext", "-days", str(days), "-out", f"{stem}.pem")
        return self.directory / f"{stem}.pem", self.directory / f"{stem}.key"

    def self_signed(self, name):
        """(chain, key) of a certificate that nobody else has signed."""
        stem = f"c{next(self._numbers)}"
        self._key(stem, "P-256")
        self._run("req", "-x509", "-new", "-key", f"{stem}.key", "-subj", f"/CN={name}", "-addext",
                  f"subjectAltName=DNS:{name}", "-days", "30", "-out", f"{stem}.pem")
        return self.directory / f"{stem}.pem", self.directory / f"{stem}.key"

    def server(self, chain, key):
        """A context that shows a certificate; aiosmtpd also connects to itself with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS)
        context.load_cert_chain(chain, key)
        return context

    def spki(self, chain):
        """What a TLSA record "1 1" holds: SHA-256 of the public key of the first certificate."""
        key = subprocess.run(["openssl", "x509", "-in", chain, "-noout", "-pubkey"], check=True,
                             capture_output=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True,
                             capture_output=True).stdout
        return hashlib.sha256(der).digest()

    def client(self, version=None, certificate=None):
        """A context that believes this authority."""
        context = ssl.create_default_context(cafile=str(self.root))
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(*certificate)
        return context
