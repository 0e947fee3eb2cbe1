"""Scanners look inside before we say yes; their trouble is never a 5xx, and with on-error defer never a yes."""

import base64
import os
import struct
import time
import zipfile
import io

import pytest

from peers import CLIENT_DOMAIN, FakeBackend, Missing, Spurn, never_within, wait_until
from scanners import (Clamd, ClamavMilter, EICAR, Filter, GTUBE, Liar, OpenDkim, Rspamd, SpamassMilter, Spamd, milter, packet,
                      read_exactly, read_packet, spamd_answer, take_spamc, take_stream, until_closed)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB = "alice@example.org", "bob@example.org"

HEADER = ("From: Sender <sender@client.example.net>\r\nTo: Alice <alice@example.org>\r\n"
          "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{id}@client.example.net>\r\n")
_ids = iter(range(10 ** 9))


def mail(body="Hello.\r\n", subject="A letter", fields=""):
    """The octets of a message of its own."""
    head = HEADER.format(id=f"{os.getpid()}.{next(_ids)}") + f"Subject: {subject}\r\n{fields}"
    if body and not body.endswith("\r\n"):
        body += "\r\n"
    return (head + "\r\n" + body).encode()


def deliver(spurn, octets, recipients=(ALICE,), sender=SENDER, helo="client.example.net"):
    """Sends a message; returns the reply to its end."""
    with spurn.dialogue(timeout=60) as c:
        c.greet(helo)
        c.command(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients:
            c.command(f"RCPT TO:<{recipient}>", 250)
        c.command("DATA", 354)
        c.send(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        reply = c.reply()
        c.quit()
    return reply


def started(peer):
    """A peer for the whole module; skipped where its program is missing."""
    try:
        return peer()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def clamd():
    with started(Clamd) as peer:
        yield peer


@pytest.fixture(scope="module")
def spamd():
    with started(Spamd) as peer:
        yield peer


@pytest.fixture(scope="module")
def rspamd():
    with started(Rspamd) as peer:
        yield peer


@pytest.fixture(scope="module")
def opendkim():
    with started(OpenDkim) as peer:
        yield peer


@pytest.fixture
def filter_peer():
    with started(Filter) as peer:
        yield peer


def guarded(backend, dns, *scanners, **keywords):
    """Spurn with these scanner blocks."""
    top = keywords.pop("top", "") + "\n".join(scanners)
    return Spurn(backend.url, dns=dns, top=top, **keywords)


def scanner(kind, address, more="", name=None):
    return f"scanner {name or kind} {{ {kind} {address}; {more} }}"


def findings(record, name=None):
    return [f for f in record["findings"] if f["check"] == "content" and (name is None or f["reason"].startswith(name))]


# ---- clamd -------------------------------------------------------------------------------


def test_a_virus_is_refused_and_names_itself(backend, dns, clamd):
    with guarded(backend, dns, scanner("clamd", clamd.address)) as spurn:
        good = deliver(spurn, mail())
        assert good.code == 250, good
        reply = deliver(spurn, mail(EICAR + "\r\n"))
        assert (reply.code, reply.enhanced) == (554, "5.7.1") and "Eicar-Signature" in reply.text, reply
        [finding] = findings(spurn.record(reply.ref))
        assert finding["result"] == "virus" and finding["evidence"].startswith("Eicar-Signature") and finding["cost_us"] > 0
        assert len(backend.wait_for(1)) == 1


def test_a_virus_in_an_encoded_attachment(backend, dns, clamd):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("invoice.com", EICAR)
    encoded = base64.encodebytes(archive.getvalue()).decode().replace("\n", "\r\n")
    message = mail("--b\r\nContent-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                   f"{encoded}--b--\r\n", fields="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n")
    with guarded(backend, dns, scanner("clamd", clamd.address)) as spurn:
        assert deliver(spurn, message).code == 554


def long_body(megabytes, line=b"spurn " * 12 + b"\r\n"):
    return line * (megabytes * 1024 * 1024 // len(line))


def test_a_long_message_is_scanned_while_it_arrives(backend, dns, clamd):
    with guarded(backend, dns, scanner("clamd", clamd.address)) as spurn:
        head = mail("")
        assert deliver(spurn, head + long_body(10)).code == 250
        reply = deliver(spurn, head + long_body(10) + b"spurn test phrase of malice\r\n")
        assert reply.code == 554 and "Spurn.Phrase" in reply.text


def test_nobody_is_exempt_from_viruses(backend, dns, clamd):
    with guarded(backend, dns, scanner("clamd", clamd.address)) as spurn:
        assert deliver(spurn, mail(EICAR), recipients=("postmaster@example.org",)).code == 554


def test_our_own_other_mx_gets_a_mark(backend, dns, clamd):
    with guarded(backend, dns, scanner("clamd", clamd.address), top="clients { trust 127.0.0.0/8; }\n") as spurn:
        reply = deliver(spurn, mail(EICAR))
        assert reply.code == 250, reply
        [arrived] = backend.wait_for(1)
        assert b"Spurn-Mark: content=virus" in arrived.octets


# ---- spamd -------------------------------------------------------------------------------


def test_spam_by_its_score(backend, dns, spamd):
    with guarded(backend, dns, scanner("spamd", spamd.address)) as spurn:
        assert deliver(spurn, mail("See you tomorrow at the meeting.\r\n")).code == 250
        reply = deliver(spurn, mail(GTUBE + "\r\n"))
        assert (reply.code, reply.enhanced) == (550, "5.7.1"), reply
        [finding] = findings(spurn.record(reply.ref))
        assert finding["result"] == "spam" and "GTUBE" in finding["evidence"]
        assert deliver(spurn, mail(subject="somewhat dubious")).code == 250
        marked = backend.wait_for(2)[1]
        assert b"Spurn-Mark: content=suspect" in marked.octets
        assert deliver(spurn, mail(GTUBE), recipients=("postmaster@example.org",)).code == 250
        assert deliver(spurn, mail(GTUBE), recipients=("abuse@example.org",)).code == 250


# ---- rspamd, OpenDKIM --------------------------------------------------------------------


def test_rspamd_as_a_milter(backend, dns, rspamd):
    with guarded(backend, dns, scanner("milter", rspamd.address)) as spurn:
        for _ in range(3):
            assert deliver(spurn, mail()).code == 250
        reply = deliver(spurn, mail(GTUBE + "\r\n"))
        assert reply.code == 550, reply
        [finding] = findings(spurn.record(reply.ref))
        assert finding["result"] == "refused" and "gtube" in finding["evidence"].lower()


def test_opendkim_signs_on_top(backend, dns, opendkim):
    with guarded(backend, dns, scanner("milter", opendkim.address)) as spurn:
        for count in (1, 2):
            assert deliver(spurn, mail()).code == 250
            octets = backend.wait_for(count)[-1].octets
            assert octets.index(b"DKIM-Signature: ") < octets.index(b"From: Sender")
        [finding] = findings(spurn.transactions()[-1])
        assert finding["result"] == "pass" and "adds DKIM-Signature" in finding["evidence"]


def test_clamav_milter(backend, dns, clamd):
    with started(lambda: ClamavMilter(clamd)) as peer:
        with guarded(backend, dns, scanner("milter", peer.address, "finds viruses;")) as spurn:
            for count in (1, 2):
                assert deliver(spurn, mail(fields="X-Virus-Status: Clean, I swear\r\n")).code == 250
                octets = backend.wait_for(count)[-1].octets
                assert b"X-Virus-Status: Clean\r\n" in octets and b"I swear" not in octets
            reply = deliver(spurn, mail(EICAR + "\r\n"), recipients=("postmaster@example.org",))
            assert (reply.code, reply.enhanced) == (554, "5.7.1"), reply
            [finding] = findings(spurn.record(reply.ref))
            assert finding["result"] == "virus" and "Eicar-Signature" in finding["evidence"]


def test_spamass_milter(backend, dns, spamd):
    """Its spamd hears of the client from our macros; what is spam arrives as its report: fields changed, and a new body."""
    with started(lambda: SpamassMilter(spamd)) as peer:
        with guarded(backend, dns, scanner("milter", peer.address)) as spurn:
            assert deliver(spurn, mail(), helo="who.are.you.example").code == 250
            octets = backend.wait_for(1)[0].octets
            assert b"X-Spam-Status: No" in octets and b"SPURN_CLIENT" in octets and octets.endswith(b"\r\n\r\nHello.\r\n")
            assert deliver(spurn, mail("What I wrote.\r\n", subject="somewhat dubious")).code == 250
            head, body = backend.wait_for(2)[1].octets.split(b"\r\n\r\n", 1)
            assert b"X-Spam-Flag: YES" in head and head.count(b"Content-Type: multipart/mixed") == 1
            assert b"Content-Type: message/rfc822" in body and b"What I wrote." in body
            reply = deliver(spurn, mail(GTUBE + "\r\n"))
            assert (reply.code, reply.enhanced) == (550, "5.7.1") and "SpamAssassin" not in reply.text


# ---- a filter on libmilter: every stage, every change --------------------------------------


@pytest.fixture
def filtered(backend, dns, filter_peer):
    with guarded(backend, dns, scanner("milter", filter_peer.address)) as spurn:
        yield spurn


def test_every_stage_is_told(filtered, filter_peer, backend):
    assert deliver(filtered, mail("One.\r\n..Two.\r\n", fields="X-Long: first\r\n\tsecond\r\n"), (ALICE, BOB)).code == 250
    seen = filter_peer.seen()
    kinds = [line.split()[0] for line in seen]
    assert [k for k in kinds if k not in ("macros", "header", "rcpt")] == ["connect", "helo", "mail", "data", "eoh", "eom"]
    assert "connect localhost 2 127.0.0.1" in seen[0]
    assert "macros j=mx.spurn.test {daemon_name}=inbound {client_addr}=127.0.0.1" in seen
    assert "helo client.example.net" in seen
    assert any(line.startswith(f"mail <{SENDER}> SIZE=") for line in seen)
    assert f"rcpt <{ALICE}> {{rcpt_addr}}={ALICE}" in seen and f"rcpt <{BOB}> {{rcpt_addr}}={BOB}" in seen
    assert "header X-Long:'first\\n\\tsecond'" in seen
    assert not any("Received" in line for line in seen), "our own trace field is not shown"
    [record] = filtered.wait_records(1)
    assert f"macros i={record['ref']}" in seen


def test_a_connection_serves_many_messages(filtered, filter_peer, backend):
    for _ in range(5):
        assert deliver(filtered, mail()).code == 250
    seen = [line.split()[0] for line in filter_peer.seen()]
    assert seen.count("connect") == 5 and seen.count("eom") == 5
    import json
    status = json.loads(filtered.tool("status", "--json").stdout)
    [one] = status["scanners"]
    assert one["asked"] == 5 and one["idle"] == 1 and one["failures"] == 0


def test_header_changes(filtered, backend):
    fields = ("X-Old: one\r\nX-Old: two\r\nDKIM-Signature: v=1; stands for a signature\r\n"
              "X-Do: add X-Added=yes|folded\r\nX-Do: change Subject=1=Changed\r\nX-Do: change X-Old=2=\r\n"
              "X-Do: insert 0=X-Top=top\r\n")
    assert deliver(filtered, mail(fields=fields)).code == 250
    octets = backend.wait_for(1)[0].octets
    text = octets.decode()
    assert "X-Added: yes\r\n\tfolded\r\n" in text
    assert text.index("X-Added:") < text.index("DKIM-Signature:"), "nothing is put below what is signed"
    assert text.index("X-Top: top\r\n") < text.index("From: Sender")
    assert text.startswith("Received:")
    assert "\r\nSubject: Changed\r\n" in text and "A letter" not in text
    assert "X-Old: one\r\n" in text and "X-Old: two" not in text


def test_a_new_body(filtered, backend):
    assert deliver(filtered, mail("The old one.\r\n", fields="X-Do: body 300\r\n")).code == 250
    octets = backend.wait_for(1)[0].octets
    head, body = octets.split(b"\r\n\r\n", 1)
    assert b"Subject: A letter" in head and b"The old one" not in octets
    assert body == b"A new line of the body.\r\n.begins with a dot\r\n" * 300000


def test_a_new_body_is_scanned_again(backend, dns, clamd, filter_peer):
    with guarded(backend, dns, scanner("clamd", clamd.address), scanner("milter", filter_peer.address)) as spurn:
        assert deliver(spurn, mail(fields="X-Do: body 1\r\n")).code == 250
        [record] = spurn.wait_records(1)
        assert len(findings(record, "clamd")) == 2


@pytest.mark.parametrize("fields, sender, helo, code, result", [
    ("X-Do: reply 550 5.7.1 Not this\r\n", SENDER, "a.example", 550, "refused"),
    ("X-Do: reply 451 4.7.1 Not now\r\n", SENDER, "a.example", 451, "try-later"),
    ("X-Do: discard\r\n", SENDER, "a.example", 550, "refused"),
    ("X-Do: quarantine too odd\r\n", SENDER, "a.example", 550, "refused"),
    ("X-Do: reject at header\r\n", SENDER, "a.example", 550, "refused"),
    ("X-Do: discard at eoh\r\n", SENDER, "a.example", 550, "refused"),
    ("", SENDER, "reject.example", 550, "refused"),
    ("", f"later@{CLIENT_DOMAIN}", "a.example", 451, "try-later"),
    ("X-Do: discard\r\n", f"accept@{CLIENT_DOMAIN}", "a.example", 250, "pass"),
    ("X-Do: accept\r\n", SENDER, "a.example", 250, "pass"),
    ("X-Do: skip\r\n", SENDER, "a.example", 250, "pass"),
    ("X-Do: progress\r\n", SENDER, "a.example", 250, "pass"),
    ("X-Do: recipient other@example.org\r\n", SENDER, "a.example", 250, "pass"),
])
def test_what_a_filter_may_say(filtered, backend, fields, sender, helo, code, result):
    for _ in range(2):      # once more on the kept connection
        reply = deliver(filtered, mail("x\r\n" * 100000, fields=fields), sender=sender, helo=helo)
        assert reply.code == code, reply
        if code != 250:
            [finding] = findings(filtered.record(reply.ref))
            assert finding["result"] == result
            assert "Not " not in reply.text, "a filter's words are not for strangers"
    assert all(findings(r)[0]["result"] == result for r in filtered.wait_records(2))


STAGES = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "end of message")


@pytest.mark.parametrize("word, code, result", [("reject", 550, "refused"), ("tempfail", 451, "try-later"),
                                                ("discard", 550, "refused"), ("accept", 250, "pass")])
def test_each_word_at_each_stage(filtered, filter_peer, backend, word, code, result):
    for count, stage in enumerate(STAGES):
        filter_peer.say(stage.split()[0], word)
        reply = deliver(filtered, mail())
        assert reply.code == code, (stage, reply)
        [finding] = findings(filtered.wait_records(count + 1)[-1])
        assert finding["result"] == result, (stage, finding)
        if code != 250:
            assert finding["reason"].endswith(f"at {stage}"), (stage, finding)
    assert len(backend.messages) == (len(STAGES) if code == 250 else 0)


def test_a_filter_that_wants_and_answers_less(backend, dns):
    with started(lambda: Filter(quiet=True)) as peer, guarded(backend, dns, scanner("milter", peer.address)) as spurn:
        for _ in range(2):
            assert deliver(spurn, mail("x\r\n" * 50000, fields="X-Do: add X-Added=yes\r\n")).code == 250
        seen = peer.seen()
        kinds = [line.split()[0] for line in seen]
        assert "helo" not in kinds and "data" not in kinds and kinds.count("eom") == 2 and "eom 150000" in seen
        assert sum(line.startswith("symlist port=") and line.endswith("host=None") for line in seen) == 2
        assert b"X-Added: yes\r\n" in backend.wait_for(2)[1].octets


def test_a_recipient_that_a_filter_refuses_comes_alone(filtered, backend):
    both = mail()
    first = deliver(filtered, both, (ALICE, "deny@example.org"))
    assert first.code == 451, first
    with filtered.session() as c:       # the sender's MTA tries again
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command(f"RCPT TO:<{ALICE}>", 250)
        c.command("RCPT TO:<deny@example.org>", 452)
        c.command("DATA", 354)
        c.send(both + b".\r\n")
        assert c.reply().code == 250
    assert deliver(filtered, both, ("deny@example.org",)).code == 550
    assert len(backend.wait_for(1)) == 1


# ---- liars: zero accepted unscanned, zero 5xx for our own trouble, zero duplicates ----------------------------------


def drip(octets):
    def play(connection):
        for octet in octets:
            connection.sendall(bytes([octet]))
            time.sleep(0.002)
    return play


def clamd_says(octets, then=until_closed):
    def play(connection):
        take_stream(connection)
        connection.sendall(octets)
        then(connection)
    return play


HOSTILE_CLAMD = {
    "dead": lambda c: None,
    "deaf": lambda c: time.sleep(30),
    "slow": lambda c: (take_stream(c), time.sleep(30)),
    "garbage": clamd_says(b"\xff" * 100 + b"\0"),
    "half": clamd_says(b"stream: OK", lambda c: None),
    "endless": lambda c: [c.sendall(b"a" * 65536) for _ in range(10000)],
    "twice": clamd_says(b"stream: OK\0stream: OK\0"),
    "error": clamd_says(b"INSTREAM size limit exceeded. ERROR\0"),
    "wrong word": clamd_says(b"stream: ok\0"),
    "reset": lambda c: (c.setsockopt(1, 13, struct.pack("ii", 1, 0)), c.close()),
}

def spamd_says(octets, then=lambda c: None):
    def play(connection):
        take_spamc(connection)
        connection.sendall(octets)
        then(connection)
    return play


HOSTILE_SPAMD = {
    "dead": lambda c: None,
    "deaf": lambda c: time.sleep(30),
    "slow": lambda c: (take_spamc(c), time.sleep(30)),
    "garbage": spamd_says(b"\xff" * 100 + b"\r\n\r\n"),
    "half": spamd_says(spamd_answer(0.1)[:-2]),
    "half a verdict": spamd_says(b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.1\r\n\r\n"),
    "no end": spamd_says(spamd_answer(0.1), lambda c: time.sleep(30)),
    "endless": lambda c: [c.sendall(b"a" * 65536) for _ in range(10000)],
    "2 GB of promises": spamd_says(b"SPAMD/1.1 0 EX_OK\r\nContent-length: 2147483647\r\nSpam: False ; 0 / 5\r\n\r\nONE"),
    "twice": spamd_says(spamd_answer(0.1) * 2),
    "error": spamd_says(b"SPAMD/1.1 74 EX_IOERR\r\n\r\n"),
    "no number": spamd_says(b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; nan / 5.0\r\n\r\n"),
    "reset": lambda c: (c.setsockopt(1, 13, struct.pack("ii", 1, 0)), c.close()),
}

HOSTILE_MILTER = {
    "dead": lambda c: None,
    "deaf": lambda c: time.sleep(30),
    "garbage": lambda c: (c.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), until_closed(c)),
    "2 GB of promises": milter(b"\x7f\xff\xff\xffb" + b"x" * 1000),
    "half a packet": milter(packet(b"h", b"X-A\0yes\0")[:-3]),
    "half an end": milter(lambda c: (c.sendall(packet(b"b", b"half of a new body\r\n")), c.close())),
    "body and silence": milter(lambda c: (c.sendall(packet(b"b", b"x" * 60000)), time.sleep(30))),
    "no length": milter(b"\0\0\0\0a"),
    "changes the sender": milter(packet(b"e", b"<x@example.org>\0") + packet(b"a")),
    "deletes a recipient": milter(packet(b"-", b"<alice@example.org>\0") + packet(b"a")),
    "negotiates nonsense": milter(packet(b"a"), {b"O": packet(b"O", b"\0\0\0\x63" + b"\0" * 8)}),
    "steps nobody offered": milter(packet(b"a"), {b"O": packet(b"O", struct.pack(">III", 6, 0, 0x40000000))}),
    "an end before its time": milter(packet(b"a"), {b"H": packet(b"b", b"body")}),
    "answers no question": milter(packet(b"z")),
    "reply that is none": milter(packet(b"y", b"250 2.0.0 fine\0")),
    "endless changes": milter(lambda c: [c.sendall(packet(b"h", b"X-A\0" + b"y" * 1000 + b"\0")) for _ in range(5000)]),
    "endless progress": milter(lambda c: [c.sendall(packet(b"p") * 1000) for _ in range(1000)]),
}


def assert_liar_is_trouble(backend, dns, kind, script):
    """With defer: 451 each time and nothing delivered; with mark: delivered once, and marked."""
    with Liar(script) as liar:
        block = scanner(kind, liar.address, "budget 700ms; on-error defer;")
        with guarded(backend, dns, block) as spurn:
            octets = mail()
            for _ in range(2):
                reply = deliver(spurn, octets)
                assert (reply.code, reply.enhanced) == (451, "4.3.0"), reply
                [finding] = findings(spurn.record(reply.ref))
                assert finding["result"] == "temperror", finding
            assert not backend.messages
            spurn.configure(top=block.replace("defer", "mark"))
            spurn.reload()
            wait_until(lambda: deliver(spurn, octets).code == 250, 10, "a marked message")
            [arrived] = backend.wait_for(1)
            assert b"Spurn-Mark: content=unchecked" in arrived.octets and b"new body" not in arrived.octets


@pytest.mark.parametrize("manner", HOSTILE_CLAMD)
def test_a_hostile_clamd(backend, dns, manner):
    assert_liar_is_trouble(backend, dns, "clamd", HOSTILE_CLAMD[manner])


@pytest.mark.parametrize("manner", HOSTILE_MILTER)
def test_a_hostile_milter(backend, dns, manner):
    assert_liar_is_trouble(backend, dns, "milter", HOSTILE_MILTER[manner])


@pytest.mark.parametrize("manner", HOSTILE_SPAMD)
def test_a_hostile_spamd(backend, dns, manner):
    assert_liar_is_trouble(backend, dns, "spamd", HOSTILE_SPAMD[manner])


def test_a_slow_but_honest_trio(backend, dns):
    """One octet at a time is no lie."""
    accept = packet(b"h", b"X-Seen\0yes\0") + packet(b"a")
    options = packet(b"O", struct.pack(">III", 6, 1, 0))
    with Liar(milter(drip(accept), {b"O": drip(options)})) as one, Liar(lambda c: (take_stream(c), drip(b"stream: OK\0")(c))) as two, \
            Liar(lambda c: (take_spamc(c), drip(spamd_answer(0.1))(c))) as three:
        with guarded(backend, dns, scanner("milter", one.address), scanner("clamd", two.address),
                     scanner("spamd", three.address)) as spurn:
            assert deliver(spurn, mail()).code == 250
            assert b"X-Seen: yes\r\n" in backend.wait_for(1)[0].octets


def test_the_breaker_answers_at_once_and_closes_again(backend, dns):
    with Liar(HOSTILE_CLAMD["deaf"]) as liar:
        with guarded(backend, dns, scanner("clamd", liar.address, "budget 500ms;")) as spurn:
            for _ in range(3):
                assert deliver(spurn, mail()).code == 451
            began = time.monotonic()
            assert deliver(spurn, mail()).code == 451
            assert time.monotonic() - began < 0.4, "the breaker is open: nobody waits for the dead"
            assert b"scanner clamd" in spurn.tool("status").stdout
            liar.script = clamd_says(b"stream: OK\0")
            wait_until(lambda: deliver(spurn, mail()).code == 250, 10, "the breaker's closing")


# Each hears the whole message and then says nothing until the other side closes; or, once `hold` is off, that all is well.
PATIENT = {
    "clamd": lambda hold: lambda c: (take_stream(c), until_closed(c) if hold else c.sendall(b"stream: OK\0")),
    "spamd": lambda hold: lambda c: (take_spamc_held(c, hold), None if hold else c.sendall(spamd_answer(0.1))),
    "milter": lambda hold: milter(lambda c: until_closed(c) if hold else c.sendall(packet(b"c"))),
}


def take_spamc_held(connection, hold):
    """spamd's client closes its side behind the question, so only a reset tells that it has gone altogether."""
    take_spamc(connection)
    while hold:
        try:
            connection.send(b"S")
        except OSError:
            return
        time.sleep(0.02)


@pytest.mark.parametrize("kind", PATIENT)
def test_a_client_that_leaves_before_the_verdict(backend, dns, kind):
    """The scan ends at once, nothing is delivered; when it returns, the message arrives once."""
    hold = [True]
    with Liar(PATIENT[kind](hold)) as liar, guarded(backend, dns, scanner(kind, liar.address)) as spurn:
        octets = mail()
        c = spurn.session()
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command(f"RCPT TO:<{ALICE}>", 250)
        c.command("DATA", 354)
        c.send(octets + b".\r\n")
        wait_until(lambda: liar.connections == 1)
        time.sleep(0.1)
        assert liar.gone == 0
        c.close()
        wait_until(lambda: liar.gone == 1, 2, "the end of the scan")
        [record] = spurn.wait_records(1)
        assert record["disposition"] == "defer" and record["reply"]["number"] == 805
        hold.clear()
        assert not backend.messages
        assert deliver(spurn, octets).code == 250
        never_within(lambda: len(backend.messages) > 1, 0.3, "a second copy")
        assert len(backend.wait_for(1)) == 1


@pytest.mark.parametrize("end", ["hangup", "too big"])
def test_an_abandoned_message_ends_the_scan_at_once(backend, dns, end):
    with Liar(lambda c: (read_exactly(c, 50000), until_closed(c))) as liar:
        with guarded(backend, dns, scanner("clamd", liar.address), listener={"size-limit": "300k"}) as spurn:
            with spurn.session() as c:
                c.command(f"MAIL FROM:<{SENDER}>", 250)
                c.command(f"RCPT TO:<{ALICE}>", 250)
                c.command("DATA", 354)
                c.send(mail("") + b"x" * 70 + b"\r\n" + b"some line or other\r\n" * 10000)
                wait_until(lambda: liar.connections == 1, 5, "the feeder")
                if end == "hangup":
                    c.close()
                else:
                    c.send(b"some line or other\r\n" * 20000 + b".\r\n")
                    assert c.reply().code == 552
                wait_until(lambda: liar.gone == 1, 2, "the end of the scan")
            assert not backend.messages


# ---- what they see ------------------------------------------------------------------------


FORGED = ("Authentication-Results: mx.spurn.test; dkim=pass header.d=bank.example\r\n"
          "Authentication-Results: elsewhere.example; spf=pass\r\nSpurn-Mark: none\r\n")


@pytest.mark.parametrize("octets", [b"", long_body(1)], ids=["short", "long"])
def test_no_scanner_sees_what_is_forged_in_our_name(backend, dns, octets):
    seen = {}

    def hear(connection):
        seen["clamd"] = take_stream(connection)
        connection.sendall(b"stream: OK\0")

    def hear_spamd(connection):
        seen["spamd"] = take_spamc(connection)[1]
        connection.sendall(spamd_answer(0.1))

    names = []

    def note(connection):
        while True:
            word, data = read_packet(connection)
            if word == b"L":
                names.append(data.split(b"\0")[:2])
            if word == b"O":
                connection.sendall(packet(b"O", struct.pack(">III", 6, 0, 0)))
            elif word == b"E":
                connection.sendall(packet(b"c"))
            elif word not in (b"D", b"A", b"K", b"Q"):
                connection.sendall(packet(b"c"))

    with Liar(hear) as one, Liar(hear_spamd) as two, Liar(note) as three:
        with guarded(backend, dns, scanner("clamd", one.address), scanner("spamd", two.address, "size-limit 5M;"),
                     scanner("milter", three.address)) as spurn:
            sent = mail("..dots\r\n", fields=FORGED) + octets
            assert deliver(spurn, sent).code == 250
            relayed = backend.wait_for(1)[0].octets
    clean = sent.replace(FORGED.encode(), FORGED.split("\r\n")[1].encode() + b"\r\n")
    assert seen["clamd"] == clean
    head, rest = seen["spamd"][:len(seen["spamd"]) - len(clean)], seen["spamd"][-len(clean):]
    assert rest == clean and head.startswith(b"Received: from client.example.net (") and b"[127.0.0.1]" in head
    assert head.count(b"\r\n") == head.count(b"\r\n\t") + 1, "one field"
    assert [name for name, _ in names].count(b"Authentication-Results") == 1
    assert b"Spurn-Mark" not in [name for name, _ in names]
    assert relayed.endswith(clean) and b"bank.example" not in relayed


def test_spamd_learns_the_client_from_our_field(backend, dns, spamd):
    """SpamAssassin takes the topmost Received for ours: rules about the client's address hold for the real client."""
    with guarded(backend, dns, scanner("spamd", spamd.address)) as spurn:
        forged = "Received: from good.example (good.example [192.0.2.1]) by mx.spurn.test; Mon, 23 Nov 2026 09:00:00 +0000\r\n"
        reply = deliver(spurn, mail(fields=forged), helo="who.are.you.example")
        assert reply.code == 250
        [finding] = findings(spurn.wait_records(1)[0])
        assert "SPURN_CLIENT" in finding["evidence"], finding


REPORT = ("--r\r\n\r\nIt could not be delivered.\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\n"
          "Reporting-MTA: dns; x.example\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
          "--r\r\nContent-Type: message/rfc822{0}\r\n\r\n{1}\r\n--r--\r\n")
REPORT_FIELDS = "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=r\r\n"
RETURNED = "From: Alice <alice@example.org>\r\nTo: a@x.example\r\nSubject: returned\r\n\r\nWhat was sent.\r\n"


def bounce(returned, encoding=None):
    if encoding:
        lines = base64.encodebytes(returned.encode()).decode().replace("\n", "\r\n").strip()
        return mail(REPORT.format("\r\nContent-Transfer-Encoding: base64", lines), fields=REPORT_FIELDS)
    return mail(REPORT.format("", returned), fields=REPORT_FIELDS)


@pytest.mark.parametrize("encoding", [None, "base64"])
@pytest.mark.parametrize("kind", ["clamd", "spamd"])
def test_what_a_bounce_returns_is_offered_as_a_message(backend, dns, kind, encoding):
    asked = []

    def play(connection):
        octets = take_stream(connection) if kind == "clamd" else take_spamc(connection)[1]
        asked.append(octets)
        bad = octets.startswith(b"From: Alice") and b"evil" in octets
        if kind == "clamd":
            connection.sendall(b"stream: Inner.Evil FOUND\0" if bad else b"stream: OK\0")
        else:
            connection.sendall(spamd_answer(30 if bad else 0.1))

    with Liar(play) as liar, guarded(backend, dns, scanner(kind, liar.address)) as spurn:
        reply = deliver(spurn, bounce(RETURNED, encoding), sender="")
        assert reply.code == 250, reply
        assert len(asked) == 2 and asked[1].rstrip(b"\r\n") == RETURNED.rstrip("\r\n").encode()
        reply = deliver(spurn, bounce(RETURNED.replace("What", "evil"), encoding), sender="")
        assert reply.code == (554 if kind == "clamd" else 550), reply
        first, second = findings(spurn.record(reply.ref))
        assert first["result"] == "pass" and "message returned" not in first["reason"]
        assert second["result"] == ("virus" if kind == "clamd" else "spam") and "in the message returned" in second["reason"]
        # A letter that forwards one is scanned as the whole that it is.
        del asked[:]
        assert deliver(spurn, mail(REPORT.format("", RETURNED).replace("delivery-status", "x-note"), fields=REPORT_FIELDS.replace(
            "report; report-type=delivery-status", "mixed"))).code == 250
        assert len(asked) == 1
        assert len(backend.wait_for(2)) == 2


def test_trouble_with_the_returned_message_is_trouble(backend, dns):
    turns = []

    def play(connection):
        take_stream(connection)
        turns.append(1)
        connection.sendall(b"stream: OK\0" if len(turns) % 2 else b"stream: hm\0")

    with Liar(play) as liar, guarded(backend, dns, scanner("clamd", liar.address)) as spurn:
        reply = deliver(spurn, bounce(RETURNED), sender="")
        assert (reply.code, reply.enhanced) == (451, "4.3.0"), reply
        assert not backend.messages


def test_a_virus_that_comes_back(backend, dns, clamd):
    with guarded(backend, dns, scanner("clamd", clamd.address)) as spurn:
        assert deliver(spurn, bounce(RETURNED), sender="").code == 250
        reply = deliver(spurn, bounce(RETURNED + EICAR + "\r\n", "base64"), sender="")
        assert reply.code == 554, reply


# ---- policy ------------------------------------------------------------------------------


def test_recipients_with_another_policy_come_apart(backend, dns, clamd):
    domains = {name: f"backend {backend.url}; recipients callforward; {more}" for name, more in
               (("example.org", ""), ("free.example", "content none;"), ("same.example", "content clamd;"))}
    with Spurn(domains=domains, dns=dns, top=scanner("clamd", clamd.address)) as spurn:
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{ALICE}>", 250)
            c.command("RCPT TO:<bob@same.example>", 250)
            reply = c.command("RCPT TO:<bob@free.example>", 452)
            assert reply.enhanced == "4.5.3"
            assert c.command("RCPT TO:<postmaster@example.org>", 452).enhanced == "4.5.3"
        assert deliver(spurn, mail(EICAR), ("bob@free.example",)).code == 250
        assert deliver(spurn, mail(EICAR), ("bob@same.example",)).code == 554


def test_another_policy_comes_apart_under_prdr_too(backend, dns, clamd):
    """PRDR says who has the message, not who wanted it checked how: 452 keeps the policies apart in any case."""
    domains = {name: f"backend {backend.url}; recipients callforward; {more}" for name, more in
               (("example.org", ""), ("free.example", "content none;"))}
    with Spurn(domains=domains, dns=dns, top=scanner("clamd", clamd.address)) as spurn:
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}> PRDR", 250)
            c.command(f"RCPT TO:<{ALICE}>", 250)
            assert c.command("RCPT TO:<bob@free.example>", 452).enhanced == "4.5.3"
            c.command("DATA", 354)
            c.send(mail(EICAR) + b".\r\n")
            assert c.reply().code == 554
        assert not backend.messages


@pytest.mark.parametrize("kind", ["spamd", "milter"])
def test_a_declared_forwarder_gets_marks(backend, dns, kind):
    """A 5xx for content would make the forwarder bounce it to whom it names."""
    script = {"spamd": lambda c: (take_spamc(c), c.sendall(spamd_answer(30))), "milter": milter(packet(b"r"))}[kind]
    with Liar(script) as liar, guarded(backend, dns, scanner(kind, liar.address),
                                       top="clients { trust 127.0.0.0/8; }\n") as spurn:
        assert deliver(spurn, mail()).code == 250
        assert b"Spurn-Mark: content=" in backend.wait_for(1)[0].octets


def test_observe_records_and_changes_nothing(backend, dns, clamd, filter_peer):
    with guarded(backend, dns, scanner("clamd", clamd.address), scanner("milter", filter_peer.address),
                 top="check content { mode observe; }\n") as spurn:
        assert deliver(spurn, mail(EICAR, fields="X-Do: add X-Added=yes\r\n")).code == 250
        assert b"X-Added: yes" not in backend.wait_for(1)[0].octets.replace(b"X-Do: add X-Added=yes", b"")
        [record] = spurn.wait_records(1)
        assert findings(record, "clamd")[0]["would"] == "reject"


def test_who_is_skipped(backend, dns, clamd):
    for rule in ("skip-clients 127.0.0.0/8;", f"skip-recipients {ALICE};", "size-limit 100;"):
        with guarded(backend, dns, scanner("clamd", clamd.address, rule)) as spurn:
            reply = deliver(spurn, mail(EICAR))
            assert reply.code == 250, (rule, reply)
            [record] = spurn.wait_records(1)
            assert findings(record)[0]["result"] == "skipped"


def test_check_live_greets_every_scanner(backend, dns, clamd, spamd, rspamd):
    with guarded(backend, dns, scanner("clamd", clamd.address), scanner("spamd", spamd.address),
                 scanner("milter", rspamd.address)) as spurn:
        output = spurn.tool("check", "--live").stdout.decode()
        assert "ok  scanner clamd (clamd unix:" in output and "ClamAV" in output
        assert "ok  scanner spamd (spamd inet:" in output and "ok  scanner milter (milter inet:" in output
        spurn.configure(top=scanner("clamd", "inet:127.0.0.1:1"))
        result = spurn.tool("check", "--live")
        assert b"scanner clamd (clamd inet:127.0.0.1:1): " in result.stdout + result.stderr
        assert result.returncode != 0


# ---- rules -------------------------------------------------------------------------------

RULES = "content-rules { attachments 10 *.exe; hosts 6 file %s; odd-header 3; }\n"


def zipped(*names):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            out.writestr(name, "harmless " * 100)
    return base64.encodebytes(archive.getvalue()).decode().replace("\n", "\r\n")


def test_rules_of_the_site(backend, dns, public_dir):
    hosts = public_dir / "hosts"
    hosts.write_text("spam.example\n")
    attached = ("--b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                f"{zipped('a.txt', 'x/invoice.EXE')}--b--\r\n")
    fields = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
    bounce = ("--r\r\n\r\nSorry.\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n"
              "Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--r\r\nContent-Type: message/rfc822\r\n\r\n"
              f"From: a@example.org\r\n{fields}\r\n{attached}--r--\r\n")
    with guarded(backend, dns, RULES % hosts) as spurn:
        assert deliver(spurn, mail("Hello http://fine.example/\r\n")).code == 250
        reply = deliver(spurn, mail(attached, fields=fields))
        assert reply.code == 550, reply
        hits = findings(spurn.record(reply.ref), "rules")
        assert [f["result"] for f in hits] == ["listed", "refused"] and hits[0]["evidence"] == "invoice.EXE"
        returned = mail(bounce, fields="Content-Type: multipart/report; report-type=delivery-status; boundary=r\r\nMIME-Version: 1.0\r\n")
        assert deliver(spurn, returned, sender="").code == 550, "what a bounce returns is looked into"
        assert deliver(spurn, mail("See https://www.spam.example/offer\r\n")).code == 250
        assert b"Spurn-Mark: content=suspect" in backend.wait_for(2)[1].octets
        hosts.write_text("other.example\n")
        wait_until(lambda: deliver(spurn, mail("See https://other.example\r\n")) and
                   b"Spurn-Mark" in backend.messages[-1].octets, 10, "the new list")
