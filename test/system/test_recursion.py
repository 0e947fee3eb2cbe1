"""A machine with no resolver configured: Spurn asks the root, the registry and the domain itself, as on the Internet.

The tests run in a network of their own, where the addresses of all thirteen root servers are ours: a resolver takes any of them, and gives up
after some that cannot be reached. The root that answers there is not signed, so the trust anchor is taken away.
"""

import contextlib
import ctypes
import os
import subprocess
import threading

import dnslib
import pytest

from peers import DnsServer, FakeBackend, PUBLIC, Spurn

CLONE_NEWNET = 0x40000000
ROOTS = ["198.41.0.4", "170.247.170.2", "199.9.14.201", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4",
         "198.97.190.53", "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33"]  # b has an old one, too
REGISTRY, OWNER = "203.0.113.1", "203.0.113.2"
ALICE = "alice@example.org"


class Authority(DnsServer):
    """Knows one zone and who knows the zones below it; recurses for nobody."""

    def __init__(self, address, zone, server):
        super().__init__(address=address, port=53, zone=zone)
        self.server = server
        self.below = []

    def delegate(self, authority):
        self.below.append(authority)
        return self

    def name_server(self, section, add_glue):
        """Its NS record into a section, its address into the additional one."""
        section(dnslib.RR(self.zone, dnslib.QTYPE.NS, rdata=dnslib.NS(self.server), ttl=300))
        add_glue(dnslib.RR(self.server, dnslib.QTYPE.A, rdata=dnslib.A(self.address), ttl=300))

    def fill(self, reply, name, kind):
        reply.header.ra = 0
        for authority in self.below:
            if name == authority.zone or name.endswith("." + authority.zone):
                authority.name_server(reply.add_auth, reply.add_ar)
                return
        reply.header.aa = 1
        if (name, kind) == (self.zone.rstrip("."), "NS"):
            self.name_server(reply.add_answer, reply.add_ar)
        else:
            super().fill(reply, name, kind)


def in_own_network(function):
    """Calls a function in a thread that has a network of its own; so have its processes and threads."""
    result = []

    def body():
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for address in (*ROOTS, REGISTRY, OWNER):
                subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
            result.append(function())
        except BaseException as error:  # pylint: disable=broad-except
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def ask(sender, root_answers=True):
    """The reply to a recipient after a sender; and the record."""
    owner = Authority(OWNER, "example.net", "ns.example.net").mail_domain("client.example.net", PUBLIC)
    registry = Authority(REGISTRY, "net", "ns.net").delegate(owner)
    roots = [Authority(address, ".", "a.root-servers.net").delegate(registry) for address in ROOTS]
    if not root_answers:
        for root in roots:
            root.answer = lambda packet: None
    resolver = 'recurse; timeout 3s; trust-anchor "";'
    with contextlib.ExitStack() as stack:
        for server in (*roots, registry, owner):
            stack.enter_context(server)
        backend = stack.enter_context(FakeBackend())
        spurn = stack.enter_context(Spurn(backend.url, resolver=resolver))
        with spurn.session() as c:
            c.command(f"MAIL FROM:<{sender}>", 250)
            reply = c.command(f"RCPT TO:<{ALICE}>")
            if reply.code == 250:
                c.data(b"From: x@client.example.net\r\n\r\nHello.\r\n", 250)
            c.quit()
        record = spurn.wait_records(1)[0]
        finding = next(f for f in record["findings"] if f["check"] == "sender-domain")
        asked = [sum(len(root.questions) for root in roots), len(registry.questions), len(owner.questions)]
        return reply, finding, asked


@pytest.fixture(autouse=True)
def may_have_networks():
    if os.geteuid() != 0:
        pytest.skip("only root can make a network of its own")


def test_domain_is_found_from_the_root_down():
    reply, finding, questions = in_own_network(lambda: ask("x@client.example.net"))
    assert reply.code == 250 and finding["result"] == "pass" and PUBLIC in finding["evidence"], finding
    assert all(questions), f"root, registry and owner were asked: {questions}"


def test_domain_that_the_registry_does_not_know_is_refused():
    reply, finding, _ = in_own_network(lambda: ask("x@nobody-registered-this.net"))
    assert (reply.code, reply.enhanced) == (550, "5.1.8"), finding


def test_root_that_is_silent_refuses_nobody():
    reply, finding, _ = in_own_network(lambda: ask("x@client.example.net", root_answers=False))
    assert (reply.code, finding["result"]) == (451, "temperror")
