#!/usr/bin/python3
"""content.py [ROUNDS]: what scanning costs the sender.

1. Latency from the dot to the answer for a 10 MB message, with clamd (a local signature file of two lines) and with a stub
   that reads and answers at once: fed while the message arrives, sent after the dot, and without a scanner. The client sends at a steady rate, as a peer on the
   Internet does; the rounds are interleaved.
2. Messages of 4 KiB a second over kept connections, without scanners, and with a milter, a clamd and a spamd that answer at once: interleaved, medians,
   the ratio to no scanner within a round, and the CPU of Spurn alone. The stubs are threads of Python and share the processors, so the rate says
   what it costs to speak with them and for them to answer; the CPU says what of it is ours.
"""

import os
import socket
import statistics
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "system"))

from beside import Strangers, cpu_seconds  # noqa: E402
from peers import SmtpSink, Spurn, smtp_source  # noqa: E402
from process import Missing  # noqa: E402
from scanners import Clamd, Liar, packet, read_packet, spamd_answer, take_spamc, take_stream  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
MESSAGES = 2000
SIZE = 10 * 1024 * 1024
RATE = 20 * 1024 * 1024     # octets a second
LISTENER = {"size-limit": "100M", "max-transactions": "65k", "max-commands": "65k"}
TOP = "".join(f"check {name} {{ mode off; }}\n" for name in ("spf", "dkim", "arc", "dmarc", "sender-domain", "rdns"))


def dot_to_answer(port):
    """Seconds from the dot to the answer."""
    line = b"Some text of a message, line after line, without much in it, until it is long.\r\n"
    block = line * (64 * 1024 // len(line))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        stream = connection.makefile("rb")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def say(text):
            if text:
                connection.sendall(text)
            while True:
                reply = stream.readline()
                if reply[3:4] != b"-":
                    assert reply[:1] in b"23", reply
                    return reply
        say(b"")
        say(b"EHLO client.example.net\r\n")
        say(b"MAIL FROM:<a@client.example.net>\r\n")
        say(b"RCPT TO:<alice@example.org>\r\n")
        say(b"DATA\r\n")
        connection.sendall(b"From: a@client.example.net\r\nMessage-ID: <%d@x>\r\n\r\n" % time.monotonic_ns())
        began = time.monotonic()
        for sent in range(0, SIZE, len(block)):
            connection.sendall(block)
            ahead = sent / RATE - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
        time.sleep(0.05)    # what is under way arrives
        began = time.monotonic()
        say(b".\r\n")
        took = time.monotonic() - began
        connection.sendall(b"QUIT\r\n")
    return took


def reader(connection):
    """Reads a stream, keeps nothing, and answers at its end."""
    assert connection.recv(10, socket.MSG_WAITALL) == b"zINSTREAM\0"
    buffer = bytearray(256 * 1024)
    while True:
        [left] = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        if left == 0:
            break
        while left > 0:
            left -= connection.recv_into(buffer, min(left, len(buffer)))
    connection.sendall(b"stream: OK\0")


def latency():
    with SmtpSink(dump=False) as sink, Clamd() as clamd, Liar(reader) as stub:
        def guarded(scanner):
            return Spurn(f"smtp://127.0.0.1:{sink.port}", listener=LISTENER, top=TOP + scanner)
        block = "scanner clamd {{ clamd {}; stream {}; }}"
        with guarded("") as none, guarded(block.format(clamd.address, "yes")) as fed, \
                guarded(block.format(clamd.address, "no")) as after, \
                guarded(block.format(stub.address, "yes")) as stub_fed, \
                guarded(block.format(stub.address, "no")) as stub_after:
            ways = {"no scanner": none, "clamd fed while it arrives": fed, "clamd after the dot": after,
                    "stub fed while it arrives": stub_fed, "stub after the dot": stub_after}
            times = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, spurn in ways.items():
                    times[name].append(dot_to_answer(spurn.port))
    for name, values in times.items():
        print(f"{name:28} dot to answer, 10 MB: median {statistics.median(values) * 1000:7.1f} ms "
              f"(least {min(values) * 1000:.1f}, most {max(values) * 1000:.1f})")


def quick_milter(connection):
    """Accepts everything; asks for nothing but the end of the message."""
    steps = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200
    while True:
        word, _ = read_packet(connection)
        if word == b"O":
            connection.sendall(packet(b"O", struct.pack(">III", 6, 0, steps)))
        elif word == b"E":
            connection.sendall(packet(b"c"))


def quick_clamd(connection):
    take_stream(connection)
    connection.sendall(b"stream: OK\0")


def quick_spamd(connection):
    take_spamc(connection)
    connection.sendall(spamd_answer(0.0))


def relay(spurn):
    """(messages a second, CPU seconds of Spurn per 1,000)."""
    used, began = cpu_seconds([spurn.child.pid]), time.monotonic()
    said, status = smtp_source(spurn.port, messages=MESSAGES, sessions=10, size=4096, options=["-d"])
    assert status == 0, said
    return MESSAGES / (time.monotonic() - began), (cpu_seconds([spurn.child.pid]) - used) * 1000 / MESSAGES


def throughput():
    with SmtpSink(dump=False) as sink, Liar(quick_clamd) as clamd, Liar(quick_milter) as milter, Liar(quick_spamd) as spamd:
        def guarded(scanner):
            return Spurn(f"smtp://127.0.0.1:{sink.port}", listener=LISTENER, top=TOP + scanner, workers=2)
        with guarded("") as none, guarded(f"scanner m {{ milter {milter.address}; }}") as asked, \
                guarded(f"scanner c {{ clamd {clamd.address}; }}") as scanned, guarded(f"scanner s {{ spamd {spamd.address}; }}") as scored:
            ways = {"no scanner": none, "milter stub": asked, "clamd stub": scanned, "spamd stub": scored}
            for spurn in ways.values():
                relay(spurn)
            strangers, found = Strangers(), {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, spurn in ways.items():
                    found[name].append(relay(spurn))
            for stub, name in ((milter, "milter"), (clamd, "clamd"), (spamd, "spamd")):
                assert stub.connections > 0, f"the {name} stub was never asked"
            assert clamd.connections >= MESSAGES * (ROUNDS + 1) <= spamd.connections, (clamd.connections, spamd.connections)
            print(f"{'relay 4 KiB, many a connection':32} {'msg/s':>7} {'ratio':>6} {'CPU s per 1,000':>16}   others {strangers.percent():.0f} %")
    for name, values in found.items():
        ratio = statistics.median(a[0] / b[0] for a, b in zip(values, found["no scanner"]))
        print(f"{name:32} {statistics.median(v[0] for v in values):7.0f} {ratio:6.2f} {statistics.median(v[1] for v in values):16.2f}")


threading.stack_size(256 * 1024)
try:
    latency()
except Missing as missing:
    print(f"content.py: latency not measured: {missing}")
throughput()
