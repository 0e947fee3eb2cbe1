"""SPF: the tool without a daemon, and the daemon with a real resolver in between: results, records, and trouble of DNS."""

import json
import os
import tempfile
import time

import pytest

from peers import BUILD, CLIENT_DOMAIN, DnsServer, SERVFAIL, Spurn, message, proxy_v1
from process import SLOW, run

SPURN = os.path.join(BUILD, "spurn")
ALICE = "alice@example.org"
GOOD, BAD = "192.0.2.7", "203.0.113.9"

CONFIGURATION = """\
hostname mx.spurn.test;
state-dir /nonexistent;
resolver {{ forward 127.0.0.1:{port}; trust-anchor ""; }}
listener inbound {{ address 127.0.0.1:2525; }}
domain example.org {{ backend smtp://127.0.0.1:26; recipients callforward; }}
"""

ZONE = """\
$ORIGIN example.net.
@      TXT "v=spf1 mx include:_spf.example.net -all exp=why.example.net"
@      MX 10 mx
mx     A 192.0.2.7
_spf   TXT "v=spf1 ip4:198.51.100.0/24 ip6:2001:db8::/32 -all"
why    TXT "No %{i} " "for %{l}"
never  TXT "v=spf1 -all"
broken TXT "v=spf1 ipv4:192.0.2.7 -all"
"""


@pytest.fixture(name="zone")
def zone_file(tmp_path):
    path = tmp_path / "zone"
    path.write_text(ZONE)
    return str(path)


def spf(*arguments, status=0):
    done = run([SPURN, "spf", *arguments])
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert b"Sanitizer" not in done.stderr, done.stderr
    return done.stdout.decode()


# ---- the tool ----------------------------------------------------------------------------


@pytest.mark.parametrize("ip, sender, lines", [
    (GOOD, "a@example.net",
     ["pass", "example.net says that 192.0.2.7 may send for it (mx in the record of example.net)."]),
    ("::ffff:192.0.2.7", "<a@example.net>",
     ["pass", "example.net says that 192.0.2.7 may send for it (mx in the record of example.net)."]),
    ("2001:db8::1", "example.net",
     ["pass", "example.net says that 2001:db8::1 may send for it (ip6:2001:db8::/32 in the record of _spf.example.net)."]),
    (BAD, "jane@example.net",
     ["fail", "example.net says that 203.0.113.9 may not send for it (-all in the record of example.net).",
      "example.net explains: No 203.0.113.9 for jane"]),
    (BAD, "never.example.net", ["fail", "never.example.net says that it never sends mail (-all in the record of "
                                        "never.example.net)."]),
    (BAD, "broken.example.net", ["permerror", 'SPF of broken.example.net is broken: an unknown mechanism in '
                                              '"ipv4:192.0.2.7" (record of broken.example.net).']),
    (GOOD, "nowhere.example", ["none", "nowhere.example has no SPF record."]),
    (GOOD, "", ["none", "mx.example.net has no SPF record."])])
def test_result_reason_and_explanation(zone, ip, sender, lines):
    out = spf("--zone", zone, "--ip", ip, "--helo", "mx.example.net", "--from", sender)
    assert out.splitlines() == lines


def test_json(zone):
    out = json.loads(spf("--json", "--zone", zone, "--ip", BAD, "--helo", "h", "--from", "jane@example.net"))
    assert out.pop("reason").startswith("example.net says")
    assert out == {"result": "fail", "identity": "mailfrom", "domain": "example.net", "mechanism": "-all",
                   "record": "example.net", "explanation": "No 203.0.113.9 for jane", "lookups": 2, "voids": 0,
                   "never_sends": False}


@pytest.mark.parametrize("arguments", [
    [], ["--ip", GOOD], ["--from", "a@b.test"], ["--ip", "here", "--from", "a@b.test"],
    ["--ip", GOOD, "--from", ""], ["--ip", GOOD, "--from", "a@"], ["--ip", GOOD, "--from", "a@b.test", "more"]])
def test_wrong_use(arguments):
    done = run([SPURN, "spf", *arguments])
    assert done.returncode == 64 and done.stdout == b"" and done.stderr.startswith(b"spurn: "), done


def test_a_zone_that_is_not_there(tmp_path):
    done = run([SPURN, "spf", "--zone", str(tmp_path / "none"), "--ip", GOOD, "--from", "a@b.test"])
    assert done.returncode == 66 and b"No such file" in done.stderr, done


def test_the_resolver_of_a_configuration(backend, dns):
    dns.txt("conf.test", f"v=spf1 ip4:{GOOD} -all").trouble("gone.test", SERVFAIL)
    with Spurn(backend.url, dns=dns) as spurn:
        assert spf("-c", spurn.conf, "--ip", GOOD, "--from", "a@conf.test").startswith("pass\n")
        assert spf("-c", spurn.conf, "--ip", BAD, "--from", "a@conf.test").startswith("fail\n")
        assert spf("-c", spurn.conf, "--ip", BAD, "--from", "a@gone.test", status=75).startswith("temperror\n")


def test_what_a_slow_resolver_costs():
    """Six questions of 0.3 s each, of which five are known once the first is answered."""
    with DnsServer(ttl=60) as dns, tempfile.TemporaryDirectory() as directory:
        includes = [f"_spf{n}.slow.test" for n in range(5)]
        dns.txt("slow.test", "v=spf1 " + " ".join(f"include:{name}" for name in includes) + " -all")
        for name in includes:
            dns.txt(name, "v=spf1 ip4:192.0.2.0/28 -all" if name == includes[-1] else "v=spf1 ip4:198.51.100.1 -all")
        dns.trouble("slow.test", 0.3, subtree=True)
        conf = os.path.join(directory, "conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(port=dns.port))
        began = time.monotonic()
        assert spf("-c", conf, "--ip", GOOD, "--from", "a@slow.test").startswith("pass\n")
        assert time.monotonic() - began < 1.4 * SLOW, "not one after the other"
        assert set(dns.questions) == set((name, "TXT") for name in ["slow.test", *includes])


def test_internationalised_domain(tmp_path):
    zone = tmp_path / "zone"
    zone.write_text('xn--bcher-kva.example. TXT "v=spf1 exists:%{o}.ok.example -all"\n'
                    'xn--bcher-kva.example.ok.example. A 127.0.0.2\n')
    assert spf("--zone", str(zone), "--ip", GOOD, "--from", "a@b\u00fccher.example").startswith("pass\n")


# ---- the daemon --------------------------------------------------------------------------


@pytest.fixture(name="gate")
def spurn_behind_proxy(backend):
    dns = DnsServer(ttl=60)
    for name in (CLIENT_DOMAIN, "good.test", "bad.test", "never.test", "dead.test"):
        dns.mail_domain(name)
    dns.txt("good.test", "v=spf1 include:_spf.good.test -all").txt("_spf.good.test", f"v=spf1 ip4:{GOOD} -all")
    dns.txt("bad.test", "v=spf1 a:elsewhere.test -all exp=why.bad.test").a("elsewhere.test", "192.0.2.99")
    dns.txt("why.bad.test", "Ask postmaster@%{o}")
    dns.txt("never.test", "v=spf1 -all")
    dns.txt("dead.test", "v=spf1 include:_spf.dead.test -all").trouble("_spf.dead.test", SERVFAIL)
    with dns, Spurn(backend.url, dns=dns, listener={"proxy-from": "127.0.0.1"}, top="check rdns { mode off; }") as spurn:
        yield spurn


def send(spurn, sender, code, source=GOOD):
    """The last reply to a message, or to RCPT if that is a refusal."""
    with spurn.session(proxy=proxy_v1(source)) as c:
        c.command(f"MAIL FROM:<{sender}>", 250)
        reply = c.command(f"RCPT TO:<{ALICE}>")
        if reply.code == 250:
            reply = c.data(message(), code)
        else:
            assert reply.code == code, reply
        c.quit()
        return reply


def finding(spurn, reply):
    return next(f for f in spurn.record(reply.ref)["findings"] if f["check"] == "spf")


def test_pass_and_fail(gate, backend):
    passed = finding(gate, send(gate, "a@good.test", 250))
    assert passed["result"] == "pass" and "_spf.good.test" in passed["reason"]
    reply = send(gate, "a@bad.test", 550)
    assert reply.enhanced == "5.7.23" and "bad.test; its owner explains: Ask postmaster@bad.test" in reply.text, reply
    failed = finding(gate, reply)
    assert failed["result"] == "fail" and failed["led"] == "reject" and "Ask postmaster@bad.test" in failed["evidence"]
    assert len(backend.messages) == 1


def test_who_never_sends_is_refused_at_rcpt(gate, backend):
    reply = send(gate, "a@never.test", 550)
    assert reply.enhanced == "5.7.23" and "never.test says that it sends no mail" in reply.text, reply
    assert not backend.received and not backend.seen("RCPT")


def test_trouble_refuses_nobody(gate):
    reply = send(gate, "a@dead.test", 250)
    assert finding(gate, reply)["result"] == "temperror"


def test_a_sender_without_a_record(gate):
    assert finding(gate, send(gate, f"a@{CLIENT_DOMAIN}", 250))["result"] == "none"
