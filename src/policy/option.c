/*
 * The table of options, and the manual made from it.
 *
 * One row a key: adding a key means adding a row here and, for the kinds that
 * are more than a value, a reader in config_*.c. Blocks of later features join as
 * further rows.
 */
#include "policy/option.h"
#include "policy/config.h"

#include <stdio.h>

#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define SITE(field) FIELD(config, field)
#define LISTENER(field) FIELD(listener_conf, field)
#define BACKEND(field) FIELD(backend, field)
#define DIRECTORY(field) FIELD(directory_conf, field)
#define NO_FIELD 0, 0
#define NONE 0, 0
#define CUSTOM OPTION_CUSTOM
#define SINGLE OPTION_SINGLE

const struct option_block option_blocks[] = {
	{ "", NULL, "Directives outside any block." },
	{ "listener", "inbound | outbound [NAME]", "Where Spurn listens. inbound takes mail from the Internet for the domains named; outbound takes mail of the site's own servers (allow names them) and relays it to next-hop. A second listener of the same kind needs a NAME; records show it." },
	{ "resolver", NULL, "How names are looked up. Without this block Spurn recurses itself and needs no resolver on the machine." },
	{ "clients", NULL, "Local lists of client addresses. The first of trust, allow, deny that names a client holds." },
	{ "senders", NULL, "Local lists of sender addresses: user@domain, @domain, @.domain for its sub-domains, user@ for any domain." },
	{ "dnsbl", "ZONE", "A DNS list. Its weight is added to a client's score; a negative weight makes it an allow list. Only answers inside the ranges given count. Each zone is tested at start and hourly as RFC 5782 section 5 says and switched off while it fails." },
	{ "domain", "NAME", "A domain of this site: its backend and the sources that know its mailboxes." },
	{ "directory", "NAME", "A user database that tells whether a mailbox exists: one of ldap, sql and socketmap. LDAP and SQL are asked by a process of their own, which alone reads the password and is started when there is one of them. Whatever goes wrong with a directory (no connection, no time left, a wrong password, TLS, a limit of the server) makes an address unknown, never absent." },
	{ "check", "NAME", "A check and its mode; inside a domain block, the mode for that domain. NAME is client (local lists), rdns (reverse name), helo, dnsbl, sender (local lists), sender-domain, spf, dkim, arc, dmarc, recipient, rate, greylist, notice (what kind of automatic answer a message is, and the outbound guard), bounce (what a notice proves) or content (scanners and rules). All are enforced unless said otherwise, except rdns and helo, which only observe (nobody is refused for them), bounce, which observes until you say otherwise, and greylist, which is off." },
	{ "check recipient", NULL, "What the check recipient takes besides its mode." },
	{ "check bounce", NULL, "What the check bounce takes besides its mode. It observes unless said otherwise: what a domain's bounces block says bites with mode enforce." },
	{ "keys", NULL, "The keys under which mail that leaves is marked, so that its bounces can be told from those of strangers. See spurn keys in spurn(1). A directory for root or Spurn's user alone; the same files on every node of a site. Read anew at a reload." },
	{ "bounces", NULL, "In a domain block: what notices for its addresses lead to, by what they prove about the message that they claim to answer. proven: it left here, and for the failed recipient. plausible: it left here, for somebody else (aliases, forwarders and lists do that; a few times per message), or all that is known is that the addressee has written to that domain lately. unproven: no proof. refuted: a tag or mark under a key of this site is false, far too old or shown too often. This is about bounces, delay and success reports; other notices get their Spurn-Notice field and no more. accept and mark let in, mark with a Spurn-Mark field besides." },
	{ "check rate", NULL, "What the check rate takes besides its mode: how much mail there may be, counted over all workers, by four keys; no limit unless set. What is over is put off with 451 and comes again. Clients on allow or trust are not counted." },
	{ "check greylist", NULL, "What the check greylist takes besides its mode, which is off unless set. The first message of a sender is put off with 451 after the end of the data. A sender is known by the domain that it proves (SPF or DKIM pass), else by its /24 or /64 and the domain of the reverse-path. Never for the null reverse-path, nor for clients and senders on lists." },
	{ "check notice", NULL, "What the check notice takes besides its mode. It is the outbound guard: an automatic answer of the site's own servers and users (bounce, vacation reply, virus notice, report, complaint) leaves through the outbound listener only if it answers a message that came in here and goes to an address that was proven for it, by SPF or by an aligned DKIM signature, found here or by a trust-sealer. It needs an outbound listener on the same node, and knows only what came in through that node: where mail also comes in elsewhere (another MX, a domain that is hosted by somebody else), set it to observe, or answers to that mail are destroyed. In a domain block the mode is that of what the domain's own people send (by the reverse-path; under a null one, by From), stricter or looser than the site's; what comes in is remembered all the same." },
	{ "check spf", NULL, "What the check spf (RFC 7208) takes besides its mode: what its results lead to. A fail is spoken at RCPT only if the domain says that it never sends (\"v=spf1 -all\"); otherwise at the end of the data, where an aligned DKIM signature, a DMARC pass, a trusted forwarder or a trusted sealer overrules it. mark adds a Spurn-Mark field. Clients on allow are never refused for SPF, those on trust are not asked about, and the HELO identity, which stands in for a null reverse-path, is marked at most." },
	{ "scanner", "NAME", "Who looks into messages before they are accepted: clamd, spamd, or a filter that speaks the milter protocol (version 6; a filter may refuse, defer, add, change and remove fields, replace the body and ask for quarantine; it may not change sender or recipients, and what it would discard is refused). A bounce that proves itself (check bounce) gets a mark instead of a refusal, unless it carries a virus. All scanners of a message are asked in parallel under the one deadline. Larger than size-limit, skip-clients and skip-recipients: not asked, and recorded so." },
	{ "check dkim", NULL, "What the check dkim (RFC 6376, RFC 8301, RFC 8463) takes besides its mode. Nobody is refused for a signature that does not verify: such a message is as good as one without it. What the signatures prove is used by other checks and stands in the records." },
	{ "sign", "DOMAIN", "A key that signs mail of the outbound listeners (DKIM, RFC 6376) whose one author, in From, is at DOMAIN itself; other mail is never signed. Several blocks for a domain put a signature each: RSA (2048 bits) for everybody, Ed25519 besides. Header and body are signed as they leave, canonicalisation relaxed, with From, Subject and the like signed against additions. spurn check --live says whether DNS has the public half, and if not, what to publish." },
	{ "content-rules", NULL, "Rules of the site's own about what is in a message, in all of its parts and in messages enclosed in it (a bounce returns one). Each rule that hits adds its weight once; the sum refuses or marks, as the check content. Nothing is unpacked and nothing is asked." },
	{ "check dmarc", NULL, "What the check dmarc (RFC 7489) takes besides its mode: what the policy of the author's domain leads to when neither SPF nor a DKIM signature is aligned with it. Mail of a client on trust, and mail for which a trusted sealer vouches (check arc), is let in all the same, and the record says so; clients on allow, and bounces that prove themselves, get a mark instead of a refusal. Trouble of DNS is 4xx only where a good answer could have spared a refusal. Nobody is ever sent a report." },
	{ "check arc", NULL, "What the check arc (RFC 8617) takes besides its mode. Nobody is refused for a broken chain; a good one whose sealers are trusted overrules DMARC and SPF." },
	{ "store", "lmdb", "Where state is kept: an embedded store under state-dir (the default). \"store lmdb;\" alone is enough." },
};
const size_t option_block_count = sizeof(option_blocks) / sizeof(option_blocks[0]);

const struct option options[] = {
	/* block, name, type, choices, least, most, default, argument, help, offset */
	{ "", "hostname", OPTION_WORD, NULL, NONE, NULL, "NAME", "The name Spurn gives itself: in the greeting, in EHLO to backends, in trace fields. Required.", SITE(hostname) },
	{ "", "state-dir", OPTION_PATH, NULL, NONE, "/var/lib/spurn", "DIRECTORY", "Store, journal, spool files and the control socket.", SITE(state_dir) },
	{ "", "user", OPTION_WORD, NULL, NONE, "spurn", "NAME", "Whom spurnd becomes when it is started as root, before it parses anything else.", SITE(user) },
	{ "", "workers", OPTION_COUNT_NUMBER, NULL, 0, 64, "0", "N", "Worker processes; 0: one per core.", SITE(workers) },
	{ "", "mode", OPTION_CHOICE, "off|observe|enforce", NONE, "enforce", "MODE", "The mode of the whole site. observe records what would have been refused and refuses nothing by judgement. Broken protocol, limits, and recipients that their backend refuses are refused in any mode.", SITE(mode) },
	{ "", "help-url", OPTION_URL, NULL, NONE, NULL, "URL", "Put into refusals, with the reference behind it.", SITE(help_url) },
	{ "", "srs-secret", SINGLE, NULL, NONE, NULL, "FILE", "Secrets of the site's sender rewriting (SRS), one a line, as postsrsd has them: bounces to SRS0 and SRS1 addresses of the site are then proved or refuted by their hash. Nobody but its owner may write the file, and not everybody may read it.", NO_FIELD },
	{ "", "log", OPTION_CHOICE, "stderr|syslog", NONE, "stderr", "WHERE", "Where the operator's log goes when spurnd runs in the background; in the foreground it is standard error.", SITE(log_syslog) },
	{ "", "dnsbl-threshold", OPTION_INTEGER, NULL, 1, 1000, "3", "SCORE", "A client is refused when the weights of the lists that name it reach this.", SITE(dnsbl.threshold) },
	{ "", "dnsbl-timeout", OPTION_DURATION, NULL, NS_PER_MS, 60 * NS_PER_SECOND, "5s", "DURATION", "All DNS list questions of one moment together; what has not answered by then is unknown.", SITE(dnsbl.timeout) },
	{ "", "answer-budget", OPTION_DURATION, NULL, NS_PER_SECOND, 1800 * NS_PER_SECOND, "8m", "DURATION", "The one deadline of the answer to the final dot. Keep it under the 10 minutes of RFC 5321 section 4.5.3.2.6.", SITE(answer_budget) },
	{ "", "rcpt-budget", OPTION_DURATION, NULL, NS_PER_SECOND, 300 * NS_PER_SECOND, "60s", "DURATION", "The deadline of the answer to RCPT.", SITE(rcpt_budget) },
	{ "", "hold-backend", OPTION_DURATION, NULL, 0, 300 * NS_PER_SECOND, "2s", "DURATION", "So long a backend transaction waits for the body, and again for the checks of the message (scanners); then it is reset, and replayed when the message may go.", SITE(hold_backend) },
	{ "", "hold-octets", OPTION_SIZE, NULL, 0, UINT32_MAX, "64k", "SIZE", "A body that is longer lets go of the backend transaction, too.", SITE(hold_bytes) },
	{ "", "spool-memory", OPTION_SIZE, NULL, 65536, INT64_C(1) << 40, "4M", "SIZE", "A message is kept in memory up to this size, beyond it in an unlinked file.", SITE(spool_memory) },
	{ "", "spool-memory-total", OPTION_SIZE, NULL, 65536, INT64_C(1) << 40, "256M", "SIZE", "All messages of one worker in memory.", SITE(spool_memory_total) },
	{ "", "commit-retention", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, 60 * 86400 * NS_PER_SECOND, "72h", "DURATION", "How long the commit ledger remembers a delivery whose sender may not have heard of it.", SITE(commit_retention) },
	{ "", "journal-segment", OPTION_SIZE, NULL, 65536, INT64_C(1) << 40, "64M", "SIZE", "Size of a journal file before the next is begun.", SITE(journal_segment) },
	{ "", "journal-keep", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, INT64_MAX, "90d", "DURATION", "Journal files older than this are deleted.", SITE(journal_keep) },
	{ "", "journal-detail", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, INT64_MAX, "14d", "DURATION", "Records older than this are rewritten with hashed addresses and shortened IP addresses.", SITE(journal_detail) },
	{ "", "watchdog", OPTION_DURATION, NULL, NS_PER_SECOND, 3600 * NS_PER_SECOND, "30s", "DURATION", "A worker whose loop has not turned for so long is replaced.", SITE(watchdog) },

	{ "", "directory-serve", CUSTOM, NULL, NONE, NULL, "ADDRESS:PORT | unix:/path ...", "Where other programs may ask the ldap and sql directories of this configuration, in the socketmap protocol and by their names: Postfix reads one as socketmap:inet:127.0.0.1:PORT:NAME. Whoever reaches it may ask. Changed at the next start only.", NO_FIELD },

	{ "listener", "address", CUSTOM, NULL, NONE, NULL, "ADDRESS:PORT ...", "Addresses to listen on; [ADDRESS]:PORT for IPv6. Required.", NO_FIELD },
	{ "listener", "tls-certificate", OPTION_PATH, NULL, NONE, NULL, "FILE", "Certificate chain in PEM; with tls-key it makes STARTTLS available. Watched, and swapped when it changes.", LISTENER(tls_certificate) },
	{ "listener", "tls-key", OPTION_PATH, NULL, NONE, NULL, "FILE", "Private key in PEM, readable by the user that Spurn runs as.", LISTENER(tls_key) },
	{ "listener", "proxy-from", CUSTOM, NULL, NONE, NULL, "PREFIX ...", "Load balancers that must send a PROXY header, version 1 or 2. From others it is not understood.", NO_FIELD },
	{ "listener", "broken-peers", CUSTOM, NULL, NONE, NULL, "PREFIX ...", "Devices known to send bare line feeds: theirs are repaired, all others' are refused.", NO_FIELD },
	{ "listener", "allow", CUSTOM, NULL, NONE, NULL, "PREFIX ...", "Who may connect; everybody else is refused. Required for outbound.", NO_FIELD },
	{ "listener", "next-hop", SINGLE, NULL, NONE, NULL, "URL ...", "outbound: where mail goes.", NO_FIELD },
	{ "listener", "content", SINGLE, NULL, NONE, NULL, "NAME ... | none", "outbound: which scanners see the site's own mail; none if not given.", NO_FIELD },
	{ "listener", "tag", OPTION_CHOICE, "off|on", NONE, "on", "on|off", "outbound: whether senders are tagged on this way.", LISTENER(tag) },
	{ "listener", "no-tag-to", CUSTOM, NULL, NONE, NULL, "ADDRESS ... | file FILE", "outbound: recipients (user@domain, @domain, @.domain) for whom senders are not tagged: lists and services that know their members by the reverse-path.", NO_FIELD },
	{ "listener", "greet-wait", OPTION_DURATION, NULL, 0, 60 * NS_PER_SECOND, "2s", "DURATION", "Silence before the greeting. Who talks in it is refused; DNS lists are asked in it. 0s: none.", LISTENER(greet_wait) },
	{ "listener", "max-sessions", OPTION_COUNT_NUMBER, NULL, 1, 10000000, "100k", "N", "Sessions at one time, over all workers.", LISTENER(max_sessions) },
	{ "listener", "max-sessions-per-client", OPTION_COUNT_NUMBER, NULL, 0, 1000000, "50", "N", "Sessions at one time of one /32 or /64; 0: no limit.", LISTENER(max_sessions_per_client) },
	{ "listener", "connection-rate", OPTION_RATE, NULL, NONE, "1200/1m", "N/DURATION", "Connections of one /32 or /64; 0: no limit.", LISTENER(connection_rate) },
	{ "listener", "size-limit", OPTION_SIZE, NULL, 0, INT64_C(1) << 40, "50M", "SIZE", "Largest message; 0: no limit of ours. A backend's own limit holds besides.", LISTENER(size_limit) },
	{ "listener", "header-limit", OPTION_SIZE, NULL, 4096, 64 * 1024 * 1024, "256k", "SIZE", "Largest header section.", LISTENER(header_limit) },
	{ "listener", "max-fields", OPTION_COUNT_NUMBER, NULL, 100, 100000, "2k", "N", "Header fields of a message.", LISTENER(max_fields) },
	{ "listener", "max-hops", OPTION_COUNT_NUMBER, NULL, 10, 1000, "50", "N", "Received fields of a message; more is a loop.", LISTENER(max_hops) },
	{ "listener", "max-recipients", OPTION_COUNT_NUMBER, NULL, 1, 10000, "100", "N", "Recipients of a transaction; RFC 5321 section 4.5.3.1.8 wants at least 100.", LISTENER(max_recipients) },
	{ "listener", "max-commands", OPTION_COUNT_NUMBER, NULL, 10, 65000, "10k", "N", "Commands of a session.", LISTENER(max_commands) },
	{ "listener", "max-errors", OPTION_COUNT_NUMBER, NULL, 1, 10000, "20", "N", "Refused commands of a session.", LISTENER(max_errors) },
	{ "listener", "max-transactions", OPTION_COUNT_NUMBER, NULL, 1, 65000, "1k", "N", "Transactions of a session.", LISTENER(max_transactions) },
	{ "listener", "max-unknown-recipients", OPTION_COUNT_NUMBER, NULL, 1, 1000000, "10", "N", "Unknown recipients of a client, over its sessions, before it is told 421; the score halves every ten minutes. From half of it on, the client is answered from the cache alone.", LISTENER(max_unknown_recipients) },
	{ "listener", "line-limit", OPTION_SIZE, NULL, 512, 65536, "2k", "SIZE", "Longest command line.", LISTENER(line_limit) },
	{ "listener", "command-timeout", OPTION_DURATION, NULL, NS_PER_SECOND, 3600 * NS_PER_SECOND, "5m", "DURATION", "Silence between commands (RFC 5321 section 4.5.3.2.7).", LISTENER(command_timeout) },
	{ "listener", "data-timeout", OPTION_DURATION, NULL, NS_PER_SECOND, 3600 * NS_PER_SECOND, "3m", "DURATION", "Silence inside a message (RFC 5321 section 4.5.3.2.5).", LISTENER(data_timeout) },
	{ "listener", "min-data-rate", OPTION_COUNT_NUMBER, NULL, 0, 1000000, "100", "OCTETS", "Octets per second that a message must average after its first minute; 0: no minimum.", LISTENER(min_data_rate) },
	{ "listener", "error-delay", OPTION_DURATION, NULL, 0, 60 * NS_PER_SECOND, "1s", "DURATION", "Delay of the answer to the second unknown recipient; doubles with each further one.", LISTENER(error_delay) },
	{ "listener", "error-delay-max", OPTION_DURATION, NULL, 0, 300 * NS_PER_SECOND, "20s", "DURATION", "It grows no longer than this.", LISTENER(error_delay_max) },

	{ "resolver", "recurse", CUSTOM, NULL, NONE, NULL, "", "Resolve from the root (the default).", NO_FIELD },
	{ "resolver", "forward", CUSTOM, NULL, NONE, NULL, "ADDRESS[:PORT] ...", "Ask these resolvers instead. DNS lists refuse questions that come through public resolvers.", NO_FIELD },
	{ "resolver", "stub", CUSTOM, NULL, NONE, NULL, "ZONE ADDRESS[:PORT]", "The authoritative server of a zone that the public tree does not know.", NO_FIELD },
	{ "resolver", "zone-file", CUSTOM, NULL, NONE, NULL, "FILE", "Local answers from an RFC 1035 master file. At or below an SOA in it the file alone answers.", NO_FIELD },
	{ "resolver", "trust-anchor", OPTION_PATH, NULL, NONE, NULL, "FILE", "DNSSEC trust anchor; the root's is built in. \"\" switches validation off.", SITE(dns.trust_anchor_file) },
	{ "resolver", "timeout", OPTION_DURATION, NULL, 100 * NS_PER_MS, 60 * NS_PER_SECOND, "8s", "DURATION", "One question, at most.", SITE(dns.timeout) },
	{ "resolver", "cache-size", OPTION_SIZE, NULL, 65536, INT64_C(1) << 40, "32M", "SIZE", "Cache of each worker.", SITE(dns.cache_size) },

	{ "clients", "allow", CUSTOM, NULL, NONE, NULL, "PREFIX ... | file FILE", "Skips reputation checks; never recipient, bounce or virus checks.", NO_FIELD },
	{ "clients", "deny", CUSTOM, NULL, NONE, NULL, "PREFIX ... | file FILE", "Refused.", NO_FIELD },
	{ "clients", "trust", CUSTOM, NULL, NONE, NULL, "PREFIX ... | file FILE", "The site's own other MX and forwarders: no greet wait, no limits per client, content refusals become marks (a refusal would make them bounce).", NO_FIELD },

	{ "senders", "allow", CUSTOM, NULL, NONE, NULL, "ADDRESS ... | file FILE", "Skips reputation checks, unless SPF disowns the client (fail or softfail). A sender address is easily forged: prefer clients.", NO_FIELD },
	{ "senders", "deny", CUSTOM, NULL, NONE, NULL, "ADDRESS ... | file FILE", "Refused.", NO_FIELD },

	{ "dnsbl", "answers", CUSTOM, NULL, NONE, NULL, "ADDRESS | FIRST-LAST | PREFIX ...", "Answers that are listings; 127.0.0.2-127.0.0.255 if not given. 127.255.255.0/24 and all outside 127.0.0.0/8 are errors of the list, never listings.", NO_FIELD },
	{ "dnsbl", "weight", OPTION_INTEGER, NULL, -1000, 1000, "1", "N", "Added to the score.", FIELD(dnsbl_zone_conf, weight) },
	{ "dnsbl", "key", CUSTOM, NULL, NONE, NULL, "client sender-domain helo", "What is looked up: the client's address (the default), the domain of the reverse-path, the HELO name.", NO_FIELD },
	{ "dnsbl", "label", OPTION_WORD, NULL, NONE, NULL, "NAME", "How the list is called in records. A zone name with an access key in it is never shown.", FIELD(dnsbl_zone_conf, label) },

	{ "domain", "backend", CUSTOM, NULL, NONE, NULL, "URL ... [tls=verify|opportunistic|none]", "Delivery servers, in order of preference: smtp://HOST:PORT, lmtp://HOST:PORT, lmtp+unix:/path. Required.", NO_FIELD },
	{ "domain", "recipients", CUSTOM, NULL, NONE, NULL, "file FILE | directory NAME | callforward", "A source of recipients; several are asked in their order. A directory may also be named by its kind: ldap NAME, sql NAME, socketmap NAME. What none of them knows does not exist, unless one of them could not tell. Required.", NO_FIELD },
	{ "domain", "route", CUSTOM, NULL, NONE, NULL, "ADDRESS URL ... [tls=verify|opportunistic|none]", "Mail to this address goes to another backend; its sources and everything else are the domain's. May be repeated.", NO_FIELD },
	{ "domain", "alias", CUSTOM, NULL, NONE, NULL, "NAME ...", "Other names of this domain: an address under one of them is looked up, and passed on to the backend, under the domain's own name, as with @alias @domain in Postfix's virtual_alias_maps. For a domain that the backend knows under its own name write a domain block.", NO_FIELD },
	{ "domain", "sub-address", SINGLE, NULL, NONE, NULL, "CHARACTERS", "Characters that begin a sub-address, such as \"+\".", NO_FIELD },
	{ "domain", "shrink-guard", OPTION_COUNT_NUMBER, NULL, 0, 100, "20", "PERCENT", "A recipient file that lost more of its entries than this is refused and said aloud; 0: no guard.", NO_FIELD },
	{ "domain", "backend-connections", OPTION_COUNT_NUMBER, NULL, 1, 10000, "50", "N", "Connections to each host of the backend, per worker.", BACKEND(max_connections) },
	{ "domain", "backend-questions", OPTION_COUNT_NUMBER, NULL, 1, 10000, "10", "N", "Of these connections, how many may be busy with recipients that nothing is known of yet; further ones wait their turn, and when too many wait they are told 451. So a dictionary attack does not take the backend away from mail to those who exist.", BACKEND(questions) },
	{ "domain", "backend-keep", OPTION_DURATION, NULL, 0, 3600 * NS_PER_SECOND, "60s", "DURATION", "How long an unused connection is kept.", BACKEND(keep_idle) },
	{ "domain", "backend-ca", OPTION_PATH, NULL, NONE, NULL, "FILE", "Certificate authorities for tls=verify; the system's if not given.", BACKEND(ca_file) },
	{ "domain", "forward-client", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "Tell the backend who the client is (XFORWARD, XCLIENT) where it offers that.", BACKEND(forward_client) },
	{ "domain", "bounces", CUSTOM, NULL, NONE, NULL, "{ ... }", "What notices lead to; see bounces below.", NO_FIELD },
	{ "domain", "check", CUSTOM, NULL, NONE, NULL, "NAME { mode MODE; }", "The mode of a check for this domain; all else about a check holds for the whole site.", NO_FIELD },
	{ "domain", "content", SINGLE, NULL, NONE, NULL, "NAME ... | none", "Which scanners see this domain's mail; all if not given. Recipients of domains that want others come in a transaction of their own.", NO_FIELD },

	{ "directory", "ldap", CUSTOM, NULL, NONE, NULL, "URL ...", "LDAP servers, in order of preference: ldap://HOST[:PORT], ldaps://HOST[:PORT], ldapi://PATH (with %2F for each / of the path).", NO_FIELD },
	{ "directory", "sql", CUSTOM, NULL, NONE, NULL, "postgresql | mysql | sqlite CONNECTION", "A database. postgresql: a connection string of libpq (\"host=db.example.org dbname=mail user=spurn sslmode=verify-full\"); mysql (or mariadb): host=, port=, socket=, dbname=, user=, tls=none, require or verify, with blanks between; sqlite: the path of the file.", NO_FIELD },
	{ "directory", "socketmap", CUSTOM, NULL, NONE, NULL, "unix:/path | inet:ADDRESS:PORT MAP", "A map served by another program in the socketmap protocol of Postfix and Sendmail. It is asked for canonical addresses; OK means exists, NOTFOUND means does not, all else is no answer.", NO_FIELD },
	{ "directory", "base", OPTION_WORD, NULL, NONE, NULL, "DN", "ldap: where the search begins. Required there.", DIRECTORY(base) },
	{ "directory", "scope", OPTION_CHOICE, "base|one|sub", NONE, "sub", "SCOPE", "ldap: how deep it goes.", DIRECTORY(scope) },
	{ "directory", "bind-dn", OPTION_WORD, NULL, NONE, NULL, "DN", "ldap: as whom Spurn asks; anonymous if not given.", DIRECTORY(bind_dn) },
	{ "directory", "password-file", OPTION_PATH, NULL, NONE, NULL, "FILE", "ldap, sql: its first line is the password. Read at each new connection by the directory process; readable by the user that Spurn runs as, and nobody else.", DIRECTORY(password_file) },
	{ "directory", "starttls", OPTION_BOOL, NULL, NONE, "no", "yes|no", "ldap: TLS on an ldap:// connection, before anything else is said.", DIRECTORY(starttls) },
	{ "directory", "tls-verify", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "ldap: the server's certificate must be good for its name.", DIRECTORY(tls_verify) },
	{ "directory", "ca-file", OPTION_PATH, NULL, NONE, NULL, "FILE", "ldap, mysql: certificate authorities; the system's if not given.", DIRECTORY(ca_file) },
	{ "directory", "template", OPTION_CHOICE, "none|openldap|active-directory", NONE, "none", "NAME", "ldap: filters and attributes for a usual schema. openldap: mail, mailLocalAddress, mailAlternateAddress. active-directory: proxyAddresses (smtp: and SMTP:) and mail, of persons, groups and contacts, without disabled accounts, but with the shared mailboxes, rooms and equipment of Exchange, which are disabled by nature. What is given beside it holds instead.", DIRECTORY(template) },
	{ "directory", "filter", SINGLE, NULL, NONE, NULL, "\"(FILTER)\"", "ldap: finds an entry for an address: %s is the address, %u its local part, %d its domain, all in canonical form and escaped; %% a percent sign. An entry found means that the mailbox exists.", NO_FIELD },
	{ "directory", "list-filter", SINGLE, NULL, NONE, NULL, "\"(FILTER)\"", "ldap: finds all entries with addresses, for copy.", NO_FIELD },
	{ "directory", "attributes", SINGLE, NULL, NONE, NULL, "NAME ...", "ldap: the attributes that hold addresses, for copy; smtp: before an address is dropped, values of other types (SIP:, X500:) are passed over.", NO_FIELD },
	{ "directory", "query", SINGLE, NULL, NONE, NULL, "\"SELECT ...\"", "sql: gives a row if the mailbox exists and none if it does not: $1 is the address, $2 its local part, $3 its domain, in canonical form (lower case) and always as parameters. A first column that is NULL is no row; one that is 0, false or empty is no answer, since that can be meant either way. Required there.", NO_FIELD },
	{ "directory", "list-query", SINGLE, NULL, NONE, NULL, "\"SELECT ...\"", "sql: gives all addresses in its first column, for copy.", NO_FIELD },
	{ "directory", "timeout", OPTION_DURATION, NULL, 100 * NS_PER_MS, 60 * NS_PER_SECOND, "5s", "DURATION", "One question, with all it takes to be asked.", DIRECTORY(timeout) },
	{ "directory", "connections", OPTION_COUNT_NUMBER, NULL, 1, 64, "8", "N", "Questions at one time: of the directory process to the server, and of each worker.", DIRECTORY(connections) },
	{ "directory", "canary", SINGLE, NULL, NONE, NULL, "ADDRESS", "ldap, sql: an address that always exists. Each minute in which the directory denies one, it is asked for this one, too; if it does not know it, it has lost its data or our right to read them, and its \"no\" is no answer.", NO_FIELD },
	{ "directory", "copy", SINGLE, NULL, NONE, NULL, "FILE [every DURATION]", "ldap, sql: a file of all addresses that the directory lists, renewed on this schedule and by spurn recipient sync; whom it names still exists while the directory does not answer. It is swapped atomically.", NO_FIELD },
	{ "directory", "shrink-guard", OPTION_COUNT_NUMBER, NULL, 0, 100, "20", "PERCENT", "A copy that would lose more of its entries than this is refused and said aloud; 0: no guard.", DIRECTORY(shrink_guard) },

	{ "check", "mode", OPTION_CHOICE, "off|observe|enforce", NONE, NULL, "MODE", "off: not asked; observe: recorded as would=reject, changes nothing; enforce.", NO_FIELD },
	{ "check recipient", "positive", OPTION_DURATION, NULL, 60 * NS_PER_SECOND, INT64_MAX, "7d", "DURATION", "How long a known address stays known.", FIELD(recipient_conf, positive_ttl) },
	{ "check recipient", "refresh", OPTION_DURATION, NULL, 60 * NS_PER_SECOND, INT64_MAX, "1d", "DURATION", "After so long a live answer renews it.", FIELD(recipient_conf, refresh_after) },
	{ "check recipient", "fresh", OPTION_DURATION, NULL, 0, INT64_MAX, "10m", "DURATION", "Whom a directory knew so lately it is not asked for again. After that the address is still known, and the directory is asked again in the background, with nobody waiting.", FIELD(recipient_conf, fresh) },
	{ "check recipient", "stale-for", OPTION_DURATION, NULL, 0, INT64_MAX, "7d", "DURATION", "When a directory does not answer, whom it knew so lately still exists, if this is longer than positive. The message itself needs a live backend all the same.", FIELD(recipient_conf, stale_for) },
	{ "check recipient", "accept-all-test", OPTION_DURATION, NULL, 0, INT64_MAX, "1d", "DURATION", "How often a backend that is a source (callforward) is asked for an address that nobody has, to find out whether it takes everybody; 0s: never.", FIELD(recipient_conf, accept_all_test) },
	{ "check recipient", "negative", OPTION_DURATION, NULL, 0, 86400 * NS_PER_SECOND, "10m", "DURATION", "How long a backend's \"no such user\" is remembered.", FIELD(recipient_conf, negative_ttl) },
	{ "check recipient", "confirm", OPTION_DURATION, NULL, 0, 86400 * NS_PER_SECOND, "10m", "DURATION", "A known address that turns unknown is answered 450 until the no has lasted so long.", FIELD(recipient_conf, confirm_after) },

	{ "check bounce", "foreign-limit", OPTION_COUNT_NUMBER, NULL, 0, 100000, "10", "N", "Notices about one message that name a recipient it was not sent to; further ones are refuted.", FIELD(bounce_conf, foreign_limit) },
	{ "check bounce", "replay-limit", OPTION_COUNT_NUMBER, NULL, 1, 1000000, "50", "N", "Notices about one message, beside three for each of its recipients; further ones are refuted. A tag alone stands for a sender's mail of a day, and may be shown as often as all of that together; where another node sent it, as often as ten messages.", FIELD(bounce_conf, replay_limit) },

	{ "check bounce", "client-limit", OPTION_COUNT_NUMBER, NULL, 0, 1000000, "20", "N", "Bounces about mail that was not sent here, of one client network and of late (a count is halved in ten minutes). A client beyond it is a finding of its own in each of its transactions, and where a domain has wave tighten, it is treated as in a wave. 0: no limit.", FIELD(bounce_conf, client_limit) },
	{ "check bounce", "client-weight", OPTION_COUNT_NUMBER, NULL, 0, 1000, "1", "N", "What such a client weighs beside the weights of DNS lists, against dnsbl-threshold. With mode enforce.", FIELD(bounce_conf, client_weight) },

	{ "keys", "dir", OPTION_PATH, NULL, NONE, NULL, "DIRECTORY", "Where the key files NAME.key lie. Required.", SITE(keys_dir) },
	{ "keys", "lifetime", OPTION_DURATION, NULL, 86400 * NS_PER_SECOND, 90 * 86400 * NS_PER_SECOND, "14d", "DURATION", "So long tags and marks are good for, and the sent ledger remembers, in whole days. The longest time that a bounce takes: most servers give up after five days.", SITE(proof_life) },

	{ "bounces", "proven", OPTION_CHOICE, "accept|mark|reject", NONE, "accept", "ACTION", "We sent that.", FIELD(bounce_policy, proven) },
	{ "bounces", "plausible", OPTION_CHOICE, "accept|mark|reject", NONE, "accept", "ACTION", "We may have sent that.", FIELD(bounce_policy, plausible) },
	{ "bounces", "unproven", OPTION_CHOICE, "accept|mark|reject", NONE, "mark", "ACTION", "Nothing shows that we sent that. reject holds with enrolled yes; else it is mark.", FIELD(bounce_policy, unproven) },
	{ "bounces", "refuted", OPTION_CHOICE, "accept|mark|reject", NONE, "reject", "ACTION", "It claims a proof of ours and fails it.", FIELD(bounce_policy, refuted) },
	{ "bounces", "null-sender", OPTION_CHOICE, "accept|mark|reject", NONE, "mark", "ACTION", "Mail with a null reverse-path that is no notice, and neither SPF of its HELO nor a DKIM signature stands behind it.", FIELD(bounce_policy, null_sender) },
	{ "bounces", "enrolled", OPTION_CHOICE, "auto|yes", NONE, "auto", "auto|yes", "yes: the postmaster's word that all mail of the domain leaves through Spurn. auto: it is watched, and spurn status says when the domain is ready.", FIELD(bounce_policy, enrolled) },
	{ "bounces", "wave", OPTION_CHOICE, "watch|tighten", NONE, "watch", "watch|tighten", "When the notices about mail that was not sent here come far faster than is usual for an address or the domain, that is recorded and logged as an alert, and again when it is over; spurn status shows it meanwhile. tighten: while it lasts, and for a client beyond client-limit, unproven is reject (with enrolled yes).", FIELD(bounce_policy, wave_tightens) },
	{ "bounces", "tag", OPTION_CHOICE, "off|on", NONE, "on", "on|off", "Whether senders of the domain are tagged (prvs=KDDDHHHHHH=local@domain) when mail leaves. Without a tag, the Spurn-Sent field and the ledger prove alone.", FIELD(bounce_policy, tag) },
	{ "bounces", "never-sends", CUSTOM, NULL, NONE, NULL, "ADDRESS ... | file FILE", "Addresses that never send: with a null reverse-path they are refused at RCPT. Other servers' tests of the address fail then, too.", NO_FIELD },

	{ "check rate", "client", OPTION_RATE, NULL, NONE, "0", "N/DURATION", "Recipients named by one /32 or /64.", FIELD(rate_conf, client) },
	{ "check rate", "sender-domain", OPTION_RATE, NULL, NONE, "0", "N/DURATION", "Recipients named for one domain of the reverse-path.", FIELD(rate_conf, sender_domain) },
	{ "check rate", "recipient", OPTION_RATE, NULL, NONE, "0", "N/DURATION", "Messages to one recipient.", FIELD(rate_conf, recipient) },
	{ "check rate", "null-sender", OPTION_RATE, NULL, NONE, "0", "N/DURATION", "Messages with the null reverse-path to one recipient: in a wave of bounces he gets no more than this.", FIELD(rate_conf, null_sender) },
	{ "check greylist", "delay", OPTION_DURATION, NULL, 0, 86400 * NS_PER_SECOND, "5m", "DURATION", "A retry that comes sooner is put off, too.", FIELD(greylist_conf, delay) },
	{ "check greylist", "window", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, INT64_MAX, "1d", "DURATION", "A retry that comes later is a first contact again.", FIELD(greylist_conf, window) },
	{ "check greylist", "keep", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, INT64_MAX, "35d", "DURATION", "How long a sender that came back is known after its last message.", FIELD(greylist_conf, keep) },
	{ "check spf", "fail", OPTION_CHOICE, "accept|mark|reject", NONE, "reject", "ACTION", "The client may not send for the domain.", FIELD(spf_conf, fail) },
	{ "check spf", "softfail", OPTION_CHOICE, "accept|mark|reject", NONE, "mark", "ACTION", "It probably may not.", FIELD(spf_conf, softfail) },
	{ "check spf", "permerror", OPTION_CHOICE, "accept|mark|reject", NONE, "mark", "ACTION", "The record is broken, or asks for more than the ten look-ups of RFC 7208 section 4.6.4.", FIELD(spf_conf, permerror) },
	{ "check spf", "temperror", OPTION_CHOICE, "accept|mark|defer", NONE, "accept", "ACTION", "DNS was in trouble. A refusal for another reason that SPF could have overruled is a 4xx in any case.", FIELD(spf_conf, temperror) },

	{ "scanner", "clamd", CUSTOM, NULL, NONE, NULL, "unix:/path | inet:ADDRESS:PORT", "ClamAV's daemon. A message of more than 64k is sent to it while it arrives.", NO_FIELD },
	{ "scanner", "spamd", CUSTOM, NULL, NONE, NULL, "unix:/path | inet:ADDRESS:PORT", "SpamAssassin's daemon.", NO_FIELD },
	{ "scanner", "milter", CUSTOM, NULL, NONE, NULL, "unix:/path | inet:ADDRESS:PORT", "A filter: rspamd, amavis, OpenDKIM and the like. It is asked when the message is complete; what it says of client, HELO, sender and recipients is spoken then. If it refuses some of several recipients, each comes back in a transaction of its own.", NO_FIELD },
	{ "scanner", "budget", OPTION_DURATION, NULL, 100 * NS_PER_MS, 1800 * NS_PER_SECOND, "60s", "DURATION", "Its time, from the end of the message on; what has not answered by then is in trouble. Three quarters of answer-budget are the most.", FIELD(scanner_conf, budget) },
	{ "scanner", "on-error", OPTION_CHOICE, "defer|mark", NONE, "defer", "WHAT", "When it cannot be asked, or does not answer, or answers nonsense: defer says 451; mark accepts the message unscanned, with a header that says so.", FIELD(scanner_conf, on_error) },
	{ "scanner", "size-limit", SINGLE, NULL, NONE, NULL, "SIZE", "Larger messages are not shown to it; 0: no limit. Without it 25M for clamd (its own StreamMaxLength must not be smaller), 1M for spamd, no limit for a filter.", NO_FIELD },
	{ "scanner", "connections", OPTION_COUNT_NUMBER, NULL, 1, 10000, "20", "N", "Questions at one time, per worker; others wait their turn within their budget.", FIELD(scanner_conf, connections) },
	{ "scanner", "stream", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "clamd: send a long message while it arrives.", FIELD(scanner_conf, stream) },
	{ "scanner", "reject-score", OPTION_INTEGER, NULL, 1, 1000, "15", "POINTS", "spamd: refused from this score on.", FIELD(scanner_conf, reject_score) },
	{ "scanner", "mark-score", OPTION_INTEGER, NULL, 0, 1000, "0", "POINTS", "spamd: marked from this score on; 0: when the daemon calls it spam.", FIELD(scanner_conf, mark_score) },
	{ "scanner", "user", OPTION_WORD, NULL, NONE, NULL, "NAME", "spamd: whose preferences apply. Without it those of the recipient, where there is one.", FIELD(scanner_conf, user) },
	{ "scanner", "changes", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "milter: apply what it does to header and body. Fields that it adds stand on top, where no signature is touched, unless it names a place.", FIELD(scanner_conf, may_change) },
	{ "scanner", "finds", OPTION_CHOICE, "spam|viruses", NONE, "spam", "WHAT", "milter: what its refusals are about. postmaster@ and abuse@ are exempt from refusals for spam, not from those for viruses.", FIELD(scanner_conf, finds) },
	{ "scanner", "quarantine", OPTION_CHOICE, "reject|mark", NONE, "reject", "WHAT", "milter: what becomes of a message that it would quarantine. Nothing is ever held.", FIELD(scanner_conf, quarantine) },
	{ "scanner", "skip-clients", CUSTOM, NULL, NONE, NULL, "PREFIX ...", "Clients whose mail it is not shown.", NO_FIELD },
	{ "scanner", "skip-recipients", CUSTOM, NULL, NONE, NULL, "ADDRESS ...", "Recipients, as in senders, whose mail it is not shown if it is for them alone.", NO_FIELD },

	{ "check dkim", "max-signatures", OPTION_COUNT_NUMBER, NULL, 1, 50, "10", "N", "So many signatures of a message are looked at, from the top.", FIELD(dkim_conf, max_signatures) },
	{ "check dkim", "partial-body", OPTION_CHOICE, "pass|policy", NONE, "pass", "RESULT", "The result of a good signature that leaves octets at the end of the body unsigned (l=), where anybody may have added them. The record says so in either case.", FIELD(dkim_conf, partial_is_policy) },
	{ "check notice", "guard", OPTION_CHOICE, "destroy|refuse", NONE, "destroy", "ACTION", "What becomes of a notice that may not leave: destroy answers 250, records it and sends nothing; refuse answers 550.", FIELD(guard_conf, action) },
	{ "check notice", "keep", OPTION_DURATION, NULL, 3600 * NS_PER_SECOND, INT64_MAX, "14d", "DURATION", "How long it is remembered (as keyed hashes) what came in.", FIELD(guard_conf, keep) },
	{ "check notice", "warm-after", OPTION_DURATION, NULL, 0, INT64_MAX, "14d", "DURATION", "The guard only observes until this memory has been complete for so long, and again after a loss of the store.", FIELD(guard_conf, warm_after) },
	{ "check notice", "reply-once", OPTION_DURATION, NULL, 0, INT64_MAX, "7d", "DURATION", "One automatic reply per local user and correspondent in this time. Bounces, delay notices and receipts are not counted.", FIELD(guard_conf, reply_once) },
	{ "check notice", "reply-rate", OPTION_RATE, NULL, NONE, "20/1d", "N/PERIOD", "Automatic replies of one local user to one remote domain.", FIELD(guard_conf, reply_rate) },
	{ "check notice", "suppress", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "Inbound mail whose sender is asked for and not proven gets X-Auto-Response-Suppress: OOF, AutoReply, so that inner servers stay silent by themselves.", FIELD(guard_conf, suppress) },
	{ "check notice", "reduce", OPTION_BOOL, NULL, NONE, "yes", "yes|no", "A bounce or receipt that leaves returns the header section of the message, not its body: what comes back may be spam. Not done to what somebody has signed, unless a sign block signs it anew.", FIELD(guard_conf, reduce) },

	{ "sign", "selector", CUSTOM, NULL, NONE, NULL, "NAME", "The public key stands in DNS at NAME._domainkey.DOMAIN. Required.", NO_FIELD },
	{ "sign", "key", CUSTOM, NULL, NONE, NULL, "FILE", "The private key in PEM, without a passphrase. The file may be read by its owner and its group alone, and written by its owner alone. Read again with the configuration. Required.", NO_FIELD },

	{ "content-rules", "attachments", CUSTOM, NULL, NONE, NULL, "WEIGHT PATTERN ...", "File names of parts, and in ZIP archives, with * and ?, without regard to case: 10 *.exe *.scr *.js.", NO_FIELD },
	{ "content-rules", "types", CUSTOM, NULL, NONE, NULL, "WEIGHT PATTERN ...", "Media types: 10 application/x-msdownload.", NO_FIELD },
	{ "content-rules", "hosts", CUSTOM, NULL, NONE, NULL, "WEIGHT HOST ... | WEIGHT file FILE", "Hosts in http and https links of text parts, with all names below them.", NO_FIELD },
	{ "content-rules", "hashes", CUSTOM, NULL, NONE, NULL, "WEIGHT SHA256 ... | WEIGHT file FILE", "SHA-256 of parts, with their transfer encoding undone.", NO_FIELD },
	{ "content-rules", "locked-archives", CUSTOM, NULL, NONE, NULL, "WEIGHT", "ZIP archives with encrypted files, into which no scanner sees.", NO_FIELD },
	{ "content-rules", "odd-header", CUSTOM, NULL, NONE, NULL, "WEIGHT", "No or several From or Date fields, two of Subject, To, Message-ID, Sender or Reply-To, a line that is no field (RFC 5322 section 3.6).", NO_FIELD },
	{ "content-rules", "reject-weight", OPTION_INTEGER, NULL, 0, 100000, "10", "WEIGHT", "Refused from this sum on; 0: never.", FIELD(rules_conf, reject_weight) },
	{ "content-rules", "mark-weight", OPTION_INTEGER, NULL, 0, 100000, "5", "WEIGHT", "Marked from this sum on; 0: never.", FIELD(rules_conf, mark_weight) },

	{ "check dmarc", "reject", OPTION_CHOICE, "accept|mark|reject", NONE, "reject", "ACTION", "The domain asks for rejection (p=reject).", FIELD(dmarc_conf, reject) },
	{ "check dmarc", "quarantine", OPTION_CHOICE, "accept|mark|reject", NONE, "mark", "ACTION", "The domain asks for suspicion (p=quarantine).", FIELD(dmarc_conf, quarantine) },
	{ "check dmarc", "bad-from", OPTION_CHOICE, "accept|mark|reject", NONE, "reject", "ACTION", "A From that defeats DMARC: several From fields, authors of several domains, or none that can be read. Mail with a null reverse-path and notices are marked at most, and so is mail without From.", FIELD(dmarc_conf, bad_from) },
	{ "check dmarc", "temperror", OPTION_CHOICE, "accept|mark|defer", NONE, "accept", "ACTION", "Whether the domain has a policy cannot be looked up. Where it is known to ask for what is refused here, and SPF or DKIM cannot be checked, it is a 4xx in any case.", FIELD(dmarc_conf, temperror) },
	{ "check dmarc", "organizational-domain", OPTION_CHOICE, "psl|tree-walk", NONE, "psl", "HOW", "How the organizational domain is found: psl, by the public suffix list (RFC 7489); tree-walk, by asking for the records of its parents, with their psd= (RFC 9989).", FIELD(dmarc_conf, organization) },

	{ "check arc", "trust-sealer", CUSTOM, NULL, NONE, NULL, "DOMAIN ...", "Sealers (d= of ARC-Seal) who are believed, if their chain passes: what they saw pass is not refused for DMARC or SPF. One who saw DMARC fail vouches for nothing, unless behind a chain that passed and a sealer before it who is trusted, too.", NO_FIELD },

	{ "check arc", "seal", CUSTOM, NULL, NONE, NULL, "DOMAIN", "What is relayed gets a set of ARC fields of this domain: what was found here, and a signature of the message as it leaves, for those behind who see our address only. The key is that of the first sign block of the domain. Older verifiers know RSA keys alone.", NO_FIELD },

	{ "store", "map-size", OPTION_SIZE, NULL, 16 * 1024 * 1024, INT64_C(1) << 46, "4G", "SIZE", "Largest size of each worker's environment; address space, not memory.", SITE(store_map_size) },
};
const size_t option_count = sizeof(options) / sizeof(options[0]);

/* ---- look-up ---- */

/* Edits that turn one name into the other (Levenshtein), for names of at most 31 characters. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[32];
	size_t n = strlen(b);

	if (n > 31 || strlen(a) > 31)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < n; j++) {
			unsigned replace = corner + (a[i] != b[j]);
			unsigned least = row[j] + 1 < row[j + 1] + 1 ? row[j] + 1 : row[j + 1] + 1;

			corner = row[j + 1];
			row[j + 1] = replace < least ? replace : least;
		}
	}
	return row[n];
}

/* Two slips at most, and fewer in a short word. */
void option_near(const char *wanted, const char *candidate, const char **near)
{
	unsigned n = (unsigned)strlen(wanted), best = n < 4 ? 2 : 3;

	if (*near)
		best = distance(wanted, *near);
	if (distance(wanted, candidate) < best)
		*near = candidate;
}

const struct option *option_find(const char *block, const char *name, const char **near)
{
	*near = NULL;
	for (size_t i = 0; i < option_count; i++) {
		if (strcmp(options[i].block, block) != 0)
			continue;
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
		option_near(name, options[i].name, near);
	}
	if (block[0] == '\0')
		for (size_t i = 1; i < option_block_count; i++)
			option_near(name, option_blocks[i].name, near);
	return NULL;
}

void option_number(char *out, size_t size, const struct option *o, int64_t value)
{
	static const struct { const char *unit; int64_t factor; } durations[] = {
		{ "d", 86400 * NS_PER_SECOND }, { "h", 3600 * NS_PER_SECOND }, { "m", 60 * NS_PER_SECOND },
		{ "s", NS_PER_SECOND }, { "ms", NS_PER_MS },
	}, sizes[] = { { "T", INT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "k", 1 << 10 } };
	bool time = o->type == OPTION_DURATION;
	size_t count = time ? sizeof(durations) / sizeof(durations[0]) :
		o->type == OPTION_SIZE ? sizeof(sizes) / sizeof(sizes[0]) : 0;

	for (size_t i = 0; i < count && value > 0; i++) {
		int64_t factor = time ? durations[i].factor : sizes[i].factor;

		if (value % factor == 0) {
			snprintf(out, size, "%lld%s", (long long)(value / factor), time ? durations[i].unit : sizes[i].unit);
			return;
		}
	}
	snprintf(out, size, "%lld%s", (long long)value, time && value == 0 ? "s" : "");
}

/* ---- manuals ---- */

/*
 * mdoc takes a dot or a quote at the start of a line for a macro and a backslash for an escape; it wants each
 * sentence on a line of its own.
 */
static void put_text(const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((p == text || p[-1] == ' ') && (*p == '.' || *p == '\''))
			fputs("\\&", stdout);
		if (*p == '\\')
			fputs("\\e", stdout);
		else if (*p == '"')
			fputs("\\(dq", stdout);
		else if (*p == ' ' && p > text && p[-1] == '.' && p[1] >= 'A' && p[1] <= 'Z')
			putchar('\n');
		else
			putchar(*p);
	}
}

static void put_number(const struct option *o, int64_t value)
{
	char text[OPTION_NUMBER_MAX];

	option_number(text, sizeof(text), o, value);
	fputs(text, stdout);
}

/* The ends of a range that are not just "any number" or "what a field holds". */
static void write_range(const struct option *o)
{
	bool least = o->least > (o->type == OPTION_DURATION ? NS_PER_MS : 0), most = o->most != 0 &&
		o->most < INT64_C(1) << 62 && o->most != UINT32_MAX;

	if (o->least < 0)
		least = true;
	if (!least && !most)
		return;
	printf("%s", least && most ? "From " : least ? "At least " : "At most ");
	if (least)
		put_number(o, o->least);
	if (least && most)
		printf(" to ");
	if (most)
		put_number(o, o->most);
	printf(".\n");
}

static void write_option(const struct option *o)
{
	printf(".It Ic %s", o->name);
	if (o->argument && o->argument[0]) {
		printf(" Ar \"");
		put_text(o->argument);
		putchar('"');
	}
	putchar('\n');
	put_text(o->help);
	putchar('\n');
	if (o->choices) {
		printf("One of ");
		for (const char *p = o->choices; *p; p++)
			printf(*p == '|' ? ", " : "%c", *p);
		printf(".\n");
	}
	write_range(o);
	if (o->fallback)
		printf("Default:\n.Ql %s .\n", o->fallback);
}

void option_write_manual(void)
{
	for (size_t b = 0; b < option_block_count; b++) {
		const struct option_block *block = &option_blocks[b];

		if (b == 0)
			printf(".Ss Top level\n");
		else
			printf(".Ss %s%s%s { ... }\n", block->name, block->argument ? " " : "",
				block->argument ? block->argument : "");
		put_text(block->help);
		printf("\n.Bl -tag -width Ds\n");
		for (size_t i = 0; i < option_count; i++)
			if (strcmp(options[i].block, block->name) == 0)
				write_option(&options[i]);
		printf(".El\n");
	}
}

void replies_write_manual(void)
{
	printf(".Bl -tag -width Ds\n");
	for (enum reply_name name = REPLY_NONE + 1; name < REPLY_COUNT; name++) {
		const struct reply_definition *d = reply_definition(name);

		printf(".It %u %s : %u%s%s\n", d->number, d->name, d->code, d->enhanced[0] ? " " : "", d->enhanced);
		printf("\\(dq");
		put_text(d->text);
		printf("\\(dq\n.Pp\n");
		put_text(d->operator_text);
		putchar('\n');
	}
	printf(".El\n");
}
