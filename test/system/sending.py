"""A site that sends through Spurn and wants its bounces proved: Spurn with an outbound listener, and keys."""

import base64
import hashlib
import hmac
import os
import re
import time

from clients import Smtp
from fakes import DnsServer
from mta import CLIENT_DOMAIN
from process import free_port, run, wait_until
from spurn import BUILD, NOBODY, Spurn

BOB = f"bob@{CLIENT_DOMAIN}"
ANN = f"ann@{CLIENT_DOMAIN}"
DEAD = "dead@remote.example"
MOVED = "moved@elsewhere.example"
BOUNCES = "bounces { unproven reject; enrolled yes; never-sends noreply@%s; }" % CLIENT_DOMAIN


def make_key(directory, *arguments):
    done = run([os.path.join(BUILD, "spurn"), "keys", "new", "--dir", directory, *arguments])
    assert done.returncode == 0, done.stderr
    return done


def tag(directory, key, address, days=14):
    """The tag as draft-levine-smtp-batv-01 has it, by a key of ours, good for so many days from now."""
    with open(os.path.join(directory, f"{key}.key"), encoding="ascii") as stream:
        secret = base64.b64decode(re.search(r"^secret\s+(\S+)", stream.read(), re.MULTILINE).group(1))
    mine = hmac.new(secret, b"spurn bounce tag\x01", hashlib.sha256).digest()
    head = f"{key}{(int(time.time()) // 86400 + days) % 1000:03d}"
    return head + hmac.new(mine, (head + address).encode(), hashlib.sha1).hexdigest()[:6]


def own(directory):
    """The files of a key directory belong to whom the daemon becomes."""
    for name in ["", *os.listdir(directory)]:
        os.chown(os.path.join(directory, name), NOBODY, NOBODY)


class Site(Spurn):
    """Spurn with an outbound listener and keys; mode, check: of the check bounce; bounces: of the domain; top: what else."""

    def __init__(self, backend, next_hop, keys, mode="enforce", check="", bounces=BOUNCES, top=""):
        self.out = free_port()
        top += (f"listener outbound {{ address 127.0.0.1:{self.out}; allow 127.0.0.0/8; greet-wait 0s; "
                f"next-hop {next_hop}; }}\nkeys {{ dir {keys}; }}\ncheck bounce {{ mode {mode}; {check} }}\n"
                "check sender-domain { mode off; }\ncheck spf { mode off; }\ncheck rdns { mode off; }\n")
        self.resolver = DnsServer()
        super().__init__(domains={CLIENT_DOMAIN: f"backend {backend}; recipients callforward; {bounces}"}, top=top,
                         dns=self.resolver)

    def start(self):
        self.resolver.__enter__()
        super().start()

    def stop(self):
        super().stop()
        self.resolver.__exit__(None, None, None)

    def send_out(self, sender, recipient, text, notify=""):
        """notify: what RFC 3461 calls so, e.g. SUCCESS."""
        if notify:
            wait_until(self.offers_dsn, 5, "what the next hop offers")
        c = Smtp(self.out)
        c.greet()
        c.command(f"MAIL FROM:<{sender}>", 250)
        c.command(f"RCPT TO:<{recipient}>{' NOTIFY=' + notify if notify else ''}", 250)
        c.data(text, 250)
        c.quit()

    def offers_dsn(self):
        with Smtp(self.out) as c:
            offers = "DSN" in c.greet().texts
            c.quit()
        return offers

    def comes_in(self, recipient, text, code, sender=""):
        """A message with a null sender; returns the reply to its end."""
        [reply] = self.come_in([(recipient, text)], sender)
        assert reply.code == code, reply
        return reply

    def come_in(self, messages, sender=""):
        """The same for (recipient, text), one after the other in one session."""
        replies = []
        with self.session() as c:
            for recipient, text in messages:
                c.command(f"MAIL FROM:<{sender}>", 250)
                c.command(f"RCPT TO:<{recipient}>", 250)
                replies.append(c.data(text))
            c.quit()
        return replies

    def finding(self):
        """Of the last transaction, by the check bounce."""
        self.wait_records(1)
        return [f for f in self.transactions()[-1]["findings"] if f["check"] == "bounce"][-1]


def original(number):
    return (f"From: Bob <{BOB}>\r\nTo: {DEAD}\r\nSubject: test {number}\r\nMessage-ID: <{number}@{CLIENT_DOMAIN}>\r\n"
            "Date: Mon, 23 Nov 2026 00:00:00 +0000\r\n\r\nhello\r\n").encode()
