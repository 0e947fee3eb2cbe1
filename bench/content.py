#!/usr/bin/python3
"""content.py [BUILD]: what scanning costs the sender.

1. Latency from the dot to the answer for a 10 MB message, with clamd (a local signature file of two lines) and with a stub
   that reads and answers at once: fed while the message arrives, sent after the dot, and without a scanner. The client sends at a steady rate, as a peer on the
   Internet does; the rounds are interleaved.
2. Messages of 4 KiB a second over kept connections, without scanners, and with a clamd and a milter that answer at once.
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
if len(sys.argv) > 1:
    os.environ["SPURN_BUILD"] = os.path.abspath(sys.argv[1])

from peers import SmtpSink, Spurn, smtp_source  # noqa: E402
from scanners import Clamd, Liar, packet, read_packet, take_stream  # noqa: E402

ROUNDS = 9
SIZE = 10 * 1024 * 1024
RATE = 20 * 1024 * 1024     # octets a second
LISTENER = {"size-limit": "100M"}
TOP = "check spf { mode off; }\ncheck sender-domain { mode off; }\ncheck rdns { mode off; }\n"


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


def throughput():
    with SmtpSink(dump=False) as sink, Liar(quick_clamd) as clamd, Liar(quick_milter) as milter:
        for name, scanners in (("no scanner", ""),
                               ("milter stub", f"scanner m {{ milter {milter.address}; }}"),
                               ("clamd stub", f"scanner c {{ clamd {clamd.address}; }}")):
            with Spurn(f"smtp://127.0.0.1:{sink.port}", listener=LISTENER, top=TOP + scanners, workers=1) as spurn:
                best = 0
                for _ in range(3):
                    began = time.monotonic()
                    smtp_source(spurn.port, messages=3000, sessions=10, size=4096, options=["-d"])
                    best = max(best, 3000 / (time.monotonic() - began))
                print(f"{name:28} relay 4 KiB, many a connection, 10 sessions: {best:7.0f} msg/s")


threading.stack_size(256 * 1024)
latency()
throughput()
