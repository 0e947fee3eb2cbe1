"""Spurn itself as a peer: build/spurnd in the foreground, with a configuration made by the test."""

import gzip
import json
import os
import re
import signal

import pytest

from clients import Smtp
from process import Child, Peer, REPOSITORY, children_of, free_port, process_name, run, wait_until

BUILD = os.environ.get("SPURN_BUILD", os.path.join(REPOSITORY, "build"))
NOBODY = 65534

# What must never stand in the log of a healthy daemon.
ALARMS = re.compile(r"^.*(?:AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|\bBUG\b"
                    r"|ERROR: .*Sanitizer).*$", re.MULTILINE)

CONFIGURATION = """\
hostname  mx.spurn.test;
state-dir {state};
user      nobody;
workers   {workers};
{top}
listener inbound {{ address 127.0.0.1:{port}; {listener} }}
resolver {{ {resolver} }}
{domains}
"""

# Directives of the listener, unless a test says otherwise: no waiting, no suspicion of one address that asks a lot.
LISTENER = {"greet-wait": "0s", "error-delay": "0s", "max-unknown-recipients": "1k", "connection-rate": "0"}


def built():
    """True if there is a daemon to test."""
    return os.access(os.path.join(BUILD, "spurnd"), os.X_OK)


def need_spurn():
    """Skips the test, with a plain line, while the daemon has not been built."""
    if not built():
        pytest.skip(f"{os.path.relpath(BUILD, REPOSITORY)}/spurnd has not been built")


class Spurn(Peer):
    """spurnd on 127.0.0.1:port.

    backend: URL of the backend of example.org; recipients: directives of that domain;
    or domains: {name: directives}. dns: a DnsServer to ask. listener: {directive: value};
    top, resolver: further directives as text. tls: (certificate, key) files. All of these may
    be changed later with configure() and reload().
    """

    name = "spurn"

    def __init__(self, backend=None, *, domains=None, dns=None, top="", listener=None, resolver="", tls=None,
                 workers=1, recipients="recipients callforward;", environment=None):
        super().__init__()
        need_spurn()
        self.port = free_port()
        if domains is None:
            domains = {"example.org": f"backend {backend}; {recipients}"} if backend else {}
        self.values = {"domains": domains, "top": top, "listener": listener or {}, "resolver": resolver,
                       "tls": tls, "workers": workers, "dns": dns}
        self.environment = {**os.environ, **(environment or {})}
        self.stopped_rudely = False

    # -- configuration

    @property
    def state(self):
        return self.path("state")

    @property
    def conf(self):
        return self.path("spurn.conf")

    def configuration(self):
        """The text of the configuration file."""
        values = dict(self.values)
        dns, tls, domains = values.pop("dns"), values.pop("tls"), values.pop("domains")
        if dns is not None:
            values["resolver"] += f' forward 127.0.0.1:{dns.port}; trust-anchor "";'
        directives = {**LISTENER, **values.pop("listener")}
        if tls is not None:
            directives.update({"tls-certificate": tls[0], "tls-key": tls[1]})
        values["listener"] = " ".join(f"{key} {value};" for key, value in directives.items())
        blocks = "".join(f"domain {name} {{ {text} }}\n" for name, text in domains.items())
        return CONFIGURATION.format(state=self.state, port=self.port, domains=blocks, **values)

    def configure(self, **changes):
        """Changes keywords of the constructor and writes the file anew; reload() makes it count."""
        self.values.update(changes)
        self.write("spurn.conf", self.configuration())

    # -- life

    def start(self):
        if not os.path.isdir(self.state):
            os.mkdir(self.state)
            os.chown(self.state, NOBODY, NOBODY)
        self.write("spurn.conf", self.configuration())
        self.child = Child([os.path.join(BUILD, "spurnd"), "-f", "-c", self.conf], self.path("stderr"),
                           env=self.environment)
        self.await_listening(("127.0.0.1", self.port))
        wait_until(lambda: self.workers() or not self.child.running(), 10, "a worker")

    def stop(self):
        """Ends the daemon as an administrator would, and looks at what it has said in its life."""
        if self.child is None:
            return
        status = self.child.stop()
        alarms = ALARMS.findall(self.stderr())
        assert not alarms, "the daemon reported: " + "\n".join(alarms)
        assert self.stopped_rudely or status == 0, f"spurnd ended with {status}:\n{self.stderr()[-4000:]}"

    def kill(self):
        """kill -9 to the master and all of its processes."""
        self.stopped_rudely = True
        self.child.kill()

    def restart(self):
        """Starts again with the same state, after kill()."""
        self.stopped_rudely = False
        self.start()

    def reload(self):
        """SIGHUP; returns what the daemon says about it."""
        before = len(self.stderr())
        self.child.signal(signal.SIGHUP)
        pattern = re.compile(r"^.*(?:reload|configuration|error:).*$", re.IGNORECASE | re.MULTILINE)
        wait_until(lambda: pattern.search(self.stderr()[before:]), 10, "an answer to SIGHUP")
        return self.stderr()[before:]

    def workers(self):
        """Process ids of the workers."""
        children = children_of(self.child.pid)
        named = [pid for pid in children if "worker" in process_name(pid)]
        return named or children

    def kill_worker(self, number=signal.SIGKILL):
        """Kills one worker and returns its process id."""
        pid = self.workers()[0]
        os.kill(pid, number)
        self.stopped_rudely = self.stopped_rudely or number != signal.SIGKILL
        return pid

    # -- what it says

    def stderr(self):
        return self.child.text() if self.child else ""

    def journal(self):
        """Every record written so far, oldest first."""
        directory = os.path.join(self.state, "journal")
        records = []
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        for stem in sorted({re.sub(r"(\.faded)?\.jsonl(\.gz)?$", "", name) for name in names if ".jsonl" in name}):
            # What a segment was before it was packed is gone only after the next form is there.
            for opener, ending in ((open, ".jsonl"), (gzip.open, ".jsonl.gz"), (gzip.open, ".faded.jsonl.gz")):
                try:
                    with opener(os.path.join(directory, stem + ending), "rt", encoding="utf-8") as stream:
                        records += [json.loads(line) for line in stream if line.endswith("\n")]
                    break
                except FileNotFoundError:
                    continue
        return sorted(records, key=lambda record: record["time"])

    def wait_records(self, count, timeout=10.0):
        """Waits for so many records of transactions."""
        wait_until(lambda: len(self.transactions()) >= count, timeout, f"{count} record(s)")
        return self.transactions()

    def transactions(self):
        """The records of transactions, without those of sessions that had none."""
        return [record for record in self.journal() if "mail_from" in record]

    def record(self, ref, timeout=10.0):
        """The one record with this reference."""
        def found():
            return [record for record in self.journal() if record["ref"] == ref]
        wait_until(found, timeout, f"a record with ref={ref}")
        assert len(found()) == 1, f"{len(found())} records have ref={ref}"
        return found()[0]

    def tool(self, command, *arguments, data=None):
        """Runs `spurn COMMAND -c FILE ARGUMENT...`; returns the CompletedProcess."""
        return run([os.path.join(BUILD, "spurn"), command, "-c", self.conf, *arguments], data)

    def logs(self):
        logs = {"configuration": self.configuration(), "standard error": self.stderr()}
        records = self.journal() if os.path.isdir(self.state) else []
        logs["journal"] = "\n".join(json.dumps(record) for record in records[-10:])
        return logs

    # -- talking to it

    def dialogue(self, **keywords):
        """A connection: an Smtp, not yet greeted."""
        return Smtp(self.port, **keywords)

    def session(self, **keywords):
        """A connection that has said EHLO."""
        connection = Smtp(self.port, **keywords)
        try:
            connection.ehlo = connection.greet()
        except BaseException:
            connection.close()
            raise
        return connection
