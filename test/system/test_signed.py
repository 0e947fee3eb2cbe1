"""Signatures and proofs of bounces: what was signed before it left still verifies behind us, and what comes back proves by
our signature where it left by another door."""

import json
import re

import dkim
import pytest

from bouncers import crlf
from peers import CLIENT_DOMAIN, FakeBackend, PostfixClient, SERVFAIL
from sending import ANN, BOB, DEAD, MOVED, Site
from signers import Keys

ID = f"<1@{CLIENT_DOMAIN}>".encode()
HEAD = (f"From: Bob <{BOB}>\r\nTo: {DEAD}\r\nSubject: signed\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n").encode()
BODY = b"hello\r\n\r\nthis is the body\r\n"
FIELDS = [b"from", b"to", b"subject", b"date", b"mime-version", b"content-type"]


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory):
    return Keys(str(tmp_path_factory.mktemp("dkim")))


def signed(signer, message, fields, canonicalize=(b"relaxed", b"relaxed"), selector=b"rsa"):
    with open(signer.rsa, "rb") as file:
        key = file.read()
    return dkim.sign(message, selector, CLIENT_DOMAIN.encode(), key, include_headers=fields,
                     canonicalize=canonicalize) + message


def publish(signer, spurn, selector="rsa"):
    [text] = [text for name, text in signer.records.items() if name.startswith("rsa.")]
    spurn.resolver.txt(f"{selector}._domainkey.{CLIENT_DOMAIN}", text)


def verifies(signer, message):
    [text] = [text for name, text in signer.records.items() if name.startswith("rsa.")]
    return dkim.verify(message, dnsfunc=lambda name, timeout=5: text.encode())


# ---- before it leaves --------------------------------------------------------------------

WITH_ID = HEAD + b"Message-ID: " + ID + b"\r\n\r\n" + BODY
WITHOUT_ID = HEAD + b"\r\n" + BODY
TWICE = FIELDS + [b"message-id"] + FIELDS
CASES = {
    "plain": (WITH_ID, FIELDS + [b"message-id"], True),
    "oversigned": (WITH_ID, TWICE + [b"message-id", b"reply-to", b"cc", b"sender"], True),
    "id not signed": (WITH_ID, FIELDS, True),
    "no id": (WITHOUT_ID, FIELDS, True),
    "signed as without id": (WITHOUT_ID, FIELDS + [b"message-id"], True),
    "signed as without our mark": (WITH_ID, TWICE + [b"spurn-sent"], False),
    "signed as without both": (WITHOUT_ID, FIELDS + [b"message-id", b"spurn-sent"], False),
}


@pytest.mark.parametrize("canonicalize", [(b"relaxed", b"relaxed"), (b"simple", b"simple")], ids=["relaxed", "simple"])
@pytest.mark.parametrize("case", list(CASES))
def test_what_was_signed_before_still_verifies(case, canonicalize, signer, keys):
    message, fields, marked = CASES[case]
    text = signed(signer, message, fields, canonicalize)
    with FakeBackend() as backend, FakeBackend() as next_hop, Site(backend.url, next_hop.url, keys) as spurn:
        spurn.send_out(BOB, DEAD, text)
        [mail] = next_hop.messages
        assert mail.sender.startswith("prvs=1") and mail.octets.endswith(message)
        assert (b"Spurn-Sent: v=1; " in mail.octets) == marked
        has_id = message is WITH_ID or b"message-id" not in fields
        assert len(re.findall(rb"^Message-ID: <", mail.octets, re.MULTILINE)) == has_id
        assert verifies(signer, mail.octets)
        # Whatever could be added to it: its bounce proves.
        spurn.comes_in(BOB, notice(mail.octets), 250)
        assert spurn.finding()["result"] == ("proven" if marked or has_id else "plausible")
        spurn.comes_in(mail.sender, notice(mail.octets), 250)
        assert spurn.finding()["result"] == "proven"


# ---- what left by another door -----------------------------------------------------------


def notice(returned, kind=b"message/rfc822"):
    return (b"From: MAILER-DAEMON@mx.remote.example\r\nTo: bob\r\nSubject: Undelivered Mail Returned to Sender\r\n"
            b"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
            b"--b\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
            b"Reporting-MTA: dns; mx.remote.example\r\n\r\nFinal-Recipient: rfc822; " + DEAD.encode() + b"\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b\r\nContent-Type: " + kind + b"\r\n\r\n" + returned
            + b"\r\n--b--\r\n")


def test_our_signature_proves_what_left_by_another_door(signer, keys):
    text = signed(signer, WITH_ID, FIELDS + [b"message-id"])
    with FakeBackend() as refuser, FakeBackend() as backend, PostfixClient(refuser.port) as remote:
        refuser.recipients[DEAD] = "550 5.1.1 no such user"
        with Site(backend.url, remote.url, keys) as spurn:
            publish(signer, spurn)
            remote.send(BOB, [DEAD], text)
            bounce = crlf(remote.wait_bounce())
            assert text.split(b"\r\n\r\n", 1)[1] in bounce

            def comes_in(message, code, result, to=BOB):
                spurn.comes_in(to, message, code)
                finding = spurn.finding()
                assert finding["result"] == result, finding
                return finding

            assert "by signature" in comes_in(bounce, 250, "proven")["evidence"]
            assert b"another exit was seen" in spurn.tool("status").stdout
            # Many servers return the header section alone; some say that they have cut the rest.
            header = text.split(b"\r\n\r\n", 1)[0] + b"\r\n"
            comes_in(notice(header, b"text/rfc822-headers"), 250, "proven")
            comes_in(notice(header), 250, "proven")
            comes_in(notice(header + b"\r\n----- Message truncated -----\r\n"), 250, "proven")
            foreign = notice(text).replace(b"rfc822; " + DEAD.encode(), b"rfc822; " + MOVED.encode())
            comes_in(foreign, 250, "plausible")

            found = comes_in(bounce.replace(b"this is the body", b"buy this, it is cheap"), 550, "unproven")
            assert "over another body" in found["reason"]
            comes_in(bounce.replace(b"Subject: signed", b"Subject: spam"), 550, "unproven")
            comes_in(bounce.replace(ID, b"<2@x.example>"), 550, "unproven")
            comes_in(bounce, 550, "unproven", to=ANN)
            # Whoever signs for others proves nothing about us.
            comes_in(bounce.replace(b"d=" + CLIENT_DOMAIN.encode(), b"d=elsewhere.example"), 550, "unproven")


def test_a_newsletter_that_leaves_by_another_door_is_seen(signer, keys):
    """Its bounces come to an address that wrote nothing: they are unproven, and the domain is not said to be ready."""
    text = signed(signer, WITH_ID, FIELDS)
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        publish(signer, spurn)
        spurn.comes_in(f"news-bounces@{CLIENT_DOMAIN}", notice(text), 550)
        assert "another address is its author" in spurn.finding()["reason"]
        [domain] = json.loads(spurn.tool("status", "--json").stdout)["proofs"]["domains"]
        assert domain["elsewhere_s"] >= 0 and not domain["ready"], domain


def test_a_key_that_cannot_be_asked_for_refuses_nothing(signer, keys):
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        spurn.resolver.trouble(f"two._domainkey.{CLIENT_DOMAIN}", SERVFAIL)
        spurn.comes_in(BOB, notice(signed(signer, WITH_ID, FIELDS, selector=b"two")), 250)
        assert spurn.finding()["result"] == "temperror"
