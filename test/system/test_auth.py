"""spurn auth: SPF, DKIM, DMARC and ARC of a message, by the records of a zone file, as of a time."""

import json
import os

import pytest

from peers import BUILD
from process import run

SPURN = os.path.join(BUILD, "spurn")

# The example of RFC 8463.
KEYS = """\
brisbane._domainkey.football.example.com. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
football.example.com. TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.example.com. TXT "v=DMARC1; p=quarantine; sp=reject"
"""
SIGNED = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


@pytest.fixture(name="zone")
def zone_file(tmp_path):
    path = tmp_path / "zone"
    path.write_text(KEYS)
    return str(path)


def auth(zone, text, *arguments, ip="192.0.2.7", sender="joe@football.example.com", status=0):
    done = run([SPURN, "auth", "--zone", zone, "--ip", ip, "--helo", "mx.example.net", "--from", sender, *arguments],
               text.encode())
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert b"Sanitizer" not in done.stderr, done.stderr
    return done.stdout.decode()


def test_a_message_that_all_stand_behind(zone):
    out = json.loads(auth(zone, SIGNED, "--json", "--time", "1528637910"))
    assert out["spf"]["result"] == "pass" and out["spf"]["domain"] == "football.example.com"
    assert out["dkim"] == [{"result": "pass", "domain": "football.example.com", "selector": "brisbane",
                            "reason": "the signature is good"}]
    assert {k: out["dmarc"][k] for k in ("result", "policy", "domain")} == {
        "result": "pass", "policy": "reject", "domain": "example.com"}
    assert out["arc"]["result"] == "none"
    assert " spf=pass smtp.mailfrom=football.example.com; dkim=pass header.d=football.example.com " in \
        out["authentication_results"]
    assert out["authentication_results"].endswith("; arc=none")


def test_an_altered_one_from_elsewhere(zone):
    out = json.loads(auth(zone, SIGNED + "More.\n", "--json", ip="203.0.113.1"))
    assert out["spf"]["result"] == "fail"
    assert out["dkim"][0]["result"] == "fail" and out["dkim"][0]["reason"] == "the body was altered: bh= is not its hash"
    assert out["dmarc"]["result"] == "fail" and out["dmarc"]["policy"] == "reject"


def test_text_of_a_file_that_is_not_signed(zone, tmp_path):
    path = tmp_path / "message"
    path.write_text("From: a@example.com, b@other.example\n\nText.\n")
    lines = auth(zone, "", str(path), sender="x@elsewhere.example").splitlines()
    assert lines[1].startswith("dkim  none ")
    assert "dmarc fail      neither SPF nor a DKIM signature is aligned with the author's domain " \
        "[from=example.com policy=quarantine of=example.com]" in lines
    assert "dmarc bad-from  authors of several domains" in lines
    assert lines[-1].startswith("Authentication-Results: ")


def test_null_sender(zone):
    out = json.loads(auth(zone, "From: a@football.example.com\n\nx\n", "--json", sender="<>"))
    assert out["spf"]["result"] == "none" and out["dmarc"]["result"] == "fail"
    assert out["dkim"] == []


@pytest.mark.parametrize("sender, helo", [("a@pay\u00e9pal.example", "mx.example.net"), ("<>", "pay\u00e9pal.example")])
def test_a_name_beyond_ascii_is_no_other_name(tmp_path, sender, helo):
    path = tmp_path / "zone"
    path.write_text('xn--paypal-dva.example. TXT "v=spf1 +all"\npaypal.example. TXT "v=spf1 -all"\n')
    out = json.loads(auth(str(path), "From: a@elsewhere.example\n\nx\n", "--json", "--helo", helo, sender=sender))
    assert out["spf"]["result"] == "pass" and out["spf"]["domain"] == "xn--paypal-dva.example"
    assert "=xn--paypal-dva.example; " in out["authentication_results"]
    assert "paypal.example" not in out["authentication_results"]


@pytest.mark.parametrize("arguments", [
    [], ["--ip", "192.0.2.7"], ["--ip", "here", "--from", "a@b.test"], ["--ip", "192.0.2.7", "--from", "a"],
    ["--ip", "192.0.2.7", "--from", "a@b.test", "--time", "now"], ["--ip", "192.0.2.7", "--from", "", "x", "y"]])
def test_wrong_use(arguments):
    done = run([SPURN, "auth", *arguments])
    assert done.returncode == 64 and done.stdout == b"" and done.stderr.startswith(b"spurn: "), done


def test_what_cannot_be_read(zone, tmp_path):
    done = run([SPURN, "auth", "--zone", zone, "--ip", "192.0.2.7", "--from", "", str(tmp_path / "none")])
    assert done.returncode == 66 and done.stdout == b"" and b"none" in done.stderr
