"""The outbound guard with real servers behind it: their notices about forged mail leave to nobody, those about genuine mail all leave.

SPURN_GUARD_MESSAGES says how many messages of each kind are sent (make soak: 1000).
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from clients import Smtp
from peers import CLIENT_DOMAIN, DnsServer, FakeBackend, Spurn, free_port, wait_until
from process import REPOSITORY, SLOW
from responders import EximSite, PostfixSite, dovecot_sieve, vacation_reply

MESSAGES = int(os.environ.get("SPURN_GUARD_MESSAGES", "10"))
CORPUS = os.path.join(REPOSITORY, "..", "shared", "corpus", "autoreply")

PER_DOMAIN = 10  # senders of one domain: the guard rations what one user sends to one domain

QUIET = ("check sender-domain {{ mode off; }}\ncheck rdns {{ mode off; }}\ncheck rate {{ mode off; }}\n"
         "check notice {{ mode {mode}; warm-after {warm}; {more} }}\n")


class Site(Spurn):
    """Spurn between servers of the site and the world.

    servers: {domain: url}; next_hop: the world. mode, warm, more: of `check notice`.
    """

    def __init__(self, servers, next_hop, out, dns, mode="enforce", warm="0s", more="", top="", workers=1):
        self.out = out
        self.notice = {"mode": mode, "warm": warm, "more": more}
        self.head = (f"listener outbound {{ address 127.0.0.1:{out}; allow 127.0.0.0/8; greet-wait 0s; "
                     f"max-sessions-per-client 1k; connection-rate 0; max-recipients 1k; next-hop {next_hop}; }}\n" + top)
        super().__init__(domains={name: f"backend {url}; recipients callforward;" for name, url in servers.items()},
                         top=self.head + QUIET.format(**self.notice), dns=dns,
                         listener={"max-sessions-per-client": "1k"}, workers=workers)

    def judge(self, **changes):
        """Changes `check notice`; the file is written anew."""
        self.notice.update(changes)
        self.configure(top=self.head + QUIET.format(**self.notice))

    def submit(self, sender, recipient, text, code=250):
        """As a server of the site hands mail out."""
        return deliver(self.out, sender, recipient, text, code)

    def notices(self, result):
        """Records of the outbound side that have this finding."""
        return [r for r in self.transactions() if r["listener"] == "outbound" and
                any(f["check"] == "notice" and f["result"] == result for f in r["findings"])]


def said(spurn, *words):
    """What the tool prints, read if it is JSON."""
    done = spurn.tool(*words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout.decode()


def deliver(port, sender, recipient, text, code=250):
    with Smtp(port) as c:
        c.greet()
        c.transaction(sender, [recipient])
        reply = c.data(text, code)
        c.quit()
    return reply


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text)


def letter(sender, recipient, number, extra=""):
    return (f"From: {sender}\r\nTo: {recipient}\r\nSubject: letter {number}\r\nMessage-ID: <{number}@{sender.partition('@')[2]}>\r\n"
            f"Date: Mon, 23 Nov 2026 00:00:00 +0000\r\n{extra}\r\npayload-{number}\r\n").encode()


def genuine(number):
    return f"ann{number}@good{number // PER_DOMAIN}.example"


def forged(number):
    return f"victim{number}@forged{number // PER_DOMAIN}.example"


def publish(dns, count):
    """Genuine senders may send from here; forged ones may not, or nobody says."""
    for i in range(count // PER_DOMAIN + 1):
        dns.mail_domain(f"good{i}.example").txt(f"good{i}.example", "v=spf1 ip4:127.0.0.1 -all")
        dns.mail_domain(f"forged{i}.example")
        if i % 2 == 0:
            dns.txt(f"forged{i}.example", "v=spf1 ip4:203.0.113.1 ~all")


class World(FakeBackend):
    """Everything that leaves."""

    def to(self, address):
        return [mail for mail in list(self.messages) if address in mail.recipients]

    def addresses(self):
        return {address for mail in list(self.messages) for address in mail.recipients}


@pytest.fixture
def names():
    with DnsServer() as server:
        yield server


@pytest.fixture
def world():
    with World() as fake:
        yield fake


# ---- servers that answer ---------------------------------------------------------------------

# (domain, user) and how many notices a sender gets for a message to it.
ANSWERERS = [("postfix.example", "dead"), ("exim.example", "dead"), ("exim.example", "away"),
             ("dovecot.example", "vacation"), ("dovecot.example", "reject")]


class Servers:
    """The three servers of the site, and their Spurn."""

    def __init__(self, dns, world, **keywords):
        self.out = free_port()
        self.world, self.dns, self.keywords = world, dns, keywords
        self.peers = [PostfixSite("postfix.example", self.out), EximSite("exim.example", self.out),
                      dovecot_sieve("dovecot.example", self.out)]
        self.spurn = None

    def __enter__(self):
        started = []
        try:
            for peer in self.peers:
                started.append(peer.__enter__())
            urls = {peer.domain: peer.url for peer in self.peers}
            self.spurn = Site(urls, self.world.url, self.out, self.dns, workers=2, **self.keywords)
            self.spurn.__enter__()
        except BaseException:
            self.peers = started
            self.spurn = None
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if self.spurn is not None:
            self.spurn.__exit__(kind, value, trace)
        for peer in reversed(self.peers):
            peer.__exit__(kind, value, trace)

    def receive(self, sender_of, count, mark):
        """The world writes: message i goes to answerer i modulo their number, one session for many."""
        for start in range(0, count, 100):
            with Smtp(self.spurn.port) as c:
                c.greet()
                for i in range(start, min(start + 100, count)):
                    domain, user = ANSWERERS[i % len(ANSWERERS)]
                    sender, to = sender_of(i), f"{user}@{domain}"
                    c.transaction(sender, [to])
                    c.data(letter(sender, to, f"{mark}{i}"), 250)
                c.quit()

    def judged(self, count, timeout=20):
        """Waits until so many notices have come to the outbound side."""
        def seen():
            return sum(1 for r in self.spurn.transactions() if r["listener"] == "outbound" and r.get("message"))
        pause = time.monotonic() + timeout * SLOW
        while seen() < count and time.monotonic() < pause:
            time.sleep(0.2 + count / 1000)
        assert seen() >= count, f"{seen()} of {count} notices"


def by_answerer(world, count, sender_of):
    """{answerer: senders that lack their notice}"""
    have = world.addresses()
    lacking = {}
    for i in range(count):
        if sender_of(i) not in have:
            lacking.setdefault(ANSWERERS[i % len(ANSWERERS)], []).append(sender_of(i))
    return lacking


def test_forged_senders_hear_nothing_and_genuine_ones_all(names, world):
    publish(names, MESSAGES)
    with Servers(names, world, more="suppress no;") as site:
        site.receive(forged, MESSAGES, "f")
        site.receive(genuine, MESSAGES, "g")
        site.judged(2 * MESSAGES, 20 + MESSAGES)
        assert by_answerer(world, MESSAGES, genuine) == {}
        assert not [a for a in world.addresses() if "forged" in a]
        assert len(world.messages) == MESSAGES
        assert len(site.spurn.notices("unsolicited")) == MESSAGES
        assert not site.spurn.notices("repeated")
        for mail in world.messages:  # a body leaves only if a person of ours has written it
            assert b"payload-" not in mail.octets, mail.octets
        held = {entry["name"]: entry["count"] for entry in said(site.spurn, "report", "--json")["notices_held"]}
        assert held["dsn for dead@postfix.example"] == held["dsn for dead@exim.example"] == MESSAGES / 5, held
        assert held["auto-reply for vacation@dovecot.example"] == held["auto-reply for away@exim.example"] == MESSAGES / 5, held
        assert "destroys what may not leave" in said(site.spurn, "status")


def test_a_cold_guard_lets_all_of_them_go(names, world):
    publish(names, 10)
    with Servers(names, world, more="suppress no;", warm="14d") as site:
        site.receive(genuine, 10, "g")
        site.receive(forged, 10, "f")
        site.judged(20)
        wait_until(lambda: len(world.messages) == 20, 20, "all notices")
        assert by_answerer(world, 10, genuine) == {}
        assert sum(entry["count"] for entry in said(site.spurn, "report", "--json")["notices_observed"]) == 10


def test_inner_servers_are_told_to_stay_silent(names, world):
    """With the mark, Dovecot and others write no vacation reply at all to who is not proven."""
    publish(names, MESSAGES)
    with Servers(names, world) as site:
        site.receive(forged, 10, "f")
        site.receive(genuine, 10, "g")
        wait_until(lambda: len(world.messages) >= 10, 60, "notices to genuine senders")
        time.sleep(1)
        assert by_answerer(world, 10, genuine) == {}
        assert not [a for a in world.addresses() if "forged" in a]
        kinds = {f["result"] for r in site.spurn.notices("unsolicited") for f in r["findings"] if f["check"] == "notice"}
        assert "dsn" in kinds, kinds


# ---- what must not be lost -------------------------------------------------------------------

SITE = "site.example"
ALICE = f"alice@{SITE}"


def reply(to, number, *, sender=ALICE, answers=None, extra="Auto-Submitted: auto-replied (vacation)\r\n"):
    """A vacation reply of a user of ours."""
    about = f"In-Reply-To: <{answers}>\r\n" if answers else ""
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: Away\r\nMessage-ID: <{number}@{SITE}>\r\n{about}{extra}"
            "\r\nI am away.\r\n").encode()


@pytest.fixture
def small(names, world):
    """make(): a Spurn whose site is a FakeBackend; `inner` is that."""
    publish(names, PER_DOMAIN)
    with FakeBackend() as inner:
        inner.peers = []

        def make(**keywords):
            site = Site({SITE: inner.url}, world.url, free_port(), names, **keywords)
            inner.peers.append(site)
            return site.__enter__()
        make.inner = inner
        yield make
        for site in inner.peers:
            site.__exit__(None, None, None)


def test_a_fresh_install_destroys_nothing(small, world):
    """The ledger is cold: what came in before it was there may be answered. Forged senders stand in the report."""
    site = small(warm="14d")
    for i in range(5):
        site.submit("", genuine(i), reply(genuine(i), f"r{i}", answers=f"before{i}@good0.example"))
    site.submit("", forged(1), reply(forged(1), "r9"))
    assert len(world.messages) == 6
    report = said(site, "report", "--json")
    assert {"name": f"auto-reply for {ALICE} to {forged(1)}", "count": 1} in report["notices_observed_to"]
    assert report["notices_observed"] == [{"name": f"auto-reply for {ALICE}", "count": 6}] and not report["notices_held"]
    assert report["notices_observed_why"][0]["name"] == "is not proven to have written here", report
    assert "sent since the guard only observes" in said(site, "report")
    assert re.search("only observes until 2[0-9-]+T.*ledger complete since 2", said(site, "status")), said(site, "status")
    status = said(site, "status", "--json")["guard"]
    assert status["wanted"] and not status["warm"] and status["mode"] == "enforce" and status["action"] == "destroy", status
    assert all(any("only observed" in f["reason"] for f in r["findings"]) for r in site.notices("unsolicited"))


def test_a_lost_store_destroys_nothing(small, world):
    """Mail came in, the store is lost, the answer comes: the guard knows that it does not know."""
    site = small(warm="1s")
    for i in range(5):
        deliver(site.port, genuine(i), ALICE, letter(genuine(i), ALICE, f"l{i}"))
    time.sleep(2.5)
    site.submit("", forged(1), reply(forged(1), "warm"))
    assert len(world.messages) == 0
    site.kill()
    shutil.rmtree(os.path.join(site.state, "store"))
    site.judge(warm="1h")
    site.restart()
    for i in range(5):
        site.submit("", genuine(i), reply(genuine(i), f"r{i}", answers=f"l{i}@good0.example"))
    assert {a for a in world.addresses()} == {genuine(i) for i in range(5)}


def test_the_ledger_survives_a_kill(small, world):
    site = small(warm="1s")
    deliver(site.port, genuine(1), ALICE, letter(genuine(1), ALICE, "k"))
    time.sleep(2.5)
    site.kill()
    site.restart()
    site.submit("", genuine(1), reply(genuine(1), "r1", answers="k@good0.example"))
    site.submit("", forged(1), reply(forged(1), "r2", answers="k@good0.example"))
    assert world.addresses() == {genuine(1)}


BOUNCE = ("From: MAILER-DAEMON@mx.good0.example\r\nTo: {to}\r\nMessage-ID: <bounce@good0.example>\r\nSubject: failed\r\n"
          "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
          "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nfailed\r\n"
          "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.good0.example\r\n\r\n"
          "Final-Recipient: rfc822; dead@good0.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
          "--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <mine@site.example>\r\nSubject: x\r\n\r\nbody of mine\r\n--b--\r\n")


def test_a_forwarded_bounce_leaves_as_it_came(small, world):
    """A user has his mail forwarded to a mailbox elsewhere; a bounce and a vacation reply came in for him."""
    site = small()
    deliver(site.port, "", ALICE, BOUNCE.format(to=ALICE).encode())
    site.submit("", "alice@freemail.example", b"Received: by mail.site.example; date\r\n" + BOUNCE.format(to=ALICE).encode())
    [mail] = world.to("alice@freemail.example")
    assert b"body of mine" in mail.octets
    away = reply(ALICE, "away", sender=genuine(1))
    deliver(site.port, "", ALICE, away)
    site.submit("srs0=x@site.example", "alice@freemail.example", away)
    assert len(world.to("alice@freemail.example")) == 2


def signed(text, domain, key):
    import dkim
    return dkim.sign(text, b"s", domain.encode(), key, include_headers=[b"From", b"Subject", b"Message-ID"]) + text


def test_mail_through_forwarders_is_answered(small, world, names, tmp_path):
    """One leaves the sender, whose SPF fails then, and the signature stands; one writes senders of its own (SRS)."""
    key = str(tmp_path / "key")
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    import base64
    with open(key, "rb") as file:
        private = file.read()
    names.mail_domain("away.example").txt("away.example", "v=spf1 ip4:203.0.113.1 ~all")
    names.txt("s._domainkey.away.example", "v=DKIM1; p=" + base64.b64encode(public).decode())
    site = small()
    deliver(site.port, "ann@away.example", ALICE,
            signed(letter("ann@away.example", ALICE, "d1"), "away.example", private))
    site.submit("", "ann@away.example", reply("ann@away.example", "r1", answers="d1@away.example"))
    assert len(world.to("ann@away.example")) == 1
    srs = "SRS0=ab=cd=away.example=bob@good0.example"
    deliver(site.port, srs, ALICE, letter("bob@away.example", ALICE, "d2"))
    site.submit("", srs, reply(srs, "r2", answers="d2@away.example"))
    assert len(world.to(srs)) == 1
    site.submit("", "bob@away.example", reply("bob@away.example", "r3", answers="d2@away.example"))
    assert not world.to("bob@away.example")


def test_a_reduced_bounce_is_signed_as_it_leaves(small, world, names, public_dir):
    """Tens of megabytes come back to a genuine sender: headers leave, and the signature is over these."""
    import dkim
    from signers import DOMAIN, Keys
    from spurn import NOBODY
    keys = Keys(str(public_dir))
    site = small(top=f"sign {DOMAIN} {{ selector rsa; key {keys.private(keys.rsa, NOBODY)}; }}\n")
    deliver(site.port, genuine(1), ALICE, letter(genuine(1), ALICE, "big"))
    returned = letter(genuine(1), ALICE, "big", "X-Pad: y\r\n") + b"0123456789 abcdefghijklmnop\r\n" * 1000000
    bounce = BOUNCE.format(to=genuine(1)).replace("mx.good0.example", DOMAIN).replace("<bounce@good0.example>", f"<big@{DOMAIN}>")
    head = bounce.encode().partition(b"Message-ID: <mine@site.example>")[0]
    began = time.monotonic()
    site.submit("", genuine(1), head + returned + b"--b--\r\n")
    took = time.monotonic() - began
    [mail] = world.to(genuine(1))
    assert len(mail.octets) < 4000 and b"X-Pad: y" in mail.octets and b"0123456789" not in mail.octets, took
    assert dkim.verify(mail.octets, dnsfunc=keys.answer), mail.octets
    assert b"\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: ann1" in mail.octets


ORDERS = [
    "From: Shop <shop@site.example>\r\nAuto-Submitted: auto-generated\r\nSubject: Your order 4711\r\n",
    "From: noreply@site.example\r\nAuto-Submitted: auto-generated\r\nPrecedence: bulk\r\nSubject: Order confirmation\r\n",
    "From: Shop <no-reply@site.example>\r\nX-Auto-Response-Suppress: All\r\nSubject: Invoice\r\n",
    "From: Shop <shop@site.example>\r\nX-Auto-Response-Suppress: OOF, DR, RN, NRN, AutoReply\r\nAuto-Submitted: auto-generated\r\n"
    "X-Mailer: PHPMailer 6.8\r\nSubject: Ihre Bestellung bei uns\r\n",
    "From: shop@site.example\r\nPrecedence: bulk\r\nList-Unsubscribe: <mailto:u@site.example>\r\nSubject: News\r\n",
    "From: Tickets <support@site.example>\r\nAuto-Submitted: auto-generated\r\nSubject: [#42] Your ticket was opened\r\n",
    "From: Cron Daemon <root@site.example>\r\nAuto-Submitted: auto-generated\r\nX-Cron-Env: <SHELL=/bin/sh>\r\n"
    "Subject: Cron <root@shop> backup\r\n",
    "From: shop@site.example\r\nX-Autogenerated: yes\r\nSubject: Delivery of your parcel failed\r\n",
    "From: shop@site.example\r\nSubject: Password reset\r\n",
]


def test_what_a_shop_sends_is_no_notice(small, world):
    """Customers who have never written here: orders, tickets, newsletters."""
    site = small()
    body = "\r\nThis is an automatically generated message, please do not reply.\r\nThank you for your order.\r\n"
    for number, head in enumerate(ORDERS):
        to = f"customer{number}@elsewhere.example"
        site.submit("shop@site.example", to, (head + f"To: {to}\r\nMessage-ID: <o{number}@site.example>\r\n" + body).encode())
        assert world.to(to), site.transactions()[-1]


# ---- forms -----------------------------------------------------------------------------------

def forms():
    """Automatic replies of programs, as (name, message)."""
    found = []
    with open(os.path.join(CORPUS, "manifest.jsonl"), encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            if entry["kind"] == "auto-reply" and entry["class_quality"] == "A":
                with open(os.path.join(CORPUS, entry["file"]), "rb") as message:
                    text = crlf(message.read())
                if b"\r\nList-Id:" not in text:  # through a list, as which it was archived
                    found.append((entry["file"], text))
    return found


# What the manual of vacation(1) proposes; and procmail, mutt and Outlook, as they write it.
HAND_MADE = {
    "procmail": "From: alice@site.example\r\nPrecedence: junk\r\nX-Loop: alice@site.example\r\nSubject: Re: hello (autoreply)\r\n",
    "mutt": "From: alice@site.example\r\nAuto-Submitted: auto-replied\r\nSubject: Out of office\r\n",
    "outlook": "From: alice@site.example\r\nX-Auto-Response-Suppress: All\r\nAuto-Submitted: auto-generated\r\n"
               "In-Reply-To: <x@forged.example>\r\nSubject: Automatic reply: hello\r\n",
    "lotus": "From: alice@site.example\r\nAuto-Submitted: auto-generated\r\nIn-Reply-To: <x@forged.example>\r\n"
             "Subject: AUTO: Alice is out of the office (returning 12/01/2026)\r\n",
    "x-autoreply": "From: alice@site.example\r\nX-Autoreply: yes\r\nX-Autorespond: hello\r\nSubject: Away\r\n",
    "challenge": "From: alice@site.example\r\nAuto-Submitted: auto-replied\r\nSubject: Please confirm your message\r\n",
}


def test_every_form_of_an_automatic_reply_is_held(small, world, corpus):
    """None of them goes to who is not proven to have written; each does to who is. What only its wording gives away is not held."""
    site = small(more="reply-once 1h; reply-rate 1k/1d;")
    deliver(site.port, genuine(1), ALICE, letter(genuine(1), ALICE, "forms"))
    all_forms = forms()
    vacation = vacation_reply(ALICE, b"From x@forged.example Mon Nov 23 00:00:00 2026\n" + letter(forged(1), ALICE, "v"))
    all_forms.append(("vacation(1)", crlf(vacation)))
    all_forms += [(name, (head + "Message-ID: <f@x.example>\r\n\r\nI am away.\r\n").encode()) for name, head in HAND_MADE.items()]
    leaked, guessed = [], []
    for number, (name, text) in enumerate(all_forms):
        site.submit(ALICE, f"victim{number}@forged0.example", text)
        if world.to(f"victim{number}@forged0.example"):
            (guessed if b"nothing but the wording" in json.dumps(site.wait_records(1)[-1]).encode() else leaked).append(name)
    held = len(all_forms) - len(leaked) - len(guessed)
    assert leaked == [] and held >= 12, f"{leaked}; {guessed}; {held}"


# ---- loops -----------------------------------------------------------------------------------

class Reporter(FakeBackend):
    """A site's server that answers every message with a report to its sender, as some do."""

    def __init__(self, domain, form):
        super().__init__()
        self.domain, self.form, self.out, self.running = domain, form, None, True

    def start(self):
        super().start()
        threading.Thread(target=self.answer, daemon=True).start()

    def stop(self):
        self.running = False
        super().stop()

    def answer(self):
        answered = 0
        while self.running:
            for mail in list(self.messages)[answered:]:
                answered += 1
                sender = re.search(rb"(?mi)^From:.*?([^\s<>]+@[^\s<>]+)", mail.octets).group(1).decode()
                me = f"reports@{self.domain}"
                try:
                    deliver(self.out, me, sender, self.form(me, sender, answered))
                except (OSError, AssertionError):  # the other side has ended
                    assert not self.running
            time.sleep(0.05)


def dmarc_report(me, to, number):
    domain, mine = to.partition("@")[2], me.partition("@")[2]
    return (f"From: {me}\r\nTo: {to}\r\nSubject: Report Domain: {domain} Submitter: {mine} Report-ID: <{number}>\r\n"
            f"Message-ID: <report{number}@{mine}>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            "--b\r\n\r\nThis is an aggregate report.\r\n--b\r\nContent-Type: application/gzip\r\nContent-Disposition: attachment; "
            f"filename=\"{mine}!{domain}!1790000000!1790086400.xml.gz\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            "H4sIAAAAAAAAAwMAAAAAAAAAAAA=\r\n--b--\r\n").encode()


def abuse_report(me, to, number):
    mine = me.partition("@")[2]
    return (f"From: {me}\r\nTo: {to}\r\nSubject: abuse report\r\nMessage-ID: <arf{number}@{mine}>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nabuse\r\n"
            "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\n\r\n"
            "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: spam\r\n\r\n--b--\r\n").encode()


def complaint(me, to, number):
    mine = me.partition("@")[2]
    return (f"From: {me}\r\nTo: {to}\r\nSubject: Spam complaint: unsolicited mail from your network\r\n"
            f"Message-ID: <c{number}@{mine}>\r\nAuto-Submitted: auto-generated\r\nIn-Reply-To: <x{number}@y.example>\r\n\r\n"
            "This is an automated spam complaint. We received spam from your network.\r\n").encode()


class TwoSites:
    """a.example and b.example, each with a server and a Spurn, and nothing else in the world."""

    def __init__(self, names, one, two, **keywords):
        self.names, self.servers, self.spurns = names, [one, two], []
        ports = [server.out or free_port() for server in (one, two)]
        inbound = [free_port(), free_port()]
        for i, server in enumerate((one, two)):
            server.out = ports[i]
            names.mail_domain(server.domain).txt(server.domain, "v=spf1 ip4:127.0.0.1 -all")
            spurn = Site({server.domain: server.url}, f"smtp://127.0.0.1:{inbound[1 - i]}", ports[i], names, **keywords)
            spurn.port = inbound[i]
            self.spurns.append(spurn)

    def __enter__(self):
        self.entered = []
        for peer in (*self.servers, *self.spurns):
            peer.__enter__()
            self.entered.append(peer)
        for i in (0, 1):  # the first to start has found the other one down
            wait_until(lambda n=i: self.reachable(self.spurns[n].out, self.servers[1 - n].domain), 40, "the other site")
        return self

    @staticmethod
    def reachable(port, domain):
        with Smtp(port) as c:
            c.greet()
            c.command("MAIL FROM:<>", 250)
            code = c.command(f"RCPT TO:<alice@{domain}>", 250, 451).code
            c.quit()
        time.sleep(0.2)
        return code == 250

    def __exit__(self, kind, value, trace):
        for peer in reversed(self.entered):
            peer.__exit__(kind, value, trace)

    def traffic(self):
        """Messages that have crossed from one site to the other, and notices destroyed."""
        records = [r for spurn in self.spurns for r in spurn.transactions() if r["listener"] == "outbound" and r.get("message")]
        return (sum(r["disposition"] in ("accept", "mark") for r in records),
                sum(r["disposition"] == "destroy" for r in records))

    def silent(self, crossed):
        """Waits until so many messages have crossed, and one was destroyed; then nothing more happens."""
        wait_until(lambda: self.traffic() >= (crossed, 1), 20, f"{crossed} messages and one destroyed")
        time.sleep(1.5)
        assert self.traffic() == (crossed, 1), [s.transactions() for s in self.spurns]


def test_two_vacation_responders_fall_silent(names):
    """Exim on both sides, set up by somebody who has never heard of loops: it answers everything, in its user's name."""
    servers = [EximSite(domain, free_port(), away="alice", polite=False) for domain in ("a.example", "b.example")]
    with TwoSites(names, *servers) as sites:
        deliver(sites.spurns[0].out, "alice@a.example", "alice@b.example", letter("alice@a.example", "alice@b.example", 1))
        sites.silent(2)
        deliver(sites.spurns[1].out, "alice@b.example", "alice@a.example", letter("alice@b.example", "alice@a.example", 2))
        wait_until(lambda: sites.traffic() == (4, 2), 20, "the same the other way")
        time.sleep(1.5)
        assert sites.traffic() == (4, 2)


@pytest.mark.parametrize("form", [dmarc_report, abuse_report, complaint])
def test_two_reporters_fall_silent(names, form):
    with TwoSites(names, Reporter("a.example", form), Reporter("b.example", form)) as sites:
        deliver(sites.spurns[0].out, "reports@a.example", "x@b.example", letter("reports@a.example", "x@b.example", 1))
        sites.silent(2)


def test_without_the_guard_they_would_not(names):
    with TwoSites(names, Reporter("a.example", dmarc_report), Reporter("b.example", dmarc_report), mode="off") as sites:
        deliver(sites.spurns[0].out, "reports@a.example", "x@b.example", letter("reports@a.example", "x@b.example", 1))
        wait_until(lambda: sites.traffic()[0] > 8, 20, "a loop")


def test_reports_and_complaints_to_strangers_are_held(small, world):
    """About spam in a forged name somebody writes to the domain that was forged."""
    site = small()
    deliver(site.port, forged(1), ALICE, letter(forged(1), ALICE, "spam"))
    deliver(site.port, genuine(1), ALICE, letter(genuine(1), ALICE, "ham"))
    for number, form in enumerate((dmarc_report, abuse_report, complaint)):
        site.submit("", f"abuse@{forged(1).partition('@')[2]}", form("reports@site.example", "abuse@forged0.example", number))
        site.submit("reports@site.example", "abuse@forged0.example", form("reports@site.example", "abuse@forged0.example", number + 10))
        assert not world.messages, form.__name__
    site.submit("reports@site.example", "abuse@good0.example", dmarc_report("reports@site.example", "abuse@good0.example", 30))
    assert len(world.messages) == 1
