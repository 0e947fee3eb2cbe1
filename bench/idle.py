#!/usr/bin/env python3
"""idle.py [COUNT]: what an idle session costs the whole daemon, plain and with TLS.

Starts build/spurnd with two workers on loopback, opens COUNT sessions (10,000 unless said) that greet and then are silent, first
plain ones, then others with STARTTLS, and prints the growth of the workers' private memory (Private_Dirty of
smaps_rollup) per session, and how long a newcomer waits for its greeting beside them.
"""

import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "system"))

from spurn import Spurn  # noqa: E402

LISTENER = {"max-sessions-per-client": "0", "max-sessions": "100k", "command-timeout": "1h"}


def private_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    return total


def talk(s, line, code):
    s.sendall(line)
    said = b""
    while not said.endswith(b"\r\n") or not said.splitlines()[-1][3:4] == b" ":
        piece = s.recv(4096)
        if not piece:
            raise SystemExit(f"idle: closed after {line!r}")
        said += piece
    if not said.splitlines()[-1].startswith(code):
        raise SystemExit(f"idle: {line!r} was answered {said!r}")


class Silent:
    """One session after EHLO. TLS is kept in memory buffers, so that the client's own cost stays small."""

    def __init__(self, port, number, context):
        self.socket = socket.socket()
        self.socket.bind((f"127.0.{1 + number // 200 % 250}.{1 + number % 200}", 0))
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        talk(self.socket, b"", b"220")
        talk(self.socket, b"EHLO idle.example\r\n", b"250")
        if context:
            talk(self.socket, b"STARTTLS\r\n", b"220")
            self.socket = context.wrap_socket(self.socket)
            talk(self.socket, b"EHLO idle.example\r\n", b"250")


def greeting_ms(port):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.recv(4096)
    return (time.monotonic() - began) * 1000


def measure(spurn, name, count, context):
    pids = spurn.workers()
    sessions = [Silent(spurn.port, i, context) for i in range(50)]    # what is made once is there already
    before = private_kib(pids)
    sessions += [Silent(spurn.port, 50 + i, context) for i in range(count)]
    time.sleep(1)
    grown = private_kib(pids) - before
    waits = sorted(greeting_ms(spurn.port) for _ in range(20))
    print(f"{name:6} {count} idle sessions: {grown / count:.2f} KiB each; a newcomer is greeted after {waits[10]:.2f} ms")
    for s in sessions:
        s.socket.close()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="spurn-idle-") as directory:
        os.chmod(directory, 0o755)
        key, certificate = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=mx.spurn.test"],
                       check=True, capture_output=True)
        os.chmod(key, 0o644)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for name, tls in (("plain", None), ("TLS", context)):
            with Spurn("smtp://127.0.0.1:9", listener=LISTENER, tls=(certificate, key), workers=2,
                       top="check rdns { mode off; }") as spurn:
                measure(spurn, name, count, tls)


if __name__ == "__main__":
    main()
