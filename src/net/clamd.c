/*
 * INSTREAM, linear: the fiber of a scan is its state.
 *
 * Rejected: a session of many scans on one connection (IDSESSION): the answers carry numbers, and one that is
 * misread would speak for another message; a Unix socket costs 30 microseconds. Passing a file descriptor (FILDES):
 * nothing could be scanned before the end, and spooled messages are in memory mostly.
 */
#include "net/clamd.h"

#include <stdio.h>

static bool failed(struct clamd *c, const char **why, const char *reason)
{
	*why = reason;
	clamd_close(c);
	return false;
}

void clamd_close(struct clamd *c)
{
	if (stream_is_open(&c->stream))
		stream_abort(&c->stream);
}

static bool open_with(struct clamd *c, const struct endpoint *to, struct slice command, const char **why, deadline d)
{
	memset(c, 0, sizeof(*c));
	c->stream.watch.fd = -1;
	if (!stream_connect(&c->stream, to, why, "clamd connect", d)) {
		clamd_close(c);
		return false;
	}
	stream_write(&c->stream, command);
	return true;
}

ASYNC bool clamd_open(struct clamd *c, const struct endpoint *to, const char **why, deadline d)
{
	return open_with(c, to, slice_make("zINSTREAM", 10), why, d);
}

static ASYNC bool send_chunk(struct clamd *c, struct slice octets, const char **why, deadline d)
{
	uint32_t n = (uint32_t)octets.n;
	char head[4] = { (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n };
	struct iovec iov[2] = { { head, sizeof(head) }, { (char *)octets.p, octets.n } };
	enum wait_result r = stream_send(&c->stream, iov, n > 0 ? 2 : 1, "clamd stream", d);

	if (r != WAIT_READY)
		return failed(c, why, r == WAIT_CANCELLED ? "cancelled" : "timeout: clamd takes no data");
	if (c->stream.state == STREAM_FAILED)
		return failed(c, why, "clamd closed the connection in mid-stream");
	c->sent += n;
	return true;
}

ASYNC bool clamd_send(struct clamd *c, struct slice octets, const char **why, deadline d)
{
	while (octets.n > 0 && !c->answered) {
		struct slice chunk = slice_head(octets, CLAMD_CHUNK_MOST);

		stream_fill(&c->stream);
		if (stream_input(&c->stream).n > 0) {
			c->answered = true;
			break;
		}
		if (!send_chunk(c, chunk, why, d))
			return false;
		octets = slice_from(octets, chunk.n);
	}
	return true;
}

/* Reads up to the NUL. */
static ASYNC bool read_answer(struct clamd *c, struct slice *text, const char **why, deadline d)
{
	for (;;) {
		struct slice in = stream_input(&c->stream);
		ptrdiff_t end = slice_find(in, '\0');
		enum wait_result r;

		if (end >= 0 && (size_t)end + 1 < in.n)
			return failed(c, why, "malformed answer: more than one");
		if (end >= 0) {
			*text = slice_head(in, (size_t)end);
			return true;
		}
		if (in.n > CLAMD_ANSWER_MOST)
			return failed(c, why, "malformed answer: too long");
		if (c->stream.state != STREAM_OPEN)
			return failed(c, why, in.n > 0 ? "malformed answer: half of it" : "clamd closed without an answer");
		r = stream_read(&c->stream, "clamd answer", d);
		if (r != WAIT_READY)
			return failed(c, why, r == WAIT_CANCELLED ? "cancelled" : "timeout: clamd does not answer");
	}
}

/* What peers say is shown with every odd octet escaped. */
static const char *shown(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);

	str_escaped(&out, text, 200);
	return str_cstr(&out);
}

bool clamd_answer_parse(struct clamd_answer *out, struct slice text, struct arena *a, const char **why)
{
	struct slice name;

	if (text.n > 6 && slice_ends_nocase(text, SLICE(" ERROR"))) {
		*why = arena_printf(a, "clamd: %s", shown(a, text));
		return false;
	}
	*why = "malformed answer";
	if (!slice_starts(text, SLICE("stream: ")))
		return false;
	name = slice_from(text, 8);
	if (slice_eq(name, SLICE("OK"))) {
		*out = (struct clamd_answer){ .infected = false };
		return true;
	}
	if (name.n <= 6 || !slice_eq(slice_from(name, name.n - 6), SLICE(" FOUND")))
		return false;
	name = slice_head(name, name.n - 6);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] < ' ' || name.p[i] >= 127)
			return false;
	*out = (struct clamd_answer){ .infected = true, .virus = shown(a, name) };
	return true;
}

ASYNC bool clamd_finish(struct clamd *c, struct arena *a, struct clamd_answer *out, const char **why, deadline d)
{
	struct slice text;
	bool ok;

	stream_fill(&c->stream);
	c->answered = c->answered || stream_input(&c->stream).n > 0;
	if (!c->answered && !send_chunk(c, SLICE_NULL, why, d))
		return false;
	if (!read_answer(c, &text, why, d))
		return false;
	/* "OK" to what it has not seen whole is no answer. */
	*why = "malformed answer: before the end of the message";
	ok = clamd_answer_parse(out, text, a, why) && (!c->answered || out->infected);
	if (!ok && c->answered && out->virus == NULL && slice_eq(text, SLICE("stream: OK")))
		*why = "malformed answer: before the end of the message";
	clamd_close(c);
	return ok;
}

ASYNC bool clamd_version(const struct endpoint *to, struct arena *a, const char **version, const char **why,
	deadline d)
{
	struct slice text;
	struct clamd c;

	if (!open_with(&c, to, slice_make("zPING", 6), why, d) ||
	    stream_drain(&c.stream, "clamd ping", d) != WAIT_READY || !read_answer(&c, &text, why, d)) {
		clamd_close(&c);
		return false;
	}
	*why = "malformed answer to PING";
	if (!slice_eq(text, SLICE("PONG"))) {
		clamd_close(&c);
		return false;
	}
	clamd_close(&c);
	if (!open_with(&c, to, slice_make("zVERSION", 9), why, d) ||
	    stream_drain(&c.stream, "clamd version", d) != WAIT_READY || !read_answer(&c, &text, why, d)) {
		clamd_close(&c);
		return false;
	}
	*version = shown(a, text);
	clamd_close(&c);
	return true;
}
