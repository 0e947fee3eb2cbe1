"""Processes, ports, deadlines: what every peer of the system tests stands on.

A peer is something real or fake that Spurn talks with. Each one is a context manager with a
directory of its own, listens on loopback on a port that was free, and runs in processes that
we started and that end with it. When a test fails, the peers' logs are printed.
"""

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
PEER_ROOTS = os.environ.get("SPURN_PEERS", "/var/cache/spurn-test-peers")

# Under valgrind or a sanitizer everything takes longer: deadlines are stretched by this factor.
SLOW = float(os.environ.get("SPURN_TEST_SLOW", "1"))

LOG_TAIL = 12000  # octets of each log that are shown when a test fails


def deadline_in(seconds):
    """The moment so many (stretched) seconds from now, on the monotonic clock."""
    return time.monotonic() + seconds * SLOW


def wait_until(condition, timeout=10.0, what="what was waited for"):
    """Polls condition() and returns its first true value; AssertionError when the time is up."""
    end = deadline_in(timeout)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what} did not come within {timeout:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def never_within(condition, seconds, what="what must not happen"):
    """Watches for some seconds that condition() stays false."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), f"{what} happened"
        time.sleep(0.02)


# ---- ports -------------------------------------------------------------------------------

_given_ports = set()


def free_port():
    """A loopback port that nobody listens on and that this process has not given out before.

    Taken from below the range of ephemeral ports, so that no outgoing connection of another
    process sits on it by the time its peer wants to listen.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(11000, 32000)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
        _given_ports.add(port)
        return port
    raise AssertionError("no free port on 127.0.0.1")


def listens(address):
    """True if somebody listens at ("127.0.0.1", port) or at the path of a Unix socket.

    A port is looked up in the kernel's table: a connection to try it would be a session, with a record.
    """
    if isinstance(address, str):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address) == 0
    wanted = f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"
    with open("/proc/thread-self/net/tcp", encoding="ascii") as table:
        return any(fields[1] == wanted and fields[3] == "0A" for fields in map(str.split, table))


# ---- processes ---------------------------------------------------------------------------


class Child:
    """A process that we started, in a session of its own, with its output in a file."""

    def __init__(self, command, output, env=None, cwd="/"):
        self.output = output
        with open(output, "ab") as stream:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                env=env, cwd=cwd, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def stop(self, timeout=10.0):
        """SIGTERM, then SIGKILL to what is left of the session. Returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            pass
        return self.kill()

    def kill(self):
        """SIGKILL to the process and to all of its session that are still there."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return self.process.wait()

    def text(self):
        with open(self.output, encoding="utf-8", errors="replace") as stream:
            return stream.read()


def children_of(pid):
    """Process ids of the direct children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
            return [int(word) for word in stream.read().split()]
    except OSError:
        return []


def process_name(pid):
    """Name of a process as its command line shows it, or an empty string."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def run(command, data=None, timeout=60.0, env=None):
    """Runs a command to its end and returns the CompletedProcess; output is bytes."""
    return subprocess.run(command, input=data if data is not None else b"", env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=timeout * SLOW)


# ---- peers -------------------------------------------------------------------------------


class Missing(Exception):
    """A peer's programs are not on this machine; the text says how to get them."""


class Peer:
    """Something that listens. Subclasses have start(), stop() and logs()."""

    name = "peer"
    live = []  # peers that run now: conftest.py shows their logs when a test fails

    def __init__(self):
        self.directory = None
        self.child = None

    # -- for subclasses

    def start(self):
        raise NotImplementedError

    def stop(self):
        if self.child is not None:
            self.child.stop()

    def logs(self):
        """{name: text} of everything that helps to see what went wrong."""
        return {"output": self.child.text()} if self.child is not None else {}

    def make_directory(self):
        return tempfile.mkdtemp(prefix=f"spurn-{self.name}-")

    def path(self, *parts):
        """A path in this peer's directory."""
        return os.path.join(self.directory, *parts)

    def write(self, path, text, mode=0o644, owner=None):
        """Writes a file in this peer's directory."""
        path = self.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(path, mode)
        if owner is not None:
            os.chown(path, owner, owner)
        return path

    def await_listening(self, *addresses, timeout=15.0):
        """Waits until the child listens; says at once when it has ended instead."""
        for address in addresses:
            wait_until(lambda at=address: listens(at) or not self.child.running(), timeout,
                       f"{self.name} at {address}")
            assert self.child.running(), f"{self.name} ended at start:\n{self.log_text()}"

    # -- for tests

    def __enter__(self):
        self.directory = self.make_directory()
        os.chmod(self.directory, 0o755)
        Peer.live.append(self)
        try:
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.stop()
        finally:
            if kind is not None and issubclass(kind, (Exception, KeyboardInterrupt)):
                print(self.log_text())
            if self in Peer.live:
                Peer.live.remove(self)
            self.remove_directory()

    def remove_directory(self):
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_text(self):
        """All logs, each under its title, cut to their last part."""
        parts = []
        for title, text in self.logs().items():
            if text.strip():
                parts.append(f"---- {self.name}: {title} ----\n{text[-LOG_TAIL:]}")
        return "\n".join(parts)


def read_text(path):
    """The text of a file, empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def maildir_messages(path):
    """The messages of a Maildir as bytes, oldest first."""
    found = []
    for part in ("new", "cur"):
        try:
            names = os.listdir(os.path.join(path, part))
        except OSError:
            continue
        for name in names:
            file = os.path.join(path, part, name)
            found.append((os.stat(file).st_mtime_ns, name, file))
    messages = []
    for _, _, file in sorted(found):
        with open(file, "rb") as stream:
            messages.append(stream.read())
    return messages
