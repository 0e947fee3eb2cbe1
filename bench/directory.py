#!/usr/bin/env python3
"""Look-ups per second of each kind of directory, over the socketmap protocol of the directory process.

Real servers with 100,000 users on loopback, as the system tests start them; CLIENTS connections, each with one question at a
time, half of them for users that are not there. For comparison the same clients ask a server that does nothing but answer.

    bench/directory.py [SECONDS] [CLIENTS]
"""

import os
import random
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "test", "system"))
os.environ.setdefault("SPURN_BUILD", os.path.abspath(os.path.join(HERE, os.pardir, "build")))

# pylint: disable=wrong-import-position
from beside import Strangers
from directories import ActiveDirectory, Ldap, MariaDb, PostgreSql, Sqlite
from peers import DnsServer, FakeBackend, Spurn
from process import Missing, wait_until

USERS = 100000


def question(key):
    text = f"users {key}".encode()
    return b"%d:%s," % (len(text), text)


def answer_of(connection):
    octets = b""
    while not octets.endswith(b","):
        octets += connection.recv(4096)
    return octets


def ask_until(path, end, counts, number):
    """One client: counts its answers; anything but OK and NOTFOUND ends the run."""
    rng = random.Random(number)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        while time.monotonic() < end:
            n = rng.randrange(USERS * 2)
            connection.sendall(question(f"user{n}@example.org"))
            said = answer_of(connection)
            expected = b"OK " if n < USERS else b"NOTFOUND "
            assert said.split(b":", 1)[1].startswith(expected), (n, said)
            counts[number] += 1


def measure(path, seconds, clients):
    counts = [0] * clients
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=ask_until, args=(path, end, counts, i)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def one(kind, users, backend, dns, seconds, clients):
    with kind(users) as directory:
        top = f"directory users {{ {directory.block('connections 8;')} }}"
        with Spurn(backend.url, dns=dns, recipients="recipients directory users;", top=top) as spurn:
            path = os.path.join(spurn.state, "directory")
            wait_until(lambda: os.path.exists(path), 10, "the socket")
            measure(path, 1, clients)
            strangers = Strangers()
            alone, rate = measure(path, seconds, 1), measure(path, seconds, clients)
            print(f"{kind.name:12} {rate:10.0f} {1000 / alone:9.2f} {strangers.percent():9.0f}", flush=True)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    users = [f"user{n}@example.org" for n in range(USERS)]
    print(f"{'directory':12} {'look-ups/s':>10} {'ms alone':>9} {'others %':>9}")
    with FakeBackend() as backend, DnsServer() as dns:
        for kind in (Ldap, ActiveDirectory, PostgreSql, MariaDb, Sqlite):
            try:
                one(kind, users, backend, dns, seconds, clients)
            except Missing as missing:
                print(f"{kind.name:12} not measured: {missing}", flush=True)


if __name__ == "__main__":
    main()
