#!/usr/bin/python3
"""SPF: the suites of the corpus, asked once in order, then with answers late and shuffled, which must change nothing."""

import json
import os

from suite import Set, corpus, drive, finish

SUITES = ("rfc7208", "rfc4408", "pyspf-extra", "jspf-mailzone", "jspf-extra", "mailauth-all", "mailauth-examples",
          "mailauth-exp", "mailauth-ip", "mailauth-macro", "mailauth-ptr")
SEEDS = (1, 2, 3, 4, 5)
IGNORED = 'RFC 7208 section 6: "Unrecognized modifiers MUST be ignored"; "default=" is of a draft before RFC 4408'
DEVIATIONS = {
    ("pyspf-extra", "default-modifier"): IGNORED,
    ("pyspf-extra", "default-modifier-harsh"): IGNORED,
}
# Explanations of an implementation's own, where the domain gives none.
OWN_WORDS = ("DEFAULT", "http://www.openspf.org/why.html?sender=")


def octets(text):
    """Characters of these files stand for octets where they can."""
    try:
        return text.encode("latin-1").hex()
    except UnicodeEncodeError:
        return text.encode().hex()


def zone(entries):
    """The file's records for the driver. Type SPF stands for TXT, unless a TXT is given."""
    out = {}
    for name, records in entries.items():
        own_txt = any(r[0] == "TXT" for r in records)
        rows = []
        for kind, *value in records:
            if kind == "SPF" and not own_txt:
                kind = "TXT"
            if value and value[0] == "NONE" or kind == "SPF":
                continue
            if kind == "TXT":
                rows.append(["TXT", octets("".join(value[0]))])
            elif kind == "MX":
                rows.append(["MX", value[0][0], octets(value[0][1])])
            elif kind in ("PTR", "CNAME"):
                rows.append([kind, octets(value[0])])
            else:
                rows.append([kind, *value])
        out.setdefault(octets(name), []).extend(rows)
    return out


def question(test):
    local, at, domain = test["mailfrom"].rpartition("@")
    return {"ip": test["host"], "helo": octets(test["helo"]), "local": octets(local), "domain": octets(domain)}


def requests(name, scenarios, seed):
    receiver = "localdomain.foo.bar" if name == "jspf-extra" else "receiver.example"
    return [{"receiver": receiver, "zone": zone(s["zone"]), "tests": [question(t) for t in s["tests"]], "seed": seed} for s in scenarios]


def superseded(name, test, newer):
    """Why a case of RFC 4408's suite does not bind."""
    other = newer.get(test["name"])
    if name == "rfc4408" and other is not None and set(other["result"]) != set(test["result"]):
        return "RFC 7208's suite has another result for the case of this name"
    return None


def explained(test, answer):
    wanted = test.get("explanation")
    if wanted is None or answer["result"] != "fail":
        return True
    return answer["explanation"] == (None if wanted.startswith(OWN_WORDS) else wanted)


def score(name, scenarios, answers, newer):
    cases = Set("spf-" + name)
    for scenario, results in zip(scenarios, answers):
        for test, answer in zip(scenario["tests"], results):
            case, got = test["name"], answer["result"]
            why = superseded(name, test, newer)
            if test["quality"] != "A":
                cases.skip("pyspf, strict, differs from the label (quality C)")
            elif got in test["result"] and explained(test, answer):
                cases.right()
            elif why:
                cases.skip(why)
            elif (name, case) in DEVIATIONS:
                cases.deviation(case, DEVIATIONS[name, case])
            else:
                cases.wrong(case, f"{got} {answer.get('explanation')!r}, wanted {test['result']} "
                                  f"{test.get('explanation')!r}: {answer.get('reason')}")
    cases.end()


def main():
    where = corpus("spf")
    files = {}
    for name in SUITES:
        with open(os.path.join(where, name + ".json"), encoding="utf-8") as file:
            files[name] = json.load(file)["scenarios"]
    newer = {t["name"]: t for s in files["rfc7208"] for t in s["tests"]}
    same = Set("spf-late-shuffled")
    for name, scenarios in files.items():
        answers = drive("spf", requests(name, scenarios, 0))
        score(name, scenarios, answers, newer)
        for seed in SEEDS:
            again = drive("spf", requests(name, scenarios, seed))
            for scenario, one, other in zip(scenarios, answers, again):
                for test, a, b in zip(scenario["tests"], one, other):
                    fields = ("result", "explanation", "mechanism", "record", "lookups", "voids")
                    same.check(f"{name}/{test['name']} seed {seed}", [b.get(f) for f in fields],
                               ([a.get(f) for f in fields],))
    same.end()
    finish()


if __name__ == "__main__":
    main()
