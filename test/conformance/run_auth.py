#!/usr/bin/env python3
"""DMARC, the public suffix list, ARC, Authentication-Results, and all of them over whole messages."""

import base64
import json
import os
import re
import shlex
import tempfile

import yaml

from suite import Set, corpus, drive, finish

VERIFIED_AT = 1600000000


def read(path):
    with open(path, "rb") as file:
        return file.read()


def lines_of(path):
    return [json.loads(line) for line in read(path).splitlines() if line.strip()]


# ---- DMARC ----

def alignments(cases):
    found = Set("dmarc-alignment")
    answers = drive("auth", [{"op": "aligned", "one": c["a"].strip("."), "other": c["b"].strip("."),
                              "strict": c["mode"] == "strict"} for c in cases])
    for case, got in zip(cases, answers):
        found.check(case["id"], got["aligned"], case["aligned"])
    found.end()


def zone_of(dns):
    return {name.lower(): {kind: ["".join(texts) for texts in answers] if isinstance(answers, list) else answers
                           for kind, answers in types.items()} for name, types in dns.items()}


def policies(cases):
    """Records that make several lines of RFC 9989 differ are judged by the tree walk."""
    found = Set("dmarc")
    requests = []
    for case in cases:
        author = case["header_from"] if isinstance(case["header_from"], str) else case["header_from"][0]
        requests.append({"op": "dmarc", "from": author if "@" in author else "someone@" + author,
                         "spf": case["spf_pass"], "dkim": [d["domain"] for d in case["dkim_pass"]],
                         "tree": case["rfc"] == "9989", "dns": zone_of(case["dns"])})
    for case, got in zip(cases, drive("auth", requests)):
        wanted = case["expect"]
        same = got["result"] == wanted["result"] and got["policy"] == wanted["policy"]
        if same:
            found.right()
        else:
            found.wrong(case["id"], f"{got}, wanted {wanted}")
    found.end()


def suffixes():
    found = Set("psl")
    rows = [line.split("\t") for line in read(os.path.join(corpus("psl"), "test_psl.tsv")).decode().splitlines()[1:]]
    answers = drive("auth", [{"op": "organization", "domain": "" if row[0] == "(null)" else row[0]} for row in rows])
    for row, got in zip(rows, answers):
        wanted = None if row[1] == "(null)" else row[1].encode("idna").decode()
        found.check(row[0], got["domain"], (wanted,))
    found.end()


# ---- ARC ----

def chains():
    found = Set("arc")
    where = corpus("arc")
    cases = [row.split("\t") for row in read(os.path.join(where, "manifest.tsv")).decode().splitlines()[1:]]
    requests = []
    for row in cases:
        dns = json.loads(read(os.path.join(where, row[0], "dns.json")))
        zone = {name.lower(): {"TXT": texts} for name, texts in dns["txt"].items()}
        zone.update({name.lower(): {"TXT": status} for name, status in dns["status"].items()})
        requests.append({"op": "message", "ip": "192.0.2.1", "helo": "", "mail_from": "", "time": VERIFIED_AT, "dns": zone,
                         "message": base64.b64encode(read(os.path.join(where, row[0], "message.eml"))).decode()})
    for row, got in zip(cases, drive("auth", requests)):
        if got["arc"] == row[1]:
            found.right()
        elif row[2] == "C":
            found.skip("disputed label (quality C)")
        else:
            found.wrong(row[0], f"{got['arc']}, wanted {row[1]}: {row[3]}: {[r for r in got['reasons'] if r[:3] == 'arc']}")
    found.end()


def tags_of(text):
    """The tags of a signature field without white space, which says nothing in any of them."""
    return dict(re.sub(r"\s", "", tag).split("=", 1) for tag in text.split(";"))


def consolidated(message, server):
    """What the fields Authentication-Results of a server say, in one value: the suite's messages bring our results along."""
    header = re.sub(r"\r?\n[ \t]+", " ", message.replace("\r\n", "\n").split("\n\n")[0])
    said = re.findall(rf"(?im)^Authentication-Results:\s*{re.escape(server)}\s*;(.*)$", header)
    return f"{server}; " + "; ".join(part.strip().rstrip(";") for part in said)


def seals():
    """The fields that are made, octet by octet where it matters: signatures are deterministic, so the form must agree, too."""
    found = Set("arc-seal")
    with open(os.path.join(corpus("arc"), "suite", "arc-draft-sign-tests.yml"), encoding="utf-8") as file:
        groups = list(yaml.safe_load_all(file))
    for group in groups:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as key:
            key.write(group["privatekey"])
            key.flush()
            zone = {name: {"TXT": [re.sub(r"\s*\n", "", text)]} for name, text in group["txt-records"].items()}
            requests = [{"op": "seal", "message": base64.b64encode(re.sub("\r?\n", "\r\n", t["message"]).encode()).decode(),
                         "domain": group["domain"], "selector": group["sel"], "key": key.name, "names": t["sig-headers"],
                         "results": consolidated(t["message"], t["srv-id"]), "time": t["t"], "dns": zone}
                        for t in group["tests"].values()]
            answers = drive("auth", requests)
        for (name, wanted), got in zip(group["tests"].items(), answers):
            made = dict(re.findall(r"(?s)(ARC-[A-Za-z-]+): (.*?)\r\n(?=\S|$)", got["fields"]))
            if not wanted["AS"]:
                found.check(name, made, {})
                continue
            differs = [field for field, same in (
                ("ARC-Seal", tags_of(made.get("ARC-Seal", "=")) == tags_of(wanted["AS"])),
                ("ARC-Message-Signature", tags_of(made.get("ARC-Message-Signature", "=")) == tags_of(wanted["AMS"])),
                ("ARC-Authentication-Results", made.get("ARC-Authentication-Results", "").split() == wanted["AAR"].split()),
            ) if not same]
            found.check(name, differs, [[]])
    found.end()


# ---- Authentication-Results ----

CASE_OF_RESULT = "its text in the corpus is cut, so that there is nothing behind the semicolon"
LABELS_OF_SCRIPTS = ("RFC 8601 section 2.2 takes its terms as RFC 6532 extends them, so an authserv-id may have U-labels; the "
                     "label is about a call of the origin's library with a string of another kind")


def assertion_holds(got, path, wanted):
    if path == "authserv_id":
        return got["server"] == wanted
    if path == "authres_version":
        return got["version"] == int(wanted)
    if path == "resinfo.length":
        return len(got["results"]) == int(wanted)
    match = re.fullmatch(r'resinfo\[(\d+)\]\.(method|method_version|result|properties\.([\w-]+)[.\[]"?([\w-]+)"?\]?)', path)
    result = got["results"][int(match[1])]
    if match[3]:
        return result["properties"].get(f"{match[3]}.{match[4]}") == wanted
    return str(result["version" if match[2] == "method_version" else match[2]]) == wanted


def results():
    found = Set("authres")
    cases = lines_of(os.path.join(corpus("authres"), "cases.jsonl"))
    answers = drive("auth", [{"op": "authres", "value": c["header"].split(":", 1)[1].rstrip("\r\n")} for c in cases])
    for case, got in zip(cases, answers):
        parses = got["parses"] and got["known"]
        if case["header"].rstrip().endswith(";"):
            found.skip(CASE_OF_RESULT)
        elif case["title"] == "Wrongly called with normal string" and parses:
            found.deviation(case["id"], LABELS_OF_SCRIPTS)
        elif parses != case["parses"]:
            found.wrong(case["id"], f"{got}, wanted parses={case['parses']}")
        else:
            missing = [path for path, wanted in case["asserts"] if f"{path}".split(".")[-1].split("[")[0] != "policy" and
                       "policy.authority" not in path and not assertion_holds(got, path, json.loads(wanted)
                                                                              if wanted[0] == '"' else wanted)]
            found.check(case["id"], missing, ([],))
    found.end()


# ---- whole messages ----

def authmilter_zone(path):
    zone = {}
    for line in read(path).decode().splitlines():
        words = shlex.split(line.replace("(", " ").replace(")", " ").replace("'", "\\'"), posix=True) \
            if not line.startswith(";") else []
        words = [w for i, w in enumerate(words) if not (0 < i < 3 and (w.isdigit() or w == "IN"))]
        if len(words) < 3:
            if words:
                zone.setdefault(words[0].rstrip(".").lower(), {})
            continue
        text = "".join(words[2:]) if words[1] == "TXT" else " ".join(words[2:])
        zone.setdefault(words[0].rstrip(".").lower(), {}).setdefault(words[1], []).append(text)
    return zone


def rspamd_zone(path):
    status = {"nxdomain": "NXDOMAIN", "norec": "NODATA", "timeout": "TIMEOUT", "servfail": "SERVFAIL"}
    zone = {}
    for name, types in json.loads(read(path)).items():
        zone[name.lower()] = {kind.upper(): status[data["rcode"]] if data["rcode"] else data["replies"]
                              for kind, data in types.items() if kind != "file"}
    return zone


# What the label says is not what we do, and the sentence that decides.
SHA1 = 'RFC 8301 section 3.1: "rsa-sha1 MUST NOT be used for signing or verifying."'
DEVIATIONS = {"authmilter-dmarc_reject_wl": SHA1}


def messages():
    found = Set("e2e-auth")
    where = corpus("e2e-auth")
    zones = {"authmilter": authmilter_zone(os.path.join(where, "authmilter.zone")),
             "rspamd": rspamd_zone(os.path.join(where, "rspamd-dns.json"))}
    cases, requests = [], []
    for case in sorted(os.listdir(where)):
        if not os.path.isdir(os.path.join(where, case)):
            continue
        envelope = json.loads(read(os.path.join(where, case, "envelope.json")))
        cases.append((case, json.loads(read(os.path.join(where, case, "expect.json")))))
        requests.append({"op": "message", "ip": envelope["client_ip"], "helo": envelope["helo"] or "", "time": VERIFIED_AT,
                         "mail_from": envelope["mail_from"] or "", "dns": zones[case.split("-")[0]],
                         "message": base64.b64encode(read(os.path.join(where, case, "message.eml"))).decode()})
    for (case, wanted), got in zip(cases, drive("auth", requests)):
        policy = wanted.get("dmarc_policy") or wanted.get("dmarc_disposition")
        wrong = [f"dmarc {got['dmarc']}, wanted {wanted['dmarc']}"] if got["dmarc"] != wanted["dmarc"] else []
        if policy and got["dmarc"] != "none" and got["policy"] != policy:
            wrong.append(f"policy {got['policy']}, wanted {policy}")
        if wanted.get("spf") and got["spf"] != wanted["spf"]:
            wrong.append(f"spf {got['spf']}, wanted {wanted['spf']}")
        if wanted.get("dkim") is not None and got["dkim"] != wanted["dkim"] and \
                not (got["dkim"] == [] and wanted["dkim"] in (["none"], "none")):
            wrong.append(f"dkim {got['dkim']}, wanted {wanted['dkim']}")
        if wrong and case in DEVIATIONS:
            found.deviation(case, f"{'; '.join(wrong)}: {DEVIATIONS[case]}")
        elif wrong:
            found.wrong(case, f"{'; '.join(wrong)}: {got['reasons']}")
        else:
            found.right()
    found.end()


def main():
    cases = lines_of(os.path.join(corpus("dmarc"), "cases.jsonl"))
    policies([c for c in cases if c.get("kind") != "alignment"])
    alignments([c for c in cases if c.get("kind") == "alignment"])
    suffixes()
    chains()
    seals()
    results()
    messages()
    finish()


if __name__ == "__main__":
    main()
