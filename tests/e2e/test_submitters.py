"""Programs that people and scripts submit with: s-nail, nodemailer, and openssl s_client under somebody's hands."""
import base64
import subprocess

import pytest

from support.server import BUILD
from support.waiting import PATIENCE

STARTTLS_PORT = 2587
TLS_PORT = 2465
NAME = "mx.example.org"
FAR = "ann@far.example"
PASSWORD = "correct horse"

NODEMAILER = """
const nodemailer = require('/usr/share/nodejs/nodemailer');
const [host, port, secure, method, password, ca, to] = process.argv.slice(1);
const transport = nodemailer.createTransport({
  host, port: Number(port), secure: secure === 'true', requireTLS: true, authMethod: method, name: 'client.example',
  auth: { user: 'bob', pass: password }, pool: true,
  tls: { ca: require('fs').readFileSync(ca), servername: 'mx.example.org' },
});
const mail = (n) => transport.sendMail({
  from: 'bob@example.org', to, subject: `from node ${n}`, text: 'hello\\n.\\n..two dots\\n'.repeat(500),
  attachments: [{ filename: 'all.bin', content: Buffer.from([...Array(256).keys()]) }],
});
Promise.all([1, 2, 3].map(mail)).then(() => transport.close(), (error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture
def submission(server, authority, sink):
    chain, key = authority.issue(NAME, stem="mx")
    server.configure(certificate=[{"chain": str(chain), "key": str(key), "names": [NAME]}],
                     auth={"accounts": "accounts"})
    server.config["listen"] += [
        {"address": f"{server.ip}:{port}", "service": "submission", "tls": mode}
        for port, mode in ((STARTTLS_PORT, "required"), (TLS_PORT, "implicit"))]
    server.route("far.example", sink.via)
    (server.directory / "accounts").write_text("")
    server.write()
    added = subprocess.run([BUILD / "ctl" / "posternctl", "-c", server.file, "user", "add", "bob"],
                           input=PASSWORD + "\n", capture_output=True, text=True, timeout=60, check=False)
    assert added.returncode == 0, added.stderr
    return server.start()


@pytest.mark.parametrize("scheme, port", [("smtps", TLS_PORT), ("submission", STARTTLS_PORT)])
@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_s_nail(submission, authority, sink, scheme, port, mechanism, tmp_path):
    settings = ["v15-compat=yes", f"mta={scheme}://{submission.ip}:{port}", "smtp-use-starttls", "user=bob",
                f"password={PASSWORD}", f"smtp-auth={mechanism}", f"tls-ca-file={authority.root}", "tls-verify=ignore",
                "hostname=client.example", "from=bob@example.org"]
    (tmp_path / "attached").write_bytes(bytes(range(256)))
    done = subprocess.run(["s-nail", "-:/", *(word for setting in settings for word in ("-S", setting)),
                           "-s", "from s-nail: Grüße", "-a", tmp_path / "attached", FAR],
                          input="hello\n.\n..two dots\n", capture_output=True, text=True, timeout=60, check=False,
                          env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    (message,) = sink.wait(1)
    assert b"from s-nail" in message.content and b"\n..two dots" in message.content
    assert submission.wait_log("login.ok")["mechanism"] == mechanism.upper()


@pytest.mark.parametrize("secure, port", [("true", TLS_PORT), ("false", STARTTLS_PORT)])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
def test_nodemailer(submission, authority, sink, secure, port, method):
    done = subprocess.run(["node", "-e", NODEMAILER, submission.ip, str(port), secure, method, PASSWORD,
                           authority.root, FAR],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    subjects = sorted(line for message in sink.wait(3) for line in message.content.split(b"\r\n")
                      if line.startswith(b"Subject: "))
    assert subjects == [b"Subject: from node %d" % n for n in (1, 2, 3)]
    assert submission.wait_log("login.ok")["mechanism"] == method


@pytest.mark.parametrize("options", [["-starttls", "smtp", "-tls1_2"], ["-starttls", "smtp"], ["-tls1_2"], []])
def test_s_client(submission, authority, sink, options):
    """-quiet: a line that begins with Q or R is nothing but a line."""
    port = STARTTLS_PORT if "-starttls" in options else TLS_PORT
    plain = base64.b64encode(b"\0bob\0" + PASSWORD.encode()).decode()
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"{submission.ip}:{port}", "-servername", NAME,
                               "-CAfile", authority.root, "-verify_return_error", "-quiet", "-crlf", *options],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        replies = client.stdout
        if port == TLS_PORT:  # else s_client itself has heard the greeting
            assert replies.readline().startswith("220 ")
        for words, code in (("EHLO client.example", "250"), (f"AUTH PLAIN {plain}", "235"),
                            ("MAIL FROM:<bob@example.org>", "250"), (f"RCPT TO:<{FAR}>", "250"), ("DATA", "354"),
                            ("Subject: typed\n\nhello\n.", "250"), ("QUIT", "221")):
            client.stdin.write(words + "\n")
            client.stdin.flush()
            line = replies.readline()
            while line[3:4] == "-":
                line = replies.readline()
            assert line.startswith(code), (words, line)
        client.stdin.close()
        assert client.wait(PATIENCE) == 0
    finally:
        client.kill()
        client.wait()
    assert b"Subject: typed\r\n" in sink.wait(1)[0].content
