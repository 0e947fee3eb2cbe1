/*
 * One outbound SMTP or LMTP dialogue, in linear code (RFC 5321, RFC 2033).
 *
 * Commands may be queued and sent together where the backend offers
 * PIPELINING (elsewhere each waits for the reply before it); replies are read one by one, strictly and
 * bounded: a backend that answers garbage is a backend in trouble. Any failure leaves the client `broken`: no
 * further use, only smtp_client_close(). Replies owed are counted, so that a connection that goes back
 * to the pool is never out of step.
 */
#ifndef SPURN_NET_SMTP_CLIENT_H
#define SPURN_NET_SMTP_CLIENT_H

#include "run/stream.h"
#include "run/tls.h"
#include "wire/envelope.h"

enum backend_protocol { BACKEND_SMTP, BACKEND_LMTP };
enum backend_tls { BACKEND_TLS_NONE, BACKEND_TLS_OPPORTUNISTIC, BACKEND_TLS_VERIFY };

/* One host of a backend, as configured: smtp://HOST:PORT, lmtp://HOST:PORT, lmtp+unix:/path. */
struct backend_host {
	enum backend_protocol protocol;
	const char *url;	/* as written, for records and status */
	const char *name;	/* host name or address, NULL for a Unix socket */
	const char *path;	/* Unix socket */
	uint16_t port;
};
/* What RCPTs are relayed to. Two domains with the same hosts and settings share one (same pointer), so that
 * their recipients may share a transaction. */
struct backend {
	const char *name;		/* the urls, joined by a space: its identity */
	const struct backend_host *hosts;
	size_t host_count;
	enum backend_tls tls;
	const char *ca_file;		/* NULL: the system's */
	uint32_t max_connections;	/* per worker */
	uint32_t questions;		/* of these, for questions about recipients that nothing is known of */
	nanoseconds keep_idle;
	bool forward_client;		/* XFORWARD or XCLIENT where offered */
};

enum capability {
	CAP_PIPELINING = 1, CAP_SIZE = 2, CAP_8BITMIME = 4, CAP_SMTPUTF8 = 8, CAP_DSN = 16,
	CAP_CHUNKING = 32, CAP_ENHANCED = 64, CAP_STARTTLS = 128, CAP_XFORWARD = 256,
	CAP_XCLIENT = 512, CAP_PRDR = 1024,
};

/* Where the connection stands with DATA. Before the dot there is no way back but to close. */
enum data_phase {
	DATA_NONE,
	DATA_ASKED,	/* the command is queued or sent, its reply not read */
	DATA_OPEN,	/* 354: the message, then smtp_client_expect() */
};

struct smtp_client {
	struct stream stream;
	struct arena arena;		/* capabilities text; dropped at close */
	struct reply_parser parser;
	const struct backend_host *host;
	unsigned capabilities;		/* enum capability bits */
	uint64_t size_limit;		/* SIZE n; 0: none told */
	unsigned xforward, xclient;	/* which attributes are offered (private bits) */
	bool lmtp, broken, fresh;	/* fresh: no transaction has been run on it yet */
	bool tls_failed;		/* the handshake failed: try again without (opportunistic) */
	uint8_t data;			/* enum data_phase */
	uint32_t unread;		/* replies owed by the backend to what was queued */
	uint32_t skip;			/* the first so many of them nobody waits for (XFORWARD) */
	uint32_t transactions;		/* MAIL commands */
	uint32_t errors;		/* refusals since a message was taken; backends slow down and hang up for them */
	bool delivering;		/* the replies owed are to the dot */
	bool prdr;			/* PRDR was asked for with the last MAIL */
	uint32_t answers_each;		/* replies that follow a 353 to the dot: one a recipient, and the last one */
	struct str held;		/* lines that wait for the reply before them (no PIPELINING) */
	size_t held_at;
	const char *reason;		/* why it is broken; lives as long as the connection */
	uint64_t presented;		/* hash of what XCLIENT said last; 0: nothing */
	nanoseconds opened, idle_since;
	struct ring link;		/* the pool's */
	void *pool_host;		/* the pool's */
};

/* Connects, reads the greeting, says EHLO (LHLO; HELO after a 5xx to EHLO), starts TLS as asked.
 * tls NULL: none, whatever b says; a Unix socket never has any. reply: what the backend said last, code 0 if nothing.
 * Its text and *why live in c->arena, that is until smtp_client_close(). */
ASYNC bool smtp_client_open(struct smtp_client *c, const struct backend *b, const struct backend_host *host,
	const struct endpoint *to, struct tls_context *tls, const char *our_name,
	struct reply *reply, const char **why, deadline d);
/* Sends QUIT without waiting for its answer and closes; in mid-message it only closes. */
void smtp_client_quit(struct smtp_client *c);
/* Closes at once. */
void smtp_client_close(struct smtp_client *c);

/* Adds a command line (CRLF is added; BUG_ON a CR or LF in it) to what is to be sent. */
void smtp_client_queue(struct smtp_client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The backend owes so many replies to what was sent past the queue: the message and its dot (SMTP: one; LMTP: one for
 * each recipient it accepted). To be called once all of it, the dot included, has been sent. */
void smtp_client_expect(struct smtp_client *c, uint32_t replies);
/* The same for an SMTP backend that may answer each recipient (draft-hall-prdr-00): one reply, and if that is a 353 one for
 * each recipient it accepted, and a last one. */
void smtp_client_expect_prdr(struct smtp_client *c, uint32_t recipients);
/* Sends what is queued, waits for one reply. The reply's text and *why live in `a`. false: broken, *why (cancelled before
 * the reply began: not broken, it is still owed). After a 421 the reply is true and the client broken.
 * BUG_ON no reply owed. */
ASYNC bool smtp_client_reply(struct smtp_client *c, struct arena *a, struct reply *out,
	const char **why, const char *label, deadline d);

/* Tells the backend who the client is: XFORWARD, else XCLIENT, where offered and b->forward_client.
 * Nothing to do is success, and so is a backend that declines. XFORWARD leaves together with the next
 * commands and costs no round trip; its replies are skipped by smtp_client_reply(). *why lives in c->arena. */
ASYNC bool smtp_client_present(struct smtp_client *c, const struct backend *b,
	const struct client_facts *client, const char *ident, const char *our_name,
	const char **why, deadline d);

/* True if nothing has come that we did not ask for: between commands, and after a 354 until the dot. false: broken from now on,
 * c->reason. Never waits. BUG_ON a reply owed. */
bool smtp_client_is_quiet(struct smtp_client *c);
/* Takes in one line of the EHLO reply, without its code; for the parser and its fuzzer. */
void smtp_client_capability(struct smtp_client *c, struct slice line);

/* The MAIL and RCPT lines as this backend can take them (parameters only where offered). size 0: not known. */
void smtp_client_queue_mail(struct smtp_client *c, const struct envelope *e, uint64_t size);
void smtp_client_queue_rcpt(struct smtp_client *c, const struct recipient *r);

#endif
