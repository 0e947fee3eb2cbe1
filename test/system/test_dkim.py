"""DKIM beside other implementations: what they sign verifies here, what we sign verifies there, what is altered by chance is
judged alike, and what is relayed still verifies."""

import base64
import json
import os
import random
import re
import subprocess
import time

import pytest

from peers import BUILD, FakeBackend, Spurn, free_port
from clients import Smtp
from process import run
from signers import DOMAIN, Dkimpy, Keys, OpenDkim, RspamdDkim
from spurn import NOBODY

MUTATIONS = int(os.environ.get("SPURN_MUTATIONS", "10000"))

HEAD = ("From: Anna Example <anna@example.net>\r\n"
        "To: Bob <bob@example.org>,\r\n\tCarol <carol@example.org>\r\n"
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=  and   white space \r\n"
        "Date: Mon, 23 Nov 2026 02:49:59 +0000\r\n"
        "Message-ID: <1@example.net>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n").encode()
BODIES = {"text": "Hello \t world.  \r\n\r\n.A dot.\r\n\t indented\r\ngr\u00fc\u00dfe\r\n\r\n\r\n".encode(),
          "empty": b"", "one line": b"x\r\n", "blank": b"\r\n\r\n \r\n",
          "long": b"0123456789 abcdefghij  \tklmnopqrst\r\n" * 20000}


@pytest.fixture(scope="module", name="keys")
def fixture_keys(tmp_path_factory, dns):
    directory = tmp_path_factory.mktemp("keys")
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o755)
    keys = Keys(str(directory))
    for name, text in keys.records.items():
        dns.txt(name, text)
    return keys


@pytest.fixture(scope="module", name="dkimpy")
def fixture_dkimpy(keys):
    return Dkimpy(keys)


@pytest.fixture(scope="module", name="opendkim")
def fixture_opendkim(keys, tmp_path_factory):
    return OpenDkim(keys, str(tmp_path_factory.mktemp("opendkim")))


@pytest.fixture(scope="module", name="rspamd")
def fixture_rspamd(keys, dns):
    with RspamdDkim(keys, dns) as peer:
        yield peer


@pytest.fixture(name="gate")
def fixture_gate(dns, keys):
    """Spurn with both listeners; what leaves by the outbound one is signed with both keys."""
    with FakeBackend() as backend:
        outbound = free_port()
        top = (f"listener outbound {{ address 127.0.0.1:{outbound}; allow 127.0.0.0/8; next-hop {backend.url}; "
               "greet-wait 0s; }\n"
               f"sign {DOMAIN} {{ selector rsa; key {keys.private(keys.rsa, NOBODY)}; }}\n"
               f"sign {DOMAIN} {{ selector ed; key {keys.private(keys.ed25519, NOBODY)}; }}\n"
               "check spf { mode off; }\ncheck dmarc { mode off; }\n")
        with Spurn(backend.url, dns=dns, top=top) as spurn:
            spurn.outbound, spurn.backend = outbound, backend
            yield spurn


def send(port, message, sender="anna@example.net"):
    with Smtp(port) as client:
        client.greet()
        client.deliver(sender, ["bob@example.org"], message, 250)


def findings(spurn, count):
    """The DKIM findings of the last of so many records."""
    record = spurn.wait_records(count)[-1]
    return [(f["result"], f["reason"], f.get("evidence", "")) for f in record["findings"] if f["check"] == "dkim"]


# ---- signed by others --------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_signed_by_others_verifies_here(gate, dkimpy, opendkim, rspamd, body):
    message = HEAD + b"\r\n" + BODIES[body]
    signed = [dkimpy.sign(message, ed25519=ed25519, canonicalize=(header, content))
              for ed25519 in (False, True) for header in (b"simple", b"relaxed") for content in (b"simple", b"relaxed")]
    signed += [dkimpy.sign(message, length=True)]
    signed += [opendkim.sign(message, f"{header}/{content}") for header in ("simple", "relaxed")
               for content in ("simple", "relaxed")]
    signed += [rspamd.sign(message)]
    for number, mail in enumerate(signed):
        send(gate.port, mail)
        found = findings(gate, number + 1)
        assert [f[0] for f in found] == ["pass"], (number, found, mail[:1000])


# ---- signed here -------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_signed_here_verifies_elsewhere(gate, dkimpy, opendkim, rspamd, body):
    send(gate.outbound, HEAD + b"\r\n" + BODIES[body])
    relayed = gate.backend.wait_for(1)[-1].octets
    assert relayed.count(b"DKIM-Signature: ") == 2
    assert [f[0] for f in findings(gate, 1)] == ["signed", "signed"]
    for verifier in (dkimpy, opendkim, rspamd):
        assert verifier.verifies(relayed, 2), (verifier.name, relayed[:2000])
    # Nobody can put a second From on top of it.
    for verifier in (dkimpy, opendkim, rspamd):
        assert not verifier.verifies(b"From: Eve <eve@example.net>\r\n" + relayed, 2), verifier.name


def test_only_our_own_authors_are_signed(gate):
    for number, author in enumerate((b"anna@sub.example.net", b"anna@example.com", b"a@example.net, b@example.net")):
        send(gate.outbound, HEAD.replace(b"Anna Example <anna@example.net>", author) + b"\r\nText.\r\n")
        assert b"DKIM-Signature" not in gate.backend.wait_for(number + 1)[-1].octets
        assert [f[0] for f in findings(gate, number + 1)] == ["none"]


def test_keys_are_read_again_with_the_configuration(gate, keys, dkimpy):
    other = Keys(os.path.dirname(keys.rsa) and gate.directory)
    path = other.private(other.rsa, NOBODY)
    top = gate.values["top"].replace(keys.rsa + ".private", path)
    gate.configure(top=top)
    gate.reload()
    send(gate.outbound, HEAD + b"\r\nText.\r\n")
    relayed = gate.backend.wait_for(1)[-1].octets
    assert [dkimpy.verifies_at(relayed, place) for place in (0, 1)] == [False, True]
    os.chmod(path, 0o644)
    assert "chmod 0640" in gate.reload()
    send(gate.outbound, HEAD + b"\r\nText.\r\n")      # the old configuration holds
    assert gate.backend.wait_for(2)[-1].octets.count(b"DKIM-Signature: ") == 2


# ---- ARC ---------------------------------------------------------------------------------


def arc_findings(spurn, count):
    record = spurn.wait_records(count)[-1]
    return [(f["result"], f.get("evidence", "")) for f in record["findings"] if f["check"] == "arc"]


@pytest.mark.parametrize("body", BODIES)
def test_chains_of_us_and_others_are_whole_for_both(gate, dkimpy, body):
    gate.configure(top=gate.values["top"] + f"check arc {{ seal {DOMAIN}; }}\n")
    gate.reload()
    message = HEAD + b"\r\n" + BODIES[body]
    for hop in (1, 3, 5):
        send(gate.port, message)
        relayed = gate.backend.wait_for((hop + 1) // 2)[-1].octets
        [(validated, _), (sealed, evidence)] = arc_findings(gate, (hop + 1) // 2)
        assert validated == ("none" if hop == 1 else "pass") and sealed == "signed"
        assert f"i={hop} cv={validated}" in evidence
        assert dkimpy.chain(relayed) == "pass", relayed[:3000]
        assert dkimpy.chain(relayed.replace(b"Subject: ", b"Subject: x", 1)) == "fail"
        message = dkimpy.seal(relayed, "mx.example.com; arc=pass; dmarc=pass header.from=example.net")
    altered = message.replace(b"Subject: ", b"Subject: x", 1)
    send(gate.port, altered)
    relayed = gate.backend.wait_for(4)[-1].octets
    assert arc_findings(gate, 4)[1][1].startswith("i=7 cv=fail")
    assert dkimpy.chain(relayed) == "ended"
    send(gate.port, relayed)     # whoever finds "cv=fail" adds nothing
    assert gate.backend.wait_for(5)[-1].octets.count(b"ARC-Seal:") == relayed.count(b"ARC-Seal:")


# ---- altered by chance -------------------------------------------------------------------


class Driver:
    """conform_dkim of the build: one process for all messages."""

    def __init__(self, records):
        done = run(["ninja", "-C", BUILD, "--quiet", "conform_dkim"], timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        self.dns = {"txt": {name: [text] for name, text in records.items()}, "status": {}}

    def judge(self, messages):
        now = int(time.time())
        lines = [json.dumps({"message": base64.b64encode(m).decode(), "time": now, "cut": n % 50,
                             **({"dns": self.dns} if n == 0 else {})}) for n, m in enumerate(messages)]
        done = subprocess.run([os.path.join(BUILD, "conform_dkim")], input="\n".join(lines).encode() + b"\n",
                              stdout=subprocess.PIPE, check=True, timeout=600)
        return [json.loads(line) for line in done.stdout.splitlines()]


PIECES = [b" ", b"\t", b"  ", b"\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"\r\n\r\n", b":", b";", b"=", b"a", b"Z", b"9", b"+",
          b"\x80", b"\xc3\xbc", b"From: x@example.net\r\n", b"To: y@example.org\r\n", b"X-New: 1\r\n", b"\x01"]


def mutated(message, chance):
    """One to three changes; never a bare CR or LF, which the gate refuses before any check."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(message) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            message = message[:at] + chance.choice(PIECES) + message[at:]
        elif kind == 1:
            message = message[:at] + message[at + chance.choice((1, 1, 2, 5)):]
        elif kind == 2:
            message = message[:at] + bytes([chance.randrange(32, 127)]) + message[at + 1:]
        elif kind == 3 and at < len(message):
            message = message[:at] + message[at:at + 1].swapcase() + message[at + 1:]
        else:
            lines = message.split(b"\r\n")
            one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
            if kind == 4:
                lines[one], lines[other] = lines[other], lines[one]
            else:
                lines.insert(other, lines[one])
            message = b"\r\n".join(lines)
    return message.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")


def explained(message, ours):
    """The rule by which dkimpy's answer may differ from ours; None: there is none."""
    head = message.split(b"\r\n\r\n")[0]
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    if ours and any(name != name.rstrip(b" \t") for name in names):
        return "white space before the colon (RFC 5322 section 4.5.8, RFC 6376 section 3.4.2): dkimpy knows no such field"
    value = re.search(rb"[;\s]b=([^;]*?)(\r\n\S|$)", head, re.DOTALL)
    if ours and value and len(re.sub(rb"\s", b"", value.group(1))) % 4:
        return "base64 without all of its padding (RFC 6376 section 2.10: it is optional): dkimpy wants it"
    return None


def test_ten_thousand_mutations_are_judged_alike(keys, dkimpy):
    driver = Driver(keys.records)
    chance = random.Random(6376)
    message = HEAD + b"\r\n" + BODIES["text"]
    originals = [dkimpy.sign(message, canonicalize=(header, body)) for header in (b"simple", b"relaxed")
                 for body in (b"simple", b"relaxed")]
    originals += [dkimpy.sign(message, ed25519=True), dkimpy.sign(message, length=True)]
    messages = originals + [mutated(chance.choice(originals), chance) for _ in range(MUTATIONS)]
    answers = driver.judge(messages)
    different, passed, explanations = [], 0, {}
    for mail, answer in zip(messages, answers):
        ours = bool(answer["signatures"]) and answer["signatures"][0]["result"] == "pass"
        theirs = dkimpy.verifies_at(mail)
        passed += ours
        if ours != theirs:
            rule = explained(mail, ours)
            explanations[rule] = explanations.get(rule, 0) + 1
            if rule is None:
                different.append((mail, ours, theirs, answer))
    print(f"{len(messages)} messages, {passed} pass here, explained: {explanations}")
    assert passed > MUTATIONS // 50, "hardly anything passed: the mutations say nothing"
    assert not different, (len(different), different[:3])


# ---- relayed -----------------------------------------------------------------------------


def messages_of(corpus):
    for group in ("ordinary", "dkim"):
        for directory, _, files in sorted(os.walk(os.path.join(corpus, group))):
            for name in sorted(files):
                if name.endswith((".json", ".md", ".tsv")) or name.startswith("LICENSE"):
                    continue
                with open(os.path.join(directory, name), "rb") as file:
                    octets = file.read().replace(b"\r\n", b"\n")
                if b"\r" in octets or b"\0" in octets or not octets:
                    continue        # refused by the framing
                yield os.path.relpath(os.path.join(directory, name), corpus), octets.replace(b"\n", b"\r\n")


def zones_of(corpus):
    for case in sorted(os.listdir(os.path.join(corpus, "dkim"))):
        path = os.path.join(corpus, "dkim", case, "dns.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                yield case, json.load(file)


def judge_all(zones, mails):
    """Verdicts of our own verifier, each with the zone of its case."""
    nothing = {"txt": {}, "status": {}}
    answers = [{"message": base64.b64encode(mail).decode(), "time": 1200000000,
                "dns": zones.get(name.split(os.sep)[1], nothing)} for name, mail in mails]
    done = subprocess.run([os.path.join(BUILD, "conform_dkim")],
                          input="".join(json.dumps(a) + "\n" for a in answers).encode(), stdout=subprocess.PIPE,
                          check=True, timeout=600)
    return [[s["result"] for s in json.loads(line)["signatures"]] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("door", ("inbound", "outbound"))
def test_a_relayed_corpus_still_verifies(gate, corpus, keys, door):
    """Each signature is worth afterwards what it was before."""
    Driver(keys.records)      # builds it
    zones = dict(zones_of(corpus))
    mails = list(messages_of(corpus))
    before = judge_all(zones, mails)
    kept, accepted = [], []
    with Smtp(gate.port if door == "inbound" else gate.outbound, timeout=60) as client:
        client.greet()
        for (name, mail), results in zip(mails, before):
            client.transaction("anna@example.net", ["bob@example.org"])
            if client.data(mail).code == 250:
                accepted.append((name, results))
    relayed = gate.backend.wait_for(len(accepted), timeout=60)
    after = judge_all(zones, [(name, r.octets) for (name, _), r in zip(accepted, relayed)])
    for (name, results), now in zip(accepted, after):
        kept.append(results.count("pass"))
        # A message without a header section gets one from us, and then its lines may be fields.
        assert now[len(now) - len(results):] == results or not results, (name, results, now)
    print(f"{len(mails)} messages, {len(accepted)} relayed, {sum(kept)} good signatures before and after")
    assert sum(kept) > 40
