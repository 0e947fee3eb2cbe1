"""What suites of conformance share: where the corpora are, how a C driver is fed, and how results are told.

A suite is an executable run_NAME.py. It may hold several sets of cases; each ends in a line

    NAME CASES RIGHT WRONG SKIPPED

before which stand the lines that explain it: "wrong NAME: CASE: ...", "skipped NAME: COUNT: REASON" and
"deviation NAME: CASE: ..." (counted as right: what we do, and the sentence of the standard it follows). The exit
status is 1 if anything was wrong. A driver is test/conformance/NAME.c, built as conform_NAME: JSON objects in, one a
line, and one out for each.
"""

import collections
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SPURN_BUILD", os.path.join(ROOT, "build")))
CORPUS = os.path.join(os.environ.get("SPURN_SHARED", os.path.join(ROOT, "..", "shared")), "corpus")


class Set:
    """Cases of one name, and what became of them."""

    any_wrong = False

    def __init__(self, name):
        self.name, self.rights, self.wrongs = name, 0, 0
        self.skips = collections.Counter()

    def right(self):
        self.rights += 1

    def wrong(self, case, text):
        self.wrongs += 1
        Set.any_wrong = True
        print(f"wrong {self.name}: {case}: {text}")

    def check(self, case, got, wanted):
        """Right if got is wanted, or one of them if these are a list, tuple or set."""
        if got in wanted if isinstance(wanted, (list, tuple, set)) else got == wanted:
            self.right()
        else:
            self.wrong(case, f"{got!r}, wanted {wanted!r}")

    def deviation(self, case, text):
        """Not what the label says, and meant: text cites the sentence of the standard."""
        self.rights += 1
        print(f"deviation {self.name}: {case}: {text}")

    def skip(self, reason, count=1):
        self.skips[reason] += count

    def end(self):
        for reason, count in self.skips.items():
            print(f"skipped {self.name}: {count}: {reason}")
        skipped = sum(self.skips.values())
        print(self.name, self.rights + self.wrongs + skipped, self.rights, self.wrongs, skipped, flush=True)


def corpus(name):
    """The path of a corpus; without it the whole suite ends, skipped."""
    path = os.path.join(CORPUS, name)
    if not os.path.exists(path):
        print(f"skipped {name}: 0: no such corpus: {path}")
        print(name, 0, 0, 0, 0)
        sys.exit(0)
    return path


def drive(driver, requests, *arguments):
    """What conform_DRIVER answers, in the order of the requests."""
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([os.path.join(BUILD, "conform_" + driver), *arguments], input=lines.encode(),
                          stdout=subprocess.PIPE, check=True, timeout=600)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests), (len(answers), len(requests))
    return answers


def finish():
    sys.exit(1 if Set.any_wrong else 0)
