"""The site's own servers that write automatic answers: Postfix and Exim with mailboxes that fail late, Exim's autoreply, Dovecot with
Sieve, vacation(1). What they send to the world goes to 127.0.0.1:out, where Spurn's outbound listener is."""

import os
import shutil
import stat
import tempfile

from mta import DovecotLmtp, EXIM_ACL_BACKEND, Exim, PostfixBackend, peer_root
from process import run


class PostfixSite(PostfixBackend):
    """alice has a mailbox; dead@ is an alias whose target does not exist, so that Postfix finds out after its 250."""

    def __init__(self, domain, out):
        super().__init__(users=("alice",), domain=domain, relayhost=f"[127.0.0.1]:{out}", smtp_dns_support_level="disabled",
                         virtual_alias_maps=f"inline:{{{{dead@{domain} = gone@{domain}}}}}", smtp_host_lookup="native",
                         minimal_backoff_time="1s", maximal_backoff_time="2s", queue_run_delay="1s",
                         default_process_limit="20")


EXIM_ROUTERS = """\
dead:
  driver = redirect
  domains = +local_domains
  local_parts = dead
  no_verify
  allow_fail
  data = :fail: the mailbox is gone
away:
  driver = accept
  domains = +local_domains
  local_parts = {away}
  {condition}
  no_verify
  unseen
  transport = away
local:
  driver = accept
  domains = +local_domains
  local_parts = lsearch;{{home}}/users
  transport = maildir
out:
  driver = manualroute
  domains = ! +local_domains
  route_list = * 127.0.0.1 byname
  self = send
  transport = relayhost
"""

# The header fields that RFC 3834 wants are Exim's own doing. headers: fields beside them.
EXIM_AWAY = """\
away:
  driver = autoreply
  from = $local_part@$domain
  to = {to}
  subject = Away
  text = I am away.\\n
  {more}
begin retry
"""


class EximSite(Exim):
    """alice has a mailbox; dead@ is accepted and then fails; `away` users answer by machine.

    polite: as Exim's manual has it (nothing to machines and null senders, once to each); else to all and sundry, at the address in
    From.
    """

    def __init__(self, domain, out, away="away", polite=True):
        super().__init__()
        self.domain, self.out, self.away, self.polite = domain, out, away, polite

    def start(self):
        condition = "senders = ! :\n  condition = ${{if def:h_Auto-Submitted:{{no}}{{yes}}}}" if self.polite else ""
        away = EXIM_AWAY.format(to="$sender_address" if self.polite else "${address:$h_From:}",
                                more="once = " + self.inside("spool", "once") + "\n  user = Debian-exim" if self.polite else "")
        conf = self.exim_conf(hostname=f"exim.{self.domain}", domain=self.domain, relay=self.out,
                              acl_rcpt=EXIM_ACL_BACKEND.replace("domains = +local_domains", "hosts = 127.0.0.1"),
                              routers=EXIM_ROUTERS.format(away=self.away, condition=condition))
        conf = conf.replace("begin retry\n", away, 1)
        users = dict.fromkeys(["alice", "dead", *self.away.split(" : ")])
        self.start_exim(conf, "".join(f"{user}: {user}\n" for user in users), "-q1s")


SIEVE = {
    "vacation": 'require "vacation";\nvacation :days 7 :subject "Away" "I am away.";\n',
    "reject": 'require "reject";\nreject "I do not want that.";\n',
}


def dovecot_sieve(domain, out):
    """vacation@ and reject@ have the scripts of those names. Notices go to 127.0.0.1:out."""
    return DovecotLmtp(users=("alice", *SIEVE), domain=domain, sieve=SIEVE, submission=out)


# What vacation(1) runs to send its answer: keeps it, for want of a mail server in that root.
KEEP = """\
#!/bin/sh
echo "$*" >/tmp/words
while IFS= read -r line; do printf '%s\\n' "$line"; done >/tmp/answer
"""


def vacation_reply(user, message):
    """What vacation(1) answers to a message (bytes) for a user, with the file that its manual page proposes: bytes."""
    root = peer_root("vacation")
    home = tempfile.mkdtemp(prefix="home-", dir=os.path.join(root, "tmp"))
    inside = home[len(root):]
    sendmail = os.path.join(root, "usr/sbin/sendmail")
    os.makedirs(os.path.dirname(sendmail), exist_ok=True)
    with open(sendmail, "w", encoding="ascii") as file:
        file.write(KEEP.replace("/tmp/", inside + "/"))
    os.chmod(sendmail, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    with open(os.path.join(home, "message"), "w", encoding="ascii") as file:
        file.write("Subject: away from my mail\nPrecedence: bulk\n\nI am away.\n")
    command = ["chroot", root, "/usr/bin/vacation", "-f", inside + "/db", "-m", inside + "/message"]
    done = run([*command, "-I", "root"])
    assert done.returncode == 0, done.stderr
    done = run([*command, "-a", user, "root"], message.replace(b"\r\n", b"\n"))
    assert done.returncode == 0, done.stderr
    with open(os.path.join(home, "answer"), "rb") as file:
        answer = file.read()
    shutil.rmtree(home)
    return answer
