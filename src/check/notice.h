/*
 * Notices: mail that a machine wrote about other mail. What kind is it, whom does it say
 * failed, and what does it return?
 *
 * The recogniser is fed with the header section and then the body as it arrives, in pieces of any size; it
 * keeps what it needs, capped, in the arena it was given. It asks nobody and decides nothing: struct
 * notice is a fact of the envelope.
 *
 * The null reverse-path is a hint and not the test: many notices have a sender, and mailing lists of
 * some servers post with a null one. What counts is the form: structure first (multipart/report, RFC 6522),
 * header fields that say so (RFC 3834), then the sentences that mail servers are known to write.
 */
#ifndef SPURN_CHECK_NOTICE_H
#define SPURN_CHECK_NOTICE_H

#include "wire/address.h"
#include "wire/message.h"

/* X(identifier, name in records and in Spurn-Notice) */
#define NOTICE_KINDS(X) \
	X(MESSAGE, "message")			/* no notice: mail like any other */ \
	X(DSN, "dsn")				/* failed, said in message/delivery-status (RFC 3464) */ \
	X(BOUNCE, "bounce")			/* failed, said in any other form */ \
	X(DELAY, "delay")			/* delayed, in any form */ \
	X(SUCCESS, "success")			/* delivered, relayed or expanded, in any form */ \
	X(MDN, "mdn")				/* RFC 8098 */ \
	X(AUTO_REPLY, "auto-reply")		/* RFC 3834: vacation and the like */ \
	X(CHALLENGE, "challenge")		/* "confirm that you are a human" */ \
	X(VIRUS_NOTICE, "virus-notice") \
	X(FEEDBACK_REPORT, "feedback-report")	/* RFC 5965 */ \
	X(REPORT, "report")			/* DMARC (RFC 7489), TLS (RFC 8460) */ \
	X(COMPLAINT, "complaint")		/* of spam, in free form */ \
	X(NOTICE, "notice")			/* of list managers, postmasters and other programs */

enum notice_kind {
#define X(id, name) NOTICE_##id,
	NOTICE_KINDS(X)
#undef X
	NOTICE_KIND_COUNT
};

const char *notice_kind_name(enum notice_kind k);
/* dsn, bounce, delay, success: those that claim to answer mail that we sent, and that proofs are about. */
bool notice_is_bounce(enum notice_kind k);

/* Where the facts of the returned message were found. */
enum notice_form {
	NOTICE_FORM_NONE,	/* nothing is returned */
	NOTICE_FORM_FULL,	/* message/rfc822, message/global: header section and body */
	NOTICE_FORM_HEADERS,	/* text/rfc822-headers, message/global-headers, or an enclosed message without body */
	NOTICE_FORM_TEXT,	/* quoted in the text */
};
const char *notice_form_name(enum notice_form f);	/* "none", "full", "headers", "text" */

/* A recipient that the notice speaks of. Slices are decoded and trimmed; empty: not said. */
struct notice_recipient {
	struct notice_recipient *next;
	struct slice address;	/* local@domain of Final-Recipient, or as the text names it; lower case as written */
	struct slice original;	/* of Original-Recipient, else empty */
	struct slice action;	/* "failed", "delayed", "delivered", "relayed", "expanded" */
	struct slice status;	/* "5.1.1", only if it stands there */
	struct slice diagnostic;
};

/* The returned message. */
struct notice_original {
	struct slice message_id;	/* with its angle brackets */
	struct slice from, to, subject;	/* values, unfolded and trimmed */
	struct slice return_path;	/* without angle brackets; empty: not said or null */
	enum notice_form form;
	bool null_return_path;		/* "Return-Path: <>" stands there */
	bool header_truncated;		/* the header section was longer than what is kept */
	/* The header section as returned, whatever the form: transfer encoding undone, lines ending in CRLF, fields and folds
	 * untouched, at most NOTICE_ORIGINAL_MAX octets; quoted in text: the lines that look like fields. May be
	 * fed to header_push(). Empty: none. */
	struct slice header;
};

#define NOTICE_ORIGINAL_MAX (64u * 1024u)
#define NOTICE_RECIPIENTS_MAX 100u

struct notice {
	enum notice_kind kind;
	const char *evidence;		/* one line for people, harmless for a terminal */
	struct notice_recipient *recipients;	/* in their order; NULL: none named */
	uint32_t recipient_count;	/* at most NOTICE_RECIPIENTS_MAX are kept */
	struct notice_original original;
	struct slice in_reply_to, references;	/* of the notice itself, unfolded; for the proof by ledger */
	bool null_sender;
	bool automatic;			/* Auto-Submitted says auto-replied or auto-generated */
	bool guess;			/* nothing but the wording says so: enough for a mark, not for more */
};

/* Whoever wants the returned message itself while it passes (the first one that is attached, not those inside it):
 * for body hashes, scanners. Any member may be NULL. Lines end as they were sent. */
struct notice_watch {
	/* Its header section is complete; as in struct notice_original. */
	void (*header)(void *arg, struct slice header);
	/* Its body, transfer encoding of the enclosing part undone, not its own. */
	void (*body)(void *arg, struct slice piece);
	/* whole: it ended where the notice said it ends (a boundary, or the end of the notice if it has none). */
	void (*end)(void *arg, bool whole);
	void *arg;
};

struct notice_reader;

/* reverse_path: of the transaction; NULL: not known, Return-Path is taken instead if it is there. Both stay
 * valid until notice_finish(). watch may be NULL. */
struct notice_reader *notice_begin(struct arena *a, const struct path *reverse_path, const struct notice_watch *watch);
/* The header section is complete; h stays where it is until notice_finish(). Once, before the body. */
void notice_header(struct notice_reader *r, const struct header *h);
/* The body as it comes, including what header_push() did not take of its last piece, and h->body_lead before it. */
void notice_body(struct notice_reader *r, struct slice piece);
/* The end. What it returns lives in the arena. */
const struct notice *notice_finish(struct notice_reader *r);

#endif
