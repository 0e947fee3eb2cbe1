#!/usr/bin/python3
"""auth.py [BUILD [SECONDS [ROUNDS]]]: what SPF, DKIM, DMARC and ARC cost at the gate, beside Postfix with OpenDKIM and OpenDMARC.

Signed messages of 4 KiB (one RSA-2048 signature, aligned; SPF passes, p=reject), each of eight clients sends one of its own again and
again over kept connections. DNS is one Unbound on 127.0.0.1:53, in a network of our own, with all answers in memory; whoever keeps a cache uses it.
Postfix takes a message into its queue and hands it on afterwards; it is measured until the sink has them all. The milters are reached over
Unix sockets, as in Debian's examples: over TCP each message would stand still four times for 40 ms, since Postfix writes a command and
its macros one after the other, and that would say nothing about checks. OpenDMARC does SPF itself (libspf2); no ARC there.
Before the rounds each gate shows that it checks what it says. Rounds are interleaved; medians, and the worst share of the machine that others used.
Needs root, and the Debian packages postfix, unbound, opendkim and opendmarc.
"""

import contextlib
import os
import re
import shutil
import smtplib
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

from beside import Strangers, cpu_seconds  # noqa: E402
from peers import Child, Peer, PostfixBackend, SmtpSink, Spurn, wait_until  # noqa: E402
from clients import postfix_program  # noqa: E402
from signers import DOMAIN, Dkimpy, Keys  # noqa: E402

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 4
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
CLIENTS = 8
NOBODY = 65534
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


class Milter(Peer):
    """One that runs as nobody and listens at a Unix socket in its directory."""

    @property
    def socket(self):
        return self.path("run", "socket")

    def start(self):
        os.mkdir(self.path("run"))
        os.chown(self.path("run"), NOBODY, NOBODY)
        self.child = Child(self.command(), self.path("output"))
        self.await_listening(self.socket)

    def command(self):
        raise NotImplementedError


class OpenDkimMilter(Milter):
    """Verifies; no client is internal."""

    name = "opendkim-verifier"

    def command(self):
        self.write("nobody", "192.0.2.255\n")
        self.write("opendkim.conf", f"Mode v\nSocket local:{self.socket}\nUMask 000\nSyslog no\nInternalHosts {self.path('nobody')}\n"
                   f"ExternalIgnoreList {self.path('nobody')}\nUserID nobody\nRequireSafeKeys no\nNameservers 127.0.0.1\n"
                   "AuthservID mx.example.org\n")
        return [shutil.which("opendkim"), "-f", "-x", self.path("opendkim.conf")]


class OpenDmarcMilter(Milter):
    """SPF by itself, DMARC enforced."""

    name = "opendmarc"

    def command(self):
        self.write("nobody", "192.0.2.255\n")
        self.write("opendmarc.conf", f"Socket local:{self.socket}\nUMask 000\nSyslog false\nSPFSelfValidate true\nSPFIgnoreResults true\n"
                   f"RejectFailures true\nIgnoreHosts {self.path('nobody')}\nAuthservID mx.example.org\n"
                   "TrustedAuthservIDs mx.example.org\nUserID nobody\n")
        return [shutil.which("opendmarc"), "-f", "-c", self.path("opendmarc.conf")]


class Counter:
    """Messages that the sink has taken: smtp-sink -c writes a number after each."""

    def __init__(self, sink):
        self.sink = sink

    def value(self):
        with open(self.sink.path("output"), "rb") as stream:
            found = re.findall(rb"mesg=(\d+)", stream.read()[-400:])
        return int(found[-1]) if found else 0


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
    """(messages a second, CPU seconds per 1,000 of all that is the peer's, percent of the machine used by others)."""
    counter = Counter(sink)
    wave = 100
    before = counter.value()
    load(port, files, wave // 4)    # warm
    wait_until(lambda: counter.value() - before >= CLIENTS * wave // 4, 60, f"{peer}: the sink")
    strangers = Strangers()
    before, used, sent, began = counter.value(), cpu_seconds(pids), 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        load(port, files, wave)
        sent += CLIENTS * wave
    wait_until(lambda: counter.value() - before >= sent, 120, f"{peer}: {sent} messages in the sink")
    took = time.monotonic() - began
    assert counter.value() - before == sent, f"{peer}: {counter.value() - before} of {sent}"
    return sent / took, (cpu_seconds(pids) - used) * 1000 / sent, strangers.percent()


def messages(directory, dkimpy):
    files = []
    for n in range(CLIENTS):
        text = (f"From: Anna <anna@{DOMAIN}>\r\nTo: u@example.test\r\nSubject: message {n}\r\n"
                f"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{n}.{os.getpid()}@{DOMAIN}>\r\n\r\n" +
                "Some text of a message, line after line, until it is long enough.\r\n" * 60).encode()
        files.append(os.path.join(directory, f"message{n}"))
        with open(files[-1], "wb") as stream:
            stream.write(dkimpy.sign(text).replace(b"\r\n", b"\n"))
    unsigned = os.path.join(directory, "unsigned")
    with open(unsigned, "wb") as stream:
        stream.write(text.replace(b"\r\n", b"\n"))
    return files, unsigned


@contextlib.contextmanager
def rows(sink, unbound):
    """The peers: (name, context managers to enter, port, process ids)."""
    dkim, dmarc = OpenDkimMilter(), OpenDmarcMilter()
    with dkim, dmarc:
        own = {"virtual_mailbox_domains": "", "relay_domains": "example.test", "relay_recipient_maps": "",
               "transport_maps": f"static:smtp:[127.0.0.1]:{sink.port}", "default_process_limit": "100",
               "smtpd_client_connection_count_limit": "0", "in_flow_delay": "0"}
        milters = {"smtpd_milters": f"unix:{dkim.socket}, unix:{dmarc.socket}", "milter_default_action": "tempfail"}
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


def takes(port, sender, file):
    """Is this message taken from this sender?"""
    with open(file, "rb") as stream, smtplib.SMTP("127.0.0.1", port, local_hostname=f"mail.{DOMAIN}") as client:
        try:
            client.sendmail(sender, "u@example.test", stream.read().replace(b"\n", b"\r\n"))
        except smtplib.SMTPDataError as error:
            assert error.smtp_code // 100 == 5 and b"DMARC" in error.smtp_error, error
            return False
    return True


def look(peers, full, sink, signed, forged):
    """What is measured is what it says: where there are checks, DKIM alone passes DMARC, SPF alone does, and neither is refused."""
    counter = Counter(sink)
    before, taken = counter.value(), 0
    for name, port, _ in peers:
        checks = "no checks" not in name
        for sender, file, good in ((f"anna@{DOMAIN}", signed, True), ("x@other.test", signed, True), (f"anna@{DOMAIN}", forged, True),
                                   ("x@other.test", forged, False)):
            assert takes(port, sender, file) == (good or not checks), f"{name}: {sender}, {os.path.basename(file)}"
            taken += good or not checks
    wait_until(lambda: counter.value() - before == taken, 60, f"{taken} messages in the sink")
    said = full.wait_records(1)[0]
    results = {f["check"]: f["result"] for f in said["findings"]}
    assert (results["spf"], results["dkim"], results["dmarc"], results["arc"]) == ("pass", "pass", "pass", "none"), said


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        keys = Keys(directory)
        files, forged = messages(directory, Dkimpy(keys))
        records = [(DOMAIN, "TXT", '"v=spf1 ip4:127.0.0.0/8 -all"'), (f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1; p=reject"')]
        records += [(name, "TXT", " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250)))
                    for name, text in keys.records.items()]
        with Unbound(records) as unbound, SmtpSink(dump=False, options=["-c"]) as sink:
            with rows(sink, unbound) as (peers, full):
                look(peers, full, sink, files[0], forged)
                found = {name: [] for name, _, _ in peers}
                for _ in range(ROUNDS):
                    for name, port, pids in peers:
                        found[name].append(measure(name, port, pids, sink, files))
    print(f"{'':40} {'msg/s':>8} {'CPU s per 1,000':>16} {'others %':>9}")
    for name, values in found.items():
        print(f"{name:40} {statistics.median(v[0] for v in values):8.0f} {statistics.median(v[1] for v in values):16.2f} "
              f"{max(v[2] for v in values):9.0f}")


if "SPURN_OWN_NETWORK" not in os.environ:
    missing = [name for name in ("postfix", "unbound", "opendkim", "opendmarc", "unshare") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        print(f"auth.py: not measured: {' and '.join(missing) + ' missing' if missing else 'only root has networks of its own'}")
        sys.exit(77)
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
