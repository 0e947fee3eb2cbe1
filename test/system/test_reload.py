"""SIGHUP, files that change, certificates that are renewed, a new binary: no session is dropped for any of them."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from peers import (BUILD, CLIENT_DOMAIN, FakeBackend, Smtp, Spurn, free_port, listens, make_certificate, message, proxy_v1,
                   wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB = "alice@example.org", "bob@example.org"


def rcpt_code(spurn, recipient=ALICE, **keywords):
    with spurn.session(**keywords) as c:
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        return c.command(f"RCPT TO:<{recipient}>").code


# ---- SIGHUP ------------------------------------------------------------------------------


def test_reload_holds_for_new_transactions_and_drops_no_session(dns):
    with FakeBackend() as old, FakeBackend() as new, Spurn(old.url, dns=dns) as spurn:
        with spurn.session() as idle, spurn.session() as busy:
            busy.transaction(SENDER, [ALICE])
            spurn.configure(domains={"example.org": f"backend {new.url}; recipients callforward;",
                                     "new.example.org": f"backend {new.url}; recipients callforward;"})
            assert "error" not in spurn.reload()
            wait_until(lambda: rcpt_code(spurn, "x@new.example.org") == 250, 5, "the new domain")
            busy.data(message(), 250)
            assert len(old.wait_for(1)) == 1, "a transaction keeps the configuration it began with"
            busy.deliver(SENDER, [ALICE, "alice@new.example.org"], message())
            idle.deliver(SENDER, [ALICE], message())
            assert len(new.wait_for(2)) == 2 and len(old.messages) == 1
            idle.quit()
            busy.quit()


def test_bad_file_changes_nothing_and_every_mistake_is_told(spurn, backend):
    with spurn.session() as c:
        with open(spurn.conf, "a", encoding="utf-8") as stream:
            stream.write("listner inbound { }\ndnsbl-threshold many;\n")
        said = spurn.reload()
        wait_until(lambda: "dnsbl-threshold" in spurn.stderr() or "many" in spurn.stderr(), 5, "the second mistake")
        said = spurn.stderr()
        assert "spurn.conf:" in said and "error:" in said and "did you mean" in said
        assert re.search(r"error:  +dnsbl-threshold many;\n.*error:  +\^~+\n", said), f"the mark is not below its word:\n{said}"
        c.deliver(SENDER, [ALICE], message())
    assert rcpt_code(spurn) == 250
    assert len(backend.wait_for(1)) == 1


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_hears_when_it_listens_and_when_it_stops(backend, dns, public_dir, abstract):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = f"\0spurn-test-{os.getpid()}" if abstract else str(public_dir / "notify")
        manager.bind(path)
        if not abstract:
            os.chmod(path, 0o777)
        manager.settimeout(10)
        with Spurn(backend.url, dns=dns, environment={"NOTIFY_SOCKET": path.replace("\0", "@")}) as spurn:
            assert manager.recv(64) == b"READY=1"
            assert listens(("127.0.0.1", spurn.port))
            spurn.child.signal(signal.SIGUSR2)
            assert manager.recv(64) == b"READY=1", "the next binary has taken over"
        assert manager.recv(64) == b"STOPPING=1"


def test_many_reloads_under_load_lose_nothing(backend, dns):
    with Spurn(backend.url, dns=dns, workers=2) as spurn:
        sessions = [spurn.session() for _ in range(6)]
        for i in range(10):
            spurn.configure(top=f"dnsbl-threshold {i + 1};")
            spurn.reload()
            for c in sessions:
                c.deliver(SENDER, [ALICE], message())
        for c in sessions:
            c.quit()
        assert len(backend.wait_for(60)) == 60
        assert len(spurn.wait_records(60)) == 60


def test_new_address_is_listened_on(spurn):
    port = free_port()
    text = open(spurn.conf, encoding="utf-8").read()
    spurn.write("spurn.conf", text.replace(f"127.0.0.1:{spurn.port};", f"127.0.0.1:{spurn.port} 127.0.0.1:{port};"))
    spurn.reload()

    def greeted():
        try:
            with Smtp(port) as c:
                c.greet()
                return True
        except OSError:
            return False
    wait_until(greeted, 5, "the new address")
    assert rcpt_code(spurn) == 250


def test_many_addresses_make_room_for_as_many_others(backend, dns):
    """The new ones are there before the old ones go."""
    def address(ports):
        return " ".join(f"127.0.0.1:{port}" for port in ports)

    ports = sorted({free_port() for _ in range(90)})
    first, second = ports[:40], ports[40:80]
    with Spurn(backend.url, dns=dns, listener={"address": address(first)}) as spurn:
        spurn.port = first[0]
        spurn.configure(listener={"address": address(second)})
        assert "error" not in spurn.reload()
        wait_until(lambda: listens(("127.0.0.1", second[-1])), 5, "the new addresses")
        for port in second:
            spurn.port = port
            with spurn.session() as c:
                c.quit()
        assert "alert" not in spurn.stderr()


def test_address_that_is_dropped_is_refused_and_may_come_back(spurn):
    """Not left listening with nobody to accept: a client would connect and hear nothing."""
    port = free_port()
    with_it = spurn.configuration().replace(f"127.0.0.1:{spurn.port};",
                                            f"127.0.0.1:{spurn.port} 127.0.0.1:{port};")
    for _ in range(2):
        spurn.write("spurn.conf", with_it)
        spurn.reload()
        wait_until(lambda: listens(("127.0.0.1", port)), 5, "the address")
        spurn.configure()
        spurn.reload()
        wait_until(lambda: not listens(("127.0.0.1", port)), 5, "the end of the address")
        assert rcpt_code(spurn) == 250


def test_refused_reload_leaves_no_address_behind(spurn):
    """One new address can be had, the next is somebody else's: neither is listened on afterwards."""
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        spurn.write("spurn.conf", spurn.configuration().replace(
            f"127.0.0.1:{spurn.port};", f"127.0.0.1:{spurn.port} 127.0.0.1:{port} 127.0.0.1:{taken};"))
        assert "refused" in spurn.reload() or wait_until(lambda: "refused" in spurn.stderr(), 5, "the refusal") is None
        wait_until(lambda: not listens(("127.0.0.1", port)), 5, "the end of the address")
        assert rcpt_code(spurn) == 250


def test_pending_connections_survive_a_reload(spurn):
    """No listener is closed on reload: connections that wait in its queue would be reset."""
    pid = spurn.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    waiting = [spurn.dialogue() for _ in range(5)]
    spurn.child.signal(signal.SIGHUP)
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)
    for c in waiting:
        c.greet()
        c.close()


# ---- list files --------------------------------------------------------------------------


def replace_file(path, text):
    """As administrators' tools do: written beside, then moved into place."""
    beside = f"{path}.new"
    with open(beside, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.rename(beside, path)


def test_recipient_file_is_reloaded_within_two_seconds(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("".join(f"user{i}@example.org\n" for i in range(20)) + "alice@example.org\n")
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        assert (rcpt_code(spurn), rcpt_code(spurn, BOB)) == (250, 550)
        replace_file(users, users.read_text().replace("alice", "bob"))
        began = time.monotonic()
        wait_until(lambda: (rcpt_code(spurn), rcpt_code(spurn, BOB)) == (550, 250), 4, "the new list")
        assert time.monotonic() - began < 2.5


def test_recipient_file_that_shrinks_suddenly_is_not_believed(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("".join(f"user{i}@example.org\n" for i in range(50)))
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        replace_file(users, "user0@example.org\n")
        wait_until(lambda: str(users) in spurn.stderr(), 5, "a word about the file")
        assert rcpt_code(spurn, "user49@example.org") == 250
        replace_file(users, "")
        time.sleep(1.5)
        assert rcpt_code(spurn, "user49@example.org") == 250


def test_recipient_file_that_is_broken_or_gone_keeps_the_old_list(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("alice@example.org\n")
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        users.unlink()
        wait_until(lambda: str(users) in spurn.stderr(), 5, "a word about the file")
        assert rcpt_code(spurn) == 250


def test_client_file_is_reloaded(backend, dns, public_dir):
    denied = public_dir / "denied"
    denied.write_text("203.0.113.0/24\n")
    with Spurn(backend.url, dns=dns, top=f"clients {{ deny file {denied}; }}",
               listener={"proxy-from": "127.0.0.1"}) as spurn:
        assert rcpt_code(spurn, proxy=proxy_v1("192.0.2.1")) == 250
        replace_file(denied, "192.0.2.0/24\n203.0.113.0/24\n")
        wait_until(lambda: rcpt_code(spurn, proxy=proxy_v1("192.0.2.1")) == 554, 4, "the new list")


# ---- certificates ------------------------------------------------------------------------


def test_renewed_certificate_is_used_without_a_reload(backend, dns, public_dir):
    (public_dir / "new").mkdir()
    tls = make_certificate(str(public_dir))
    with Spurn(backend.url, dns=dns, tls=tls) as spurn:
        def served():
            with spurn.session() as c:
                c.starttls()
                return c.certificate()
        first = served()
        with spurn.session() as old:
            old.starttls()
            for new, place in zip(reversed(make_certificate(str(public_dir / "new"))), reversed(tls)):
                os.rename(new, place)
            wait_until(lambda: served() != first, 10, "the new certificate")
            old.command("EHLO client.example.net", 250)
            old.deliver(SENDER, [ALICE], message())


def test_broken_certificate_keeps_the_old_one(backend, dns, public_dir):
    tls = make_certificate(str(public_dir))
    with Spurn(backend.url, dns=dns, tls=tls) as spurn:
        with spurn.session() as c:
            c.starttls()
        replace_file(tls[0], "no certificate at all\n")
        wait_until(lambda: tls[0] in spurn.stderr(), 5, "a word about the certificate")
        with spurn.session() as c:
            c.starttls()
            c.command("EHLO client.example.net", 250)
        said = len(spurn.stderr())
        spurn.reload()
        wait_until(lambda: tls[0] in spurn.stderr()[said:], 5, "a word about the certificate")
        with spurn.session() as c:
            c.starttls()
            c.command("EHLO client.example.net", 250)


# ---- upgrade, start, stop ----------------------------------------------------------------


def test_upgrade_drops_no_session(spurn, backend):
    workers = spurn.workers()
    with spurn.session() as idle, spurn.session() as busy:
        busy.transaction(SENDER, [ALICE])
        busy.command("DATA", 354)
        busy.send(b"Subject: half\r\n")
        spurn.child.signal(signal.SIGUSR2)
        wait_until(lambda: set(spurn.workers()) - set(workers), 10, "a new worker")
        busy.send(b"\r\nthe other half\r\n.\r\n")
        busy.expect(250)
        with spurn.session() as c:
            c.deliver(SENDER, [BOB], message())
        reply = idle.command("NOOP")
        assert reply.code in (250, 421)
    assert len(backend.wait_for(2)) == 2
    assert spurn.child.running()
    wait_until(lambda: not set(spurn.workers()) & set(workers), 20, "the end of the old workers")


def test_stop_lets_a_message_in_hand_end(backend, dns):
    with Spurn(backend.url, dns=dns) as spurn:
        with spurn.session() as c:
            c.transaction(SENDER, [ALICE])
            c.command("DATA", 354)
            c.send(b"Subject: half\r\n")
            spurn.child.signal(signal.SIGTERM)
            time.sleep(0.3)
            c.send(b"\r\nthe other half\r\n.\r\n")
            assert c.reply().code in (250, 421)
        wait_until(lambda: not spurn.child.running(), 20, "the end of the daemon")


def test_bad_configuration_at_start(spurn):
    path = spurn.write("bad.conf", "user nobody; hostname mx.spurn.test;\nlistner inbound { }\nworkers -3;\n"
                       "domain example.org { }\n")
    done = subprocess.run([spurn.child.process.args[3], "-f", "-c", path], capture_output=True, timeout=20, check=False)
    said = done.stderr.decode()
    assert done.returncode != 0
    assert "bad.conf:2:" in said and "bad.conf:3:" in said and "did you mean" in said and "listener" in said


def test_zone_file_that_breaks_stops_a_reload_and_a_start(backend, dns, public_dir):
    zone = public_dir / "zone"
    zone.write_text("local.test. 60 IN A 192.0.2.1\n")
    with Spurn(backend.url, dns=dns, resolver=f"zone-file {zone};") as spurn:
        with spurn.session() as c:      # the worker has read the file
            c.quit()
        zone.write_text("local.test. 60 IN A nonsense\n")
        assert f"{zone}:1" in spurn.reload()
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        spurn.stop()
        done = subprocess.run([os.path.join(BUILD, "spurnd"), "-f", "-c", spurn.conf], capture_output=True, timeout=60, check=False)
        assert done.returncode == 78 and f"{zone}:1".encode() in done.stderr, done
        # Each is right, and both together are not.
        other = public_dir / "other"
        zone.write_text("local.test. 60 IN A 192.0.2.1\n")
        other.write_text("local.test. 60 IN CNAME elsewhere.test.\n")
        spurn.configure(resolver=f"zone-file {zone} {other};")
        done = spurn.tool("check")
        assert done.returncode == 1 and f"{other}:1".encode() in done.stderr, done
        other.unlink()
        spurn.configure(resolver="")
        spurn.start()



@pytest.mark.parametrize("text, place", [("", None), ("nonsense yes;\n", "error:"),
                                         ("domain x.example.org { }\n", "error:")])
def test_check_command(spurn, text, place):
    with open(spurn.conf, "a", encoding="utf-8") as stream:
        stream.write(text)
    done = spurn.tool("check")
    if place is None:
        assert done.returncode == 0, done
    else:
        assert done.returncode != 0 and place in done.stderr.decode() and "spurn.conf:" in done.stderr.decode()
    assert rcpt_code(spurn) == 250


def test_check_live_asks_the_backend(backend, dns):
    with Spurn(backend.url, dns=dns) as spurn:
        assert spurn.tool("check", "--live").returncode == 0
        backend.kill()
        done = spurn.tool("check", "--live")
        assert done.returncode != 0 and str(backend.port) in (done.stdout + done.stderr).decode()


def test_status_command(spurn):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    done = spurn.tool("status")
    assert done.returncode == 0, done.stderr
    assert "messages accepted" in done.stdout.decode()


def test_try_command_sends_nothing(spurn, backend):
    backend.recipients["nobody@example.org"] = "550 5.1.1 no"

    def play(recipient):
        return spurn.tool("try", "--ip", "192.0.2.1", "--helo", "client.example.net", "--from", SENDER, "--to", recipient)
    good, bad = play(ALICE), play("nobody@example.org")
    assert good.returncode == 0, good
    assert bad.returncode == 1 and "5.1.1" in bad.stdout.decode(), bad
    assert not backend.seen("DATA") and not backend.messages


def test_try_command_with_a_broken_backend_is_deferred(spurn, backend):
    backend.kill()
    done = spurn.tool("try", "--ip", "192.0.2.1", "--helo", "client.example.net", "--from", SENDER, "--to", ALICE)
    assert done.returncode == 2, done


def test_recipient_command(spurn, backend):
    assert rcpt_code(spurn) == 250
    done = spurn.tool("recipient", "show", ALICE)
    assert done.returncode == 0 and "exists" in done.stdout.decode().lower(), done
    assert spurn.tool("recipient", "forget", ALICE).returncode == 0
    backend.recipients[ALICE] = "550 5.1.1 no"
    assert rcpt_code(spurn) == 550, "forgotten: it was never known good"
