/*
 * One outbound dialogue: what we say to a backend and what it answers.
 *
 * The caller queues commands and asks for replies, one call each. Everything queued leaves in one
 * write when the first reply is asked for; the replies come from the buffer. Whether the
 * backend can take commands in a group is decided here: without PIPELINING the lines behind the
 * first are held and leave one by one, so that callers are written once, for the fast case.
 *
 * Keeping step. `unread` counts the replies owed. A reply that nobody is owed, sent in
 * advance or beside another, would be taken for the answer to the next command: the answer to a
 * forged RCPT for the answer to our dot, and a message lost (the client-side twin of SMTP smuggling).
 * So bytes behind the last reply owed break the connection, and so do bytes that are there
 * before the first command of a group is queued. DATA is the one command with a point of no return;
 * its phase is tracked, and commands queued in it are a bug of ours.
 *
 * Trouble is never an answer: a reply that does not parse, has the wrong class for its command (a 3yz outside
 * DATA, a 2yz to DATA) or does not come leaves the client broken with the reason.
 *
 * Rejected: a callback per reply (the relay is linear code), a state machine per
 * phase (the fiber is the state), parsing leniently what other MTAs parse leniently (a relay
 * that guesses what a backend meant loses mail).
 */
#include "net/smtp_client.h"

#include "base/log.h"
#include "base/table.h"

#include <errno.h>
#include <stdio.h>

#define CONNECT_BUDGET (5 * NS_PER_SECOND)
#define REPLY_LINE 4096		/* octets; the parser has the other limits */
#define COMMAND_LINE 512	/* RFC 5321 section 4.5.3.1.4, with CRLF */
#define ATTRIBUTE_MOST 255	/* octets of an XFORWARD or XCLIENT value, before encoding */

/* ---- the end of it ---- */

static bool client_fail(struct smtp_client *c, const char **why, const char *reason)
{
	if (!c->broken)
		c->reason = arena_printf(&c->arena, "%s", reason);
	c->broken = true;
	*why = reason;
	return false;
}

/* The same where nobody asks for a reason now. */
static void client_spoil(struct smtp_client *c, const char *reason)
{
	if (!c->broken)
		c->reason = reason;
	c->broken = true;
}

void smtp_client_close(struct smtp_client *c)
{
	stream_abort(&c->stream);
	arena_drop(&c->arena);
	c->held = STR_IN(&c->arena);
	c->broken = true;
}

void smtp_client_quit(struct smtp_client *c)
{
	if (!c->broken && c->data == DATA_NONE && c->unread == 0) {
		stream_write(&c->stream, SLICE("QUIT\r\n"));
		stream_close(&c->stream);
	}
	smtp_client_close(c);
}

/* ---- queueing ---- */

bool smtp_client_is_quiet(struct smtp_client *c)
{
	bool message = c->data == DATA_OPEN;

	BUG_ON(c->unread > 0);
	if (!c->broken && stream_input(&c->stream).n == 0 && stream_fill(&c->stream) < 0)
		client_spoil(c, message ? "closed by the backend before the end of the message" :
			"closed by the backend between commands");
	if (!c->broken && stream_input(&c->stream).n > 0)
		client_spoil(c, message ? "the backend spoke before the end of the message" : "the backend spoke unasked");
	return !c->broken;
}

/* The next command line begins: false if it would be in vain. */
static bool command_begin(struct smtp_client *c)
{
	BUG_ON(c->data != DATA_NONE);	/* it would become part of a message */
	if (c->broken || (c->unread == 0 && !smtp_client_is_quiet(c)))
		return false;
	return true;
}

static bool is_held(const struct smtp_client *c)
{
	return c->unread > 0 && !(c->capabilities & CAP_PIPELINING);
}

static void command_add(struct smtp_client *c, struct slice piece)
{
	if (piece.n == 0)
		return;
	/* A line end in an argument would begin a command of the client's choice at our backend. */
	BUG_ON(memchr(piece.p, '\r', piece.n) || memchr(piece.p, '\n', piece.n) || memchr(piece.p, '\0', piece.n));
	if (is_held(c))
		str_add(&c->held, piece);
	else
		stream_write(&c->stream, piece);
}

static void command_end(struct smtp_client *c)
{
	if (is_held(c))
		str_add(&c->held, SLICE("\r\n"));
	else
		stream_write(&c->stream, SLICE("\r\n"));
	c->unread++;
}

void smtp_client_queue(struct smtp_client *c, const char *format, ...)
{
	char line[2048];
	va_list args;
	int n;

	if (!command_begin(c))
		return;
	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	BUG_ON(n <= 0 || (size_t)n >= sizeof(line));
	command_add(c, slice_make(line, (size_t)n));
	command_end(c);
	if (slice_eq_nocase(slice_make(line, (size_t)n), SLICE("DATA")))
		c->data = DATA_ASKED;
}

void smtp_client_expect(struct smtp_client *c, uint32_t replies)
{
	BUG_ON(c->data != DATA_OPEN || c->unread > 0);
	c->unread = replies;
	c->data = DATA_NONE;
	c->delivering = true;
	c->answers_each = 0;
}

void smtp_client_expect_prdr(struct smtp_client *c, uint32_t recipients)
{
	smtp_client_expect(c, 1);
	c->answers_each = recipients + 1;
}

/* The line after the one that was answered. */
static void held_release(struct smtp_client *c)
{
	struct slice rest = slice_from(str_slice(&c->held), c->held_at);
	ptrdiff_t lf = slice_find(rest, '\n');

	if (lf < 0)
		return;
	stream_write(&c->stream, slice_head(rest, (size_t)lf + 1));
	c->held_at += (size_t)lf + 1;
	if (c->held_at == c->held.n)
		c->held.n = c->held_at = 0;
}

/* ---- replies ---- */

static void hear_capability(void *arg, struct slice text, bool first)
{
	if (!first)	/* the backend's name and greeting */
		smtp_client_capability(arg, text);
}

/* A line of the backend's. begun: the reply has begun. false: *why, and broken unless nothing has begun. */
ASYNC static bool read_line(struct smtp_client *c, struct arena *a, struct slice *line, bool begun,
	const char **why, const char *label, deadline d)
{
	enum wait_result r = stream_read_line(&c->stream, line, REPLY_LINE, label, d);

	if (r == WAIT_CANCELLED && !begun) {
		*why = "cancelled";
		return false;
	}
	if (r != WAIT_READY)
		return client_fail(c, why, r == WAIT_CANCELLED ? "cancelled" : arena_printf(a, "timeout: %s", label));
	if (!line->p) {
		bool too_long = c->stream.state == STREAM_OPEN;

		COUNT_IF(too_long, BACKEND_REPLY);
		COUNT_IF(!too_long, BACKEND_GONE);
		if (too_long)
			return client_fail(c, why, "malformed reply: line too long");
		if (c->stream.state == STREAM_EOF)
			return client_fail(c, why, arena_printf(a, "connection closed: %s", label));
		return client_fail(c, why, arena_printf(a, "%s: %s",
			c->stream.error ? strerrordesc_np(c->stream.error) : "connection failed", label));
	}
	/* Only CRLF ends a line: what stands behind a bare CR or LF may be meant as another reply. */
	if (memchr(line->p, '\r', line->n) || memchr(line->p, '\n', line->n) || memchr(line->p, '\0', line->n)) {
		glitch_count(GLITCH_BACKEND_REPLY);
		return client_fail(c, why, "malformed reply: bare CR, bare LF or NUL");
	}
	return true;
}

/* Is this a reply that can be given to what was asked? RFC 5321 section 4.3.2: 3yz answers DATA alone,
 * and nothing else but an error does. */
static bool reply_fits(const struct smtp_client *c, uint16_t code)
{
	if (c->data == DATA_ASKED && c->unread == 1)
		return code == 354 || code / 100 == 4 || code / 100 == 5;
	return code / 100 == 2 || code / 100 == 4 || code / 100 == 5 || (code == 353 && c->answers_each > 0);
}

/* The reply has been read: what it means for the step. */
static bool reply_settle(struct smtp_client *c, const struct reply *reply, const char **why)
{
	if (!reply_fits(c, reply->code)) {
		glitch_count(GLITCH_BACKEND_REPLY);
		return client_fail(c, why, "malformed reply: code does not fit the command");
	}
	c->unread--;
	if (reply->code == 353)		/* reply_fits(): to the dot, under PRDR */
		c->unread += c->answers_each;
	c->answers_each = 0;
	if (!reply_is_positive(reply) && reply->code / 100 != 3)
		c->errors++;
	else if (c->delivering)
		c->errors = 0;
	c->delivering &= c->unread > 0;
	if (reply->code == 421) {
		client_spoil(c, "closed by the backend with 421");
		return true;
	}
	if (c->unread == 0 && c->data == DATA_ASKED)
		c->data = reply->code == 354 ? DATA_OPEN : DATA_NONE;
	if (c->unread == 0 && stream_input(&c->stream).n > 0) {
		glitch_count(GLITCH_BACKEND_REPLY);
		client_spoil(c, "malformed reply: more than was asked for");	/* this answer holds, the rest is nobody's */
	}
	held_release(c);
	return true;
}

/* The next reply owed. */
ASYNC static bool read_reply(struct smtp_client *c, struct arena *a, struct reply *out,
	void (*on_line)(void *, struct slice, bool), const char **why, const char *label, deadline d)
{
	enum reply_parse state = REPLY_PARSE_MORE;
	const char *reason = NULL;
	struct slice line;

	if (c->broken)
		return client_fail(c, why, c->reason ? c->reason : "connection is broken");
	BUG_ON(c->unread == 0);
	stream_flush(&c->stream);	/* a failure shows when we read; a last reply may be there */
	reply_parser_init(&c->parser, a);
	c->parser.on_line = on_line;
	c->parser.arg = c;
	for (bool begun = false; state == REPLY_PARSE_MORE; begun = true) {
		if (!read_line(c, a, &line, begun, why, label, d))
			return false;
		state = reply_parser_line(&c->parser, line, &reason);
	}
	if (state == REPLY_PARSE_BAD) {
		glitch_count(GLITCH_BACKEND_REPLY);
		return client_fail(c, why, arena_printf(a, "malformed reply: %s", reason));
	}
	if (!reply_settle(c, &c->parser.reply, why))
		return false;
	*out = c->parser.reply;
	return true;
}

/* Replies to XFORWARD. A backend that declines it gets the message all the same, and is not asked again. */
ASYNC static bool skip_replies(struct smtp_client *c, struct arena *a, const char **why, deadline d)
{
	while (c->skip > 0) {
		struct reply reply = { .name = REPLY_NONE };

		if (!read_reply(c, a, &reply, NULL, why, "reply to XFORWARD", d))
			return false;
		c->skip--;
		if (reply_is_permanent(&reply))
			c->xforward = 0;
	}
	return true;
}

bool smtp_client_reply(struct smtp_client *c, struct arena *a, struct reply *out,
	const char **why, const char *label, deadline d)
{
	if (!c->broken && c->skip > 0 && !skip_replies(c, a, why, d))
		return false;
	return read_reply(c, a, out, NULL, why, label, d);
}

/* ---- EHLO ---- */

enum attribute { ATTR_NAME = 1, ATTR_ADDR = 2, ATTR_PORT = 4, ATTR_PROTO = 8, ATTR_HELO = 16,
	ATTR_IDENT = 32, ATTR_SOURCE = 64 };

/* In the order in which they are sent. */
static const struct {
	struct slice name;
	enum attribute bit;
} attributes[] = {
	{ { "NAME", 4 }, ATTR_NAME }, { { "ADDR", 4 }, ATTR_ADDR }, { { "PORT", 4 }, ATTR_PORT },
	{ { "PROTO", 5 }, ATTR_PROTO }, { { "HELO", 4 }, ATTR_HELO }, { { "IDENT", 5 }, ATTR_IDENT },
	{ { "SOURCE", 6 }, ATTR_SOURCE },
};
#define ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

static const struct {
	struct slice keyword;
	enum capability bit;
} capabilities[] = {
	{ { "PIPELINING", 10 }, CAP_PIPELINING }, { { "SIZE", 4 }, CAP_SIZE }, { { "8BITMIME", 8 }, CAP_8BITMIME },
	{ { "SMTPUTF8", 8 }, CAP_SMTPUTF8 }, { { "DSN", 3 }, CAP_DSN }, { { "CHUNKING", 8 }, CAP_CHUNKING },
	{ { "ENHANCEDSTATUSCODES", 19 }, CAP_ENHANCED }, { { "STARTTLS", 8 }, CAP_STARTTLS },
	{ { "XFORWARD", 8 }, CAP_XFORWARD }, { { "XCLIENT", 7 }, CAP_XCLIENT }, { { "PRDR", 4 }, CAP_PRDR },
};

static unsigned attribute_bits(struct slice rest)
{
	unsigned bits = 0;
	struct slice word;

	while (!slice_empty(word = slice_word(&rest)))
		for (size_t i = 0; i < ATTRIBUTES; i++)
			if (slice_eq_nocase(word, attributes[i].name))
				bits |= attributes[i].bit;
	return bits;
}

/* ehlo-keyword SP ehlo-param *(SP ehlo-param), RFC 5321 section 4.1.1.1. SIZE 0 and SIZE alone tell
 * no limit (RFC 1870 section 4), and so does one that is no number. */
void smtp_client_capability(struct smtp_client *c, struct slice line)
{
	struct slice keyword = slice_word(&line);
	unsigned bit = 0;

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]) && !bit; i++)
		if (slice_eq_nocase(keyword, capabilities[i].keyword))
			bit = capabilities[i].bit;
	c->capabilities |= bit;
	if (bit == CAP_SIZE && !slice_number(slice_word(&line), UINT64_MAX, &c->size_limit))
		c->size_limit = 0;
	if (bit == CAP_XFORWARD)
		c->xforward = attribute_bits(line);
	if (bit == CAP_XCLIENT)
		c->xclient = attribute_bits(line);
}

/* EHLO, LHLO or HELO under this name. False: no reply; *reply may be a refusal. */
ASYNC static bool say_hello(struct smtp_client *c, struct arena *a, const char *verb, const char *name,
	struct reply *reply, const char **why, deadline d)
{
	bool extended = strcmp(verb, "HELO") != 0;

	c->capabilities = 0;
	c->size_limit = 0;
	c->xforward = c->xclient = 0;
	smtp_client_queue(c, "%s %s", verb, name);
	return read_reply(c, a, reply, extended ? hear_capability : NULL, why, "reply to EHLO", d);
}

/* RFC 5321 section 3.2: a server that does not know EHLO is asked with HELO. There is no old LMTP. */
ASYNC static bool introduce(struct smtp_client *c, struct arena *a, const char *our_name, struct reply *reply,
	const char **why, deadline d)
{
	if (!say_hello(c, a, c->lmtp ? "LHLO" : "EHLO", our_name, reply, why, d))
		return false;
	if (!c->lmtp && reply_is_permanent(reply) && !say_hello(c, a, "HELO", our_name, reply, why, d))
		return false;
	if (!reply_is_positive(reply))
		return client_fail(c, why, arena_printf(a, "EHLO refused with %u", reply->code));
	return true;
}

/* ---- opening ---- */

ASYNC static bool greet(struct smtp_client *c, struct reply *reply, const char **why, deadline d)
{
	c->unread = 1;
	if (!read_reply(c, &c->arena, reply, NULL, why, "greeting", d))
		return false;
	if (reply->code == 220)
		return true;
	if (reply_is_positive(reply)) {
		glitch_count(GLITCH_BACKEND_REPLY);
		return client_fail(c, why, arena_printf(&c->arena, "malformed greeting: %u", reply->code));
	}
	return client_fail(c, why, arena_printf(&c->arena, "greeting was %u", reply->code));
}

/* STARTTLS and the handshake, RFC 3207. Opportunistic: a backend that offers it and then refuses is
 * spoken to in plaintext. */
ASYNC static bool start_tls(struct smtp_client *c, bool verify, struct tls_context *tls, const char *our_name,
	struct reply *reply, const char **why, deadline d)
{
	const char *reason = NULL;

	if (!(c->capabilities & CAP_STARTTLS))
		return !verify || client_fail(c, why, "STARTTLS is not offered, but required");
	smtp_client_queue(c, "STARTTLS");
	if (!read_reply(c, &c->arena, reply, NULL, why, "reply to STARTTLS", d))
		return false;
	if (c->broken && stream_input(&c->stream).n > 0)	/* CVE-2011-0411, seen from the client */
		return client_fail(c, why, "plaintext after the reply to STARTTLS");
	if (reply->code != 220 && (verify || c->broken))
		return client_fail(c, why, arena_printf(&c->arena, "STARTTLS refused with %u", reply->code));
	if (reply->code != 220)
		return true;
	if (!tls_connect(&c->stream, tls, c->host->name, &reason, d)) {
		c->tls_failed = true;
		return client_fail(c, why, arena_printf(&c->arena, "TLS: %s", reason));
	}
	return introduce(c, &c->arena, our_name, reply, why, d);
}

static void client_init(struct smtp_client *c, const struct backend_host *host)
{
	memset(c, 0, sizeof(*c));
	c->stream.watch.fd = -1;
	c->arena = ARENA_INIT;
	c->held = STR_IN(&c->arena);
	ring_init(&c->link);
	c->host = host;
	c->lmtp = host->protocol == BACKEND_LMTP;
	c->fresh = true;
	c->opened = clock_now();
}

bool smtp_client_open(struct smtp_client *c, const struct backend *b, const struct backend_host *host,
	const struct endpoint *to, struct tls_context *tls, const char *our_name,
	struct reply *reply, const char **why, deadline d)
{
	const char *reason = NULL;

	BUG_ON(b->tls == BACKEND_TLS_VERIFY && !tls && to->address.ss_family != AF_UNIX);
	client_init(c, host);
	*reply = (struct reply){ .name = REPLY_NONE };
	if (!stream_connect(&c->stream, to, &reason, "connect to backend",
		deadline_min(d, deadline_in(CONNECT_BUDGET))))
		return client_fail(c, why, arena_printf(&c->arena, "connect: %s", reason));
	if (!greet(c, reply, why, d) || !introduce(c, &c->arena, our_name, reply, why, d))
		return false;
	if (tls && b->tls != BACKEND_TLS_NONE && to->address.ss_family != AF_UNIX &&
	    !start_tls(c, b->tls == BACKEND_TLS_VERIFY, tls, our_name, reply, why, d))
		return false;
	return !c->broken || client_fail(c, why, c->reason);
}

/* ---- who the client is ---- */

/* The value of an attribute, encoded; [UNAVAILABLE] for what is not known or too long to be sent. */
static void attribute_value(struct str *out, enum attribute bit, const struct client_facts *client,
	const char *ident)
{
	static const struct ip nobody;
	bool known = !ip_eq(&client->ip, &nobody);
	struct slice value = SLICE_NULL;
	char text[IP_TEXT + 8];
	size_t before = out->n;

	if (bit == ATTR_NAME)
		value = slice_of(client->name);
	if (bit == ATTR_ADDR && known) {
		memcpy(text, "IPV6:", 5);
		ip_text(&client->ip, text + 5);
		value = slice_of(ip_is_v4(&client->ip) ? text + 5 : text);
	}
	if (bit == ATTR_PORT && client->port > 0)
		value = slice_make(text, (size_t)snprintf(text, sizeof(text), "%u", client->port));
	if (bit == ATTR_PROTO)
		value = client->esmtp ? SLICE("ESMTP") : SLICE("SMTP");
	if (bit == ATTR_HELO)
		value = client->helo;
	if (bit == ATTR_IDENT)
		value = slice_of(ident);
	if (bit == ATTR_SOURCE)
		value = SLICE("REMOTE");
	if (value.n > 0 && value.n <= ATTRIBUTE_MOST)
		str_xtext(out, value);
	if (out->n == before || out->n - before > COMMAND_LINE - 32) {
		out->n = before;
		str_add(out, SLICE("[UNAVAILABLE]"));
	}
}

/* A command with as many of the attributes as fit into one line, beginning at *next. False: none is left. */
static bool attributes_line(struct str *line, const char *verb, unsigned offered, size_t *next,
	const struct client_facts *client, const char *ident)
{
	bool any = false;

	line->n = 0;
	str_puts(line, verb);
	for (; *next < ATTRIBUTES; ++*next) {
		size_t before = line->n;

		if (!(offered & attributes[*next].bit))
			continue;
		str_addc(line, ' ');
		str_add(line, attributes[*next].name);
		str_addc(line, '=');
		attribute_value(line, attributes[*next].bit, client, ident);
		if (line->n > COMMAND_LINE - 2) {
			line->n = before;
			break;
		}
		any = true;
	}
	return any;
}

static uint64_t presented_hash(const struct client_facts *client, struct arena *a)
{
	struct str line = STR_IN(a);
	uint64_t hash = 0;
	size_t next = 0;

	while (attributes_line(&line, "XCLIENT", ~0u, &next, client, NULL))
		hash = hash * 31 + hash_bytes(line.p, line.n);
	return hash | 1;
}

/* After XCLIENT the session begins anew, and the backend's checks see the client. A name of the client's that is no
 * word, or that the backend will not have, is replaced by ours. */
ASYNC static bool hello_as(struct smtp_client *c, const struct client_facts *client, const char *our_name,
	struct arena *a, const char **why, deadline d)
{
	const char *name = our_name;
	struct reply reply = { .name = REPLY_NONE };
	bool word = client->helo.n > 0 && client->helo.n <= ATTRIBUTE_MOST;

	for (size_t i = 0; i < client->helo.n && word; i++)
		word = client->helo.p[i] > ' ' && client->helo.p[i] < 127;
	if (word)
		name = slice_cstr(a, client->helo);
	if (!say_hello(c, a, c->lmtp ? "LHLO" : "EHLO", name, &reply, why, d))
		return false;
	if (word && !reply_is_positive(&reply) && !c->broken)
		return introduce(c, a, our_name, &reply, why, d);
	return reply_is_positive(&reply) || client_fail(c, why, "EHLO refused after XCLIENT");
}

/* XCLIENT cannot be pipelined: each is answered by a greeting. One connection may present one client after
 * another; the same one twice is not presented again. */
ASYNC static bool present_xclient(struct smtp_client *c, const struct client_facts *client, const char *our_name,
	struct arena *a, const char **why, deadline d)
{
	unsigned offered = c->xclient & (ATTR_NAME | ATTR_ADDR | ATTR_PORT | ATTR_PROTO | ATTR_HELO);
	uint64_t hash = presented_hash(client, a);
	struct str line = STR_IN(a);
	size_t next = 0;

	if (hash == c->presented)
		return true;
	while (attributes_line(&line, "XCLIENT", offered, &next, client, NULL)) {
		struct reply reply = { .name = REPLY_NONE };

		smtp_client_queue(c, "%.*s", SLICE_ARG(str_slice(&line)));
		if (!read_reply(c, a, &reply, NULL, why, "reply to XCLIENT", d))
			return false;
		if (!reply_is_positive(&reply)) {
			c->xclient = 0;
			return !c->broken || client_fail(c, why, c->reason);
		}
	}
	c->presented = hash;
	return hello_as(c, client, our_name, a, why, d);
}

bool smtp_client_present(struct smtp_client *c, const struct backend *b,
	const struct client_facts *client, const char *ident, const char *our_name,
	const char **why, deadline d)
{
	struct arena scratch = ARENA_INIT;
	struct str line = STR_IN(&scratch);
	const char *reason = NULL;
	size_t next = 0;
	bool ok = true;

	BUG_ON(!c->broken && c->unread > 0);
	if (!b->forward_client || !(c->xforward | c->xclient))
		return true;
	if (!c->xforward) {
		ok = present_xclient(c, client, our_name, &scratch, &reason, d);
	} else {
		while (attributes_line(&line, "XFORWARD", c->xforward, &next, client, ident))
			smtp_client_queue(c, "%.*s", SLICE_ARG(str_slice(&line)));
		c->skip = c->unread;
	}
	if (!ok)
		*why = arena_printf(&c->arena, "%s", reason);
	arena_drop(&scratch);
	return ok;
}

/* ---- MAIL and RCPT ---- */

/* RFC 5321 section 4.1.1.2, with the parameters of RFC 1870, 6152, 6531 and 3461. */
void smtp_client_queue_mail(struct smtp_client *c, const struct envelope *e, uint64_t size)
{
	char number[32];

	c->transactions++;
	c->prdr = false;
	if (!command_begin(c))
		return;
	command_add(c, SLICE("MAIL FROM:<"));
	command_add(c, e->reverse_for_backend);
	command_add(c, SLICE(">"));
	if (size > 0 && (c->capabilities & CAP_SIZE))
		command_add(c, slice_make(number,
			(size_t)snprintf(number, sizeof(number), " SIZE=%llu", (unsigned long long)size)));
	if (e->eight_bit_mime && (c->capabilities & CAP_8BITMIME))
		command_add(c, SLICE(" BODY=8BITMIME"));
	if (e->smtputf8 && (c->capabilities & CAP_SMTPUTF8))
		command_add(c, SLICE(" SMTPUTF8"));
	c->prdr = (c->capabilities & CAP_PRDR) && !c->lmtp;
	if (c->prdr)
		command_add(c, SLICE(" PRDR"));
	if (e->ret && (c->capabilities & CAP_DSN))
		command_add(c, e->ret == 'F' ? SLICE(" RET=FULL") : SLICE(" RET=HDRS"));
	if (e->envid.n > 0 && (c->capabilities & CAP_DSN)) {
		command_add(c, SLICE(" ENVID="));
		command_add(c, e->envid);
	}
	command_end(c);
}

static void add_notify(struct smtp_client *c, unsigned notify)
{
	static const struct {
		enum dsn_notify bit;
		struct slice name;
	} names[] = { { NOTIFY_SUCCESS, { "SUCCESS", 7 } }, { NOTIFY_FAILURE, { "FAILURE", 7 } },
		{ NOTIFY_DELAY, { "DELAY", 5 } } };
	struct slice separator = SLICE(" NOTIFY=");

	if (notify & NOTIFY_NEVER) {	/* stands alone, RFC 3461 section 4.1 */
		command_add(c, SLICE(" NOTIFY=NEVER"));
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(notify & names[i].bit))
			continue;
		command_add(c, separator);
		command_add(c, names[i].name);
		separator = SLICE(",");
	}
}

void smtp_client_queue_rcpt(struct smtp_client *c, const struct recipient *r)
{
	if (!command_begin(c))
		return;
	command_add(c, SLICE("RCPT TO:<"));
	command_add(c, r->for_backend);
	command_add(c, SLICE(">"));
	if (c->capabilities & CAP_DSN) {
		add_notify(c, r->notify);
		if (r->orcpt.n > 0) {
			command_add(c, SLICE(" ORCPT="));
			command_add(c, r->orcpt);
		}
	}
	command_end(c);
}
