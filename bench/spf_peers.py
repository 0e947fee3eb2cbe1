#!/usr/bin/python3
"""spf_peers.py: SPF of a record with five includes, DNS warm, beside pyspf and libspf2 in one run, interleaved.

    bench/spf_peers.py [REPETITIONS]

Spurn is build/spf_bench; pyspf comes from python3-spf, libspf2 from libspf2-dev; one that is not there is left out. Figures
are medians of all repetitions, microseconds for one evaluation.
"""

import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("SPURN_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "test", "system"))

from fakes import DnsServer  # noqa: E402

DOMAIN, CLIENT = "five.example", "192.0.2.129"
ZONE = {DOMAIN: "v=spf1 " + " ".join(f"include:_spf{i}.{DOMAIN}" for i in range(1, 6)) + " -all"}
for number in range(1, 6):
    networks = " ".join(f"ip4:198.51.{number}.{n * 16}/28" for n in range(6))
    ZONE[f"_spf{number}.{DOMAIN}"] = f"v=spf1 {networks}{' ip4:192.0.2.128/25' if number == 5 else ''} ~all"


def spurn(server, directory):
    path = os.path.join(directory, "zone")
    with open(path, "w", encoding="ascii") as file:
        for name, text in ZONE.items():
            file.write(f'{name}. 3600 TXT "{text}"\n')
    done = subprocess.run([os.path.join(BUILD, "spf_bench"), f"127.0.0.1@{server.port}", path, CLIENT, DOMAIN],
                          stdout=subprocess.PIPE, check=True, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]


def pyspf():
    """Answers from a dictionary: pyspf's own cache holds for one evaluation alone."""
    try:
        import spf
    except ImportError:
        return []
    spf.DNSLookup = lambda name, kind, *rest, **more: (
        [((name, "TXT"), (ZONE[name].encode(),))] if kind == "TXT" and name in ZONE else [])
    times, count = [], 200
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            result = spf.check2(CLIENT, f"user@{DOMAIN}", "mx.client.example", querytime=0)[0]
        times.append((time.perf_counter() - began) * 1e6 / count)
    return [{"name": "pyspf, answers in memory", "us": statistics.median(times), "result": result}]


def build_libspf2(directory):
    """The program, or None without the library."""
    program = os.path.join(directory, "libspf2")
    done = subprocess.run(["cc", "-O2", "-w", "-DHAVE_NS_TYPE", "-o", program,
                           os.path.join(ROOT, "bench", "spf_libspf2.c"), "-lspf2"],
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print("libspf2 is left out:", done.stderr.decode().splitlines()[:1], file=sys.stderr)
    return program if done.returncode == 0 else None


def libspf2(program):
    if program is None:
        return []
    zone = "".join(f"{name} {text}\n" for name, text in ZONE.items())
    done = subprocess.run([program, CLIENT, DOMAIN, "2000"], input=zone.encode(), stdout=subprocess.PIPE, check=True,
                          timeout=300)
    return [json.loads(done.stdout)]


def main():
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    figures, results = collections.defaultdict(list), {}
    subprocess.run(["ninja", "-C", BUILD, "--quiet", "spf_bench"], check=True)
    with tempfile.TemporaryDirectory() as directory, DnsServer(ttl=3600) as server:
        for name, text in ZONE.items():
            server.txt(name, text)
        program = build_libspf2(directory)
        for _ in range(repetitions):
            for row in spurn(server, directory) + libspf2(program) + pyspf():
                figures[row["name"]].append(row["us"])
                results[row["name"]] = row["result"]
    for name, times in figures.items():
        print(f"{name:44} {statistics.median(times):10.1f} us   {results[name]}")


if __name__ == "__main__":
    main()
