"""Did we send that? Mail leaves through Spurn, real servers bounce it, and the bounces come back through Spurn: every
genuine one is let in, and what was made of it by a forger is refused."""

import glob
import json
import os
import re

import pytest

from bouncers import bouncers, crlf
from peers import CLIENT_DOMAIN, FakeBackend, PostfixClient, REPOSITORY, wait_until
from sending import ANN, BOB, DEAD, MOVED, Site, make_key, original, own, tag

CORPUS = os.path.join(REPOSITORY, "..", "shared", "corpus", "bounces")
STRANGER = "stranger@never.example"
TRACE = re.compile(rb"Spurn-Sent: [^\r]*(\r\n[ \t][^\r]*)*\r\n")
# Of the kinds that proofs decide about; others get their mark and no more.
BOUNCES = {"dsn", "bounce", "delay", "success"}


def tagged_in(text):
    """The address that a bounce is for."""
    return re.search(rb"prvs=[0-9a-f]{10}=[^\s<>@]+@" + CLIENT_DOMAIN.encode(), text).group().decode()


def bounce_of(client):
    """The bounce as it would travel, and the address it is for."""
    text = crlf(client.wait_bounce())
    return text, tagged_in(text)


def without_original(text):
    """The same notice with nothing returned in it, about somebody whom nobody here ever wrote to."""
    part = re.search(rb"\r\n(--[^\r\n]+)\r\n(?:[^\r\n]+\r\n)*Content-Type: (message/rfc822|text/rfc822-headers)",
                     text, re.IGNORECASE)
    if part:
        text = text[:part.start()] + b"\r\n" + part.group(1) + b"--\r\n"
    text = text.split(b"\r\n--- Below this line")[0] + b"\r\n"
    text = re.sub(rb"^(In-Reply-To|References|X-Original-Message-ID|Original-Message-ID): .*\r\n", b"", text,
                  flags=re.MULTILINE | re.IGNORECASE)
    return text.replace(DEAD.encode(), STRANGER.encode()).replace(b"1@" + CLIENT_DOMAIN.encode(), b"x@y")


class Judged:
    """What comes in is judged as expected: proof, and for a bounce the reply."""

    def __init__(self, spurn, backend, bouncer):
        self.spurn, self.backend, self.bounce = spurn, backend, bool(BOUNCES & set(bouncer.kinds))

    def __call__(self, to, text, *results):
        before = len(self.backend.messages)
        refused = self.bounce and not {"proven", "plausible"} & set(results)
        self.spurn.comes_in(to, text, 550 if refused else 250)
        finding = self.spurn.finding()
        assert finding["result"] in results, finding
        assert len(self.backend.messages) == before + (not refused)
        if not refused:
            last = self.backend.messages[-1]
            assert f"; proof={finding['result']}\r\n".encode() in last.octets
            assert last.recipients == [re.sub("^prvs=[^=]*=", "", to, flags=re.IGNORECASE)]
        return finding


@pytest.mark.parametrize("bouncer", bouncers(), ids=lambda bouncer: bouncer.name)
def test_genuine_bounces_come_in_and_forged_ones_do_not(bouncer, keys):
    retire(keys, "9")
    with FakeBackend() as backend, bouncer, Site(backend.url, bouncer.url, keys) as spurn:
        spurn.send_out(BOB, DEAD, original(1), bouncer.notify)
        text = bouncer.returned()
        to = tagged_in(text)
        comes_in = Judged(spurn, backend, bouncer)
        check_tool(spurn, bouncer, text)
        check_genuine(comes_in, bouncer, text, to)
        check_forged(comes_in, bouncer, text, to, keys)
        check_counts(spurn, bouncer, text, to)


def retire(keys, key):
    """A key that is over, and whose tags are still about."""
    with open(os.path.join(keys, f"{key}.key"), "w", encoding="ascii") as f:
        f.write(f"version 1\nid {key}\nfrom 2020-01-01T00:00:00Z\nretired 2020-06-01T00:00:00Z\n"
                "until 2020-07-01T00:00:00Z\nsecret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    os.chmod(f.name, 0o600)
    own(keys)


def check_tool(spurn, bouncer, text):
    """As a user sees it, with the keys alone: the ledger is the daemon's."""
    path = spurn.write("returned.eml", text.replace(b"\r\n", b"\n").decode("latin-1"))
    [said] = map(json.loads, spurn.tool("bounce", "--json", path).stdout.decode().splitlines())
    assert said["kind"] in bouncer.kinds, said
    assert said["proof"]["result"] in ("proven", "plausible") and said["proof"]["method"] == "tag", said
    if bouncer.returns:
        assert said["original"]["message_id"] == f"<1@{CLIENT_DOMAIN}>"
    if BOUNCES & set(bouncer.kinds):
        assert [r["address"] for r in said["recipients"]] == [MOVED if bouncer.foreign else DEAD], said
        assert b"genuine" in spurn.tool("bounce", path).stdout


def check_genuine(comes_in, bouncer, text, to):
    honest = ("plausible",) if bouncer.foreign else ("proven",)
    assert "by tag" in comes_in(to, text, *honest)["evidence"]
    # A server that changes case on the way; then without its tag: by the mark that is returned, or by the ledger.
    comes_in(to.upper().replace("CLIENT.EXAMPLE.NET", CLIENT_DOMAIN), text, *honest)
    found = comes_in(BOB, text, *honest) if bouncer.returns else None
    assert found is None or "by trace" in found["evidence"]
    found = comes_in(BOB, TRACE.sub(b"", text), *honest, "plausible")
    assert "by ledger" in found["evidence"]
    # Somebody else failed: an alias or a forwarder stood between.
    if BOUNCES & set(bouncer.kinds):
        comes_in(to, text.replace(DEAD.encode(), MOVED.encode()), "plausible")


def check_forged(comes_in, bouncer, text, to, keys):
    head, hash_ = to[5:9], to[9:15]
    comes_in(f"prvs={head}{int(hash_, 16) ^ 1:06x}={BOB}", text, "refuted")
    found = comes_in(f"prvs={tag(keys, 1, BOB, days=-60)}={BOB}", text, "refuted")
    assert "far too old" in found["reason"]
    found = comes_in(f"prvs={tag(keys, 9, BOB)}={BOB}", text, "refuted")
    assert "is over" in found["reason"]
    comes_in(ANN, text, "unproven")
    comes_in(f"prvs={to[5:15]}={ANN}", text, "refuted")
    another = text.replace(f"<1@{CLIENT_DOMAIN}>".encode(), b"<spam@elsewhere.example>")
    if bouncer.returns:
        comes_in(to, another, "refuted")
    if bouncer.returns or another != text:
        comes_in(BOB, TRACE.sub(b"", another), "unproven")
    comes_in(BOB, without_original(text), "unproven")


def check_counts(spurn, bouncer, text, to):
    """Whoever holds a genuine bounce holds its proof: it may be shown a few times."""
    if not bouncer.returns or not BOUNCES & set(bouncer.kinds):
        return
    foreign = text.replace(DEAD.encode(), MOVED.encode())
    codes = [reply.code for reply in spurn.come_in([(to, foreign)] * 20)]
    assert codes[0] == 250 and codes[19] == 550, codes
    codes = [reply.code for reply in spurn.come_in([(to, text)] * 100)]
    assert codes[99] == 550, codes
    assert spurn.finding()["result"] == "refuted"


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


FORGED = ("From: MAILER-DAEMON@mx.example.com\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
          "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nfailed\r\n--b\r\n"
          "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
          "Final-Recipient: rfc822; x@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n").encode()


def test_a_wave_is_recorded_and_said_aloud(keys):
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        assert not json.loads(spurn.tool("status", "--json").stdout)["proofs"]["waves"]
        for _ in range(21):
            spurn.comes_in(ANN, FORGED, 550)
        waves = [f["reason"] for r in spurn.transactions() for f in r["findings"] if "a wave of notices" in f["reason"]]
        assert len(waves) == 1 and f"begins: {ANN}, 20 in this hour, usually 0" in waves[0], waves
        assert "alert: a wave of notices" in spurn.stderr()
        [wave] = json.loads(spurn.tool("status", "--json").stdout)["proofs"]["waves"]
        assert (wave["name"], wave["this_hour"], wave["usual"]) == (ANN, 21, 0)
        assert b"a wave of notices about mail that was not sent from here" in spurn.tool("status").stdout
        # A probe works in the middle of it.
        with spurn.session() as c:
            c.command("MAIL FROM:<>", 250)
            c.command(f"RCPT TO:<{ANN}>", 250)
            c.quit()


@pytest.mark.parametrize("enrolled", ["yes", "auto"])
def test_a_wave_tightens_what_is_done_where_that_is_wished(enrolled, keys):
    """While it lasts unproven bounces are refused, of mail that all leaves here; other mail and genuine ones come in."""
    bounces = f"bounces {{ unproven mark; wave tighten; enrolled {enrolled}; }}"
    with FakeBackend() as backend, Site(backend.url, backend.url, keys, bounces=bounces, check="client-limit 0;") as spurn:
        codes = [reply.code for reply in spurn.come_in([(ANN, FORGED)] * 25)]
        assert codes == ([250] * 19 + [550] * 6 if enrolled == "yes" else [250] * 25)
        # Nobody else's mail is the worse for it.
        spurn.comes_in(BOB, FORGED, 250)
        assert b"Spurn-Mark: bounce=unproven" in backend.messages[-1].octets
        spurn.send_out(ANN, DEAD, original(1).replace(BOB.encode(), ANN.encode()))
        sender = backend.messages[-1].sender
        assert sender.startswith("prvs=1")
        spurn.comes_in(sender, FORGED, 250)
        spurn.comes_in(ANN, b"From: a@b.example\r\nSubject: hello\r\n\r\nhello\r\n", 250, sender="a@b.example")


def test_a_client_that_returns_much_is_known_by_it(keys):
    """Beyond client-limit it is a finding of its own in whatever it sends, and weighs beside DNS lists."""
    bounces = "bounces { unproven mark; wave tighten; enrolled yes; }"

    def letter(code):
        with spurn.session() as c:
            c.command("MAIL FROM:<a@b.example>", 250)
            reply = c.command(f"RCPT TO:<{BOB}>", code)
            c.quit()
        return reply

    with FakeBackend() as backend, Site(backend.url, backend.url, keys, bounces=bounces, check="client-limit 5;") as spurn:
        # To five addresses, so it is a wave for none of them.
        codes = [reply.code for reply in spurn.come_in([(f"user{i % 5}@{CLIENT_DOMAIN}", FORGED) for i in range(8)])]
        assert codes == [250] * 5 + [550] * 3
        exceeded = [f for r in spurn.transactions() for f in r["findings"] if f["result"] == "exceeded"]
        assert len(exceeded) == 2 and exceeded[0]["weight"] == 1 and "6 bounces of late" in exceeded[0]["evidence"]
        letter(250)
        for mode, code in (("enforce", 554), ("observe", 250)):
            spurn.configure(top=re.sub("check bounce {.*?}", "check bounce { mode %s; client-limit 5; client-weight 3; }" % mode,
                                       spurn.values["top"]))
            spurn.reload()
            assert ("[127.0.0.1] returns mail" in letter(code).text) == (code == 554)


@pytest.mark.parametrize("charset, words", [("iso-2022-jp", "このメールは配信できません。"), ("koi8-r", "Сообщение не доставлено"),
                                            ("gb2312", "退信")], ids=lambda value: value if value.isascii() else "")
def test_a_notice_in_any_character_set_is_recognised(charset, words, keys):
    """In the worker, which has locked itself in before it reads the first message."""
    text = (f"From: MAILER-DAEMON@mx.example.com\r\nSubject: x\r\nX-Failed-Recipients: =?{charset}?Q?x=40y?=\r\nMIME-Version: 1.0\r\n"
            f"Content-Type: text/plain; charset={charset}\r\n\r\n").encode() + words.encode(charset) + b"\r\n"
    with FakeBackend() as backend, Site(backend.url, backend.url, keys, mode="observe") as spurn:
        spurn.comes_in(BOB, text, 250)
        [notice] = [f for f in spurn.transactions()[-1]["findings"] if f["check"] == "notice"]
        assert notice["result"] == "bounce" and 'text "' in notice["evidence"], notice
