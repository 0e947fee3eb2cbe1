#!/usr/bin/env python3
"""DKIM: messages of other implementations' suites (RFC 6376 with RFC 8301 and RFC 8463), and canonicalisation.

Each message is verified whole and in pieces of three octets. A signature that another tool found good must be among
ours that pass, unless RFC 8301 forbids it.
"""

import base64
import json
import os
import time

from suite import Set, corpus, drive, finish

# What the label says is not what we do, and the sentence that decides.
MISSING_TAG = ('RFC 6376 section 6.1.1: "If any tag listed as "required" in Section 3.5 is omitted from the DKIM-Signature '
               'header field, the Verifier MUST ignore the DKIM-Signature header field and return PERMFAIL (signature '
               'missing required tag)"')
LONG_KEY = ('RFC 8301 section 3.2: "Verifiers MUST be able to validate signatures with keys ranging from 1024 bits to 4096 '
            'bits, and they MAY be able to validate signatures with larger keys"; ours end at 8192, and the key is read '
            'before the body is compared')
DEVIATIONS = {"exim-4506-1": MISSING_TAG, "opendkim-test62-1": MISSING_TAG, "rspamd-dkim_key_too_long": LONG_KEY,
              "rspamd-dkim_key_too_wide": LONG_KEY}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def cases_of(where):
    for case in sorted(os.listdir(where)):
        if os.path.isdir(os.path.join(where, case)):
            expect = json.loads(read(os.path.join(where, case, "expect.json")))
            request = {"message": base64.b64encode(read(os.path.join(where, case, "message.eml"))).decode(),
                       "dns": json.loads(read(os.path.join(where, case, "dns.json"))),
                       "time": expect["verify_at"] or int(time.time())}
            yield case, expect, request


def messages():
    verified = Set("dkim")
    cases = list(cases_of(corpus("dkim")))
    answers = drive("dkim", [request for _, _, request in cases])
    in_pieces = drive("dkim", [{**request, "cut": 3} for _, _, request in cases])
    for (case, expect, _), got, again in zip(cases, answers, in_pieces):
        wanted = expect["rfc8301_result"]
        if expect["quality"] == "C":
            verified.skip("disputed label (quality C)")
        elif got != again:
            verified.wrong(case, f"in pieces: {again}, whole: {got}")
        elif got["result"] == wanted:
            verified.right()
        elif case in DEVIATIONS:
            verified.deviation(case, f"{got['result']} instead of {wanted}: {DEVIATIONS[case]}")
        else:
            verified.wrong(case, f"{got['result']}, wanted {wanted} (acceptable {expect['acceptable']}): "
                                 f"{[(s['result'], s['reason']) for s in got['signatures']]}")
    verified.end()


def canonical_forms():
    """The inputs have bare LF as on disk; an isolated CR is part of one."""
    forms = Set("dkim-canon")
    where = corpus("dkim-canon")
    for number in sorted(name.split(".")[1] for name in os.listdir(where) if name.startswith("email.")):
        message = base64.b64encode(read(os.path.join(where, f"email.{number}")).replace(b"\n", b"\r\n")).decode()
        wanted = {kind: read(os.path.join(where, f"{kind}.expected.{number}")) for kind in ("simple", "relaxed")}
        answers = drive("dkim", [{"message": message, "canon": kind, "cut": cut}
                                 for kind in ("simple", "relaxed") for cut in (0, 1)])
        got = [base64.b64decode(a["canonical"]) for a in answers]
        forms.check(number, got, ([wanted["simple"]] * 2 + [wanted["relaxed"]] * 2,))
    forms.end()


def main():
    messages()
    canonical_forms()
    finish()


if __name__ == "__main__":
    main()
