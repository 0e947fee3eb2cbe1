"""Peers that real programs cannot play: a mail server with bad manners, a DNS under our thumb.

FakeBackend speaks SMTP or LMTP well by default. What it says to a verb is replaced by an *act*:

    backend.on("RCPT", "550 5.1.1 no such user")      a reply ("\\n" separates its lines)
    backend.on("MAIL", b"rubbish\\r\\n")                octets as they are
    backend.on("DATA", STALL)                          says nothing, keeps the connection
    backend.on("DOT", CLOSE)                           drops the connection (RESET: rudely)
    backend.on("EHLO", Later(2, "250 hello"))          any act, later
    backend.on("DOT", Bytewise("250 2.0.0 Ok"))        one octet in a segment
    backend.on("MAIL", ["250 2.1.0 Ok", CLOSE])        one after the other
    backend.on("RCPT", function)                       function(session, argument) returns an act

The moments: CONNECT, every verb, BODY (the first octets of a message have come), DOT.
"""

import collections
import re
import socket
import ssl
import struct
import threading
import time

import dnslib

from process import Peer, free_port, wait_until

STALL = object()
CLOSE = object()
RESET = object()

Later = collections.namedtuple("Later", "seconds act")
Bytewise = collections.namedtuple("Bytewise", "act")
Command = collections.namedtuple("Command", "time session verb argument")
Mail = collections.namedtuple("Mail", "time session sender parameters recipients octets xforward helo tls")


class _Gone(Exception):
    """The connection is over."""


class FakeBackend(Peer):
    """A mail server of our own on 127.0.0.1:port; see the top of this file.

    recipients: {address: act} for RCPT; after_dot: {address: act}, LMTP's replies after the dot.
    commands, messages (answered 2xx), received (the dot came), partial (broken off within the
    message) are what it has seen; violations is what a client must never do.
    """

    name = "fake-backend"
    extensions = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")

    def __init__(self, protocol="smtp", extensions=None, tls=None, path=None):
        super().__init__()
        self.lmtp = protocol == "lmtp"
        self.extensions = list(self.extensions if extensions is None else extensions)
        self.tls = tls
        self.port = free_port()
        self.socket_path = path
        self.recipients, self.after_dot = {}, {}
        self.acts = {}
        self.lock = threading.Lock()
        self.commands, self.messages, self.received, self.partial = [], [], [], []
        self.violations = []
        self.sessions = []
        self.listener = None

    @property
    def url(self):
        """As a configuration names it."""
        protocol = "lmtp" if self.lmtp else "smtp"
        return f"lmtp+unix:{self.socket_path}" if self.socket_path else f"{protocol}://127.0.0.1:{self.port}"

    # -- life

    def start(self):
        if self.socket_path is not None:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.socket_path)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(512)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    restart = start  # at the same port, after kill()

    def kill(self):
        """As kill -9 would: nobody listens, every connection is reset."""
        self._stop_listening()
        for session in list(self.sessions):
            session.drop(rude=True)

    def stop(self):
        self.kill()

    def _stop_listening(self):
        listener, self.listener = self.listener, None
        if listener is not None:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                session = FakeSession(self, connection, len(self.sessions) + 1)
                self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    # -- behaviour

    def on(self, moment, act, times=None, keep=False):
        """What happens at a moment, for the next `times` times (None: always).

        keep: at DOT, the message counts as stored whatever is said about it.
        """
        with self.lock:
            self.acts.setdefault(moment, collections.deque()).appendleft([act, times, keep])

    def calm(self, *moments):
        """Back to good manners, at all moments or at those named."""
        with self.lock:
            for moment in moments or list(self.acts):
                self.acts.pop(moment, None)

    def act_for(self, moment):
        """(act, keep) for a moment, or (None, False) for good manners."""
        with self.lock:
            queue = self.acts.get(moment)
            if not queue:
                return None, False
            act, times, keep = queue[0]
            if times is not None:
                queue[0][1] -= 1
                if queue[0][1] <= 0:
                    queue.popleft()
            return act, keep

    # -- what was seen

    def seen(self, verb):
        """The commands of one verb, in order."""
        return [command for command in list(self.commands) if command.verb == verb]

    def wait_command(self, verb, count=1, timeout=10.0):
        wait_until(lambda: len(self.seen(verb)) >= count, timeout, f"{count} {verb} at the backend")
        return self.seen(verb)

    def wait_for(self, count, timeout=15.0):
        """Waits for so many stored messages."""
        wait_until(lambda: len(self.messages) >= count, timeout, f"{count} message(s) at the backend")
        return list(self.messages)

    def wait_partial(self, count=1, timeout=10.0):
        wait_until(lambda: len(self.partial) >= count, timeout, f"{count} broken-off message(s)")
        return list(self.partial)

    def open_sessions(self):
        return [session for session in list(self.sessions) if session.open]

    def logs(self):
        lines = [f"{command.session}: {command.verb} {command.argument}" for command in list(self.commands)]
        lines += [f"stored: {mail.sender} -> {mail.recipients} ({len(mail.octets)} octets)" for mail in self.messages]
        lines += [f"VIOLATION: {text}" for text in self.violations]
        return {"dialogue": "\n".join(lines)}


class FakeSession:
    """One connection to a FakeBackend."""

    def __init__(self, backend, connection, number):
        self.backend, self.socket, self.number = backend, connection, number
        self.buffer = b""
        self.open = True
        self.helo, self.xforward, self.secure = "", {}, False
        self.about_to_say = None
        self.reset()
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reset(self):
        self.sender, self.parameters, self.accepted = None, "", []

    def run(self):
        try:
            self.perform("CONNECT", "220 fake.example.org ready")
            while True:
                self.handle(self.read_line())
        except (_Gone, OSError, ValueError):
            pass
        finally:
            self.drop()

    def drop(self, rude=False):
        self.open = False
        try:
            if rude:
                linger = struct.pack("ii", 1, 0)
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    # -- octets

    def receive(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise _Gone
        self.buffer += piece

    def read_line(self):
        while b"\n" not in self.buffer:
            self.receive()
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r"):
            self.violation(f"a command line ends in a bare LF: {line[:80]!r}")
        return line.rstrip(b"\r")

    def violation(self, text):
        self.backend.violations.append(f"session {self.number}: {text}")

    def offers(self, keyword):
        return any(line.split(" ")[0].upper() == keyword for line in self.backend.extensions)

    # -- acts

    def perform(self, moment, ordinary, argument=""):
        """Does what is set for the moment, else says the ordinary; returns the reply's code or 0."""
        act, keep = self.backend.act_for(moment)
        self.keep = keep
        return self.play(ordinary if act is None else act, argument)

    def play(self, act, argument=""):
        if act is STALL:
            self.stall()
        elif act is CLOSE or act is RESET:
            self.drop(rude=act is RESET)
            raise _Gone
        elif isinstance(act, Later):
            time.sleep(act.seconds)
            return self.play(act.act, argument)
        elif isinstance(act, Bytewise):
            return self.say(act.act, bytewise=True)
        elif isinstance(act, list):
            return [self.play(step, argument) for step in act][0]
        elif callable(act):
            return self.play(act(self, argument), argument)
        return self.say(act)

    def stall(self):
        while True:
            self.receive()
            self.buffer = b""

    def say(self, reply, bytewise=False):
        octets = reply if isinstance(reply, bytes) else reply_lines(reply)
        about_to_say, self.about_to_say = self.about_to_say, None
        if about_to_say is not None:
            about_to_say(reply_code(octets))
        if bytewise:
            for i in range(len(octets)):
                self.socket.sendall(octets[i:i + 1])
        else:
            self.socket.sendall(octets)
        return reply_code(octets)

    # -- commands

    def handle(self, line):
        verb, _, argument = line.decode("utf-8", errors="replace").partition(" ")
        verb = verb.upper()
        self.backend.commands.append(Command(time.monotonic(), self.number, verb, argument))
        self.check_pipelining(verb)
        handler = getattr(self, "do_" + verb.lower(), None)
        if handler is not None:
            handler(argument)
        else:
            self.perform(verb, "500 5.5.2 what?", argument)

    def check_pipelining(self, verb):
        """RFC 2920 section 3.1: only where offered, and some verbs only at the end of a group."""
        if self.buffer and not self.offers("PIPELINING"):
            self.violation(f"octets behind {verb}, but PIPELINING was not offered")
        elif self.buffer and verb in ("EHLO", "LHLO", "HELO", "DATA", "STARTTLS", "QUIT", "NOOP"):
            self.violation(f"octets behind {verb}, which must come last in a group")

    def do_ehlo(self, argument, ordinary=True):
        if ordinary and self.backend.lmtp:
            self.violation("EHLO said to an LMTP server")
        self.helo = argument
        self.reset()
        lines = list(self.backend.extensions)
        if self.backend.tls and not self.secure:
            lines.append("STARTTLS")
        self.perform("EHLO", "250 " + "\n".join(["fake.example.org", *lines]), argument)

    def do_lhlo(self, argument):
        self.do_ehlo(argument, ordinary=False)

    def do_helo(self, argument):
        self.helo = argument
        self.reset()
        self.perform("HELO", "250 fake.example.org", argument)

    def do_xforward(self, argument):
        self.xforward.update(word.split("=", 1) for word in argument.split() if "=" in word)
        self.perform("XFORWARD", "250 2.0.0 Ok", argument)

    def do_xclient(self, argument):
        self.xforward.update(word.split("=", 1) for word in argument.split() if "=" in word)
        self.perform("XCLIENT", "220 fake.example.org ready", argument)

    def do_starttls(self, argument):
        code = self.perform("STARTTLS", "220 2.0.0 go ahead" if self.backend.tls else "502 5.5.1 no", argument)
        if code == 220 and self.backend.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.backend.tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.secure, self.buffer = True, b""
            self.reset()

    def do_mail(self, argument):
        if self.sender is not None:
            self.violation("MAIL within a transaction")
        if self.perform("MAIL", "250 2.1.0 Ok", argument) == 250:
            self.sender, self.parameters = address_of(argument), argument.partition("> ")[2]

    def do_rcpt(self, argument):
        if self.sender is None:
            self.play("503 5.5.1 MAIL first")
            return
        address = address_of(argument)
        act = self.backend.recipients.get(address)
        code = self.play(act, argument) if act is not None else self.perform("RCPT", "250 2.1.5 Ok", argument)
        if code in (250, 251):
            self.accepted.append(address)

    def do_data(self, argument):
        if not self.accepted:
            self.play("554 5.5.1 no valid recipients")
            return
        if self.perform("DATA", "354 go ahead", argument) == 354:
            self.read_message()

    def do_rset(self, argument):
        self.reset()
        self.perform("RSET", "250 2.0.0 Ok", argument)

    def do_noop(self, argument):
        self.perform("NOOP", "250 2.0.0 Ok", argument)

    def do_quit(self, argument):
        self.perform("QUIT", "221 2.0.0 Bye", argument)
        raise _Gone

    # -- a message

    def read_message(self):
        """Reads up to the dot; what was broken off before is kept as partial."""
        start = b"\r\n"  # so that a dot in the first line is found like any other
        octets = start + self.buffer
        self.buffer = b""
        body_seen = False
        while b"\r\n.\r\n" not in octets:
            try:
                self.receive()
            except (_Gone, OSError):
                self.backend.partial.append(self.mail(octets[2:]))
                raise _Gone from None
            octets, self.buffer = octets + self.buffer, b""
            if not body_seen:
                body_seen = True
                act, _ = self.backend.act_for("BODY")
                if act is not None:
                    self.backend.partial.append(self.mail(octets[2:]))
                    self.play(act)
        octets, self.buffer = octets.split(b"\r\n.\r\n", 1)
        message = (octets + b"\r\n")[2:].replace(b"\r\n..", b"\r\n.")
        if message.startswith(b".."):
            message = message[1:]
        self.end_of_data(self.mail(message))

    def mail(self, octets):
        return Mail(time.monotonic(), self.number, self.sender, self.parameters, list(self.accepted), octets,
                    dict(self.xforward), self.helo, self.secure)

    def end_of_data(self, mail):
        """Says what is to be said. What is answered 2xx is among the messages before the client can know."""
        self.backend.received.append(mail)
        recipients = mail.recipients if self.backend.lmtp else mail.recipients[:1]
        stored = []
        for number, recipient in enumerate(recipients, 1):
            act, keep = self.backend.act_for("DOT")
            act = self.backend.after_dot.get(recipient, act)
            if keep:
                self.backend.messages.append(mail)

            def about_to_say(code, recipient=recipient, keep=keep, last=number == len(recipients)):
                if code // 100 == 2 and not keep:
                    stored.extend([recipient] if self.backend.lmtp else mail.recipients)
                if last and stored:
                    self.backend.messages.append(mail._replace(recipients=stored))
            self.about_to_say = about_to_say
            self.play("250 2.0.0 Ok stored" if act is None else act, recipient)
        self.reset()


def reply_code(octets):
    """The code of a well-formed reply; 0 for anything else, which promises nothing."""
    match = re.fullmatch(rb"(?:([2-5]\d\d)-[^\r\n]*\r\n)*([2-5]\d\d)(?: [^\r\n]{0,2000})?\r\n", octets)
    return int(match.group(2)) if match and match.group(1) in (None, match.group(2)) else 0


def reply_lines(text):
    """"250 one\\ntwo" as the two lines of a reply."""
    code, _, rest = text.partition(" ")
    lines = rest.split("\n")
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"{code}{mark}{line}\r\n" for mark, line in zip(marks, lines)).encode()


def address_of(argument):
    """The address of a MAIL or RCPT argument."""
    return argument[argument.find("<") + 1:argument.find(">")]


# ---- DNS ---------------------------------------------------------------------------------

SERVFAIL = "SERVFAIL"
REFUSED = "REFUSED"
DROP = "DROP"

PUBLIC = "11.22.33.44"  # an address that no registry calls special: documentation addresses are no mail hosts


class DnsServer(Peer):
    """A DNS server on UDP and TCP at address:port which says what the test wants.

    Names that were not declared do not exist (NXDOMAIN). Trouble can be made per name and type or for a
    whole subtree. Every question is counted.
    """

    name = "dns"

    def __init__(self, ttl=5, address="127.0.0.1", port=None, zone="."):
        super().__init__()
        self.address = address
        self.port = port or free_port()
        self.ttl = ttl
        self.zone = zone  # whose SOA negative answers bear
        self.records = collections.defaultdict(list)  # (name, type) -> [rdata]
        self.troubles = {}  # (name, type or None, subtree) -> trouble
        self.questions = []
        self.sockets = []
        self.lock = threading.Lock()

    # -- declaring

    def add(self, name, kind, *rdata):
        """Records of one type, as dnslib rdata objects."""
        with self.lock:
            self.records[(fold(name), kind)] += rdata
        return self

    def a(self, name, *addresses):
        return self.add(name, "A", *map(dnslib.A, addresses))

    def aaaa(self, name, *addresses):
        return self.add(name, "AAAA", *map(dnslib.AAAA, addresses))

    def mx(self, name, *hosts, preference=10):
        return self.add(name, "MX", *(dnslib.MX(host, preference) for host in hosts))

    def null_mx(self, name):
        """RFC 7505."""
        return self.add(name, "MX", dnslib.MX(".", 0))

    def txt(self, name, *texts):
        return self.add(name, "TXT", *(dnslib.TXT([text[i:i + 255] for i in range(0, len(text), 255)])
                                       for text in texts))

    def ptr(self, address, *hosts):
        return self.add(reverse_name(address) + "in-addr.arpa", "PTR", *map(dnslib.PTR, hosts))

    def cname(self, name, target):
        return self.add(name, "CNAME", dnslib.CNAME(target))

    def mail_domain(self, name, address=PUBLIC):
        """A domain that can send mail: MX and its address."""
        return self.mx(name, f"mail.{name}").a(f"mail.{name}", address)

    def dnsbl(self, zone, listed=None, healthy=True):
        """A DNS list of addresses: {address: answer}; healthy: the entries that RFC 5782 section 5 wants."""
        self.add(zone, "SOA", dnslib.SOA(f"ns.{zone}", f"hostmaster.{zone}", (1, 3600, 600, 86400, self.ttl)))
        if healthy:
            self.a(reverse_name("127.0.0.2") + zone, "127.0.0.2")
        for address, answer in (listed or {}).items():
            answers = [answer] if isinstance(answer, str) else answer
            self.a(reverse_name(address) + zone, *answers)
            self.txt(reverse_name(address) + zone, f"listed by {zone}")
        return self

    def domain_list(self, zone, listed=None, healthy=True):
        """A DNS list of domain names: {domain: answer}."""
        self.add(zone, "SOA", dnslib.SOA(f"ns.{zone}", f"hostmaster.{zone}", (1, 3600, 600, 86400, self.ttl)))
        if healthy:
            self.a(f"TEST.{zone}", "127.0.0.2")
        for domain, answer in (listed or {}).items():
            self.a(f"{domain}.{zone}", answer)
        return self

    def forget(self, name):
        """The name exists no longer."""
        with self.lock:
            for key in [key for key in self.records if key[0] == fold(name)]:
                del self.records[key]

    def trouble(self, name, what, kind=None, subtree=False):
        """SERVFAIL, REFUSED, DROP or a delay in seconds for a name (or all below it); None: no trouble."""
        with self.lock:
            key = (fold(name), kind, subtree)
            if what is None:
                self.troubles.pop(key, None)
            else:
                self.troubles[key] = what
        return self

    def count(self, name, kind=None):
        """How often a name was asked for."""
        return sum(1 for asked, asked_kind in list(self.questions)
                   if asked == fold(name) and kind in (None, asked_kind))

    def count_below(self, zone):
        """How many questions came for names below a zone."""
        return sum(1 for asked, _ in list(self.questions) if asked.endswith("." + fold(zone)))

    # -- serving

    def start(self):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((self.address, self.port))
        streams = socket.socket()
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        streams.bind((self.address, self.port))
        streams.listen(64)
        self.sockets = [datagrams, streams]
        threading.Thread(target=self._serve_datagrams, args=(datagrams,), daemon=True).start()
        threading.Thread(target=self._serve_streams, args=(streams,), daemon=True).start()

    def stop(self):
        sockets, self.sockets = self.sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
            except OSError:
                pass
            one.close()

    def _serve_datagrams(self, sock):
        while self.sockets:
            try:
                packet, peer = sock.recvfrom(65535)
            except OSError:
                return
            if packet:
                threading.Thread(target=self._answer_datagram, args=(sock, packet, peer), daemon=True).start()

    def _answer_datagram(self, sock, packet, peer):
        answer = self.answer(packet)
        if answer is None:
            return
        octets = answer.pack()
        if len(octets) > 1232:
            octets = answer.truncate().pack()
        try:
            sock.sendto(octets, peer)
        except OSError:
            pass

    def _serve_streams(self, sock):
        while self.sockets:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection:
            connection.settimeout(10)
            try:
                while True:
                    length = int.from_bytes(receive_exactly(connection, 2), "big")
                    answer = self.answer(receive_exactly(connection, length))
                    if answer is None:
                        return
                    octets = answer.pack()
                    connection.sendall(len(octets).to_bytes(2, "big") + octets)
            except (OSError, EOFError):
                return

    def answer(self, packet):
        """The answer to a packet, or None where nothing is to be said."""
        try:
            question = dnslib.DNSRecord.parse(packet)
        except dnslib.DNSError:
            return None
        name, kind = fold(str(question.q.qname)), dnslib.QTYPE.get(question.q.qtype)
        with self.lock:
            self.questions.append((name, kind))
            trouble = self.trouble_of(name, kind)
        if trouble == DROP:
            return None
        if isinstance(trouble, (int, float)):
            time.sleep(trouble)
            trouble = None
        reply = question.reply(ra=1)
        if trouble is not None:
            reply.header.rcode = getattr(dnslib.RCODE, trouble)
            return reply
        self.fill(reply, name, kind)
        return reply

    def trouble_of(self, name, kind):
        """The trouble set for a question; a subtree's counts for its top as well."""
        for (where, what, subtree), trouble in self.troubles.items():
            inside = name == where or (subtree and name.endswith("." + where))
            if inside and what in (None, kind):
                return trouble
        return None

    def fill(self, reply, name, kind):
        """Answer section, or rcode and SOA of a negative answer."""
        for _ in range(8):  # CNAMEs followed
            held = self.held(name)
            if held is None or "CNAME" not in held or kind == "CNAME":
                break
            target = held["CNAME"][0]
            reply.add_answer(dnslib.RR(name, dnslib.QTYPE.CNAME, rdata=target, ttl=self.ttl))
            name = fold(str(target.label))
        held = self.held(name)
        rdata = (held or {}).get(kind, [])
        for one in rdata:
            reply.add_answer(dnslib.RR(name, getattr(dnslib.QTYPE, kind), rdata=one, ttl=self.ttl))
        if rdata:
            return
        if held is None:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        soa = dnslib.SOA("ns.test", "hostmaster.test", (1, 3600, 600, 86400, self.ttl))
        reply.add_auth(dnslib.RR(self.zone, dnslib.QTYPE.SOA, rdata=soa, ttl=self.ttl))

    def held(self, name):
        """{type: [rdata]} of a name (or the wildcard over it), {} if only names below exist, None if nothing."""
        with self.lock:
            exact = {kind: list(rdata) for (owner, kind), rdata in self.records.items() if owner == name}
            if exact or name == "":
                return exact
            if any(owner.endswith("." + name) for owner, _ in self.records):
                return {}
            labels = name.split(".")
            for i in range(1, len(labels)):
                parent = ".".join(labels[i:])
                wild = {kind: list(rdata) for (owner, kind), rdata in self.records.items() if owner == "*." + parent}
                if wild:
                    return wild
                if any(owner == parent for owner, _ in self.records):
                    return None
        return None

    def logs(self):
        return {"questions": "\n".join(f"{name} {kind}" for name, kind in list(self.questions)[-200:])}


def fold(name):
    return str(name).lower().rstrip(".")


def reverse_name(address):
    """"192.0.2.1" as "1.2.0.192.", an IPv6 address as its nibbles: what stands before a list's zone."""
    if ":" in address:
        nibbles = socket.inet_pton(socket.AF_INET6, address).hex()
        return "".join(f"{nibble}." for nibble in reversed(nibbles))
    return ".".join(reversed(address.split("."))) + "."


def receive_exactly(connection, count):
    octets = b""
    while len(octets) < count:
        piece = connection.recv(count - len(octets))
        if not piece:
            raise EOFError
        octets += piece
    return octets
