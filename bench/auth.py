#!/usr/bin/python3
"""auth.py [BUILD [SECONDS [ROUNDS]]]: what SPF, DKIM, DMARC and ARC cost at the gate, beside Postfix with OpenDKIM and OpenDMARC.

Signed messages of 4 KiB (one RSA-2048 signature, aligned; SPF passes, p=reject), each of eight clients sends one of its own again and
again over kept connections. DNS is one Unbound on 127.0.0.1:53, in a network of our own, with all answers in memory; whoever keeps a cache uses it.
Postfix takes a message into its queue and hands it on afterwards; it is measured until the sink has them all. Rounds are interleaved; medians.
Needs root, and the Debian packages unbound, opendkim and opendmarc.
"""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "system"))
if len(sys.argv) > 1:
    os.environ["SPURN_BUILD"] = os.path.abspath(sys.argv[1])

from peers import Child, Peer, PostfixBackend, SmtpSink, Spurn, free_port, wait_until  # noqa: E402
from clients import postfix_program  # noqa: E402
from signers import DOMAIN, Dkimpy, Keys  # noqa: E402

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 4
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
CLIENTS = 8
OFF = "".join(f"check {name} {{ mode off; }}\n" for name in ("spf", "dkim", "arc", "dmarc", "sender-domain", "rdns"))
ON = "check sender-domain { mode off; }\ncheck rdns { mode off; }\n"


class Unbound(Peer):
    """The resolver of all who are measured."""

    name = "unbound"

    def __init__(self, records):
        super().__init__()
        self.records = records

    def start(self):
        data = "".join(f"  local-data: '{name}. 300 {kind} {text}'\n" for name, kind, text in self.records)
        self.write("unbound.conf", "server:\n  interface: 127.0.0.1\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n"
                   f"  use-syslog: no\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  directory: {self.path()}\n  module-config: iterator\n"
                   f"  local-zone: \"net.\" static\n  local-zone: \"test.\" static\n  local-zone: \"org.\" static\n{data}"
                   "remote-control:\n  control-enable: no\n")
        self.child = Child([shutil.which("unbound"), "-d", "-c", self.path("unbound.conf")], self.path("output"))
        wait_until(lambda: b"53" in subprocess.run(["ss", "-lnu"], stdout=subprocess.PIPE, check=False).stdout, 10, "unbound")


class OpenDkimMilter(Peer):
    """Verifies; no client is internal."""

    name = "opendkim-verifier"

    def start(self):
        self.port = free_port()
        self.write("nobody", "192.0.2.255\n")
        self.write("opendkim.conf", f"Mode v\nSocket inet:{self.port}@127.0.0.1\nSyslog no\nInternalHosts {self.path('nobody')}\n"
                   f"ExternalIgnoreList {self.path('nobody')}\nUserID nobody\nRequireSafeKeys no\nNameservers 127.0.0.1\n"
                   "AuthservID mx.example.org\n")
        self.child = Child([shutil.which("opendkim"), "-f", "-x", self.path("opendkim.conf")], self.path("output"))
        self.await_listening(("127.0.0.1", self.port))


class OpenDmarcMilter(Peer):
    """SPF by itself, DMARC enforced."""

    name = "opendmarc"

    def start(self):
        self.port = free_port()
        self.write("nobody", "192.0.2.255\n")
        self.write("opendmarc.conf", f"Socket inet:{self.port}@127.0.0.1\nSyslog false\nSPFSelfValidate true\nSPFIgnoreResults true\n"
                   f"RejectFailures true\nIgnoreHosts {self.path('nobody')}\nAuthservID mx.example.org\n"
                   "TrustedAuthservIDs mx.example.org\nUserID nobody\n")
        self.child = Child([shutil.which("opendmarc"), "-f", "-c", self.path("opendmarc.conf")], self.path("output"))
        self.await_listening(("127.0.0.1", self.port))


class Counter:
    """Messages that the sink has taken: smtp-sink -c writes a number after each."""

    def __init__(self, sink):
        self.sink = sink

    def value(self):
        with open(self.sink.path("output"), "rb") as stream:
            found = re.findall(rb"mesg=(\d+)", stream.read()[-400:])
        return int(found[-1]) if found else 0


def cpu_seconds(pids):
    """User and system time of processes and of those that they have started, and of whom they have buried."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    tree = subprocess.run(["ps", "-eo", "pid=,ppid="], stdout=subprocess.PIPE, check=True).stdout.split()
    parents = dict(zip(map(int, tree[::2]), map(int, tree[1::2])))
    wanted, grown = set(pids), True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    for pid in wanted:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
                fields = stream.read().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / ticks
        except OSError:
            pass
    return total


def load(port, files, count):
    """Each client sends its message so many times; the seconds that it took."""
    began = time.monotonic()
    clients = [subprocess.Popen([*postfix_program("smtp-source"), "-d", "-m", str(count), "-s", "1", "-F", file,
                                 "-f", f"anna@{DOMAIN}", "-t", "u@example.test", "-M", f"mail.{DOMAIN}", f"127.0.0.1:{port}"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for file in files]
    for client in clients:
        said = client.communicate()[1]
        assert client.returncode == 0, said
    return time.monotonic() - began


def measure(peer, port, pids, sink, files):
    """(messages a second, CPU seconds per 1,000 of all that is the peer's)."""
    counter = Counter(sink)
    wave = 100
    before = counter.value()
    load(port, files, wave // 4)    # warm
    wait_until(lambda: counter.value() - before >= CLIENTS * wave // 4, 60, f"{peer}: the sink")
    before, used, sent, began = counter.value(), cpu_seconds(pids), 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        load(port, files, wave)
        sent += CLIENTS * wave
    wait_until(lambda: counter.value() - before >= sent, 120, f"{peer}: {sent} messages in the sink")
    took = time.monotonic() - began
    assert counter.value() - before == sent, f"{peer}: {counter.value() - before} of {sent}"
    return sent / took, (cpu_seconds(pids) - used) * 1000 / sent


def messages(directory, dkimpy):
    files = []
    for n in range(CLIENTS):
        text = (f"From: Anna <anna@{DOMAIN}>\r\nTo: u@example.test\r\nSubject: message {n}\r\n"
                f"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{n}.{os.getpid()}@{DOMAIN}>\r\n\r\n" +
                "Some text of a message, line after line, until it is long enough.\r\n" * 60).encode()
        files.append(os.path.join(directory, f"message{n}"))
        with open(files[-1], "wb") as stream:
            stream.write(dkimpy.sign(text).replace(b"\r\n", b"\n"))
    return files


@contextlib.contextmanager
def rows(sink, unbound):
    """The peers: (name, context managers to enter, port, process ids)."""
    dkim, dmarc = OpenDkimMilter(), OpenDmarcMilter()
    with dkim, dmarc:
        own = {"virtual_mailbox_domains": "", "relay_domains": "example.test", "relay_recipient_maps": "",
               "transport_maps": f"static:smtp:[127.0.0.1]:{sink.port}", "default_process_limit": "100",
               "smtpd_client_connection_count_limit": "0", "in_flow_delay": "0"}
        milters = {"smtpd_milters": f"inet:127.0.0.1:{dkim.port}, inet:127.0.0.1:{dmarc.port}", "milter_default_action": "tempfail"}
        domains = {"example.test": f"backend smtp://127.0.0.1:{sink.port}; recipients callforward;"}
        resolver = 'forward 127.0.0.1:53; trust-anchor "";'
        listener = {"max-sessions-per-client": "0", "max-transactions": "65k", "max-commands": "65k"}
        with PostfixBackend(**own) as plain, PostfixBackend(**own, **milters) as guarded, \
                Spurn(domains=domains, resolver=resolver, listener=listener, top=OFF, workers=2) as bare, \
                Spurn(domains=domains, resolver=resolver, listener=listener, top=ON, workers=2) as full:
            yield [("Postfix queue, no checks", plain.port, [plain.child.pid]),
                   ("Postfix queue, OpenDKIM and OpenDMARC", guarded.port,
                    [guarded.child.pid, dkim.child.pid, dmarc.child.pid, unbound.child.pid]),
                   ("Spurn, no checks", bare.port, [bare.child.pid]),
                   ("Spurn, SPF, DKIM, DMARC, ARC", full.port, [full.child.pid, unbound.child.pid])], full


def look(spurn):
    """What is measured is what it says: all four passed."""
    said = spurn.wait_records(1)[-1]
    results = {f["check"]: f["result"] for f in said["findings"]}
    assert (results["spf"], results["dkim"], results["dmarc"], results["arc"]) == ("pass", "pass", "pass", "none"), said


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        keys = Keys(directory)
        files = messages(directory, Dkimpy(keys))
        records = [(DOMAIN, "TXT", '"v=spf1 ip4:127.0.0.0/8 -all"'), (f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1; p=reject"')]
        records += [(name, "TXT", " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250)))
                    for name, text in keys.records.items()]
        with Unbound(records) as unbound, SmtpSink(dump=False, options=["-c"]) as sink:
            with rows(sink, unbound) as (peers, full):
                found = {name: [] for name, _, _ in peers}
                for _ in range(ROUNDS):
                    for name, port, pids in peers:
                        found[name].append(measure(name, port, pids, sink, files))
                look(full)
    print(f"{'':40} {'msg/s':>8} {'CPU s per 1,000':>16}   load {os.getloadavg()[0]:.1f}")
    for name, values in found.items():
        print(f"{name:40} {statistics.median(v[0] for v in values):8.0f} {statistics.median(v[1] for v in values):16.2f}")


if "SPURN_OWN_NETWORK" not in os.environ:
    missing = [name for name in ("unbound", "opendkim", "opendmarc", "unshare") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        sys.exit(f"auth.py: not measured: {' and '.join(missing) + ' missing' if missing else 'only root has networks of its own'}")
    os.environ["SPURN_OWN_NETWORK"] = "yes"
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with tempfile.NamedTemporaryFile("w") as own_resolver:
    own_resolver.write("nameserver 127.0.0.1\n")
    own_resolver.flush()
    os.chmod(own_resolver.name, 0o644)
    subprocess.run(["mount", "--bind", own_resolver.name, "/etc/resolv.conf"], check=True)
    threading.stack_size(256 * 1024)
    main()
