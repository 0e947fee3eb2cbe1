"""Whatever dies, stalls or lies: the sender is told 4xx and still holds the message, and nothing is stored by half."""

import os
import signal
import threading
import time

import pytest

from peers import (Bytewise, CLIENT_DOMAIN, CLOSE, Closed, FakeBackend, Later, PostfixBackend, PostfixClient,
                   EximClient, RESET, STALL, Spurn, dot_stuffed, free_port, message, never_within, wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB = "alice@example.org", "bob@example.org"

# Short budgets, so that a stalled backend does not stall the tests.
SHORT = "rcpt-budget 1s; answer-budget 2s;"

# What a backend may do to us instead of answering.
TROUBLES = {
    "closes": CLOSE,
    "resets": RESET,
    "stalls": STALL,
    "rubbish": b"\x00\xff\x16\x03\x01rubbish\r\n",
    "no code": b"Ok, fine\r\n",
    "code cut short": b"25\r\n",
    "bad separator": b"250_Ok\r\n",
    "codes differ": b"250-one\r\n550 two\r\n",
    "endless line": b"250 " + b"x" * 200000 + b"\r\n",
    "endless reply": b"250-more\r\n" * 20000,
    "half a reply": [b"250-and then", CLOSE],
    "impossible code": b"999 what\r\n",
    "intermediate": b"399 what\r\n",
}


def assert_4xx(reply):
    assert 400 <= reply.code < 500, reply
    assert reply.enhanced.startswith("4.")


def assert_recovered(spurn, backend, text=None):
    """Once the backend behaves, a message goes through, once."""
    backend.calm()
    before = len(backend.messages)

    def delivered():
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            if c.command(f"RCPT TO:<{ALICE}>").code != 250:
                return False  # the back-off of a failed host is up to a second
            return c.data(text or message()).code == 250
    wait_until(delivered, 15, "a delivery after the trouble")
    assert len(backend.messages) == before + 1


# ---- at each moment of the backend's dialogue --------------------------------------------


@pytest.mark.parametrize("moment", ["CONNECT", "EHLO", "MAIL", "RCPT"])
@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_before_the_message(backend, dns, moment, name):
    backend.on(moment, TROUBLES[name])
    with Spurn(backend.url, dns=dns, top=SHORT) as spurn:
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            began = time.monotonic()
            reply = c.command(f"RCPT TO:<{ALICE}>")
            assert time.monotonic() - began < 6
            assert_4xx(reply)
            assert reply.ref
            c.command("DATA", "5xx")
            c.quit()
        assert spurn.record(reply.ref)["disposition"] == "defer"
        assert not backend.received
        backend.violations.clear()  # rubbish in the middle of a group leaves the fake one behind
        assert_recovered(spurn, backend)


@pytest.mark.parametrize("moment, name", [(moment, name) for moment in ("DATA", "DOT") for name in TROUBLES]
                         + [("BODY", "closes"), ("BODY", "resets"), ("BODY", "stalls")])
def test_trouble_with_the_message(backend, dns, moment, name):
    text = message()
    with Spurn(backend.url, dns=dns, top=SHORT) as spurn:
        backend.on(moment, TROUBLES[name])
        with spurn.session() as c:
            c.transaction(SENDER, [ALICE])
            began = time.monotonic()
            reply = c.data(text)
            assert time.monotonic() - began < 8
            assert_4xx(reply)
            assert reply.ref
            c.quit()
        record = spurn.record(reply.ref)
        assert record["disposition"] == "defer" and record["reply"]["code"] == reply.code
        assert not backend.messages
        backend.violations.clear()
        assert_recovered(spurn, backend, text)


@pytest.mark.parametrize("moment, reply", [
    ("CONNECT", "554 5.3.2 no service"), ("CONNECT", "421 4.3.2 overrun"), ("EHLO", "421 4.3.2 overrun"),
    ("MAIL", "451 4.3.0 disk full"), ("MAIL", "452 4.3.1 disk full"), ("MAIL", "421 4.3.2 going home"),
    ("RCPT", "451 4.3.0 disk asleep"), ("RCPT", "421 4.3.2 going home"), ("DATA", "451 4.3.0 disk asleep"),
    ("DATA", "421 4.3.2 going home"), ("DOT", "451 4.3.0 disk asleep"), ("DOT", "421 4.3.2 going home"),
    ("DOT", "452 4.3.1 disk full"),
])
def test_backend_says_later(backend, dns, moment, reply):
    text = message()
    backend.on(moment, [reply, CLOSE] if reply.startswith("421") else reply)
    with Spurn(backend.url, dns=dns, top=SHORT) as spurn:
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{SENDER}>", 250)
            answer = c.command(f"RCPT TO:<{ALICE}>")
            if answer.code == 250:
                answer = c.data(text)
            assert_4xx(answer)
            assert answer.ref and reply[10:] not in answer.text
        assert not backend.messages
        assert_recovered(spurn, backend, text)


@pytest.mark.parametrize("said", ["503 5.5.1 MAIL first", "500 5.5.2 what?", "502 5.5.1 no RCPT here"])
def test_backend_that_has_lost_the_thread_says_nothing_about_the_mailbox(spurn, backend, said):
    backend.on("RCPT", said, times=1)
    with spurn.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        assert_4xx(c.command(f"RCPT TO:<{ALICE}>"))
    assert_recovered(spurn, backend)


def test_backend_refuses_data_for_good(spurn, backend):
    backend.on("DATA", "554 5.7.1 not from you")
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(message())
        assert reply.code == 550 and "not from you" not in reply.text
    assert not backend.received


def test_reply_octet_by_octet_is_no_trouble(spurn, backend):
    for moment, reply in (("MAIL", "250 2.1.0 Ok"), ("RCPT", "250 2.1.5 one\ntwo\nthree"), ("DATA", "354 go"),
                          ("DOT", "250 2.0.0 kept")):
        backend.on(moment, Bytewise(reply))
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE, BOB], message())
    backend.wait_for(1)


def test_final_reply_that_stands_ready_before_the_dot_is_not_believed(backend, dns):
    """It answers something else; to take it for the answer to the message would lose that."""
    early = b"354 go\r\n250 2.0.0 what a nice message\r\n"
    backend.on("DATA", lambda session, _: STALL if session.say(early) == 0 else CLOSE)
    with Spurn(backend.url, dns=dns, top=SHORT) as spurn, spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        assert_4xx(c.data(message()))
    assert not backend.messages


# ---- dead backends -----------------------------------------------------------------------


def test_nobody_listens(dns):
    with Spurn(f"smtp://127.0.0.1:{free_port()}", dns=dns) as spurn, spurn.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        reply = c.command(f"RCPT TO:<{ALICE}>", 451)
        assert reply.enhanced == "4.4.1" and reply.ref


def test_kept_connection_that_died_is_our_trouble_not_the_senders(spurn, backend):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
        c.quit()
    backend.kill()
    backend.restart()
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(2)) == 2


def test_kept_connection_that_dies_between_rcpt_and_data(spurn, backend):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        backend.kill()
        backend.restart()
        reply = c.data(message())
        assert reply.code in (250, 451), reply
        if reply.code == 250:
            assert len(backend.wait_for(1)) == 1
        else:
            assert not backend.messages


def test_backend_killed_in_mid_message_then_the_same_message_again(spurn, backend):
    text = message(body=b"x" * 70 + b"\r\n" + b"y" * 70 + b"\r\n")
    backend.on("BODY", lambda session, _: session.backend.kill() or CLOSE, times=1)
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        assert_4xx(c.data(text))
        c.quit()
    assert not backend.messages
    backend.restart()
    assert_recovered(spurn, backend, text)


def test_real_backend_killed_under_a_real_client(dns):
    """Postfix is killed and started again while mail flows: each message arrives, and no bounce is written."""
    with PostfixBackend() as backend, Spurn(backend.url, dns=dns) as spurn, PostfixClient(spurn.port) as client:
        for i in range(5):
            client.send(SENDER, [ALICE], message(subject=f"before {i}"))
        backend.child.kill()
        for i in range(5):
            client.send(SENDER, [ALICE], message(subject=f"during {i}"))
        wait_until(lambda: "status=deferred" in client.log(), 15, "a deferral")
        backend.start()
        client.until(lambda: len(subjects(backend)) == 10, 40, "delivery of all ten messages")
        client.wait_empty()
        assert client.bounces() == []


def subjects(backend):
    """The different subjects that arrived for alice."""
    return {line for text in backend.messages("alice") for line in text.split(b"\n") if line.startswith(b"Subject:")}


# ---- in doubt ----------------------------------------------------------------------------


def test_backend_that_stores_and_dies_before_it_answers_leaves_a_named_doubt(spurn, backend):
    text = message()
    backend.on("DOT", CLOSE, times=1, keep=True)
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        first = c.data(text)
        assert_4xx(first)
        c.quit()
    assert len(backend.messages) == 1
    with spurn.session() as c:
        second = c.deliver(SENDER, [ALICE], text)
        c.quit()
    assert len(backend.wait_for(2)) == 2, "nobody can know: it is sent again"
    for ref in (first.ref, second.ref):
        record = spurn.record(ref)
        assert "in_doubt" in str(record) or "in-doubt" in str(record), record


# ---- clients that vanish -----------------------------------------------------------------


@pytest.mark.parametrize("rude", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("moment", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "body", "before the dot"])
def test_client_vanishes(spurn, backend, moment, rude):
    text = message()
    steps = {
        "connect": lambda c: c.expect(220),
        "EHLO": lambda c: c.command("EHLO client.example.net", 250),
        "MAIL": lambda c: c.command(f"MAIL FROM:<{SENDER}>", 250),
        "RCPT": lambda c: c.command(f"RCPT TO:<{ALICE}>", 250),
        "DATA": lambda c: c.command("DATA", 354),
        "body": lambda c: c.send(text[:40]),
        "before the dot": lambda c: c.send(text[40:] + b"."),
    }
    with spurn.dialogue() as c:
        for name, step in steps.items():
            step(c)
            if name == moment:
                break
        if rude:
            c.abort()
    wait_until(lambda: len(spurn.journal()) == 1, 10, "one record of it")
    assert not backend.received and not backend.messages
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
    assert len(backend.wait_for(1)) == 1
    never_within(lambda: backend.partial, 0.1, "half a message at the backend")


def test_client_vanishes_while_the_backend_takes_a_long_message(backend, dns):
    """The client goes before its dot: the backend's transaction must be aborted, not ended with a dot."""
    big = message(body=(b"z" * 76 + b"\r\n") * 60000)
    with Spurn(backend.url, dns=dns) as spurn, spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(big)
        c.abort()
        wait_until(lambda: len(spurn.transactions()) == 1, 10, "the record")
        never_within(lambda: backend.received, 0.3, "a dot at the backend")


def test_client_that_hangs_up_after_its_dot_is_served_all_the_same(spurn, backend):
    """After the backend's dot the answer is awaited and recorded, whoever listens."""
    backend.on("DOT", Later(0.5, "250 2.0.0 Ok"))
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(dot_stuffed(message()) + b".\r\n")
        wait_until(lambda: backend.received, 5, "the dot at the backend")
    [record] = spurn.wait_records(1)
    assert record["disposition"] == "accept" and len(backend.wait_for(1)) == 1


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.05, 0.2])
def test_client_that_hangs_up_some_time_after_its_dot_leaves_no_double(spurn, backend, delay):
    text = message()
    backend.on("DOT", Later(0.05, "250 2.0.0 Ok"))
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(dot_stuffed(text) + b".\r\n")
        time.sleep(delay)
        c.abort()
    spurn.wait_records(1)
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], text)
        c.quit()
    never_within(lambda: len(backend.messages) > 1, 0.3, "a double")
    assert len(backend.messages) == 1


# ---- our own processes -------------------------------------------------------------------


def serves(spurn):
    """True if a new client is greeted."""
    try:
        with spurn.session() as c:
            c.command("QUIT", 221)
        return True
    except (Closed, OSError):
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["killed", "crashed"])
def test_dead_worker_is_replaced(spurn, backend, number):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
        pid = spurn.kill_worker(number)
        with pytest.raises((Closed, OSError)):
            c.command("NOOP")
    wait_until(lambda: pid not in spurn.workers() and spurn.workers(), 10, "another worker")
    wait_until(lambda: serves(spurn), 10, "service by the new worker")
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(2)) == 2
    assert len([r for r in spurn.transactions() if r["disposition"] == "accept"]) == 2


def test_dead_worker_takes_only_its_own_sessions(backend, dns):
    with Spurn(backend.url, dns=dns, workers=2) as spurn:
        wait_until(lambda: len(spurn.workers()) == 2, 10, "two workers")
        sessions = [spurn.session() for _ in range(16)]
        spurn.kill_worker()
        alive = 0
        for c in sessions:
            try:
                c.deliver(SENDER, [ALICE], message())
                alive += 1
            except (Closed, OSError):
                pass
            finally:
                c.close()
        assert 0 < alive < 16
        assert len(backend.wait_for(alive)) == alive


def test_hung_worker_is_replaced(backend, dns):
    with Spurn(backend.url, dns=dns, top="watchdog 1s;") as spurn:
        pid = spurn.kill_worker(signal.SIGSTOP)
        wait_until(lambda: pid not in spurn.workers() and spurn.workers(), 15, "another worker")
        wait_until(lambda: serves(spurn), 10, "service by the new worker")


def test_everything_killed_and_started_again(spurn, backend):
    """A retry after kill -9 of master and worker neither loses nor silently doubles."""
    text = message()
    backend.on("DOT", Later(1.0, "250 2.0.0 Ok"), times=1)
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(dot_stuffed(text) + b".\r\n")
        wait_until(lambda: backend.received, 5, "the dot at the backend")
        spurn.kill()
    spurn.restart()
    with spurn.session() as c:
        reply = c.deliver(SENDER, [ALICE], text)
        c.quit()
    record = spurn.record(reply.ref)
    doubles = len(backend.messages) - 1
    assert doubles == 0 or "in_doubt" in str(record) or "in-doubt" in str(record), record


def test_acknowledged_mail_survives_the_kill_of_workers_under_load(backend, dns):
    """A client that retries as a mail server does, over four kills: all arrives, doubles only where named."""
    texts = {f"<{i}@client.example.net>": message(message_id=f"<{i}@client.example.net>") for i in range(120)}
    left = list(texts)
    lock = threading.Lock()

    def client():
        while True:
            with lock:
                if not left:
                    return
                key = left.pop()
            for _ in range(200):
                try:
                    with spurn.session() as c:
                        c.command(f"MAIL FROM:<{SENDER}>", 250)
                        c.command(f"RCPT TO:<{ALICE}>", 250)
                        c.data(texts[key], 250)
                        c.quit()
                    break
                except (AssertionError, OSError):
                    time.sleep(0.02)

    backend.on("DOT", Later(0.01, "250 2.0.0 Ok"))
    with Spurn(backend.url, dns=dns, workers=2) as spurn:
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for count in (20, 45, 70, 95):
            wait_until(lambda n=count: len(backend.messages) >= n, 30, f"{count} messages")
            spurn.kill_worker()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive()
        arrived = [key for mail in backend.messages for key in texts if key.encode() in mail.octets]
        assert set(arrived) == set(texts), "a message was lost"
        doubles = {key for key in arrived if arrived.count(key) > 1}
        named = {r["message"]["id"] for r in spurn.transactions() if "message" in r and "in_doubt" in str(r)}
        assert doubles <= named, "a double that no record names"
        print(f"{len(doubles)} doubles, all named")


# ---- real clients and a backend with bad days --------------------------------------------


@pytest.mark.parametrize("client_kind", [PostfixClient, EximClient])
@pytest.mark.parametrize("moment, act", [("DOT", CLOSE), ("DATA", RESET), ("RCPT", "451 4.3.0 disk asleep"),
                                         ("MAIL", b"rubbish\r\n")])
def test_real_client_retries_until_it_is_delivered_once(dns, client_kind, moment, act):
    with FakeBackend() as backend, Spurn(backend.url, dns=dns, top=SHORT) as spurn, client_kind(spurn.port) as client:
        backend.on(moment, act, times=2)
        client.send(SENDER, [ALICE, BOB], message())
        client.until(lambda: backend.messages, 30, "a delivery")
        client.wait_empty()
        assert client.bounces() == []
        delivered = sorted(recipient for mail in backend.messages for recipient in mail.recipients)
        assert delivered == [ALICE, BOB]


def test_a_leaving_worker_that_crashes_is_said(spurn, backend):
    [old] = spurn.workers()
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.send(b"Subject: in hand\r\n")
        spurn.child.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in spurn.stderr(), 10, "the order to stop")
        os.kill(old, signal.SIGSEGV)
        wait_until(lambda: f"worker {old} ended by signal 11" in spurn.stderr(), 10, "an alert")
    spurn.stopped_rudely = True


# ---- the store ---------------------------------------------------------------------------


def test_a_worker_without_a_store_relays_and_ends_in_order(spurn, backend):
    spurn.stop()
    os.chown(os.path.join(spurn.state, "store", "key"), 0, 0)
    spurn.start()
    assert "mail flows without ledger" in spurn.stderr()
    with spurn.session() as c:
        assert c.deliver(SENDER, [ALICE], message()).code == 250
        c.quit()
    assert len(backend.messages) == 1
    spurn.child.stop()
    assert "worker crashed" not in spurn.stderr() and "ended by signal" not in spurn.stderr(), spurn.stderr()
