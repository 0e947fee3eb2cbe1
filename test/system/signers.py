"""Others that sign and verify: dkimpy, OpenDKIM and rspamd, each with keys of the test and none of the Internet's DNS."""

import base64
import json
import os
import re
import urllib.request

import dkim

from clients import program
from process import Child, Peer, free_port, run

DOMAIN = "example.net"


class Keys:
    """An RSA and an Ed25519 key, as files and as the records that publish them."""

    def __init__(self, directory):
        self.rsa, self.ed25519 = os.path.join(directory, "rsa.pem"), os.path.join(directory, "ed25519.pem")
        run(["openssl", "genrsa", "-traditional", "-out", self.rsa, "2048"])
        run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.ed25519])
        for path in (self.rsa, self.ed25519):
            os.chmod(path, 0o644)
        rsa = run(["openssl", "rsa", "-in", self.rsa, "-pubout", "-outform", "DER"]).stdout
        self.seed = run(["openssl", "pkey", "-in", self.ed25519, "-outform", "DER"]).stdout[-32:]
        public = run(["openssl", "pkey", "-in", self.ed25519, "-pubout", "-outform", "DER"]).stdout[-32:]
        self.records = {f"rsa._domainkey.{DOMAIN}": "v=DKIM1; k=rsa; p=" + base64.b64encode(rsa).decode(),
                        f"ed._domainkey.{DOMAIN}": "v=DKIM1; k=ed25519; p=" + base64.b64encode(public).decode()}

    def private(self, path, owner):
        """A copy of a key file that only its owner can read."""
        copy = path + ".private"
        with open(path, "rb") as source, open(copy, "wb") as target:
            target.write(source.read())
        os.chmod(copy, 0o600)
        os.chown(copy, owner, owner)
        return copy

    def answer(self, name, timeout=5):
        """For dkimpy's dnsfunc."""
        text = self.records.get(name.decode().rstrip("."))
        return text.encode() if text else None


class Dkimpy:
    """dkimpy: knows Ed25519 and every canonicalisation."""

    name = "dkimpy"

    def __init__(self, keys):
        self.keys = keys

    def sign(self, message, ed25519=False, canonicalize=(b"relaxed", b"relaxed"), **more):
        key = base64.b64encode(self.keys.seed)
        if not ed25519:
            with open(self.keys.rsa, "rb") as file:
                key = file.read()
        return dkim.sign(message, b"ed" if ed25519 else b"rsa", DOMAIN.encode(), key, canonicalize=canonicalize,
                         signature_algorithm=b"ed25519-sha256" if ed25519 else b"rsa-sha256", **more) + message

    def seal(self, message, results):
        """One more ARC set on top of a message; results: the value of an Authentication-Results field, which goes away again."""
        with open(self.keys.rsa, "rb") as file:
            key = file.read()
        server = results.split(";")[0].encode()
        headers = dkim.arc_sign(b"Authentication-Results: " + results.encode() + b"\r\n" + message, b"rsa", DOMAIN.encode(), key,
                                server, include_headers=[b"from", b"to", b"subject"])
        return b"".join(headers) + message

    def chain(self, message):
        """What it thinks of a message's chain: "pass" or "fail"; "ended" for one whose newest set says cv=fail."""
        return (dkim.arc_verify(message, dnsfunc=self.keys.answer)[0] or b"ended").decode()

    def verifies(self, message, count=1):
        """Whether the topmost `count` signatures are good."""
        return all(self.verifies_at(message, place) for place in range(count))

    def verifies_at(self, message, place=0):
        try:
            return dkim.DKIM(message).verify(idx=place, dnsfunc=self.keys.answer)
        except dkim.DKIMException:
            return False
        except (UnicodeError, IndexError, KeyError, ValueError):    # what it does not catch itself
            return False


class OpenDkim:
    """OpenDKIM, a run of its test mode for each message."""

    name = "opendkim"

    def __init__(self, keys, directory):
        self.keys, self.directory, self.program = keys, directory, program("opendkim")
        with open(self.path("records"), "w", encoding="ascii") as file:
            for name, text in keys.records.items():
                file.write(f"{name} {text}\n")

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, message, configuration):
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(configuration + "Syslog no\nRequireSafeKeys no\nUserID root\n")
        with open(self.path("message"), "wb") as file:
            file.write(message)
        return run([self.program, "-x", self.path("conf"), "-t", self.path("message"), "-vv"])

    def sign(self, message, canonicalize="relaxed/simple"):
        done = self.run(message, f"Mode s\nDomain {DOMAIN}\nSelector rsa\nKeyFile {self.keys.rsa}\n"
                        f"Canonicalization {canonicalize}\nSignatureAlgorithm rsa-sha256\n"
                        "InternalHosts 0.0.0.0/0\n")
        value = re.search(rb"hname='DKIM-Signature' hvalue='([^']*)'", done.stdout)
        assert value, (done.stdout, done.stderr)
        return b"DKIM-Signature: " + value.group(1).replace(b"\n", b"\r\n") + b"\r\n" + message

    def verifies(self, message, count=1):
        done = self.run(message, f"Mode v\nTestDNSData file:{self.path('records')}\n")
        return len(re.findall(rb"dkim=pass", done.stdout)) == count


class RspamdDkim(Peer):
    """rspamd with its DKIM modules alone."""

    name = "rspamd-dkim"

    def __init__(self, keys, dns):
        super().__init__()
        self.program, self.keys, self.dns, self.port = program("rspamd"), keys, dns, free_port()

    def start(self):
        self.write("rspamd.conf", f"""
options {{ pidfile = "{self.path('pid')}"; filters = "dkim"; tempdir = "{self.directory}"; local_addrs = ["127.0.0.0/8"];
    dns {{ nameserver = "127.0.0.1:{self.dns.port}"; timeout = 2s; retransmits = 2; }} }}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 1000; }}
worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; count = 1; }}
dkim {{ trusted_only = false; }}
modules {{ path = "/usr/share/rspamd/plugins/dkim_signing.lua"; }}
dkim_signing {{ sign_local = true; use_esld = false; check_pubkey = false; use_domain = "header"; try_fallback = false;
    allow_username_mismatch = true; allow_hdrfrom_mismatch = true;
    domain {{ {DOMAIN} {{ path = "{self.keys.rsa}"; selector = "rsa"; }} }} }}
""")
        self.child = Child([self.program, "-f", "-i", "-c", self.path("rspamd.conf")], self.path("output"),
                           env={**os.environ, "HOME": self.directory})
        self.await_listening(("127.0.0.1", self.port), timeout=40)

    def ask(self, message, address):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/checkv2", data=message, headers={"IP": address})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def sign(self, message):
        fields = self.ask(message, "127.0.0.1")["dkim-signature"]
        fields = [fields] if isinstance(fields, str) else fields
        return b"".join(b"DKIM-Signature: " + field.encode() + b"\r\n" for field in fields) + message

    def verifies(self, message, count=1):
        symbols = self.ask(message, "192.0.2.9")["symbols"]
        passed = symbols.get("R_DKIM_ALLOW", {}).get("options", [])
        return len(passed) == count and "R_DKIM_REJECT" not in symbols
