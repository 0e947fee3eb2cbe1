"""SMTP clients: a plain dialogue in the test's own hands, swaks, smtp-source; HAProxy, smtp-sink."""

import glob
import os
import re
import shutil
import socket
import ssl
import struct

from process import Child, Missing, PEER_ROOTS, Peer, SLOW, free_port, run, wait_until

PROXY_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Reply:
    """One reply: code, enhanced code ("" if none) and the lines without their codes."""

    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[0][:3])
        self.texts = [line[4:] for line in lines]
        match = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)", self.texts[0])
        self.enhanced = match.group(1) if match else ""

    @property
    def text(self):
        return "\n".join(self.texts)

    @property
    def ref(self):
        """The reference of the record, or None."""
        match = re.search(r"\bref=([0-9A-Za-z]{10})\b", self.text)
        return match.group(1) if match else None

    def __repr__(self):
        return "\\n".join(self.lines)


class Closed(AssertionError):
    """The server closed the connection where a reply was expected."""


class Smtp:
    """A dialogue in plain sight: every octet is the test's.

    with Smtp(port) as c:
        c.expect(220)
        c.command("EHLO client.example.net", 250)

    source: address to connect from; bytewise: each octet in a segment of its own;
    proxy: octets sent before anything else (proxy_v1(), proxy_v2()).
    """

    def __init__(self, port, host="127.0.0.1", source=None, timeout=15.0, bytewise=False, proxy=b"", path=None):
        if path is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout * SLOW)
            self.socket.connect(path)
        else:
            origin = (source, 0) if source else None
            self.socket = socket.create_connection((host, port), timeout * SLOW, source_address=origin)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytewise = bytewise
        self.buffer = b""
        self.transcript = []
        if proxy:
            self.socket.sendall(proxy)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("\n".join(self.transcript[-200:]))
        self.close()

    # -- octets

    def send(self, octets):
        """Sends octets as they are."""
        self.transcript.append(f"C: {octets[:400]!r}")
        if not self.bytewise:
            self.socket.sendall(octets)
            return
        for i in range(len(octets)):
            self.socket.sendall(octets[i:i + 1])

    def line(self, text):
        """Sends a line; CRLF is added."""
        self.send((text if isinstance(text, bytes) else text.encode()) + b"\r\n")

    def read_line(self):
        while b"\n" not in self.buffer:
            try:
                piece = self.socket.recv(65536)
            except ConnectionError as error:
                raise Closed(f"connection lost: {error}; received {self.buffer!r}") from error
            except TimeoutError as error:
                raise AssertionError(f"no reply in time; received {self.buffer!r}") from error
            if not piece:
                raise Closed(f"connection closed; received {self.buffer!r}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a reply line ends in a bare LF: {line!r}"
        assert len(line) < 511, f"a reply line of {len(line) + 1} octets (RFC 5321 section 4.5.3.1.5)"
        text = line[:-1].decode("utf-8")
        self.transcript.append(f"S: {text}")
        return text

    def reply(self):
        """Reads one reply, however many lines it has."""
        lines = []
        while True:
            line = self.read_line()
            assert re.match(r"[2-5]\d\d(?:[ -]|$)", line), f"no reply line: {line!r}"
            lines.append(line)
            if line[3:4] != "-":
                break
        assert len({line[:3] for line in lines}) == 1, f"codes differ: {lines}"
        return Reply(lines)

    def silent(self, seconds=0.3):
        """True if the server says nothing for so long."""
        if self.buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.buffer += self.socket.recv(65536)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def expect(self, *codes):
        """Reads a reply that must have one of these codes (250) or classes ("4xx")."""
        reply = self.reply()
        assert code_is(reply.code, codes), f"expected {codes}, got: {reply!r}"
        return reply

    def command(self, text, *codes):
        """Sends a command line and reads its reply, which must have one of the codes, if given."""
        self.line(text)
        return self.expect(*codes) if codes else self.reply()

    def expect_closed(self):
        """Nothing but the end of the connection may come."""
        try:
            line = self.read_line()
        except Closed:
            return
        raise AssertionError(f"still open, and says: {line!r}")

    def close(self):
        self.socket.close()

    def abort(self):
        """Drops the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- whole steps

    def greet(self, name="client.example.net", verb="EHLO"):
        """Greeting and EHLO; returns the EHLO reply."""
        self.expect(220)
        return self.command(f"{verb} {name}", 250)

    def transaction(self, sender, recipients, parameters=""):
        """MAIL and RCPTs, all of which must be accepted."""
        self.command(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}", 250)
        for recipient in recipients:
            self.command(f"RCPT TO:<{recipient}>", 250)

    def data(self, message, *codes):
        """DATA, the message (dot-stuffed here) and its end; returns the final reply."""
        self.command("DATA", 354)
        self.send(dot_stuffed(message) + b".\r\n")
        return self.expect(*codes) if codes else self.reply()

    def deliver(self, sender, recipients, message, *codes):
        """A whole transaction."""
        self.transaction(sender, recipients)
        return self.data(message, *(codes or (250,)))

    def quit(self):
        self.command("QUIT", 221)
        self.expect_closed()

    def starttls(self):
        """STARTTLS and the handshake; any certificate will do. Returns the negotiated version."""
        self.command("STARTTLS", 220)
        self.handshake()
        return self.socket.version()

    def handshake(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        assert not self.buffer, f"octets before the handshake: {self.buffer!r}"
        self.socket = context.wrap_socket(self.socket)

    def certificate(self):
        """The server's certificate (DER)."""
        return self.socket.getpeercert(binary_form=True)


def code_is(code, wanted):
    """250 matches itself, "4xx" its class."""
    return any(code == w if isinstance(w, int) else str(code)[0] == w[0] for w in wanted)


def keywords(ehlo):
    """{keyword: argument} of an EHLO reply."""
    found = {}
    for line in ehlo.texts[1:]:
        word, _, argument = line.partition(" ")
        found[word.upper()] = argument
    return found


def dot_stuffed(message):
    """Message octets as they travel behind DATA, without the final dot line."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if stuffed.endswith(b"\r\n") or not stuffed else stuffed + b"\r\n"


def message(subject="A test", sender="sender@client.example.net", to="alice@example.org", body=b"Hello.\r\n",
            message_id=None, extra=b""):
    """A small RFC 5322 message in octets, each with a Message-ID of its own."""
    message_id = message_id or f"<{os.urandom(8).hex()}@client.example.net>"
    head = (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n"
            f"Date: Mon, 23 Nov 2026 02:49:59 +0000\r\nMessage-ID: {message_id}\r\n")
    return head.encode() + extra + b"\r\n" + body


PROXIED_TO = {False: "198.51.100.25", True: "2001:db8::25"}


def proxy_v1(source, destination=None, source_port=54321, destination_port=25):
    """A PROXY protocol version 1 line."""
    family = "TCP6" if ":" in source else "TCP4"
    destination = destination or PROXIED_TO[":" in source]
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def proxy_v2(source, destination=None, source_port=54321, destination_port=25, command=1, tlvs=b""):
    """A PROXY protocol version 2 header; command 0: LOCAL."""
    six = ":" in source
    destination = destination or PROXIED_TO[six]
    family = socket.AF_INET6 if six else socket.AF_INET
    addresses = (socket.inet_pton(family, source) + socket.inet_pton(family, destination)
                 + struct.pack("!HH", source_port, destination_port))
    head = bytes([0x20 | command, 0x21 if six else 0x11]) + struct.pack("!H", len(addresses) + len(tlvs))
    return PROXY_V2_SIGNATURE + head + addresses + tlvs


# ---- programs ----------------------------------------------------------------------------


def program(name):
    """Full path of a program, also of those in sbin; Missing if it is not there."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise Missing(f"{name} is not there: run tools/install-deps test")
    return found


def postfix_program(name):
    """A command line for smtp-source or smtp-sink, also where Postfix is only unpacked for the tests."""
    root = os.path.join(PEER_ROOTS, "postfix")
    path = os.path.join(root, "usr/sbin", name)
    if not os.access(path, os.X_OK):
        return [program(name)]
    libraries = [os.path.join(root, "usr/lib/postfix"), *glob.glob(os.path.join(root, "usr/lib/*-linux-gnu"))]
    return ["env", "LD_LIBRARY_PATH=" + ":".join(libraries), path]


def swaks(port, *arguments, sender="sender@client.example.net", to="alice@example.org", socket_path=None, data=None):
    """Runs swaks; returns (transcript, exit code). data: the message; arguments: swaks options."""
    where = ["--socket", socket_path] if socket_path else ["--server", "127.0.0.1", "--port", str(port)]
    command = [program("swaks"), *where, "--helo", "client.example.net", "--from", sender, "--to", to,
               "--timeout", "20", *arguments]
    if data is not None:
        command += ["--data", "-"]
    done = run(command, data=data)
    return (done.stdout + done.stderr).decode(errors="replace"), done.returncode


def smtp_source(port, *, messages=1, sessions=1, size=1024, sender="sender@client.example.net",
                to="alice@example.org", options=(), timeout=120.0):
    """Runs Postfix's load client; returns (output, exit code). options: e.g. ["-d"] for kept connections."""
    command = [*postfix_program("smtp-source"), "-m", str(messages), "-s", str(sessions), "-l", str(size),
               "-f", sender, "-t", to, "-M", "client.example.net", *options, f"127.0.0.1:{port}"]
    done = run(command, timeout=timeout)
    return (done.stdout + done.stderr).decode(errors="replace"), done.returncode


class SmtpSink(Peer):
    """Postfix's smtp-sink: takes everything and, with dump, keeps it.

    options: further smtp-sink options, e.g. ["-f", "RCPT"] to refuse each RCPT.
    """

    name = "smtp-sink"

    def __init__(self, dump=True, options=()):
        super().__init__()
        self.port = free_port()
        self.dump, self.options = dump, list(options)

    def start(self):
        os.makedirs(self.path("mail"))
        os.chmod(self.path("mail"), 0o777)
        keep = ["-d", self.path("mail", "%M.")] if self.dump else []
        command = [*postfix_program("smtp-sink"), "-u", "nobody", *keep, *self.options, f"127.0.0.1:{self.port}", "128"]
        self.child = Child(command, self.path("output"), cwd=self.path("mail"))
        self.await_listening(("127.0.0.1", self.port))

    def messages(self):
        """What was received: octets with CRLF, as dumped, with X-Client-Addr and other fields of the sink on top."""
        found = []
        for name in sorted(os.listdir(self.path("mail"))):
            with open(self.path("mail", name), "rb") as stream:
                found.append(stream.read())
        return [text for text in found if b"\nX-Rcpt-Args:" in text]

    def wait_for(self, count, timeout=20.0):
        wait_until(lambda: len(self.messages()) >= count, timeout, f"{count} message(s) in the sink")
        return self.messages()


HAPROXY_CONF = """\
global
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen front
  bind 127.0.0.1:{port}
  server target 127.0.0.1:{target} {send}
"""


class HaproxyProxy(Peer):
    """HAProxy in TCP mode before 127.0.0.1:target, with a PROXY header of version 1 or 2 (0: none)."""

    name = "haproxy"

    def __init__(self, target, version=1):
        super().__init__()
        self.port = free_port()
        self.target = target
        self.send = {0: "", 1: "send-proxy", 2: "send-proxy-v2"}[version]

    def start(self):
        conf = self.write("haproxy.cfg", HAPROXY_CONF.format(port=self.port, target=self.target, send=self.send))
        self.child = Child([program("haproxy"), "-db", "-f", conf], self.path("output"))
        self.await_listening(("127.0.0.1", self.port))
