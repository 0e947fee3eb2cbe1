"""Recipients that disagree, and backends that do not tell the truth: between real servers."""

import collections
import concurrent.futures
import json
import os
import re
import time

import pytest

from peers import (CLIENT_DOMAIN, Closed, DovecotLmtp, EximBackend, EximClient, PostfixBackend, PostfixClient, Smtp, Spurn,
                   message)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB, FULL = "alice@example.org", "bob@example.org", "full@example.org"


@pytest.fixture
def lmtp():
    """Dovecot, with a mailbox that has no room left."""
    with DovecotLmtp(full=["full"]) as server:
        yield server


# ---- PRDR --------------------------------------------------------------------------------


def test_exim_hears_each_recipient_at_once(dns, lmtp):
    """Exim asks for PRDR: one transaction tells it everything, and nobody tries again."""
    with Spurn(lmtp.url, dns=dns) as spurn, EximClient(spurn.port) as client:
        client.send(SENDER, [ALICE, FULL, BOB], message())
        assert b"552 5.2.2" in client.wait_bounce()
        client.wait_empty()
        assert len(lmtp.messages("alice")) == len(lmtp.messages("bob")) == 1
        record = spurn.transactions()[-1]
        assert [r["code"] for r in record["rcpt"]] == [250, 552, 250]
        assert record["reply"]["number"] == 115



def test_postfix_hears_each_recipient_by_a_retry(dns, lmtp):
    """Postfix does not ask for it: 451, and each comes back with an answer of its own."""
    with Spurn(lmtp.url, dns=dns) as spurn, PostfixClient(spurn.port) as client:
        client.send(SENDER, [ALICE, FULL, BOB], message())
        assert b"552 5.2.2" in client.wait_bounce()
        client.wait_empty()
        assert len(lmtp.messages("alice")) == len(lmtp.messages("bob")) == 1
        assert len(client.bounces()) == 1


def test_mailbox_that_has_room_again_gets_the_next_message(dns, lmtp):
    """A full mailbox is the server's answer to one message; nothing of it is remembered against the next, nor against others."""
    with Spurn(lmtp.url, dns=dns, workers=2) as spurn, spurn.session() as c:
        c.deliver(SENDER, [FULL], message(), 552)
        c.transaction(SENDER, [ALICE, FULL])
        mixed = message()
        assert c.data(mixed).code == 451            # one of two: each comes again in a transaction of its own
        lmtp.make_room("full")
        c.deliver(SENDER, [FULL], message(), 250)
        c.deliver(f"other@{CLIENT_DOMAIN}", [ALICE, FULL], message(), 250)
        # The one that was put off, too: a hint splits, and the server's answer of today is the answer.
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command(f"RCPT TO:<{FULL}>", 250)
        assert c.data(mixed).code == 250
        assert len(lmtp.messages("full")) == 3 and len(lmtp.messages("alice")) == 2


def test_exim_behind_answers_each_recipient(dns):
    """An Exim backend speaks PRDR with us, and the Exim in front hears it."""
    acls = "acl_prdr:\n  deny local_parts = bob\n    message = not for bob\n  accept\n"
    with EximBackend(options="acl_smtp_data_prdr = acl_prdr", acls=acls) as backend, \
            Spurn(backend.url, dns=dns) as spurn, \
            EximClient(spurn.port) as client:
        client.send(SENDER, [ALICE, BOB], message())
        assert b"550 5.7.1" in client.wait_bounce()
        client.wait_empty()
        assert len(backend.messages("alice")) == 1 and backend.messages("bob") == []
        [record] = spurn.transactions()
        assert [r["code"] for r in record["rcpt"]] == [250, 550]


# ---- guesses -----------------------------------------------------------------------------


def resident(pids):
    """KiB of memory of these processes."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            total += int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
    return total


def guess(port, guesses, source):
    """One session of a guesser, as long as it is let in; returns how many answers of each code it got."""
    codes = collections.Counter()
    try:
        with Smtp(port, source=source) as c:
            c.greet()
            c.command("MAIL FROM:<guesser@example.net>", 250)
            for name in guesses:
                code = c.command(f"RCPT TO:<{name}@example.org>", 250, 421, 450, 451, 452, 550).code
                codes[code] += 1
                if code == 421:
                    break
    except (Closed, OSError):
        codes["closed"] += 1
    return codes


def attack(count, port, threads=16):
    """So many guesses from as many addresses as it takes, side by side."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(guess, port, [f"g{n}" for n in range(first, min(first + 50, count))],
                            f"127.{1 + first // 50 // 200 % 200}.{first // 50 % 200}.1")
                for first in range(0, count, 50)]
        return sum((job.result() for job in jobs), collections.Counter())


def test_dictionary_attack(dns):
    """Guesses wait for each other, not mail to those who exist; DICTIONARY=100000 for the long run."""
    count = int(os.environ.get("DICTIONARY", "3000"))
    with PostfixBackend(smtpd_error_sleep_time="0s", smtpd_hard_error_limit="1000") as backend, \
            Spurn(domains={"example.org": f"backend {backend.url}; backend-questions 3; recipients callforward;"},
                  dns=dns, top="check rdns { mode off; }") as spurn:
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        before = resident(spurn.workers())
        slowest = 0
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(attack, count, spurn.port)
            while not under_way.done():
                began = time.monotonic()
                with spurn.session() as c:
                    c.deliver(SENDER, [ALICE], message())
                slowest = max(slowest, time.monotonic() - began)
            codes = under_way.result()
        [questions] = json.loads(spurn.tool("status", "--json").stdout)["backend_questions"]
        assert codes[250] == 0 and codes[550] + codes[451] > 0
        assert questions["most_asking"] <= 3, questions
        assert slowest < 2, f"a sender beside it waited {slowest:.2f} s"
        assert resident(spurn.workers()) - before < 64 * 1024
