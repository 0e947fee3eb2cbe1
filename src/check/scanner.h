/*
 * Scanners: who is asked about content, how well they are, and who may ask now.
 *
 * One state per scanner and worker, found by kind and address, so that a reload finds it again. It counts the
 * questions under way (no more than `connections` at a time: the rest wait their turn within their budget), keeps
 * connections to filters that can be used again, and holds the circuit breaker: after three failures in a row
 * nobody is sent there for a second, doubling to a minute; then one question is the probe. While the breaker is open
 * a message is answered for at once, by the scanner's on-error, and not after a time-out each.
 */
#ifndef SPURN_CHECK_SCANNER_H
#define SPURN_CHECK_SCANNER_H

#include "check/list.h"
#include "net/clamd.h"
#include "net/milter.h"
#include "net/spamd.h"
#include "run/wait.h"

enum scanner_kind { SCANNER_CLAMD, SCANNER_SPAMD, SCANNER_MILTER };
enum scanner_trouble { TROUBLE_DEFERS, TROUBLE_MARKS };	/* on-error defer|mark */
enum scanner_finds { FINDS_SPAM, FINDS_VIRUSES };
enum scanner_quarantine { QUARANTINE_REJECTS, QUARANTINE_MARKS };

#define SCANNERS_MOST 32

struct scanner_conf {
	const char *name;
	enum scanner_kind kind;
	const char *address;		/* as written */
	struct endpoint endpoint;
	nanoseconds budget;
	uint8_t on_error;		/* enum scanner_trouble */
	uint8_t finds;			/* enum scanner_finds: what a refusal is about, whether postmaster@ is exempt */
	uint8_t quarantine;		/* enum scanner_quarantine */
	bool stream;			/* clamd: send while the message arrives */
	bool may_change;		/* milter: its changes are applied */
	uint64_t size_limit;		/* octets; larger messages are not shown to it. 0: none */
	uint32_t connections;		/* at a time, per worker */
	int64_t reject_score, mark_score;	/* spamd, in points; mark_score 0: the daemon's own threshold */
	const char *user;		/* spamd: NULL: the recipient, where there is one */
	struct ip_set *skip_clients;	/* NULL: none */
	struct address_list skip_recipients;
};

struct content_conf {
	struct scanner_conf *scanners;
	uint32_t count;
};

const char *scanner_kind_name(enum scanner_kind k);

struct scanners;
struct scanner;

struct scanners *scanners_open(void);
/* Nobody may be asking. */
void scanners_close(struct scanners *all);
/* The state of a configured scanner; made when it is asked for first. It lives as long as `all`. */
struct scanner *scanner_of(struct scanners *all, const struct scanner_conf *c);

/* Waits for a place. false: none by the deadline, or the breaker is open; *why lives as long as the scanner. */
ASYNC bool scanner_enter(struct scanner *s, const char **why, deadline d);
/* The same without waiting, and only while half of all places are free. */
bool scanner_try_enter(struct scanner *s);
/* Gives the place back. why: what went wrong; NULL: it answered. */
void scanner_leave(struct scanner *s, const char *why);
/* Gives it back without a word on the scanner's health: the question was dropped by us. */
void scanner_withdraw(struct scanner *s);
/* Remembers a verdict, for status. */
void scanner_count(struct scanner *s, bool refused, nanoseconds cost);

/* A kept connection to a filter, or NULL; and back. m must come from malloc(); it is closed and freed where not kept. */
struct milter *scanner_take_milter(struct scanner *s);
void scanner_keep_milter(struct scanner *s, struct milter *m);

struct scanner_info {
	const char *name, *kind, *address;
	uint64_t asked, refused, failures;
	int64_t average_us;		/* of the last questions, weighted; 0: none yet */
	uint32_t out, idle;
	bool open;			/* the breaker: nobody is asked */
	nanoseconds retry_at;
	const char *last_error;		/* "": none */
};
void scanners_each(struct scanners *all, void (*fn)(const struct scanner_info *info, void *arg), void *arg);

/* Says hello to it as a message would: PING, or the negotiation. *what: how it calls itself, in `a`. */
ASYNC bool scanner_greet(const struct scanner_conf *c, struct arena *a, const char **what, const char **why, deadline d);

#endif
