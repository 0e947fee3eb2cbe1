/*
 * One scanner and one message; for content*.c alone.
 */
#ifndef SPURN_CHECK_CONTENT_SCAN_H
#define SPURN_CHECK_CONTENT_SCAN_H

#include "check/content.h"
#include "check/content_stream.h"

struct scan {
	struct group_member member;
	struct content *content;
	const struct scanner_conf *conf;
	struct scanner *scanner;
	struct feeder *feeder;		/* clamd that is fed already; NULL: none */
	const char *skipped;		/* why it is not asked; NULL: it is */
	const char *why;		/* trouble; NULL: it answered */
	bool returned;			/* the question is about the message that a bounce returns */
	struct milter_answer milter;
	void *body;			/* the sink's, of a body that a filter replaces; NULL: none */
	struct findings found;
	nanoseconds began;
	deadline until;
};

struct content {
	struct content_question q;
	struct arena *arena;		/* the transaction's */
	const struct header *header;
	struct scan *scans;
	uint32_t count;
	uint64_t arrived;		/* octets of the body */
	struct slice lead;		/* stands in the place of the first `skip` octets of the message; both 0: as it came */
	uint64_t skip;
	struct group *asking;		/* the scans that run; NULL: none do */
	bool replaced;			/* a filter's body stands in the place of the client's */
	bool abandoned;			/* nobody waits for the verdict any more */
};

/* The message as pieces: `lead`, then the content from its `skip`-th octet on. Buffers live in `a`. */
struct pieces *content_pieces(struct arena *a, struct content_source source, struct slice lead, uint64_t skip);
/* The first message that is enclosed in the content, as pieces; none at all if there is none (content_returned.c). */
struct pieces *content_returned(struct arena *a, struct content_source source);
/* A field that is not relayed, and that no scanner sees. */
bool content_hides(const struct content *c, const struct field *f);
/* Octets before the body. */
uint64_t content_body_offset(const struct content *c);
/* A finding of this scan; reason behind the scanner's name. */
struct finding *content_find(struct scan *s, enum result result, const char *reason);

/* ---- content_milter.c ---- */

/* Asks the filter. false: s->why. */
ASYNC bool content_ask_milter(struct scan *s, struct arena *scratch);
/* What it said, as findings. */
void content_judge_milter(struct scan *s);
/* Applies what the filters changed, in the order of the configuration. One that cannot be served gets a finding. */
void content_apply_changes(struct content *c);
/* Trouble with this scanner: its on-error. */
void content_find_trouble(struct scan *s);

#endif
