#!/usr/bin/python3
"""dkim_peers.py: hashes of bodies and whole verifications of DKIM beside OpenSSL alone and libopendkim, interleaved.

    bench/dkim_peers.py [REPETITIONS]

Spurn is build/dkim_bench, libopendkim comes from libopendkim-dev (left out if it is not there). Figures are medians of all
repetitions.
"""

import base64
import collections
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("SPURN_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "test", "system"))

from signers import DOMAIN, Dkimpy, Keys  # noqa: E402

SIZE = 16 << 20


def prose(size):
    chance = random.Random(1)
    words = ["".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randrange(2, 10))) for _ in range(999)]
    lines, length = [], 0
    while length < size:
        line = " ".join(chance.choice(words) for _ in range(11)) + ("." if chance.random() < .2 else "")
        if chance.random() < .1:
            line = ""
        lines.append(line)
        length += len(line) + 2
    return ("\r\n".join(lines) + "\r\n").encode()


def html(size):
    line = b"      <td class=\"c\">\r\n        <a href=\"https://example.net/\">a  link</a>\r\n\t</td>\r\n"
    return line * (size // len(line))


def attachment(size):
    octets = base64.b64encode(random.Random(2).randbytes(size * 3 // 4))
    return b"".join(octets[i:i + 76] + b"\r\n" for i in range(0, len(octets), 76))


def rows(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines()]


def build_libopendkim(directory):
    """The program, or None without the library."""
    program = os.path.join(directory, "dkim_opendkim")
    done = subprocess.run(["cc", "-O2", "-w", "-o", program, os.path.join(ROOT, "bench", "dkim_opendkim.c"), "-lopendkim"],
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print("libopendkim is left out:", done.stderr.decode().splitlines()[:1], file=sys.stderr)
    return program if done.returncode == 0 else None


def signed_message(directory, keys):
    head = (b"From: Anna <anna@example.net>\r\nTo: bob@example.org\r\nSubject: A message of 10 KiB\r\n"
            b"Date: Mon, 23 Nov 2026 02:49:59 +0000\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: text/plain\r\n" + b"Received: from a.example.net by b.example.net with ESMTPS id 0123456789;\r\n"
            b"\tMon, 23 Nov 2026 02:49:59 +0000\r\n" * 5)
    mail = Dkimpy(keys).sign(head + b"\r\n" + prose(10240 - len(head) - 700))
    path = os.path.join(directory, "message")
    with open(path, "wb") as file:
        file.write(mail)
    return path


def main():
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    figures = collections.defaultdict(lambda: collections.defaultdict(list))
    subprocess.run(["ninja", "-C", BUILD, "--quiet", "dkim_bench"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        keys = Keys(directory)
        record = keys.records[f"rsa._domainkey.{DOMAIN}"]
        records, message = os.path.join(directory, "records"), signed_message(directory, keys)
        with open(records, "w", encoding="ascii") as file:
            file.write(f"rsa._domainkey.{DOMAIN} {record}\n")
        bodies = []
        for name, make in (("prose", prose), ("base64", attachment), ("html", html)):
            bodies.append(os.path.join(directory, name))
            with open(bodies[-1], "wb") as file:
                file.write(make(SIZE))
        spurn, other = os.path.join(BUILD, "dkim_bench"), build_libopendkim(directory)
        for _ in range(repetitions):
            found = rows([spurn, *bodies]) + rows([spurn, "message", message, record])
            if other:
                found += [row for body in bodies for row in rows([other, "body", body])]
                found += rows([other, "message", message, records])
            for row in found:
                for key, value in row.items():
                    if key != "name":
                        figures[row["name"]][key].append(value)
    for name, columns in figures.items():
        print(f"{name:36}", "  ".join(f"{key} {statistics.median(values):.4g}" for key, values in columns.items()))


if __name__ == "__main__":
    main()
