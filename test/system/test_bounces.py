"""Did we send that? Mail leaves through Spurn, real servers bounce it, and the bounces come back through Spurn: every
genuine one is let in, and what was made of it by a forger is refused."""

import glob
import os
import re

import pytest

from mta import ClientMta, Mta, VMAIL
from peers import (CLIENT_DOMAIN, DnsServer, EximClient, FakeBackend, PostfixClient, Spurn, free_port, wait_until)
from process import Child, REPOSITORY, run
from spurn import BUILD, NOBODY

BOB = f"bob@{CLIENT_DOMAIN}"
ANN = f"ann@{CLIENT_DOMAIN}"
DEAD = "dead@remote.example"
CORPUS = os.path.join(REPOSITORY, "..", "shared", "corpus", "bounces")

BOUNCES = "bounces { unproven reject; enrolled yes; never-sends noreply@%s; }" % CLIENT_DOMAIN


def make_key(directory, *arguments):
    done = run([os.path.join(BUILD, "spurn"), "keys", "new", "--dir", directory, *arguments])
    assert done.returncode == 0, done.stderr
    return done


def own(directory):
    """The files of a key directory belong to whom the daemon becomes."""
    for name in ["", *os.listdir(directory)]:
        os.chown(os.path.join(directory, name), NOBODY, NOBODY)


class Site(Spurn):
    """Spurn with an outbound listener and keys; mode: of the check bounce."""

    def __init__(self, backend, next_hop, keys, mode="enforce"):
        self.out = free_port()
        top = (f"listener outbound {{ address 127.0.0.1:{self.out}; allow 127.0.0.0/8; greet-wait 0s; "
               f"next-hop {next_hop}; }}\nkeys {{ dir {keys}; }}\ncheck bounce {{ mode {mode}; }}\n"
               "check sender-domain { mode off; }\ncheck spf { mode off; }\ncheck rdns { mode off; }\n")
        self.resolver = DnsServer()
        super().__init__(domains={CLIENT_DOMAIN: f"backend {backend}; recipients callforward; {BOUNCES}"}, top=top,
                         dns=self.resolver)

    def start(self):
        self.resolver.__enter__()
        super().start()

    def stop(self):
        super().stop()
        self.resolver.__exit__(None, None, None)

    def send_out(self, sender, recipient, text):
        from clients import Smtp
        c = Smtp(self.out)
        c.greet()
        c.transaction(sender, [recipient])
        c.data(text, 250)
        c.quit()

    def comes_in(self, recipient, text, code, sender=""):
        """A message with a null sender; returns the reply to its end."""
        with self.session() as c:
            c.command(f"MAIL FROM:<{sender}>", 250)
            c.command(f"RCPT TO:<{recipient}>", 250)
            reply = c.data(text, code)
            c.quit()
        return reply

    def finding(self):
        """Of the last transaction, by the check bounce."""
        self.wait_records(1)
        return [f for f in self.transactions()[-1]["findings"] if f["check"] == "bounce"][-1]


@pytest.fixture
def keys(tmp_path):
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    for parent in list(tmp_path.parents)[:2]:
        os.chmod(parent, 0o755)
    os.chmod(tmp_path, 0o755)
    make_key(str(directory))
    own(str(directory))
    return str(directory)


def original(number):
    return (f"From: Bob <{BOB}>\r\nTo: {DEAD}\r\nSubject: test {number}\r\nMessage-ID: <{number}@{CLIENT_DOMAIN}>\r\n"
            "Date: Mon, 23 Nov 2026 00:00:00 +0000\r\n\r\nhello\r\n").encode()


class OpenSmtpdClient(ClientMta, Mta):
    """OpenSMTPD as another site's server: everything goes to 127.0.0.1:relay, bounces to a Maildir."""

    name = "opensmtpd-client"
    package = "opensmtpd"

    def __init__(self, relay):
        super().__init__()
        self.relay = relay

    make_directory = __import__("mta").OpenSmtpdBackend.make_directory

    def mailbox(self, user):
        return self.path("var", "vmail", user)

    def start(self):
        self.mkdir("var/run")
        self.mkdir("var/spool/smtpd", 0, 0o711)
        self.mkdir("var/vmail", VMAIL)
        conf = (f'table users {{ "@" = "vmail" }}\nlisten on 127.0.0.1 port {self.port} hostname "mx.remote.example"\n'
                'action "local" maildir "/var/vmail/bounces" virtual <users>\n'
                f'action "out" relay host smtp://127.0.0.1:{self.relay}\n'
                f'match from any for domain "{CLIENT_DOMAIN}" action "local"\nmatch from any for any action "out"\n')
        os.unlink(self.path("etc", "smtpd.conf"))
        self.write("etc/smtpd.conf", conf, mode=0o600)
        self.child = Child(self.command("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"), self.path("output"),
                           env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.await_listening(("127.0.0.1", self.port))

    def bounces(self):
        return self.messages("bounces")

    def queue(self):
        return []

    def flush(self):
        pass

    def log(self):
        return self.child.text() if self.child else ""

    def logs(self):
        return {"log": self.log()}


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text)


def bounce_of(client):
    """The bounce as it would travel, and the address it is for."""
    text = crlf(client.wait_bounce())
    [to] = re.findall(rb"prvs=[0-9a-f]{10}=[^\s<>]+@" + CLIENT_DOMAIN.encode(), text)[:1]
    return text, to.decode()


@pytest.mark.parametrize("server", [PostfixClient, EximClient, OpenSmtpdClient])
def test_real_bounces_come_in_and_forged_ones_do_not(server, keys):
    with FakeBackend() as refuser, FakeBackend() as backend, server(refuser.port) as remote:
        refuser.recipients[DEAD] = "550 5.1.1 no such user"
        with Site(backend.url, remote.url, keys) as spurn:
            spurn.send_out(BOB, DEAD, original(1))
            text, to = bounce_of(remote)

            # As the tool sees it, with the keys alone.
            spurn.write("returned.eml", text.replace(b"\r\n", b"\n").decode("latin-1"))
            done = spurn.tool("bounce", "--json", spurn.path("returned.eml"))
            assert b'"proof":{"result":"proven","method":"tag"' in done.stdout, (done.stdout, done.stderr)
            assert b"This bounce is genuine" in spurn.tool("bounce", spurn.path("returned.eml")).stdout

            spurn.comes_in(to, text, 250)
            assert (spurn.finding()["result"], "by tag" in spurn.finding()["evidence"]) == ("proven", True)
            assert b"Spurn-Notice: " in backend.messages[-1].octets and b"; proof=proven" in backend.messages[-1].octets
            assert backend.messages[-1].recipients == [BOB]
            # Without its tag the returned message proves it, and so does the ledger.
            spurn.comes_in(BOB, text, 250)
            assert spurn.finding()["result"] == "proven"
            spurn.comes_in(BOB, re.sub(rb"Spurn-Sent: [^\r]*(\r\n[ \t][^\r]*)*\r\n", b"", text), 250)
            assert spurn.finding()["result"] == "proven"

            # An alias or a forwarder stood between: another recipient failed.
            alias = text.replace(DEAD.encode(), b"moved@elsewhere.example")
            spurn.comes_in(to, alias, 250)
            assert spurn.finding()["result"] == "plausible"

            forged_tag = to[:9] + ("000000" if to[9:15] != "000000" else "000001") + to[15:]
            spurn.comes_in(forged_tag, text, 550)
            assert spurn.finding()["result"] == "refuted"
            altered = text.replace(f"<1@{CLIENT_DOMAIN}>".encode(), f"<9@{CLIENT_DOMAIN}>".encode())
            spurn.comes_in(to, altered, 550)
            assert spurn.finding()["result"] == "refuted"
            spurn.comes_in(ANN, text, 550)
            assert spurn.finding()["result"] == "unproven"
            strange = re.sub(rb"Spurn-Sent: [^\r]*(\r\n[ \t][^\r]*)*\r\n", b"", altered)
            spurn.comes_in(BOB, strange, 550)
            assert spurn.finding()["result"] == "unproven"
            assert "not sent from here" in spurn.finding()["reason"]


def test_foreign_recipients_and_replays_are_counted(keys):
    with FakeBackend() as refuser, FakeBackend() as backend, PostfixClient(refuser.port) as remote:
        refuser.recipients[DEAD] = "550 5.1.1 no such user"
        with Site(backend.url, remote.url, keys) as spurn:
            spurn.send_out(BOB, DEAD, original(1))
            text, to = bounce_of(remote)
            foreign = text.replace(DEAD.encode(), b"moved@elsewhere.example")
            for i in range(20):
                spurn.comes_in(to, foreign, 250 if i < 10 else 550)
            for i in range(80):
                spurn.comes_in(to, text, 250 if i < 33 else 550)
            assert "number 100 that shows it" in spurn.finding()["reason"]


def test_another_node_proves_with_the_key_alone(keys):
    with FakeBackend() as refuser, FakeBackend() as backend, PostfixClient(refuser.port) as remote:
        refuser.recipients[DEAD] = "550 5.1.1 no such user"
        with Site(backend.url, remote.url, keys) as a, Site(backend.url, remote.url, keys) as b:
            a.send_out(BOB, DEAD, original(1))
            text, to = bounce_of(remote)
            b.comes_in(to, text, 250)
            assert b.finding()["result"] == "proven"
            b.comes_in(BOB, text, 250)
            assert b.finding()["result"] == "proven" and "by trace" in b.finding()["evidence"]
            status = b.tool("sent", BOB, f"<1@{CLIENT_DOMAIN}>")
            assert status.returncode == 1
            status = a.tool("sent", BOB, f"<1@{CLIENT_DOMAIN}>")
            assert status.returncode == 0 and b"to 1 recipient" in status.stdout
            status = a.tool("sent", BOB, "remote.example")
            assert status.returncode == 0 and b"has written to remote.example" in status.stdout
            assert CLIENT_DOMAIN.encode() in a.tool("status").stdout


def test_keys_are_renewed_with_an_overlap(keys):
    with FakeBackend() as refuser, FakeBackend() as backend, PostfixClient(refuser.port) as remote:
        refuser.recipients[DEAD] = "550 5.1.1 no such user"
        with Site(backend.url, remote.url, keys) as spurn:
            spurn.send_out(BOB, DEAD, original(1))
            text, to = bounce_of(remote)
            assert to.startswith("prvs=1")
            make_key(keys)
            assert spurn.tool("keys", "retire", "1").returncode == 0
            own(keys)
            spurn.reload()
            wait_until(lambda: b"in use" in spurn.tool("keys", "list").stdout, 5, "the new key")
            spurn.send_out(BOB, DEAD, original(2))
            wait_until(lambda: any("<prvs=2" in c.argument for c in list(refuser.commands)), 20, "the new key's tag")
            spurn.comes_in(to, text, 250)
            assert spurn.finding()["result"] == "proven"
            assert spurn.tool("keys", "retire", "1", "--overlap", "0").returncode == 0
            own(keys)
            spurn.reload()
            spurn.comes_in(to, text, 550)
            assert spurn.finding()["result"] == "refuted" and "is over" in spurn.finding()["reason"]
            # A mistake in a key file refuses the reload, with its place.
            with open(os.path.join(keys, "3.key"), "w", encoding="ascii") as f:
                f.write("version 1\nid x\n")
            os.chmod(f.name, 0o600)
            own(keys)
            assert "3.key:2:4: error: an id is one digit" in spurn.reload()


def test_the_corpus_of_bounces_passes_the_rules_of_form(keys):
    files = [f for f in glob.glob(os.path.join(CORPUS, "*", "*")) if os.path.isfile(f)]
    if not files:
        pytest.skip("no corpus of bounces beside the repository")
    with FakeBackend() as backend, Site(backend.url, backend.url, keys, mode="observe") as spurn:
        refused = []
        for name in files:
            with open(name, "rb") as f:
                text = crlf(f.read().replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\0", b""))
            if text.startswith(b"From "):
                text = text.split(b"\r\n", 1)[1]
            with spurn.session() as c:
                c.command("MAIL FROM:<>", 250)
                c.command(f"RCPT TO:<{BOB}>", 250)
                reply = c.data(text)
                if not str(reply).startswith("250"):
                    refused.append((name, str(reply)))
                c.quit()
        assert not refused, refused[:10]


def test_a_wave_is_recorded_and_said_aloud(keys):
    notice = ("From: MAILER-DAEMON@mx.example.com\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
              "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nfailed\r\n--b\r\n"
              "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
              "Final-Recipient: rfc822; x@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n").encode()
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        for _ in range(21):
            spurn.comes_in(ANN, notice, 550)
        waves = [f["reason"] for r in spurn.transactions() for f in r["findings"] if "a wave of notices" in f["reason"]]
        assert len(waves) == 1 and f"begins: {ANN}, 20 in this hour, usually 0" in waves[0], waves
        assert "alert: a wave of notices" in spurn.stderr()
        # A probe works in the middle of it.
        with spurn.session() as c:
            c.command("MAIL FROM:<>", 250)
            c.command(f"RCPT TO:<{ANN}>", 250)
            c.quit()
