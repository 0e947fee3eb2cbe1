#!/usr/bin/env python3
"""notice_peers.py [REPETITIONS]: MB per second of CPU of the parser of MIME and of the recogniser of notices beside GMime and Python's email, in the
same run, interleaved, medians; over the corpus beside the repository and over messages with a large attachment. Build first:
ninja -C build mime_bench notice_bench gmime_peer."""
import base64
import email
import glob
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "corpus")
BUILD = os.path.join(ROOT, os.environ.get("SPURN_BUILD", "build"))
SECONDS = 1


def corpus(*groups):
    found = []
    for group in groups:
        for path in glob.glob(os.path.join(CORPUS, group, "*", "**"), recursive=True):
            if os.path.isfile(path):
                found.append(path)
    return sorted(found)


def large(directory):
    """A text and an attachment of 1 MB in base64."""
    body = base64.encodebytes(random.Random(1).randbytes(750000)).decode()
    path = os.path.join(directory, "large.eml")
    with open(path, "w", newline="") as f:
        f.write(("From: a@example.net\nTo: b@example.org\nSubject: photos\nMIME-Version: 1.0\n"
                 "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhere\n--b\n"
                 "Content-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n" + body + "--b--\n").replace("\n", "\r\n"))
    return [path]


def run(program, *arguments):
    done = subprocess.run([os.path.join(BUILD, program), *arguments], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def python(files):
    messages = [open(f, "rb").read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for f in files]
    octets, began = 0, time.process_time()
    while True:
        for m in messages:
            for part in email.message_from_bytes(m).walk():
                if not part.is_multipart():
                    part.get_payload(decode=True)
            octets += len(m)
        spent = time.process_time() - began
        if spent > SECONDS:
            return octets / spent / 1e6


def main():
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as scratch:
        works = {"corpus, all": corpus("bounces", "ordinary", "autoreply", "reports", "malformed"),
                 "corpus, ordinary mail": corpus("ordinary"), "corpus, bounces": corpus("bounces"),
                 "an attachment of 1 MB": large(scratch)}
        print("| MB per CPU second | MIME | recogniser | GMime, parsed | GMime, decoded | Python email |\n|---|--:|--:|--:|--:|--:|")
        for name, files in works.items():
            if not files:
                continue
            rows = [[run("mime_bench", str(SECONDS), *files), run("notice_bench", str(SECONDS), *files),
                     run("gmime_peer", str(SECONDS), *files), run("gmime_peer", "--decode", str(SECONDS), *files),
                     python(files)] for _ in range(repetitions)]
            print("| %s | %s |" % (name, " | ".join("%.1f" % statistics.median(r[i] for r in rows) for i in range(5))))


main()
