"""Mail goes through: octet by octet, between real servers, with every extension that is offered."""

import email.utils
import re
import time

import pytest

from peers import (Bytewise, CLIENT_DOMAIN, DovecotLmtp, EximBackend, EximClient, FakeBackend, Later, OpenSmtpdBackend,
                   PostfixBackend, PostfixClient, Smtp, SmtpSink, Spurn, dot_stuffed, free_port, keywords, message,
                   never_within, smtp_source, swaks, wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
NOBODY = "nobody@example.org"


OURS = re.compile(rb"(?:Authentication-Results: mx\.spurn\.test;|Spurn-Mark: |Spurn-Notice: |X-Auto-Response-Suppress: )"
                  rb".*?\r\n(?![ \t])", re.DOTALL)


def split_trace(octets):
    """(our Received field unfolded, everything below what we add) of a message as a backend got it."""
    match = re.match(rb"Received: (?:.*?)\r\n(?![ \t])", octets, re.DOTALL)
    assert match, f"no Received field on top: {octets[:200]!r}"
    end = match.end()
    while ours := OURS.match(octets, end):
        end = ours.end()
    return re.sub(rb"\r\n[ \t]+", b" ", match.group(0)).decode().strip(), octets[end:]


# ---- the message -------------------------------------------------------------------------

MESSAGES = {
    "plain": message(),
    "dots": message(body=b".\r\n..\r\n.leading\r\nend.\r\n.\r\n"),
    "empty body": message(body=b""),
    "no header": b"\r\nJust a body.\r\n",
    "header without end": b"Subject: no empty line\r\n",
    "odd fields": message(extra=b"X-Odd :\ta \r\nx-folded: a\r\n \r\n\tb\r\nBcc:\r\n"),
    "no colon": b"Subject: x\r\nthis is no field\r\n\r\nbody\r\n",
    "latin-1": message(body="caf\xe9 \xff\xfe\r\n".encode("latin-1")),
    "long line": message(body=b"x" * 5000 + b"\r\n"),
    "empty lines": message(body=b"\r\n" * 50),
    "spaces": message(body=b" \t \r\n trailing \t\r\n"),
    "controls": message(body=bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n"),
    "signed": message(extra=b"DKIM-Signature: v=1; a=rsa-sha256; d=client.example.net;\r\n\tb=abc=\r\n"),
    "big": message(body=b"0123456789abcdef" * 60 + b"\r\n" + (b"x" * 70 + b"\r\n") * 30000),
}


@pytest.mark.parametrize("name, bytewise", [(name, bytewise) for name in MESSAGES for bytewise in (False, True)
                                            if name != "big" or not bytewise])
def test_message_is_relayed_octet_by_octet(spurn, backend, name, bytewise):
    text = MESSAGES[name]
    with spurn.session(bytewise=bytewise) as c:
        reply = c.deliver(SENDER, [ALICE], text)
        c.quit()
    [mail] = backend.wait_for(1)
    trace, below = split_trace(mail.octets)
    assert below == text
    assert mail.sender == SENDER and mail.recipients == [ALICE]
    assert f"id {reply.ref}" in trace


def test_white_space_at_the_beginning_is_no_part_of_our_fields(spurn, backend):
    text = b" first line\r\nSubject: x\r\n\r\nbody\r\n"
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
    [mail] = backend.wait_for(1)
    _, below = split_trace(mail.octets)
    assert below == b"\r\n" + text


def test_received_field_tells_the_hop(spurn, backend):
    with spurn.session() as c:
        reply = c.deliver(SENDER, [ALICE], message())
    [mail] = backend.wait_for(1)
    trace, _ = split_trace(mail.octets)
    assert trace.startswith("Received: from client.example.net (")
    assert "[127.0.0.1])" in trace
    assert re.search(rf" by mx\.spurn\.test \(Spurn\) with ESMTP id {reply.ref} for <{ALICE}>; ", trace)
    stamp = email.utils.parsedate_to_datetime(trace.rpartition(";")[2].strip())
    assert abs(stamp.timestamp() - time.time()) < 120


def test_received_field_does_not_tell_recipients_to_each_other(spurn, backend):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE, BOB], message())
    [mail] = backend.wait_for(1)
    trace, _ = split_trace(mail.octets)
    assert "alice" not in trace and "bob" not in trace


def test_helo_says_smtp(spurn, backend):
    with spurn.dialogue() as c:
        c.greet(verb="HELO")
        c.deliver(SENDER, [ALICE], message())
    trace, _ = split_trace(backend.wait_for(1)[0].octets)
    assert " with SMTP id " in trace


def test_forged_marks_are_removed_and_nothing_else(spurn, backend):
    forged = (b"Spurn-Notice: bounce; proof=proven\r\nspurn-mark: x\r\n"
              b"Authentication-Results: mx.spurn.test; spf=pass\r\n\tsmtp.mailfrom=example.com\r\n")
    kept = b"Authentication-Results: mx.elsewhere.test; spf=pass\r\nX-Spurn: no\r\n"
    text = message(extra=forged + kept, body=b".dot\r\nbody\r\n")
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
    _, below = split_trace(backend.wait_for(1)[0].octets)
    assert below == text.replace(forged, b"")


def test_tls_is_told_in_trace_and_record(backend, dns, certificate):
    with Spurn(backend.url, dns=dns, tls=certificate) as spurn, spurn.session() as c:
        assert "STARTTLS" in keywords(c.ehlo)
        version = c.starttls()
        c.command("MAIL FROM:<>", 503)  # all that was said is forgotten, EHLO too
        assert "STARTTLS" not in keywords(c.command("EHLO client.example.net", 250))
        ref = c.deliver(SENDER, [ALICE], message()).ref
        trace, _ = split_trace(backend.wait_for(1)[0].octets)
        assert f" with ESMTPS id {ref}" in trace and version.replace("v", "") in trace.replace("v", "")
        assert spurn.record(ref)["client"]["tls"] == version


# ---- the record --------------------------------------------------------------------------


def test_record_of_a_delivery(spurn, backend):
    text = message(message_id="<one@client.example.net>")
    with spurn.session() as c:
        ref = c.deliver(SENDER, [ALICE], text).ref
        c.quit()
    record = spurn.record(ref)
    assert record["node"] == "mx.spurn.test" and record["listener"] == "inbound"
    assert record["client"]["ip"] == "127.0.0.1" and record["client"]["helo"] == "client.example.net"
    assert record["mail_from"] == SENDER
    [recipient] = record["rcpt"]
    assert recipient["address"] == ALICE and recipient["code"] == 250
    assert record["message"]["id"] == "<one@client.example.net>"
    assert record["message"]["size"] == len(text) and len(record["message"]["body_sha256"]) == 64
    assert record["disposition"] == "accept"
    assert record["reply"]["code"] == 250 and isinstance(record["reply"]["number"], int)
    assert record["backend"]["address"] == backend.url and "250" in str(record["backend"]["reply"])
    assert set(record["times"]) >= {"connect", "mail", "rcpt", "data", "scan", "relay", "total"}
    for finding in record["findings"]:
        assert {"check", "result", "reason", "mode", "cost_us"} <= set(finding)
    assert "A test" not in str(record), "subjects are not recorded"


def test_every_transaction_has_exactly_one_record(spurn):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
        c.transaction(SENDER, [ALICE])
        c.command("RSET", 250)
        c.transaction(SENDER, [ALICE])
        c.command("EHLO again.example.net", 250)
        c.deliver(SENDER, [ALICE, BOB], message())
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.quit()
    with spurn.session() as c:
        c.command("NOOP", 250)
    wait_until(lambda: len(spurn.journal()) >= 6, 5, "six records")
    never_within(lambda: len(spurn.journal()) > 6, 0.3, "a seventh record")
    records = spurn.journal()
    assert len({record["ref"] for record in records if record["ref"]}) >= 5
    assert sum(record.get("disposition") == "accept" for record in records) == 2


# ---- real servers ------------------------------------------------------------------------

BACKENDS = {
    "postfix": (PostfixBackend, "url"),
    "exim": (EximBackend, "url"),
    "opensmtpd": (OpenSmtpdBackend, "url"),
    "dovecot-tcp": (DovecotLmtp, "url"),
    "dovecot-unix": (DovecotLmtp, "socket_url"),
}


@pytest.mark.parametrize("backend_name", BACKENDS)
@pytest.mark.parametrize("client_kind", [PostfixClient, EximClient])
def test_real_client_through_spurn_to_real_backend(dns, client_kind, backend_name):
    kind, url = BACKENDS[backend_name]
    text = message(body=b"Line one.\r\n.dotted\r\nlast\r\n")
    with kind() as backend, Spurn(getattr(backend, url), dns=dns) as spurn, client_kind(spurn.port) as client:
        client.send(SENDER, [ALICE, BOB], text)
        backend.wait_for(2)
        for user in ("alice", "bob"):
            [delivered] = backend.messages(user)
            assert delivered.endswith(text.replace(b"\r\n", b"\n"))
            assert b"by mx.spurn.test (Spurn)" in delivered
        client.send(SENDER, [NOBODY], message())
        bounce = client.wait_bounce()  # written by the client's own server
        assert b"550" in bounce and b"5.1.1" in bounce and re.search(rb"ref=[0-9A-Z]{10}", bounce)
        client.wait_empty()
        assert len(client.bounces()) == 1
        assert backend.messages("carol") == []


def test_swaks_good_and_bad(dns):
    with PostfixBackend() as backend, Spurn(backend.url, dns=dns) as spurn:
        transcript, status = swaks(spurn.port)
        assert status == 0, transcript
        backend.wait_for(1)
        transcript, status = swaks(spurn.port, to=NOBODY)
        assert status == 24, transcript
        assert re.search(r"550 5\.1\.1 .*ref=[0-9A-Z]{10}", transcript)


def test_swaks_with_tls_and_pipelining(backend, dns, certificate):
    with Spurn(backend.url, dns=dns, tls=certificate) as spurn:
        transcript, status = swaks(spurn.port, "-tls", "--pipeline")
        assert status == 0, transcript
        [mail] = backend.wait_for(1)
        assert b"with ESMTPS" in mail.octets


@pytest.mark.parametrize("options", [[], ["-d"]], ids=["a connection each", "kept connections"])
def test_smtp_source_loses_and_doubles_nothing(dns, options):
    with SmtpSink() as sink, Spurn(f"smtp://127.0.0.1:{sink.port}", dns=dns, workers=2) as spurn:
        output, status = smtp_source(spurn.port, messages=300, sessions=15, size=4096, options=options)
        assert status == 0, output
        assert len(sink.wait_for(300)) == 300
        records = spurn.wait_records(300)
        assert len(records) == 300
        assert all(record["disposition"] == "accept" for record in records)


def test_backend_log_shows_the_real_client(dns):
    with PostfixBackend() as backend, Spurn(backend.url, dns=dns) as spurn:
        with spurn.session(source="127.0.0.9") as c:
            c.deliver(SENDER, [ALICE], message())
        backend.wait_for(1)
        wait_until(lambda: re.search(r"client=\S*\[127\.0\.0\.9\]", backend.log()), 5, "the client in Postfix's log")


def test_client_is_presented_anew_on_a_kept_connection(backend, dns):
    backend.extensions.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
    with Spurn(backend.url, dns=dns) as spurn:
        addresses = [f"127.0.0.{i}" for i in range(2, 8)]
        for address in addresses:
            with spurn.session(source=address) as c:
                c.deliver(SENDER, [ALICE], message())
                c.quit()
    mails = backend.wait_for(len(addresses))
    assert len({mail.session for mail in mails}) <= 2, "connections are kept"
    assert [mail.xforward["ADDR"] for mail in mails] == addresses
    assert {mail.xforward["HELO"] for mail in mails} == {"client.example.net"}


# ---- PIPELINING --------------------------------------------------------------------------


def test_pipelined_group_is_answered_in_order(spurn, backend):
    backend.recipients[NOBODY] = "550 5.1.1 no such user"
    with spurn.session() as c:
        c.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{ALICE}>\r\nRCPT TO:<{NOBODY}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n".encode())
        assert [c.reply().code for _ in range(5)] == [250, 250, 550, 250, 354]
        c.send(message() + b".\r\nQUIT\r\n")
        assert [c.reply().code for _ in range(2)] == [250, 221]
        c.expect_closed()
    assert backend.wait_for(1)[0].recipients == [ALICE, BOB]


def test_pipelined_data_without_recipients_is_no_354(spurn, backend):
    backend.on("RCPT", "550 5.1.1 no such user")
    with spurn.session() as c:
        c.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{NOBODY}>\r\nDATA\r\nNOOP\r\n".encode())
        assert [c.reply().code for _ in range(4)] == [250, 550, 554, 250]
    assert not backend.received


def test_several_transactions_in_one_segment(spurn, backend):
    one = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{ALICE}>\r\nBDAT %d LAST\r\n".encode()
    texts = [message(subject=f"number {i}") for i in range(5)]
    with spurn.session() as c:
        c.send(b"".join(one % len(text) + text for text in texts) + b"QUIT\r\n")
        codes = [c.reply().code for _ in range(16)]
        assert codes == [250] * 15 + [221]
    assert [split_trace(mail.octets)[1] for mail in backend.wait_for(5)] == texts


# ---- CHUNKING ----------------------------------------------------------------------------


def send_chunks(c, chunks, last=True):
    """BDAT by BDAT; returns the last reply."""
    for i, chunk in enumerate(chunks):
        mark = " LAST" if last and i == len(chunks) - 1 else ""
        c.send(f"BDAT {len(chunk)}{mark}\r\n".encode() + chunk)
        reply = c.reply()
    return reply


CHUNKED = message(body=b".\r\n..x\r\nbody\r\n.\r\nend\r\n")


@pytest.mark.parametrize("size", [1, 2, 7, 100, 100000])
def test_chunks_of_any_size_make_the_same_message(spurn, backend, size):
    chunks = [CHUNKED[i:i + size] for i in range(0, len(CHUNKED), size)]
    with spurn.session() as c:
        assert "CHUNKING" in keywords(c.ehlo) and "BINARYMIME" not in keywords(c.ehlo)
        c.transaction(SENDER, [ALICE])
        assert send_chunks(c, chunks).code == 250
    assert split_trace(backend.wait_for(1)[0].octets)[1] == CHUNKED


def test_empty_last_chunk(spurn, backend):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        assert send_chunks(c, [CHUNKED, b""]).code == 250
    assert split_trace(backend.wait_for(1)[0].octets)[1] == CHUNKED


def test_chunk_without_final_newline_gets_one(spurn, backend):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        assert send_chunks(c, [CHUNKED[:-2]]).code == 250
    assert split_trace(backend.wait_for(1)[0].octets)[1] == CHUNKED


def test_refused_chunk_is_drained(spurn, backend):
    smuggled = b"MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\n"
    backend.on("RCPT", "550 5.1.1 no such user", times=1)
    with spurn.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command(f"RCPT TO:<{NOBODY}>", 550)
        c.send(b"BDAT %d LAST\r\n" % len(smuggled) + smuggled)
        c.expect("5xx")
        c.send(b"BDAT %d\r\n" % len(smuggled) + smuggled + b"NOOP\r\n")
        c.expect("5xx")
        c.expect(250)
        c.command("RSET", 250)
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(1)) == 1


def test_chunks_and_data_are_not_mixed(spurn):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.send(b"BDAT 3\r\nabc")
        c.expect(250)
        c.command("DATA", 503)
        c.command(f"MAIL FROM:<{SENDER}>", 503)
        c.command("RSET", 250)
        c.deliver(SENDER, [ALICE], message())


def test_bare_newline_in_chunks_is_refused(spurn, backend):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = send_chunks(c, [b"Subject: x\r\n\r\nbare\n.\r\n", b"more\r\n"])
        assert (reply.code, reply.enhanced) == (550, "5.6.11")
        c.command("NOOP", 250)
    assert not backend.received


# ---- SIZE, 8BITMIME, SMTPUTF8, DSN -------------------------------------------------------


def test_size_is_the_listeners_own(backend, dns):
    with Spurn(backend.url, dns=dns, listener={"size-limit": "20k"}) as spurn, spurn.session() as c:
        assert keywords(c.ehlo)["SIZE"] == "20480"
        reply = c.command(f"MAIL FROM:<{SENDER}> SIZE=20481", 552)
        assert reply.enhanced == "5.3.4"
        c.transaction(SENDER, [ALICE], "SIZE=20480")
        reply = c.data(message(body=b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 300), 552)
        assert reply.enhanced == "5.3.4" and reply.ref
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(1)) == 1 and len(backend.received) == 1


def test_smaller_size_of_the_backend_is_told_at_rcpt(dns):
    with PostfixBackend(message_size_limit="30000") as backend, Spurn(backend.url, dns=dns) as spurn:
        with spurn.session() as c:
            assert int(keywords(c.ehlo)["SIZE"]) == 50 * 1024 * 1024
            c.deliver(SENDER, [ALICE], message())  # by now the backend's EHLO is known
            c.command(f"MAIL FROM:<{SENDER}> SIZE=30001", 250)
            reply = c.command(f"RCPT TO:<{ALICE}>", 552)
            assert reply.enhanced == "5.3.4" and reply.ref


def learn_backend(spurn):
    """A transaction by which Spurn gets to know what its backends offer."""
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
        c.quit()


def offers_with(extensions, dns, act):
    """act(spurn, backend) with a backend that offers these extensions, once Spurn knows it."""
    with FakeBackend(extensions=extensions) as backend, Spurn(backend.url, dns=dns) as spurn:
        learn_backend(spurn)
        act(spurn, backend)
        assert not backend.violations


def test_eight_bit_mime_is_passed_on(dns):
    def act(spurn, backend):
        with spurn.session() as c:
            assert "8BITMIME" in keywords(c.ehlo)
            c.transaction(SENDER, [ALICE], "BODY=8BITMIME")
            c.data("Subject: x\r\n\r\ncaf\xe9\r\n".encode(), 250)
        assert "BODY=8BITMIME" in backend.wait_for(2)[1].parameters

    offers_with(["PIPELINING", "8BITMIME"], dns, act)


def test_extensions_that_no_backend_has_are_not_offered(dns):
    def act(spurn, _):
        def offered():
            with spurn.session() as c:
                return keywords(c.ehlo)
        wait_until(lambda: "8BITMIME" not in offered(), 5, "EHLO without 8BITMIME")
        for word in ("SMTPUTF8", "DSN", "8BITMIME"):
            assert word not in offered()
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}> SMTPUTF8", 555)

    offers_with(["PIPELINING"], dns, act)


def test_smtputf8_reaches_a_backend_that_has_it(dns):
    def act(spurn, backend):
        with spurn.session() as c:
            assert "SMTPUTF8" in keywords(c.ehlo)
            c.transaction("b\u00fccher@client.example.net", ["al\u00efce@example.org"], "SMTPUTF8")
            c.data("Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n".encode(), 250)
        mail = backend.wait_for(2)[1]
        assert "SMTPUTF8" in mail.parameters and mail.recipients == ["al\u00efce@example.org"]
        assert "with UTF8SMTP" in split_trace(mail.octets)[0]

    offers_with(["PIPELINING", "8BITMIME", "SMTPUTF8"], dns, act)


def test_smtputf8_is_refused_for_the_backend_that_lacks_it(dns):
    with FakeBackend() as able, FakeBackend(extensions=["PIPELINING", "8BITMIME"]) as unable:
        domains = {"example.org": f"backend {unable.url}; recipients callforward;",
                   "other.example.org": f"backend {able.url}; recipients callforward;"}
        with Spurn(domains=domains, dns=dns) as spurn:
            with spurn.session() as c:
                c.deliver(SENDER, [ALICE], message())
                c.deliver(SENDER, ["alice@other.example.org"], message())
                c.quit()
            time.sleep(1.1)  # what backends offer is looked up once a second
            with spurn.session() as c:
                assert "SMTPUTF8" in keywords(c.ehlo), "some backend has it"
                assert "DSN" not in keywords(c.ehlo), "not every backend has it"
                c.command(f"MAIL FROM:<{SENDER}> SMTPUTF8", 250)
                reply = c.command(f"RCPT TO:<{ALICE}>", 553)
                assert reply.enhanced == "5.6.7" and reply.ref
                c.command("RCPT TO:<alice@other.example.org>", 250)


def test_dsn_parameters_are_passed_on(dns):
    def act(spurn, backend):
        with spurn.session() as c:
            assert "DSN" in keywords(c.ehlo)
            c.command(f"MAIL FROM:<{SENDER}> RET=HDRS ENVID=QQ314159", 250)
            c.command(f"RCPT TO:<{ALICE}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@example.com", 250)
            c.data(message(), 250)
        assert "RET=HDRS" in backend.seen("MAIL")[-1].argument and "ENVID=QQ314159" in backend.seen("MAIL")[-1].argument
        rcpt = backend.seen("RCPT")[-1].argument
        assert "NOTIFY=SUCCESS,FAILURE" in rcpt and "ORCPT=rfc822;Bob@example.com" in rcpt

    offers_with(["PIPELINING", "DSN"], dns, act)


def test_limits_are_told(backend, dns):
    with Spurn(backend.url, dns=dns, listener={"max-recipients": "7", "max-transactions": "9"}) as spurn:
        with spurn.session() as c:
            told = keywords(c.ehlo)
            assert "RCPTMAX=7" in told["LIMITS"] and "MAILMAX=9" in told["LIMITS"]
            assert "ENHANCEDSTATUSCODES" in told and "PIPELINING" in told


def test_backend_without_pipelining_gets_one_command_at_a_time(dns):
    with FakeBackend(extensions=[]) as backend, Spurn(backend.url, dns=dns) as spurn, spurn.session() as c:
        c.deliver(SENDER, [ALICE, BOB], message())
        assert backend.wait_for(1)[0].recipients == [ALICE, BOB]
        assert not backend.violations


def test_backend_that_knows_only_helo(dns):
    with FakeBackend() as backend:
        backend.on("EHLO", "502 5.5.1 what is that?")
        with Spurn(backend.url, dns=dns) as spurn, spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        assert backend.seen("HELO") and len(backend.wait_for(1)) == 1
        assert not backend.violations


# ---- TLS to the backend ------------------------------------------------------------------


@pytest.mark.parametrize("mode, secure", [("opportunistic", True), ("none", False)])
def test_tls_to_the_backend(dns, certificate, mode, secure):
    with FakeBackend(tls=certificate) as backend:
        with Spurn(f"{backend.url} tls={mode}", dns=dns) as spurn, spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        assert backend.wait_for(1)[0].tls is secure


def test_verified_tls_to_the_backend(dns, certificate):
    dns.a("mx.spurn.test", "127.0.0.1")
    with FakeBackend(tls=certificate) as backend:
        domain = (f"backend smtp://mx.spurn.test:{backend.port} tls=verify; backend-ca {certificate[0]}; "
                  "recipients callforward;")
        with Spurn(domains={"example.org": domain}, dns=dns) as spurn, spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        assert backend.wait_for(1)[0].tls


@pytest.mark.parametrize("case", ["wrong name", "unknown authority", "no STARTTLS"])
def test_tls_that_must_be_verified_and_cannot_is_4xx(dns, certificate, case):
    tls = None if case == "no STARTTLS" else certificate
    host = "127.0.0.1" if case == "wrong name" else "mx.spurn.test"
    authority = "" if case == "unknown authority" else f"backend-ca {certificate[0]};"
    dns.a("mx.spurn.test", "127.0.0.1")
    with FakeBackend(tls=tls) as backend:
        domain = f"backend smtp://{host}:{backend.port} tls=verify; {authority} recipients callforward;"
        with Spurn(domains={"example.org": domain}, dns=dns) as spurn, spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{ALICE}>", "4xx")
        assert not backend.seen("MAIL")


# ---- warm connections, slow clients, several hosts ---------------------------------------


def test_backend_connection_is_kept(spurn, backend):
    for _ in range(6):
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
            c.quit()
    # Two at most: the one by which Spurn learnt what the backend offers may have been busy at first.
    assert len({mail.session for mail in backend.wait_for(6)}) <= 2


def test_slow_body_does_not_hold_the_backend(backend, dns):
    with Spurn(backend.url, dns=dns, top="hold-backend 200ms;") as spurn, spurn.session() as c:
        c.transaction(SENDER, [ALICE, BOB])
        c.command("DATA", 354)
        c.send(b"Subject: slow\r\n")
        backend.wait_command("RSET")
        with spurn.session() as other:
            other.deliver(SENDER, [CAROL], message())
        c.send(b"\r\nbody\r\n.\r\n")
        c.expect(250)
    mails = backend.wait_for(2)
    assert mails[1].recipients == [ALICE, BOB] and mails[1].octets.endswith(b"Subject: slow\r\n\r\nbody\r\n")


def test_recipient_gone_when_the_envelope_is_replayed(backend, dns):
    with Spurn(backend.url, dns=dns, top="hold-backend 100ms;") as spurn, spurn.session() as c:
        c.transaction(SENDER, [ALICE, BOB])
        c.command("DATA", 354)
        backend.wait_command("RSET")
        backend.recipients[BOB] = "550 5.1.1 gone meanwhile"
        c.send(dot_stuffed(message()) + b".\r\n")
        assert c.expect("4xx").enhanced == "4.3.0"
    assert backend.wait_for(1)[0].recipients == [ALICE]


def test_second_host_takes_over(dns):
    with FakeBackend() as backend:
        url = f"smtp://127.0.0.1:{free_port()} {backend.url}"
        with Spurn(url, dns=dns) as spurn, spurn.session() as c:
            ref = c.deliver(SENDER, [ALICE], message()).ref
            assert spurn.record(ref)["backend"]["address"] == backend.url
        assert len(backend.wait_for(1)) == 1


def test_slow_backend_is_waited_for(spurn, backend):
    backend.on("DOT", Later(2.5, "250 2.0.0 Ok at last"))
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
        c.quit()
    assert len(backend.wait_for(1)) == 1


# ---- addresses ---------------------------------------------------------------------------


def test_sub_address_is_looked_up_without_and_relayed_with_its_tag(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("alice@example.org\n")
    recipients = f'recipients file {users}; sub-address "+";'
    with Spurn(backend.url, dns=dns, recipients=recipients) as spurn, spurn.session() as c:
        c.deliver(SENDER, ["Alice+News@EXAMPLE.org"], message())
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command("RCPT TO:<bob+alice@example.org>", 550)
    assert [r.split("@")[0] for r in backend.wait_for(1)[0].recipients] == ["Alice+News"]


def test_postmaster_always_exists(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("alice@example.org\n")
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn, spurn.session() as c:
        c.deliver("", ["Postmaster"], message())
        c.deliver("", ["postmaster@example.org"], message())
    assert [mail.recipients for mail in backend.wait_for(2)] == [["postmaster@example.org"]] * 2


def test_null_sender_is_nothing_special(spurn, backend):
    with spurn.session() as c:
        c.deliver("", [ALICE], message())
    assert backend.wait_for(1)[0].sender == ""


# ---- replies for each recipient ----------------------------------------------------------


def test_dovecot_full_mailbox_alone_is_refused(dns):
    with DovecotLmtp(full=["dave"]) as dovecot, Spurn(dovecot.url, dns=dns) as spurn, spurn.session() as c:
        reply = c.deliver(SENDER, ["dave@example.org"], message(), 552)
        assert reply.enhanced == "5.2.2" and reply.ref
        assert "dovecot" not in reply.text.lower()


def test_mixed_outcome_comes_back_alone_and_nobody_gets_it_twice(dns):
    text = message()
    with DovecotLmtp(full=["dave"]) as dovecot, Spurn(dovecot.url, dns=dns) as spurn:
        with spurn.session() as c:
            assert c.deliver(SENDER, [ALICE, "dave@example.org"], text, 451).enhanced == "4.3.0"
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{ALICE}>", 250)
            reply = c.command("RCPT TO:<dave@example.org>", 452)
            assert reply.enhanced == "4.5.3"
            c.data(text, 250)
            assert c.deliver(SENDER, ["dave@example.org"], text, 552).enhanced == "5.2.2"
        assert len(dovecot.messages("alice")) == 1 and dovecot.messages("dave") == []


@pytest.mark.parametrize("client_kind", [PostfixClient, EximClient])
def test_real_client_sorts_a_mixed_outcome_out(dns, client_kind):
    with DovecotLmtp(full=["dave"]) as dovecot, Spurn(dovecot.url, dns=dns) as spurn:
        with client_kind(spurn.port) as client:
            client.send(SENDER, [ALICE, "dave@example.org", BOB], message())
            assert b"552" in client.wait_bounce()
            client.wait_empty()
            assert len(client.bounces()) == 1
        assert len(dovecot.messages("alice")) == len(dovecot.messages("bob")) == 1


def test_lmtp_over_unix_socket_with_replies_per_recipient(dns, public_dir):
    public_dir.chmod(0o777)
    path = str(public_dir / "lmtp.sock")
    with FakeBackend(protocol="lmtp", path=path) as backend:
        (public_dir / "lmtp.sock").chmod(0o666)
        with Spurn(backend.url, dns=dns) as spurn, spurn.session() as c:
            c.deliver(SENDER, [ALICE, BOB], message())
        assert backend.wait_for(1)[0].recipients == [ALICE, BOB]
        assert not backend.violations


# ---- the ledger --------------------------------------------------------------------------


def test_retry_after_a_lost_answer_does_not_double(spurn, backend):
    text = message()
    backend.on("DOT", Later(0.5, "250 2.0.0 Ok"), times=1)
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(dot_stuffed(text) + b".\r\n")
        wait_until(lambda: backend.received, 5, "the dot at the backend")
        c.abort()
    wait_until(lambda: len(spurn.transactions()) == 1, 10, "the record of the first try")
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
        c.quit()
    never_within(lambda: len(backend.messages) > 1, 0.5, "a double")


def test_retry_after_a_heard_answer_is_a_new_message(spurn, backend):
    text = message()
    for _ in range(2):
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], text)
            c.quit()
    assert len(backend.wait_for(2)) == 2


def test_same_message_in_two_sessions_at_once(spurn, backend):
    text = message()
    backend.on("DOT", Later(1.0, "250 2.0.0 Ok"), times=1)
    with spurn.session() as first, spurn.session() as second:
        first.transaction(SENDER, [ALICE])
        first.command("DATA", 354)
        first.send(dot_stuffed(text) + b".\r\n")
        wait_until(lambda: backend.received, 5, "the dot at the backend")
        second.deliver(SENDER, [ALICE], text, 451)
        first.expect(250)
    assert len(backend.received) == 1


def test_message_without_id_and_date_is_never_answered_from_the_ledger(spurn, backend):
    text = b"From: <a@client.example.net>\r\nSubject: the same\r\n\r\nthe same\r\n"
    backend.on("DOT", Later(0.3, "250 2.0.0 Ok"), times=1)
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(text + b".\r\n")
        wait_until(lambda: backend.received, 5, "the dot at the backend")
        c.abort()
    backend.wait_for(1)
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
    assert len(backend.wait_for(2)) == 2


# ---- two domains -------------------------------------------------------------------------


def test_domains_with_different_backends_do_not_share_a_transaction(dns):
    with FakeBackend() as one, FakeBackend() as two:
        domains = {"example.org": f"backend {one.url}; recipients callforward;",
                   "other.example.org": f"backend {two.url}; recipients callforward;"}
        with Spurn(domains=domains, dns=dns) as spurn, spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{ALICE}>", 250)
            reply = c.command("RCPT TO:<alice@other.example.org>", 452)
            assert reply.enhanced == "4.5.3"
            c.data(message(), 250)
            c.deliver(SENDER, ["alice@other.example.org"], message())
        assert len(one.wait_for(1)) == len(two.wait_for(1)) == 1


def test_domains_with_the_same_backend_share_a_transaction(dns):
    with FakeBackend() as one:
        text = f"backend {one.url}; recipients callforward;"
        with Spurn(domains={"example.org": text, "other.example.org": text}, dns=dns) as spurn, spurn.session() as c:
            c.deliver(SENDER, [ALICE, "alice@other.example.org"], message())
        assert one.wait_for(1)[0].recipients == [ALICE, "alice@other.example.org"]


@pytest.mark.parametrize("client_kind", [PostfixClient, EximClient])
def test_real_client_reaches_both_backends(dns, client_kind):
    with PostfixBackend() as one, DovecotLmtp(domain="other.example.org") as two:
        domains = {"example.org": f"backend {one.url}; recipients callforward;",
                   "other.example.org": f"backend {two.url}; recipients callforward;"}
        with Spurn(domains=domains, dns=dns) as spurn, client_kind(spurn.port) as client:
            client.send(SENDER, [ALICE, "bob@other.example.org", CAROL], message())
            client.until(lambda: one.messages("alice") and one.messages("carol") and two.messages("bob"), 25,
                         "the message at both backends")
            client.wait_empty()
            assert [len(one.messages("alice")), len(one.messages("carol")), len(two.messages("bob"))] == [1, 1, 1]
            assert client.bounces() == []


# ---- octet by octet ----------------------------------------------------------------------


def test_dialogue_octet_by_octet_with_a_bytewise_backend(spurn, backend):
    backend.on("CONNECT", Bytewise("220 slow.example.org"))
    backend.on("EHLO", Bytewise("250 slow.example.org\nPIPELINING\n8BITMIME"))
    backend.on("RCPT", Bytewise("250 2.1.5 Ok\nindeed"))
    backend.on("DOT", Bytewise("250 2.0.0 Ok"))
    with Smtp(spurn.port, bytewise=True) as c:
        c.greet()
        c.deliver(SENDER, [ALICE], message())
        c.quit()
    assert len(backend.wait_for(1)) == 1
