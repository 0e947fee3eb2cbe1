/*
 * The life of a session between its commands: begin, greet, park, time out,
 * end. What commands mean stands in command.c, what data is in data.c.
 *
 * session_pump() is the one place that moves a session on. It runs on the
 * scheduler's stack whenever input came, a delay ended or a fiber of the
 * session finished, and goes on until it would have to wait. Edge-triggered
 * readiness is kept in the stream, so a session is parked only after the
 * kernel had nothing more.
 *
 * Rejected: a fiber for the whole life of a session (16 KiB a peer, and no way
 * past vm.max_map_count), and a state machine without fibers (RCPT waits for
 * DNS, store, pool and backend: twelve states where four lines will do).
 */
#include "edge/session.h"
#include "edge/transaction.h"

#include "base/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_OCTETS (64u * 1024u)
#define PROXY_WAIT (10 * NS_PER_SECOND)
#define FLOOD_DELAY (2 * NS_PER_SECOND)
#define END_WAIT (5 * NS_PER_SECOND)

struct connect_stage {
	struct fiber_job job;
	struct event done;
	struct session *session;
	struct config *config;	/* a reference: the session may get another meanwhile */
	bool finished;
};

const char *edge_counter_text(enum edge_counter c)
{
	static const char *const text[] = {
#define X(id, text) text,
		EDGE_COUNTERS(X)
#undef X
	};
	return text[c];
}

/* ---- references ---- */

#define REF_EPOCH INT64_C(1767225600)	/* 2026-01-01: 30 bits of seconds reach 2060 */

#define REF_AHEAD (UINT64_C(600) << 20)	/* a last one further ahead than ten minutes was made by a wrong clock */

/* The one behind the last: the counter may run over into the next second, never back. */
static uint64_t next_reference(uint64_t last, unsigned slot)
{
	uint64_t second = (uint64_t)(clock_wall_seconds() - REF_EPOCH) & 0x3fffffff;
	uint64_t first = second << 20 | (uint64_t)(slot & 63) << 14;

	if (last < first || last > first + REF_AHEAD)
		return first;
	if ((last & 0x3fff) == 0x3fff)
		return ((last >> 20) + 1) << 20 | (uint64_t)(slot & 63) << 14;
	return last + 1;
}

void edge_reference(struct edge *e, char out[11])
{
	uint64_t *cell = e->references ? e->references : &e->own_references;
	uint64_t last = __atomic_load_n(cell, __ATOMIC_RELAXED), value;
	struct arena scratch = ARENA_INIT;
	struct str text = STR_IN(&scratch);

	do
		value = next_reference(last, e->slot);
	while (!__atomic_compare_exchange_n(cell, &last, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	str_base32(&text, value, 10);
	memcpy(out, text.p, 10);
	out[10] = '\0';
	arena_drop(&scratch);
}

time_t edge_reference_time(struct slice ref)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t value = 0;

	if (ref.n != 10)
		return 0;
	for (size_t i = 0; i < ref.n; i++) {
		char c = ref.p[i] >= 'a' && ref.p[i] <= 'z' ? (char)(ref.p[i] - 32) : ref.p[i];
		const char *at = c ? strchr(digits, c) : NULL;

		if (!at)
			return 0;
		value = value << 5 | (uint64_t)(at - digits);
	}
	return (time_t)((int64_t)(value >> 20) + REF_EPOCH);
}

/* ---- speaking ---- */

void session_reply(struct session *s, const struct reply *r)
{
	struct arena scratch = ARENA_INIT;
	struct str wire = STR_IN(&scratch);

	reply_write(&wire, r);
	stream_write(&s->stream, str_slice(&wire));
	arena_drop(&scratch);
}

void session_say(struct session *s, enum reply_name name, struct slice detail)
{
	struct arena scratch = ARENA_INIT;
	struct reply r = reply_make(&scratch, name, detail, NULL, NULL);

	session_reply(s, &r);
	if (r.code >= 400)
		s->rejected++;
	arena_drop(&scratch);
}

void session_hang_up(struct session *s, enum reply_name name, struct slice detail)
{
	struct arena scratch = ARENA_INIT;
	struct reply r;
	char ref[11];

	edge_reference(s->edge, ref);
	r = reply_make(&scratch, name, detail, s->tx ? s->tx->envelope.ref : ref,
		s->config->help_url);
	session_reply(s, &r);
	s->rejected++;
	if (s->tx)
		transaction_decide(s->tx, r.code >= 500 ? DISPOSITION_REJECT : DISPOSITION_DEFER, &r);
	else if (!s->recorded)
		record_session(s, ref, &r);
	s->closing = true;
	arena_drop(&scratch);
}

void session_flush(struct session *s)
{
	journal_flush(s->edge->journal);
	if (stream_unsent(&s->stream) > 0)
		stream_flush(&s->stream);
}

bool session_client_heard(const struct session *s)
{
	return s->waited && stream_unsent(&s->stream) == 0 && stream_unacknowledged(&s->stream) == 0;
}

/* Some (Exim) send QUIT behind the message, close their side and wait for the answers: who said QUIT has not gone for that. */
static bool has_said_quit(struct session *s)
{
	const struct slice quit = SLICE("QUIT\r\n");

	while (stream_input(&s->stream).n < quit.n && stream_fill(&s->stream) > 0)
		;
	return s->stream.state != STREAM_FAILED &&
		slice_starts_nocase(stream_input(&s->stream), quit);
}

bool session_client_gone(struct session *s)
{
	if (!stream_is_open(&s->stream) || s->stream.state == STREAM_FAILED)
		return true;
	return (s->stream.watch.ready & WATCH_HANGUP) && !has_said_quit(s);
}

/* ---- the end ---- */

static void session_bury(void *object)
{
	struct session *s = object;

	arena_drop(&s->scratch);
	arena_drop(&s->arena);
	free(s->unheard);
	free(s);
}

static void connect_finished(struct connect_stage *stage);

/* One that has not begun yet, for want of a stack, never will. */
static void cancel_connect(struct connect_stage *stage)
{
	fiber_job_cancel(&stage->job);
	if (!stage->finished && !fiber_job_active(&stage->job))
		connect_finished(stage);
}

void session_close(struct session *s)
{
	if (s->mode == SESSION_CLOSED)
		return;
	s->mode = SESSION_CLOSED;
	s->closing = true;
	timer_clear(&s->timer);
	transaction_end(s);
	if (s->unheard_count > 0) {
		if (s->heard_end)
			commit_heard(s);
		else
			commit_unheard(s);
	}
	if (!s->recorded)
		record_session(s, NULL, NULL);
	if (s->connect)
		cancel_connect(s->connect);
	journal_flush(s->edge->journal);
	/* A refused client may still be sending: a reset would take our last words from it. */
	if (s->rejected > 0)
		stream_linger(&s->stream);
	else
		stream_close(&s->stream);
	if (s->counted)
		rate_session_end(s->edge->services.rates, &s->client.ip);
	s->edge->sessions--;
	edge_count(s->edge, EDGE_SESSIONS_OPEN, -1);
	ring_remove(&s->link);
	config_unref(s->config);
	/* A connect stage still under way holds the session; its end buries it. */
	if (!s->connect || s->connect->finished)
		loop_bury(session_bury, s);
}

/* ---- parking ---- */

static void session_pump(struct session *s);

static void park(struct session *s)
{
	if (!s->paused)
		timer_set(&s->timer, s->silent_until);
	stream_park(&s->stream);
}

void session_pause(struct session *s, nanoseconds span)
{
	session_flush(s);	/* what was said before is not delayed */
	s->paused = true;
	timer_set(&s->timer, deadline_in(span));
}

/* ---- command mode ---- */

static bool line_buffered(const struct session *s)
{
	struct slice in = stream_input(&s->stream);

	return slice_search(in, SLICE("\r\n")) >= 0;
}

/* The next whole line is due. Single octets of it put nothing off. */
static void expect_command(struct session *s)
{
	s->silent_until = deadline_in(s->listener->command_timeout);
}

static void begin_greeted_session(struct session *s)
{
	s->greeted = true;
	s->mode = SESSION_COMMAND;
	expect_command(s);
	session_say(s, REPLY_GREETING, slice_of(s->config->hostname));
	session_flush(s);
}

static ASYNC void session_work(void *arg)
{
	struct session *s = arg;
	struct slice line;

	if (s->mode == SESSION_DATA || s->mode == SESSION_CHUNK)
		data_finish(s);
	while (s->mode == SESSION_COMMAND && !s->closing && !s->paused &&
	       stream_line(&s->stream, &line))
		command_run(s, line);
	if (s->mode == SESSION_COMMAND)
		expect_command(s);
	if (!s->pumping)
		loop_later(&s->resume);
}

/* Borrows a fiber; true when it has ended already. */
static bool work(struct session *s)
{
	s->pumping = true;
	fiber_start(&s->job, "session", session_work, s);
	s->pumping = false;
	return !fiber_job_active(&s->job);
}

static void resume(struct job *j)
{
	struct session *s = container_of(j, struct session, resume);

	if (s->mode != SESSION_CLOSED)
		session_pump(s);
}

/* A line over the limit, or a flood behind an error: thrown away until it ends. */
static void refuse_long_line(struct session *s)
{
	COUNT_IF(true, LONG_LINE);
	stream_consume(&s->stream, stream_input(&s->stream).n);
	session_hang_up(s, REPLY_LINE_TOO_LONG, SLICE_NULL);
}

static void refuse_early_talker(struct session *s)
{
	COUNT_IF(true, EARLY_TALK);
	s->greeted = true;
	finding_add(&s->findings, &s->arena, CHECK_CLIENT, RESULT_EARLY_TALK, "talked before the greeting");
	session_hang_up(s, REPLY_EARLY_TALKER, SLICE_NULL);
}

static void read_proxy_header(struct session *s)
{
	size_t used = 0;
	struct ip client;
	uint16_t port = 0;

	switch (proxy_parse(stream_input(&s->stream), &used, &client, &port)) {
	case PROXY_MORE:
		return;
	case PROXY_BAD:
		COUNT_IF(true, PROXY_HEADER);
		finding_add(&s->findings, &s->arena, CHECK_CLIENT, RESULT_PERMERROR,
			"The load balancer's PROXY header is missing or malformed.");
		session_close(s);
		return;
	case PROXY_LOCAL:
		break;
	case PROXY_OK:
		s->client.ip = client;
		s->client.port = port;
		s->client.proxied = true;
		break;
	}
	stream_consume(&s->stream, used);
	s->mode = SESSION_GREET;
}

static void session_begin(struct session *s);

/* One step of a session that owns no fiber. false: nothing can be done without more input. */
static bool step(struct session *s)
{
	struct slice in = stream_input(&s->stream);

	switch (s->mode) {
	case SESSION_PROXY:
		read_proxy_header(s);
		if (s->mode == SESSION_GREET)
			session_begin(s);
		return s->mode == SESSION_COMMAND ||
			(s->mode == SESSION_GREET && stream_input(&s->stream).n > 0);
	case SESSION_GREET:
		if (in.n > 0)
			refuse_early_talker(s);
		return false;
	case SESSION_COMMAND:
		if (!line_buffered(s)) {
			if (in.n > s->listener->line_limit + 1)		/* the 1: a CR whose LF is on its way */
				refuse_long_line(s);
			return false;
		}
		return work(s);
	case SESSION_DATA:
	case SESSION_CHUNK:
		if (in.n == 0 && (s->mode == SESSION_DATA || s->chunk_left > 0))
			return false;
		return data_push(s) ? work(s) : stream_input(&s->stream).n > 0;
	default:
		stream_consume(&s->stream, in.n);
		return false;
	}
}

/* The peer closed its side: did it hear our last 250? An orderly close after everything was acknowledged says so. */
static void peer_ended(struct session *s)
{
	s->heard_end = s->stream.state == STREAM_EOF && session_client_heard(s);
	COUNT_IF(s->stream.state == STREAM_FAILED, PEER_RESET);
	session_close(s);
}

/* Nothing is left to say, but a 250 may be unheard, since QUIT came with the message or we are going away. An orderly
 * close is the answer. true: it is waited for. */
static bool await_end(struct session *s)
{
	if (s->unheard_count == 0 || s->mode == SESSION_LINGER || session_client_gone(s))
		return false;
	s->mode = SESSION_LINGER;
	s->closing = false;
	s->silent_until = deadline_in(END_WAIT);
	if (!s->stream.tls && stream_unsent(&s->stream) == 0)
		shutdown(s->stream.watch.fd, SHUT_WR);
	return true;
}

static void session_pump(struct session *s)
{
	for (;;) {
		if (s->mode == SESSION_CLOSED || fiber_job_active(&s->job))
			return;
		if (s->paused)
			return;		/* what is said next waits for the timer, and so does the end */
		if (s->closing) {
			session_flush(s);
			if (await_end(s))
				continue;
			session_close(s);
			return;
		}
		if (step(s))
			continue;
		if (s->mode == SESSION_CLOSED || s->closing || s->paused || fiber_job_active(&s->job))
			continue;
		session_flush(s);
		int n = stream_fill(&s->stream);
		if (n < 0) {
			peer_ended(s);
			return;
		}
		if (n == 0) {
			s->waited = true;
			park(s);
			return;
		}
	}
}

static void on_ready(struct stream *stream)
{
	struct session *s = stream->owner;

	if (fiber_job_active(&s->job))
		data_watch_client(s);
	session_pump(s);
}

/* ---- time ---- */

static void on_timer(struct timer *t)
{
	struct session *s = container_of(t, struct session, timer);

	if (fiber_job_active(&s->job))
		return;		/* its own deadlines hold */
	if (s->paused) {
		s->paused = false;
		if (s->refusal_due)
			session_hang_up(s, (enum reply_name)s->refusal_due, SLICE_NULL);
		session_pump(s);
		return;
	}
	switch (s->mode) {
	case SESSION_GREET:
		begin_greeted_session(s);
		session_pump(s);
		return;
	case SESSION_DATA:
	case SESSION_CHUNK: {
		enum reply_name refusal = data_progress(s);

		if (refusal == REPLY_NONE) {
			timer_set(&s->timer, s->silent_until);
			return;
		}
		COUNT_IF(true, SLOW_PEER);
		session_hang_up(s, refusal, SLICE_NULL);
		break;
	}
	case SESSION_COMMAND:
		if (!deadline_passed(s->silent_until)) {
			timer_set(&s->timer, s->silent_until);
			return;
		}
		session_hang_up(s, REPLY_TIMEOUT, SLICE_NULL);
		break;
	default:
		s->closing = true;
	}
	session_pump(s);
}

/* ---- the beginning ---- */

static void connect_finished(struct connect_stage *stage)
{
	stage->finished = true;
	config_unref(stage->config);
}

static ASYNC void connect_work(void *arg)
{
	struct connect_stage *stage = arg;
	struct session *s = stage->session;
	struct findings found = { 0 };

	stage_connect(&s->edge->services, stage->config, &s->client, &found, &s->arena,
		deadline_in(stage->config->dnsbl.timeout));
	connect_finished(stage);
	if (s->mode == SESSION_CLOSED) {
		loop_bury(session_bury, s);
		return;
	}
	if (found.first) {
		*(s->findings.last ? s->findings.last : &s->findings.first) = found.first;
		s->findings.last = found.last;
	}
	event_set(&stage->done);
}

ASYNC void session_join_connect(struct session *s, deadline d)
{
	if (s->connect && !s->connect->finished)
		wait_event(&s->connect->done, "connect stage", d);
}

static void start_connect_stage(struct session *s)
{
	if (!stage_connect_waits(s->config, &s->client))
		return;
	s->connect = arena_new(&s->arena, struct connect_stage);
	s->connect->session = s;
	s->connect->config = s->config;
	config_ref(s->connect->config);
	event_init(&s->connect->done);
	fiber_start(&s->connect->job, "connect", connect_work, s->connect);
}

static enum reply_name admit(struct session *s)
{
	const struct listener_conf *l = s->listener;

	if (l->allow && !ip_set_contains(l->allow, &s->client.ip))
		return REPLY_NOT_PERMITTED;
	if (s->edge->sessions > (l->max_sessions + s->config->workers - 1) / s->config->workers)
		return REPLY_BUSY;
	if (!s->edge->services.rates || s->client.class == CLIENT_TRUSTED)
		return REPLY_NONE;
	switch (rate_session_begin(s->edge->services.rates, &s->client.ip, l->max_sessions_per_client,
			l->connection_rate)) {
	case RATE_TOO_MANY_SESSIONS:
		return REPLY_TOO_MANY_SESSIONS;
	case RATE_TOO_FAST:
		return REPLY_TOO_FAST;
	case RATE_OK:
		s->counted = true;
	}
	return REPLY_NONE;
}

/* The client's address is known: lists, limits, then the greeting. */
static void session_begin(struct session *s)
{
	enum reply_name refusal;

	client_check_lists(&s->config->clients, &s->client, &s->findings, &s->arena);
	refusal = admit(s);
	if (refusal != REPLY_NONE) {
		edge_count(s->edge, EDGE_SESSIONS_REFUSED, 1);
		/* Told at once, a client over its limit is back at once. */
		if (refusal == REPLY_BUSY || refusal == REPLY_NOT_PERMITTED) {
			session_hang_up(s, refusal, SLICE_NULL);
		} else {
			s->refusal_due = (uint16_t)refusal;
			session_pause(s, FLOOD_DELAY);
		}
		return;
	}
	start_connect_stage(s);
	if (s->listener->greet_wait == 0 || s->client.class == CLIENT_TRUSTED)
		begin_greeted_session(s);
	else
		s->silent_until = deadline_in(s->listener->greet_wait);
}

void session_start(struct edge *e, const struct listener_conf *l, int fd, const struct ip *peer, uint16_t port)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return;
	}
	if (!stream_open(&s->stream, fd, on_ready, s)) {	/* has closed it */
		free(s);
		return;
	}
	s->timer.fn = on_timer;
	s->resume.fn = resume;
	s->edge = e;
	s->config = e->config;
	config_ref(s->config);
	s->listener = l;
	s->client.ip = *peer;
	s->client.port = port;
	s->began = clock_now();
	s->mode = SESSION_GREET;
	ring_add_last(&e->all, &s->link);
	e->sessions++;
	edge_count(e, EDGE_SESSIONS, 1);
	edge_count(e, EDGE_SESSIONS_OPEN, 1);
	if (l->proxy_from && ip_set_contains(l->proxy_from, peer)) {
		s->mode = SESSION_PROXY;
		s->silent_until = deadline_in(PROXY_WAIT);
	} else {
		session_begin(s);
	}
	session_pump(s);
}

/* ---- all sessions ---- */

void edge_configure(struct edge *e, struct config *c)
{
	config_ref(c);
	if (e->config)
		config_unref(e->config);
	e->config = c;
	e->offers_at = 0;
	e->spool.memory = c->spool_memory;
	e->spool.memory_total = c->spool_memory_total;
}

void edge_drain(struct edge *e, bool transactions)
{
	struct ring *next;

	e->draining = true;
	for (struct ring *at = e->all.next; at != &e->all; at = next) {
		struct session *s = container_of(at, struct session, link);

		next = at->next;
		if (s->mode == SESSION_LINGER || fiber_job_active(&s->job) || (s->tx && (!transactions || s->mode != SESSION_COMMAND)))
			continue;
		if (s->greeted)
			session_hang_up(s, REPLY_SHUTTING_DOWN, SLICE_NULL);
		s->closing = true;
		session_pump(s);
	}
}
