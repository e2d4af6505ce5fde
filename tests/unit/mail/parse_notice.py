"""Notices as a MIME parser not written here sees them. Argument: the program that prints one."""

import email
import email.policy
import quopri
import re
import subprocess
import sys


def defects(part):
    found = list(part.defects)
    for child in part.iter_parts() if part.is_multipart() else ():
        found += defects(child)
    return found


def read(name):
    wire = subprocess.run([sys.argv[1], name], check=True, capture_output=True).stdout
    message = email.message_from_bytes(re.sub(rb"(?m)^\.", b"", wire), policy=email.policy.default)
    assert not defects(message), defects(message)
    assert message.get_content_type() == "multipart/report"
    text, status, original = message.get_payload()
    assert message.get_param("report-type") == status.get_content_subtype()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    return message, text.get_content(), status.get_payload(), original


message, text, (about, carol, dora), header = read("failed")
assert message["From"].addresses[0].display_name == 'Mail "Delivery" System'
assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@mx.example.org"
assert message["To"].addresses[0].addr_spec == "ann@a.example"
assert message["Auto-Submitted"] == "auto-replied"
assert message["Date"].datetime.year == 2026
assert message["Message-ID"].endswith("@mx.example.org>")
assert "carol@far.example" in text
assert about["Reporting-MTA"] == "dns; mx.example.org"
assert carol["Final-Recipient"] == "rfc822; carol@far.example"
assert carol["Action"] == "failed" and carol["Status"] == "5.1.1"
assert carol["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such user; evil")
assert carol["Remote-MTA"] == "dns; mx.far.example??X: y"
assert dora["Status"] == "4.4.7" and "not delivered for 5 days" in dora["Diagnostic-Code"]
assert header.get_content_type() == "text/rfc822-headers"
original = email.message_from_bytes(header.get_payload(decode=True))
assert original["X-Last"] == "here" and original["X-Long"] == 3000 * "l"
assert original.get_all("X-Space") == ["at the end "]
assert "grüß".encode() in header.get_payload(decode=True)

message, text, _, original = read("whole")
assert message["Content-Transfer-Encoding"] == original["Content-Transfer-Encoding"] == "8bit"
assert original.get_content_type() == "message/rfc822"
returned = original.get_payload(0)
assert returned["Subject"] == "plain"
assert "grüß \udcff\udcfe" in returned.get_payload() or b"\xff\xfe" in returned.get_payload(decode=True)
assert 998 * "x" in returned.get_payload()

message, text, (about, *people), header = read("mixed")
assert about["Original-Envelope-Id"] == "QQ+314"
assert [one["Action"] for one in people] == ["delivered", "relayed", "delayed", "failed"]
assert [one["Status"] for one in people] == ["2.1.5", "2.0.0", "4.7.1", "5.7.1"]
assert people[0]["Original-Recipient"] == "rfc822; old+in@example.org"
assert people[1]["Original-Recipient"] == "utf-8; b\\x{F6}b@far.example"  # RFC 6533 3
assert people[2]["Original-Recipient"] is None and people[2]["Will-Retry-Until"]
assert all(one["Remote-MTA"] == "dns; mx.far.example" for one in people)
order = [text.index(word) for word in ("no@far", "late@far", "on@far", "in@far")]
assert order == sorted(order)

# --- RFC 6533 ----------------------------------------------------------------------------------------

def raw(part, name):
    """A header field as it was sent: the package takes bytes beyond ASCII for errors."""
    value, = (value for field, value in part.raw_items() if field == name)
    return value.encode("ascii", "surrogateescape").decode().strip()


def blocks(text):
    return [email.message_from_string(block, policy=email.policy.default)
            for block in text.replace("\r\n", "\n").strip().split("\n\n")]


# To a sender whose address is beyond ASCII all of it is UTF-8.
for name, kind in (("utf8", "message/global-headers"), ("utf8-whole", "message/global")):
    message, text, status, original = read(name)
    assert raw(message, "To") == "<böb@a.example>"
    assert message["Content-Transfer-Encoding"] == original["Content-Transfer-Encoding"] == "8bit"
    assert "jörg+x@bücher.example" in text and "ann@far.example" in text
    # Of message/global-delivery-status the package makes a message, whose header is the first block.
    about, = status
    assert about["Reporting-MTA"] == "dns; mx.example.org"
    jörg, ann = blocks(about.get_payload(decode=True).decode())
    assert jörg["Final-Recipient"] == "utf-8; jörg+x@xn--bcher-kva.example"
    assert jörg["Original-Recipient"] == "utf-8; Jörg+x@bücher.example"
    assert ann["Final-Recipient"] == "rfc822; ann@far.example"
    assert original.get_content_type() == kind
    returned = original.get_payload(0)
    assert raw(returned, "Subject") == "grüß" and raw(returned, "From") == "böb@bücher.example"
    assert ("body" in returned.get_payload()) == (name == "utf8-whole")

# To everybody else it is ASCII.
for name, kind in (("utf8-ascii", "message/global-headers"), ("utf8-whole-ascii", "message/global")):
    message, text, (about, jörg, ann), original = read(name)
    assert message["Content-Transfer-Encoding"] is None
    assert "jörg+x@bücher.example" in text
    assert jörg["Final-Recipient"] == "utf-8; j\\x{F6}rg\\x{2B}x@xn--bcher-kva.example"
    assert jörg["Original-Recipient"] == "utf-8; J\\x{F6}rg\\x{2B}x@b\\x{FC}cher.example"
    assert ann["Final-Recipient"] == "rfc822; ann@far.example"
    assert original.get_content_type() == kind
    assert original["Content-Transfer-Encoding"] == "quoted-printable"
    # Nor does the package know that such a part may be encoded.
    encoded = original.get_payload(0).as_bytes()
    returned = email.message_from_string(quopri.decodestring(encoded).decode(), policy=email.policy.default)
    assert returned["Subject"] == "grüß" and returned["From"] == "böb@bücher.example"
    assert ("body" in returned.get_payload()) == (name == "utf8-whole-ascii")
