/*
 * The client of a rehearsal: it talks as an ordinary mail server does, one
 * command at a time so that the dialogue reads well, and comes back in a new
 * transaction for recipients that were told 452 4.5.3.
 */
#include "app/tool_try.h"

#define PATIENCE (10 * 60 * NS_PER_SECOND)
#define REPLY_LINE_MAX 4096
#define AWAIT_END (10 * NS_PER_SECOND)

struct answer {
	unsigned code;		/* 0: the connection is gone */
	const char *text;	/* its last line, codes included */
};

static void note(struct play *p, const char *who, const char *text)
{
	if (p->json)
		json_array_append_new(p->dialogue, json_pack("{s:s,s:s}", "who", who, "text", text));
	else
		tool_print(p->tool, "%c: %s\n", who[0] == 'c' ? 'C' : 'S', tool_safe(p->tool, slice_of(text)));
}

static void learn_offer(struct play *p, struct slice text)
{
	if (slice_eq_nocase(text, SLICE("SMTPUTF8")))
		p->can_utf8 = true;
	else if (slice_eq_nocase(text, SLICE("8BITMIME")))
		p->can_8bit = true;
}

static ASYNC struct answer hear(struct play *p)
{
	struct answer a = { 0, "the connection was closed" };
	struct slice line;
	uint64_t code = 0;
	bool more = true;

	while (more && !p->gone) {
		if (stream_read_line(&p->stream, &line, REPLY_LINE_MAX, "reply", deadline_in(PATIENCE)) != WAIT_READY ||
		    !line.p || line.n < 3 || !slice_number(slice_head(line, 3), 599, &code)) {
			p->gone = true;
			break;
		}
		a.text = slice_cstr(&p->arena, line);
		more = line.n > 3 && line.p[3] == '-';
		learn_offer(p, slice_from(line, 4));
		note(p, "server", a.text);
	}
	if (!p->gone)
		a.code = (unsigned)code;
	return a;
}

static ASYNC struct answer say(struct play *p, const char *text)
{
	note(p, "client", text);
	stream_printf(&p->stream, "%s\r\n", text);
	if (!stream_flush(&p->stream))
		p->gone = true;
	return hear(p);
}

static void settle(struct play_recipient *r, const struct answer *a)
{
	r->code = a->code;
	r->reply = a->text;
}

/* Whoever has no answer yet gets this one. */
static void settle_all(struct play *p, const struct answer *a, bool *pending)
{
	for (size_t i = 0; i < p->recipient_count; i++)
		if (pending[i]) {
			settle(&p->recipients[i], a);
			pending[i] = false;
		}
}

/* RFC 5321 section 4.5.2: a line that begins with a dot gets another. */
static void add_stuffed(struct str *out, struct slice rest)
{
	while (rest.n > 0) {
		ptrdiff_t end = slice_find(rest, '\n');
		size_t n = end < 0 ? rest.n : (size_t)end + 1;

		if (rest.p[0] == '.')
			str_addc(out, '.');
		str_add(out, slice_head(rest, n));
		rest = slice_from(rest, n);
	}
	if (out->n < 2 || out->p[out->n - 1] != '\n' || out->p[out->n - 2] != '\r')
		str_puts(out, "\r\n");
}

static ASYNC struct answer send_body(struct play *p)
{
	struct str body = STR_IN(&p->arena);
	struct iovec iov;

	add_stuffed(&body, p->message);
	str_puts(&body, ".\r\n");
	iov = (struct iovec){ body.p, body.n };
	note(p, "client", arena_printf(&p->arena, "(%zu octets of message)", p->message.n));
	if (stream_send(&p->stream, &iov, 1, "message", deadline_in(PATIENCE)) != WAIT_READY)
		p->gone = true;
	return hear(p);
}

static const char *mail_line(struct play *p)
{
	bool utf8 = !ascii_only(p->from);

	for (size_t i = 0; i < p->recipient_count; i++)
		utf8 = utf8 || !ascii_only(p->recipients[i].address);
	return arena_printf(&p->arena, "MAIL FROM:<%s>%s%s%s", p->from.p,
		p->has_message ? arena_printf(&p->arena, " SIZE=%zu", p->message.n) : "",
		p->has_message && p->can_8bit && !ascii_only(p->message) ? " BODY=8BITMIME" : "",
		utf8 && p->can_utf8 ? " SMTPUTF8" : "");
}

static bool must_come_alone(const struct answer *a)
{
	return a->code == 452 && strncmp(a->text + 4, "4.5.3", 5) == 0;
}

/* One transaction with all who are pending. Those told 452 4.5.3 beside others stay so. */
static ASYNC void transact(struct play *p, bool *pending)
{
	bool *here = arena_array(&p->arena, bool, p->recipient_count);
	struct answer a = say(p, mail_line(p));
	size_t accepted = 0;

	if (a.code != 250) {
		settle_all(p, &a, pending);
		return;
	}
	for (size_t i = 0; i < p->recipient_count && !p->gone; i++) {
		if (!pending[i])
			continue;
		a = say(p, arena_printf(&p->arena, "RCPT TO:<%s>", p->recipients[i].address.p));
		settle(&p->recipients[i], &a);
		here[i] = a.code / 100 == 2;
		accepted += here[i];
		pending[i] = must_come_alone(&a) && accepted > 0;
	}
	if (accepted > 0 && p->has_message && !p->gone) {
		a = say(p, "DATA");
		if (a.code == 354)
			a = send_body(p);
		for (size_t i = 0; i < p->recipient_count; i++)
			if (here[i])
				settle(&p->recipients[i], &a);
	} else if (!p->gone) {
		say(p, "RSET");
	}
}

static bool any(const bool *pending, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (pending[i])
			return true;
	return false;
}

static ASYNC void converse(struct play *p)
{
	bool *pending = arena_array(&p->arena, bool, p->recipient_count);
	struct answer a = hear(p);

	memset(pending, true, p->recipient_count * sizeof(*pending));
	if (a.code == 220)
		a = say(p, arena_printf(&p->arena, "EHLO %s", p->helo));
	if (a.code != 250)
		settle_all(p, &a, pending);
	while (any(pending, p->recipient_count) && !p->gone)
		transact(p, pending);
	if (!p->gone)
		say(p, "QUIT");
}

void play_client(void *play)
{
	struct play *p = play;
	deadline end;

	if (stream_open(&p->stream, p->fd, NULL, p)) {
		converse(p);
		stream_close(&p->stream);
	}
	end = deadline_in(AWAIT_END);
	while (p->edge.sessions > 0 && !deadline_passed(end))
		wait_until("the session's end", deadline_in(5 * NS_PER_MS));
}
