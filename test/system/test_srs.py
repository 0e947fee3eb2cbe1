"""Sender rewriting: postsrsd itself rewrites the senders of what is forwarded, before Spurn on the way out, and turns the addresses of
bounces back behind Spurn on the way in. Both know one secret."""

import os
import re
import shutil
import socket

import pytest

from bouncers import crlf
from peers import CLIENT_DOMAIN, FakeBackend, Peer, free_port
from process import Child
from sending import NOBODY, Site

POSTSRSD = shutil.which("postsrsd", path="/usr/sbin:/usr/bin:/sbin:/bin")
FAR = "Joe.User@far.example"

pytestmark = pytest.mark.skipif(not POSTSRSD, reason="postsrsd is not installed")


class Rewriter(Peer):
    """postsrsd of a domain. Its protocol is tcp_table(5): "get ADDRESS", "200 ADDRESS" or "500 why"."""

    name = "postsrsd"

    def __init__(self, secret, domain=CLIENT_DOMAIN, digits=4):
        super().__init__()
        self.forward, self.back = free_port(), free_port()
        self.secret, self.domain, self.digits = secret, domain, digits

    def start(self):
        path = self.write("secret", self.secret)
        self.child = Child([POSTSRSD, f"-s{path}", f"-d{self.domain}", f"-f{self.forward}", f"-r{self.back}", "-l127.0.0.1",
                            "-4", f"-n{self.digits}"], self.path("stderr"))
        for port in (self.forward, self.back):
            self.await_listening(("127.0.0.1", port))

    @staticmethod
    def ask(port, address):
        """The answer; None: it is none of its addresses, or false."""
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(f"get {address}\n".encode())
            code, _, text = s.makefile().readline().strip().partition(" ")
        return text if code == "200" else None

    def rewritten(self, address):
        answer = self.ask(self.forward, address)
        assert answer and answer.startswith("SRS"), answer
        return answer

    def turned_back(self, address):
        return self.ask(self.back, address)


def bounce(to, returned=True):
    """About a message of Joe's, which is none of ours."""
    part = ("--b\nContent-Type: text/rfc822-headers\n\nFrom: Joe <joe.user@far.example>\nTo: bob@elsewhere.example\n"
            "Message-ID: <joe-1@far.example>\nSubject: hello\n\n") if returned else ""
    return crlf(("From: MAILER-DAEMON@mx.remote.example\nTo: %s\nSubject: Undelivered Mail Returned to Sender\n"
                 "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
                 "--b\n\nIt could not be delivered.\n--b\nContent-Type: message/delivery-status\n\n"
                 "Reporting-MTA: dns; mx.remote.example\n\nFinal-Recipient: rfc822; bob@remote.example\n"
                 "Action: failed\nStatus: 5.1.1\n\n%s--b--\n" % (to, part)).encode())


LETTER = crlf(b"From: Joe <joe.user@far.example>\nTo: bob@elsewhere.example\nSubject: hello\n"
              b"Message-ID: <joe-1@far.example>\n\nhello\n")


@pytest.fixture
def site(keys):
    """(Spurn, the server behind it, the next hop, postsrsd); the file of secrets holds a retired one, too."""
    with FakeBackend() as inner, FakeBackend() as hop, Rewriter("the-new-secret\nthe-old-secret\n") as postsrsd:
        secret = postsrsd.write("for-spurn", "the-new-secret\nthe-old-secret\n", 0o640)
        os.chmod(postsrsd.directory, 0o755)
        shutil.chown(secret, NOBODY, NOBODY)
        with Site(inner.url, hop.url, keys, top=f"srs-secret {secret};\n") as spurn:
            yield spurn, inner, hop, postsrsd


def last_of(backend):
    return backend.messages[-1]


def judged(spurn, to, text, code, result):
    spurn.comes_in(to, text, code)
    finding = spurn.finding()
    assert finding["result"] == result, finding
    return finding


def test_an_srs_sender_is_never_tagged(site):
    spurn, _, hop, postsrsd = site
    for sender in (postsrsd.rewritten(FAR), postsrsd.rewritten("SRS0=abcd=zz=first.example=joe@forwarder.example")):
        spurn.send_out(sender, "bob@remote.example", LETTER)
        assert last_of(hop).sender == sender


@pytest.mark.parametrize("address", [FAR, "SRS0=abcd=zz=first.example=joe@forwarder.example",
                                     "SRS1=abcd=first.example==efgh=zz=0.example=joe@forwarder.example",
                                     "a+b=c@far.example"])
def test_its_bounce_is_proven_and_turned_back(site, address):
    spurn, inner, _, postsrsd = site
    srs = postsrsd.rewritten(address)
    for form in (srs, srs.lower(), srs.upper().replace(CLIENT_DOMAIN.upper(), CLIENT_DOMAIN)):
        for returned in (False, True):
            finding = judged(spurn, form, bounce(form, returned), 250, "proven")
            assert "made by our own forwarding" in finding["reason"]
            # The server behind gets the address as it stands, and its postsrsd knows who is meant.
            delivered = last_of(inner).recipients[0]
            assert delivered.partition("@")[0] == form.partition("@")[0]
            assert postsrsd.turned_back(delivered).lower() == postsrsd.turned_back(srs).lower()


def test_what_the_old_secret_made(site):
    spurn = site[0]
    with Rewriter("the-old-secret\n") as old:
        srs = old.rewritten(FAR)
    judged(spurn, srs, bounce(srs), 250, "proven")


def test_longer_hashes(site):
    spurn = site[0]
    with Rewriter("the-new-secret\n", digits=12) as other:
        srs = other.rewritten(FAR)
    judged(spurn, srs, bounce(srs), 250, "proven")


def test_forged_ones_are_refused(site):
    spurn, inner, _, postsrsd = site
    srs = postsrsd.rewritten(FAR)
    with Rewriter("somebody-else's\n") as other:
        foreign = other.rewritten(FAR)
    wrong = re.sub("^SRS0=.", "SRS0=" + ("A" if srs[5] not in "Aa" else "B"), srs)
    for forged in (wrong, srs.replace("far.example", "victim.example"), foreign):
        assert postsrsd.turned_back(forged) is None
        judged(spurn, forged, bounce(forged), 550, "refuted")
    assert not inner.messages


def test_a_guesser_gains_nothing(site):
    """The hash has four letters: after ten false ones of a client none is looked at, and the right one is answered as the others are."""
    spurn, _, _, postsrsd = site
    srs = postsrsd.rewritten(FAR)
    guesses = ["SRS0=%04d%s" % (n, srs[9:]) for n in range(10)]
    assert {r.code for r in spurn.come_in([(g, bounce(g)) for g in guesses])} == {550}
    judged(spurn, srs, bounce(srs), 451, "try-later")
    judged(spurn, guesses[0], bounce(guesses[0]), 451, "try-later")


def test_replays_are_counted(site):
    """Nothing else says which of Joe's messages it was: as many as ten messages may have, and no more."""
    spurn, _, _, postsrsd = site
    srs = postsrsd.rewritten(FAR)
    spurn.send_out(srs, "bob@remote.example", LETTER)
    codes = [r.code for r in spurn.come_in([(srs, bounce(srs, False))] * 60)]
    assert codes == [250] * 53 + [550] * 7
