"""The harness tested by itself: every peer does what the other tests take for granted."""

import socket
import time

import dnslib
import pytest

from peers import (Bytewise, CLOSE, CLIENT_DOMAIN, Closed, DnsServer, DROP, DovecotLmtp, EximBackend, EximClient,
                   FakeBackend, HaproxyProxy, Later, OpenSmtpdBackend, PostfixBackend, PostfixClient, RESET, SERVFAIL,
                   Smtp, SmtpSink, STALL, free_port, keywords, listens, make_certificate, message, proxy_v1, proxy_v2,
                   smtp_source, swaks, wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"


# ---- real servers ------------------------------------------------------------------------


def test_postfix_client_to_postfix_backend():
    text = message(body=b"Line one.\r\n.dotted\r\nlast\r\n")
    with PostfixBackend() as backend, PostfixClient(backend.port) as client:
        client.send(SENDER, ["alice@example.org", "bob@example.org"], text)
        backend.wait_for(2)
        client.wait_empty()
        for user in ("alice", "bob"):
            [delivered] = backend.messages(user)
            assert delivered.endswith(text.replace(b"\r\n", b"\n"))
        assert backend.messages("carol") == []
        assert "status=sent" in client.log()


def test_exim_client_to_opensmtpd_backend():
    text = message(body=b"Line one.\r\n.dotted\r\nlast\r\n")
    with OpenSmtpdBackend() as backend, EximClient(backend.port) as client:
        client.send(SENDER, ["alice@example.org"], text)
        [delivered] = backend.wait_for(1)
        client.wait_empty()
        assert delivered.endswith(text.replace(b"\r\n", b"\n"))


def test_postfix_client_bounces_and_retries():
    with PostfixBackend() as backend, PostfixClient(backend.port) as client:
        client.send(SENDER, ["nobody@example.org"], message())
        assert b"550 5.1.1" in client.wait_bounce()
        backend.child.kill()
        client.send(SENDER, ["alice@example.org"], message())
        wait_until(lambda: "status=deferred" in client.log(), 10, "a deferral")
        assert len(client.queue()) == 1
        backend.start()
        client.until(backend.all_messages, 20, "the delivery")
        client.wait_empty()


def test_exim_client_bounces_and_retries():
    with EximBackend() as backend, EximClient(backend.port) as client:
        client.send(SENDER, ["nobody@example.org"], message())
        assert b"550 Unrouteable address" in client.wait_bounce()
        backend.child.kill()
        client.send(SENDER, ["alice@example.org"], message())
        wait_until(lambda: "Connection refused" in client.log(), 10, "a deferral")
        assert len(client.queue()) == 1
        backend.start()
        client.until(backend.all_messages, 20, "the delivery")
        client.wait_empty()


@pytest.mark.parametrize("kind", [PostfixBackend, EximBackend, OpenSmtpdBackend])
def test_backend_knows_its_users(kind):
    with kind() as backend, Smtp(backend.port) as c:
        c.greet()
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command("RCPT TO:<alice@example.org>", 250)
        c.command("RCPT TO:<nobody@example.org>", 550)
        c.command("RCPT TO:<alice@elsewhere.test>", 550, 554)
        assert c.data(message()).code == 250
        backend.wait_for(1)
        c.command("QUIT", 221)


def test_postfix_backend_sees_the_client_by_xforward():
    with PostfixBackend() as backend, Smtp(backend.port) as c:
        assert "XFORWARD" in keywords(c.greet())
        c.command("XFORWARD ADDR=192.0.2.7 NAME=far.example.net", 250)
        c.deliver(SENDER, ["alice@example.org"], message())
        wait_until(lambda: "far.example.net[192.0.2.7]" in backend.log(), 5, "the client in the log")


def test_postfix_backend_options(tmp_path):
    tls = make_certificate(str(tmp_path))
    with PostfixBackend(tls=tls, xclient=True, message_size_limit="20000") as backend, Smtp(backend.port) as c:
        offered = keywords(c.greet())
        assert offered["SIZE"] == "20000" and "XCLIENT" in offered and "STARTTLS" in offered
        c.starttls()
        c.command("EHLO client.example.net", 250)
        c.command(f"MAIL FROM:<{SENDER}> SIZE=30000", 552)


def lmtp_outcome(dovecot, recipients):
    """Replies to RCPT of all, and after the dot of those accepted."""
    with Smtp(dovecot.port) as c:
        c.greet(verb="LHLO")
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        at_rcpt = [c.command(f"RCPT TO:<{recipient}>") for recipient in recipients]
        accepted = sum(reply.code == 250 for reply in at_rcpt)
        after = [c.data(message())] + [c.reply() for _ in range(accepted - 1)]
        return [r.code for r in at_rcpt], [(r.code, r.enhanced) for r in after]


@pytest.mark.parametrize("tempfail, answer", [(False, (552, "5.2.2")), (True, (452, "4.2.2"))])
def test_dovecot_quota_after_the_dot(tempfail, answer):
    with DovecotLmtp(full=["dave"], quota_tempfail=tempfail) as dovecot:
        at_rcpt, after = lmtp_outcome(dovecot, ["nobody@example.org", "alice@example.org", "dave@example.org"])
        assert at_rcpt == [550, 250, 250]
        assert after == [(250, "2.0.0"), answer]
        assert len(dovecot.messages("alice")) == 1 and dovecot.messages("dave") == []


def test_dovecot_quota_at_rcpt():
    with DovecotLmtp(full=["dave"], quota_at_rcpt=True) as dovecot:
        at_rcpt, after = lmtp_outcome(dovecot, ["dave@example.org", "alice@example.org"])
        assert at_rcpt == [552, 250] and after == [(250, "2.0.0")]


def test_swaks_to_dovecot_lmtp():
    with DovecotLmtp() as dovecot:
        transcript, status = swaks(dovecot.port, "--protocol", "LMTP")
        assert status == 0, transcript
        transcript, status = swaks(None, "--protocol", "LMTP", socket_path=dovecot.socket, to="bob@example.org")
        assert status == 0, transcript
        transcript, status = swaks(dovecot.port, "--protocol", "LMTP", to="nobody@example.org")
        assert status == 24 and "550 5.1.1" in transcript
        assert len(dovecot.messages("alice")) == len(dovecot.messages("bob")) == 1


def test_smtp_source_to_smtp_sink():
    with SmtpSink() as sink:
        output, status = smtp_source(sink.port, messages=20, sessions=4, size=2000)
        assert status == 0, output
        assert len(sink.wait_for(20)) == 20


@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_sends_proxy_header(version):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(10)
        with HaproxyProxy(listener.getsockname()[1], version=version) as front:
            with socket.create_connection(("127.0.0.1", front.port)) as client:
                client.sendall(b"HELLO")
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    source = client.getsockname()[1]
                    maker = proxy_v1 if version == 1 else proxy_v2
                    wanted = maker("127.0.0.1", "127.0.0.1", source, front.port) + b"HELLO"
                    received = b""
                    while len(received) < len(wanted):
                        piece = connection.recv(4096)
                        assert piece, f"closed behind {received!r}"
                        received += piece
                    assert received == wanted


def test_peers_end_with_their_processes():
    with PostfixBackend() as backend:
        address, pid = ("127.0.0.1", backend.port), backend.child.pid
        assert listens(address)
    wait_until(lambda: not listens(address), 5, "a closed port")
    assert backend.child.process.poll() is not None and backend.child.pid == pid


# ---- the fake backend --------------------------------------------------------------------


@pytest.fixture
def fake():
    with FakeBackend() as server:
        yield server


def test_fake_takes_mail_octet_by_octet(fake):
    text = message(body=b".\r\n..\r\nbody\r\n.x\r\n")
    with Smtp(fake.port) as c:
        c.greet()
        c.deliver("", ["alice@example.org", "bob@example.org"], text)
        c.quit()
    [mail] = fake.messages
    assert mail.octets == text and mail.sender == "" and mail.recipients == ["alice@example.org", "bob@example.org"]
    assert [command.verb for command in fake.commands] == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]
    assert not fake.violations


def test_fake_answers_by_recipient(fake):
    fake.recipients["bob@example.org"] = "550 5.1.1 no such user"
    with Smtp(fake.port) as c:
        c.greet()
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        c.command("RCPT TO:<bob@example.org>", 550)
        c.command("DATA", 554)


def test_fake_speaks_lmtp():
    with FakeBackend(protocol="lmtp") as fake, Smtp(fake.port) as c:
        fake.after_dot["bob@example.org"] = "452 4.2.2 full"
        c.greet(verb="LHLO")
        c.transaction(SENDER, ["alice@example.org", "bob@example.org", "carol@example.org"])
        assert [c.data(message()).code, c.reply().code, c.reply().code] == [250, 452, 250]
        [mail] = fake.messages
        assert mail.recipients == ["alice@example.org", "carol@example.org"]


@pytest.mark.parametrize("act", [CLOSE, RESET])
def test_fake_drops(fake, act):
    fake.on("DOT", act, times=1)
    with Smtp(fake.port) as c:
        c.greet()
        c.transaction(SENDER, ["alice@example.org"])
        with pytest.raises(Closed):
            c.data(message())
    assert len(fake.received) == 1 and not fake.messages
    with Smtp(fake.port) as c:
        c.greet()
        c.deliver(SENDER, ["alice@example.org"], message())
    fake.wait_for(1)


def test_fake_stalls_and_answers_late(fake):
    fake.on("MAIL", Later(0.3, "250 2.1.0 Ok"))
    fake.on("RCPT", STALL)
    with Smtp(fake.port) as c:
        c.greet()
        began = time.monotonic()
        c.command(f"MAIL FROM:<{SENDER}>", 250)
        assert time.monotonic() - began >= 0.3
        c.line("RCPT TO:<alice@example.org>")
        assert c.silent(0.3)


def test_fake_says_anything(fake):
    fake.on("MAIL", b"250-one\r\n251 two\r\n")
    fake.on("RSET", Bytewise("250 a\nb"))
    with Smtp(fake.port) as c:
        c.greet()
        c.line("MAIL FROM:<>")
        assert [c.read_line(), c.read_line()] == ["250-one", "251 two"]
        assert c.command("RSET").code == 250


def test_fake_breaks_off_in_the_body(fake):
    fake.on("BODY", RESET)
    with Smtp(fake.port) as c:
        c.greet()
        c.transaction(SENDER, ["alice@example.org"])
        c.command("DATA", 354)
        c.send(b"Subject: half\r\n")
        with pytest.raises(Closed):
            c.reply()
    [mail] = fake.wait_partial()
    assert mail.octets.startswith(b"Subject: half") and not fake.received


def test_fake_notices_a_client_that_vanishes(fake):
    with Smtp(fake.port) as c:
        c.greet()
        c.transaction(SENDER, ["alice@example.org"])
        c.command("DATA", 354)
        c.send(b"Subject: half\r\n")
        c.abort()
    fake.wait_partial()
    assert not fake.received and not fake.messages


def test_fake_notices_bad_manners():
    with FakeBackend(extensions=[]) as fake, Smtp(fake.port) as c:
        c.expect(220)
        c.send(b"EHLO x\nMAIL FROM:<>\r\n")
        c.reply()
        c.reply()
        assert len(fake.violations) == 2, fake.violations


def test_fake_dies_and_comes_back(fake):
    with Smtp(fake.port) as c:
        c.greet()
        fake.kill()
        with pytest.raises((Closed, OSError)):
            c.command("NOOP")
    assert not listens(("127.0.0.1", fake.port))
    fake.restart()
    with Smtp(fake.port) as c:
        c.greet()


# ---- the DNS server ----------------------------------------------------------------------


def ask(port, name, kind="A", tcp=False, timeout=5):
    """(rcode, [rdata as text]) of a question."""
    question = dnslib.DNSRecord.question(name, kind)
    answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", port, tcp=tcp, timeout=timeout))
    return dnslib.RCODE.get(answer.header.rcode), [str(rr.rdata) for rr in answer.rr]


@pytest.mark.parametrize("tcp", [False, True])
def test_dns_answers(tcp):
    with DnsServer() as dns:
        dns.mail_domain("example.net").null_mx("silent.test").cname("www.example.net", "mail.example.net")
        assert ask(dns.port, "mail.EXAMPLE.net", tcp=tcp) == ("NOERROR", ["11.22.33.44"])
        assert ask(dns.port, "example.net", "MX", tcp) == ("NOERROR", ["10 mail.example.net."])
        assert ask(dns.port, "silent.test", "MX", tcp) == ("NOERROR", ["0 ."])
        assert ask(dns.port, "example.net", "TXT", tcp) == ("NOERROR", [])
        assert ask(dns.port, "net", "A", tcp) == ("NOERROR", [])
        assert ask(dns.port, "missing.test", tcp=tcp) == ("NXDOMAIN", [])
        assert ask(dns.port, "www.example.net", tcp=tcp) == ("NOERROR", ["mail.example.net.", "11.22.33.44"])
        assert dns.count("example.net", "MX") == 1 and dns.count("example.net") == 2


def test_dns_lists():
    with DnsServer() as dns:
        dns.dnsbl("bl.test", {"192.0.2.1": "127.0.0.4"})
        dns.a("*.wild.test", "127.0.0.2")
        assert ask(dns.port, "2.0.0.127.bl.test") == ("NOERROR", ["127.0.0.2"])
        assert ask(dns.port, "1.0.0.127.bl.test") == ("NXDOMAIN", [])
        assert ask(dns.port, "1.2.0.192.bl.test") == ("NOERROR", ["127.0.0.4"])
        assert ask(dns.port, "1.0.0.127.wild.test") == ("NOERROR", ["127.0.0.2"])
        assert dns.count_below("bl.test") == 3
        dns.forget("1.2.0.192.bl.test")
        assert ask(dns.port, "1.2.0.192.bl.test") == ("NXDOMAIN", [])


def test_dns_trouble():
    with DnsServer() as dns:
        dns.mail_domain("example.net")
        dns.trouble("example.net", SERVFAIL, subtree=True)
        assert ask(dns.port, "mail.example.net") == ("SERVFAIL", [])
        dns.trouble("example.net", None, subtree=True)
        dns.trouble("example.net", DROP, kind="MX")
        with pytest.raises(TimeoutError):
            ask(dns.port, "example.net", "MX", timeout=0.5)
        dns.trouble("mail.example.net", 0.3)
        began = time.monotonic()
        assert ask(dns.port, "mail.example.net")[0] == "NOERROR"
        assert time.monotonic() - began >= 0.3


def test_free_ports_are_free_and_differ():
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50 and not any(listens(("127.0.0.1", port)) for port in ports)
