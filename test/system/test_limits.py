"""Everything that a peer can make grow has an end, and the end is a reply."""

import time

import pytest

from peers import CLIENT_DOMAIN, Closed, SLOW, Smtp, Spurn, message, wait_until

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE = "alice@example.org"
NOBODY = "nobody@example.org"


@pytest.fixture
def limited(backend, dns):
    """A function that starts Spurn with limits; ended with the test."""
    running = []

    def start(top="", **limits):
        listener = {key.replace("_", "-"): value for key, value in limits.items()}
        spurn = Spurn(backend.url, dns=dns, top=top, listener=listener)
        spurn.__enter__()
        running.append(spurn)
        return spurn

    yield start
    for spurn in running:
        spurn.__exit__(None, None, None)


def memory_of(pid):
    """Resident kilobytes of a process; always 0 where a sanitizer or valgrind would be measured instead."""
    if SLOW > 1:
        return 0
    with open(f"/proc/{pid}/status", encoding="ascii") as stream:
        [line] = [line for line in stream if line.startswith("VmRSS:")]
    return int(line.split()[1])


# ---- counts ------------------------------------------------------------------------------


def test_recipients(limited, backend):
    with limited(max_recipients="3").session() as c:
        c.transaction(SENDER, [f"user{i}@example.org" for i in range(3)])
        reply = c.command("RCPT TO:<user3@example.org>", 452)
        assert reply.enhanced == "4.5.3"
        c.data(message(), 250)
        c.deliver(SENDER, ["user3@example.org"], message())
    assert len(backend.wait_for(2)) == 2


def test_a_hundred_recipients_are_always_taken(spurn, backend):
    with spurn.session() as c:
        c.deliver(SENDER, [f"user{i}@example.org" for i in range(100)], message())
    assert len(backend.wait_for(1)[0].recipients) == 100


def test_errors(limited):
    with limited(max_errors="5").session() as c:
        codes = []
        with pytest.raises(Closed):
            for _ in range(20):
                codes.append(c.command("RUBBISH").code)
        assert 421 in codes and 5 <= len(codes) <= 8


def test_commands(limited):
    with limited(max_commands="20").session() as c:
        codes = []
        with pytest.raises(Closed):
            for _ in range(40):
                codes.append(c.command("NOOP").code)
        assert codes[-1] == 421 and codes.count(250) <= 20


def test_transactions(limited):
    with limited(max_transactions="3").session() as c:
        for _ in range(3):
            c.deliver(SENDER, [ALICE], message())
        c.command(f"MAIL FROM:<{SENDER}>", 421)
        c.expect_closed()


def test_guesses(limited, backend):
    backend.on("RCPT", "550 5.1.1 no")
    spurn = limited(max_unknown_recipients="4")
    with spurn.session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        codes = []
        with pytest.raises(Closed):
            for i in range(20):
                codes.append(c.command(f"RCPT TO:<guess{i}@example.org>").code)
        assert codes[-1] == 421 and len(codes) <= 5
    backend.calm()
    with spurn.session(source="127.0.0.9") as c:
        c.deliver(SENDER, [ALICE], message())  # another address is not meant


def test_guesses_are_answered_ever_later(limited, backend):
    backend.on("RCPT", "550 5.1.1 no")
    with limited(error_delay="200ms", error_delay_max="10s", max_unknown_recipients="100").session() as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        spans = []
        for i in range(4):
            began = time.monotonic()
            c.command(f"RCPT TO:<guess{i}@example.org>", "5xx", "4xx")
            spans.append(time.monotonic() - began)
    assert spans[0] < 0.15 and spans[1] >= 0.19 and spans[2] >= 0.38 and spans[3] >= 0.76, spans


# ---- connections -------------------------------------------------------------------------


def test_sessions_of_one_client(limited):
    spurn = limited(max_sessions_per_client="3")
    held = [spurn.session() for _ in range(3)]
    with spurn.dialogue() as c:
        reply = c.expect(421)
        assert reply.enhanced == "4.7.0"
        c.expect_closed()
    with spurn.session(source="127.0.0.9") as c:
        c.command("NOOP", 250)
    held.pop().close()

    def served():
        with spurn.dialogue() as c:
            return c.reply().code == 220
    wait_until(served, 5, "a place that became free")
    for c in held:
        c.close()


def test_sessions_of_all(limited):
    spurn = limited(max_sessions="4")
    held = [spurn.session(source=f"127.0.1.{i}") for i in range(1, 5)]
    with spurn.dialogue(source="127.0.1.9") as c:
        c.expect(421)
        c.expect_closed()
    for c in held:
        c.close()


def test_connection_rate(limited):
    spurn = limited(connection_rate="5/1m")
    codes = []
    for _ in range(8):
        with spurn.dialogue() as c:
            codes.append(c.reply().code)
    assert codes[:5] == [220] * 5 and codes[6:] == [421] * 2, codes
    with spurn.dialogue(source="127.0.0.9") as c:
        c.expect(220)


def test_trusted_clients_have_no_limits_of_their_own(limited):
    spurn = limited(top="clients { trust 127.0.0.1; }", max_sessions_per_client="1", connection_rate="2/1m")
    held = [spurn.session() for _ in range(6)]
    for c in held:
        c.close()


def test_many_idle_sessions_and_a_newcomer(limited):
    spurn = limited(max_sessions_per_client="0")
    for c in [spurn.session() for _ in range(200)]:
        c.close()  # what is allocated once, is
    wait_until(lambda: len(spurn.journal()) == 200, 5, "the end of the first sessions")
    before = memory_of(spurn.workers()[0])
    idle = [spurn.session() for _ in range(800)]
    grown = memory_of(spurn.workers()[0]) - before
    began = time.monotonic()
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    assert time.monotonic() - began < 2
    assert grown < 800 * 4, f"{grown / 800:.1f} KiB for each idle session"
    for c in idle:
        c.close()


# ---- sizes -------------------------------------------------------------------------------


def test_command_line(limited):
    with limited(line_limit="1000").session() as c:
        c.command("NOOP " + "x" * 900, 250)
        reply = c.command("NOOP " + "x" * 1200, 500)
        assert reply.enhanced == "5.5.6"
        c.command("NOOP", 250)


def test_endless_command_line(spurn):
    """A line that never ends: refused or cut off, and nothing is hoarded."""
    pid = spurn.workers()[0]
    for megabytes in (5, 50):
        with spurn.session() as c:
            before = memory_of(pid)
            try:
                for _ in range(megabytes * 16):
                    c.send(b"x" * 65536)
                c.send(b"\r\n")
                c.expect(500, 421)
            except (Closed, OSError):
                pass
    assert memory_of(pid) - before < 2000, "ten times the octets took no more memory"
    with spurn.session() as c:
        c.command("NOOP", 250)


def test_header_section(limited, backend):
    with limited(header_limit="8k").session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(message(extra=b"X-Pad: " + b"y" * 70 + b"\r\n" + (b"\t" + b"y" * 70 + b"\r\n") * 150), 552)
        assert reply.enhanced == "5.3.4" and reply.ref
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(1)) == 1 and len(backend.received) == 1


def test_header_fields(limited, backend):
    with limited(max_fields="100").session() as c:
        c.transaction(SENDER, [ALICE])
        assert c.data(message(extra=b"X-Many: x\r\n" * 200), "5xx").ref
        c.deliver(SENDER, [ALICE], message(extra=b"X-Many: x\r\n" * 80))
    assert len(backend.wait_for(1)) == 1


def test_message(limited, backend):
    spurn = limited(size_limit="100k")
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(message(body=(b"x" * 76 + b"\r\n") * 2000), 552)
        assert reply.enhanced == "5.3.4" and reply.ref
        assert spurn.record(reply.ref)["disposition"] == "reject"
        c.transaction(SENDER, [ALICE])
        c.send(b"BDAT 60000\r\n" + b"y" * 60000)
        c.expect(250)
        c.send(b"BDAT 60000 LAST\r\n" + b"y" * 60000)
        assert c.expect(552).enhanced == "5.3.4"
        c.deliver(SENDER, [ALICE], message())
    assert len(backend.wait_for(1)) == 1 and len(backend.received) == 1


def test_large_message_goes_through_a_file(limited, backend):
    spurn = limited(top="spool-memory 64k;")
    body = b"".join(b"%09d " % i + b"x" * 60 + b"\r\n" for i in range(160000))
    pid = spurn.workers()[0]
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message(body=body))
        assert memory_of(pid) < 60000, "an 11 MiB message is not kept in memory"
    [mail] = backend.wait_for(1)
    assert mail.octets.endswith(body) and mail.octets.index(body) < 2000


@pytest.mark.parametrize("argument", ["", "x", "-1", "99999999999999999999", "10 FIRST", "10 LAST LAST", "0x10"])
def test_bdat_with_a_bad_size(spurn, argument):
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        c.command(f"BDAT {argument}", "5xx")


def test_chunk_beyond_every_limit_is_not_hoarded(limited):
    spurn = limited(size_limit="1M")
    pid = spurn.workers()[0]
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        before = memory_of(pid)
        c.send(b"BDAT 20000000 LAST\r\n")
        try:
            for _ in range(20):
                c.send(b"z" * 1000000)
            c.expect(552)
            c.command("NOOP", 250)
        except (Closed, OSError):
            pass  # or it hangs up
    assert memory_of(pid) - before < 8000


def test_endless_tiny_chunks_do_not_grow(spurn, backend):
    pid = spurn.workers()[0]
    chunks = 20000
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        before = memory_of(pid)
        codes = set()
        try:
            while codes <= {250} and chunks > 0:
                c.send(b"BDAT 1\r\nx" * 100)
                chunks -= 100
                codes = {c.reply().code for _ in range(100)}
        except (Closed, OSError):
            pass  # it has hung up
        assert codes <= {250, 421, 452, 552}, codes
        assert memory_of(pid) - before < 8000
    assert not backend.messages


@pytest.mark.parametrize("line", [
    "MAIL FROM:<" + "a" * 300 + "@client.example.net>",
    "MAIL FROM:<a@" + "b" * 64 + ".example.net>",
    "MAIL FROM:<a@" + "b." * 140 + "net>",
    "MAIL FROM:<" + "@a,".join(["x"] * 300) + ":a@client.example.net>",
    "EHLO " + "a" * 300,
])
def test_addresses_and_names_that_are_too_long(spurn, line):
    with spurn.session() as c:
        reply = c.command(line)
        assert reply.code // 100 == 5 or line.startswith("EHLO"), reply
        c.command("NOOP", 250)


# ---- time --------------------------------------------------------------------------------


def test_silence_between_commands(limited):
    spurn = limited(command_timeout="1s")
    with spurn.session() as c:
        began = time.monotonic()
        reply = c.expect(421)
        assert reply.enhanced == "4.4.2" and 0.9 <= time.monotonic() - began < 5
        c.expect_closed()


def test_silence_within_the_message(limited, backend):
    spurn = limited(data_timeout="1s")
    with spurn.session(timeout=30) as c:
        c.transaction(SENDER, [ALICE])
        c.command("DATA", 354)
        c.send(b"Subject: half\r\n")
        began = time.monotonic()
        c.expect(421)
        assert 0.9 <= time.monotonic() - began < 10
        c.expect_closed()
    [record] = spurn.wait_records(1)
    assert record["reply"]["code"] == 421
    assert not backend.received


def test_silence_within_a_chunk(limited, backend):
    with limited(data_timeout="1s").session(timeout=30) as c:
        c.transaction(SENDER, [ALICE])
        c.send(b"BDAT 1000 LAST\r\nhalf")
        began = time.monotonic()
        c.expect(421)
        assert 0.9 <= time.monotonic() - began < 10
        c.expect_closed()
    assert not backend.received


def test_client_that_does_not_read_is_not_waited_for_by_others(spurn):
    """A peer that pipelines without reading replies stops itself, not the worker."""
    with spurn.session() as deaf:
        deaf.socket.settimeout(0.5)
        try:
            for _ in range(60):
                deaf.send(b"HELP\r\n" * 3000)
        except (TimeoutError, OSError):
            pass
        began = time.monotonic()
        with Smtp(spurn.port) as c:
            c.greet()
            c.deliver(SENDER, [ALICE], message())
        assert time.monotonic() - began < 3
        assert memory_of(spurn.workers()[0]) < 100000
