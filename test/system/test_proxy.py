"""The PROXY protocol: HAProxy in front, headers by hand, and those who must not send one."""

import re

import pytest

from peers import (CLIENT_DOMAIN, Closed, DnsServer, HaproxyProxy, PostfixBackend, Smtp, Spurn, message, proxy_v1,
                   proxy_v2, wait_until)

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE = "alice@example.org"
BALANCER = {"proxy-from": "127.0.0.1"}


@pytest.fixture
def proxied(backend, dns):
    """Spurn that expects a PROXY header from 127.0.0.1."""
    with Spurn(backend.url, dns=dns, listener=BALANCER) as spurn:
        yield spurn


@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_in_front(proxied, backend, version):
    with HaproxyProxy(proxied.port, version=version) as front:
        with Smtp(front.port, source="127.0.0.77") as c:
            c.greet()
            ref = c.deliver(SENDER, [ALICE], message()).ref
            c.quit()
    assert proxied.record(ref)["client"]["ip"] == "127.0.0.77"
    [mail] = backend.wait_for(1)
    assert b"[127.0.0.77]" in mail.octets.split(b"\r\n\tby ")[0]


@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_in_front_of_spurn_in_front_of_postfix(dns, version):
    with PostfixBackend() as backend, Spurn(backend.url, dns=dns, listener=BALANCER) as spurn:
        with HaproxyProxy(spurn.port, version=version) as front, Smtp(front.port, source="127.0.0.78") as c:
            c.greet()
            c.deliver(SENDER, [ALICE], message())
        backend.wait_for(1)
        wait_until(lambda: re.search(r"client=\S*\[127\.0\.0\.78\]", backend.log()), 5, "the client in Postfix's log")


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("address, header", [
    ("192.0.2.1", proxy_v1("192.0.2.1")), ("192.0.2.1", proxy_v2("192.0.2.1")),
    ("2001:db8::1", proxy_v1("2001:db8::1", "2001:db8::2")), ("2001:db8::1", proxy_v2("2001:db8::1", "2001:db8::2")),
    ("192.0.2.1", proxy_v2("192.0.2.1", tlvs=b"\x04\x00\x05abcde\x20\x00\x03xyz")),
])
def test_address_in_the_header_is_the_client(proxied, address, header, bytewise):
    with Smtp(proxied.port, bytewise=bytewise) as c:
        c.send(header)
        c.greet()
        ref = c.deliver(SENDER, [ALICE], message()).ref
    client = proxied.record(ref)["client"]
    assert client["ip"] == address and client["port"] == 54321


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
                                    proxy_v2("192.0.2.1", command=0)])
def test_header_without_a_client_means_the_balancer_itself(proxied, header):
    with Smtp(proxied.port, proxy=header) as c:
        c.greet()
        ref = c.deliver(SENDER, [ALICE], message()).ref
    assert proxied.record(ref)["client"]["ip"] == "127.0.0.1"


BAD_HEADERS = {
    "no header": b"EHLO client.example.net\r\n",
    "wrong family": b"PROXY TCP5 192.0.2.1 198.51.100.25 1 25\r\n",
    "no address": b"PROXY TCP4 192.0.2.256 198.51.100.25 1 25\r\n",
    "family and address differ": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n",
    "port too large": b"PROXY TCP4 192.0.2.1 198.51.100.25 70000 25\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.25 1 25\n",
    "too long": b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
    "missing field": b"PROXY TCP4 192.0.2.1\r\n",
    "v2 wrong version": proxy_v2("192.0.2.1").replace(b"QUIT\n\x21", b"QUIT\n\x31"),
    "v2 too short": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04\xc0\x00\x02\x01",
    "v2 signature broken": b"\r\n\r\n\0\r\nQUIX\n" + b"\0" * 20,
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_bad_header_ends_the_connection_without_a_greeting(proxied, name):
    with Smtp(proxied.port) as c:
        c.send(BAD_HEADERS[name])
        with pytest.raises(Closed):
            reply = c.reply()
            assert reply.code >= 400, "greeted in spite of a bad header"
            c.reply()


def test_header_from_strangers_is_not_believed(proxied):
    with Smtp(proxied.port, source="127.0.0.5", proxy=proxy_v1("192.0.2.1")) as c:
        try:
            assert c.reply().code in (220, 554, 500)
            c.expect("5xx")
            c.send(b"EHLO x.example.net\r\n")
            c.reply()
        except Closed:
            pass
    wait_until(proxied.journal, 5, "a record")
    assert all(record["client"]["ip"] == "127.0.0.5" for record in proxied.journal())


def test_strangers_without_header_are_served(proxied):
    with Smtp(proxied.port, source="127.0.0.5") as c:
        c.greet()
        c.deliver(SENDER, [ALICE], message())


def test_header_is_not_waited_for_forever_and_early_talk_behind_it_is_seen(backend, dns):
    listener = {**BALANCER, "greet-wait": "500ms"}
    with Spurn(backend.url, dns=dns, listener=listener) as spurn:
        with Smtp(spurn.port, proxy=proxy_v1("192.0.2.1") + b"EHLO early.example.net\r\n") as c:
            assert c.expect(554).enhanced == "5.5.0"
            c.expect_closed()


def test_starttls_behind_a_header(backend, dns, certificate):
    with Spurn(backend.url, dns=dns, listener=BALANCER, tls=certificate) as spurn:
        with Smtp(spurn.port, proxy=proxy_v2("192.0.2.1")) as c:
            c.greet()
            c.starttls()
            c.command("EHLO client.example.net", 250)
            ref = c.deliver(SENDER, [ALICE], message()).ref
        assert spurn.record(ref)["client"]["ip"] == "192.0.2.1"


def test_lists_and_limits_go_by_the_client_not_by_the_balancer(backend):
    with DnsServer(ttl=1) as dns:
        dns.mail_domain(CLIENT_DOMAIN).dnsbl("bl.test", {"192.0.2.66": "127.0.0.2"})
        listener = {**BALANCER, "max-sessions-per-client": "2"}
        with Spurn(backend.url, dns=dns, listener=listener, top="dnsbl bl.test { weight 3; }") as spurn:
            wait_until(lambda: dns.count_below("bl.test") >= 2, 10, "the self-test of the list")
            held = [Smtp(spurn.port, proxy=proxy_v1(f"192.0.2.{i}")) for i in range(1, 6)]
            for c in held:
                c.greet()
            with Smtp(spurn.port, proxy=proxy_v1("192.0.2.66")) as c:
                c.greet()
                c.command(f"MAIL FROM:<{SENDER}>", 250)
                c.command(f"RCPT TO:<{ALICE}>", 554)
            same = [Smtp(spurn.port, proxy=proxy_v1("192.0.2.99")) for _ in range(3)]
            assert sorted(c.reply().code for c in same) == [220, 220, 421]
            for c in held + same:
                c.close()
