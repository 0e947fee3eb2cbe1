#!/usr/bin/python3
"""Crash tests with real processes: nothing acknowledged is lost, and what is doubled is named.

    test/system/crash.py [--short] [--seed N] [--keep]

First part. A queue of messages is sent through spurnd by clients that behave as mail servers do: a message leaves
the queue only on a final 250; a 4xx or a lost connection means later again, a 5xx is an error. Meanwhile
workers, the master (started again with the same state) and the server behind are killed with -9 at random
moments, and the clients hang up at random moments. In the end every message is at the server behind, which
writes down each message before it acknowledges it; whatever is there twice is named by a journal
record with `in_doubt`; and each 250 has exactly one record.

Second part. A client hangs up at each possible moment of a dialogue, in three manners, before a fast and a slow
server, and then sends the message again: it is at the server behind once.

Prints one line per check and "N passed, N failed". Exit status 1 if one failed.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import Child, REPOSITORY, SLOW, children_of, free_port, listens, wait_until  # noqa: E402

BUILD = os.environ.get("SPURN_BUILD", os.path.join(REPOSITORY, "build"))
NOBODY = 65534
PATIENCE = 60 * SLOW  # seconds that a client waits for a reply
CLIENTS = 12
SLOW_SINK = 0.3  # seconds that the server takes over a message to slow@

CONFIGURATION = """\
hostname  mx.spurn.test;
state-dir {directory}/state;
user      nobody;
workers   2;
journal-segment 1G;
listener inbound {{ address 127.0.0.1:{port}; greet-wait 0s; error-delay 0s; connection-rate 0;
    max-sessions-per-client 0; max-unknown-recipients 1k; }}
check sender-domain {{ mode off; }}
check spf {{ mode off; }}
check rdns {{ mode off; }}
domain example.org {{ backend smtp://127.0.0.1:{sink}; recipients callforward; }}
"""


# ---- the server behind ---------------------------------------------------------------------


def message_id(text):
    """The Message-ID of a message, without its angle brackets."""
    found = re.search(rb"^Message-ID: <([^>]*)>", text, re.MULTILINE)
    return found.group(1).decode() if found else "none"


class SinkSession(threading.Thread):
    """One connection at the server behind."""

    def __init__(self, connection, log):
        super().__init__(daemon=True)
        self.stream = connection.makefile("rwb")
        self.log = log
        self.recipients = []

    def say(self, text):
        self.stream.write(text + b"\r\n")

    def take_message(self):
        """Reads to the dot, writes down what came, then acknowledges it."""
        lines = []
        for line in iter(self.stream.readline, b".\r\n"):
            if not line.endswith(b"\r\n"):
                raise ConnectionError("the message was cut off")
            lines.append(line)
        if any(name.startswith("slow@") for name in self.recipients):
            time.sleep(SLOW_SINK)
        entry = " ".join([message_id(b"".join(lines)), *self.recipients])
        os.write(self.log, entry.encode() + b"\n")
        # Between the two a kill leaves a message that is here and was not acknowledged.
        if random.random() < 0.5:
            time.sleep(random.random() * 0.08)
        self.say(b"250 2.0.0 queued")

    def obey(self, line):
        """Answers one command; False after QUIT."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.say(b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE")
        elif verb in (b"MAIL", b"RSET"):
            self.recipients = []
            self.say(b"250 2.1.0 fine")
        elif verb == b"RCPT":
            self.recipients.append(line[9:line.index(b">")].decode())
            self.say(b"250 2.1.5 fine")
        elif verb == b"DATA":
            self.say(b"354 go on")
            self.stream.flush()
            self.take_message()
        elif verb == b"QUIT":
            return False
        else:
            self.say(b"502 5.5.1 what?")
        return True

    def run(self):
        try:
            self.say(b"220 sink.test ESMTP")
            self.stream.flush()
            for line in iter(self.stream.readline, b""):
                if not self.obey(line):
                    break
                self.stream.flush()
        except (OSError, ValueError):
            pass
        try:
            self.stream.close()
        except OSError:
            pass


def run_sink(port, path):
    """The server behind, as a process of its own: crash.py --sink PORT LOG."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        SinkSession(connection, log).start()


# ---- the site: spurnd and the server behind ------------------------------------------------


class Site:
    """Both daemons, which can be killed and started again."""

    def __init__(self, directory):
        self.directory = directory
        self.port, self.sink_port = free_port(), free_port()
        self.accepted = os.path.join(directory, "accepted")
        self.conf = os.path.join(directory, "spurn.conf")
        self.spurn = self.sink = None
        self.late_starts = 0
        os.mkdir(os.path.join(directory, "state"))
        if os.geteuid() == 0:
            os.chown(os.path.join(directory, "state"), NOBODY, NOBODY)
        os.chmod(directory, 0o755)
        with open(self.conf, "w", encoding="utf-8") as stream:
            stream.write(CONFIGURATION.format(directory=directory, port=self.port, sink=self.sink_port))

    def start_sink(self):
        self.sink = Child([sys.executable, os.path.abspath(__file__), "--sink", str(self.sink_port), self.accepted],
                          os.path.join(self.directory, "sink.log"))

    def start_spurn(self):
        """Starts the daemon; as a service manager does, again until it stays."""
        def started():
            self.spurn = Child([os.path.join(BUILD, "spurnd"), "-f", "-c", self.conf],
                               os.path.join(self.directory, "spurnd.log"))
            time.sleep(0.2)
            if self.spurn.running():
                return True
            self.late_starts += 1
            return False
        wait_until(started, 60, "a start of spurnd")

    def start(self):
        self.start_sink()
        self.start_spurn()
        for port in (self.port, self.sink_port):
            wait_until(lambda at=port: listens(("127.0.0.1", at)), 30, f"a listener on port {port}")

    def stop(self):
        """Orderly; returns the exit status of spurnd."""
        status = self.spurn.stop(60)
        self.sink.kill()
        return status

    # -- kills

    def kill_worker(self):
        workers = children_of(self.spurn.pid)
        if workers:
            try:
                os.kill(random.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_sink(self):
        self.sink.kill()
        time.sleep(random.random() * 0.5)
        self.start_sink()

    def kill_master(self):
        """The master alone: its workers see that it has gone."""
        os.kill(self.spurn.pid, signal.SIGKILL)
        self.spurn.process.wait()
        time.sleep(random.random() * 0.3)
        self.start_spurn()

    def kill_all(self):
        self.spurn.kill()
        time.sleep(random.random() * 0.3)
        self.start_spurn()

    # -- what is left behind

    def accepted_counts(self):
        """{(message id, recipient): how often it was accepted behind}."""
        counts = collections.Counter()
        with open(self.accepted, encoding="utf-8") as stream:
            for line in stream:
                words = line.split()
                for recipient in words[1:]:
                    counts[words[0], recipient] += 1
        return counts

    def records(self):
        """All whole records of the journal; and how many lines were not whole."""
        records, torn = [], 0
        directory = os.path.join(self.directory, "state", "journal")
        for name in sorted(os.listdir(directory)):
            if not name.endswith(".jsonl"):
                continue
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    try:
                        records.append(json.loads(line))
                    except ValueError:
                        torn += 1
        return records, torn


# ---- the client ----------------------------------------------------------------------------


class Lost(Exception):
    """The connection is gone, or the client has left it; the message stays in the queue."""


class Dialogue:
    """A connection of a client; reply() gives (code, text of the last line)."""

    def __init__(self, port):
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Lost from error
        self.buffer = b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Lost from error

    def line(self):
        while b"\n" not in self.buffer:
            try:
                more = self.socket.recv(4096)
            except OSError as error:
                raise Lost from error
            if not more:
                raise Lost
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def reply(self):
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return int(line[:3]), line

    def close(self, manner="close"):
        """close, reset (RST), or half (FIN, and closed without reading a second later)."""
        try:
            if manner == "reset":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if manner == "half":
                self.socket.shutdown(socket.SHUT_WR)
                time.sleep(SLOW_SINK * 2)
        except OSError:
            pass
        self.socket.close()


class Message:
    """What is sent, always in the same octets."""

    def __init__(self, number, recipients):
        self.id = f"{number}@sender.test"
        self.recipients = recipients
        self.tries = 0
        self.due = 0.0
        self.text = (f"Message-ID: <{self.id}>\r\nDate: Mon, 23 Nov 2026 03:00:00 +0000\r\n"
                     f"From: <a@sender.test>\r\nSubject: {number}\r\n\r\n"
                     + f"body of {number}\r\n" * (1 + len(str(number)) * 7)).encode()


class Queue:
    """Messages that wait, those that have left, and whatever went wrong."""

    def __init__(self, messages, pace):
        self.lock = threading.Lock()
        self.waiting = collections.deque(messages)
        self.total = len(messages)
        self.acknowledged = {}  # id: reference of the 250
        self.refused = []  # replies with 5xx
        self.lost = self.deferred = 0
        self.pace = pace  # messages a second at most
        self.begun = time.monotonic()
        self.given = 0

    def finished(self):
        return len(self.acknowledged) + len(self.refused) >= self.total

    def take(self):
        """A message that is due, or None."""
        now = time.monotonic()
        with self.lock:
            if not self.waiting or self.given > (now - self.begun) * self.pace:
                return None
            for _ in range(min(len(self.waiting), 50)):
                message = self.waiting.popleft()
                if message.due <= now:
                    self.given += message.tries == 0
                    message.tries += 1
                    return message
                self.waiting.append(message)
        return None

    def give_back(self, message, code):
        message.due = time.monotonic() + min(2.0, 0.1 * message.tries) * (0.5 + random.random())
        with self.lock:
            self.lost += code == 0
            self.deferred += code != 0
            self.waiting.append(message)

    def done(self, message, line):
        reference = re.search(r"ref=(\w+)", line)
        with self.lock:
            self.acknowledged[message.id] = reference.group(1) if reference else ""

    def refuse(self, message, line):
        with self.lock:
            self.refused.append(f"{message.id}: {line}")


def hang_up_maybe(chance):
    if random.random() < chance:
        raise Lost


class Client(threading.Thread):
    """Takes messages from the queue and sends a few of them in each session, until told to stop."""

    def __init__(self, queue, port):
        super().__init__(daemon=True)
        self.queue, self.port = queue, port
        self.stopping = False
        self.error = None

    def transaction(self, dialogue, message):
        """Sends it; returns the final (code, line), or that of what ended it earlier."""
        commands = [b"MAIL FROM:<a@sender.test>"]
        commands += [f"RCPT TO:<{name}>".encode() for name in message.recipients] + [b"DATA"]
        for command in commands:
            dialogue.send(command + b"\r\n")
            hang_up_maybe(0.004)
            code, line = dialogue.reply()
            if code >= 400:
                dialogue.send(b"RSET\r\n")
                dialogue.reply()
                return code, line
        half = len(message.text) // 2
        dialogue.send(message.text[:half])
        hang_up_maybe(0.01)
        dialogue.send(message.text[half:])
        dialogue.send(b".\r\n")
        hang_up_maybe(0.02)
        return dialogue.reply()

    def one_session(self):
        """False: nothing was to be done."""
        message = self.queue.take()
        if message is None:
            return False
        dialogue = None
        try:
            dialogue = Dialogue(self.port)
            code, line = dialogue.reply()
            if code == 220:
                dialogue.send(b"EHLO client.test\r\n")
                code, line = dialogue.reply()
            for _ in range(random.randint(1, 5)):
                if message is None:
                    break
                if code < 400:
                    code, line = self.transaction(dialogue, message)
                self.settle(message, code, line)
                message = None
                if code == 421:
                    break
                code, message = 250, self.queue.take()
            if message is not None:
                message, taken = None, message
                self.queue.give_back(taken, 0)
            dialogue.send(b"QUIT\r\n")
            dialogue.reply()
        except Lost:
            if message is not None:
                self.queue.give_back(message, 0)
        finally:
            if dialogue:
                dialogue.close(random.choice(["close", "reset"]))
        return True

    def settle(self, message, code, line):
        if code == 250:
            self.queue.done(message, line)
        elif code >= 500:
            self.queue.refuse(message, line)
        else:
            self.queue.give_back(message, code)

    def run(self):
        try:
            while not self.stopping:
                if not self.one_session():
                    time.sleep(0.005)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


# ---- checks --------------------------------------------------------------------------------


class Checks:
    """Counts and prints what holds and what does not."""

    def __init__(self):
        self.good = self.bad = 0

    def that(self, holds, text, evidence=()):
        if holds:
            self.good += 1
        else:
            self.bad += 1
        print(("ok    " if holds else "NOT OK  ") + text, flush=True)
        for line in list(evidence)[:10] if not holds else ():
            print(f"        {line}", flush=True)


def named_in_doubt(records):
    """Message-IDs that a record with in_doubt names."""
    return {record["message"]["id"].strip("<>") for record in records
            if record.get("in_doubt") and record.get("message")}


def check_load(checks, site, queue, clients):
    counts = site.accepted_counts()
    records, torn = site.records()
    in_doubt = named_in_doubt(records)
    doubles = {key: n for key, n in counts.items() if n > 1}
    references = collections.Counter(record["ref"] for record in records)
    wanted = set(queue.acknowledged)
    there = {key[0] for key in counts}

    print(f"  {queue.total} messages, {len(queue.acknowledged)} acknowledged; tries deferred {queue.deferred}, "
          f"lost {queue.lost}; records {len(records)}, torn lines {torn}, starts repeated {site.late_starts}")
    print(f"  doubles {len(doubles)}, messages named in doubt {len(in_doubt)}")
    errors = [str(client.error) for client in clients if client.error]
    checks.that(not errors, "the clients ran to their end", errors)
    checks.that(not queue.refused, "no message was answered 5xx", queue.refused)
    checks.that(queue.finished(), "every message was acknowledged in the end",
                [f"{message.id}: {message.tries} tries" for message in queue.waiting])
    missing = sorted(wanted - there)
    checks.that(not missing, "every message acknowledged with 250 is at the server behind", missing)
    unnamed = [f"{key}: {n} times" for key, n in doubles.items() if key[0] not in in_doubt]
    checks.that(not unnamed, "each double is named by an in-doubt record", unnamed)
    many = [f"{name}: {ref} has {references[ref]} records" for name, ref in queue.acknowledged.items()
            if references[ref] != 1]
    checks.that(not many, "each 250 has exactly one record", many)
    accepted = {record["ref"]: record["disposition"] for record in records}
    wrong = [f"{ref}: {accepted.get(ref)}" for ref in queue.acknowledged.values()
             if accepted.get(ref) not in ("accept", "mark")]
    checks.that(not wrong, "and that record says accept", wrong)


# ---- first part: kills under load ----------------------------------------------------------


def kill_about(site, queue, end):
    """Kills one process after the other until the load is nearly through. {what: how often}."""
    ways = {"worker": site.kill_worker, "server behind": site.kill_sink, "master": site.kill_master,
            "everything": site.kill_all}
    done = collections.Counter()
    while time.monotonic() < end and len(queue.acknowledged) < queue.total * 0.95 and not queue.finished():
        time.sleep(0.3 + random.random() * 1.5)
        way = random.choices(list(ways), weights=[50, 25, 12, 13])[0]
        ways[way]()
        done[way] += 1
    return done


def recipients_of(number):
    return ["bob@example.org"] if number % 5 else ["bob@example.org", f"user{number % 7}@example.org"]


def test_load(checks, site, count, seconds):
    print(f"{count} messages in about {seconds} s, while everything is killed with -9")
    queue = Queue([Message(number, recipients_of(number)) for number in range(count)], count / seconds)
    clients = [Client(queue, site.port) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    done = kill_about(site, queue, time.monotonic() + seconds * 1.5)
    print("  killed: " + ", ".join(f"{what} {n} times" for what, n in done.items()), flush=True)
    end = time.monotonic() + (60 + seconds / 2) * SLOW
    while time.monotonic() < end and not queue.finished():
        time.sleep(0.05)
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join(PATIENCE)
    check_load(checks, site, queue, clients)


# ---- second part: a client that hangs up at each moment ------------------------------------


def dialogue_steps(message):
    """Octets to send, or None for "read a reply", in their order; hanging up is possible before each and at the end."""
    half = len(message.text) // 2
    steps = [None, b"EHLO client.test\r\n", None, b"MAIL FROM:<a@sender.test>\r\n", None]
    for name in message.recipients:
        steps += [f"RCPT TO:<{name}>\r\n".encode(), None]
    return steps + [b"DATA\r\n", None, message.text[:half], message.text[half:], b".", b"\r", b"\n"]


def pipelined_steps(message):
    """The same in as few pieces as RFC 2920 allows, with QUIT behind the dot."""
    envelope = "MAIL FROM:<a@sender.test>\r\n" + "".join(f"RCPT TO:<{name}>\r\n" for name in message.recipients)
    replies = [None] * (2 + len(message.recipients))
    return [None, b"EHLO client.test\r\n", None, envelope.encode() + b"DATA\r\n", *replies,
            message.text + b".\r\nQUIT\r\n"]


def hang_up_after(port, steps, manner, pause):
    try:
        dialogue = Dialogue(port)
        for step in steps:
            if step is None:
                dialogue.reply()
            else:
                dialogue.send(step)
        time.sleep(pause)
        dialogue.close(manner)
    except Lost:
        pass


def send_until_taken(port, message, failures):
    """Sends it as an ordinary client until it gets its 250."""
    client = Client(None, port)
    end = time.monotonic() + PATIENCE
    line = "no connection"
    while time.monotonic() < end:
        try:
            dialogue = Dialogue(port)
            dialogue.reply()
            dialogue.send(b"EHLO client.test\r\n")
            dialogue.reply()
            code, line = client.transaction(dialogue, message)
            dialogue.close()
            if code == 250:
                return
            if code >= 500:
                break
        except Lost:
            pass
        time.sleep(0.05)
    failures.append(f"{message.id}: {line}")


def one_moment(site, message, steps, manner, pause, failures):
    hang_up_after(site.port, steps, manner, pause)
    send_until_taken(site.port, message, failures)


def moments():
    """(message, steps, manner, pause) for every moment, manner and speed of the server behind."""
    for make in (dialogue_steps, pipelined_steps):
        for name in ("fast", "slow"):
            for manner in ("close", "reset", "half"):
                probe = Message("probe", [f"{name}@example.org"])
                steps = make(probe)
                for stop in range(len(steps) + 1):
                    for pause in (0, 0.05) if name == "fast" else (0, 0.05, SLOW_SINK * 1.5):
                        # FIN after our 250 has come is an orderly close: such a client has heard.
                        if manner == "half" and stop == len(steps) and (name == "fast" or pause > SLOW_SINK):
                            continue
                        label = f"{make.__name__}-{name}-{manner}-{stop}-{pause}"
                        message = Message(label, [f"{name}@example.org"])
                        yield message, make(message)[:stop], manner, pause


def test_moments(checks, site):
    failures, all_moments = [], list(moments())
    print(f"hanging up at {len(all_moments)} moments", flush=True)
    work = collections.deque(all_moments)

    def run():
        while True:
            try:
                message, steps, manner, pause = work.popleft()
            except IndexError:
                return
            one_moment(site, message, steps, manner, pause, failures)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(SLOW_SINK * 2)
    counts = site.accepted_counts()
    checks.that(not failures, "every message was taken on its retry", failures)
    wrong = [f"{message.id}: {counts[message.id, message.recipients[0]]} times" for message, *_ in all_moments
             if counts[message.id, message.recipients[0]] != 1]
    checks.that(not wrong, f"each is at the server behind exactly once ({len(wrong)} are not)", wrong)
    records, torn = site.records()
    doubted = [name for name in named_in_doubt(records) if "_steps" in name]
    checks.that(not doubted and not torn, "nothing was left in doubt", doubted)


# ---- all of it -----------------------------------------------------------------------------


def run_all(options, directory):
    checks = Checks()
    site = Site(directory)
    site.start()
    try:
        if not options.only or options.only == "load":
            test_load(checks, site, 2000 if options.short else 20000, 40 if options.short else 400)
        if not options.only or options.only == "moments":
            test_moments(checks, site)
        status = site.stop()
        checks.that(status == 0, f"spurnd stops in order (status {status})")
    finally:
        site.spurn.kill()
        site.sink.kill()
    with open(os.path.join(directory, "spurnd.log"), encoding="utf-8", errors="replace") as stream:
        alarms = [line.strip() for line in stream if re.search(r"Sanitizer|runtime error|BUG|signal (6|11) ", line)]
    checks.that(not alarms, "the log reports no fault of ours", alarms)
    return checks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="2,000 messages instead of 20,000")
    parser.add_argument("--only", choices=["load", "moments"], help="one part")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="leave state and logs where they are")
    parser.add_argument("--sink", nargs=2, metavar=("PORT", "LOG"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sink:
        run_sink(int(options.sink[0]), options.sink[1])
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    random.seed(seed)
    directory = tempfile.mkdtemp(prefix="spurn-crash-")
    print(f"seed {seed}, {directory}", flush=True)
    began = time.monotonic()
    checks = run_all(options, directory)
    if not options.keep and checks.bad == 0:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{checks.good} passed, {checks.bad} failed")
    return checks.bad > 0


if __name__ == "__main__":
    sys.exit(main())
