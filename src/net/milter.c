/*
 * One filter, one message: the stages in their order, what is sent in each, and what an answer means there.
 *
 * The table `stages` is the picture: which step may be left out, which may be silent, where macros go. A stage ends
 * with CONTINUE, or with the filter's last word on the message. Only at its end (BODYEOB) may it change anything;
 * changes are collected here and handed out when the last word has come.
 *
 * Why after the dot and not beside the session: RCPT is answered by those who know mailboxes, everything else that a
 * filter says of the client or the sender would be spoken at the end anyway, and a filter learns of no session that
 * sends no mail. The price is one dialogue of some ten packets at the end; bodies are the larger part of it.
 */
#include "net/milter.h"

#include "base/log.h"

#define RESPONSES_MOST 20000u	/* to one stage: progress and changes */
#define CHANGES_MOST 1000u
#define CHANGES_OCTETS (1u << 20)
#define REUSE_MOST 100u

/* One call of milter_ask(). */
struct dialogue {
	struct milter *m;
	const struct milter_question *q;
	struct arena *a;
	struct milter_answer answer;
	struct milter_change **last;
	uint32_t change_octets;
	struct str packet;	/* what is being sent */
	struct str data;	/* of the response being read */
	bool over;		/* the filter's last word has come */
	bool in_message;	/* MAIL was sent: the filter must be told when it is off */
	const char *stage;
	const char **why;
	deadline until;
};

void milter_close(struct milter *m)
{
	if (stream_is_open(&m->stream))
		stream_abort(&m->stream);
	arena_drop(&m->arena);
}

static bool failed(struct dialogue *d, const char *reason)
{
	*d->why = reason;
	return false;
}

/* ---- sending ---- */

static bool result_failed(struct stream *s, enum wait_result r, const char *late, const char **why)
{
	if (r == WAIT_READY && s->state != STREAM_FAILED)
		return false;
	*why = r == WAIT_CANCELLED ? "cancelled" : r == WAIT_TIMEOUT ? late : "the filter closed the connection";
	return true;
}

static ASYNC bool send_packet(struct dialogue *d)
{
	struct iovec iov = { d->packet.p, d->packet.n };
	enum wait_result r = stream_send(&d->m->stream, &iov, 1, "milter packet", d->until);

	d->packet.n = 0;
	return !result_failed(&d->m->stream, r, "timeout: the filter takes no data", d->why);
}

/* ---- receiving ---- */

/* So many octets from the stream into d->data, gathered as they come: a promise of much costs nothing. */
static ASYNC bool read_octets(struct dialogue *d, size_t n)
{
	struct stream *s = &d->m->stream;

	d->data.n = 0;
	while (d->data.n < n) {
		struct slice in = slice_head(stream_input(s), n - d->data.n);

		if (in.n > 0) {
			str_add(&d->data, in);
			stream_consume(s, in.n);
			continue;
		}
		if (s->state != STREAM_OPEN)
			return failed(d, d->data.n > 0 ? "malformed packet: half of it" :
				"the filter closed the connection");
		if (result_failed(s, stream_read(s, "milter answer", d->until), "timeout: the filter does not answer",
				d->why))
			return false;
	}
	return true;
}

static ASYNC bool read_packet(struct dialogue *d, char *word)
{
	size_t n;

	return read_octets(d, MILTER_HEAD) && milter_head_parse(str_slice(&d->data), word, &n, d->why) &&
		read_octets(d, n);
}

/* ---- negotiation ---- */

static const struct milter_options offer = {
	.version = MILTER_VERSION,
	.actions = MILTER_MAY_ADD_FIELDS | MILTER_MAY_CHANGE_FIELDS | MILTER_MAY_QUARANTINE | MILTER_MAY_NAME_MACROS,
	.steps = MILTER_STEPS_ALL & ~(uint32_t)MILTER_REJECTED_RCPT,
};

static ASYNC bool negotiate(struct dialogue *d, bool may_replace)
{
	struct milter_options ours = offer;
	char word;
	size_t at;

	if (may_replace)
		ours.actions |= MILTER_MAY_CHANGE_BODY;
	at = milter_packet_begin(&d->packet, MILTER_OPTNEG);
	milter_put_u32(&d->packet, ours.version);
	milter_put_u32(&d->packet, ours.actions);
	milter_put_u32(&d->packet, ours.steps);
	milter_packet_end(&d->packet, at);
	if (!send_packet(d) || !read_packet(d, &word))
		return false;
	if (word != MILTER_SAYS_OPTNEG)
		return failed(d, "malformed answer to the negotiation");
	if (!milter_options_parse(&d->m->options, str_slice(&d->data), &ours, d->why))
		return false;
	for (int i = 0; i < MILTER_STAGES; i++)
		if (d->m->options.macros[i].p)
			d->m->options.macros[i] = slice_copy(&d->m->arena, d->m->options.macros[i]);
	return true;
}

ASYNC bool milter_open(struct milter *m, const struct endpoint *to, bool may_replace, const char **why, deadline until)
{
	struct arena scratch = ARENA_INIT;
	struct dialogue d = { .m = m, .a = &scratch, .packet = STR_IN(&scratch), .data = STR_IN(&scratch), .why = why,
		.until = until };
	bool ok;

	memset(m, 0, sizeof(*m));
	m->stream.watch.fd = -1;
	ring_init(&m->link);
	m->opened = clock_now();
	ok = stream_connect(&m->stream, to, why, "milter connect", until) && negotiate(&d, may_replace);
	if (!ok)
		milter_close(m);
	arena_drop(&scratch);
	return ok;
}

/* ---- macros ---- */

/* What Postfix sends at each stage unless the filter names its own (postconf(5), milter_*_macros). */
static const char *const usual_macros[MILTER_STAGES] = {
	[MILTER_AT_CONNECT] = "j {daemon_name} {daemon_addr} v _ {client_addr} {client_name} {client_port} {client_ptr}",
	[MILTER_AT_HELO] = "{tls_version} {cipher} {cipher_bits}",
	[MILTER_AT_MAIL] = "i {mail_addr} {mail_host} {mail_mailer}",
	[MILTER_AT_RCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
	[MILTER_AT_DATA] = "i",
	[MILTER_AT_EOH] = "i",
	[MILTER_AT_EOM] = "i",
};

static struct slice text_or(const char *text, const char *otherwise)
{
	return slice_of(text ? text : otherwise);
}

static struct slice client_macro(struct dialogue *d, struct slice name)
{
	const struct client_facts *c = d->q->client;
	char text[IP_TEXT];

	if (slice_eq(name, SLICE("{client_addr}")))
		return slice_of(arena_printf(d->a, "%s", ip_text(&c->ip, text)));
	if (slice_eq(name, SLICE("{client_name}")))
		return text_or(c->name, "unknown");
	if (slice_eq(name, SLICE("{client_ptr}")))
		return text_or(c->reverse_name, "unknown");
	if (slice_eq(name, SLICE("{client_port}")))
		return slice_of(arena_printf(d->a, "%u", c->port));
	if (slice_eq(name, SLICE("{client_connections}")))
		return SLICE("0");
	if (slice_eq(name, SLICE("{client_resolve}")))
		return c->name ? SLICE("OK") : c->reverse_name ? SLICE("FORGED") : SLICE("FAIL");
	if (slice_eq(name, SLICE("_")))
		return slice_of(arena_printf(d->a, "%s [%s]", c->name ? c->name : "unknown", ip_text(&c->ip, text)));
	if (!c->tls)
		return SLICE_NULL;
	if (slice_eq(name, SLICE("{tls_version}")))
		return text_or(c->tls_version, "");
	if (slice_eq(name, SLICE("{cipher}")))
		return text_or(c->tls_cipher, "");
	if (slice_eq(name, SLICE("{cipher_bits}")))
		return slice_of(arena_printf(d->a, "%d", c->tls_bits));
	return SLICE_NULL;
}

static struct slice envelope_macro(struct dialogue *d, struct slice name, const struct recipient *r)
{
	struct slice rcpt = r ? r->for_backend : SLICE_NULL;

	if (slice_eq(name, SLICE("i")))
		return slice_of(d->q->envelope->ref);
	if (slice_eq(name, SLICE("{mail_addr}")))
		return d->q->reverse_path;
	if (slice_eq(name, SLICE("{mail_host}")))
		return address_domain(d->q->reverse_path);
	if (slice_eq(name, SLICE("{mail_mailer}")))
		return SLICE("smtp");
	if (!r)
		return SLICE_NULL;
	if (slice_eq(name, SLICE("{rcpt_addr}")))
		return rcpt;
	if (slice_eq(name, SLICE("{rcpt_host}")))
		return address_domain(rcpt);
	return slice_eq(name, SLICE("{rcpt_mailer}")) ? SLICE("smtp") : SLICE_NULL;
}

/* The value of a macro at this point; empty: it has none, and is not sent. */
static struct slice macro_value(struct dialogue *d, struct slice name, const struct recipient *r)
{
	const struct milter_self *self = d->q->self;

	if (slice_eq(name, SLICE("j")))
		return slice_of(self->hostname);
	if (slice_eq(name, SLICE("v")))
		return SLICE("Spurn " SPURN_VERSION);
	if (slice_eq(name, SLICE("{daemon_name}")))
		return text_or(self->listener, "");
	if (slice_eq(name, SLICE("{daemon_addr}")))
		return text_or(self->address, "");
	if (slice_starts(name, SLICE("{client_")) || slice_starts(name, SLICE("{tls")) ||
	    slice_starts(name, SLICE("{cipher")) || slice_eq(name, SLICE("_")))
		return client_macro(d, name);
	return envelope_macro(d, name, r);
}

/* The macro packet that goes before a command; nothing if no macro has a value. Names of more than one character
 * stand in braces. */
static void put_macros(struct dialogue *d, enum milter_stage at, enum milter_command command,
	const struct recipient *r)
{
	const struct milter_options *o = &d->m->options;
	struct slice names = o->macros[at].p ? o->macros[at] : slice_of(usual_macros[at]);
	size_t begin = milter_packet_begin(&d->packet, MILTER_MACRO), empty;
	struct slice name;

	str_addc(&d->packet, (char)command);
	empty = d->packet.n;
	while ((name = slice_word(&names)).n > 0) {
		struct slice value = macro_value(d, name, r);

		if (value.n == 0)
			continue;
		milter_put_string(&d->packet, name);
		milter_put_string(&d->packet, value);
	}
	if (d->packet.n == empty)
		d->packet.n = begin;
	else
		milter_packet_end(&d->packet, begin);
}

/* ---- what is said in reply ---- */

/* White space before the value, folds as CRLF and white space, and nothing that would end the field. */
static struct slice value_cleaned(struct dialogue *d, struct slice value)
{
	struct str out = STR_IN(d->a);
	bool first = true;

	if (!(d->m->options.steps & MILTER_LEADING_SPACE))
		str_addc(&out, ' ');
	while (value.n > 0) {
		struct slice line = slice_split(&value, '\n'), piece;

		/* RFC 5322 section 3.2.2: no line of a folded field is made up of white space alone. */
		if (!first && slice_trim(line).n == 0)
			continue;
		if (!first)
			str_puts(&out, line.p[0] == ' ' || line.p[0] == '\t' ? "\r\n" : "\r\n\t");
		first = false;
		while ((piece = slice_split(&line, '\r')).n > 0 || line.n > 0)
			str_add(&out, piece);
	}
	return str_slice(&out);
}

static bool may(const struct dialogue *d, enum milter_action action)
{
	return d->m->options.actions & action;
}

static bool take_change(struct dialogue *d, const struct milter_response *r)
{
	struct milter_change *c;
	enum milter_action needed = r->word == MILTER_SAYS_CHGHEADER ? MILTER_MAY_CHANGE_FIELDS : MILTER_MAY_ADD_FIELDS;

	if (!may(d, needed))
		return failed(d, "the filter changes what it did not ask for");
	d->change_octets += (uint32_t)(r->name.n + r->value.n);
	if (d->answer.change_count >= CHANGES_MOST || d->change_octets > CHANGES_OCTETS)
		return failed(d, "the filter changes too much");
	if (r->word == MILTER_SAYS_CHGHEADER && r->index == 0)
		return failed(d, "header change of a field that cannot be");
	c = arena_new(d->a, struct milter_change);
	c->kind = r->word == MILTER_SAYS_ADDHEADER ? MILTER_ADDS :
		r->word == MILTER_SAYS_INSHEADER ? MILTER_INSERTS : MILTER_CHANGES;
	c->index = r->index;
	c->name = slice_copy(d->a, r->name);
	c->value = c->kind == MILTER_CHANGES && r->value.n == 0 ? SLICE_NULL : value_cleaned(d, r->value);
	*d->last = c;
	d->last = &c->next;
	d->answer.change_count++;
	return true;
}

static bool take_body(struct dialogue *d, struct slice piece)
{
	if (!may(d, MILTER_MAY_CHANGE_BODY))
		return failed(d, "the filter changes what it did not ask for");
	d->answer.body_replaced = true;
	if (!d->q->replace(d->q->arg, piece))
		return failed(d, "no room for the filter's new body");
	return true;
}

static bool take_quarantine(struct dialogue *d, struct slice reason)
{
	struct str out = STR_IN(d->a);

	if (!may(d, MILTER_MAY_QUARANTINE))
		return failed(d, "the filter changes what it did not ask for");
	if (d->answer.quarantine)
		return true;		/* said once is enough, however often it is said */
	str_escaped(&out, reason, 200);
	d->answer.quarantine = str_cstr(&out);
	return true;
}

/* The filter's word on the message, or at RCPT on one recipient. */
static bool settle(struct dialogue *d, const struct milter_response *r, enum milter_verdict verdict,
	uint8_t *recipient)
{
	if (recipient && verdict != MILTER_ACCEPTS && r->word != MILTER_SAYS_SHUTDOWN &&
	    r->word != MILTER_SAYS_DISCARD) {
		*recipient = (uint8_t)verdict;
		if (d->answer.refused_recipients++ == 0)
			d->answer.reply = r->reply;
		return true;
	}
	d->answer.verdict = verdict;
	d->answer.reply = r->reply;
	d->answer.stage = d->stage;
	d->over = true;
	return true;
}

enum heard { HEARD_END, HEARD_MORE, HEARD_BAD };

/* One response; end: changes may be made here. HEARD_END: the stage is over. */
static enum heard take_response(struct dialogue *d, const struct milter_response *r, bool end, uint8_t *recipient)
{
	switch ((enum milter_word)r->word) {
	case MILTER_SAYS_PROGRESS:
		return HEARD_MORE;
	case MILTER_SAYS_CONTINUE:
		if (end)
			settle(d, r, MILTER_ACCEPTS, NULL);
		d->m->at_end = end;
		return HEARD_END;
	case MILTER_SAYS_ACCEPT:
		settle(d, r, MILTER_ACCEPTS, NULL);
		return HEARD_END;
	case MILTER_SAYS_REJECT:
		settle(d, r, MILTER_REJECTS, recipient);
		return HEARD_END;
	case MILTER_SAYS_DISCARD:
		settle(d, r, MILTER_DISCARDS, recipient);
		return HEARD_END;
	case MILTER_SAYS_REPLYCODE:
		settle(d, r, reply_is_permanent(&r->reply) ? MILTER_REJECTS : MILTER_DEFERS, recipient);
		return HEARD_END;
	case MILTER_SAYS_TEMPFAIL: case MILTER_SAYS_CONN_FAIL: case MILTER_SAYS_SHUTDOWN:
		settle(d, r, MILTER_DEFERS, recipient);
		return HEARD_END;
	case MILTER_SAYS_ADDHEADER: case MILTER_SAYS_INSHEADER: case MILTER_SAYS_CHGHEADER:
		return end && take_change(d, r) ? HEARD_MORE : HEARD_BAD;
	case MILTER_SAYS_REPLBODY:
		return end && take_body(d, r->text) ? HEARD_MORE : HEARD_BAD;
	case MILTER_SAYS_QUARANTINE:
		return end && take_quarantine(d, r->text) ? HEARD_MORE : HEARD_BAD;
	default:
		return HEARD_BAD;
	}
}

/* Reads until the stage is answered. skip: where SKIP is an answer, set if it was given. */
static ASYNC bool hear(struct dialogue *d, bool end, uint8_t *recipient, bool *skip)
{
	struct milter_response r;
	char word;

	for (uint32_t n = 0; n < RESPONSES_MOST; n++) {
		if (!read_packet(d, &word) ||
		    !milter_response_parse(&r, word, str_slice(&d->data), d->a, d->why))
			return false;
		if (skip && word == MILTER_SAYS_SKIP && (d->m->options.steps & MILTER_MAY_SKIP)) {
			*skip = true;
			return true;
		}
		*d->why = "a response that cannot stand here";
		switch (take_response(d, &r, end, recipient)) {
		case HEARD_END:
			return true;
		case HEARD_MORE:
			continue;
		case HEARD_BAD:
			return false;
		}
	}
	return failed(d, "the filter says too much");
}

/* Sends what is in the packet, and reads the answer unless the filter said that it gives none. */
static ASYNC bool step(struct dialogue *d, enum milter_step silent, uint8_t *recipient)
{
	if (d->m->options.steps & silent)
		return send_packet(d);
	return send_packet(d) && hear(d, false, recipient, NULL);
}

static bool left_out(struct dialogue *d, enum milter_step no, const char *stage)
{
	d->stage = stage;
	return d->over || (d->m->options.steps & no);
}

/* ---- the stages ---- */

static ASYNC bool say_connect(struct dialogue *d)
{
	const struct client_facts *c = d->q->client;
	char text[IP_TEXT];
	const char *address = ip_text(&c->ip, text);
	bool six = strchr(address, ':') != NULL;
	size_t at;

	if (left_out(d, MILTER_NO_CONNECT, "connect"))
		return true;
	put_macros(d, MILTER_AT_CONNECT, MILTER_CONNECT, NULL);
	at = milter_packet_begin(&d->packet, MILTER_CONNECT);
	/* A client without a confirmed name is called by its address (libmilter, xxfi_connect). */
	milter_put_string(&d->packet, slice_of(c->name ? c->name : arena_printf(d->a, "[%s]", address)));
	str_addc(&d->packet, six ? '6' : '4');
	milter_put_u16(&d->packet, c->port);
	milter_put_string(&d->packet, slice_of(arena_printf(d->a, "%s%s", six ? "IPv6:" : "", address)));
	milter_packet_end(&d->packet, at);
	return step(d, MILTER_SILENT_CONNECT, NULL);
}

static ASYNC bool say_helo(struct dialogue *d)
{
	size_t at;

	if (left_out(d, MILTER_NO_HELO, "helo"))
		return true;
	put_macros(d, MILTER_AT_HELO, MILTER_HELO, NULL);
	at = milter_packet_begin(&d->packet, MILTER_HELO);
	milter_put_string(&d->packet, d->q->client->helo);
	milter_packet_end(&d->packet, at);
	return step(d, MILTER_SILENT_HELO, NULL);
}

static void put_path(struct dialogue *d, struct slice address)
{
	milter_put_string(&d->packet, slice_of(arena_printf(d->a, "<%.*s>", SLICE_ARG(address))));
}

static ASYNC bool say_mail(struct dialogue *d)
{
	const struct envelope *e = d->q->envelope;
	size_t at;

	if (left_out(d, MILTER_NO_MAIL, "mail"))
		return true;
	d->in_message = true;
	put_macros(d, MILTER_AT_MAIL, MILTER_MAIL, NULL);
	at = milter_packet_begin(&d->packet, MILTER_MAIL);
	put_path(d, d->q->reverse_path);
	milter_put_string(&d->packet, slice_of(arena_printf(d->a, "SIZE=%llu", (unsigned long long)e->message.size)));
	if (e->eight_bit_mime)
		milter_put_string(&d->packet, SLICE("BODY=8BITMIME"));
	if (e->smtputf8)
		milter_put_string(&d->packet, SLICE("SMTPUTF8"));
	milter_packet_end(&d->packet, at);
	return step(d, MILTER_SILENT_MAIL, NULL);
}

static ASYNC bool say_recipients(struct dialogue *d)
{
	uint32_t i = 0;

	for (const struct recipient *r = d->q->envelope->recipients; r; r = r->next, i++) {
		size_t at;

		if (left_out(d, MILTER_NO_RCPT, "rcpt"))
			return true;
		put_macros(d, MILTER_AT_RCPT, MILTER_RCPT, r);
		at = milter_packet_begin(&d->packet, MILTER_RCPT);
		put_path(d, r->for_backend);
		milter_packet_end(&d->packet, at);
		if (!step(d, MILTER_SILENT_RCPT, &d->answer.recipients[i]))
			return false;
	}
	if (!d->over && i > 0 && d->answer.refused_recipients == i) {
		bool later = memchr(d->answer.recipients, MILTER_DEFERS, i) != NULL;
		struct milter_response all = { .reply = d->answer.reply };

		settle(d, &all, later ? MILTER_DEFERS : MILTER_REJECTS, NULL);
	}
	return true;
}

static ASYNC bool say_plain(struct dialogue *d, enum milter_stage stage, enum milter_command command,
	enum milter_step silent)
{
	size_t at;

	put_macros(d, stage, command, NULL);
	at = milter_packet_begin(&d->packet, command);
	milter_packet_end(&d->packet, at);
	return step(d, silent, NULL);
}

static ASYNC bool say_data(struct dialogue *d)
{
	/* DATA came with version 4. */
	if (left_out(d, MILTER_NO_DATA, "data") || d->m->options.version < 4)
		return true;
	return say_plain(d, MILTER_AT_DATA, MILTER_DATA, MILTER_SILENT_DATA);
}

/* A value as filters get it: folds with LF alone, and without the blank behind the colon unless they asked for it. */
static void put_value(struct dialogue *d, struct slice value)
{
	struct str *out = &d->packet;

	if (!(d->m->options.steps & MILTER_LEADING_SPACE) && value.n > 0 && value.p[0] == ' ')
		value = slice_from(value, 1);
	while (value.n > 0) {
		ptrdiff_t end = slice_search(value, SLICE("\r\n"));

		str_add(out, slice_head(value, end < 0 ? value.n : (size_t)end));
		value = slice_from(value, end < 0 ? value.n : (size_t)end + 2);
		if (end >= 0)
			str_addc(out, '\n');
	}
	str_addc(out, '\0');
}

static ASYNC bool say_fields(struct dialogue *d)
{
	for (uint32_t i = 0; i < d->q->field_count; i++) {
		const struct field *f = d->q->fields[i];
		size_t at;

		if (left_out(d, MILTER_NO_FIELDS, "header"))
			return true;
		at = milter_packet_begin(&d->packet, MILTER_HEADER);
		milter_put_string(&d->packet, f->name);
		put_value(d, f->value);
		milter_packet_end(&d->packet, at);
		/* Silent fields leave together. */
		if ((d->m->options.steps & MILTER_SILENT_FIELD) && d->packet.n < MILTER_CHUNK)
			continue;
		if (!step(d, MILTER_SILENT_FIELD, NULL))
			return false;
	}
	if (d->packet.n > 0 && !send_packet(d))
		return false;
	if (left_out(d, MILTER_NO_EOH, "eoh"))
		return true;
	return say_plain(d, MILTER_AT_EOH, MILTER_EOH, MILTER_SILENT_EOH);
}

static ASYNC bool say_chunk(struct dialogue *d, struct slice piece, bool *skip)
{
	struct stream *s = &d->m->stream;
	size_t at = milter_packet_begin(&d->packet, MILTER_BODY);
	struct iovec iov[2];
	enum wait_result r;

	milter_packet_end(&d->packet, at);
	for (int i = 0; i < 4; i++)
		d->packet.p[at + (size_t)i] = (char)((piece.n + 1) >> (24 - 8 * i) & 0xff);
	iov[0] = (struct iovec){ d->packet.p, d->packet.n };
	iov[1] = (struct iovec){ (char *)piece.p, piece.n };
	r = stream_send(s, iov, 2, "milter body", d->until);
	d->packet.n = 0;
	if (result_failed(s, r, "timeout: the filter takes no data", d->why))
		return false;
	return (d->m->options.steps & MILTER_SILENT_BODY) || hear(d, false, NULL, skip);
}

static ASYNC bool say_body(struct dialogue *d)
{
	struct slice piece;
	bool skip = false;

	if (left_out(d, MILTER_NO_BODY, "body"))
		return true;
	for (;;) {
		if (!d->q->body->next(d->q->body, &piece))
			return failed(d, "the message cannot be read");
		if (piece.n == 0)
			return true;
		while (piece.n > 0) {
			struct slice chunk = slice_head(piece, MILTER_CHUNK);

			if (!say_chunk(d, chunk, &skip))
				return false;
			if (d->over || skip)
				return true;
			piece = slice_from(piece, chunk.n);
		}
	}
}

static ASYNC bool say_end(struct dialogue *d)
{
	size_t at;

	if (left_out(d, 0, "end of message"))
		return true;
	put_macros(d, MILTER_AT_EOM, MILTER_BODYEOB, NULL);
	at = milter_packet_begin(&d->packet, MILTER_BODYEOB);
	milter_packet_end(&d->packet, at);
	d->in_message = false;
	return send_packet(d) && hear(d, true, NULL, NULL);
}

/* The next message on a connection that has served one. */
static ASYNC bool say_new_connection(struct dialogue *d)
{
	size_t at;

	if (d->m->messages == 0)
		return true;
	at = milter_packet_begin(&d->packet, MILTER_QUIT_NC);
	milter_packet_end(&d->packet, at);
	return true;	/* leaves with what follows */
}

static ASYNC bool converse(struct dialogue *d)
{
	return say_new_connection(d) && say_connect(d) && say_helo(d) && say_mail(d) && say_recipients(d) &&
		say_data(d) && say_fields(d) && say_body(d) && say_end(d);
}

/* A filter that spoke its last word early is told that the message is over. */
static ASYNC bool end_message(struct dialogue *d)
{
	size_t at;

	if (!d->in_message)
		return true;
	at = milter_packet_begin(&d->packet, MILTER_ABORT);
	milter_packet_end(&d->packet, at);
	return send_packet(d);
}

ASYNC bool milter_ask(struct milter *m, const struct milter_question *q, struct arena *a,
	struct milter_answer *out, const char **why, deadline until)
{
	struct dialogue d = { .m = m, .q = q, .a = a, .packet = STR_IN(a), .data = STR_IN(a), .why = why,
		.until = until };
	const char *ignored;

	d.last = &d.answer.changes;
	m->at_end = false;
	d.answer.recipients = arena_zero(a, q->envelope->recipient_count + 1);
	if (!converse(&d)) {
		milter_close(m);
		return false;
	}
	BUG_ON(!d.over);
	if (d.answer.verdict != MILTER_ACCEPTS) {
		d.answer.changes = NULL;
		d.answer.change_count = 0;
		d.answer.body_replaced = false;
	}
	*out = d.answer;
	m->messages++;
	d.why = &ignored;
	if (!end_message(&d))
		milter_close(m);	/* what it has said holds */
	return true;
}

bool milter_is_reusable(struct milter *m)
{
	if (!stream_is_open(&m->stream) || m->options.version < 6 || !m->at_end || m->messages >= REUSE_MOST)
		return false;
	return stream_fill(&m->stream) == 0 && stream_input(&m->stream).n == 0 && m->stream.state == STREAM_OPEN;
}

void milter_quit(struct milter *m)
{
	struct arena scratch = ARENA_INIT;
	struct str packet = STR_IN(&scratch);

	if (stream_is_open(&m->stream)) {
		milter_packet_end(&packet, milter_packet_begin(&packet, MILTER_QUIT));
		stream_write(&m->stream, str_slice(&packet));
		stream_flush(&m->stream);
	}
	arena_drop(&scratch);
	milter_close(m);
}
