#!/usr/bin/python3
"""SPF beside pyspf: records made by chance, mistakes included, must come to the same result.

What the standard leaves open and the two decide differently is not generated, or told apart below. SEED=N takes other cases.
"""

import os
import random
import sys

from suite import Set, drive, finish

try:
    import spf
except ImportError:
    print("skipped spf-beside-pyspf: 0: python3-spf is not installed")
    print("spf-beside-pyspf", 0, 0, 0, 0)
    sys.exit(0)

CASES = int(os.environ.get("CASES", "4000"))
MISTAKES = 0.02  # of terms; most of the others would not be reached otherwise
FOUR, SIX = ("192.0.2.1", "192.0.2.77", "198.51.100.3"), ("2001:db8::1", "2001:db8:1::9")
NAMES = ["d.example", "a.example", "b.example", "mx.a.example", "c.d.example", "e.example"]
GOOD = {"ip4": ("192.0.2.1", "192.0.2.77", "198.51.100.3", "192.0.2.0", "203.0.113.200"),
        "ip6": ("2001:db8::1", "2001:db8:1::9", "2001:db8::", "::1", "::ffff:192.0.2.1"),
        "ip4 length": ("", "", "", "/24", "/32", "/0"), "ip6 length": ("", "", "", "/32", "/128", "/0", "/47"),
        "lengths": ("", "", "", "", "/24", "/31", "/0", "//64", "/8//128", "/0//0"),
        "spec": ("%{d}", "%{o}", "%{d2}", "%{l}.a.example", "%{ir}.%{v}.a.example", "x.%{d1r}.example", "%{lr-}.b.example",
                 "%{s1}.a.example", "%{h}", "%{l1r+-}.e.example", "%{o3}.e.example", "%%.example", "%{L}.a.example",
                 "%{i}.a.example", "a.example.", "A.eXample", "%{h2r}.example", "%{p}.a.example")}
BAD = {"ip4": ("192.0.2.01", "1.2.3", "256.1.1.1", "2001:db8::1", ""), "ip6": ("2001:db8:::1", "192.0.2.1", "1:2", ""),
       "ip4 length": ("/33", "/", "/08", "//32", "/24/8"), "ip6 length": ("/129", "/", "/064"),
       "lengths": ("/33", "/032", "//129", "/64/64", "/"),
       "spec": ("%{x}.a.example", "%{c}.example", "%{d", "nodot", "a.123", "%(d).example", "%", "a.-b", "%{d}com")}


def pick(r, what):
    return r.choice((BAD if r.random() < MISTAKES else GOOD)[what])


def domain(r):
    return r.choice(NAMES) if r.random() < 0.75 else pick(r, "spec")


def mechanism(r):
    kind = r.choice(("ip4", "ip6", "a", "a", "mx", "mx", "include", "include", "exists", "ptr") * 3 + ("all",))
    if kind in ("ip4", "ip6"):
        return f"{kind}:{pick(r, kind)}{pick(r, kind + ' length')}"
    if kind in ("a", "mx"):
        return kind + (f":{domain(r)}" if r.random() < 0.7 else "") + pick(r, "lengths")
    if kind in ("include", "exists"):
        return f"{kind}:{domain(r)}"
    if kind == "ptr":
        return "ptr" + (f":{domain(r)}" if r.random() < 0.5 else "")
    return kind


def term(r):
    if r.random() < MISTAKES:
        return r.choice(("bogus", "ipv4:192.0.2.1", "-", "x=y", "moo.x-1=%{d}", "1x=y", "all:x", "a=b", "A", "MX", "+ALL", "=x",
                         "include:", "redirect=", "x=%{z}", "ptr/8", "-x=y", "unknown-1_2.3=a%20b"))
    return r.choice(("", "", "", "-", "~", "?", "+")) + mechanism(r)


def record(r):
    terms = [term(r) for _ in range(r.choice((0, 1, 1, 2, 2, 3, 4, 6, 12)))]
    if r.random() < 0.5:
        terms.append(r.choice("-~?+") + "all")
    if r.random() < 0.15:
        terms.insert(r.randrange(len(terms) + 1), f"redirect={domain(r)}")
    return r.choice(("v=spf1", "v=spf1", "v=spf1", "V=SPF1", "v=spf1 ")) + "".join(" " + t for t in terms)


def zone(r):
    """(name, type) -> values, or None: trouble."""
    answers = {}
    for name in NAMES:
        if r.random() < 0.85:
            answers[name, "TXT"] = [record(r)] + (["other"] if r.random() < 0.1 else [])
        if r.random() < 0.7:
            answers[name, "A"] = r.sample(FOUR, r.choice((1, 1, 2)))
        if r.random() < 0.5:
            answers[name, "AAAA"] = r.sample(SIX, 1)
        if r.random() < 0.5:
            answers[name, "MX"] = [(10, n) for n in r.sample(NAMES, r.choice((1, 2)))]
    for ip in FOUR[:2]:
        answers[".".join(reversed(ip.split("."))) + ".in-addr.arpa", "PTR"] = r.sample(NAMES, 1)
    for _ in range(r.choice((0, 0, 0, 1))):
        answers[r.choice(NAMES), r.choice(("TXT", "MX", "A"))] = None
    return answers


def for_driver(answers):
    out = {}
    for (name, kind), values in answers.items():
        rows = out.setdefault(name.encode().hex(), [])
        if values is None:
            rows.append(["TROUBLE", kind])
        for value in values or ():
            if kind == "MX":
                rows.append(["MX", value[0], value[1].encode().hex()])
            else:
                rows.append([kind, value if kind in ("A", "AAAA") else value.encode().hex()])
    return out


def ask_pyspf(answers, ip, helo, sender):
    """Its result, and whether it ended for too many void look-ups."""
    def look_up(name, kind, *_rest, **_more):
        values = answers.get((name.lower().rstrip("."), kind), ())
        if values is None:
            raise spf.TempError("DNS trouble")
        if kind == "TXT":
            return [((name, kind), (v.encode(),)) for v in values]
        if kind == "AAAA":
            return [((name, kind), spf.ipaddress.IPv6Address(v)) for v in values]
        return [((name, kind), v) for v in values]

    spf.DNSLookup = look_up
    result, _, text = spf.query(i=ip, s=sender, h=helo, querytime=0).check()
    return result, text


def open_question(answers, text, ours):
    """Why the two may differ: the standard leaves it open."""
    if ours["voids"] > 2 or "Void lookup limit" in text or ours["voids"] == 2:
        return "void look-ups: terms here, queries there (RFC 7208 section 4.6.4)"
    if "trivial recursion" in text:
        return "pyspf refuses a record that includes its own domain before it is evaluated"
    if any(v is None for v in answers.values()):
        return "a name in trouble: met at other moments"
    return None


def main():
    r = random.Random(int(os.environ.get("SEED", "7208")))
    cases = []
    for number in range(CASES):
        answers = zone(r)
        cases.append((number, answers, r.choice(FOUR + SIX), r.choice(NAMES), f"{r.choice(('user', 'a-b+c', 'x.y'))}@d.example"))
    requests = [{"zone": for_driver(a), "seed": 0, "receiver": "r.example", "tests": [
        {"ip": ip, "helo": helo.encode().hex(), "local": sender.partition("@")[0].encode().hex(),
         "domain": b"d.example".hex()}]} for _, a, ip, helo, sender in cases]
    same = Set("spf-beside-pyspf")
    for (number, answers, ip, helo, sender), [ours] in zip(cases, drive("spf", requests)):
        theirs, text = ask_pyspf(answers, ip, helo, sender)
        why = open_question(answers, text, ours)
        if theirs == ours["result"]:
            same.right()
        elif why:
            same.skip(why)
        else:
            same.wrong(f"case {number} {ip} {helo} {sender}", f"{ours['result']} ({ours['reason']}), pyspf {theirs} ({text}); "
                                                              f"{answers}")
    same.end()
    finish()


if __name__ == "__main__":
    main()
