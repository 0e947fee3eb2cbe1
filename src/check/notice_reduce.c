/*
 * A returned message is the spammer's payload as often as not, and whoever gets a bounce knows what he wrote. So of what a
 * report returns only the header section leaves: enough to find the message by, and to prove that one sent it.
 *
 * The report is read again from the spool and written to another one. Only if that came out whole does it take the place of
 * the first; else the report leaves as it is. It is the report of somebody who is to know that his mail failed:
 * to hold it back for a boundary that is missing would do more harm than the body does.
 */
#include "check/notice_reduce.h"

#include "check/finding.h"
#include "check/notice.h"
#include "run/wait.h"
#include "wire/dsn_reduce.h"

#define TURN (256u * 1024u)	/* octets between looks at what else is to be done */

struct reducing {
	const struct content_sink *sink;
	void *body;
	bool failed;
	deadline until;
};

static void to_sink(void *arg, struct slice piece)
{
	struct reducing *r = arg;

	r->failed = r->failed || !r->sink->add(r->body, piece);
}

/* Feeds the body of the message to the reducer; false: it cannot be read, or not in time. */
static ASYNC bool feed(struct reducing *r, struct dsn_reducer *reducer, struct arena *a, const struct content_source *source)
{
	struct content_cursor at = { 0 };
	struct header h;
	char buffer[4096];
	size_t turn = 0;
	ptrdiff_t n;

	header_init(&h, a, UINT32_MAX, UINT32_MAX);
	while ((n = source->read(source->arg, &at, buffer, sizeof(buffer))) > 0) {
		struct slice piece = slice_make(buffer, (size_t)n);

		dsn_reduce_push(reducer, slice_from(piece, header_push(&h, piece)));
		turn += piece.n;
		if (turn < TURN)
			continue;
		wait_yield();
		if (fiber_cancelled() || deadline_passed(r->until))
			return false;
		turn = 0;
	}
	return n == 0;
}

/* The reduced report is in r->body, unless *why. Returns the octets that it lacks. */
static ASYNC uint64_t write_reduced(struct reducing *r, struct arena *a, const struct header *h,
	const struct content_source *source, const char **why)
{
	struct dsn_reducer *reducer = dsn_reduce_begin(a, h, to_sink, r, why);
	const char *trouble = NULL;
	uint64_t dropped = 0;
	bool read;

	if (!reducer)
		return 0;
	*why = NULL;
	r->body = r->sink->begin(r->sink->arg);
	read = r->body && feed(r, reducer, a, source);
	if (!dsn_reduce_finish(reducer, &dropped, &trouble))
		*why = trouble;
	if (!read || r->failed)
		*why = "there is no room, or no time, to write it again";
	return dropped;
}

static bool returns_mail(const struct notice *n)
{
	return n && (notice_is_bounce(n->kind) || n->kind == NOTICE_MDN) && !n->guess &&
		n->original.form == NOTICE_FORM_FULL;
}

ASYNC void notice_reduce(const struct envelope *e, const struct header *h, const struct content_source *source,
	const struct content_sink *sink, bool apply, const char *hold, struct findings *found, deadline until)
{
	struct reducing r = { .sink = sink, .until = until };
	struct arena scratch = ARENA_INIT;
	nanoseconds began = clock_precise();
	const char *why = hold;
	uint64_t dropped = 0;

	if (!returns_mail(e->notice) || !sink->begin)
		return;
	if (!why)
		dropped = write_reduced(&r, &scratch, h, source, &why);
	if (!why && dropped > 0 && apply && !sink->commit(r.body))
		why = "there is no room to keep it";
	else if (!why && dropped > 0 && apply)
		r.body = NULL;
	if (r.body)
		sink->drop(r.body);
	if (why)
		finding_timed(found, e->arena, CHECK_NOTICE, RESULT_NONE, began,
			arena_printf(e->arena, "what it returns leaves whole: %s", why));
	else if (dropped > 0)
		finding_timed(found, e->arena, CHECK_NOTICE, RESULT_REDUCED, began, arena_printf(e->arena,
			"%s without the body of what it returns, %llu octets", apply ? "leaves" : "would leave",
			(unsigned long long)dropped));
	arena_drop(&scratch);
}
