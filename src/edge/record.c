/*
 * The record: what is written to the journal when a transaction ends, or a
 * session that never reached one. The field names are a contract: spurn-journal(5).
 *
 * Composed by hand into one string: a JSON library would allocate a tree for
 * every message to print it once. Subjects are not recorded.
 */
#include "edge/transaction.h"

static void key(struct str *out, const char *name)
{
	if (out->p[out->n - 1] != '{')
		str_addc(out, ',');
	str_addc(out, '"');
	str_puts(out, name);
	str_puts(out, "\":");
}

static void text(struct str *out, const char *name, struct slice value)
{
	key(out, name);
	str_json(out, value);
}

static void number(struct str *out, const char *name, uint64_t value)
{
	key(out, name);
	str_number(out, value);
}

static void enhanced(struct str *out, const struct reply *r)
{
	key(out, "enhanced");
	if (r->enhanced.class)
		str_printf(out, "\"%u.%u.%u\"", r->enhanced.class, r->enhanced.subject, r->enhanced.detail);
	else
		str_puts(out, "\"\"");
}

/* What a backend said, as one string: "550 5.1.1 text". */
static void said(struct str *out, const char *name, const struct reply *r)
{
	struct arena scratch = ARENA_INIT;
	struct str line = STR_IN(&scratch);

	if (r->code == 0)
		return;
	str_number(&line, r->code);
	if (r->enhanced.class)
		str_printf(&line, " %u.%u.%u", r->enhanced.class, r->enhanced.subject, r->enhanced.detail);
	str_addc(&line, ' ');
	str_add(&line, slice_head(r->text, 512));
	text(out, name, str_slice(&line));
	arena_drop(&scratch);
}

static void add_client(struct str *out, const struct client_facts *c)
{
	char ip[IP_TEXT];

	key(out, "client");
	str_addc(out, '{');
	text(out, "ip", slice_of(ip_text(&c->ip, ip)));
	number(out, "port", c->port);
	text(out, "name", slice_of(c->name ? c->name : ""));
	text(out, "helo", c->helo);
	text(out, "tls", slice_of(c->tls ? c->tls_version : ""));
	str_addc(out, '}');
}

static void add_recipient(struct str *out, const struct recipient *r, bool first)
{
	if (!first)
		str_addc(out, ',');
	str_addc(out, '{');
	text(out, "address", r->path.text);
	number(out, "code", r->reply.code);
	enhanced(out, &r->reply);
	text(out, "reply", r->reply.text);
	said(out, "backend", &r->backend_reply);
	if (r->has_it)
		str_puts(out, ",\"had_it\":true");
	if (r->in_doubt)
		str_puts(out, ",\"in_doubt\":true");
	str_addc(out, '}');
}

static void add_recipients(struct str *out, const struct transaction *tx)
{
	bool first = true;

	key(out, "rcpt");
	str_addc(out, '[');
	for (const struct recipient *r = tx->envelope.recipients; r; r = r->next, first = false)
		add_recipient(out, r, first);
	for (const struct recipient *r = tx->refused; r; r = r->next, first = false)
		add_recipient(out, r, first);
	str_addc(out, ']');
}

static void add_message(struct str *out, const struct transaction *tx)
{
	const struct message_facts *m = &tx->envelope.message;

	if (tx->times.data_began == 0)
		return;
	key(out, "message");
	str_addc(out, '{');
	text(out, "id", m->id);
	text(out, "from", slice_head(m->from, 512));
	number(out, "size", tx->framing.content_size);
	key(out, "body_sha256");
	str_addc(out, '"');
	str_hex(out, slice_make((const char *)m->body_sha256, sizeof(m->body_sha256)));
	str_puts(out, "\"}");
}

static void add_finding(struct str *out, const struct finding *f, bool first)
{
	if (!first)
		str_addc(out, ',');
	str_addc(out, '{');
	text(out, "check", slice_of(check_name(f->check)));
	text(out, "result", slice_of(result_name(f->result)));
	text(out, "reason", slice_of(f->reason ? f->reason : ""));
	if (f->evidence)
		text(out, "evidence", slice_of(f->evidence));
	if (f->recipient)
		text(out, "rcpt", f->recipient->path.text);
	if (f->weight) {
		key(out, "weight");
		str_printf(out, "%d", f->weight);
	}
	text(out, "mode", slice_of(check_mode_name(f->mode)));
	if (f->would > DISPOSITION_ACCEPT)
		text(out, f->mode == MODE_ENFORCE && !f->only_observed ? "led" : "would", slice_of(disposition_name(f->would)));
	number(out, "cost_us", f->cost_us);
	str_addc(out, '}');
}

static void add_findings(struct str *out, const struct findings *connection, const struct findings *own)
{
	bool first = true;

	key(out, "findings");
	str_addc(out, '[');
	for (const struct finding *f = connection->first; f; f = f->next, first = false)
		add_finding(out, f, first);
	for (const struct finding *f = own ? own->first : NULL; f; f = f->next, first = false)
		add_finding(out, f, first);
	str_addc(out, ']');
}

static void add_reply(struct str *out, const struct reply *r)
{
	key(out, "reply");
	str_addc(out, '{');
	number(out, "number", r->name != REPLY_NONE ? reply_definition(r->name)->number : 0);
	number(out, "code", r->code);
	enhanced(out, r);
	text(out, "text", r->text);
	str_addc(out, '}');
}

static void add_ms(struct str *out, const char *name, int64_t span)
{
	key(out, name);
	str_printf(out, "%lld.%03lld", (long long)(span / NS_PER_MS),
		(long long)(span % NS_PER_MS / NS_PER_US));
}

static void add_times(struct str *out, const struct transaction *tx)
{
	key(out, "times");
	str_addc(out, '{');
	add_ms(out, "connect", tx->times.began - tx->session->began);
	add_ms(out, "mail", tx->times.mail);
	add_ms(out, "rcpt", tx->times.rcpt);
	add_ms(out, "data", tx->times.data);
	add_ms(out, "scan", tx->times.scan);
	add_ms(out, "relay", tx->times.relay);
	add_ms(out, "total", clock_now() - tx->times.began);
	str_addc(out, '}');
}

static void begin(struct str *out, const struct session *s, const char *ref)
{
	char now[25];

	clock_rfc3339(clock_wall(), now);
	str_addc(out, '{');
	text(out, "time", slice_of(now));
	text(out, "ref", slice_of(ref));
	text(out, "node", slice_of(s->config->hostname));
	text(out, "listener", slice_of(s->listener->name));
	add_client(out, &s->client);
}

/* The answer at the end, or the last refusal if no recipient was left; nothing if the client gave up. */
static const struct reply *reply_of(const struct transaction *tx)
{
	const struct reply *last = NULL;

	if (tx->decided)
		return &tx->final;
	if (tx->envelope.recipients)
		return NULL;
	for (const struct recipient *r = tx->refused; r; r = r->next)
		last = &r->reply;
	return last;
}

static const char *disposition_of(const struct transaction *tx, const struct reply *r)
{
	if (tx->decided)
		return disposition_name(tx->disposition);
	if (!r)
		return "abandoned";
	return disposition_name(r->code >= 500 ? DISPOSITION_REJECT : DISPOSITION_DEFER);
}

static void add_outcome(struct str *out, const struct transaction *tx)
{
	static const struct reply none;
	const struct reply *r = reply_of(tx);

	text(out, "disposition", slice_of(disposition_of(tx, r)));
	add_reply(out, r ? r : &none);
	key(out, "backend");
	str_addc(out, '{');
	text(out, "address", slice_of(tx->relay.host ? tx->relay.host : ""));
	said(out, "reply", &tx->relay.reply);
	str_addc(out, '}');
	if (tx->in_doubt)
		text(out, "in_doubt", slice_of(tx->earlier_ref ? tx->earlier_ref : tx->envelope.ref));
}

static void add_key(struct journal_keys *keys, struct slice k)
{
	if (k.n == 0)
		return;
	if (keys->count < JOURNAL_KEYS)
		keys->keys[keys->count++] = k;
	else
		keys->more = true;
}

static void keys_of(struct journal_keys *keys, const struct transaction *tx, char ip[IP_TEXT])
{
	const struct envelope *e = &tx->envelope;

	*keys = (struct journal_keys){ .count = 0 };
	add_key(keys, slice_of(e->ref));
	add_key(keys, slice_of(ip_text(&e->client->ip, ip)));
	add_key(keys, e->reverse_path.text);
	add_key(keys, e->message.id);
	if (tx->earlier_ref)
		add_key(keys, slice_of(tx->earlier_ref));
	for (const struct recipient *r = e->recipients; r; r = r->next)
		add_key(keys, r->path.text);
	for (const struct recipient *r = tx->refused; r; r = r->next)
		add_key(keys, r->path.text);
}

static void mail_from(struct str *out, const struct envelope *e)
{
	if (e->has_sender)
		text(out, "mail_from", e->reverse_path.text);
}

void record_transaction(struct transaction *tx)
{
	struct session *s = tx->session;
	struct journal_keys keys;
	char ip[IP_TEXT];
	struct str out = STR_IN(&tx->arena);

	str_room(&out, 1024);
	begin(&out, s, tx->envelope.ref);
	mail_from(&out, &tx->envelope);
	add_recipients(&out, tx);
	add_message(&out, tx);
	add_findings(&out, &s->findings, &tx->envelope.findings);
	add_outcome(&out, tx);
	add_times(&out, tx);
	str_addc(&out, '}');
	keys_of(&keys, tx, ip);
	journal_append(s->edge->journal, str_slice(&out), &keys);
}

void record_session(struct session *s, const char *reference, const struct reply *last)
{
	struct arena scratch = ARENA_INIT;
	struct str out = STR_IN(&scratch);
	struct journal_keys keys = { .count = 0 };
	char ip[IP_TEXT], made[11];

	s->recorded = true;
	if (!reference)
		edge_reference(s->edge, made);
	const char *ref = reference ? reference : made;
	begin(&out, s, ref);
	add_findings(&out, &s->findings, NULL);
	text(&out, "disposition", slice_of(!last ? "none" :
		disposition_name(last->code >= 500 ? DISPOSITION_REJECT : DISPOSITION_DEFER)));
	if (last)
		add_reply(&out, last);
	key(&out, "times");
	str_addc(&out, '{');
	add_ms(&out, "total", clock_now() - s->began);
	str_puts(&out, "}}");
	add_key(&keys, slice_of(ref));
	add_key(&keys, slice_of(ip_text(&s->client.ip, ip)));
	journal_append(s->edge->journal, str_slice(&out), &keys);
	arena_drop(&scratch);
}
