"""Certificates for tests, made by the openssl program: an authority and what it signed."""
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

    def client(self, version=None, certificate=None):
        """A context that believes this authority."""
        context = ssl.create_default_context(cafile=str(self.root))
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(*certificate)
        return context
