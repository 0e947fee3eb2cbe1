"""Content scanners as peers: clamd, spamd, rspamd and OpenDKIM as they are, a filter of ours on libmilter, and liars.

None of them asks the network: clamd has a signature file of two lines, spamd runs its rules locally, rspamd its own
pattern, OpenDKIM signs with a key of the test.
"""

import os
import re
import socket
import struct
import sys
import threading
import time

from process import Child, Missing, Peer, free_port, read_text, run, wait_until

EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def need(program, package):
    """The path of a program; Missing where it is not installed."""
    for directory in ("/usr/sbin", "/usr/bin"):
        path = os.path.join(directory, program)
        if os.access(path, os.X_OK):
            return path
    raise Missing(f"{package} is not there: run tools/install-deps test")


class Clamd(Peer):
    """ClamAV's daemon with two signatures: EICAR as a pattern, and a phrase of ours."""

    name = "clamd"

    def __init__(self, port=None):
        super().__init__()
        self.program = need("clamd", "clamav-daemon")
        self.port = port

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}" if self.port else f"unix:{self.path('clamd.sock')}"

    def start(self):
        phrase = "spurn test phrase of malice".encode().hex()
        self.write("db/test.ndb", f"Eicar-Signature:0:*:{EICAR.encode().hex()}\nSpurn.Phrase:0:*:{phrase}\n")
        where = f"TCPSocket {self.port}\nTCPAddr 127.0.0.1" if self.port else f"LocalSocket {self.path('clamd.sock')}"
        self.write("clamd.conf", f"{where}\nDatabaseDirectory {self.path('db')}\nForeground yes\n"
                   f"TemporaryDirectory {self.directory}\nMaxThreads 4\nStreamMaxLength 60M\nLogTime yes\n"
                   "LogVerbose yes\nDebug no\nSelfCheck 0\nBytecode no\n")
        self.child = Child([self.program, "--config-file", self.path("clamd.conf")], self.path("output"))
        self.await_listening(("127.0.0.1", self.port) if self.port else self.path("clamd.sock"))
        if not self.port:
            os.chmod(self.path("clamd.sock"), 0o666)


class Spamd(Peer):
    """SpamAssassin's daemon with the rules of the package, without network tests."""

    name = "spamd"

    def __init__(self):
        super().__init__()
        self.program = need("spamd", "spamd")
        self.port = free_port()

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        plugins = ("Check", "HTTPSMismatch", "URIDetail", "Bayes", "BodyEval", "DNSEval", "HTMLEval", "HeaderEval",
                   "MIMEEval", "RelayEval", "URIEval", "WLBLEval", "VBounce", "FreeMail", "MIMEHeader", "ReplaceTags")
        self.write("rules/test.pre", "".join(f"loadplugin Mail::SpamAssassin::Plugin::{name}\n" for name in plugins))
        self.write("rules/local.cf", "required_score 5\nuse_bayes 0\nskip_rbl_checks 1\n"
                   "header SPURN_SUSPECT Subject =~ /somewhat dubious/\nscore SPURN_SUSPECT 7\n"
                   "header SPURN_CLIENT X-Spam-Relays-Trusted =~ /^\\[ ip=127.0.0.1 [^\\]]*helo=who.are.you.example /\n"
                   "score SPURN_CLIENT 0.1\n")
        self.child = Child([self.program, "--local", "--nouser-config", "--max-children=2", "--min-children=1",
                            f"--listen=127.0.0.1:{self.port}", "--username=nobody", f"--siteconfigpath={self.path('rules')}",
                            "--helper-home-dir=/tmp", "--syslog=stderr"], self.path("output"))
        self.await_listening(("127.0.0.1", self.port), timeout=40)


class Rspamd(Peer):
    """rspamd as a milter, scanning by itself with its own pattern alone."""

    name = "rspamd"

    def __init__(self):
        super().__init__()
        self.program = need("rspamd", "rspamd")
        self.port = free_port()

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        self.write("rspamd.conf", f"""
options {{ pidfile = "{self.path('rspamd.pid')}"; filters = ""; tempdir = "{self.directory}";
          dns {{ nameserver = "127.0.0.1:1"; timeout = 0.1s; retransmits = 1; }} gtube_patterns = "all"; }}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; add_header = 6; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{self.port}"; milter = yes; count = 1; timeout = 30s;
    upstream "local" {{ self_scan = yes; default = yes; }}
}}
""")
        self.child = Child([self.program, "-f", "-i", "-c", self.path("rspamd.conf")], self.path("output"),
                           env={**os.environ, "HOME": self.directory})
        self.await_listening(("127.0.0.1", self.port), timeout=30)


class OpenDkim(Peer):
    """OpenDKIM that signs all mail of example.net."""

    name = "opendkim"

    def __init__(self):
        super().__init__()
        self.program = need("opendkim", "opendkim")
        self.port = free_port()

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        key = self.path("key.pem")
        run(["openssl", "genrsa", "-out", key, "1024"])
        os.chmod(key, 0o600)
        self.write("opendkim.conf", f"Domain *\nSelector test\nKeyFile {key}\nMode s\nSocket inet:{self.port}@127.0.0.1\n"
                   "InternalHosts 0.0.0.0/0\nCanonicalization relaxed/simple\nSyslog no\nRequireSafeKeys no\n")
        self.child = Child([self.program, "-f", "-x", self.path("opendkim.conf")], self.path("output"))
        self.await_listening(("127.0.0.1", self.port))


class ClamavMilter(Peer):
    """clamav-milter before a clamd of ours, which it must be able to reach."""

    name = "clamav-milter"

    def __init__(self, clamd):
        super().__init__()
        self.program = need("clamav-milter", "clamav-milter")
        self.clamd = clamd
        self.port = free_port()

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        self.write("milter.conf", f"MilterSocket inet:{self.port}@127.0.0.1\nForeground yes\n"
                   f"ClamdSocket {self.clamd.address}\nTemporaryDirectory {self.directory}\nOnInfected Reject\n"
                   "RejectMsg found %v\nAddHeader Replace\nLogVerbose yes\n")
        self.child = Child([self.program, "--config-file", self.path("milter.conf")], self.path("output"))
        self.await_listening(("127.0.0.1", self.port))

    def stop(self):
        self.child.kill()       # libmilter takes seconds to end in order


class SpamassMilter(Peer):
    """spamass-milter before a spamd: it refuses from a score of 900, and makes a report with the message attached of what is spam."""

    name = "spamass-milter"

    def __init__(self, spamd):
        super().__init__()
        self.program = need("spamass-milter", "spamass-milter")
        need("spamc", "spamc")
        self.spamd = spamd

    @property
    def address(self):
        return f"unix:{self.path('milter.sock')}"

    def start(self):
        self.child = Child([self.program, "-p", self.path("milter.sock"), "-r", "900", "--", "-d", "127.0.0.1", "-p",
                            str(self.spamd.port)], self.path("output"))
        self.await_listening(self.path("milter.sock"))
        os.chmod(self.path("milter.sock"), 0o666)

    def stop(self):
        self.child.kill()


class Filter(Peer):
    """filter.py: a milter on libmilter (python3-milter) that does what fields of the message ask for."""

    name = "filter"

    def __init__(self, quiet=False):
        super().__init__()
        self.manner = ["quiet"] if quiet else []
        if not os.path.exists("/usr/lib/python3/dist-packages/Milter"):
            raise Missing("python3-milter is not there: run tools/install-deps test")
        self.port = free_port()

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        here = os.path.dirname(os.path.abspath(__file__))
        self.child = Child(["/usr/bin/python3", os.path.join(here, "filter.py"), str(self.port), self.path("seen"),
                            *self.manner],
                           self.path("output"))
        self.await_listening(("127.0.0.1", self.port))

    def stop(self):
        self.child.kill()       # libmilter takes seconds to end in order

    def say(self, stage, word):
        """Its word at this stage, from now on."""
        self.write("seen.say", f"{stage} {word}\n")

    def seen(self):
        """What the filter was told, a line for each call, in its order."""
        return read_text(self.path("seen")).splitlines()

    def logs(self):
        return {**super().logs(), "seen": read_text(self.path("seen"))}


# ---- liars -------------------------------------------------------------------------------


class Liar(Peer):
    """Listens and plays a script to each connection: a function that gets the socket.

    connections: how many there were; gone: how many the other side has closed by now.
    """

    name = "liar"

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.port = free_port()
        self.connections = 0
        self.gone = 0
        self.listener = None
        self.sockets = []

    @property
    def address(self):
        return f"inet:127.0.0.1:{self.port}"

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.sockets.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.script(connection)
        except OSError:
            pass
        finally:
            self.gone += 1
            connection.close()

    def stop(self):
        self.listener.close()
        for connection in self.sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def logs(self):
        return {}


def until_closed(connection):
    """Reads and forgets all until the other side closes."""
    while connection.recv(65536):
        pass


def read_exactly(connection, count):
    octets = b""
    while len(octets) < count:
        piece = connection.recv(count - len(octets))
        if not piece:
            raise ConnectionError("closed")
        octets += piece
    return octets


def take_stream(connection):
    """An INSTREAM question to its end; returns the message."""
    assert read_exactly(connection, 10) == b"zINSTREAM\0"
    message = b""
    while True:
        [length] = struct.unpack(">I", read_exactly(connection, 4))
        if length == 0:
            return message
        message += read_exactly(connection, length)


def take_spamc(connection):
    """A SPAMC question to its end; returns its header lines and the message."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        octets += read_exactly(connection, 1)
    length = int(re.search(rb"Content-length: (\d+)", octets).group(1))
    message = read_exactly(connection, length)
    until_closed(connection)        # our side is closed behind the question
    return octets, message


def spamd_answer(score, threshold=5.0, symbols=b"NONE"):
    """What a spamd says about a message."""
    word = b"True" if score >= threshold else b"False"
    return (b"SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: %s ; %.1f / %.1f\r\n\r\n" %
            (len(symbols), word, score, threshold)) + symbols


def packet(word, octets=b""):
    return struct.pack(">I", len(octets) + 1) + word + octets


def read_packet(connection):
    [length] = struct.unpack(">I", read_exactly(connection, 4))
    octets = read_exactly(connection, length)
    return octets[:1], octets[1:]


OPTIONS = struct.pack(">III", 6, 0x1 | 0x2 | 0x10 | 0x20, 0)


def milter(end, stages=None):
    """The script of a filter that continues everywhere, answers as `stages` says ({command: octets or function}), and at
    the end of the message sends `end` (octets) or calls it."""
    stages = stages or {}

    def play(connection):
        while True:
            word, _ = read_packet(connection)
            act = stages.get(word)
            if callable(act):
                act(connection)
            elif act is not None:
                connection.sendall(act)
            elif word == b"O":
                connection.sendall(packet(b"O", OPTIONS))
            elif word == b"E":
                if callable(end):
                    end(connection)
                else:
                    connection.sendall(end)
            elif word not in (b"D", b"A", b"K", b"Q"):
                connection.sendall(packet(b"c"))
    return play
