"""Certificates that nobody believes, made by the openssl program."""
import subprocess

KINDS = {"RSA-2048": ("RSA", "rsa_keygen_bits:2048"), "P-256": ("EC", "ec_paramgen_curve:P-256")}


def make_certificate(directory, kind):
    """(chain, key): the paths of the files."""
    algorithm, option = KINDS[kind]
    key, chain = directory / f"{kind}.key", directory / f"{kind}.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", key],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=mx.example.org", "-addext",
                    "subjectAltName=DNS:mx.example.org", "-days", "2", "-out", chain],
                   check=True, capture_output=True)
    return chain, key
