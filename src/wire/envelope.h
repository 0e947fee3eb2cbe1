/*
 * The plain data that all floors share: what one transaction knows.
 *
 * An envelope belongs to a session and is filled as the dialogue goes on: facts
 * of the client at connect and EHLO, the reverse-path at MAIL, recipients at
 * RCPT, facts of the message at its end. Checks read it and add findings to it;
 * they never see the session. Facts of the client live in the connection's
 * arena, all else in the transaction's.
 */
#ifndef SPURN_WIRE_ENVELOPE_H
#define SPURN_WIRE_ENVELOPE_H

#include "base/clock.h"
#include "base/ip.h"
#include "base/str.h"
#include "wire/address.h"
#include "wire/smtp_reply.h"

/* ---- findings ---- */

/* X(identifier, name in records) */
#define CHECKS(X) \
	X(CLIENT, "client") \
	X(RDNS, "rdns") \
	X(HELO, "helo") \
	X(DNSBL, "dnsbl") \
	X(SENDER, "sender") \
	X(SENDER_DOMAIN, "sender-domain") \
	X(SPF, "spf") \
	X(RECIPIENT, "recipient") \
	X(RATE, "rate") \
	X(GREYLIST, "greylist") \
	X(FRAMING, "framing") \
	X(DKIM, "dkim") \
	X(ARC, "arc") \
	X(DMARC, "dmarc") \
	X(BOUNCE, "bounce") \
	X(NOTICE, "notice") \
	X(CONTENT, "content")

enum check {
#define X(id, name) CHECK_##id,
	CHECKS(X)
#undef X
	CHECK_COUNT
};

/* Results, in the standards' words where there are any (RFC 8601 section 2.7). */
#define RESULTS(X) \
	X(NONE, "none") \
	X(PASS, "pass") \
	X(FAIL, "fail") \
	X(SOFTFAIL, "softfail") \
	X(NEUTRAL, "neutral") \
	X(TEMPERROR, "temperror") \
	X(PERMERROR, "permerror") \
	X(POLICY, "policy") \
	X(LISTED, "listed") \
	X(ALLOWED, "allowed") \
	X(DENIED, "denied") \
	X(TRUSTED, "trusted") \
	X(NXDOMAIN, "nxdomain") \
	X(NULL_MX, "null-mx") \
	X(BAD_MX, "bad-mx") \
	X(EXISTS, "exists") \
	X(NO_SUCH_USER, "no-such-user") \
	X(UNKNOWN, "unknown") \
	X(UNCONFIRMED, "unconfirmed") \
	X(ACCEPT_ALL, "accept-all") \
	X(EXCEEDED, "exceeded") \
	X(FIRST_CONTACT, "first-contact") \
	X(LATE_REFUSAL, "late-refusal") \
	X(IMPLAUSIBLE, "implausible") \
	X(BARE_NEWLINE, "bare-newline") \
	X(SIGNED, "signed") \
	X(EARLY_TALK, "early-talk") \
	X(PROVEN, "proven") \
	X(PLAUSIBLE, "plausible") \
	X(UNPROVEN, "unproven") \
	X(REFUTED, "refuted") \
	X(NEVER_SENDS, "never-sends") \
	X(NULL_SENDER, "null-sender") \
	X(VIRUS, "virus") \
	X(SPAM, "spam") \
	X(SUSPECT, "suspect") \
	X(REFUSED, "refused") \
	X(TRY_LATER, "try-later") \
	X(DISAGREED, "disagreed") \
	X(UNCHECKED, "unchecked") \
	X(SKIPPED, "skipped") \
	X(DSN, "dsn") \
	X(BOUNCE, "bounce") \
	X(DELAY, "delay") \
	X(SUCCESS, "success") \
	X(MDN, "mdn") \
	X(AUTO_REPLY, "auto-reply") \
	X(CHALLENGE, "challenge") \
	X(VIRUS_NOTICE, "virus-notice") \
	X(FEEDBACK_REPORT, "feedback-report") \
	X(REPORT, "report") \
	X(COMPLAINT, "complaint") \
	X(NOTICE, "notice") \
	X(BAD_FROM, "bad-from") \
	X(NO_FROM, "no-from") \
	X(SOLICITED, "solicited") \
	X(UNSOLICITED, "unsolicited") \
	X(REPEATED, "repeated") \
	X(REDUCED, "reduced")

enum result {
#define X(id, name) RESULT_##id,
	RESULTS(X)
#undef X
	RESULT_COUNT
};

const char *check_name(enum check c);
const char *result_name(enum result r);

struct domain_conf;	/* policy's; opaque here */

/* What a check learnt. Strings live in the arena of the envelope part they belong to. */
struct finding {
	struct finding *next;
	enum check check;
	enum result result;
	const char *reason;	/* a sentence for the operator */
	const char *evidence;	/* what was seen, escaped; NULL: nothing to show */
	const char *detail;	/* what a reply text may show the client; NULL: nothing */
	int weight;		/* DNSBL score and the like; 0 otherwise */
	uint32_t cost_us;
	const struct recipient *recipient;	/* NULL: of the whole transaction */
	const struct domain_conf *domain;	/* whose mode of the check holds; NULL: that of the recipients, or the site's */
	bool only_observed;	/* argues for nothing yet, whatever the mode of its check */
	/* Filled in by the verdict alone: */
	uint8_t mode;		/* enum check_mode */
	uint8_t would;		/* enum disposition it led, or under observe would have led, to */
};

struct findings {
	struct finding *first, **last;	/* last == NULL: empty */
};

/* Adds a finding at the end; reason and evidence must outlive the list. */
struct finding *finding_add(struct findings *list, struct arena *a, enum check check,
	enum result result, const char *reason);
/* Moves all findings of `from` behind those of `to`. */
void findings_join(struct findings *to, const struct findings *from);
/* The first finding of a check, or NULL. */
struct finding *finding_of(const struct findings *list, enum check check);

/* ---- the client ---- */

enum client_class {
	CLIENT_STRANGER,
	CLIENT_ALLOWED,		/* skips reputation checks, never recipient, bounce or virus checks */
	CLIENT_TRUSTED,		/* our own other MX or forwarder: content refusals become marks */
	CLIENT_DENIED,
};

struct client_facts {
	struct ip ip;
	uint16_t port;
	uint8_t class;			/* enum client_class */
	bool proxied : 1, esmtp : 1, tls : 1;
	uint16_t tls_bits;
	const char *name;		/* forward-confirmed reverse name, or NULL */
	const char *reverse_name;	/* what the PTR says, confirmed or not, or NULL */
	struct slice helo;		/* as said, at most 255 octets; empty before EHLO */
	const char *tls_version, *tls_cipher;
};

/* ---- recipients ---- */

enum dsn_notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct recipient {
	struct recipient *next;
	struct path path;		/* as the client wrote it */
	struct slice canonical;		/* local@domain, folded, tags removed: for every look-up */
	struct slice identity;		/* what is delivered to: local part as written, domain canonical; for the ledger */
	struct slice for_backend;	/* path as the backend gets it, without angle brackets */
	struct slice orcpt;		/* xtext as received, empty if none */
	uint8_t notify;			/* enum dsn_notify bits, 0: not given */
	uint32_t lease;			/* the relay's lease on which the backend has accepted it, 0: none */
	bool exempt;			/* postmaster, abuse: from reputation and content refusals */
	bool has_it;			/* the commit ledger says so: not sent again */
	bool claimed;			/* the entry in the commit ledger is of this try */
	bool in_doubt;			/* an earlier try may have delivered it already */
	bool alone;			/* a scanner refused this one and not another: it must come alone, or hear so apart */
	bool later;			/* ... and it is to come later */
	bool kept_back;			/* alone, and the client hears an answer for each (PRDR): not sent */
	bool final_answered;		/* backend_reply is the answer to the message, not to RCPT */
	struct reply reply;		/* what the client was told (RCPT, or the final one under LMTP) */
	struct reply backend_reply;	/* what the backend said; code 0: nothing */
};

/* ---- what the sender proves (RFC 8601 section 2.7) ---- */

struct spf_facts {
	bool asked;			/* else: all below is empty */
	bool helo;			/* the HELO identity was asked for, since the reverse-path is null (RFC 7208 section 2.4) */
	bool never_sends;		/* the domain publishes that it sends no mail at all */
	enum result result;
	struct slice domain;		/* whose record it is about: of the reverse-path, or HELO; in A-labels, empty if that cannot be */
	const char *reason;		/* a sentence for the operator; NULL if not asked */
	const char *explanation;	/* exp= of the record, escaped; NULL: none */
};

/* One signature, in the order of the message, from the top. */
struct dkim_facts {
	struct dkim_facts *next;
	enum result result;
	struct slice domain, selector, identity;	/* d=, s=, i= (with its default filled in) */
	struct slice signature_start;	/* the first 8 octets of b=, to tell signatures apart (RFC 6008) */
	const char *algorithm;		/* "rsa-sha256", "ed25519-sha256" */
	uint32_t key_bits;		/* 0: no key was seen */
	int64_t signed_at;		/* t=, seconds since the epoch; 0: not said */
	bool partial;			/* l= leaves octets of the body unsigned */
	bool hopeless;			/* temperror: no answer could have made it a pass, since the body was altered */
	const char *reason;
};

struct dmarc_facts {
	bool asked;
	enum result result;
	struct slice from_domain;	/* author domain (RFC 7489 section 3.1) */
	struct slice policy_domain;	/* where the record was found */
	char policy;			/* what applies to this message: 'n' none, 'q' quarantine, 'r' reject; 0: no record */
	const char *aligned_by;		/* "spf", "dkim", "spf dkim"; NULL: by nothing */
	const char *defect;		/* a From that defeats DMARC: what is wrong with it; NULL: nothing */
	const char *overridden_by;	/* "trusted forwarder", "arc"; NULL: nothing */
	const char *reason;
};

struct authres_result;	/* authres.h */

struct arc_facts {
	bool asked;
	enum result result;		/* none, pass, fail, temperror */
	uint32_t sets;			/* ARC sets in the message */
	struct slice sealer;		/* d= of the newest seal of a chain that passes */
	bool trusted;			/* trusted sealers vouch for the message, or would if the chain passes (temperror) */
	const struct authres_result *vouched;	/* what the sealer whose word counts has found; NULL unless trusted, and if it found nothing */
	bool ended;			/* fail, and the newest seal says so itself: no further set may follow */
	const char *reason;
};

struct auth_facts {
	struct spf_facts spf;
	struct dkim_facts *dkim;	/* NULL: no signature, or not asked */
	bool dkim_asked;
	struct dmarc_facts dmarc;
	struct arc_facts arc;
};

/* ---- changes of the header section on its way to the backend ---- */

/* Signed bytes stay as they were: what we add stands on top, what is removed was forged in our name. Only a scanner that is
 * told to may do more. Each is recorded by the check that asks for it. */
enum header_change_kind {
	HEADER_PREPEND,		/* on top, behind our Received field; in the order of the list */
	HEADER_APPEND,		/* at the end of the section */
	HEADER_INSERT,		/* before field number `field` */
	HEADER_REMOVE,		/* field number `field` */
	HEADER_REPLACE,		/* field number `field` */
};

struct header_change {
	struct header_change *next;
	enum header_change_kind kind;
	uint32_t field;		/* from 0, from the top, of the header as the client sent it */
	struct slice text;	/* whole fields, each with its final CRLF; empty for HEADER_REMOVE */
};

struct header_changes {
	struct header_change *first, **last;	/* last == NULL: empty */
};

struct header;
/* The header section as it will be with the changes: parsed anew in `a`, if there are any; else `h` itself. */
const struct header *header_changed(struct arena *a, const struct header *h, const struct header_changes *changes);
/* text must outlive the list. */
void header_change_add(struct header_changes *list, struct arena *a, enum header_change_kind kind, uint32_t field,
	struct slice text);

/* ---- the message ---- */

/* The content of a message (as sent, without dot-stuffing), to be read from its beginning as often as wanted, and while it
 * arrives. */
struct content_cursor {
	uint64_t wire;		/* private: octets of the wire form behind us */
	uint8_t state;		/* private */
};
struct content_source {
	void *arg;
	/* Up to `room` octets from the cursor on, which moves. 0: there is no more (yet); -1: it cannot be read. */
	ptrdiff_t (*read)(void *arg, struct content_cursor *at, char *to, size_t room);
};

/* Where a scanner's new body goes. Until commit() nothing of it is the message's; several may be begun beside each other. */
struct content_sink {
	void *arg;
	void *(*begin)(void *arg);	/* NULL: no memory */
	bool (*add)(void *body, struct slice piece);	/* false: no room */
	bool (*commit)(void *body);	/* from now on the message has this body; false: it has its own still */
	void (*drop)(void *body);	/* what was not committed */
};

struct message_facts {
	struct slice id, date, from, subject;	/* raw values, unfolded and trimmed; empty if absent */
	uint64_t size;			/* octets of content as sent, without dot-stuffing and the final dot */
	uint8_t body_sha256[32];
	uint32_t received_count;
	bool bare_newline, eight_bit, header_malformed;
	bool body_replaced;		/* by a scanner: what was hashed as it came is not what is sent */
};

struct notice;	/* check/notice.h */

struct envelope {
	struct arena *arena;		/* the transaction's */
	struct client_facts *client;
	struct findings client_findings;	/* of the connection; stay for all its transactions */
	struct path reverse_path;
	struct slice reverse_canonical;	/* folded, tags removed; empty for <> */
	struct slice reverse_for_backend;	/* as the backend gets it, without angle brackets; empty for <> */
	bool has_sender;		/* MAIL was accepted */
	bool eight_bit_mime, smtputf8, prdr;
	uint64_t declared_size;		/* SIZE=, 0 if none */
	uint8_t ret;			/* 0, 'F' or 'H' (RFC 3461) */
	struct slice envid;		/* xtext as received */
	struct recipient *recipients, **last_recipient;
	uint32_t recipient_count, refused_count;
	struct message_facts message;
	struct auth_facts auth;
	const struct notice *notice;	/* what kind of automatic answer it is; NULL: not looked at (yet) */
	struct header_changes changes;
	struct findings findings;	/* of this transaction */
	char ref[11];			/* the reference, NUL-terminated */
};

/* What the whole dialogue came to; also what a check's finding may suggest. */
enum disposition { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_DEFER, DISPOSITION_REJECT,
	DISPOSITION_DESTROY };
const char *disposition_name(enum disposition d);
enum check_mode { MODE_OFF, MODE_OBSERVE, MODE_ENFORCE };
const char *check_mode_name(enum check_mode m);

#endif
