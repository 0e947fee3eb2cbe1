/*
 * One transaction: from MAIL to the answer to the end of data (RFC 5321
 * section 3.3), or to whatever ends it earlier.
 *
 * It owns the envelope, the spool, and the lease of a backend connection; all of it goes with
 * transaction_end(), which writes the one record.
 */
#ifndef SPURN_EDGE_TRANSACTION_H
#define SPURN_EDGE_TRANSACTION_H

#include "edge/session.h"
#include "policy/stage_message.h"
#include "wire/message.h"
#include "wire/smtp_data.h"

/* The mirrored transaction with the backend. */
struct relay {
	const struct backend *backend;	/* NULL until the first recipient */
	struct smtp_client *client;	/* leased; NULL: none (not yet, or given back while the body is slow) */
	bool mailed;			/* MAIL was accepted on this lease ... */
	struct slice mailed_as;		/* ... with this reverse-path */
	bool mail_refused;		/* the last answer was to MAIL: it says nothing about a mailbox */
	uint32_t lease;			/* counts leases: recipients remember the one they were accepted on */
	uint32_t open_recipients;	/* accepted by the backend on this lease */
	struct timer hold;		/* gives the lease back when the body is slow, or the checks are */
	bool at_rest;			/* the session's fiber runs, but does not use the lease */
	const char *host;		/* url of the host that answered last, for the record */
	struct reply reply;		/* what the backend said last */
};

struct transaction {
	struct arena arena;
	struct envelope envelope;
	struct session *session;
	struct config *config;		/* a reference: one transaction, one configuration */
	const struct domain_conf *domain;	/* of the first recipient; the policy class of all */
	struct recipient *refused, **last_refused;	/* told no at RCPT, for the record */
	struct relay relay;
	struct smtp_data framing;
	struct header header;
	struct spool spool;
	EVP_MD_CTX *body_hash;
	struct message_stage *stage;	/* NULL until the message begins */
	struct slice received;		/* our trace field, once it was needed */
	bool header_seen;		/* by the stage */
	struct store_key *commit_keys;	/* one per recipient, parallel to the list; NULL: no ledger for this one */
	bool chunking, too_big, discard, in_doubt, ledger_trouble;
	bool client_left;		/* while its message was judged */
	const char *earlier_ref;	/* of the try that left an in-doubt entry */
	struct reply final;		/* what the client was told last */
	enum disposition disposition;
	bool decided;			/* final and disposition hold */
	const struct finding *because;
	struct {
		int64_t mail, rcpt, data, scan, relay, began;	/* nanoseconds spent; began: monotonic */
		int64_t data_began;
	} times;
};

/* MAIL was accepted. The envelope is filled by the caller. */
struct transaction *transaction_begin(struct session *s);
/* Writes the record and frees everything; tx is NULL afterwards. Idempotent. */
void transaction_end(struct session *s);
/* The transaction's answer at the end of data. */
void transaction_decide(struct transaction *tx, enum disposition d, const struct reply *r);
/* A refusal or an acceptance of ours with the transaction's reference and the help URL. */
struct reply transaction_reply(struct transaction *tx, enum reply_name name, struct slice detail);
/* Appends to the accepted recipients. */
void transaction_add(struct transaction *tx, struct recipient *r);
void transaction_refuse(struct transaction *tx, struct recipient *r);

/* ---- record.c ---- */

void record_transaction(struct transaction *tx);
/* For a session that never reached a transaction. reference: the one in the reply, NULL: none was given. last: what the
 * session was refused with, NULL: nothing. */
void record_session(struct session *s, const char *reference, const struct reply *last);

/* ---- rcpt.c ---- */

struct command;
/* The handler of RCPT. */
ASYNC struct reply rcpt_command_run(struct session *s, const struct command *c);

/* ---- trace.c ---- */

/* What goes before the message: our Received field and marks, and, if fields of the message have to be removed, the rest
 * of the header, dot-stuffed. *from: the wire offset at which the spool is sent on. */
struct slice trace_lead(struct transaction *tx, uint64_t *from);
/* Our Received field with its final CRLF: the same one whenever it is asked for. */
struct slice trace_received(struct transaction *tx);

/* ---- content.c ---- */

/* The content of the spooled message; good as long as the transaction. */
struct content_source content_of(struct transaction *tx);
/* Where a scanner's new body goes; once committed the spool holds the header section as it came, and this body. */
struct content_sink content_sink_of(struct transaction *tx);

/* ---- answer.c ---- */

/* Says the final reply of a transaction and remembers it for the record. */
void answer_end(struct transaction *tx, enum disposition d, enum reply_name name, struct slice detail);
/* Writes the commit ledger, relays the message to those who do not have it, and gives the backend's answer; accepted: what it is called
 * in the record if that is positive. */
ASYNC void answer_relay(struct transaction *tx, enum disposition accepted, deadline until);
/* Whom a scanner took for one of several: they come alone and hear its answer. */
void answer_hint_disagreed(struct transaction *tx);
/* The same for a client that hears an answer for each: they are left out. */
void answer_keep_back(struct transaction *tx);

/* ---- relay.c ---- */

/* Asks RCPT of the live backend. The answer is in r->backend_reply; code 0: no answer (*why). */
ASYNC bool relay_rcpt(struct transaction *tx, struct recipient *r, const char **why, deadline d);
/* Sends the message to the recipients that do not have it yet; fills backend_reply of each (the final one). false: no
 * answer of the backend (*why); *sent_dot: from then on the outcome is in doubt. */
ASYNC bool relay_message(struct transaction *tx, bool *sent_dot, const char **why, deadline d);
/* Gives the lease back: the backend's transaction is reset. */
void relay_release(struct transaction *tx);

/* ---- commit.c ---- */

enum commit_answer {
	COMMIT_GO,		/* in-doubt entries are written; relay */
	COMMIT_ALL_HAVE_IT,	/* nothing to send */
	COMMIT_BUSY,		/* another session holds the same message open */
};
/* Looks every recipient up, marks has_it, writes in-doubt entries for the others. */
enum commit_answer commit_begin(struct transaction *tx);
/* The backend's answers are in: delivered entries for those who have it now, the others' are deleted. told_each: the client
 * hears the answer of each recipient, so that a mixed outcome needs no memory once it was heard. */
void commit_settle(struct transaction *tx, bool told_each);
/* No dot was sent: the entries are deleted. */
void commit_abort(struct transaction *tx);
/* The dot was sent and no answer came: the entries stay in doubt. */
void commit_lose(struct transaction *tx);
/* The client has shown that it heard our 250: its entries are deleted. */
void commit_heard(struct session *s);
/* They stay (72 h), since the client may not have heard. */
void commit_unheard(struct session *s);
/* Did this recipient disagree with others last time? Then it must come alone. */
bool commit_hinted(struct transaction *tx, const struct recipient *r);
void commit_hint(struct transaction *tx, const struct recipient *r);
/* It came alone and has heard its answer. */
void commit_unhint(struct transaction *tx, const struct recipient *r);

#endif
