/*
 * Trace fields (RFC 5321 section 4.4): what we add on top, and what we take
 * away below.
 *
 * Signed bytes stay as they were: a message that carries none of our own marks
 * from outside is relayed from the spool untouched, behind our fields. Only if
 * a forged mark has to go (Spurn-*, Authentication-Results in our name) or a scanner changes a field is the header
 * section written again, field by field as it came.
 */
#include "edge/transaction.h"

#include "wire/authres.h"

static void received_from(struct str *out, const struct client_facts *c)
{
	char literal[56];

	str_puts(out, "Received: from ");
	if (c->helo.n > 0 && ascii_only(c->helo))
		str_escaped(out, c->helo, 255);
	else
		str_puts(out, "unknown");
	str_printf(out, " (%s %s)", c->name ? c->name : "unknown", ip_literal(&c->ip, literal));
}

/* RFC 3848 and RFC 6531 section 4.3: the protocol's name tells TLS and SMTPUTF8. */
static const char *protocol_name(const struct envelope *e)
{
	if (e->smtputf8)
		return e->client->tls ? "UTF8SMTPS" : "UTF8SMTP";
	if (!e->client->esmtp)
		return "SMTP";
	return e->client->tls ? "ESMTPS" : "ESMTP";
}

static void add_received(struct str *out, const struct transaction *tx)
{
	const struct envelope *e = &tx->envelope;
	char date[32];

	received_from(out, e->client);
	str_printf(out, "\r\n\tby %s (Spurn) with %s id %s", tx->config->hostname, protocol_name(e), e->ref);
	if (e->client->tls)
		str_printf(out, "\r\n\t(using %s with cipher %s (%d bits))", e->client->tls_version,
			e->client->tls_cipher, e->client->tls_bits);
	/* With several recipients the field would tell each who the others are (RFC 5321 section 7.2). */
	if (e->recipient_count == 1 && (e->smtputf8 || !e->recipients->path.utf8)) {
		str_puts(out, "\r\n\tfor <");
		str_add(out, e->recipients->path.text);
		str_puts(out, ">");
	}
	clock_rfc5322(clock_wall(), date);
	str_printf(out, ";\r\n\t%s\r\n", date);
}

struct slice trace_received(struct transaction *tx)
{
	struct str out = STR_IN(&tx->arena);

	if (tx->received.n == 0) {
		add_received(&out, tx);
		tx->received = str_slice(&out);
	}
	return tx->received;
}

static void add_mark(struct str *out, const struct transaction *tx)
{
	const struct finding *f = tx->because;

	if (tx->disposition != DISPOSITION_MARK || !f)
		return;
	str_printf(out, "Spurn-Mark: %s=%s ref=%s\r\n", check_name(f->check), result_name(f->result),
		tx->envelope.ref);
}

/* Whether fields that the client sent have to go or to change. */
static bool is_rewritten(const struct transaction *tx)
{
	for (const struct header_change *c = tx->envelope.changes.first; c; c = c->next)
		if (c->kind != HEADER_PREPEND)
			return true;
	for (uint32_t i = 0; i < tx->header.count; i++)
		if (authres_is_forged(&tx->header.fields[i], slice_of(tx->config->hostname)))
			return true;
	return false;
}

/* Adds content as it travels: a dot at the start of a line is doubled (RFC 5321 section 4.5.2). Returns the dots added. */
static uint64_t add_stuffed(struct str *out, struct slice text)
{
	uint64_t dots = 0;

	while (text.n > 0) {
		ptrdiff_t end = slice_search(text, SLICE("\r\n"));
		size_t n = end < 0 ? text.n : (size_t)end + 2;

		if (text.p[0] == '.') {
			str_addc(out, '.');
			dots++;
		}
		str_add(out, slice_head(text, n));
		text = slice_from(text, n);
	}
	return dots;
}

/* Changes of one kind, in their order; at: only those of this field. Returns whether there were any. */
static bool add_changes(struct str *out, const struct transaction *tx, enum header_change_kind kind, uint32_t at)
{
	bool any = false;

	for (const struct header_change *c = tx->envelope.changes.first; c; c = c->next) {
		if (c->kind != kind || (kind != HEADER_PREPEND && kind != HEADER_APPEND && c->field != at))
			continue;
		add_stuffed(out, c->text);
		any = true;
	}
	return any;
}

/* Writes the header again with all changes and without the forged marks; returns the wire offset of what follows it. */
static uint64_t add_rewritten_header(struct str *out, const struct transaction *tx)
{
	struct arena scratch = ARENA_INIT;
	struct str original = STR_IN(&scratch);
	uint64_t offset;

	add_stuffed(&original, str_slice(&tx->header.bytes));
	offset = original.n;
	arena_drop(&scratch);
	for (uint32_t i = 0; i < tx->header.count; i++) {
		const struct field *f = &tx->header.fields[i];

		add_changes(out, tx, HEADER_INSERT, i);
		if (!add_changes(out, tx, HEADER_REPLACE, i) && !add_changes(out, tx, HEADER_REMOVE, i) &&
		    !authres_is_forged(f, slice_of(tx->config->hostname)))
			add_stuffed(out, f->raw);
	}
	add_changes(out, tx, HEADER_APPEND, 0);
	return offset;
}

/* A first line that begins with white space is no field, so all of the message is body; it must not become the end of ours
 * (RFC 5322 section 2.2.3). */
static bool begins_with_space(const struct transaction *tx)
{
	char first;

	return tx->header.count == 0 && spool_read(&tx->spool, 0, &first, 1) == 1 && (first == ' ' || first == '\t');
}

struct slice trace_lead(struct transaction *tx, uint64_t *from)
{
	struct str out = STR_IN(&tx->arena);

	*from = 0;
	str_add(&out, trace_received(tx));
	add_mark(&out, tx);
	add_changes(&out, tx, HEADER_PREPEND, 0);
	if (is_rewritten(tx))
		*from = add_rewritten_header(&out, tx);
	if (begins_with_space(tx))
		str_puts(&out, "\r\n");
	return str_slice(&out);
}
