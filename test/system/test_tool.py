"""The tool `spurn`: what a postmaster asks it, with the daemon and without it, and what its exit statuses are."""

import json
import os
import re
import subprocess
import time

import pytest

from peers import (BUILD, CLIENT_DOMAIN, DnsServer, FakeBackend, Spurn, free_port, message, proxy_v1, wait_until)
from process import run

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, NOBODY = "alice@example.org", "nobody@example.org"
LISTED, CLEAN = "192.0.2.66", "192.0.2.7"
REFUSED_WORDS = "550 5.1.1 User unknown in secret-table"
SPURN = os.path.join(BUILD, "spurn")


def out(done, status=0):
    """Standard output of a command that ended with this status, and without a word of a sanitizer."""
    errors = done.stderr.decode()
    assert done.returncode == status, (done.returncode, done.stdout, errors)
    assert "Sanitizer" not in errors and "runtime error" not in errors, errors
    return done.stdout.decode()


def err(done, status):
    """Standard error of a command that failed: lines of ours, and nothing on standard output."""
    text = done.stderr.decode()
    assert done.returncode == status, (done.returncode, done.stdout, text)
    assert done.stdout == b"" and text.startswith("spurn: "), (done.stdout, text)
    return text


def lines_of_json(text):
    return [json.loads(line) for line in text.splitlines()]


def ask_rcpt(spurn, recipient=ALICE, sender=SENDER, **keywords):
    with spurn.session(**keywords) as c:
        c.command(f"MAIL FROM:<{sender}>", 250)
        reply = c.command(f"RCPT TO:<{recipient}>")
        c.command("QUIT", 221)
        return reply


def send(spurn, *codes, **keywords):
    """One message to alice; returns the last reply."""
    with spurn.session() as c:
        c.transaction(SENDER, [ALICE])
        reply = c.data(message(**keywords), *(codes or (250,)))
        c.quit()
        return reply


# ---- usage -------------------------------------------------------------------------------


def test_usage():
    text = out(run([SPURN, "help"]))
    for command in ("check", "try", "why", "report", "status", "observe", "recipient"):
        assert re.search(rf"^  {command}\b", text, re.MULTILINE), command
        assert f"spurn {command} " in out(run([SPURN, "help", command]))
        assert f"spurn {command} " in out(run([SPURN, command, "--help"]))
    assert re.fullmatch(r"spurn \d+\.\d+\.\d+\n", out(run([SPURN, "--version"])))


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["help", "nonsense"], ["why"], ["why", "a", "b"], ["why", "--since", "soon", "x@y.test"],
    ["why", "x@y.test", "--since"], ["why", "--nonsense", "x"], ["status", "--json=yes"], ["status", "extra"],
    ["observe", "perhaps"], ["recipient", "show"], ["recipient", "invent", ALICE], ["report", "extra"],
    ["try"], ["try", "--ip", "192.0.2.1", "--helo", "a.test", "--from", "a@b.test"],
    ["try", "--ip", "here", "--helo", "a.test", "--from", "a@b.test", "--to", ALICE],
    ["try", "--ip", "192.0.2.1", "--helo", "a\r\nb", "--from", "a@b.test", "--to", ALICE]])
def test_wrong_use_is_64_and_prints_nothing(arguments):
    done = run([SPURN, *arguments])
    assert done.returncode == 64 and done.stdout == b"" and done.stderr, done


@pytest.mark.parametrize("command", [["status"], ["why", "x@y.test"], ["report"], ["observe", "show"],
                                     ["recipient", "show", ALICE],
                                     ["try", "--ip", CLEAN, "--helo", "a.test", "--from", "", "--to", ALICE]])
def test_configuration_that_is_not_there(command):
    text = err(run([SPURN, *command, "-c", "/nowhere/spurn.conf"]), 78)
    assert text == "spurn: /nowhere/spurn.conf: No such file or directory\n"


@pytest.mark.parametrize("command", [["status"], ["check"], ["observe", "show"]])
def test_configuration_that_is_a_directory(command):
    done = run([SPURN, *command, "-c", "/etc"])
    assert done.returncode in (1, 78) and done.stderr == b"spurn: /etc: Is a directory\n", done


def test_reader_that_has_seen_enough():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([SPURN, "help"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_full_disk_is_an_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([SPURN, "help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 74 and b"standard output" in done.stderr


# ---- why ---------------------------------------------------------------------------------


def test_why_finds_a_refusal_by_each_of_its_keys(spurn, backend):
    backend.recipients[NOBODY] = REFUSED_WORDS
    reply = ask_rcpt(spurn, NOBODY)
    spurn.record(reply.ref)
    for key in (reply.ref, reply.ref.lower(), f"ref={reply.ref}", NOBODY, NOBODY.upper(), f"<{NOBODY}>", SENDER, "127.0.0.1",
                "::ffff:127.0.0.1"):
        text = out(spurn.tool("why", key))
        assert text.count(reply.ref) >= 1 and "refused" in text, (key, text)
        assert "550 5.1.1" in text and "secret-table" in text, "the backend's own words are the help desk's"
    assert out(spurn.tool("why", reply.ref)).count("\n  client ") == 1, "one record, once"


def test_why_tells_a_delivery_with_what_the_backend_said(spurn):
    message_id = "<a.b-c@client.example.net>"
    reply = send(spurn, message_id=message_id)
    ref = re.search(r"ref=(\w{10})", reply.text).group(1)
    spurn.record(ref)
    for key in (message_id, message_id.strip("<>"), message_id.upper(), ref):
        text = out(spurn.tool("why", key))
        assert ref in text and "accepted" in text and message_id in text and "backend" in text, (key, text)
        assert text.count(f"ref={ref}  ") == 1
    [record] = lines_of_json(out(spurn.tool("why", "--json", message_id)))
    assert record == spurn.record(ref)


def test_why_says_plainly_that_there_is_nothing(spurn):
    for key in ("0000000000", "stranger@example.net", "203.0.113.9", "<no@such.id>"):
        text = err(spurn.tool("why", key), 1)
        assert key.strip("<>") in text and text.count("\n") == 1
        assert err(spurn.tool("why", "--json", key), 1)


def test_why_looks_no_further_back_than_asked(spurn):
    ask_rcpt(spurn)
    wait_until(lambda: spurn.transactions(), 10, "the record")
    assert out(spurn.tool("why", ALICE, "--since", "1h"))
    time.sleep(1.2)
    err(spurn.tool("why", ALICE, "--since=1s"), 1)


def test_why_and_report_need_neither_the_daemon_nor_a_faultless_configuration(spurn, backend):
    backend.recipients[NOBODY] = REFUSED_WORDS
    reply = ask_rcpt(spurn, NOBODY)
    spurn.record(reply.ref)
    spurn.kill()
    with open(spurn.conf, "a", encoding="utf-8") as stream:
        stream.write("lisener { \n")
    assert reply.ref in out(spurn.tool("why", reply.ref))
    assert "550 5.1.1" in out(spurn.tool("report"))
    assert "does not run" in err(spurn.tool("status"), 69)


def test_what_strangers_wrote_cannot_command_a_terminal(spurn):
    reply = send(spurn, 550, extra=b"X: y\r\n", sender="\x1b[2Jx\x9b@client.example.net")
    ref = re.search(r"ref=(\w{10})", reply.text).group(1)
    spurn.record(ref)
    done = spurn.tool("why", ref)
    assert done.returncode == 0 and b"\x1b" not in done.stdout and b"\x9b" not in done.stdout
    assert b"\\x1B[2J" in done.stdout


def test_record_with_a_nul_is_shown_too(spurn):
    reply = send(spurn, 550, sender="a\0b@client.example.net")
    spurn.record(reply.ref)
    assert reply.ref in out(spurn.tool("why", reply.ref))
    assert out(spurn.tool("report")).startswith("1 record")


def test_session_without_a_transaction_is_found_by_its_address(spurn):
    with spurn.session(source="127.0.0.77") as c:
        c.command("QUIT", 221)
    wait_until(lambda: spurn.journal(), 10, "the record")
    assert "no transaction" in out(spurn.tool("why", "127.0.0.77"))


# ---- report ------------------------------------------------------------------------------


def test_report_counts_refusals_and_what_observe_held_back(dns):
    with FakeBackend() as backend, Spurn(backend.url, dns=dns, listener={"proxy-from": "127.0.0.1"},
                                         top="clients { deny 192.0.2.0/24; } check client { mode observe; }") as spurn:
        backend.recipients[NOBODY] = REFUSED_WORDS
        for _ in range(3):
            ask_rcpt(spurn, NOBODY, proxy=proxy_v1("198.51.100.1"))
        assert ask_rcpt(spurn, proxy=proxy_v1(CLEAN)).code == 250
        spurn.wait_records(4)
        text = out(spurn.tool("report", "--since", "1h"))
        assert re.search(r"\b3\b.*refused", text) and re.search(r"\b3\b.*550 5\.1\.1", text), text
        assert re.search(r"\b1\b.*client.*would reject", text) and SENDER in text and "198.51.100.1" in text, text
        report = json.loads(out(spurn.tool("report", "--json")))
        assert report["records"] == 4


# ---- status, observe, recipient ----------------------------------------------------------


def test_status(spurn, backend):
    send(spurn)
    spurn.wait_records(1)
    text = out(spurn.tool("status"))
    assert text.startswith("spurnd ") and backend.url in text and "messages accepted" in text, text
    assert "needs attention" not in text
    status = json.loads(out(spurn.tool("status", "--json")))
    assert status["counters"]["messages_accepted"]["value"] == 1
    assert "waits for" in out(spurn.tool("status", "--waits"))


def test_status_begins_with_what_needs_attention(spurn, backend):
    backend.kill()
    assert ask_rcpt(spurn).code == 451
    assert out(spurn.tool("observe", "on"))
    head = out(spurn.tool("status")).split("workers\n")[0]
    assert "needs attention" in head and "observe" in head and backend.url in head and "down" in head, head


def test_observe_is_shown_and_kept_over_a_restart(spurn):
    assert "off" in out(spurn.tool("observe", "show"))
    assert "on" in out(spurn.tool("observe", "on"))
    spurn.kill()
    spurn.restart()
    assert "observe is on" in out(spurn.tool("observe", "show"))
    assert "observe is off" in out(spurn.tool("observe", "off"))


def test_recipient_is_shown_probed_and_forgotten(spurn, backend):
    backend.recipients[NOBODY] = REFUSED_WORDS
    assert ask_rcpt(spurn).code == 250
    assert ask_rcpt(spurn, NOBODY).code == 550
    assert "exists" in out(spurn.tool("recipient", "show", ALICE))
    text = out(spurn.tool("recipient", "show", NOBODY))
    assert "does not exist" in text and "cache" in text
    text = out(spurn.tool("recipient", "probe", NOBODY))
    assert "secret-table" in text and backend.url in text
    assert "forgotten" in out(spurn.tool("recipient", "forget", NOBODY))
    assert "nothing" in out(spurn.tool("recipient", "forget", NOBODY))
    answer = json.loads(out(spurn.tool("recipient", "show", ALICE, "--json")))
    assert answer["address"] == ALICE and answer["answer"] == "exists"
    assert "not one of" in err(spurn.tool("recipient", "show", "x@elsewhere.test"), 1)


# ---- try ---------------------------------------------------------------------------------


def rehearse(spurn, *arguments, data=None, ip=CLEAN, sender=SENDER, to=(ALICE,)):
    recipients = [word for address in to for word in ("--to", address)]
    return run([SPURN, "try", "-c", spurn.conf, "--ip", ip, "--helo", "client.example.net", "--from", sender,
                *recipients, *arguments], data=data)


def test_try_accepts_and_delivers_nothing(spurn, backend):
    ask_rcpt(spurn)
    spurn.wait_records(1)
    before = len(spurn.journal())
    text = out(rehearse(spurn, "-", data=message()))
    assert re.search(r"^C: RCPT TO:<alice@example.org>", text, re.MULTILINE), text
    assert "accepted" in text and "sender-domain" in text
    assert backend.seen("RCPT") and not backend.seen("DATA") and not backend.received
    assert len(spurn.journal()) == before, "the daemon's journal knows nothing of a rehearsal"


def test_try_without_a_message_ends_after_rcpt(spurn, backend):
    assert "accepted" in out(rehearse(spurn))
    assert not backend.seen("DATA")


def test_try_takes_a_message_as_files_have_it(spurn, public_dir):
    path = public_dir / "message"
    path.write_bytes(message().replace(b"\r\n", b"\n"))
    assert "accepted" in out(rehearse(spurn, str(path)))


@pytest.mark.parametrize("sender, recipient, code", [
    (SENDER, NOBODY, "550 5.1.1"), (SENDER, "x@elsewhere.test", "550 5.7.1"), ("x@missing.example.com", ALICE, "550 5.1.8")])
def test_try_rejects_as_the_daemon_would(backend, spurn, sender, recipient, code):
    backend.recipients[NOBODY] = REFUSED_WORDS
    text = out(rehearse(spurn, sender=sender, to=[recipient]), 1)
    assert code in text and "rejected" in text, text
    assert ask_rcpt(spurn, recipient, sender).code == int(code[:3])


def test_try_defers_while_the_backend_is_away(spurn, backend):
    backend.kill()
    assert "deferred" in out(rehearse(spurn), 2)


def test_try_judges_the_message(spurn):
    loop = b"Received: from a by b; Mon, 23 Nov 2026 02:49:59 +0000\r\n" * 51 + message()
    assert "554 5.4.6" in out(rehearse(spurn, "-", data=loop), 1)


def test_try_asks_the_lists_about_the_address_given(backend):
    with DnsServer(ttl=1) as own_dns:
        own_dns.mail_domain(CLIENT_DOMAIN).dnsbl("bl.test", {LISTED: "127.0.0.4"})
        with Spurn(backend.url, dns=own_dns, top="dnsbl bl.test { weight 3; }", listener={"greet-wait": "30s"}) as spurn:
            began = time.monotonic()
            text = out(rehearse(spurn, ip=LISTED), 1)
            assert "bl.test" in text and "listed" in text and "554 5.7.1" in text
            assert "accepted" in out(rehearse(spurn, ip=CLEAN))
            assert time.monotonic() - began < 20, "a rehearsal has no greet wait"


def test_try_goes_without_the_daemon_and_with_the_null_sender(spurn):
    spurn.kill()
    assert "accepted" in out(rehearse(spurn, sender=""))
    assert "accepted" in out(rehearse(spurn, sender="<>"))


def test_try_speaks_json(spurn, backend):
    backend.recipients[NOBODY] = REFUSED_WORDS
    answer = json.loads(out(rehearse(spurn, "--json", to=[ALICE, NOBODY]), 1))
    assert answer["result"] == "rejected"
    assert [(r["address"], r["code"]) for r in answer["recipients"]] == [(ALICE, 250), (NOBODY, 550)]
    assert any(turn["text"].startswith("RCPT TO:") for turn in answer["dialogue"])
    assert {finding["check"] for finding in answer["findings"]} >= {"recipient", "sender-domain"}


def test_try_says_what_it_cannot_read(spurn):
    assert "/nowhere/message" in err(rehearse(spurn, "/nowhere/message"), 66)
    with open(spurn.conf, "a", encoding="utf-8") as stream:
        stream.write(f"listener inbound two {{ adress 127.0.0.1:{free_port()}; }}\n")
    done = rehearse(spurn)
    assert done.returncode == 78 and b"did you mean 'address'" in done.stderr, done
