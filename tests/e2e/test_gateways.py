"""Real gateways that name their clients: Dovecot's submission service by XCLIENT, Postfix by XFORWARD."""
import email
import re
import smtplib
from urllib.parse import urlsplit

import pytest

from support.certificates import Authority
from support.dovecot import PORT, DovecotSubmission
from support.waiting import PATIENCE
from test_notices import start_postfix

NAME = "gateway.example"
USER = "ann@example.org"
PASSWORD = "open sesame"
BEHIND_PORT = 2530
POSTFIX = "127.0.0.1"  # where it connects from


@pytest.fixture
def gateway(server, tmp_path, closing, insider, sink):
    """Dovecot in front of a listener where it may speak for others, and the insider may send anywhere."""
    server.config["listen"].append({"address": f"{server.ip}:{BEHIND_PORT}", "service": "mx",
                                    "relay_from": [insider], "xclient_from": ["127.0.0.1"]})
    server.route("far.example", sink.via)
    server.start()
    authority = Authority(tmp_path)
    chain, key = authority.issue(NAME, stem="gateway")
    gateway = closing(DovecotSubmission(NAME, chain, key, USER, PASSWORD, (server.ip, BEHIND_PORT), trusted=True))
    gateway.context = authority.client()
    gateway.context.check_hostname = False  # its address is an IP address here
    return gateway


def client(gateway, address):
    smtp = smtplib.SMTP(gateway.ip, PORT, local_hostname="client.example", timeout=PATIENCE, source_address=(address, 0))
    smtp.starttls(context=gateway.context)
    smtp.login(USER, PASSWORD)
    return smtp


def test_the_client_of_dovecot_is_the_one_that_counts(server, sink, gateway, insider):
    with client(gateway, insider) as smtp:
        for number in range(2):
            smtp.sendmail(USER, ["x@far.example", "bob@example.org"], f"Subject: {number}\r\n\r\nhello\r\n")
    assert [message.sender for message in sink.wait(2)] == [USER] * 2
    accepted = server.wait_log("message.accepted", count=2)
    assert (accepted["client"], accepted["peer"]) == (insider, "127.0.0.1")
    assert server.wait_log("session.xclient")["client"] == insider
    assert f"([{insider}])".encode() in server.wait_mail("bob", 2)[0].read_bytes()


def test_whoever_may_not_send_anywhere_may_not_through_dovecot(server, gateway, stranger):
    with client(gateway, stranger) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            smtp.sendmail(USER, ["x@far.example"], "Subject: x\r\n\r\nhello\r\n")
        assert refused.value.recipients["x@far.example"][0] == 550
        smtp.sendmail(USER, ["bob@example.org"], "Subject: x\r\n\r\nhello\r\n")
    assert server.wait_log("message.accepted")["client"] == stranger


@pytest.fixture
def behind_postfix(server, tmp_path, closing, request):
    """Connects a client of Postfix, which hands on to a listener that believes those who are named."""
    server.config["listen"].append({"address": f"{server.ip}:{BEHIND_PORT}", "service": "mx",
                                    "xforward_from": request.param})
    server.start()
    url = urlsplit(start_postfix(tmp_path, closing, (server.ip, BEHIND_PORT), smtp_send_xforward_command="yes"))

    def connect(address):
        return smtplib.SMTP(url.hostname, url.port, "client.example", PATIENCE, (address, 0))
    return connect


def trace(server):
    """The Received fields of the message: ours, and Postfix's."""
    message = email.message_from_bytes(server.wait_mail("bob")[0].read_bytes())
    return [" ".join(field.split()) for field in message.get_all("Received")]


@pytest.mark.root
@pytest.mark.parametrize("behind_postfix", [[POSTFIX]], indirect=True, ids=["believed"])
def test_the_client_of_postfix_is_told(server, behind_postfix, stranger):
    with behind_postfix(stranger) as smtp:
        port = smtp.sock.getsockname()[1]
        smtp.sendmail(USER, ["bob@example.org"], "Subject: x\r\n\r\nhello\r\n")
    accepted = server.wait_log("message.accepted")
    ours, theirs = trace(server)
    ident = re.search(r"\(Postfix\) with ESMTP id (\w+)", theirs)[1]
    told = f"unknown [{stranger}]:{port} helo=client.example proto=ESMTP ident={ident} source=REMOTE"
    assert accepted["forwarded"] == told
    assert f"(forwarded {told})" in ours
    assert accepted["client"] == POSTFIX  # it gains nothing but being told


@pytest.mark.root
@pytest.mark.parametrize("behind_postfix", [["192.0.2.1"]], indirect=True, ids=["not believed"])
def test_a_postfix_that_is_not_believed_tells_nothing(server, behind_postfix, stranger):
    with behind_postfix(stranger) as smtp:
        smtp.sendmail(USER, ["bob@example.org"], "Subject: x\r\n\r\nhello\r\n")
    accepted = server.wait_log("message.accepted")
    assert "forwarded" not in accepted and accepted["client"] == POSTFIX
    assert stranger not in trace(server)[0]
