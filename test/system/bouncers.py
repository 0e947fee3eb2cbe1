"""Who returns mail: real servers, and the forms of those that cannot be had here.

A bouncer is a context manager with a url, where mail is sent to, and returned(), which waits for what it says about the
message and gives that as octets with CRLF. The forms are those that their makers publish or are known by: structure and
field names are theirs, the sentences that they explain themselves with are ours. They are filled in from the message that was
really sent.
"""

import base64
import contextlib
import re

from fakes import FakeBackend
from mta import CLIENT_DOMAIN, DovecotLmtp, EximClient, OpenSmtpdClient, PostfixClient, SendmailClient
from sending import DEAD, MOVED



def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text)


# ---- real servers ------------------------------------------------------------------------


class RealBouncer:
    """A mail server whose next hop refuses the recipient; its bounces are in a Maildir, or go to that next hop."""

    kinds = ("dsn",)
    returns = True     # the header section of the message
    foreign = False    # whom it names is nobody that the message was sent to
    notify = ""        # what the sender asks for

    def __init__(self, server):
        self.server, self.name = server, server.name
        self.refuser, self.remote, self.stack = FakeBackend(), None, contextlib.ExitStack()

    def __enter__(self):
        self.stack.enter_context(self.refuser)
        for address in (DEAD, MOVED):
            self.refuser.recipients[address] = "550 5.1.1 no such user"
        self.remote = self.start()
        return self

    def start(self):
        return self.stack.enter_context(self.server(self.refuser.port))

    def __exit__(self, *why):
        return self.stack.__exit__(*why)

    @property
    def url(self):
        return self.remote.url

    def returned(self):
        if hasattr(self.remote, "wait_bounce"):
            return crlf(self.remote.wait_bounce())
        [mail] = self.refuser.wait_for(1)
        assert mail.sender == "", mail
        return mail.octets


class Delay(RealBouncer):
    """Postfix, which cannot deliver yet and says so."""

    kinds = ("delay",)

    def __init__(self):
        super().__init__(PostfixClient)
        self.name = "delay"

    def start(self):
        for address in (DEAD, MOVED):
            self.refuser.recipients[address] = "451 4.2.0 try later"
        return self.stack.enter_context(PostfixClient(self.refuser.port, delay_warning_time="1s"))


class Success(RealBouncer):
    """Postfix, asked to report, whose next hop cannot."""

    kinds = ("success",)
    notify = "SUCCESS"

    def __init__(self):
        super().__init__(PostfixClient)
        self.name, self.refuser = "success", FakeBackend(extensions=["PIPELINING"])

    def start(self):
        self.refuser.recipients.clear()
        return super().start()


SIEVE = {"vacation": 'require "vacation";\nvacation :days 1 :subject "Away" "I am away until Monday.";\n',
         "reject": 'require "reject";\nreject "I do not want this.";\n'}


class Sieve(RealBouncer):
    """Dovecot, whose user has a script that answers."""

    def __init__(self, action, kinds):
        super().__init__(DovecotLmtp)
        self.name, self.action, self.kinds = f"sieve-{action}", action, kinds
        self.returns = action == "reject"

    def start(self):
        user, domain = DEAD.split("@")
        return self.stack.enter_context(DovecotLmtp(users=(user,), domain=domain, sieve={user: SIEVE[self.action]},
                                                    submission=self.refuser.port))


class Forwarder(RealBouncer):
    """Dovecot, whose user forwards his mail, and Postfix, which cannot deliver it there: who failed is nobody we wrote to."""

    foreign = True

    def __init__(self):
        super().__init__(PostfixClient)
        self.name, self.forwarder = "forwarder", None

    def start(self):
        postfix = self.stack.enter_context(PostfixClient(self.refuser.port))
        user, domain = DEAD.split("@")
        self.forwarder = self.stack.enter_context(DovecotLmtp(
            users=(user,), domain=domain, sieve={user: f'redirect "{MOVED}";\n'}, submission=postfix.port))
        return postfix

    @property
    def url(self):
        return self.forwarder.url


# ---- forms -------------------------------------------------------------------------------


class Form:
    """A server that took the message, and writes its notice by a function of the message as it arrived."""

    foreign, notify = False, ""

    def __init__(self, write, kinds=("dsn",), returns=True):
        self.write, self.kinds, self.returns = write, kinds, returns
        self.name = write.__name__
        self.site = FakeBackend()

    def __enter__(self):
        self.site.__enter__()
        return self

    def __exit__(self, *why):
        return self.site.__exit__(*why)

    @property
    def url(self):
        return self.site.url

    def returned(self):
        [mail] = self.site.wait_for(1)
        return crlf(self.write(Sent(mail)).encode("utf-8"))


class Sent:
    """What a form is filled in with."""

    def __init__(self, mail):
        self.sender, [self.recipient] = mail.sender, mail.recipients
        self.text = mail.octets.decode("utf-8").replace("\r\n", "\n")
        self.header = self.text.split("\n\n", 1)[0] + "\n"
        self.id = self.field("Message-ID")
        self.subject = self.field("Subject")

    def field(self, name):
        return re.search(f"^{name}: (.*)$", self.header, re.MULTILINE | re.IGNORECASE).group(1)


def qmail(sent):
    """bounce-QSBMF: "Hi. This is", a paragraph for each recipient, the message below a line."""
    return f"""\
Received: (qmail 4711 invoked for bounce); 23 Nov 2026 00:00:09 -0000
Date: 23 Nov 2026 00:00:09 -0000
From: MAILER-DAEMON@mx.remote.example
To: {sent.sender}
Subject: failure notice

Hi. This is the qmail-send program at mx.remote.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{sent.recipient}>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <{sent.sender}>
Received: (qmail 4710 invoked from network); 23 Nov 2026 00:00:08 -0000
{sent.text}"""


def exchange(sent):
    """Exchange 2007 and later on the site's own machines: alternative texts, delivery-status, the message."""
    return f"""\
From: <postmaster@remote.example>
To: <{sent.sender}>
Date: Mon, 23 Nov 2026 00:00:09 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="9B095B5ADSN=_01D9C6E5A8B0C3D400000001mx.remote.examp"
X-DSNContext: 335a7efd - 4457 - 00000001 - 80040546
Message-ID: <9bXyZ0001@mx.remote.example>
In-Reply-To: {sent.id}
References: {sent.id}
Subject: Undeliverable: {sent.subject}

This is a MIME-formatted message.
Portions of this message may be unreadable without a MIME-capable mail program.

--9B095B5ADSN=_01D9C6E5A8B0C3D400000001mx.remote.examp
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="inner"

--inner
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Nobody here has the address {sent.recipient.replace("=", "=3D")}. Please look it up and try again.

Diagnostic information for administrators:

Generating server: mx.remote.example

{sent.recipient.replace("=", "=3D")}
#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##

--inner
Content-Type: text/html; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

<html><body><p>Nobody here has the address <a href=3D"mailto:{sent.recipient}">{sent.recipient}</a>.</p></body></html>

--inner--

--9B095B5ADSN=_01D9C6E5A8B0C3D400000001mx.remote.examp
Content-Type: message/delivery-status

Reporting-MTA: dns;mx.remote.example
Received-From-MTA: dns;mail.{CLIENT_DOMAIN}
Arrival-Date: Mon, 23 Nov 2026 00:00:08 +0000

Original-Recipient: rfc822;{sent.recipient}
Final-Recipient: rfc822;{sent.recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp;550 5.1.1 RESOLVER.ADR.RecipNotFound; not found
X-Display-Name: {sent.recipient}

--9B095B5ADSN=_01D9C6E5A8B0C3D400000001mx.remote.examp
Content-Type: message/rfc822

{sent.text}
--9B095B5ADSN=_01D9C6E5A8B0C3D400000001mx.remote.examp--
"""


def exchange_55(sent):
    """Exchange 5.5 and its Internet Mail Connector: a letter, and nothing of the message but its subject."""
    return f"""\
From: System Administrator <postmaster@remote.example>
To: {sent.sender}
Subject: Undeliverable: {sent.subject}
Date: Mon, 23 Nov 2026 00:00:09 -0000
MIME-Version: 1.0
X-MS-Embedded-Report:
Content-Type: text/plain; charset="iso-8859-1"

Your message

  To:      {sent.recipient}
  Subject: {sent.subject}
  Sent:    Mon, 23 Nov 2026 00:00:08 -0000

did not reach the following recipient(s):

{sent.recipient} on Mon, 23 Nov 2026 00:00:09 -0000
    The recipient name is not recognized
    MSEXCH:IMS:Remote:Site:MX 0 (000C05A6) Unknown Recipient
"""


def office365(sent):
    """Exchange Online: as Exchange, with its own fields, and the header section alone."""
    return f"""\
From: <postmaster@remote.example>
To: <{sent.sender}>
Date: Mon, 23 Nov 2026 00:00:09 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-GB
Message-ID: <6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001@AM0PR01MB0001.eurprd01.prod.exchangelabs.com>
In-Reply-To: {sent.id}
References: {sent.id}
Subject: Undeliverable: {sent.subject}
Auto-Submitted: auto-replied

--6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="inner"

--inner
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

{base64_of(f"Your message to {sent.recipient} couldn't be delivered.")}
--inner
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: base64

{base64_of(f"<html><body><p>Your message to <b>{sent.recipient}</b> couldn't be delivered.</p></body></html>")}
--inner--

--6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01MB0001.eurprd01.prod.outlook.com
Received-From-MTA: dns;mail.{CLIENT_DOMAIN}
Arrival-Date: Mon, 23 Nov 2026 00:00:08 +0000

Final-Recipient: rfc822;{sent.recipient}
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; {sent.recipient} not found by SMTP address lookup

--6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001
Content-Type: text/rfc822-headers

Received: from AM0PR01CA0001.eurprd01.prod.exchangelabs.com (2603:10a6:208::1)
 by AM0PR01MB0001.eurprd01.prod.outlook.com (2603:10a6:208::2); Mon, 23 Nov 2026 00:00:08 +0000
{sent.header}X-EOPAttributedMessage: 0

--6e7a2d44-6d6f-4c83-a9b9-6f9c8a3d0001--
"""


def gmail(sent):
    """Gmail: texts related to a picture, its own field for the Message-ID, and the message with its body cut."""
    return f"""\
Date: Mon, 23 Nov 2026 00:00:09 +0000 (UTC)
To: {sent.sender}
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
Content-Type: multipart/report; boundary="000000000000a1"; report-type=delivery-status
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
In-Reply-To: {sent.id}
References: {sent.id}
Message-ID: <6743a1.050a0220.1a2b3c.GMR@mx.google.com>
X-Failed-Recipients: {sent.recipient}
MIME-Version: 1.0

--000000000000a1
Content-Type: multipart/related; boundary="000000000000a2"

--000000000000a2
Content-Type: multipart/alternative; boundary="000000000000a3"

--000000000000a3
Content-Type: text/plain; charset="UTF-8"


** Address not found **

Your message wasn't delivered to {sent.recipient} because the address couldn't be found.

The response was:
550 5.1.1 <{sent.recipient}>: no such user

--000000000000a3
Content-Type: text/html; charset="UTF-8"

<html><body><h2>Address not found</h2><p>Your message wasn't delivered to <b>{sent.recipient}</b>.</p></body></html>

--000000000000a3--
--000000000000a2
Content-Type: image/png; name="icon.png"
Content-Disposition: attachment; filename="icon.png"
Content-Transfer-Encoding: base64
Content-ID: <icon.png>

iVBORw0KGgo=
--000000000000a2--
--000000000000a1
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Received-From-MTA: dns; {sent.sender}
Arrival-Date: Mon, 23 Nov 2026 00:00:08 +0000 (UTC)
X-Original-Message-ID: {sent.id}

Final-Recipient: rfc822; {sent.recipient}
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.remote.example. (192.0.2.25, the server for the domain remote.example.)
Diagnostic-Code: smtp; 550 5.1.1 <{sent.recipient}>: no such user
Last-Attempt-Date: Mon, 23 Nov 2026 00:00:09 +0000 (UTC)

--000000000000a1
Content-Type: message/rfc822

{sent.header}
----- Message truncated -----

--000000000000a1--
"""


def base64_of(text):
    return base64.encodebytes(text.encode("utf-8")).decode("ascii")


def bouncers():
    """All of them, each to be entered."""
    real = [RealBouncer(server) for server in (PostfixClient, EximClient, OpenSmtpdClient, SendmailClient)]
    forms = [Form(qmail, ("bounce",)), Form(exchange), Form(exchange_55, ("bounce",), returns=False), Form(office365),
             Form(gmail)]
    return [*real, *forms, Forwarder(), Delay(), Success(), Sieve("vacation", ("auto-reply",)), Sieve("reject", ("mdn",))]
