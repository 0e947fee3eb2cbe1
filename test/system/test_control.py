"""The control socket: what the daemon tells about itself, the observe switch, recipients; and the journal it reads from."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from peers import BUILD, CLIENT_DOMAIN, FakeBackend, Spurn, message, wait_until

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE = "alice@example.org"


def raw(spurn, request, timeout=20):
    """Sends bytes to the control socket; returns what comes until it closes."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(os.path.join(spurn.state, "control"))
        s.sendall(request)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def ask_all(spurn, line):
    """The objects of the answer."""
    return [json.loads(text) for text in raw(spurn, line.encode() + b"\n").decode().splitlines()]


def ask(spurn, line):
    """The one object of the answer."""
    answer = ask_all(spurn, line)
    assert len(answer) == 1
    return answer[0]


@pytest.fixture(name="users")
def users_fixture():
    """A list of recipients that the daemon's user can read."""
    with tempfile.TemporaryDirectory(prefix="spurn-users-") as directory:
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "users")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("alice@example.org\nbob@example.org\n")
        yield path


# ---- status ------------------------------------------------------------------------------


def test_status_has_every_field_of_the_protocol(spurn):
    status = ask(spurn, "status")
    assert {"version", "master_pid", "uptime_s", "reloaded", "reload_failed", "observe", "workers", "counters",
            "glitches", "fibers", "loop", "backends", "dnsbl", "dns", "store", "journal", "lists"} <= set(status)
    assert status["master_pid"] == spurn.child.pid
    assert status["reloaded"] is None and status["reload_failed"] is False and status["observe"] is False
    assert [worker["pid"] for worker in status["workers"]] == spurn.workers()
    worker, = status["workers"]
    assert worker["state"] == "running" and worker["slot"] == 0 and worker["heartbeat_age_ms"] < 5000
    assert all(set(count) == {"text", "value"} for count in status["counters"].values())
    assert status["glitches"]["bare_lf"] == {"text": "bare LF in message data", "value": 0}
    assert status["fibers"]["stacks"] > 0 and status["loop"]["turns"] > 0
    assert status["journal"]["failures"] == 0 and status["store"]["failures"] == 0


def test_status_counts_what_happened(backend, dns):
    with Spurn(backend.url, dns=dns, workers=2) as spurn:
        for _ in range(6):
            with spurn.session() as c:
                c.deliver(SENDER, [ALICE], message())
                c.quit()

        def counted():
            counters = ask(spurn, "status")["counters"]
            return counters["messages_accepted"]["value"] == 6 and counters["sessions_open"]["value"] == 0
        wait_until(counted, 10, "six messages, of all workers together")
        assert ask(spurn, "status")["counters"]["recipients_ok"]["value"] == 6


def test_status_of_backend_and_lists(backend, dns, users):
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        wait_until(lambda: ask(spurn, "status")["backends"][0]["known"], 10, "the backend's EHLO")
        host, = ask(spurn, "status")["backends"]
        assert host["url"] == backend.url and host["up"] is True and "PIPELINING" in host["capabilities"]
        assert ask(spurn, "status")["lists"] == [{"path": users, "count": 2, "trouble": None}]


def test_status_of_a_backend_that_is_down(dns):
    with FakeBackend() as gone:
        url = gone.url
    with Spurn(url, dns=dns) as spurn:
        def down():
            host, = ask(spurn, "status")["backends"]
            return host if host["last_error"] else None
        host = wait_until(down, 10, "a failure")
        host = down()
        assert host["up"] is False and host["failed"] > 0 and host["known"] is False
        assert host["retry_in_ms"] >= 0


def test_reload_is_told(spurn):
    spurn.reload()
    wait_until(lambda: ask(spurn, "status")["reloaded"], 5, "the time of the reload")
    with open(spurn.conf, "a", encoding="utf-8") as stream:
        stream.write("nonsense;\n")
    spurn.reload()
    wait_until(lambda: ask(spurn, "status")["reload_failed"], 5, "the refusal")


def test_waits_are_listed(spurn):
    def silent_ones():
        return [wait for wait in ask_all(spurn, "waits") if wait["label"] == "control request"]
    assert silent_ones() == []
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.path.join(spurn.state, "control"))
        wait_until(silent_ones, 5, "the one who says nothing")
        wait, = silent_ones()
        assert wait["name"] == "control"
        assert wait["since_ms"] >= 0 and 0 < wait["deadline_in_ms"] <= 10000


# ---- observe -----------------------------------------------------------------------------


def test_observe_is_switched_and_survives_a_restart(backend, dns):
    with Spurn(backend.url, dns=dns, top="clients { deny 127.0.0.1; }") as spurn:
        assert ask(spurn, "observe show") == {"observe": False}
        assert ask(spurn, "observe on") == {"observe": True}
        assert ask(spurn, "observe show") == {"observe": True} and ask(spurn, "status")["observe"] is True
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        spurn.kill()
        spurn.restart()
        assert ask(spurn, "observe show") == {"observe": True}
        assert ask(spurn, "observe off") == {"observe": False}
        spurn.kill()
        spurn.restart()
        assert ask(spurn, "observe show") == {"observe": False}


# ---- recipients --------------------------------------------------------------------------


def test_recipient_show_probe_forget(backend, dns):
    with Spurn(backend.url, dns=dns) as spurn:
        shown = ask(spurn, "recipient show Alice@Example.ORG")
        assert shown["address"] == ALICE and shown["domain"] == "example.org" and shown["answer"] == "ask"
        assert ask(spurn, f"recipient forget {ALICE}")["forgotten"] is False
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())
        cache = next(s for s in ask(spurn, f"recipient show {ALICE}")["sources"] if s["source"] == "cache")
        assert cache["answer"] == "exists" and "250" in cache["detail"]
        before = len(backend.messages)
        probed = ask(spurn, f"recipient probe {ALICE}")
        assert probed["answer"] == "exists"
        assert probed["sources"][-1]["source"] == f"callforward {backend.url}"
        assert len(backend.messages) == before
        assert ask(spurn, f"recipient forget {ALICE}")["forgotten"] is True
        assert ask(spurn, f"recipient forget {ALICE}")["forgotten"] is False
        # The connection that was probed on is still good.
        with spurn.session() as c:
            c.deliver(SENDER, [ALICE], message())


def test_recipient_under_an_alias(backend, dns):
    """It is asked for, and remembered, under the domain's own name."""
    with Spurn(backend.url, dns=dns, recipients="recipients callforward; alias example.com;") as spurn:
        with spurn.session() as c:
            c.deliver(SENDER, ["alice@example.com"], message())
        shown = ask(spurn, "recipient show alice@example.com")
        assert shown["address"] == ALICE and shown["answer"] == "exists"
        assert ask(spurn, "recipient forget alice@example.com")["forgotten"] is True


def test_recipient_of_a_file(backend, dns, users):
    with Spurn(backend.url, dns=dns, recipients=f"recipients file {users};") as spurn:
        assert ask(spurn, f"recipient show {ALICE}")["sources"] == [
            {"source": f"file {users}", "answer": "exists", "detail": ""}]
        assert ask(spurn, "recipient show carol@example.org")["answer"] == "no-such-user"
        # The backend knows her, the list is the domain's only source: it has the last word.
        assert ask(spurn, "recipient probe carol@example.org")["answer"] == "no-such-user"


def test_probe_of_a_backend_that_is_down(dns):
    with FakeBackend() as gone:
        url = gone.url
    with Spurn(url, dns=dns) as spurn:
        probed = ask(spurn, f"recipient probe {ALICE}")
        assert probed["answer"] == "unknown" and probed["sources"][-1]["detail"]


@pytest.mark.parametrize("request_line", [
    "recipient show", "recipient show nonsense", "recipient show a@elsewhere.example", "recipient drop alice@example.org",
    "recipient probe a b@example.org", "recipient probe <alice@example.org> x", "observe maybe", "status now", "", "GET /"])
def test_bad_requests_are_told(spurn, request_line):
    assert set(ask(spurn, request_line)) == {"error"}


# ---- peers -------------------------------------------------------------------------------


def test_bytes_lines_and_silence(spurn):
    assert "error" in json.loads(raw(spurn, b"x" * 5000))
    assert json.loads(raw(spurn, b"observe show\r\n")) == {"observe": False}
    assert "error" in json.loads(raw(spurn, b"recipient show \x00\xff\n"))
    path = os.path.join(spurn.state, "control")
    held = []
    for _ in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(path)
        held.append(s)
    for s in held:
        s.close()

    def answers():
        try:
            return "version" in ask(spurn, "status")
        except OSError:         # more than so many at a time are turned away
            return False
    wait_until(answers, 10, "an answer after the crowd")


def test_start_waits_for_a_predecessor_that_is_dying(spurn):
    """Killed at once, its workers may hold the socket a moment longer than it. Who stays is another daemon."""
    path = os.path.join(spurn.state, "control")
    done = subprocess.run([os.path.join(BUILD, "spurnd"), "-f", "-c", spurn.conf], capture_output=True, timeout=60, check=False)
    assert done.returncode == 71 and b"does another spurnd run with this state-dir?" in done.stderr, done
    spurn.stop()
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(path)
        os.chown(path, os.stat(spurn.state).st_uid, -1)
        holder.listen()
        threading.Timer(1, holder.close).start()
        spurn.start()
    assert ask(spurn, "status")["workers"]


def test_only_root_and_the_daemons_user_may_ask(spurn):
    path = os.path.join(spurn.state, "control")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    if os.geteuid() != 0:
        pytest.skip("must be root to become somebody else")
    # Somebody loosens every mode on the way: the daemon still looks at who asks.
    for directory in (path, spurn.state, os.path.dirname(spurn.state)):
        os.chmod(directory, 0o777)
    program = ("import os, socket, sys; os.setgroups([]); os.setgid(4242); os.setuid(4242); "
               "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'status\\n'); "
               "print(s.recv(65536).decode())")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=30, check=False)
    assert "not permitted" in done.stdout, done.stderr


def test_old_records_are_faded_by_the_worker_in_its_sandbox(spurn):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    spurn.wait_records(1)
    spurn.kill()
    journal = os.path.join(spurn.state, "journal")
    for name in os.listdir(journal):
        os.rename(os.path.join(journal, name), os.path.join(journal, time.strftime(
            "%Y%m%dT%H%M%S", time.gmtime(time.time() - 20 * 86400)) + name[15:]))
    spurn.restart()
    aged = time.strftime("%Y%m%d", time.gmtime(time.time() - 20 * 86400))

    def forms():
        return {name.split(".", 2)[2] for name in os.listdir(journal) if name.startswith(aged)}
    wait_until(lambda: forms() == {"faded.jsonl.gz", "faded.gzi", "faded.idx"}, 30, "nothing but the faded form")
    record, = spurn.transactions()
    assert record["mail_from"].startswith("hash:") and record["rcpt"][0]["address"].startswith("hash:")
    assert record["client"]["ip"] == "127.0.0.0/24" and record["disposition"] == "accept"
    assert "@" not in json.dumps(record)
    assert stat.S_IMODE(os.stat(os.path.join(journal, "fade.key")).st_mode) == 0o600


def test_a_dead_workers_records_are_kept(spurn):
    with spurn.session() as c:
        c.deliver(SENDER, [ALICE], message())
    before = len(spurn.wait_records(1))
    spurn.kill_worker()
    wait_until(lambda: spurn.workers() and "version" in ask(spurn, "status"), 10, "the next worker")
    assert len(spurn.transactions()) == before
