"""`spurn check`, with and without --live: mistakes with their place, habits that go wrong, and what the network says."""

import os
import re

import pytest

from peers import BUILD, DnsServer, FakeBackend, Spurn, make_certificate
from process import run

MINIMAL = """\
hostname {hostname};
state-dir {state};
user {user};
{top}
listener inbound {{ address 127.0.0.1:2525; {listener} }}
resolver {{ {resolver} }}
domain example.org {{ backend {backend}; {recipients} }}
"""


@pytest.fixture
def checked(public_dir):
    """A function that checks a configuration made of parts; returns the CompletedProcess."""
    state = public_dir / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    state.chmod(0o750)

    def check(*options, **parts):
        values = {"hostname": "mx.spurn.test", "user": "nobody", "state": state, "top": "", "listener": "", "resolver": "recurse;",
                  "backend": "smtp://127.0.0.1:9", "recipients": "recipients callforward;", **parts}
        path = public_dir / "spurn.conf"
        path.write_text(MINIMAL.format(**values))
        return run([os.path.join(BUILD, "spurn"), "check", "-c", str(path), *options])

    return check


def said(done, status):
    text = done.stderr.decode()
    assert done.returncode == status, (done.returncode, done.stdout, text)
    assert "Sanitizer" not in text, text
    return done.stdout.decode() + text


def test_configuration_in_order(checked):
    done = checked()
    assert "spurn.conf: ok, 1 listener, 1 domain" in said(done, 0)
    assert done.stdout.count(b"\n") == 1


def test_every_mistake_is_shown_in_its_place(checked):
    done = checked(top="mod observe;\nworkers many;", recipients="")
    text = said(done, 1)
    assert done.stdout == b""
    assert "spurn.conf:4:1: error: " in text and "did you mean 'mode'" in text and "\n    ^" in text
    assert "spurn.conf:5:9: error: " in text and text.count("error: ") == 3, text


def test_files_that_are_not_there(checked, public_dir):
    text = said(checked(listener="tls-certificate /nowhere/chain.pem; tls-key /nowhere/key.pem;"), 1)
    assert "/nowhere/chain.pem" in text
    assert "/nowhere/users" in said(checked(recipients="recipients file /nowhere/users;"), 1)
    assert "/nowhere/zone" in said(checked(resolver="zone-file /nowhere/zone;"), 1)
    assert "/nowhere/state" in said(checked(state="/nowhere/state"), 1)
    assert "ssl" not in said(run([os.path.join(BUILD, "spurn"), "check", "-c", "/nowhere/spurn.conf"]), 1)
    users = public_dir / "users"
    users.write_text("alice@example.org\nnot an address\n")
    assert f"{users}:2: " in said(checked(recipients=f"recipients file {users};"), 1)


def test_files_are_looked_at_beside_the_mistakes_of_the_text(checked):
    """By `spurnd -t`, too, which guards a reload."""
    done = checked(top="workers many;", state="/nowhere/state", resolver="zone-file /nowhere/zone;",
                   listener="tls-certificate /nowhere/chain.pem; tls-key /nowhere/key.pem;")
    path = re.search(r"(\S+/spurn\.conf):", done.stderr.decode()).group(1)
    for text in (said(done, 1), said(run([os.path.join(BUILD, "spurnd"), "-t", "-c", path]), 78)):
        assert "spurn.conf:2:11: error: state-dir /nowhere/state: " in text
        assert "spurn.conf:4:9: error: workers: " in text
        assert "spurn.conf:5:60: error: listener inbound: /nowhere/chain.pem" in text
        assert "spurn.conf:6:22: error: /nowhere/zone" in text


def test_state_directory_and_key_are_seen_as_the_user_sees_them(checked, public_dir):
    root_only = public_dir / "root"
    root_only.mkdir(mode=0o700)
    assert "must belong to user nobody" in said(checked(state=root_only), 1)
    assert "too long for the control socket" in said(checked(state="/tmp/" + "x" * 100), 1)
    assert "user no-such-user: " in said(checked(user="no-such-user"), 1)
    certificate, key = make_certificate(str(public_dir), "mx.spurn.test")
    os.chown(key, 0, 0)
    os.chmod(key, 0o600)
    assert key in said(checked(listener=f"tls-certificate {certificate}; tls-key {key};"), 1)


def test_lists_and_zone_files(checked, public_dir):
    users, zone_file = public_dir / "users", public_dir / "zone"
    users.write_text("# nobody yet\n")
    assert f"{users}: the list is empty" in said(checked(recipients=f"recipients file {users};"), 0)
    zone_file.write_text("$ORIGIN example.\nbad line here\n")
    assert f"{zone_file}:2" in said(checked(resolver=f"zone-file {zone_file};"), 1)


@pytest.mark.parametrize("forward, public", [
    ("8.8.8.8", True), ("1.1.1.1:53", True), ("[2620:fe::fe]:53", True),
    ("127.0.0.1", False), ("8.8.8.80", False), ("192.0.2.53", False)])
def test_dns_lists_through_a_public_resolver(checked, forward, public):
    resolver = f"forward {forward};"
    assert ("public resolver" in said(checked(top="dnsbl bl.test { weight 3; }", resolver=resolver), 0)) is public
    assert "public resolver" not in said(checked(resolver=resolver), 0), "harmless without DNS lists"


@pytest.mark.parametrize("top, listener, words", [
    ("listener outbound { address 0.0.0.0:10025; next-hop smtp://127.0.0.1:9; allow 0.0.0.0/0; }", "", "open relay"),
    ("", "proxy-from 0.0.0.0/0;", "may claim any address"),
])
def test_dangerous_settings_are_errors(checked, top, listener, words):
    assert words in said(checked(top=top, listener=listener), 1)


@pytest.mark.parametrize("parts, word", [
    ({"top": "dnsbl bl.test { weight 3; }", "resolver": "forward 8.8.8.8;"}, "public resolver"),
    ({"top": "clients { trust 172.16.0.0/12; }"}, "container"),
    ({"top": "dnsbl bl.test { weight 1; }"}, "none can refuse"),
    ({"top": "mode observe;"}, "mode observe"),
])
def test_habits_that_go_wrong_are_warned_about(checked, parts, word):
    text = said(checked(**parts), 0)
    assert "warning: " in text and word in text


def test_wildcard_in_a_recipient_file_is_warned_about(checked, public_dir):
    users = public_dir / "users"
    users.write_text("alice@example.org\n@example.org\n")
    assert f"{users}:2: @example.org" in said(checked(recipients=f"recipients file {users};"), 0)


def test_key_that_everybody_can_read(checked, certificate, public_dir):
    chain, key = public_dir / "chain.pem", public_dir / "key.pem"
    for source, target in zip(certificate, (chain, key)):
        with open(source, "rb") as stream:
            target.write_bytes(stream.read())
        target.chmod(0o644)
    assert "can read the key" in said(checked(listener=f"tls-certificate {chain}; tls-key {key};"), 0)


def test_backend_that_is_a_listener_of_ours(checked):
    assert "in circles" in said(checked(backend="smtp://127.0.0.1:2525"), 1)


# ---- --live ------------------------------------------------------------------------------


@pytest.fixture
def zone():
    with DnsServer(ttl=1) as server:
        server.a("mx.spurn.test", "11.22.33.44").ptr("11.22.33.44", "mx.spurn.test")
        yield server


@pytest.mark.parametrize("moment, act, status, words", [
    ("RCPT", "450 4.2.0 greylisted", 0, "defers an unknown recipient"),
    ("RCPT", "554 5.7.1 relaying denied", 0, "does not say 5.1.1"),
    ("MAIL", "550 5.7.1 no bounces please", 1, "refuses the null sender"),
    ("CONNECT", "554 go away", 1, "go away"),
    ("EHLO", "250 fake.example.org\nSIZE 1000", 0, "takes 1000 octets at most"),
])
def test_live_backend(checked, zone, moment, act, status, words):
    with FakeBackend() as backend:
        backend.on(moment, act)
        assert words in said(live(checked, zone, backend), status)
        assert not backend.violations and not backend.seen("DATA")
        assert all(command.argument.startswith("FROM:<>") for command in backend.seen("MAIL"))


def test_live_certificate_and_reverse_name(checked, zone, public_dir):
    certificate, key = make_certificate(str(public_dir), "mx.spurn.test")
    listener = f"tls-certificate {certificate}; tls-key {key};"
    with FakeBackend() as backend:
        text = said(live(checked, zone, backend, listener=listener), 0)
        assert "mx.spurn.test, 11.22.33.44 and back" in text and "expires in" in text and "is not for" not in text
        zone.a("other.test", "11.2.3.6")
        text = said(live(checked, zone, backend, listener=listener, hostname="other.test"), 0)
        assert "is not for hostname other.test" in text and "reverse name of 11.2.3.6 is missing" in text
        zone.ptr("11.2.3.6", "somebody.else.test")
        text = said(live(checked, zone, backend, hostname="other.test"), 0)
        assert "is somebody.else.test, not other.test" in text
        zone.trouble("other.test", "SERVFAIL")
        assert "resolver: hostname other.test: " in said(live(checked, zone, backend, hostname="other.test"), 1)


def live(checked, zone, backend, **parts):
    return checked("--live", resolver=f'forward 127.0.0.1:{zone.port}; trust-anchor "";', backend=backend.url, **parts)


def test_live_and_all_well(checked, zone):
    zone.dnsbl("bl.test", {"192.0.2.66": "127.0.0.4"})
    with FakeBackend() as backend:
        backend.on("RCPT", "550 5.1.1 no such user")
        text = said(live(checked, zone, backend, top="dnsbl bl.test { weight 3; }"), 0)
        assert "PIPELINING" in text and "refuses unknown recipients" in text and "dnsbl bl.test" in text, text
        assert not backend.seen("DATA")


def test_live_names_a_backend_that_takes_everybody(checked, zone):
    with FakeBackend() as backend:
        assert "takes any recipient of example.org" in said(live(checked, zone, backend), 0)


def test_live_names_what_is_broken(checked, zone):
    zone.dnsbl("dead.test", {}, healthy=False)
    backend = FakeBackend()
    text = said(live(checked, zone, backend, top="dnsbl dead.test { weight 3; }"), 1)
    assert backend.url in text and "dnsbl dead.test" in text


def test_live_looks_at_our_own_name(checked):
    with DnsServer(ttl=1) as empty, FakeBackend() as backend:
        assert "mx.spurn.test" in said(live(checked, empty, backend), 0)


def test_doctor_is_silent_about_what_is_well(backend, zone, public_dir):
    backend.on("RCPT", "550 5.1.1 no such user")
    with Spurn(backend.url, dns=zone) as spurn:
        done = spurn.tool("doctor")
        assert done.returncode == 0 and b"PIPELINING" not in done.stdout, done


def test_doctor_says_what_is_not_well(spurn, backend, checked):
    backend.on("RCPT", "550 5.1.1 no such user")
    assert spurn.tool("observe", "on").returncode == 0
    done = spurn.tool("doctor")
    assert done.returncode == 1 and b"observe" in done.stdout, done
    assert spurn.tool("observe", "off").returncode == 0
    path = checked().args[3]
    done = run([os.path.join(BUILD, "spurn"), "doctor", "-c", path])
    assert done.returncode == 1 and b"spurnd does not run" in done.stderr, done
