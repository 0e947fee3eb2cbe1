/*
 * The milter protocol as an MTA speaks it (wire/milter_packet.h): one filter, one message.
 *
 * The whole dialogue is held when the message is complete: connection, HELO, MAIL, RCPTs, DATA, header fields, body,
 * end, each with the macros that the filter asked for, or that Postfix would send. A filter that answers
 * "accept" or "refuse" early is done; one that says nothing more about the body is sent no more of it.
 *
 * What a filter may do with the message: add, insert, change and delete header fields, replace the body, ask for
 * quarantine. What would lose mail in silence is not offered: changing sender or recipients; a filter that does it
 * all the same has failed. "Discard" is a refusal: nothing is taken and thrown away. Changes count only when the
 * filter's last word has come: from one that dies before, nothing is kept.
 *
 * Connections are kept and used again (QUIT_NC) where the filter speaks version 6 and its last word was CONTINUE: after any
 * other, libmilter takes itself to be behind HELO, where it passes over QUIT_NC in silence.
 */
#ifndef SPURN_NET_MILTER_H
#define SPURN_NET_MILTER_H

#include "net/pieces.h"
#include "run/stream.h"
#include "wire/envelope.h"
#include "wire/message.h"
#include "wire/milter_packet.h"

struct milter {
	struct stream stream;
	struct milter_options options;	/* as agreed */
	struct arena arena;		/* of the connection: names of macros */
	struct ring link;		/* the owner's: idle connections */
	nanoseconds opened, idle_since;
	uint32_t messages;
	bool at_end;			/* the last message ended with CONTINUE */
};

/* What stands for the MTA itself. */
struct milter_self {
	const char *hostname;		/* {j} */
	const char *listener;		/* {daemon_name} */
	const char *address;		/* {daemon_addr}; NULL: not known */
};

struct milter_question {
	const struct milter_self *self;
	const struct client_facts *client;
	const struct envelope *envelope;
	struct slice reverse_path;	/* as relayed, without angle brackets; empty: <> */
	const struct field *const *fields;	/* in their order, our own Received not among them */
	uint32_t field_count;
	struct pieces *body;		/* read once; what stands behind the empty line */
	/* Takes the pieces of a new body, in order. false: no room, which is our own trouble. NULL: no filter may replace it. */
	bool (*replace)(void *arg, struct slice piece);
	void *arg;
};

enum milter_verdict {
	MILTER_ACCEPTS,
	MILTER_REJECTS,		/* also: by its own reply code 5xx */
	MILTER_DEFERS,		/* TEMPFAIL, 4xx, CONN_FAIL, SHUTDOWN */
	MILTER_DISCARDS,	/* would lose it in silence: the caller refuses */
};

enum milter_change_kind { MILTER_ADDS, MILTER_INSERTS, MILTER_CHANGES };

struct milter_change {
	struct milter_change *next;
	enum milter_change_kind kind;
	uint32_t index;		/* INSERTS: before the n-th field, from 0; CHANGES: the n-th of its name, from 1 */
	struct slice name;
	struct slice value;	/* of the field with its white space before, folds as CRLF WSP, without the final CRLF;
				 * CHANGES: empty deletes */
};

struct milter_answer {
	enum milter_verdict verdict;
	const char *stage;		/* at which it was said, for the record */
	struct reply reply;		/* its own words; code 0: none */
	const char *quarantine;		/* the reason; NULL: not asked for */
	struct milter_change *changes;	/* in the order given; none unless it accepts */
	uint32_t change_count;
	bool body_replaced;		/* all of it has gone to `replace` */
	uint8_t *recipients;		/* enum milter_verdict of each, in the envelope's order */
	uint32_t refused_recipients;
};

/* Connects and negotiates. may_replace: whether a change of the body is offered. *why lives as long as m does. */
ASYNC bool milter_open(struct milter *m, const struct endpoint *to, bool may_replace, const char **why, deadline d);
/* One message. Strings live in `a`. false: the filter (or the way to it) has failed, m is closed, *why; what `replace` got
 * is void. */
ASYNC bool milter_ask(struct milter *m, const struct milter_question *q, struct arena *a,
	struct milter_answer *out, const char **why, deadline d);
/* Can another message be asked about on this connection? Else close it. */
bool milter_is_reusable(struct milter *m);
/* Says QUIT and closes, without waiting. */
void milter_quit(struct milter *m);
/* Closes at once. Idempotent. */
void milter_close(struct milter *m);

#endif
