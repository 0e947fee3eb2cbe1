#!/usr/bin/python3
"""recipients.py [ROUNDS]: what knowing who exists costs a message: a list in memory beside a chain of sources that is warm.

Messages of 4 KiB over kept connections to a sink, from smtp-source, the recipient known to (1) `recipients file`, (2) a directory
(SQLite), whose answer is in the cache of the chain, (3) the file and then the directory. Rounds are interleaved: medians, and the ratio to the
list. What the hit costs by itself is measured by recipient_bench: beside a dialogue with the server behind it is lost in the noise.
"""

import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "system"))

from beside import Strangers  # noqa: E402
from directories import Sqlite  # noqa: E402
from peers import SmtpSink, Spurn, smtp_source  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
MESSAGES = 4000
USER = "alice@example.org"
OFF = "".join(f"check {name} {{ mode off; }}\n" for name in ("spf", "dkim", "arc", "dmarc", "sender-domain", "rdns"))
LISTENER = {"max-sessions-per-client": "0", "max-transactions": "65k", "max-commands": "65k"}


def rate(spurn):
    began = time.monotonic()
    said, status = smtp_source(spurn.port, messages=MESSAGES, sessions=20, size=4096, to=USER, options=["-d"])
    assert status == 0, said
    return MESSAGES / (time.monotonic() - began)


def main():
    with Sqlite([USER]) as directory, SmtpSink(dump=False) as sink:
        listed = directory.write("users", USER + "\n")
        short = directory.write("others", "nobody-else@example.org\n")
        top = OFF + f"directory users {{ {directory.block()} }}\n"

        def site(recipients):
            return Spurn(domains={"example.org": f"backend smtp://127.0.0.1:{sink.port}; {recipients}"}, top=top,
                         listener=LISTENER, workers=2)
        with site(f"recipients file {listed};") as memory, site("recipients directory users;") as warm, \
                site(f"recipients file {short}; recipients directory users;") as chain:
            ways = {"a list in memory": memory, "a directory, warm": warm, "list, then directory, warm": chain}
            rates = {name: [] for name in ways}
            for spurn in ways.values():
                smtp_source(spurn.port, messages=20, sessions=20, size=100, to=USER)
            strangers = Strangers()
            for _ in range(ROUNDS):
                for name, spurn in ways.items():
                    rates[name].append(rate(spurn))
            print(f"{'':28} {'msg/s':>7} {'ratio':>6}   others {strangers.percent():.0f} %")
            for name in ways:
                ratio = statistics.median(a / b for a, b in zip(rates[name], rates["a list in memory"]))
                print(f"{name:28} {statistics.median(rates[name]):7.0f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
