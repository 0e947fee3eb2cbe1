"""A filter on libmilter, for the system tests: python3 filter.py PORT FILE.

What it is told goes to FILE, a line for each call. What it does is asked for by fields of the message:
"X-Do: WORD ARGUMENT"; and by local parts: reject-helo.example as HELO, deny@ as a recipient, and so on.
"""

import sys

import Milter


class Filter(Milter.Base):
    seen = None

    def __init__(self):
        self.orders = []
        self.octets = 0

    def note(self, *words):
        print(*words, file=Filter.seen, flush=True)

    def connect(self, host, family, address):
        self.note("connect", host, family, *(address if isinstance(address, tuple) else (address,)))
        self.note("macros", *(f"{name}={self.getsymval(name)}" for name in ("j", "{daemon_name}", "{client_addr}")))
        return Milter.CONTINUE

    def hello(self, name):
        self.note("helo", name)
        return Milter.REJECT if name.startswith("reject") else Milter.CONTINUE

    def envfrom(self, path, *parameters):
        self.orders = []
        self.octets = 0
        self.note("mail", path, *parameters)
        self.note("macros", f"i={self.getsymval('i')}")
        if path.startswith("<later"):
            return Milter.TEMPFAIL
        return Milter.ACCEPT if path.startswith("<accept") else Milter.CONTINUE

    def envrcpt(self, path, *parameters):
        self.note("rcpt", path, f"{{rcpt_addr}}={self.getsymval('{rcpt_addr}')}")
        if path.startswith("<deny"):
            self.setreply("550", "5.7.1", "not this one")
            return Milter.REJECT
        return Milter.CONTINUE

    def data(self):
        self.note("data")
        return Milter.CONTINUE

    def header(self, name, value):
        self.note("header", f"{name}:{value!r}")
        if name == "X-Do":
            self.orders.append(value)
        return Milter.REJECT if value == "reject at header" else Milter.CONTINUE

    def eoh(self):
        self.note("eoh")
        return Milter.DISCARD if "discard at eoh" in self.orders else Milter.CONTINUE

    def body(self, chunk):
        self.octets += len(chunk)
        if "skip" in self.orders:
            self.note("body", self.octets)
            return Milter.SKIP
        return Milter.CONTINUE

    def eom(self):
        self.note("eom", self.octets)
        for order in self.orders:
            word, _, argument = order.partition(" ")
            act = getattr(self, "do_" + word, None)
            answer = act(argument) if act else None
            if answer is not None:
                return answer
        return Milter.CONTINUE

    def abort(self):
        self.note("abort")
        return Milter.CONTINUE

    def close(self):
        self.note("close")
        return Milter.CONTINUE

    # -- what fields ask for

    def do_add(self, argument):
        name, _, value = argument.partition("=")
        self.addheader(name, value.replace("|", "\n\t"))

    def do_insert(self, argument):
        place, name, value = argument.split("=")
        self.addheader(name, value, int(place))

    def do_change(self, argument):
        name, place, value = argument.split("=")
        self.chgheader(name, int(place), value)

    def do_body(self, argument):
        for _ in range(int(argument)):
            self.replacebody("A new line of the body.\r\n.begins with a dot\r\n" * 1000)

    def do_quarantine(self, argument):
        self.quarantine(argument)

    def do_progress(self, _):
        for _ in range(5):
            self.progress()

    def do_reply(self, argument):
        code, enhanced, text = argument.split(" ", 2)
        self.setreply(code, enhanced, text)
        return Milter.REJECT if code[0] == "5" else Milter.TEMPFAIL

    def do_accept(self, _):
        return Milter.ACCEPT

    def do_discard(self, _):
        return Milter.DISCARD

    def do_recipient(self, argument):
        try:
            self.addrcpt(argument)
            self.note("addrcpt was possible")
        except Exception as error:      # libmilter forbids what was not negotiated
            self.note("addrcpt", type(error).__name__)


def main():
    Filter.seen = open(sys.argv[2], "a", encoding="utf-8")
    Milter.factory = Filter
    # What it would like is everything; what it gets is what the MTA offers.
    Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.QUARANTINE)
    Milter.runmilter("filter", f"inet:{sys.argv[1]}@127.0.0.1", 60)


main()
