"""Every peer of the system tests under one roof: `from peers import ...`.

process.py  ports, deadlines, processes, the Peer base class
mta.py      real mail servers: Postfix, Exim, OpenSMTPD, Sendmail, Dovecot LMTP
clients.py  SMTP clients (a plain dialogue, swaks, smtp-source), HAProxy, smtp-sink
fakes.py    a mail server with bad manners, a DNS server under our thumb
spurn.py    Spurn itself
"""

# pylint: disable=unused-import
from clients import (Closed, HaproxyProxy, Reply, Smtp, SmtpSink, dot_stuffed, keywords, message, program,
                     proxy_v1, proxy_v2, smtp_source, swaks)
from fakes import (Bytewise, CLOSE, DROP, DnsServer, FakeBackend, Later, PUBLIC, REFUSED, RESET, SERVFAIL, STALL)
from mta import (CLIENT_DOMAIN, DOMAIN, DovecotLmtp, EximBackend, EximClient, OpenSmtpdBackend, OpenSmtpdClient,
                 PostfixBackend, PostfixClient, SendmailClient, USERS, make_certificate)
from process import (Child, Missing, Peer, REPOSITORY, SLOW, free_port, listens, never_within, wait_until)
from spurn import BUILD, Spurn
