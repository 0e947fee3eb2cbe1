"""Every "no" is said while the sender is on the line, with a code and a reference; and trouble is never a "no"."""

import csv
import os
import re
import socket
import time

import pytest

from peers import (CLIENT_DOMAIN, DnsServer, DROP, FakeBackend, OpenSmtpdBackend, PostfixBackend, SERVFAIL,
                   Spurn, message, never_within, proxy_v1, wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB = "alice@example.org", "bob@example.org"
NOBODY = "nobody@example.org"


def ask_rcpt(spurn, sender=SENDER, recipient=ALICE, **keywords):
    """The reply to RCPT in a session of its own; MAIL must be taken."""
    with spurn.session(**keywords) as c:
        c.command(f"MAIL FROM:<{sender}>", 250)
        reply = c.command(f"RCPT TO:<{recipient}>")
        c.command("QUIT", 221)
        return reply


def assert_refused(spurn, reply, code, enhanced, check=None):
    """A refusal with code, enhanced code and reference; the record has the finding. Returns the record."""
    assert (reply.code, reply.enhanced) == (code, enhanced), reply
    assert reply.ref, reply
    record = spurn.record(reply.ref)
    if check is not None:
        assert check in [finding["check"] for finding in record["findings"]], record["findings"]
    return record


@pytest.fixture
def own_dns():
    """A DNS server for one test alone."""
    with DnsServer(ttl=1) as server:
        server.mail_domain(CLIENT_DOMAIN)
        yield server


# ---- recipients --------------------------------------------------------------------------


def test_unknown_recipient_is_refused_at_rcpt(spurn, backend):
    backend.recipients[NOBODY] = "550 5.1.1 <nobody>: User unknown in secret-table"
    with spurn.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        reply = c.command(f"RCPT TO:<{NOBODY}>")
        c.command("DATA", 554)
        c.quit()
    record = assert_refused(spurn, reply, 550, "5.1.1", "recipient")
    assert "secret-table" not in reply.text, "the backend's words are not for strangers"
    [recipient] = record["rcpt"]
    assert recipient["address"] == NOBODY and recipient["code"] == 550 and recipient["enhanced"] == "5.1.1"
    assert "secret-table" in str(record), "but the record has them"
    assert record["disposition"] == "reject"
    assert not backend.received


@pytest.mark.parametrize("kind", [PostfixBackend, OpenSmtpdBackend])
def test_unknown_recipient_of_a_real_backend(dns, kind):
    with kind() as backend, Spurn(backend.url, dns=dns) as spurn:
        assert_refused(spurn, ask_rcpt(spurn, recipient=NOBODY), 550, "5.1.1")
        assert ask_rcpt(spurn).code == 250


def test_unknown_recipient_by_file_alone(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("# who is here\nalice@example.org\n@.dept.example.org\n")
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        assert_refused(spurn, ask_rcpt(spurn, recipient=NOBODY), 550, "5.1.1", "recipient")
        assert ask_rcpt(spurn, recipient="ALICE@Example.ORG").code == 250
    assert [command.argument for command in backend.seen("RCPT") if "nobody" in command.argument] == []


def test_other_domains_are_not_relayed(spurn, backend):
    assert_refused(spurn, ask_rcpt(spurn, recipient="alice@elsewhere.test"), 550, "5.7.1")
    for odd in ("alice%elsewhere.test@example.com", "@example.org:alice@elsewhere.test", "alice@[127.0.0.1]",
                "alice@sub.example.org", "alice"):
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{odd}>", "5xx")
    assert not backend.seen("RCPT")


def test_help_url_and_reference_stand_in_the_refusal(backend, dns):
    backend.recipients[NOBODY] = "550 5.1.1 no"
    with Spurn(backend.url, dns=dns, top='help-url "https://why.example.org/?ref=";') as spurn:
        reply = ask_rcpt(spurn, recipient=NOBODY)
        assert "https://why.example.org/?ref=" + reply.ref in reply.text.replace("\n", "")


@pytest.mark.parametrize("said, told", [
    ("452 4.2.2 over quota", (452, "4.2.2")), ("552 5.2.2 over quota", (552, "5.2.2")),
    ("550 5.2.1 disabled", (550, "5.2.1")), ("550 5.7.1 rejected by greylist.lua", (550, "5.7.1")),
    ("450 4.7.1 greylisted by magic", (451, "4.3.0")), ("421 4.3.2 going down", (451, "4.3.0")),
    ("553 5.1.3 bad syntax", (550, "5.1.1")), ("550 no such user", (550, "5.1.1")),
])
def test_backends_answer_in_our_words(spurn, backend, said, told):
    backend.recipients[ALICE] = said
    reply = ask_rcpt(spurn)
    assert (reply.code, reply.enhanced) == told and reply.ref
    assert said.split(" ", 1)[1] not in reply.text
    assert said[4:] in str(spurn.record(reply.ref)["rcpt"])


def test_known_recipient_that_turns_unknown_is_not_believed_at_once(spurn, backend):
    assert ask_rcpt(spurn).code == 250
    backend.recipients[ALICE] = "550 5.1.1 no such user"
    reply = ask_rcpt(spurn)
    assert (reply.code, reply.enhanced) == (450, "4.1.1") and reply.ref
    del backend.recipients[ALICE]
    assert ask_rcpt(spurn).code == 250


def test_negative_answer_is_remembered_and_trouble_is_not(spurn, backend):
    backend.recipients[NOBODY] = "550 5.1.1 no"
    backend.recipients[BOB] = "451 4.3.0 trouble"
    for _ in range(3):
        assert ask_rcpt(spurn, recipient=NOBODY).code == 550
        assert ask_rcpt(spurn, recipient=BOB).code == 451
    asked = [command.argument for command in backend.seen("RCPT")]
    assert sum("nobody" in argument for argument in asked) == 1
    assert sum("bob" in argument for argument in asked) == 3
    del backend.recipients[BOB]
    assert ask_rcpt(spurn, recipient=BOB).code == 250


def test_answer_to_mail_is_never_taken_for_one_about_a_mailbox(spurn, backend):
    backend.on("MAIL", "550 5.1.1 I do not like your sender", times=1)
    first = ask_rcpt(spurn)
    assert first.code >= 400 and first.enhanced != "5.1.1", first
    assert ask_rcpt(spurn).code == 250, "nothing about alice was remembered"


def test_null_sender_gets_the_answers_of_any_other(spurn, backend):
    backend.recipients[NOBODY] = "550 5.1.1 no"
    assert ask_rcpt(spurn, sender="").code == 250
    assert ask_rcpt(spurn, sender="", recipient=NOBODY).code == 550


# ---- DNS lists ---------------------------------------------------------------------------

LISTED, CLEAN = "192.0.2.66", "192.0.2.7"


def from_address(spurn, address, **keywords):
    """The reply to RCPT for a client at some address of the wide world (told by a PROXY header)."""
    return ask_rcpt(spurn, proxy=proxy_v1(address), **keywords)


def spurn_with_lists(backend, dns, lists, **keywords):
    listener = {"proxy-from": "127.0.0.1", **keywords.pop("listener", {})}
    return Spurn(backend.url, dns=dns, top=lists, listener=listener, **keywords)


def healthy(dns, zone, below=2):
    """Waits until the self-test of a zone has asked its questions."""
    wait_until(lambda: dns.count_below(zone) >= below, 10, f"the self-test of {zone}")
    time.sleep(0.2)


def test_listed_client_is_refused_and_a_clean_one_is_not(backend, own_dns):
    own_dns.dnsbl("bl.test", {LISTED: "127.0.0.4"})
    with spurn_with_lists(backend, own_dns, "dnsbl bl.test { weight 3; }") as spurn:
        healthy(own_dns, "bl.test")
        reply = from_address(spurn, LISTED)
        record = assert_refused(spurn, reply, 554, "5.7.1", "dnsbl")
        assert LISTED in reply.text
        [finding] = [f for f in record["findings"] if f["check"] == "dnsbl"]
        assert finding["result"] == "listed" and "bl.test" in str(finding)
        assert record["client"]["ip"] == LISTED
        assert from_address(spurn, CLEAN).code == 250
        assert from_address(spurn, LISTED, recipient="postmaster@example.org").code == 250
        assert from_address(spurn, LISTED, recipient="abuse@example.org").code == 250


def test_listed_ipv6_client(backend, own_dns):
    own_dns.dnsbl("bl.test", {"2001:db8::66": "127.0.0.2"})
    with spurn_with_lists(backend, own_dns, "dnsbl bl.test { weight 3; }") as spurn:
        healthy(own_dns, "bl.test")
        assert from_address(spurn, "2001:db8::66").code == 554
        assert from_address(spurn, "2001:db8::67").code == 250


@pytest.mark.parametrize("answer", ["127.255.255.254", "127.255.255.252", "10.0.0.1", "198.51.100.1", "127.0.1.5"])
def test_error_answers_are_never_listings(backend, own_dns, answer):
    own_dns.dnsbl("bl.test", {LISTED: answer})
    with spurn_with_lists(backend, own_dns, "dnsbl bl.test { answers 127.0.0.2-127.0.0.99; weight 9; }") as spurn:
        healthy(own_dns, "bl.test")
        assert from_address(spurn, LISTED).code == 250


def test_error_answers_are_no_listings_even_inside_the_configured_range(backend, own_dns):
    own_dns.dnsbl("bl.test", {LISTED: "127.255.255.254"})
    with spurn_with_lists(backend, own_dns, "dnsbl bl.test { answers 127.0.0.0/8; weight 9; }") as spurn:
        healthy(own_dns, "bl.test")
        assert from_address(spurn, LISTED).code == 250


def test_zone_that_lists_everybody_is_switched_off(backend, own_dns):
    own_dns.a("*.wild.test", "127.0.0.2")
    with spurn_with_lists(backend, own_dns, "dnsbl wild.test { weight 9; }") as spurn:
        healthy(own_dns, "wild.test")
        assert from_address(spurn, CLEAN).code == 250
        wait_until(lambda: "wild.test" in spurn.stderr(), 5, "a word about the zone in the log")


def test_zone_that_died_is_switched_off(backend, own_dns):
    own_dns.dnsbl("dead.test", {LISTED: "127.0.0.2"}, healthy=False)
    with spurn_with_lists(backend, own_dns, "dnsbl dead.test { weight 9; }") as spurn:
        healthy(own_dns, "dead.test")
        assert from_address(spurn, LISTED).code == 250


@pytest.mark.parametrize("trouble", [SERVFAIL, DROP])
def test_trouble_of_a_list_is_no_finding(backend, own_dns, trouble):
    own_dns.dnsbl("bl.test", {LISTED: "127.0.0.2"}).trouble("66.2.0.192.bl.test", trouble)
    lists = "dnsbl-timeout 500ms; dnsbl bl.test { weight 9; }"
    with spurn_with_lists(backend, own_dns, lists) as spurn:
        healthy(own_dns, "bl.test")
        began = time.monotonic()
        assert from_address(spurn, LISTED).code == 250
        assert time.monotonic() - began < 5


def test_weights_add_up_to_the_threshold_and_allow_lists_take_away(backend, own_dns):
    both, one, excused = "192.0.2.10", "192.0.2.11", "192.0.2.12"
    own_dns.dnsbl("one.test", {both: "127.0.0.2", one: "127.0.0.2", excused: "127.0.0.2"})
    own_dns.dnsbl("two.test", {both: "127.0.0.2", excused: "127.0.0.2"})
    own_dns.dnsbl("white.test", {excused: "127.0.5.1"})
    lists = ("dnsbl-threshold 3; dnsbl one.test { weight 2; } dnsbl two.test { weight 1; }"
             "dnsbl white.test { answers 127.0.0.0/16; weight -2; }")
    with spurn_with_lists(backend, own_dns, lists) as spurn:
        for zone in ("one.test", "two.test", "white.test"):
            healthy(own_dns, zone)
        assert from_address(spurn, both).code == 554
        assert from_address(spurn, one).code == 250
        assert from_address(spurn, excused).code == 250


def test_list_of_domains(backend, own_dns):
    own_dns.mail_domain("bad.example.com").mail_domain("helo.example.com")
    own_dns.domain_list("dbl.test", {"bad.example.com": "127.0.1.2", "helo.example.com": "127.0.1.3"})
    lists = "dnsbl dbl.test { answers 127.0.1.2-127.0.1.99 127.0.0.2; weight 3; key sender-domain helo; }"
    with spurn_with_lists(backend, own_dns, lists) as spurn:
        healthy(own_dns, "dbl.test")
        assert from_address(spurn, CLEAN, sender="x@bad.example.com").code == 554
        assert from_address(spurn, CLEAN).code == 250


def test_access_key_of_a_paid_list_is_never_shown(backend, own_dns):
    own_dns.dnsbl("s3cr3tk3y.paid.test", {LISTED: "127.0.0.2"})
    with spurn_with_lists(backend, own_dns, "dnsbl s3cr3tk3y.paid.test { weight 3; label paid; }") as spurn:
        healthy(own_dns, "s3cr3tk3y.paid.test")
        reply = from_address(spurn, LISTED)
        record = assert_refused(spurn, reply, 554, "5.7.1", "dnsbl")
        assert "s3cr3tk3y" not in reply.text and "s3cr3tk3y" not in str(record)
        assert "s3cr3tk3y" not in spurn.tool("why", reply.ref).stdout.decode()


def test_observe_mode_records_and_refuses_nothing(backend, own_dns):
    own_dns.dnsbl("bl.test", {LISTED: "127.0.0.4"})
    lists = "dnsbl bl.test { weight 3; } check dnsbl { mode observe; }"
    with spurn_with_lists(backend, own_dns, lists) as spurn:
        healthy(own_dns, "bl.test")
        with spurn.session(proxy=proxy_v1(LISTED)) as c:
            ref = c.deliver(SENDER, [ALICE], message()).ref
        [finding] = [f for f in spurn.record(ref)["findings"] if f["check"] == "dnsbl"]
        assert finding["mode"] == "observe" and finding["would"] == "reject"


@pytest.mark.parametrize("who, answer", [("allow", 250), ("trust", 250)])
def test_allowed_client_skips_reputation_but_not_recipients(backend, own_dns, who, answer):
    backend.recipients[NOBODY] = "550 5.1.1 no"
    own_dns.dnsbl("bl.test", {LISTED: "127.0.0.4"})
    lists = f"dnsbl bl.test {{ weight 3; }} clients {{ {who} {LISTED}; }}"
    with spurn_with_lists(backend, own_dns, lists) as spurn:
        healthy(own_dns, "bl.test")
        assert from_address(spurn, LISTED).code == answer
        assert from_address(spurn, LISTED, recipient=NOBODY).code == 550


# ---- the sender's domain -----------------------------------------------------------------


def test_sender_domain_that_does_not_exist(backend, own_dns):
    with Spurn(backend.url, dns=own_dns) as spurn:
        reply = ask_rcpt(spurn, sender="x@missing.example.com")
        assert_refused(spurn, reply, 550, "5.1.8", "sender-domain")
        assert "missing.example.com" in reply.text


def test_sender_domain_with_null_mx(backend, own_dns):
    own_dns.null_mx("silent.example.com").a("silent.example.com", "11.22.33.45")
    with Spurn(backend.url, dns=own_dns) as spurn:
        assert_refused(spurn, ask_rcpt(spurn, sender="x@silent.example.com"), 550, "5.7.27", "sender-domain")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "0.0.0.0", "192.168.1.1"])
def test_sender_domain_whose_mail_hosts_cannot_be_reached(backend, own_dns, address):
    own_dns.mail_domain("inner.example.com", address)
    with Spurn(backend.url, dns=own_dns) as spurn:
        assert_refused(spurn, ask_rcpt(spurn, sender="x@inner.example.com"), 550, "5.1.8", "sender-domain")


def test_sender_domain_without_mx_but_with_an_address(backend, own_dns):
    own_dns.a("plain.example.com", "11.22.33.46").aaaa("six.example.com", "2600::25")
    with Spurn(backend.url, dns=own_dns) as spurn:
        assert ask_rcpt(spurn, sender="x@plain.example.com").code == 250
        assert ask_rcpt(spurn, sender="x@six.example.com").code == 250


@pytest.mark.parametrize("trouble", [SERVFAIL, DROP])
def test_trouble_with_the_sender_domain_is_4xx_and_passes(backend, own_dns, trouble):
    own_dns.mail_domain("shaky.example.com").trouble("shaky.example.com", trouble, subtree=True)
    with Spurn(backend.url, dns=own_dns, resolver="timeout 1s;") as spurn:
        reply = ask_rcpt(spurn, sender="x@shaky.example.com")
        assert_refused(spurn, reply, 451, "4.4.3", "sender-domain")
        own_dns.trouble("shaky.example.com", None, subtree=True)
        wait_until(lambda: ask_rcpt(spurn, sender="x@shaky.example.com").code == 250, 20, "the domain's recovery")


def test_trouble_with_a_mail_hosts_address_is_no_refusal(backend, own_dns):
    own_dns.mx("half.example.com", "mail.half.example.com").trouble("mail.half.example.com", SERVFAIL)
    with Spurn(backend.url, dns=own_dns) as spurn:
        assert ask_rcpt(spurn, sender="x@half.example.com").code in (250, 451)


def test_sender_domain_check_can_be_observed_per_domain(own_dns):
    with FakeBackend() as fake:
        text = f"backend {fake.url}; recipients callforward;"
        domains = {"example.org": text, "calm.example.org": text + " check sender-domain { mode observe; }"}
        with Spurn(domains=domains, dns=own_dns) as spurn:
            assert ask_rcpt(spurn, sender="x@missing.example.com").code == 550
            assert ask_rcpt(spurn, sender="x@missing.example.com", recipient="a@calm.example.org").code == 250


def test_postmaster_hears_of_a_missing_sender_domain_like_all(backend, own_dns):
    with Spurn(backend.url, dns=own_dns) as spurn:
        assert ask_rcpt(spurn, sender="x@missing.example.com", recipient="postmaster@example.org").code == 550


# ---- local lists -------------------------------------------------------------------------


def test_denied_clients_and_senders(backend, dns, public_dir):
    denied, senders = public_dir / "denied", public_dir / "senders"
    denied.write_text("192.0.2.0/28\n2001:db8:bad::/48\n")
    senders.write_text("@spam.example.com\nworst@example.com\n")
    lists = (f"clients {{ deny 198.51.100.0/24; deny file {denied}; allow 198.51.100.7; }}"
             f"senders {{ deny @.evil.example.com; deny file {senders}; }}")
    dns.mail_domain("spam.example.com").mail_domain("a.evil.example.com")
    with spurn_with_lists(backend, dns, lists) as spurn:
        reply = from_address(spurn, "198.51.100.9")
        assert_refused(spurn, reply, 554, "5.7.1", "client")
        assert from_address(spurn, "192.0.2.3").code == 554
        assert from_address(spurn, "2001:db8:bad::1").code == 554
        assert from_address(spurn, "192.0.2.100").code == 250
        assert from_address(spurn, "198.51.100.7").code == 250, "the exception to the prefix"
        assert_refused(spurn, from_address(spurn, "192.0.2.101", sender="X@Spam.Example.com"), 550, "5.7.1", "sender")
        assert from_address(spurn, "192.0.2.101", sender="worst@example.com").code == 550
        assert from_address(spurn, "192.0.2.101", sender="x@a.evil.example.com").code == 550
        assert from_address(spurn, "192.0.2.101", sender="best@example.com").code == 250


def test_observe_for_the_whole_site_refuses_only_what_cannot_be_taken(backend, dns):
    backend.recipients[NOBODY] = "550 5.1.1 no"
    with spurn_with_lists(backend, dns, "mode observe; clients { deny 192.0.2.0/24; }") as spurn:
        assert from_address(spurn, CLEAN).code == 250
        assert from_address(spurn, CLEAN, recipient=NOBODY).code == 550
        assert from_address(spurn, CLEAN, recipient="x@elsewhere.test").code == 550


def test_tool_turns_refusals_off_and_on(backend, dns):
    with spurn_with_lists(backend, dns, "clients { deny 192.0.2.0/24; }") as spurn:
        assert from_address(spurn, CLEAN).code == 554
        done = spurn.tool("observe", "on")
        assert done.returncode == 0, done.stderr
        assert from_address(spurn, CLEAN).code == 250
        assert spurn.tool("observe", "off").returncode == 0
        assert from_address(spurn, CLEAN).code == 554


def test_tool_tells_why(spurn, backend):
    backend.recipients[NOBODY] = "550 5.1.1 User unknown"
    reply = ask_rcpt(spurn, recipient=NOBODY)
    spurn.record(reply.ref)
    for key in (reply.ref, NOBODY, "127.0.0.1"):
        done = spurn.tool("why", key)
        assert done.returncode == 0 and reply.ref in done.stdout.decode(), (key, done)
    done = spurn.tool("why", "0000000000")
    assert done.returncode != 0


# ---- smuggling ---------------------------------------------------------------------------

# What others have taken for the end of data. Only CRLF "." CRLF is one.
FALSE_ENDS = {
    "lf-lf": b"\n.\n", "cr-cr": b"\r.\r", "lf-crlf": b"\n.\r\n", "crlf-lf": b"\r\n.\n", "cr-crlf": b"\r.\r\n",
    "crlf-cr": b"\r\n.\r", "cr-lf": b"\r.\n", "lf-cr": b"\n.\r", "crcrlf": b"\r\r\n.\r\r\n", "crlf-crcrlf": b"\r\n.\r\r\n",
    "lfcrlf": b"\n\r\n.\n\r\n", "nul-before": b"\r\n\0.\r\n", "nul-after": b"\r\n.\0\r\n",
    "lf-lf after crlf": b"\r\n\n.\n", "crlf-nul": b"\r\n.\r\0\n",
}


def assert_not_smuggled(spurn, backend, false_end, bytewise):
    """A second message hidden behind a false end of data: one reply, a refusal, and nothing at the backend."""
    hidden = (b"MAIL FROM:<admin@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n"
              b"Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n")
    with spurn.session(bytewise=bytewise) as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(message(body=b"innocent") + false_end + hidden)
        reply = c.reply()
        assert reply.code == 550 and reply.ref, reply
        assert reply.enhanced in ("5.6.11", "5.6.0")
        assert c.silent(0.1), "a second reply: something behind the false end was taken for a command"
        c.deliver(SENDER, [ALICE], message())
        c.quit()
    assert len(backend.wait_for(1)) == 1
    assert b"smuggled" not in backend.messages[0].octets and not backend.partial


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", FALSE_ENDS)
def test_false_end_of_data(spurn, backend, name, bytewise):
    assert_not_smuggled(spurn, backend, FALSE_ENDS[name], bytewise)


def test_false_ends_of_the_corpus(spurn, backend, corpus):
    path = os.path.join(corpus, "smtp", "end-of-data.tsv")
    if not os.path.exists(path):
        pytest.skip("no end-of-data.tsv in the shared corpus")
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) > 10
    for row in rows:
        octets = bytes.fromhex(row["bytes_hex"])
        if row["must_end_data"] == "yes":
            with spurn.session() as c:
                c.transaction(SENDER, [ALICE])
                c.command("DATA", 354)
                c.send(message(body=b"ends here") + octets)
                c.expect(250)
        else:
            assert_not_smuggled(spurn, backend, octets, False)
        backend.messages.clear()


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_bare_newline_anywhere_is_refused_after_the_true_end(spurn, backend, end):
    for text in (b"Subject: x" + end + b"X: y\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbo" + end + b"dy\r\n",
                 b"Subject: x\r\n\r\nbody\r\n" + end + b"\r\n"):
        with spurn.session() as c:
            c.transaction(SENDER, [ALICE])
            c.command("DATA", 354)
            c.send(text + b".\r\n")
            reply = c.expect(550)
            assert reply.enhanced == "5.6.11" and reply.ref
            c.quit()
    assert not backend.received


def test_listed_device_may_send_bare_line_feeds(backend, dns):
    with Spurn(backend.url, dns=dns, listener={"broken-peers": "127.0.0.9"}) as spurn:
        with spurn.session(source="127.0.0.9") as c:
            c.transaction(SENDER, [ALICE])
            c.command("DATA", 354)
            c.send(b"Subject: scan\n\nline\n.\nstill the message\r\n.\r\n")
            c.expect(250)
        with spurn.session(source="127.0.0.10") as c:
            c.transaction(SENDER, [ALICE])
            c.command("DATA", 354)
            c.send(b"Subject: scan\n\nline\r\n.\r\n")
            c.expect(550)
    [mail] = backend.wait_for(1)
    assert mail.octets.endswith(b"Subject: scan\r\n\r\nline\r\n.\r\nstill the message\r\n")
    assert not re.search(rb"(?<!\r)\n", mail.octets)


@pytest.mark.parametrize("line", [b"MAIL FROM:<a@client.example.net>\nRCPT TO:<alice@example.org>\r\n",
                                  b"NOOP\rQUIT\r\n", b"NOOP \0\r\n", b"RSET\n.\r\n"])
def test_control_characters_in_commands(spurn, line):
    with spurn.session() as c:
        c.send(line)
        c.expect(500)
        assert c.silent(0.1)
        c.command("NOOP", 250)


# ---- STARTTLS ----------------------------------------------------------------------------


@pytest.mark.parametrize("injected", [b"NOOP\r\n", b"MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\n", b"x"])
def test_plaintext_behind_starttls_is_refused(backend, dns, certificate, injected):
    with Spurn(backend.url, dns=dns, tls=certificate) as spurn, spurn.session() as c:
        c.send(b"STARTTLS\r\n" + injected)
        reply = c.expect(554)
        assert reply.enhanced == "5.5.0"
        c.expect_closed()


def test_starttls_forgets_the_transaction(backend, dns, certificate):
    with Spurn(backend.url, dns=dns, tls=certificate) as spurn, spurn.session() as c:
        c.starttls()
        c.command("RCPT TO:<alice@example.org>", 503)
        c.command("EHLO client.example.net", 250)
        c.command("STARTTLS", "5xx")
        c.deliver(SENDER, [ALICE], message())


def test_nobody_waits_for_an_acknowledgement_behind_the_handshake(backend, dns, certificate):
    """A client with Nagle's algorithm sends its next command when its Finished is acknowledged: not 40 ms later."""
    with Spurn(backend.url, dns=dns, tls=certificate) as spurn:
        waits = []
        for _ in range(10):
            with spurn.session() as c:
                c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
                c.starttls()
                began = time.monotonic()
                c.command("EHLO client.example", 250)
                waits.append(time.monotonic() - began)
        assert min(waits) < 0.035


def test_starttls_within_a_transaction_and_without_certificate(spurn, backend, dns, certificate):
    with spurn.session() as c:
        c.command("STARTTLS", "5xx")
    with Spurn(backend.url, dns=dns, tls=certificate) as other, other.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command("STARTTLS", 503)


# ---- early talkers, order of commands, loops ---------------------------------------------


def test_early_talker(backend, dns):
    with Spurn(backend.url, dns=dns, listener={"greet-wait": "700ms"}) as spurn:
        with spurn.dialogue() as c:
            c.send(b"EHLO too.early.example.net\r\n")
            reply = c.expect(554)
            assert reply.enhanced == "5.5.0" and reply.ref
            c.expect_closed()
        began = time.monotonic()
        with spurn.session() as c:
            assert time.monotonic() - began >= 0.6
            c.deliver(SENDER, [ALICE], message())


def test_greet_wait_holds_nobody_up_beyond_itself(backend, own_dns):
    own_dns.dnsbl("bl.test", {"127.0.0.9": "127.0.0.2"})
    lists = "dnsbl bl.test { weight 3; }"
    with Spurn(backend.url, dns=own_dns, top=lists, listener={"greet-wait": "500ms"}) as spurn:
        healthy(own_dns, "bl.test")
        with spurn.dialogue(source="127.0.0.9") as c:
            assert c.silent(0.3)
            c.greet()
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            c.command(f"RCPT TO:<{ALICE}>", 554)


def test_order_of_commands(spurn):
    with spurn.dialogue() as c:
        c.expect(220)
        c.command(f"MAIL FROM:<{SENDER}>", 503)
        c.command("EHLO client.example.net", 250)
        c.command("DATA", 503)
        c.command(f"RCPT TO:<{ALICE}>", 503)
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command(f"MAIL FROM:<{SENDER}>", 503)
        c.command("DATA", 554)
        c.command("VRFY alice", 252)
        c.command("EXPN staff", 252)
        c.command("HELP", 214)
        c.command("TURN", "5xx")
        c.command("WHAT", 500)
        c.command("rcpt to:<alice@example.org>", 250)
        c.command("RSET", 250)
        c.command(f"RCPT TO:<{ALICE}>", 503)
        c.command("QUIT extra", "2xx", "5xx")


@pytest.mark.parametrize("line", ["MAIL FROM:", "MAIL FROM:<a@b", "MAIL FROM:a@client.example.net>", "MAIL TO:<a@b.test>",
                                  "MAIL FROM:<a b@client.example.net>", "MAIL FROM:<@>", "MAIL FROM:<a@-b.test>",
                                  "MAIL FROM:<a@client.example.net> FOO=BAR", "MAIL FROM:<a@client.example.net> SIZE=x",
                                  "MAIL FROM:<a@client.example.net> BODY=BINARYMIME",
                                  "MAIL FROM:<\u00fc@client.example.net>"])
def test_bad_mail_commands(spurn, line):
    with spurn.session() as c:
        c.command(line, "5xx")
        c.command("MAIL FROM:<>", 250)


def test_mail_loop(spurn, backend):
    hop = b"Received: from a by b; Mon, 23 Nov 2026 02:49:59 +0000\r\n"
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(hop * 51 + message(), 554)
        assert reply.enhanced == "5.4.6" and reply.ref
        c.deliver(SENDER, [ALICE], hop * 50 + message())
    assert len(backend.wait_for(1)) == 1 and len(backend.received) == 1


def test_refusal_by_the_backends_content_check(spurn, backend):
    backend.on("DOT", "550 5.7.1 rejected by SuperFilter 3.1 rule 42")
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(message(), 550)
    record = assert_refused(spurn, reply, 550, "5.7.1")
    assert "SuperFilter" not in reply.text and "SuperFilter" in str(record)
    assert record["disposition"] == "reject" and not backend.messages


def test_nothing_reaches_the_backend_before_a_recipient_is_good(backend, own_dns):
    own_dns.null_mx("silent.example.com")
    with Spurn(backend.url, dns=own_dns) as spurn:
        ask_rcpt(spurn, sender="x@silent.example.com")
    never_within(lambda: backend.seen("RCPT"), 0.1, "a RCPT at the backend")
