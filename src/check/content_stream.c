/*
 * The feeder's life is longer than its message's: it must end on its own fiber. So it owns its memory, and what it
 * needs of configuration is copied; feeder_drop() tells it to go, and the loop buries it when its fiber has returned.
 */
#include "check/content_stream.h"

#include <stdlib.h>

#define PIECE (64u * 1024u)
#define STALL (5 * NS_PER_SECOND)	/* of the client */
#define PATIENCE (15 * NS_PER_SECOND)	/* with clamd, while there is no other deadline */

struct feeder {
	struct fiber_job job;
	struct event more, ended;
	struct scanner *scanner;
	struct endpoint to;
	struct content_source source;
	struct content_cursor at;
	struct slice lead;	/* to be sent in the place of the first `skip` octets */
	uint64_t skip;
	struct clamd clamd;
	struct clamd_answer answer;
	struct arena arena;
	const char *why;
	deadline until;		/* once the message is complete */
	enum feeder_result result;
	bool complete, dropped;
	char buffer[PIECE];
};

static void feeder_free(void *object)
{
	struct feeder *f = object;

	arena_drop(&f->arena);
	free(f);
}

static deadline patience(const struct feeder *f)
{
	return f->complete ? f->until : deadline_in(PATIENCE);
}

static ASYNC bool send_lead(struct feeder *f)
{
	struct slice lead = f->lead;

	f->lead = SLICE_NULL;
	return lead.n == 0 || clamd_send(&f->clamd, lead, &f->why, patience(f));
}

/* Sends what has come until there is no more for now. */
static ASYNC bool send_what_is_there(struct feeder *f)
{
	if (!send_lead(f))
		return false;
	for (;;) {
		ptrdiff_t n = f->dropped ? 0 : f->source.read(f->source.arg, &f->at, f->buffer, sizeof(f->buffer));
		size_t passed;

		if (n == 0)
			return !f->dropped;
		f->why = "the message cannot be read";
		if (n < 0)
			return false;
		passed = f->skip < (uint64_t)n ? (size_t)f->skip : (size_t)n;
		f->skip -= passed;
		if ((size_t)n > passed && !clamd_send(&f->clamd, slice_make(f->buffer + passed, (size_t)n - passed), &f->why,
				patience(f)))
			return false;
	}
}

static ASYNC enum feeder_result feed(struct feeder *f)
{
	if (!clamd_open(&f->clamd, &f->to, &f->why, patience(f)))
		return FEEDER_FAILED;
	for (;;) {
		if (!send_what_is_there(f))
			return FEEDER_FAILED;
		if (f->complete)
			break;
		event_clear(&f->more);
		if (wait_event(&f->more, "more of the message", deadline_in(STALL)) != WAIT_READY)
			return FEEDER_LEFT;
	}
	if (!clamd_finish(&f->clamd, &f->arena, &f->answer, &f->why, f->until))
		return FEEDER_FAILED;
	return FEEDER_ANSWERED;
}

static ASYNC void run(void *arg)
{
	struct feeder *f = arg;

	f->result = feed(f);
	clamd_close(&f->clamd);
	if (f->dropped || f->result == FEEDER_LEFT)
		scanner_withdraw(f->scanner);
	else
		scanner_leave(f->scanner, f->result == FEEDER_FAILED ? f->why : NULL);
	if (f->result == FEEDER_FAILED && !f->complete)
		f->result = FEEDER_LEFT;	/* there is time for another try after the dot */
	event_set(&f->ended);
	if (f->dropped)
		loop_bury(feeder_free, f);
}

struct feeder *feeder_start(struct scanner *s, const struct scanner_conf *conf, struct content_source source, struct slice lead,
	uint64_t skip)
{
	struct feeder *f;

	if (!scanner_try_enter(s))
		return NULL;
	f = malloc(sizeof(*f));
	if (!f) {
		scanner_withdraw(s);
		return NULL;
	}
	memset(f, 0, offsetof(struct feeder, buffer));
	event_init(&f->more);
	event_init(&f->ended);
	f->scanner = s;
	f->to = conf->endpoint;
	f->source = source;
	f->lead = slice_copy(&f->arena, lead);
	f->skip = skip;
	f->clamd.stream.watch.fd = -1;
	f->result = FEEDER_LEFT;
	fiber_start(&f->job, "feeder", run, f);
	return f;
}

void feeder_wake(struct feeder *f)
{
	event_set(&f->more);
}

ASYNC enum feeder_result feeder_finish(struct feeder *f, struct arena *a, struct clamd_answer *out, const char **why,
	deadline d)
{
	enum wait_result r;

	f->complete = true;
	f->until = d;
	event_set(&f->more);
	r = wait_event(&f->ended, "clamd verdict", d);
	if (r != WAIT_READY) {
		*why = r == WAIT_CANCELLED ? "cancelled" : "timeout: clamd does not answer";
		return FEEDER_FAILED;
	}
	*why = arena_printf(a, "%s", f->why ? f->why : "");
	*out = f->answer;
	if (out->virus)
		out->virus = arena_printf(a, "%s", out->virus);
	return f->result;
}

void feeder_drop(struct feeder *f)
{
	bool running = fiber_job_active(&f->job) && f->job.fiber;

	f->dropped = true;
	if (running) {
		fiber_job_cancel(&f->job);
		return;
	}
	if (fiber_job_active(&f->job)) {	/* in line for a stack: it will not run */
		fiber_job_cancel(&f->job);
		scanner_withdraw(f->scanner);
	}
	loop_bury(feeder_free, f);
}
