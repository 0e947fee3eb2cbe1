/*
 * The client of the socketmap protocol.
 *
 * One question has one connection for itself until its reply has come. Pipelining several on
 * one was rejected: a server that answers out of order, or twice, would then answer for
 * another address. For the same reason bytes behind a reply, and bytes before a question, end the connection:
 * the answer they came with does not count.
 *
 * A kept connection may have been closed by the server just now: a question that dies on one before the
 * first octet of its reply is asked again, once, on a fresh one. It changes nothing there.
 */
#include "net/socketmap.h"

#include "base/ip.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

#define KEEP_IDLE (60 * NS_PER_SECOND)
#define FAILURES_MOST 3			/* in a row, then it is left alone for a while */
#define BACKOFF_FIRST (250 * NS_PER_MS)
#define BACKOFF_MOST (10 * NS_PER_SECOND)

struct socketmap {
	struct socketmap *next;
	const char *address, *map;
	struct endpoint endpoint;
	uint32_t limit;
	nanoseconds timeout;
	struct ring idle;		/* of connections, the warmest first */
	struct timer idle_timer;
	struct event place;		/* a connection may have become free */
	uint32_t idle_count, busy;
	unsigned failures;
	nanoseconds failed_at, retry_at;
	bool probing;
	uint64_t asked, found, absent, trouble, opened;
	nanoseconds last_answer, time_total;
	char last_error[160];
};

struct connection {
	struct stream stream;		/* first: a stream is its connection */
	struct ring link;
	struct socketmap *map;
	nanoseconds idle_since;
	bool warm;			/* had a reply before */
};

static struct socketmap *maps;
static struct arena registry;

/* ---- addresses ---- */

static bool parse_unix(struct slice path, struct endpoint *out, const char **why)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&out->address;

	*why = "unix: takes an absolute path, shorter than 108 octets";
	if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof(sun->sun_path) || slice_find(path, '\0') >= 0)
		return false;
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path.p, path.n);
	out->length = sizeof(*sun);
	return true;
}

static bool parse_inet(struct slice text, struct endpoint *out, const char **why)
{
	ptrdiff_t colon = slice_rfind(text, ':');
	struct slice host = slice_head(text, colon < 0 ? 0 : (size_t)colon);
	uint64_t port;
	struct ip ip;

	*why = "inet: takes ADDRESS:PORT, or [ADDRESS]:PORT for IPv6";
	if (colon <= 0 || !slice_number(slice_from(text, (size_t)colon + 1), 65535, &port) || port == 0)
		return false;
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = slice_make(host.p + 1, host.n - 2);
	else if (slice_find(host, ':') >= 0)
		return false;
	if (!ip_parse(&ip, host))
		return false;
	out->length = ip_to_sockaddr(&ip, (uint16_t)port, &out->address);
	return true;
}

static bool parse_address(struct slice text, struct endpoint *out, const char **why)
{
	memset(out, 0, sizeof(*out));
	if (slice_starts(text, SLICE("unix:")))
		return parse_unix(slice_from(text, 5), out, why);
	if (slice_starts(text, SLICE("inet:")))
		return parse_inet(slice_from(text, 5), out, why);
	*why = "a socketmap is unix:/path or inet:ADDRESS:PORT";
	return false;
}

/* ---- connections ---- */

/* Gives the place back; whoever waits for one may have it. */
static void place_free(struct socketmap *m)
{
	m->busy--;
	event_wake_one(&m->place);
}

static void connection_close(struct connection *c)
{
	stream_abort(&c->stream);
	loop_bury(free, c);
}

static void idle_remove(struct connection *c)
{
	ring_remove(&c->link);
	c->map->idle_count--;
	c->stream.on_ready = NULL;
}

/* The server ended it, or said something that nobody had asked for. */
static void idle_ready(struct stream *s)
{
	struct connection *c = container_of(s, struct connection, stream);

	idle_remove(c);
	connection_close(c);
}

static void idle_expire(struct timer *t)
{
	struct socketmap *m = container_of(t, struct socketmap, idle_timer);

	while (!ring_empty(&m->idle)) {
		struct connection *c = container_of(m->idle.prev, struct connection, link);

		if (!deadline_passed(c->idle_since + KEEP_IDLE)) {
			timer_set(t, c->idle_since + KEEP_IDLE);
			break;
		}
		idle_remove(c);
		connection_close(c);
	}
}

static void connection_keep(struct connection *c)
{
	struct socketmap *m = c->map;

	c->warm = true;
	c->idle_since = clock_now();
	c->stream.on_ready = idle_ready;
	while (!stream_park(&c->stream))
		if (stream_fill(&c->stream) != 0) {
			connection_close(c);
			return;
		}
	ring_add_first(&m->idle, &c->link);
	m->idle_count++;
	if (!timer_is_set(&m->idle_timer))
		timer_set(&m->idle_timer, deadline_in(KEEP_IDLE));
}

static struct connection *idle_take(struct socketmap *m)
{
	while (!ring_empty(&m->idle)) {
		struct connection *c = container_of(m->idle.next, struct connection, link);

		idle_remove(c);
		if (stream_fill(&c->stream) == 0 && stream_input(&c->stream).n == 0)
			return c;
		connection_close(c);
	}
	return NULL;
}

static ASYNC struct connection *connection_open(struct socketmap *m, const char **why, deadline d)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		arena_exhausted(sizeof(*c));
	c->map = m;
	if (!stream_connect(&c->stream, &m->endpoint, why, "socketmap connect", d)) {
		free(c);
		return NULL;
	}
	m->opened++;
	return c;
}

/* ---- health ---- */

static bool is_closed(const struct socketmap *m)
{
	return m->failures >= FAILURES_MOST && (m->probing || clock_now() < m->retry_at);
}

/* Many questions that fail together fail once. */
static void note_failure(struct socketmap *m, nanoseconds began, const char *why)
{
	unsigned shift;

	snprintf(m->last_error, sizeof(m->last_error), "%s", why);
	if (m->failures > 0 && began < m->failed_at)
		return;
	m->failures++;
	m->failed_at = clock_now();
	shift = m->failures > FAILURES_MOST ? m->failures - FAILURES_MOST : 0;
	m->retry_at = m->failed_at + (shift > 5 ? BACKOFF_MOST : BACKOFF_FIRST << shift);
}

/* ---- one question ---- */

enum outcome { OUTCOME_ANSWER, OUTCOME_FAILED, OUTCOME_STALE };

struct question {
	struct arena *a;
	struct slice key;
	enum socketmap_status status;
	struct slice said;
	const char *why;
};

static enum outcome take_reply(struct connection *c, struct question *q, struct slice text, size_t used)
{
	struct slice said;

	if (!socketmap_reply_parse(text, &q->status, &said, &q->why))
		return OUTCOME_FAILED;
	said = slice_copy(q->a, said);
	stream_consume(&c->stream, used);
	if (stream_input(&c->stream).n > 0 || stream_fill(&c->stream) > 0) {
		q->why = "the server said more than one reply";
		return OUTCOME_FAILED;
	}
	q->said = said;
	return OUTCOME_ANSWER;
}

static ASYNC enum outcome read_reply(struct connection *c, struct question *q, deadline d)
{
	struct slice text;
	size_t used;

	for (;;) {
		struct slice in = stream_input(&c->stream);

		switch (netstring_read(in, SOCKETMAP_REPLY_MAX, &text, &used, &q->why)) {
		case NETSTRING_DONE:
			return take_reply(c, q, text, used);
		case NETSTRING_BAD:
			return OUTCOME_FAILED;
		case NETSTRING_MORE:
			break;
		}
		if (c->stream.state != STREAM_OPEN) {
			q->why = "the server closed the connection instead of answering";
			return c->warm && in.n == 0 ? OUTCOME_STALE : OUTCOME_FAILED;
		}
		if (stream_read(&c->stream, "socketmap reply", d) != WAIT_READY) {
			q->why = "no reply within the time allowed";
			return OUTCOME_FAILED;
		}
	}
}

static ASYNC enum outcome ask_on(struct connection *c, struct question *q, deadline d)
{
	struct str wire = STR_IN(q->a);

	socketmap_question_write(&wire, slice_of(c->map->map), q->key);
	stream_write(&c->stream, str_slice(&wire));
	if (!stream_flush(&c->stream)) {
		q->why = "the connection broke";
		return c->warm ? OUTCOME_STALE : OUTCOME_FAILED;
	}
	return read_reply(c, q, d);
}

/* A place, then a connection, then the question. */
static ASYNC enum outcome ask_once(struct socketmap *m, struct question *q, bool fresh, deadline d)
{
	struct connection *c = fresh ? NULL : idle_take(m);
	enum outcome outcome;

	if (!c)
		c = connection_open(m, &q->why, d);
	if (!c)
		return OUTCOME_FAILED;
	outcome = ask_on(c, q, d);
	if (outcome == OUTCOME_ANSWER)
		connection_keep(c);
	else
		connection_close(c);
	return outcome;
}

static ASYNC bool place_take(struct socketmap *m, deadline d)
{
	while (m->busy >= m->limit)
		if (wait_event(&m->place, "socketmap place", d) != WAIT_READY)
			return false;
	m->busy++;
	return true;
}

static ASYNC bool ask(struct socketmap *m, struct question *q, deadline d)
{
	nanoseconds began = clock_now();
	bool probe;
	enum outcome outcome;

	if (!place_take(m, d)) {
		q->why = "no connection became free in time";
		return false;
	}
	if (is_closed(m)) {
		q->why = arena_printf(q->a, "it is down (%s) and not asked again yet", m->last_error);
		place_free(m);
		return false;
	}
	probe = m->failures >= FAILURES_MOST;
	m->probing = m->probing || probe;
	outcome = ask_once(m, q, false, d);
	if (outcome == OUTCOME_STALE)
		outcome = ask_once(m, q, true, d);
	if (probe)
		m->probing = false;
	if (outcome == OUTCOME_ANSWER)
		m->failures = 0;
	else if (!fiber_cancelled())
		note_failure(m, began, q->why);
	place_free(m);
	return outcome == OUTCOME_ANSWER;
}

/* The map's own word that it cannot tell. */
static const char *no_answer(struct socketmap *m, struct question *q)
{
	struct str text = STR_IN(q->a);

	str_printf(&text, "%s ", socketmap_status_word(q->status));
	str_escaped(&text, q->said, 200);
	snprintf(m->last_error, sizeof(m->last_error), "%s", str_cstr(&text));
	return str_cstr(&text);
}

bool socketmap_ask(struct socketmap *m, struct arena *a, struct slice key, bool *found, struct slice *said,
	const char **why, deadline d)
{
	struct question q = { .a = a, .key = key };
	nanoseconds began = clock_precise();
	bool answered;

	m->asked++;
	answered = ask(m, &q, deadline_min(d, deadline_in(m->timeout)));
	if (answered && q.status != SOCKETMAP_FOUND && q.status != SOCKETMAP_NOTFOUND) {
		q.why = no_answer(m, &q);
		answered = false;
	}
	if (!answered) {
		m->trouble++;
		*why = q.why;
		return false;
	}
	m->last_answer = clock_wall();
	m->time_total += clock_precise() - began;
	*found = q.status == SOCKETMAP_FOUND;
	*said = q.said;
	if (*found)
		m->found++;
	else
		m->absent++;
	return true;
}

/* ---- the registry ---- */

static struct socketmap *find(struct slice address, struct slice map)
{
	for (struct socketmap *m = maps; m; m = m->next)
		if (slice_eq(slice_of(m->address), address) && slice_eq(slice_of(m->map), map))
			return m;
	return NULL;
}

struct socketmap *socketmap_open(struct slice address, struct slice map, uint32_t connections, nanoseconds timeout,
	const char **why)
{
	struct socketmap *m = find(address, map);
	struct endpoint endpoint;

	if (!m) {
		if (!parse_address(address, &endpoint, why))
			return NULL;
		m = arena_new(&registry, struct socketmap);
		m->endpoint = endpoint;
		m->address = slice_cstr(&registry, address);
		m->map = slice_cstr(&registry, map);
		ring_init(&m->idle);
		event_init(&m->place);
		m->idle_timer.fn = idle_expire;
		m->next = maps;
		maps = m;
	}
	m->limit = connections;
	m->timeout = timeout;
	return m;
}

void socketmap_inspect(const struct socketmap *m, struct socketmap_info *out)
{
	*out = (struct socketmap_info){ .address = m->address, .map = m->map, .asked = m->asked, .found = m->found,
		.absent = m->absent, .trouble = m->trouble, .opened = m->opened, .idle = m->idle_count,
		.busy = m->busy, .up = !is_closed(m), .last_error = m->last_error, .last_answer = m->last_answer,
		.time_total = m->time_total };
}

void socketmap_each(void (*fn)(const struct socketmap_info *info, void *arg), void *arg)
{
	struct socketmap_info info;

	for (const struct socketmap *m = maps; m; m = m->next) {
		socketmap_inspect(m, &info);
		fn(&info, arg);
	}
}

void socketmap_close_all(void)
{
	for (struct socketmap *m = maps; m; m = m->next) {
		timer_clear(&m->idle_timer);
		while (!ring_empty(&m->idle)) {
			struct connection *c = container_of(m->idle.next, struct connection, link);

			idle_remove(c);
			connection_close(c);
		}
		m->failures = 0;
	}
}
