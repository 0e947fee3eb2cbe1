"""Directories: LDAP, SQL and socketmap tell who exists. Never 250 without a positive answer, never 5xx on trouble."""

import os
import signal
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from directories import (ActiveDirectory, INJECTIONS, Ldap, MariaDb, NOBODY, ODD, PostgreSql, SocketmapServer, Sqlite,
                         ask_socketmap)
from peers import CLIENT_DOMAIN, Spurn, wait_until
from process import children_of, free_port, run

SENDER = f"sender@{CLIENT_DOMAIN}"
SOURCES = [Ldap, ActiveDirectory, PostgreSql, MariaDb, Sqlite]
# A "no" is not remembered; a "yes" is, so what is asked while a directory is in trouble must be asked for the first time.
ASK = "check recipient { negative 0s; }"
SERVERS = [Ldap, PostgreSql, MariaDb]


def spurn_with(block, backend, dns, *, recipients="recipients directory users;", top="", **keywords):
    """Spurn with the directory `users`."""
    return Spurn(backend.url, dns=dns, recipients=recipients, top=f"directory users {{ {block} }}\n{ASK}\n{top}", **keywords)


def rcpt(spurn, address, timeout=30.0):
    """The reply to RCPT in a session of its own."""
    with spurn.session(timeout=timeout) as c:
        c.command(f"MAIL FROM:<{SENDER}>" + (" SMTPUTF8" if not address.isascii() else ""), 250)
        reply = c.command(f"RCPT TO:<{address}>")
        c.command("QUIT", 221)
        return reply


def code(spurn, address):
    return rcpt(spurn, address).code


def asked(spurn, address, timeout=30.0):
    """What the directory process answers."""
    return ask_socketmap(os.path.join(spurn.state, "directory"), "users", address, timeout)


def directory_process(spurn):
    """The process id of the directory process."""
    def found():
        for pid in children_of(spurn.child.pid):
            with open(f"/proc/{pid}/comm", encoding="ascii") as stream:
                if stream.read().strip() == "spurnd-dir":
                    return pid
        return None
    return wait_until(found, 10, "a directory process")


@pytest.fixture(scope="module", params=SOURCES, ids=lambda cls: cls.name)
def source(request):
    """Each kind of directory, with the odd users."""
    with request.param(ODD) as directory:
        yield directory


# ---- answers -----------------------------------------------------------------------------


def test_who_exists_and_who_does_not(source, backend, dns):
    with spurn_with(source.block(), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 250
        assert code(spurn, "ANN@Example.ORG") == 250
        reply = rcpt(spurn, "nobody@example.org")
        assert (reply.code, reply.enhanced) == (550, "5.1.1"), reply
        finding = [f for f in spurn.record(reply.ref)["findings"] if f["check"] == "recipient"][0]
        assert "users" in finding["reason"], finding
        assert not [a for a in backend.seen("RCPT") if "nobody" in a], "who does not exist is not asked of the backend"


def test_odd_addresses(source, backend, dns):
    with spurn_with(source.block(), backend, dns) as spurn:
        for address in ODD:
            if source.name == "slapd" and not address.isascii():
                assert asked(spurn, address) == "NOTFOUND ", "its attribute cannot hold it"
                continue
            assert asked(spurn, address) == f"OK {address}", address
            assert code(spurn, address) == 250, address
            local, domain = address.rsplit("@", 1)
            if not local.startswith('"') and len(local) < 60:
                assert code(spurn, f"{local}x@{domain}") == 550, address


def test_injection_strings_find_nobody(source, backend, dns):
    with spurn_with(source.block(), backend, dns) as spurn:
        for key in INJECTIONS:
            assert asked(spurn, key) == "NOTFOUND ", key
        for local in ("*", "a*", "x'or'1'='1", "%", "_nn", "$1", "?", '"*)(mail=*"', '"\\"\' OR 1=1 --"'):
            assert code(spurn, f"{local}@example.org") == 550, local
        # It is all still there.
        assert code(spurn, "ann@example.org") == 250


def test_what_is_no_address_is_not_found(source, backend, dns):
    with spurn_with(source.block(), backend, dns) as spurn:
        for key in ("example.org", "@example.org", "ann@", "ann", "@"):
            assert asked(spurn, key) == "NOTFOUND ", key
        path = os.path.join(spurn.state, "directory")
        assert ask_socketmap(path, "other", "ann@example.org").startswith("PERM ")
        assert ask_socketmap(path, "users", "ann@example.org\0x").startswith("PERM ")


def test_only_our_user_may_ask(source, backend, dns):
    with spurn_with(source.block(), backend, dns) as spurn:
        path = os.path.join(spurn.state, "directory")
        directory_process(spurn)
        wait_until(lambda: os.path.exists(path), 10, "the socket")
        status = os.stat(path)
        assert status.st_mode & 0o777 == 0o600
        os.chmod(spurn.state, 0o755)
        os.chmod(path, 0o666)
        script = (f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
                  f"from directories import ask_socketmap\nprint(ask_socketmap({path!r}, 'users', 'ann@example.org'))")
        done = run(["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "python3", "-c", script])
        assert b"OK " not in done.stdout, done


# ---- trouble -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*SERVERS, Sqlite], ids=lambda cls: cls.name)
def test_a_dead_directory_is_no_answer(kind, backend, dns):
    with kind(ODD) as directory, spurn_with(directory.block("timeout 2s;"), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 250
        directory.down()
        for address in ("o'hara@example.org", "nobody@example.org"):
            reply = rcpt(spurn, address)
            assert (reply.code, reply.enhanced) == (451, "4.4.3"), reply
        assert asked(spurn, "ann@example.org").split()[0] in ("TEMP", "TIMEOUT")
        assert code(spurn, "ann@example.org") == 250, "whom it knew is known"
        directory.launch()
        wait_until(lambda: code(spurn, "o'hara@example.org") == 250, 40, "an answer after its return")
        assert code(spurn, "nobody@example.org") == 550


@pytest.mark.parametrize("kind", SERVERS, ids=lambda cls: cls.name)
def test_a_slow_directory_is_no_answer(kind, backend, dns):
    with kind(ODD) as directory, spurn_with(directory.block("timeout 2s; connections 2;"), backend, dns) as spurn:
        wait_until(lambda: code(spurn, "ann@example.org") == 250, 20, "the first answer")
        directory.freeze()
        try:
            for address in ("o'hara@example.org", "nobody@example.org"):
                began = time.monotonic()
                reply = rcpt(spurn, address)
                assert reply.code == 451, reply
                assert time.monotonic() - began < 6
        finally:
            directory.thaw()
        wait_until(lambda: code(spurn, "o'hara@example.org") == 250, 40, "an answer after its return")


@pytest.mark.parametrize("kind", SERVERS, ids=lambda cls: cls.name)
def test_a_wrong_password_is_no_answer(kind, backend, dns):
    with kind(ODD) as directory:
        for password in ("wrong", ""):
            with spurn_with(directory.block(password=password), backend, dns) as spurn:
                for address in ("ann@example.org", "nobody@example.org"):
                    assert code(spurn, address) == 451, (password, address)
                assert asked(spurn, "nobody@example.org").startswith("TEMP ")
                assert "directory users" in spurn.stderr()


def test_a_password_that_is_mended_counts_without_a_reload(backend, dns):
    with PostgreSql(ODD) as directory, spurn_with(directory.block(password="wrong"), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 451
        directory.password_file()
        wait_until(lambda: code(spurn, "ann@example.org") == 250, 40, "the right password")


def test_tls_failures_are_no_answer(backend, dns):
    with Ldap(ODD) as directory:
        good = f"ca-file {directory.certificate};"
        cases = [
            (f"ldap://127.0.0.1:{directory.port}", f"starttls yes; {good}", 250),
            (f"ldaps://127.0.0.1:{directory.tls_port}", good, 250),
            (f"ldap://127.0.0.2:{directory.port}", f"starttls yes; {good}", 451),       # of another name
            (f"ldaps://127.0.0.1:{directory.tls_port}", "", 451),                       # of nobody we trust
            (f"ldaps://127.0.0.1:{directory.tls_port}", "tls-verify no;", 250),
            (f"ldaps://127.0.0.1:{directory.port}", good, 451),                         # no TLS there
        ]
        for url, extra, expected in cases:
            with spurn_with(directory.block(f"timeout 3s; {extra}", url=url), backend, dns) as spurn:
                assert code(spurn, "ann@example.org") == expected, (url, extra)
                assert code(spurn, "nobody@example.org") == (550 if expected == 250 else 451), (url, extra)


@pytest.mark.parametrize("kind,change", [(PostgreSql, ("sslmode=disable", "sslmode=require")),
                                         (MariaDb, ("user=reader", "user=reader tls=require"))],
                         ids=["postgresql", "mariadb"])
def test_a_database_without_tls_is_no_answer(kind, change, backend, dns):
    with kind(ODD) as directory:
        with spurn_with(directory.block().replace(*change), backend, dns) as spurn:
            assert code(spurn, "ann@example.org") == 451
            assert code(spurn, "nobody@example.org") == 451


def test_limits_and_wrong_bases_are_no_answer(backend, dns):
    with Ldap(ODD, sizelimit="1") as directory:
        broad = '"(|(objectClass=*)(mail=%s))"'
        with spurn_with(directory.block(f"filter {broad};"), backend, dns) as spurn:
            assert code(spurn, "nobody@example.org") == 250, "an entry in hand is a yes, limit or not"
        wrong = directory.block().replace("dc=example,dc=org\"; template", "dc=missing,dc=org\"; template")
        with spurn_with(wrong, backend, dns) as spurn:
            assert code(spurn, "ann@example.org") == 451
            assert asked(spurn, "nobody@example.org").startswith("TEMP ")


def test_a_right_that_is_lost_is_found_by_the_canary(backend, dns):
    blind = 'access to * by anonymous auth by * none'
    with Ldap(ODD, access=blind) as directory:
        with spurn_with(directory.block(bind=False), backend, dns) as spurn:
            answer = asked(spurn, "ann@example.org")
        with spurn_with(directory.block("canary ann@example.org;", bind=False), backend, dns) as spurn:
            assert code(spurn, "bob@example.org") == 451
            if answer == "NOTFOUND ":
                assert "canary" in spurn.stderr()
    with Ldap(ODD) as directory, spurn_with(directory.block("canary ann@example.org;"), backend, dns) as spurn:
        assert code(spurn, "bob@example.org") == 550


@pytest.mark.parametrize("kind", [PostgreSql, MariaDb, Sqlite], ids=lambda cls: cls.name)
def test_queries_that_do_not_say(kind, backend, dns):
    with kind(ODD) as directory:
        cases = [
            ("SELECT count(*) FROM users WHERE address = $1", 250, 451),       # 0 can be meant either way
            ("SELECT max(address) FROM users WHERE address = $1", 250, 550),   # NULL is nobody
            ("SELECT nonsense FROM users WHERE address = $1", 451, 451),
            ("SELECT 1 FROM missing WHERE address = $1", 451, 451),
            ("SELECT $3, address FROM users WHERE address = $1 AND '$2' <> $2", 250, 550),
        ]
        if kind is not PostgreSql:      # it wants types that it can find out
            cases.append(("SELECT 1, 2, 3 FROM users WHERE address = CASE $2 WHEN 'ann' THEN $1 ELSE 'x' END", 250, 550))
        for query, there, absent in cases:
            with spurn_with(directory.block(query=query), backend, dns) as spurn:
                assert code(spurn, "ann@example.org") == there, query
                assert code(spurn, "nobody@example.org") == absent, query


def test_a_database_that_is_moved_in_place(backend, dns):
    with Sqlite(ODD) as directory, spurn_with(directory.block(), backend, dns) as spurn:
        assert code(spurn, "fresh@example.org") == 550
        directory.users.append("fresh@example.org")
        directory.make(directory.path("next.db"))
        os.rename(directory.path("next.db"), directory.path("users.db"))
        assert code(spurn, "fresh@example.org") == 250


# ---- many --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOURCES, ids=lambda cls: cls.name)
def test_a_hundred_thousand_users(kind, backend, dns):
    users = [f"user{n}@example.org" for n in range(100000)]
    copy = "/nonexistent"
    with kind(users) as directory:
        with spurn_with(directory.block(), backend, dns) as spurn:
            for n in (0, 1, 50000, 99999):
                assert code(spurn, f"user{n}@example.org") == 250
            for name in ("user100000", "user", "user-1"):
                assert code(spurn, f"{name}@example.org") == 550
            copy = os.path.join(spurn.state, "copy")
            spurn.configure(top=f"{ASK} directory users {{ {directory.block(f'copy {copy};')} }}")
            spurn.reload()
            done = spurn.tool("recipient", "sync", "users")
            assert done.returncode == 0, done
            with open(copy, encoding="utf-8") as stream:
                lines = [line.strip() for line in stream if not line.startswith("#")]
            assert set(users) <= set(lines) and len(lines) - len(users) < 10


# ---- Active Directory --------------------------------------------------------------------


def test_active_directory(backend, dns):
    with ActiveDirectory(["ann@example.org"]) as directory:
        with spurn_with(directory.block(), backend, dns) as spurn:
            expected = {"ann": 250, "many": 250, "alias": 250, "group": 250, "shared": 250, "disabled": 550, "voice": 550,
                        "nobody": 550}
            assert {name: code(spurn, f"{name}@example.org") for name in expected} == expected
            copy = os.path.join(spurn.state, "copy")
            spurn.configure(top=f"{ASK} directory users {{ {directory.block(f'copy {copy};')} }}")
            assert spurn.tool("recipient", "sync").returncode == 0
            with open(copy, encoding="utf-8") as stream:
                lines = [line.strip() for line in stream if not line.startswith("#")]
            assert lines == [f"{name}@example.org" for name in ("alias", "ann", "group", "many", "shared")]


# ---- the chain ---------------------------------------------------------------------------


def test_a_dead_directory_stops_no_other_source(backend, dns, public_dir):
    users = public_dir / "users"
    users.write_text("ann@example.org\n")
    users.chmod(0o644)
    dead = "socketmap unix:/nonexistent/map users;"
    backend.recipients["late@example.org"] = "550 5.1.1 no"
    with spurn_with(dead, backend, dns, recipients=f"recipients directory users; recipients file {users};") as spurn:
        assert code(spurn, "ann@example.org") == 250
        assert code(spurn, "bob@example.org") == 451, "the dead one may know him"
    with spurn_with(dead, backend, dns, recipients="recipients directory users; recipients callforward;") as spurn:
        assert code(spurn, "bob@example.org") == 250
        assert code(spurn, "late@example.org") == 550


def test_a_dead_directory_is_nobodys_guess(backend, dns):
    dead = "socketmap unix:/nonexistent/map users;"
    with spurn_with(dead, backend, dns, listener={"max-unknown-recipients": "4"}) as spurn:
        for n in range(20):
            assert code(spurn, f"user{n}@example.org") == 451


def test_what_the_copy_knows_exists_while_the_directory_is_dead(backend, dns):
    with Ldap(ODD) as directory:
        with spurn_with(directory.block("timeout 2s;"), backend, dns) as spurn:
            copy = os.path.join(spurn.state, "copy")
            spurn.configure(top=f"{ASK} directory users {{ {directory.block(f'timeout 2s; copy {copy} every 1h;')} }}")
            spurn.reload()
            wait_until(lambda: os.path.exists(copy), 20, "the copy on its schedule")
            directory.down()
            wait_until(lambda: code(spurn, "o'hara@example.org") == 250, 10, "the copy in use")
            assert code(spurn, "nobody@example.org") == 451
            status = spurn.tool("status").stdout.decode()
            assert "users" in status and "ldap" in status, status
            # A restart without it, too.
            spurn.kill()
            spurn.restart()
            assert code(spurn, "a=b/c?d~e|f@example.org") == 250
            assert code(spurn, "nobody@example.org") == 451


# ---- the copy ----------------------------------------------------------------------------


def test_a_copy_that_shrinks_is_refused(backend, dns):
    users = [f"user{n}@example.org" for n in range(100)]
    with Sqlite(users) as directory:
        with spurn_with(directory.block(), backend, dns) as spurn:
            copy = os.path.join(spurn.state, "copy")
            spurn.configure(top=f"{ASK} directory users {{ {directory.block(f'copy {copy};')} }}")
            assert spurn.tool("recipient", "sync", "example.org").returncode == 0
            before = open(copy, encoding="utf-8").read()
            assert os.stat(copy).st_uid == NOBODY
            for left in (79, 0):
                directory.users = users[:left]
                os.unlink(directory.path("users.db"))
                directory.make(directory.path("users.db"))
                done = spurn.tool("recipient", "sync", "users")
                assert done.returncode == 1 and b"refused" in done.stderr, done
                assert open(copy, encoding="utf-8").read() == before
            assert spurn.tool("recipient", "sync", "--force", "users").returncode == 1, "an empty list is never taken"
            directory.users = users[:20]
            os.unlink(directory.path("users.db"))
            directory.make(directory.path("users.db"))
            assert spurn.tool("recipient", "sync", "--force", "users").returncode == 0
            assert len(open(copy, encoding="utf-8").readlines()) == 21
            assert sorted(os.listdir(spurn.state)).count("copy") == 1
            assert not [name for name in os.listdir(spurn.state) if ".new" in name]


def test_a_list_that_breaks_off_is_no_copy(backend, dns):
    with Ldap([f"user{n}@example.org" for n in range(800)], sizelimit="600") as directory:
        block = directory.block(bind=False)
        with spurn_with(block, backend, dns) as spurn:
            copy = os.path.join(spurn.state, "copy")
            spurn.configure(top=f"{ASK} directory users {{ {block} copy {copy}; }}")
            done = spurn.tool("recipient", "sync", "users")
            assert done.returncode == 1 and b"users" in done.stderr, done
            assert not os.path.exists(copy)


GOOGLE = '''First Name [Required],Last Name [Required],Email Address [Required],Status [READ ONLY],Recovery Email
Ann,A,Ann@Example.org,Active,ann@elsewhere.example
"Bob, the","B ""b""",bob@example.org,Active,
Sue,S,sue@example.org,Suspended,
'''
MICROSOFT = """\ufeffDisplay name,User principal name,Proxy addresses,Block credential
Ann,ann.login@example.org,SMTP:ann@example.org+smtp:a.n@example.org+SIP:ann@example.org,False
Room,room@corp.example,"smtp:room@example.org;SMTP:saal@example.org",True
"""


def test_exports_of_microsoft_and_google(backend, dns):
    from process import run as plain_run
    from spurn import BUILD
    with Spurn(backend.url, dns=dns) as spurn:
        path = os.path.join(spurn.state, "imported")

        def imported(text, *arguments):
            done = plain_run([os.path.join(BUILD, "spurn"), "recipient", "import", "-c", spurn.conf, *arguments, path],
                             data=text.encode())
            lines = open(path, encoding="utf-8").read().split("\n") if os.path.exists(path) else []
            return done.returncode, [line for line in lines if line and line[0] != "#"], done.stderr.decode()

        assert imported(GOOGLE)[:2] == (0, ["ann@example.org", "bob@example.org"])
        assert imported(MICROSOFT, "--force")[:2] == (
            0, ["a.n@example.org", "ann@example.org", "room@example.org", "saal@example.org"])
        status, lines, said = imported("ann@example.org\n")
        assert status == 1 and len(lines) == 4 and "refused" in said
        assert imported("Name,Colour\nx,y\n")[0] == 1
        assert imported("ann@example.org\nbob+x@example.org\n", "--force")[:2] == (
            0, ["ann@example.org", "bob+x@example.org"])
        assert imported(GOOGLE, "--column", "Recovery Email", "--force")[:2] == (0, ["ann@elsewhere.example"])


# ---- the process -------------------------------------------------------------------------


def test_the_process_is_replaced_reloaded_and_upgraded(backend, dns):
    with Sqlite(ODD) as directory, spurn_with(directory.block(), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 250
        first = directory_process(spurn)
        os.kill(first, signal.SIGKILL)
        assert code(spurn, "ann@example.org") in (250, 451)
        wait_until(lambda: directory_process(spurn) != first, 10, "another process")
        wait_until(lambda: code(spurn, "ann@example.org") == 250, 10, "an answer")
        assert code(spurn, "nobody@example.org") == 550
        second = directory_process(spurn)
        spurn.configure(top=f"{ASK} directory users {{ {directory.block(query='SELECT 1 FROM users WHERE address = lower($1)')} }}")
        spurn.reload()
        wait_until(lambda: directory_process(spurn) != second, 10, "a process with the new configuration")
        assert code(spurn, "ann@example.org") == 250
        assert code(spurn, "nobody@example.org") == 550
        third = directory_process(spurn)
        spurn.child.signal(signal.SIGUSR2)
        wait_until(lambda: not os.path.exists(f"/proc/{third}") or
                   open(f"/proc/{third}/stat", encoding="ascii").read().split()[2] == "Z", 20, "the end of the old process")
        wait_until(lambda: code(spurn, "ann@example.org") == 250, 10, "an answer after the upgrade")
        assert code(spurn, "nobody@example.org") == 550
        spurn.configure(top="", domains={"example.org": f"backend {backend.url}; recipients callforward;"})
        spurn.reload()
        assert code(spurn, "nobody@example.org") == 250


def test_no_question_fails_over_a_reload(backend, dns):
    with Sqlite(ODD) as directory, spurn_with(directory.block(), backend, dns) as spurn:
        for _ in range(5):
            spurn.child.signal(signal.SIGHUP)
            for _ in range(20):
                assert code(spurn, "ann@example.org") == 250
                assert code(spurn, "nobody@example.org") == 550


def test_the_process_keeps_to_its_sandbox(backend, dns):
    with PostgreSql(ODD) as directory, spurn_with(directory.block(), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 250
        status = open(f"/proc/{directory_process(spurn)}/status", encoding="ascii").read()
        assert "Seccomp:\t2" in status and "CapEff:\t0000000000000000" in status, status
        assert "sandbox" not in spurn.stderr()


# ---- others ------------------------------------------------------------------------------


def postmap(directory, port, key):
    """`postmap -q` with a configuration of its own: the machine may have none."""
    main = os.path.join(directory, "main.cf")
    with open(main, "w", encoding="ascii") as stream:
        stream.write("compatibility_level = 3.6\n")
    return run(["postmap", "-c", directory, "-q", key, f"socketmap:inet:127.0.0.1:{port}:users"])


def test_postfix_reads_ours(source, backend, dns, tmp_path):
    port = free_port()
    with spurn_with(source.block(), backend, dns, top=f"directory-serve 127.0.0.1:{port};") as spurn:
        directory_process(spurn)
        done = postmap(tmp_path, port, "ann@example.org")
        assert done.stdout.decode().strip() == "ann@example.org", done
        done = postmap(tmp_path, port, "nobody@example.org")
        assert done.returncode == 1 and not done.stdout and not done.stderr, done


def test_postfix_defers_when_ours_is_in_trouble(backend, dns, tmp_path):
    port = free_port()
    with Sqlite(ODD) as directory:
        with spurn_with(directory.block(), backend, dns, top=f"directory-serve 127.0.0.1:{port};") as spurn:
            directory_process(spurn)
            directory.down()
            done = postmap(tmp_path, port, "ann@example.org")
            assert done.returncode == 1 and b"temporary error" in done.stderr, done


def test_a_directory_that_fails_is_tried_by_one_at_a_time(backend, dns):
    """Eight questions that fail together are one failure, and after the pause one of them tries: else a short interruption
    costs half a minute, and a wrong password is sent eight times, until the account is locked."""
    count = 0

    class Hangup(socketserver.BaseRequestHandler):
        def handle(self):
            nonlocal count
            count += 1
            time.sleep(0.3)

    def eight(spurn):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: asked(spurn, f"user{n}@example.org"), range(8)))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Hangup) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        block = f"ldap ldap://127.0.0.1:{server.server_address[1]}; base \"dc=x\"; template openldap; connections 8; starttls no;"
        with spurn_with(block, backend, dns) as spurn:
            assert all(answer.startswith("TEMP ") for answer in eight(spurn))
            assert 1 <= count <= 8
            time.sleep(1)
            before = count
            assert all(answer.startswith("TEMP ") for answer in eight(spurn))
            assert count == before + 1
        server.shutdown()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_socketmap_of_others(unix, backend, dns):
    def reply(name, key):
        assert name == "mailboxes"
        return "OK yes" if key.startswith("ann") else "NOTFOUND "
    with SocketmapServer(reply, path=unix) as server:
        with spurn_with(f"socketmap {server.address} mailboxes; timeout 2s;", backend, dns) as spurn:
            assert code(spurn, "ann@example.org") == 250
            assert code(spurn, "nobody@example.org") == 550
            said = {"TEMP": "TEMP later", "TIMEOUT": "TIMEOUT slow", "PERM": "PERM no", "garbage": b"hello\r\n",
                    "silence": None, "twice": b"9:NOTFOUND ,9:NOTFOUND ,", "empty": "", "lower": "notfound "}
            for what, answer in said.items():
                server.reply = lambda name, key, answer=answer: answer
                time.sleep(0.3)     # after failures in a row it is left alone for a moment
                assert code(spurn, f"ann.{what}@example.org") == 451, what
                assert code(spurn, "nobody@example.org") == 451, what
            server.reply = reply
            wait_until(lambda: code(spurn, "ann.again@example.org") == 250, 20, "an answer again")
            assert spurn.tool("recipient", "sync", "users").returncode != 0, "a socketmap cannot be listed"


# ---- the tool ----------------------------------------------------------------------------


def test_the_tool_sees_each_directory(source, backend, dns):
    with spurn_with(source.block("canary ann@example.org;"), backend, dns) as spurn:
        assert code(spurn, "ann@example.org") == 250
        live = spurn.tool("check", "--live")
        assert b"ok  directory users" in live.stdout, live
        probe = spurn.tool("recipient", "probe", "ann@example.org").stdout.decode()
        assert "directory users" in probe and "exists" in probe, probe
        probe = spurn.tool("recipient", "probe", "nobody@example.org").stdout.decode()
        assert "no-such-user" in probe, probe
        status = spurn.tool("status").stdout.decode()
        assert "users" in status, status
        if source.name != "sqlite":
            return
        os.rename(source.path("users.db"), source.path("gone.db"))
        try:
            assert code(spurn, "o'hara@example.org") == 451
            live = spurn.tool("check", "--live")
            assert b"directory users" in live.stderr + live.stdout and live.returncode == 1, live
            assert "directory users" in spurn.tool("status").stdout.decode()
        finally:
            os.rename(source.path("gone.db"), source.path("users.db"))
