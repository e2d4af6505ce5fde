"""The notice as a MIME parser not written here sees it. Argument: the program that prints one."""

import email
import email.policy
import re
import subprocess
import sys

wire = subprocess.run([sys.argv[1]], check=True, capture_output=True).stdout
message = email.message_from_bytes(re.sub(rb"(?m)^\.", b"", wire), policy=email.policy.default)


def defects(part):
    found = list(part.defects)
    for child in part.iter_parts() if part.is_multipart() else ():
        found += defects(child)
    return found


assert not defects(message), defects(message)
assert message.get_content_type() == "multipart/report"
assert message.get_param("report-type") == "delivery-status"
assert message["From"].addresses[0].display_name == 'Mail "Delivery" System'
assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@mx.example.org"
assert message["To"].addresses[0].addr_spec == "ann@a.example"
assert message["Auto-Submitted"] == "auto-replied"
assert message["Date"].datetime.year == 2026
assert message["Message-ID"].endswith("@mx.example.org>")

text, status, header = message.get_payload()
assert text.get_content_type() == "text/plain" and "carol@far.example" in text.get_content()
assert status.get_content_type() == "message/delivery-status"
about, carol, dora = status.get_payload()
assert about["Reporting-MTA"] == "dns; mx.example.org"
assert carol["Final-Recipient"] == "rfc822; carol@far.example"
assert carol["Action"] == "failed" and carol["Status"] == "5.1.1"
assert carol["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such user; evil")
assert carol["Remote-MTA"] == "dns; mx.far.example??X: y"
assert dora["Status"] == "4.4.7" and "not delivered for 5 days" in dora["Diagnostic-Code"]
assert header.get_content_type() == "text/rfc822-headers"
original = email.message_from_string(header.get_content())
assert original["X-Last"] == "here" and original["Subject"] == "gr????"
