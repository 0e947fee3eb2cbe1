"""Exactly once: a real Postfix, Spurn, and an LMTP server whose recipients disagree, while both servers are killed.

    exactly_once.py [--count N] [--seconds-between-kills S]

N messages of three recipients each go from a Postfix through Spurn to an LMTP server that refuses some recipients for
good (5.2.2), some for a while (4.2.2), and sometimes stores a message and hangs up before it says so. Meanwhile Spurn and
the server are killed with SIGKILL and started again. When Postfix has nothing left to try:

  - each mailbox that was not refused for good has each message, and one that was refused has none;
  - a mailbox has a message twice only where a record of Spurn names that recipient of that message as in doubt;
  - each refusal was heard: Postfix, and nobody else, has told the sender;
  - the server got no message that was not sent here: Spurn composes none.

pytest runs the short form (test_recipients_once.py).
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import socketserver
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

USERS = [f"user{n}@example.org" for n in range(12)]


def fate(message_id, recipient):
    """What becomes of it: "refused", "later" or "taken", the same at each try."""
    dice = hashlib.sha256(f"{message_id} {recipient}".encode()).digest()[0]
    return "refused" if dice < 26 else "later" if dice < 60 else "taken"


# ---- the server --------------------------------------------------------------------------


class Lmtp(socketserver.StreamRequestHandler):
    """One LMTP connection. A line of the log is one message in one mailbox."""

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 sink LMTP")
        recipients = []
        while line := self.rfile.readline().strip().decode():
            verb = line.upper()
            if verb.startswith("LHLO"):
                self.say("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
            elif verb.startswith("RCPT"):
                recipients.append(re.search("<(.*?)>", line).group(1))
                self.say("250 2.1.5 fine")
            elif verb == "DATA":
                self.say("354 go on")
                if not self.message(recipients):
                    return
                recipients = []
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                recipients = [] if verb.startswith(("MAIL", "RSET")) else recipients
                self.say("250 2.0.0 fine")

    def message(self, recipients):
        text = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return False
            text += line
        message_id = re.search(rb"^Message-ID: <(.*?)>", text, re.MULTILINE | re.IGNORECASE)
        message_id = message_id.group(1).decode() if message_id else "none"
        for recipient in recipients:
            what = fate(message_id, recipient)
            key = (message_id, recipient)
            if what == "refused":
                self.say("552 5.2.2 mailbox is full")
            elif what == "later" and self.server.tries.setdefault(key, 0) < 1:
                self.server.tries[key] += 1
                self.say("452 4.2.2 mailbox is full for now")
            else:
                os.write(self.server.log, json.dumps(key).encode() + b"\n")
                if random.random() < 0.03:
                    return False
                self.say("250 2.0.0 stored")
        return True


def run_sink(port, path):
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        request_queue_size = 100

    with Server(("127.0.0.1", port), Lmtp) as server:
        server.tries = {}
        server.log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        server.serve_forever()


class Sink:
    """The server as a process of its own, to be killed."""

    def __init__(self, path):
        from peers import free_port
        self.port, self.path = free_port(), path
        self.start()

    def start(self):
        from peers import listens, wait_until
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--sink", str(self.port), self.path])
        wait_until(lambda: listens(("127.0.0.1", self.port)), 10, "the LMTP server")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stored(self):
        with open(self.path) as lines:
            return [tuple(json.loads(line)) for line in lines]


# ---- what was heard ----------------------------------------------------------------------


def told(bounces):
    """{(Message-ID, recipient)} of the delivery reports of Postfix."""
    pairs = set()
    for text in bounces:
        ids = re.findall(rb"^Message-ID: <([^>]*@once\.example)>", text, re.MULTILINE | re.IGNORECASE)
        for recipient in re.findall(rb"^Final-Recipient: rfc822; *(\S+)", text, re.MULTILINE):
            pairs.update((i.decode(), recipient.decode()) for i in ids)
    return pairs


def in_doubt(records):
    """{(Message-ID, recipient)} that records name as possible doubles."""
    return {(record["message"]["id"].strip("<>"), recipient["address"].strip("<>"))
            for record in records if record.get("message") for recipient in record["rcpt"] if recipient.get("in_doubt")}


def judge(sent, stored, heard, doubted):
    """Sentences about what is wrong; none: each exactly once."""
    wrong = []
    times = {}
    for key in stored:
        times[key] = times.get(key, 0) + 1
    for key in sent:
        count, refused = times.pop(key, 0), fate(*key) == "refused"
        if refused and count:
            wrong.append(f"{key} was refused and stored")
        if refused and key not in heard:
            wrong.append(f"{key} was refused and its sender has not heard of it")
        if not refused and key in heard:
            wrong.append(f"{key} was taken and its sender told otherwise")
        if not refused and count == 0:
            wrong.append(f"{key} was lost")
        if count > 1 and key not in doubted:
            wrong.append(f"{key} came {count} times and nobody named it in doubt")
    wrong += [f"{key} was never sent" for key in times]
    return wrong


# ---- the run -----------------------------------------------------------------------------


def run(count, pause, dns, directory, kills=True):
    """Returns (sentences about what is wrong, what was seen)."""
    sink = Sink(os.path.join(directory, "stored"))
    try:
        return run_with(sink, count, pause, dns, kills)
    finally:
        sink.kill()


def run_with(sink, count, pause, dns, kills):
    from peers import CLIENT_DOMAIN, PostfixClient, Spurn, message
    sent = set()
    with Spurn(f"lmtp://127.0.0.1:{sink.port}", dns=dns, workers=2) as spurn, \
            PostfixClient(spurn.port, default_destination_concurrency_failed_cohort_limit="1000",
                          smtp_destination_concurrency_limit="8", minimal_backoff_time="1s") as client:
        killed = {"spurn": 0, "server": 0}
        next_kill = time.monotonic() + pause
        for number in range(count):
            recipients = random.sample(USERS, 3)
            message_id = f"{number}.{os.getpid()}@once.example"
            text = re.sub(rb"(?im)^Message-ID: .*?\r\n", f"Message-ID: <{message_id}>\r\n".encode(), message(), count=1)
            client.send(f"sender@{CLIENT_DOMAIN}", recipients, text)
            sent.update((message_id, recipient) for recipient in recipients)
            if kills and time.monotonic() > next_kill:
                kill_one(spurn, sink, killed)
                next_kill = time.monotonic() + pause
        if kills:
            kill_one(spurn, sink, killed)
        try:
            client.wait_empty(60 + count / 4)
        except AssertionError:
            show(client, spurn)
            raise
        records, stored, heard = spurn.journal(), sink.stored(), told(client.bounces())
        wrong = judge(sent, stored, heard, in_doubt(records))
        if wrong:
            show(client, spurn)
    doubles = len(stored) - len(set(stored))
    return wrong, {"recipients": len(sent), "doubles": doubles,
                                                           "refusals": len(heard), **killed}


def show(client, spurn):
    """What there is to know, for whom the run has failed: each try, the queue, and what Postfix has logged."""
    for entry in client.queue():
        print("still queued:", entry)
    for record in spurn.journal():
        if record.get("message"):
            print(record["time"], record["ref"], record["message"]["id"], record["reply"],
                  [(recipient["address"], recipient.get("code"), recipient.get("backend")) for recipient in record["rcpt"]])
    print(client.log())


def kill_one(spurn, sink, killed):
    if random.random() < 0.5:
        killed["server"] += 1
        sink.kill()
        time.sleep(0.2)
        sink.start()
    else:
        killed["spurn"] += 1
        spurn.kill()
        spurn.restart()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sink", nargs=2)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seconds-between-kills", type=float, default=3)
    options = parser.parse_args()
    if options.sink:
        run_sink(int(options.sink[0]), options.sink[1])
        return
    import tempfile
    from peers import CLIENT_DOMAIN, DnsServer
    with DnsServer() as dns, tempfile.TemporaryDirectory() as directory:
        dns.mail_domain(CLIENT_DOMAIN)
        dns.ptr("127.0.0.1", "localhost").a("localhost", "127.0.0.1")
        wrong, seen = run(options.count, options.seconds_between_kills, dns, directory)
    print(json.dumps(seen))
    for sentence in wrong:
        print(sentence)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
