/*
 * The message returned in a notice: does it bear a good signature of one of our domains (RFC 6376)?
 *
 * It is looked at while it passes, since its body is kept by nobody. If the body came back, it has to be what was
 * signed: else anybody who holds the header section of one message of ours could put his own text under it. If it did not, or
 * was cut, the header section speaks alone; many servers return no more.
 *
 * Signed mail lies in archives that everybody can read, for years, and keys stay in DNS: one that says when it was made (t=) is no
 * proof any more when a tag or mark of that day would be none. Of one that does not say so nothing is known.
 */
#ifndef SPURN_CHECK_RETURNED_H
#define SPURN_CHECK_RETURNED_H

#include "check/dkim.h"
#include "check/notice.h"

/* Whether d= is one of ours. */
struct returned_conf {
	const struct dkim_conf *dkim;
	bool (*ours)(void *arg, struct slice domain);
	void *arg;
	int64_t life;		/* seconds that a signature proves for, by its t=; 0: for ever */
};

struct returned;

/* conf is copied; what it points to stays as long as the arena. */
struct returned *returned_begin(struct arena *a, const struct returned_conf *conf);
/* For notice_begin(). */
const struct notice_watch *returned_watch(struct returned *r);

struct returned_answer {
	enum result result;	/* PASS; FAIL: none is good; TEMPERROR: a key could not be asked for; NONE: none of ours is there */
	struct slice domain;	/* of the good signature */
	struct slice signature;	/* the beginning of its b=, which nobody else can make another of */
	bool too_old;		/* one is good, and was made longer than `life` ago */
	bool other_body;	/* the signature is good for the header section, and the body is not what was signed */
};

/* The notice has ended; o is what it returns. */
ASYNC void returned_verify(struct returned *r, const struct notice_original *o, struct dns *dns, struct dkim_keys *keys,
	int64_t now, struct returned_answer *out, deadline until);
/* Gives back what is not in the arena. NULL is allowed. */
void returned_drop(struct returned *r);

#endif
