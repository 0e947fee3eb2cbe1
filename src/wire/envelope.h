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
	X(IMPLAUSIBLE, "implausible") \
	X(BARE_NEWLINE, "bare-newline") \
	X(EARLY_TALK, "early-talk")

enum result {
#define X(id, name) RESULT_##id,
	RESULTS(X)
#undef X
	RESULT_COUNT
};

const char *check_name(enum check c);
const char *result_name(enum result r);

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
	bool proxied, esmtp, tls;
	const char *name;		/* forward-confirmed reverse name, or NULL */
	const char *reverse_name;	/* what the PTR says, confirmed or not, or NULL */
	struct slice helo;		/* as said, at most 255 octets; empty before EHLO */
	const char *tls_version, *tls_cipher;
	int tls_bits;
};

/* ---- recipients ---- */

enum dsn_notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct domain_conf;	/* policy's; opaque here */

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
	bool in_doubt;			/* an earlier try may have delivered it already */
	bool final_answered;		/* backend_reply is the answer to the message, not to RCPT */
	struct reply reply;		/* what the client was told (RCPT, or the final one under LMTP) */
	struct reply backend_reply;	/* what the backend said; code 0: nothing */
};

/* ---- the message ---- */

struct message_facts {
	struct slice id, date, from, subject;	/* raw values, unfolded and trimmed; empty if absent */
	uint64_t size;			/* octets of content as sent, without dot-stuffing and the final dot */
	uint8_t body_sha256[32];
	uint32_t received_count;
	bool bare_newline, eight_bit, header_malformed;
};

struct envelope {
	struct arena *arena;		/* the transaction's */
	struct client_facts *client;
	struct findings client_findings;	/* of the connection; stay for all its transactions */
	struct path reverse_path;
	struct slice reverse_canonical;	/* folded, tags removed; empty for <> */
	bool has_sender;		/* MAIL was accepted */
	bool eight_bit_mime, smtputf8, prdr;
	uint64_t declared_size;		/* SIZE=, 0 if none */
	uint8_t ret;			/* 0, 'F' or 'H' (RFC 3461) */
	struct slice envid;		/* xtext as received */
	struct recipient *recipients, **last_recipient;
	uint32_t recipient_count, refused_count;
	struct message_facts message;
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
