"""Real mail servers as peers: Postfix, Exim, OpenSMTPD, Sendmail, Dovecot LMTP.

Backends take mail for DOMAIN: the users named exist, everybody else does not, and what arrives
lies in a Maildir per user. Clients are whole MTAs with a queue which send everything to one
relay host, try again every second or so, and deliver the bounces they write to a Maildir.

`tools/install-deps test` unpacks those which dpkg would not have beside each other into roots
of their own; they run there after chroot(8). Whoever is missing raises Missing with that hint.
"""

import grp
import os
import pwd
import smtplib
import subprocess
import tempfile
import time

from process import (Child, Missing, PEER_ROOTS, Peer, SLOW, free_port, maildir_messages,
                     read_text, run, wait_until)

DOMAIN = "example.org"
USERS = ("alice", "bob", "carol")
CLIENT_DOMAIN = "client.example.net"  # of the senders whose mail the client MTAs hold

# Users in the roots of unpacked peers, see furnish() in tools/install-deps.
VMAIL = 26100
DEBIAN_EXIM = 26101
POSTFIX = 26106
POSTDROP = 26107
NOBODY = 65534

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def peer_root(name):
    """The directory of an unpacked peer."""
    root = os.path.join(PEER_ROOTS, name)
    if not os.path.exists(os.path.join(root, ".layout")):
        raise Missing(f"{name} is not there: run tools/install-deps test")
    return root


class Mta(Peer):
    """A mail server below some root: "/" where it is installed, else that of an unpacked peer."""

    package = None  # the name of the unpacked root

    def __init__(self):
        super().__init__()
        self.port = free_port()
        self.root = self.find_root()

    @property
    def url(self):
        """As a configuration names it."""
        return f"smtp://127.0.0.1:{self.port}"

    def find_root(self):
        return peer_root(self.package)

    def make_directory(self):
        if self.root == "/":
            return super().make_directory()
        os.makedirs(os.path.join(self.root, "run"), exist_ok=True)
        return tempfile.mkdtemp(prefix=f"{self.name}-", dir=os.path.join(self.root, "run"))

    def inside(self, *parts):
        """A path in our directory as the mail server sees it."""
        path = self.path(*parts)
        return path if self.root == "/" else path[len(self.root.rstrip("/")):]

    def command(self, *words):
        """A command line that runs below the root."""
        return list(words) if self.root == "/" else ["chroot", self.root, *words]

    def mkdir(self, path, owner=0, mode=0o755, group=None):
        path = self.path(path)
        os.makedirs(path, exist_ok=True)
        os.chown(path, owner, owner if group is None else group)
        os.chmod(path, mode)

    def mailbox(self, user):
        """The Maildir of a user."""
        return self.path("mail", user)

    def messages(self, user):
        """What was delivered to a user: list of bytes, oldest first, lines ending in LF."""
        return maildir_messages(self.mailbox(user))

    def all_messages(self):
        mail = self.path("mail")
        users = sorted(os.listdir(mail)) if os.path.isdir(mail) else []
        return [message for user in users for message in self.messages(user)]

    def wait_for(self, count, timeout=15.0):
        """Waits until so many messages have been delivered in all, and returns them."""
        wait_until(lambda: len(self.all_messages()) >= count, timeout,
                   f"delivery of {count} message(s) by {self.name}")
        return self.all_messages()

    def log(self):
        """What the server has logged so far."""
        return read_text(self.path("log", "main.log"))

    def logs(self):
        logs = super().logs()
        logs["log"] = self.log()
        return logs


class ClientMta:
    """What clients with a queue have in common; they come with queue(), flush() and bounces()."""

    def until(self, condition, timeout=30.0, what="what was waited for"):
        """wait_until() with the queue flushed now and then: a queue manager may let a message lie a while."""
        flushed = time.monotonic()

        def check():
            nonlocal flushed
            if time.monotonic() - flushed > 3:
                self.flush()
                flushed = time.monotonic()
            return condition()
        return wait_until(check, timeout, what)

    def wait_bounce(self, timeout=30.0):
        """Waits for the first bounce and returns it."""
        self.until(self.bounces, timeout, f"a bounce written by {self.name}")
        return self.bounces()[0]

    def wait_empty(self, timeout=30.0):
        """Waits until everything has been delivered or bounced."""
        def is_empty():
            # A message that goes from one queue to another while they are listed is in neither.
            return not self.queue() and not time.sleep(0.3) and not self.queue()

        self.until(is_empty, timeout, f"an empty queue of {self.name}")


def submit(port, sender, recipients, message):
    """Hands a message to a client MTA over SMTP, octet by octet as it is."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost", timeout=20 * SLOW) as smtp:
        refused = smtp.sendmail(sender, recipients, message)
        assert not refused, refused


# ---- Postfix -----------------------------------------------------------------------------

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {home}/log/main.log
maillog_file_prefixes = {home}/log
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
local_header_rewrite_clients =
biff = no
notify_classes =
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_recipient_restrictions = {restrictions}
smtpd_tls_security_level = none
smtp_tls_security_level = none
mailbox_size_limit = 0
virtual_mailbox_limit = 0
message_size_limit = 52428800
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = {maps}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
"""

POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
postlog   unix-dgram n  - n - 1 postlogd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
"""

POSTFIX_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                  "private", "saved", "trace")


class Postfix(Mta):
    """What the Postfix backend and the Postfix client share."""

    name = package = "postfix"
    hostname = "postfix.example.org"
    restrictions = "reject_unauth_destination"
    domain = DOMAIN

    def __init__(self, **settings):
        super().__init__()
        self.settings = settings

    def find_root(self):
        return "/" if os.path.exists("/usr/lib/postfix/sbin/master") else peer_root("postfix")

    def ids(self):
        """(postfix, postdrop) as numbers."""
        if self.root != "/":
            return POSTFIX, POSTDROP
        return pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postdrop").gr_gid

    def maps(self):
        """virtual_mailbox_maps of this instance."""
        raise NotImplementedError

    def start(self):
        owner, group = self.ids()
        self.mkdir("mail", NOBODY)
        self.mkdir("log")
        self.mkdir("data", owner)
        self.mkdir("queue")
        for queue in POSTFIX_QUEUES:
            self.mkdir(f"queue/{queue}", owner, 0o700)
        self.mkdir("queue/pid")
        self.mkdir("queue/maildrop", owner, 0o1730, group)
        self.mkdir("queue/public", owner, 0o2710, group)
        for name, text in (("main.cf", self.main_cf()), ("master.cf", POSTFIX_MASTER.format(port=self.port))):
            os.utime(self.write(name, text), (0, 0))  # Postfix waits until a fresh file is a second old
        self.child = Child(self.command("/usr/lib/postfix/sbin/master", "-c", self.inside()),
                           self.path("output"), env={"MAIL_CONFIG": self.inside(), "PATH": PATH})
        self.await_listening(("127.0.0.1", self.port))

    def main_cf(self):
        text = POSTFIX_MAIN.format(home=self.inside(), hostname=self.hostname, domain=self.domain,
                                   restrictions=self.restrictions, maps=self.maps())
        return text + "".join(f"{key} = {value}\n" for key, value in self.settings.items())

    def postfix_command(self, *words):
        done = run(self.command(words[0], "-c", self.inside(), *words[1:]),
                   env={"MAIL_CONFIG": self.inside(), "PATH": PATH})
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace")


class PostfixBackend(Postfix):
    """Postfix as the site's mail server. Unknown users: 550 5.1.1.

    xforward, xclient: 127.0.0.1 may speak for its clients. tls: (certificate, key) files.
    Further keywords are main.cf settings, e.g. message_size_limit=20000.
    """

    def __init__(self, users=USERS, domain=DOMAIN, xforward=True, xclient=False, tls=None, **settings):
        if xforward:
            settings.setdefault("smtpd_authorized_xforward_hosts", "127.0.0.1")
        if xclient:
            settings.setdefault("smtpd_authorized_xclient_hosts", "127.0.0.1")
        if tls is not None:
            settings.update(smtpd_tls_security_level="may", smtpd_tls_cert_file=tls[0],
                            smtpd_tls_key_file=tls[1], smtpd_tls_loglevel="1")
        super().__init__(**settings)
        self.users, self.domain = users, domain

    def maps(self):
        entries = ", ".join(f"{{{user}@{self.domain} = {user}/}}" for user in self.users)
        return f"inline:{{{entries}}}"


class PostfixClient(ClientMta, Postfix):
    """Postfix as a sender's MTA: everything goes to 127.0.0.1:relay, bounces to a Maildir.

    Deferred mail is tried again after a second. Further keywords are main.cf settings.
    """

    name = "postfix-client"
    hostname = "postfix.client.example.net"
    domain = CLIENT_DOMAIN
    restrictions = "permit_mynetworks, reject"

    def __init__(self, relay, **settings):
        retry = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s",
                 "smtp_connect_timeout": "5s", "relayhost": f"[127.0.0.1]:{relay}",
                 "smtp_address_preference": "ipv4", "smtpd_reject_unlisted_recipient": "no",
                 "smtp_host_lookup": "native"}
        super().__init__(**{**retry, **settings})

    def maps(self):
        return "static:bounces/"

    def send(self, sender, recipients, message):
        """Queues a message; Postfix delivers it when it likes, which is at once."""
        submit(self.port, sender, recipients, message)

    def bounces(self):
        """What came back to senders of CLIENT_DOMAIN."""
        return self.messages("bounces")

    def queue(self):
        """The queue as postqueue(1) -j prints it, a line for each message; no line: empty."""
        return self.postfix_command("/usr/sbin/postqueue", "-j").splitlines()

    def flush(self):
        """Tries all deferred mail now."""
        self.postfix_command("/usr/sbin/postqueue", "-f")


# ---- Exim --------------------------------------------------------------------------------

EXIM_MAIN = """\
primary_hostname = {hostname}
qualify_domain = {domain}
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
spool_directory = {home}/spool
log_file_path = {home}/log/%s.log
pid_file_path = {home}/exim.pid
log_selector = +smtp_confirmation +all_parents +deliver_time
domainlist local_domains = {domain}
disable_ipv6 = true
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
deliver_drop_privilege = true
tls_advertise_hosts =
smtputf8_advertise_hosts = *
prdr_enable = true
smtp_accept_max = 200
recipients_max = 1000
bounce_return_size_limit = 100K
message_size_limit = 50M
{options}
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data

begin acl
acl_rcpt:
{acl_rcpt}
acl_data:
  accept

begin routers
{routers}
begin transports
maildir:
  driver = appendfile
  directory = {home}/mail/$local_part_data
  maildir_format
  create_directory
  user = Debian-exim
relayhost:
  driver = smtp
  port = {relay}
  allow_localhost
  hosts_try_fastopen =
  hosts_avoid_tls = {avoid_tls}
  tls_verify_certificates =
  connect_timeout = 5s
  final_timeout = {final_timeout}
  connection_max_messages = {per_connection}

begin retry
* * F,1h,1s

begin rewrite
begin authenticators
"""

EXIM_LOCAL = """\
local:
  driver = accept
  domains = +local_domains
  local_parts = lsearch;{home}/users
  transport = maildir
"""

EXIM_RELAY = """\
local:
  driver = accept
  domains = +local_domains
  local_parts = lsearch*;{home}/users
  transport = maildir
relay:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = relayhost
"""

EXIM_ACL_BACKEND = """\
  require message = relay not permitted
          domains = +local_domains
  require verify = recipient
  accept
"""


class Exim(Mta):
    """What the Exim backend and the Exim client share."""

    name = package = "exim"

    def exim_conf(self, **values):
        defaults = {"home": self.inside(), "port": self.port, "relay": 25, "options": "",
                    "avoid_tls": "*", "per_connection": 500, "final_timeout": "60s"}
        values = {**defaults, **values}
        values["routers"] = values["routers"].format(home=self.inside())
        return EXIM_MAIN.format(**values)

    def start_exim(self, conf, users, *arguments):
        for part in ("spool", "mail", "log"):
            self.mkdir(part, DEBIAN_EXIM)
        self.write("users", users)
        self.write("exim.conf", conf)
        self.child = Child(self.command("/usr/sbin/exim4", "-C", self.inside("exim.conf"), "-bdf", *arguments),
                           self.path("output"), env={"PATH": PATH})
        self.await_listening(("127.0.0.1", self.port))

    def exim(self, *words):
        done = run(self.command("/usr/sbin/exim4", "-C", self.inside("exim.conf"), *words),
                   env={"PATH": PATH})
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace")

    def logs(self):
        logs = super().logs()
        logs["reject log"] = read_text(self.path("log", "reject.log"))
        logs["panic log"] = read_text(self.path("log", "panic.log"))
        return logs


class EximBackend(Exim):
    """Exim as the site's mail server; `options` are lines for the main section, `acls` further ACLs."""

    def __init__(self, users=USERS, domain=DOMAIN, options="", acls=""):
        super().__init__()
        self.users, self.domain, self.options, self.acls = users, domain, options, acls

    def start(self):
        conf = self.exim_conf(hostname="exim.example.org", domain=self.domain, options=self.options,
                              acl_rcpt=EXIM_ACL_BACKEND + self.acls, routers=EXIM_LOCAL)
        self.start_exim(conf, "".join(f"{user}: {user}\n" for user in self.users))


class EximClient(ClientMta, Exim):
    """Exim as a sender's MTA: everything goes to 127.0.0.1:relay, bounces to a Maildir."""

    name = "exim-client"
    package = "exim"

    def __init__(self, relay, tls=False, per_connection=500, options="", final_timeout="60s"):
        super().__init__()
        self.relay, self.tls, self.options = relay, tls, options
        self.per_connection, self.final_timeout = per_connection, final_timeout

    def start(self):
        conf = self.exim_conf(hostname="exim.client.example.net", domain=CLIENT_DOMAIN, relay=self.relay,
                              acl_rcpt="  accept\n", routers=EXIM_RELAY, options=self.options,
                              avoid_tls="" if self.tls else "*", per_connection=self.per_connection,
                              final_timeout=self.final_timeout)
        self.start_exim(conf, "*: bounces\n", "-q1s")

    def send(self, sender, recipients, message):
        """Queues a message; Exim delivers it at once and then every second."""
        submit(self.port, sender, recipients, message)

    def bounces(self):
        """What came back to senders of CLIENT_DOMAIN."""
        return self.messages("bounces")

    def queue(self):
        """The ids of queued messages."""
        files = [name for _, _, names in os.walk(self.path("spool", "input")) for name in names]
        return [name[:-2] for name in files if name.endswith("-H")]

    def flush(self):
        """Tries all queued mail now, frozen or not."""
        self.exim("-qff")


# ---- OpenSMTPD ---------------------------------------------------------------------------

OPENSMTPD_CONF = """\
table users {{ {users} }}
table addresses {{ {addresses} }}
smtp max-message-size {size}
listen on 127.0.0.1 port {port} hostname "opensmtpd.example.org"
action "deliver" maildir "/var/vmail/%{{rcpt.user}}" virtual <users>
match from any for domain "{domain}" rcpt-to <addresses> action "deliver"
"""


class OpenSmtpdBackend(Mta):
    """OpenSMTPD as the site's mail server. Its spool has a fixed place: each has a root of its own."""

    name = package = "opensmtpd"

    def __init__(self, users=USERS, domain=DOMAIN, size="50M"):
        super().__init__()
        self.users, self.domain, self.size = users, domain, size

    def make_directory(self):
        template = self.root
        self.root = tempfile.mkdtemp(prefix=".run-opensmtpd-", dir=PEER_ROOTS)
        subprocess.run(["cp", "-al", template + "/.", self.root], check=True)
        return self.root

    def mailbox(self, user):
        return self.path("var", "vmail", user)

    def all_messages(self):
        return [message for user in self.users for message in self.messages(user)]

    def start(self):
        self.mkdir("var/run")
        self.mkdir("var/spool/smtpd", 0, 0o711)
        self.mkdir("var/vmail", VMAIL)
        users = ", ".join(f'"{user}@{self.domain}" = "vmail"' for user in self.users)
        addresses = ", ".join(f'"{user}@{self.domain}"' for user in self.users)
        conf = OPENSMTPD_CONF.format(users=users, addresses=addresses, domain=self.domain,
                                     size=self.size, port=self.port)
        os.unlink(self.path("etc", "smtpd.conf"))  # a link to the template's file
        self.write("etc/smtpd.conf", conf, mode=0o600)
        self.child = Child(self.command("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"),
                           self.path("output"), env={"PATH": PATH})
        self.await_listening(("127.0.0.1", self.port))

    def log(self):
        return self.child.text() if self.child else ""

    def logs(self):
        return {"log": self.log()}


class OpenSmtpdClient(ClientMta, Mta):
    """OpenSMTPD as another site's server: everything goes to 127.0.0.1:relay, bounces to a Maildir."""

    name = "opensmtpd-client"
    package = "opensmtpd"

    def __init__(self, relay):
        super().__init__()
        self.relay = relay

    make_directory = OpenSmtpdBackend.make_directory

    def mailbox(self, user):
        return self.path("var", "vmail", user)

    def start(self):
        self.mkdir("var/run")
        self.mkdir("var/spool/smtpd", 0, 0o711)
        self.mkdir("var/vmail", VMAIL)
        conf = (f'table users {{ "@" = "vmail" }}\nlisten on 127.0.0.1 port {self.port} hostname "mx.remote.example"\n'
                'action "local" maildir "/var/vmail/bounces" virtual <users>\n'
                f'action "out" relay host smtp://127.0.0.1:{self.relay}\n'
                f'match from any for domain "{CLIENT_DOMAIN}" action "local"\nmatch from any for any action "out"\n')
        os.unlink(self.path("etc", "smtpd.conf"))
        self.write("etc/smtpd.conf", conf, mode=0o600)
        self.child = Child(self.command("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"), self.path("output"),
                           env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.await_listening(("127.0.0.1", self.port))

    def bounces(self):
        return self.messages("bounces")

    def queue(self):
        return []

    def flush(self):
        pass

    def log(self):
        return self.child.text() if self.child else ""

    def logs(self):
        return {"log": self.log()}


# ---- Sendmail ----------------------------------------------------------------------------

SENDMAIL_MC = """\
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
undefine(`ALIAS_FILE')dnl
undefine(`HELP_FILE')dnl
undefine(`STATUS_FILE')dnl
define(`QUEUE_DIR', `{home}/queue')dnl
define(`confPID_FILE', `{home}/sendmail.pid')dnl
define(`confDOMAIN_NAME', `sendmail.remote.example')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/switch')dnl
define(`confDEF_USER_ID', `{vmail}:{vmail}')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupReadableKeyFile,AssumeSafeChown')dnl
define(`confMAX_RUNNERS_PER_QUEUE', `2')dnl
define(`confTO_IDENT', `0s')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confTO_QUEUEWARN', `')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {relay}')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port={port}')dnl
MAILER(`smtp')dnl
"""


class SendmailClient(Mta):
    """Sendmail as another site's server: everything, its bounces too, goes to 127.0.0.1:relay."""

    name = package = "sendmail"

    def __init__(self, relay):
        super().__init__()
        self.relay = relay

    def start(self):
        self.mkdir("queue", 0, 0o700)
        self.write("switch", "hosts files\naliases files\npasswd files\n")
        self.write("sendmail.mc", SENDMAIL_MC.format(home=self.inside(), port=self.port, relay=self.relay, vmail=VMAIL))
        made = run(self.command("/usr/bin/m4", "-D_CF_DIR_=/usr/share/sendmail/cf/", self.inside("sendmail.mc")),
                   env={"PATH": PATH})
        assert made.returncode == 0, made.stderr.decode(errors="replace")
        self.write("sendmail.cf", made.stdout.decode())
        self.child = Child(self.command("/usr/libexec/sendmail/sendmail", "-bD", "-q1s", "-X", self.inside("traffic"),
                                        "-C", self.inside("sendmail.cf")), self.path("output"), env={"PATH": PATH})
        self.await_listening(("127.0.0.1", self.port))

    def logs(self):
        return {**super().logs(), "traffic": read_text(self.path("traffic"))}


# ---- Dovecot -----------------------------------------------------------------------------

DOVECOT_CONF = """\
protocols = lmtp
listen = 127.0.0.1
base_dir = {home}/base
state_dir = {home}/state
log_path = {home}/log/main.log
ssl = no
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:{home}/mail/%n
mail_plugins = quota {plugins}
hostname = dovecot.example.org
postmaster_address = postmaster@{domain}
lmtp_rcpt_check_quota = {at_rcpt}
quota_full_tempfail = {tempfail}
submission_host = 127.0.0.1:{submission}
plugin {{
  quota = maildir:User
  sieve = file:{home}/sieve/%n.sieve
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {home}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {home}/lmtp.sock {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-reader {{
  }}
  unix_listener stats-writer {{
  }}
}}
"""


class DovecotLmtp(Mta):
    """Dovecot's LMTP server on TCP (port) and a Unix socket (socket).

    Users in `full` have no room left: Dovecot says so after the dot, or at RCPT with
    quota_at_rcpt; with 552 5.2.2, or with 452 4.2.2 where quota_tempfail is set.
    sieve: {user: script}; what the scripts send goes to 127.0.0.1:submission.
    """

    name = package = "dovecot"

    def __init__(self, users=USERS, full=(), domain=DOMAIN, quota_at_rcpt=False, quota_tempfail=False, sieve=None,
                 submission=25):
        super().__init__()
        self.users, self.full, self.domain = (*users, *full), full, domain
        self.sieve, self.submission = sieve or {}, submission
        self.at_rcpt, self.tempfail = quota_at_rcpt, quota_tempfail

    @property
    def url(self):
        return f"lmtp://127.0.0.1:{self.port}"

    @property
    def socket_url(self):
        return f"lmtp+unix:{self.socket}"

    @property
    def socket(self):
        """Path of the Unix socket, as a client outside the root sees it."""
        return self.path("lmtp.sock")

    def user_line(self, user):
        room = "10B" if user in self.full else "1G"
        return f"{user}@{self.domain}::{VMAIL}:{VMAIL}::{self.inside('mail', user)}::userdb_quota_rule=*:storage={room}\n"

    def make_room(self, user):
        """The mailbox takes mail again."""
        self.full = [name for name in self.full if name != user]
        self.write_users()
        time.sleep(1.1)  # Dovecot looks at the file once a second

    def write_users(self):
        self.write("users", "".join(self.user_line(user) for user in dict.fromkeys((*self.users, *self.full))))

    def fill_mailboxes(self):
        """At RCPT Dovecot looks at what is there already: more than the quota."""
        for user in self.full:
            for part in ("", "/cur", "/new", "/tmp"):
                self.mkdir(f"mail/{user}{part}", VMAIL)
            self.write(f"mail/{user}/cur/1.M1.host,S=30:2,", "Subject: enough\n\nOlder mail.\n", owner=VMAIL)

    def stop(self):
        if self.child is not None:
            self.child.kill()  # SIGTERM makes it wait a second for its children; they are in our session, too

    def start(self):
        self.mkdir("mail", VMAIL)
        self.mkdir("log")
        self.write_users()
        if self.at_rcpt:
            self.fill_mailboxes()
        for user, script in self.sieve.items():
            self.write(f"sieve/{user}.sieve", script, owner=VMAIL)
        if self.sieve:
            self.mkdir("sieve", VMAIL)
        conf = DOVECOT_CONF.format(home=self.inside(), port=self.port, domain=self.domain,
                                   plugins="sieve" if self.sieve else "", submission=self.submission,
                                   at_rcpt="yes" if self.at_rcpt else "no",
                                   tempfail="yes" if self.tempfail else "no")
        self.write("dovecot.conf", conf)
        self.child = Child(self.command("/usr/sbin/dovecot", "-F", "-c", self.inside("dovecot.conf")),
                           self.path("output"), env={"PATH": PATH})
        self.await_listening(("127.0.0.1", self.port), self.socket)


def make_certificate(directory, name="mx.example.org"):
    """A self-signed certificate for tests: (certificate, key) files."""
    certificate, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    done = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "7", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                "-keyout", key, "-out", certificate])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    os.chmod(key, 0o644)  # read by servers that have dropped root
    os.chmod(directory, 0o755)
    return certificate, key
