"""A filter on libmilter, for the system tests: python3 filter.py PORT FILE [quiet].

What it is told goes to FILE, a line for each call. What it does is asked for by fields of the message:
"X-Do: WORD ARGUMENT"; by local parts: reject-helo.example as HELO, deny@ as a recipient, and so on; and by
FILE.say, one line "STAGE WORD": the filter's word at that stage. A quiet one does without some stages, answers others
not at all, and names the macros that it wants.
"""

import sys

import Milter


WORDS = {"reject": Milter.REJECT, "tempfail": Milter.TEMPFAIL, "discard": Milter.DISCARD, "accept": Milter.ACCEPT}


def told_to_say(stage):
    """What FILE.say has for this stage; CONTINUE if nothing."""
    try:
        with open(sys.argv[2] + ".say", encoding="ascii") as orders:
            where, word = orders.read().split()
    except (OSError, ValueError):
        return Milter.CONTINUE
    return WORDS[word] if where == stage else Milter.CONTINUE


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
        return told_to_say("connect")

    def hello(self, name):
        self.note("helo", name)
        return Milter.REJECT if name.startswith("reject") else told_to_say("helo")

    def envfrom(self, path, *parameters):
        self.orders = []
        self.octets = 0
        self.note("mail", path, *parameters)
        self.note("macros", f"i={self.getsymval('i')}")
        if path.startswith("<later"):
            return Milter.TEMPFAIL
        return Milter.ACCEPT if path.startswith("<accept") else told_to_say("mail")

    def envrcpt(self, path, *parameters):
        self.note("rcpt", path, f"{{rcpt_addr}}={self.getsymval('{rcpt_addr}')}")
        if path.startswith("<deny"):
            self.setreply("550", "5.7.1", "not this one")
            return Milter.REJECT
        return told_to_say("rcpt")

    def data(self):
        self.note("data")
        return told_to_say("data")

    def header(self, name, value):
        self.note("header", f"{name}:{value!r}")
        if name == "X-Do":
            self.orders.append(value)
        return Milter.REJECT if value == "reject at header" else told_to_say("header")

    def eoh(self):
        self.note("eoh")
        return Milter.DISCARD if "discard at eoh" in self.orders else told_to_say("eoh")

    def body(self, chunk):
        self.octets += len(chunk)
        if "skip" in self.orders:
            self.note("body", self.octets)
            return Milter.SKIP
        return told_to_say("body")

    def eom(self):
        self.note("eom", self.octets)
        for order in self.orders:
            word, _, argument = order.partition(" ")
            act = getattr(self, "do_" + word, None)
            answer = act(argument) if act else None
            if answer is not None:
                return answer
        return told_to_say("end")

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


class Quiet(Filter):
    """HELO and DATA are not for it, fields and body it only listens to."""

    @Milter.nocallback
    def hello(self, name):
        return super().hello(name)

    @Milter.nocallback
    def data(self):
        return super().data()

    def negotiate(self, opts):
        answer = super().negotiate(opts)
        # python3-milter's own way to name macros passes bytes where its C part takes text
        self._ctx.setsymlist(Milter.M_ENVFROM, "i {client_port}")
        return answer

    def envfrom(self, path, *parameters):
        answer = super().envfrom(path, *parameters)
        self.note("symlist", f"port={self.getsymval('{client_port}')}", f"host={self.getsymval('{mail_host}')}")
        return answer

    @Milter.noreply
    def header(self, name, value):
        super().header(name, value)
        return Milter.CONTINUE

    @Milter.noreply
    def eoh(self):
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk):
        self.octets += len(chunk)
        return Milter.CONTINUE


def main():
    Filter.seen = open(sys.argv[2], "a", encoding="utf-8")
    Milter.factory = Quiet if sys.argv[3:] == ["quiet"] else Filter
    # What it would like is everything; what it gets is what the MTA offers.
    Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.QUARANTINE | Milter.SETSYMLIST)
    Milter.runmilter("filter", f"inet:{sys.argv[1]}@127.0.0.1", 60)


main()
