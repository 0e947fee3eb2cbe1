/*
 * Sessions: one TCP conversation each, parked while nothing is to be done.
 *
 * The life of a session. Accepted, counted, looked up in the lists, it waits
 * for its greeting as a timer. From then on it is a struct of a few hundred bytes in the loop,
 * without buffer, stack or arena. Bytes arrive: in command mode, a complete line
 * borrows a fiber, which runs linear code (command.c) until no further line is
 * buffered; in data mode the bytes are pushed into the framing machine on
 * the scheduler's stack (data.c), and only the end of data borrows a fiber. Then it is parked again.
 *
 *     accept -> [PROXY] -> greet wait -> COMMAND <-> DATA | CHUNK -> closed
 *
 * A session speaks through session_reply() alone. It is freed in the loop's graveyard.
 */
#ifndef SPURN_EDGE_SESSION_H
#define SPURN_EDGE_SESSION_H

#include "edge/journal.h"
#include "edge/spool.h"
#include "policy/stage.h"
#include "policy/verdict.h"
#include "run/listen.h"
#include "wire/smtp_command.h"

#include <openssl/evp.h>

/* Shared counters of a worker, for status and metrics; X(id, "text"). They live in memory that all workers share. */
#define EDGE_COUNTERS(X) \
	X(SESSIONS, "sessions begun") \
	X(SESSIONS_OPEN, "sessions open") \
	X(SESSIONS_REFUSED, "sessions refused at connect") \
	X(TRANSACTIONS, "transactions begun") \
	X(RECIPIENTS_OK, "recipients accepted") \
	X(RECIPIENTS_REFUSED, "recipients refused") \
	X(RECIPIENTS_DEFERRED, "recipients deferred") \
	X(MESSAGES_ACCEPTED, "messages accepted") \
	X(MESSAGES_REFUSED, "messages refused") \
	X(MESSAGES_DEFERRED, "messages deferred") \
	X(MESSAGES_REPEATED, "messages answered from the commit ledger") \
	X(MESSAGES_IN_DOUBT, "messages left in doubt") \
	X(OCTETS_RELAYED, "octets relayed") \
	X(WOULD_REFUSE, "refusals held back by observe mode") \
	X(STORE_TROUBLE, "store troubles") \
	X(TLS_SESSIONS, "sessions with TLS") \
	X(NOTICES_DESTROYED, "notices destroyed")

enum edge_counter {
#define X(id, text) EDGE_##id,
	EDGE_COUNTERS(X)
#undef X
	EDGE_COUNTER_COUNT
};
const char *edge_counter_text(enum edge_counter c);

/* What the sessions of a worker share. */
struct edge {
	struct config *config;		/* current; replaced by edge_configure() */
	struct services services;
	struct journal *journal;
	struct spool_pool spool;
	unsigned slot;			/* of this worker */
	uint32_t generation;		/* of this worker process, unique among those alive */
	/* Is that generation still alive in that slot? (An in-doubt entry of the dead is nobody's.) */
	bool (*worker_alive)(unsigned slot, uint32_t generation);
	uint64_t *counters;		/* EDGE_COUNTER_COUNT */
	uint64_t sessions;		/* open in this worker */
	struct ring all;		/* of struct session.link */
	bool draining;			/* no new transactions: 421 at the next command */
	bool rehearsal;			/* `spurn try`: the verdict is the answer; nothing is relayed, no ledger written */
	const EVP_MD *sha256;		/* fetched once: a fetch per message costs more than the hash */
	unsigned offers;		/* enum mail_offer, as of offers_at */
	nanoseconds offers_at;
	/* The last reference given out in this slot, by whatever process; NULL: by this one. A worker that takes a dead one's
	 * place within the same second must not begin anew, nor one beside another master's that still drains. */
	uint64_t *references;
	uint64_t own_references;
};

static inline void edge_count(struct edge *e, enum edge_counter c, int64_t n)
{
	__atomic_fetch_add(&e->counters[c], (uint64_t)n, __ATOMIC_RELAXED);
}
/* A new reference: second, worker slot and a counter, 50 bits in base32; sorts by time. */
void edge_reference(struct edge *e, char out[11]);
/* The moment a reference was made (wall clock, seconds), or 0 if it is none. */
time_t edge_reference_time(struct slice ref);
/* Swaps the configuration: running transactions keep the old one. */
void edge_configure(struct edge *e, struct config *c);
/* Idle sessions are told 421 and closed, the others at their next MAIL. transactions: those, too, that are between two
 * commands of a transaction; never those that are sending a message or wait for an answer. */
void edge_drain(struct edge *e, bool transactions);

enum session_mode {
	SESSION_PROXY,		/* waits for the PROXY header */
	SESSION_GREET,		/* waits for the end of the greet wait */
	SESSION_COMMAND,
	SESSION_DATA,
	SESSION_CHUNK,		/* inside a BDAT chunk */
	SESSION_LINGER,		/* all is said; how the client closes tells whether it heard: input is thrown away */
	SESSION_CLOSED,
};

struct transaction;
struct connect_stage;

struct session {
	struct stream stream;		/* first: a stream's owner is its session */
	struct timer timer;		/* greet wait, time-outs, delays: whatever the mode waits for */
	struct fiber_job job;		/* the one fiber that works for this session */
	struct job resume;		/* pump again at the end of the turn */
	struct ring link;		/* edge's list of all */
	struct edge *edge;
	struct config *config;		/* a reference; renewed between transactions */
	const struct listener_conf *listener;
	struct transaction *tx;		/* NULL between transactions */
	struct connect_stage *connect;	/* questions asked during the greet wait; NULL: none */
	struct arena arena;		/* of the connection; empty until EHLO */
	struct arena scratch;		/* of one command */
	struct client_facts client;
	struct findings findings;	/* of the connection */
	struct store_key *unheard;	/* commit entries that are deleted once the client has heard our 250 */
	uint32_t unheard_count;
	uint32_t rejected;		/* refusals spoken in this session */
	deadline silent_until;		/* the moment at which the timer looks again */
	int64_t last_data;		/* monotonic: when data came last */
	uint64_t chunk_left;		/* octets of the BDAT chunk still to come */
	uint16_t chunk_refusal;		/* enum reply_name: the chunk is drained, then refused */
	uint16_t refusal_due;		/* enum reply_name: said when the pause ends; 0: none */
	bool chunk_last;
	uint8_t mode;			/* enum session_mode */
	bool pumping, paused, closing, greeted, chunking_failed, recorded, counted, heard_end;
	bool waited;			/* for the client, since the last 250 to a message was sent: what comes now may answer it */
	uint16_t commands, errors, transactions, unknown_recipients;
	int64_t began;			/* monotonic */
};

/* Takes over an accepted descriptor. */
void session_start(struct edge *e, const struct listener_conf *l, int fd, const struct ip *peer, uint16_t port);
/* Says one reply (collected; sent when the session is parked or waits). */
void session_reply(struct session *s, const struct reply *r);
/* One of replies.def without a detail, or with one. */
void session_say(struct session *s, enum reply_name name, struct slice detail);
/* A refusal of the session itself: reply, then close once it is sent. */
void session_hang_up(struct session *s, enum reply_name name, struct slice detail);
/* Sends what is collected; the journal first. */
void session_flush(struct session *s);
/* Delays what is said next (tarpit): the session is parked until then. */
void session_pause(struct session *s, nanoseconds span);
/* Ends it now, without a word. */
void session_close(struct session *s);
/* Does what the client did just now show that it has heard all we said? What it had pipelined behind its message does
 * not (RFC 2920 section 3.1 allows that, and clients send QUIT so), nor what came before our reply was acknowledged. */
bool session_client_heard(const struct session *s);
/* The client has gone as far as the kernel knows. */
bool session_client_gone(struct session *s);
/* The connect stage has ended, or the deadline passed. */
ASYNC void session_join_connect(struct session *s, deadline d);

/* command.c: one line, on a fiber. */
ASYNC void command_run(struct session *s, struct slice line);
/* The EHLO offers of a worker as of now (SIZE is added per listener). */
unsigned edge_offers(struct edge *e);

/* data.c: sets the transaction up for its body. false: no memory. */
bool data_begin(struct session *s);
/* A BDAT command: takes the chunk, or drains it where it cannot be taken. The reply is empty while octets are to come. */
struct reply data_begin_chunk(struct session *s, uint64_t size, bool last);
/* Bytes of DATA or BDAT, on the scheduler's stack. true: the end was reached, data_finish() is due. */
bool data_push(struct session *s);
ASYNC void data_finish(struct session *s);
/* Something came from the client while the session's fiber runs: if it has left and its message is being judged, that ends. */
void data_watch_client(struct session *s);
/* A timer's look at progress: REPLY_NONE, TIMEOUT or TOO_SLOW. */
enum reply_name data_progress(struct session *s);

#endif
