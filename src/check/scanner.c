/*
 * The state of scanners. Few in number and never forgotten while the worker lives, so a plain list does.
 *
 * Rejected: a breaker for the whole site in shared memory: each worker finds out for itself within three messages, and
 * one worker's broken descriptor limit is not the scanner's illness.
 */
#include "check/scanner.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define FAILURES_TO_OPEN 3
#define PAUSE_FIRST NS_PER_SECOND
#define PAUSE_LAST (60 * NS_PER_SECOND)
#define KEPT_MOST 8
#define KEEP_SPAN (60 * NS_PER_SECOND)	/* libmilter hangs up after two hours, some filters much earlier */

struct scanner {
	struct ring all;
	enum scanner_kind kind;
	char *address, *name;
	uint32_t connections, out;
	struct event free_place;
	struct ring idle;		/* of struct milter.link, the last used first */
	uint32_t idle_count;
	uint32_t failed_in_row;
	deadline retry_at;		/* the breaker is open until then; 0: closed */
	bool probing;
	nanoseconds average;
	uint64_t asked, refused, failures;
	char last_error[200];
};

struct scanners {
	struct ring all;
};

const char *scanner_kind_name(enum scanner_kind k)
{
	static const char *const names[] = { "clamd", "spamd", "milter" };

	return names[k];
}

struct scanners *scanners_open(void)
{
	struct scanners *all = calloc(1, sizeof(*all));

	BUG_ON(!all);
	ring_init(&all->all);
	return all;
}

static struct milter *milter_of(struct ring *link) { return container_of(link, struct milter, link); }

static void milter_free(struct milter *m, bool courteous)
{
	if (courteous)
		milter_quit(m);
	else
		milter_close(m);
	free(m);
}

static void drop_idle(struct scanner *s)
{
	struct ring *next;

	for (struct ring *at = s->idle.next; at != &s->idle; at = next) {
		next = at->next;
		milter_free(milter_of(at), true);
	}
}

void scanners_close(struct scanners *all)
{
	struct ring *next;

	for (struct ring *at = all->all.next; at != &all->all; at = next) {
		struct scanner *s = container_of(at, struct scanner, all);

		next = at->next;
		BUG_ON(s->out > 0);
		drop_idle(s);
		free(s->address);
		free(s->name);
		free(s);
	}
	free(all);
}

struct scanner *scanner_of(struct scanners *all, const struct scanner_conf *c)
{
	struct scanner *s;

	for (struct ring *at = all->all.next; at != &all->all; at = at->next) {
		s = container_of(at, struct scanner, all);
		if (s->kind != c->kind || strcmp(s->address, c->address) != 0 || strcmp(s->name, c->name) != 0)
			continue;
		s->connections = c->connections;
		return s;
	}
	s = calloc(1, sizeof(*s));
	BUG_ON(!s);
	s->kind = c->kind;
	s->address = strdup(c->address);
	s->name = strdup(c->name);
	BUG_ON(!s->address || !s->name);
	s->connections = c->connections;
	event_init(&s->free_place);
	ring_init(&s->idle);
	ring_add_last(&all->all, &s->all);
	return s;
}

/* ---- the breaker ---- */

static bool is_shut_out(struct scanner *s, const char **why)
{
	*why = s->last_error;
	return s->retry_at != 0 && (s->probing || !deadline_passed(s->retry_at));
}

static void begin(struct scanner *s)
{
	s->out++;
	s->asked++;
	if (s->retry_at != 0)
		s->probing = true;
}

bool scanner_try_enter(struct scanner *s)
{
	if (s->retry_at != 0 || s->out * 2 >= s->connections)
		return false;
	begin(s);
	return true;
}

ASYNC bool scanner_enter(struct scanner *s, const char **why, deadline d)
{
	if (is_shut_out(s, why))
		return false;
	while (s->out >= s->connections) {
		enum wait_result r = wait_event(&s->free_place, "scanner place", d);

		if (r != WAIT_READY) {
			*why = r == WAIT_CANCELLED ? "cancelled" : "timeout: all connections are busy";
			/* A place that was handed to one who leaves goes to the next. */
			if (s->out < s->connections)
				event_wake_one(&s->free_place);
			return false;
		}
		if (is_shut_out(s, why))
			return false;
	}
	begin(s);
	return true;
}

static void fail(struct scanner *s, const char *why)
{
	nanoseconds pause = PAUSE_FIRST;

	s->failures++;
	s->failed_in_row++;
	snprintf(s->last_error, sizeof(s->last_error), "%s", why);
	log_limited(LOG_WARNING, s->name, "scanner %s (%s %s): %s", s->name, scanner_kind_name(s->kind), s->address, why);
	if (s->failed_in_row < FAILURES_TO_OPEN)
		return;
	for (uint32_t i = FAILURES_TO_OPEN; i < s->failed_in_row && pause < PAUSE_LAST; i++)
		pause *= 2;
	s->retry_at = deadline_in(pause < PAUSE_LAST ? pause : PAUSE_LAST);
}

void scanner_withdraw(struct scanner *s)
{
	BUG_ON(s->out == 0);
	s->out--;
	s->probing = false;
	event_wake_one(&s->free_place);
}

void scanner_leave(struct scanner *s, const char *why)
{
	scanner_withdraw(s);
	if (why) {
		fail(s, why);
		return;
	}
	s->failed_in_row = 0;
	s->retry_at = 0;
}

void scanner_count(struct scanner *s, bool refused, nanoseconds cost)
{
	s->refused += refused;
	s->average = s->average ? s->average + (cost - s->average) / 8 : cost;
}

/* ---- kept connections ---- */

struct milter *scanner_take_milter(struct scanner *s)
{
	struct ring *next;

	for (struct ring *at = s->idle.next; at != &s->idle; at = next) {
		struct milter *m = milter_of(at);

		next = at->next;
		ring_remove(&m->link);
		s->idle_count--;
		if (clock_now() - m->idle_since < KEEP_SPAN && milter_is_reusable(m))
			return m;
		milter_free(m, true);
	}
	return NULL;
}

void scanner_keep_milter(struct scanner *s, struct milter *m)
{
	if (s->idle_count >= KEPT_MOST || !milter_is_reusable(m)) {
		milter_free(m, true);
		return;
	}
	m->idle_since = clock_now();
	ring_add_first(&s->idle, &m->link);
	s->idle_count++;
}

/* ---- for operators ---- */

void scanners_each(struct scanners *all, void (*fn)(const struct scanner_info *info, void *arg), void *arg)
{
	for (struct ring *at = all->all.next; at != &all->all; at = at->next) {
		struct scanner *s = container_of(at, struct scanner, all);
		struct scanner_info info = { .name = s->name, .kind = scanner_kind_name(s->kind), .address = s->address,
			.asked = s->asked, .refused = s->refused, .failures = s->failures,
			.average_us = s->average / NS_PER_US, .out = s->out, .idle = s->idle_count,
			.open = s->retry_at != 0, .retry_at = s->retry_at, .last_error = s->last_error };

		fn(&info, arg);
	}
}

static ASYNC bool greet_milter(const struct scanner_conf *c, struct arena *a, const char **what, const char **why,
	deadline d)
{
	struct milter m;

	if (!milter_open(&m, &c->endpoint, c->may_change, why, d)) {
		*why = arena_printf(a, "%s", *why);
		return false;
	}
	*what = arena_printf(a, "milter protocol %u", m.options.version);
	milter_quit(&m);
	return true;
}

ASYNC bool scanner_greet(const struct scanner_conf *c, struct arena *a, const char **what, const char **why, deadline d)
{
	switch (c->kind) {
	case SCANNER_CLAMD:
		return clamd_version(&c->endpoint, a, what, why, d);
	case SCANNER_SPAMD:
		*what = "answers PING";
		return spamd_ping(&c->endpoint, why, d);
	case SCANNER_MILTER:
		return greet_milter(c, a, what, why, d);
	}
	return false;
}
