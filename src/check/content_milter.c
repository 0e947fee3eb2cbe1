/*
 * Filters of the milter kind: the question, what an answer means here, and their changes.
 *
 * A filter's word is a refusal or an acceptance of this message, never of a part of it that we have promised already: what
 * it says of single recipients sends those back to come alone. Its changes are kept apart until all filters
 * have spoken and are applied in the order of the configuration; of a filter that died before its last word there are
 * none. Fields that are added go on top, above whatever is signed, unless the filter names a place further down.
 *
 * Each filter sees the message as the client sent it. Rejected: one behind the other, each seeing the
 * changes of the one before, as MTAs do: the budgets would add up. Two that replace the body cannot both be
 * served; the second gets its on-error.
 */
#include "check/content_scan.h"

#include "check/finding.h"

#include <stdlib.h>

/* ---- asking ---- */

/* The fields that will be relayed, in their order. */
static const struct field **fields_of(const struct content *c, struct arena *a, uint32_t *count)
{
	const struct header *h = c->header;
	const struct field **fields = arena_array(a, const struct field *, (size_t)h->count + 1);

	*count = 0;
	for (uint32_t i = 0; i < h->count; i++)
		if (!content_hides(c, &h->fields[i]))
			fields[(*count)++] = &h->fields[i];
	return fields;
}

static bool add_to_body(void *arg, struct slice piece)
{
	struct scan *s = arg;
	const struct content_sink *sink = &s->content->q.sink;

	if (!s->body)
		s->body = sink->begin(sink->arg);
	return s->body && sink->add(s->body, piece);
}

static void forget_body(struct scan *s)
{
	if (s->body)
		s->content->q.sink.drop(s->body);
	s->body = NULL;
}

static ASYNC struct milter *open_milter(struct scan *s)
{
	struct milter *m = malloc(sizeof(*m));
	bool may_replace = s->conf->may_change && s->content->q.sink.begin;

	s->why = "no memory";
	if (!m)
		return NULL;
	if (milter_open(m, &s->conf->endpoint, may_replace, &s->why, s->until))
		return m;
	free(m);
	return NULL;
}

/* One dialogue; m is kept or freed. */
static ASYNC bool ask_once(struct scan *s, struct milter *m, struct arena *scratch)
{
	struct content *c = s->content;
	struct milter_question q = { .self = &c->q.self, .client = c->q.envelope->client, .envelope = c->q.envelope,
		.reverse_path = c->q.envelope->reverse_for_backend, .replace = add_to_body, .arg = s };

	q.fields = fields_of(c, scratch, &q.field_count);
	q.body = content_pieces(scratch, c->q.source, SLICE_NULL, content_body_offset(c));
	if (!milter_ask(m, &q, c->arena, &s->milter, &s->why, s->until)) {
		forget_body(s);
		free(m);
		return false;
	}
	if (!s->milter.body_replaced)
		forget_body(s);
	scanner_keep_milter(s->scanner, m);
	return true;
}

ASYNC bool content_ask_milter(struct scan *s, struct arena *scratch)
{
	struct milter *m = scanner_take_milter(s->scanner);

	/* A kept connection may have died of age: that is not the filter's failure. Nothing is committed by asking again. */
	if (m && ask_once(s, m, scratch))
		return true;
	if (m && (deadline_passed(s->until) || fiber_cancelled()))
		return false;
	m = open_milter(s);
	return m && ask_once(s, m, scratch);
}

/* ---- its answer ---- */

static const char *words_of(const struct scan *s)
{
	const struct reply *r = &s->milter.reply;
	struct arena *a = s->content->arena;

	if (r->code == 0)
		return NULL;
	return arena_printf(a, "%u %s", r->code, finding_escaped(a, r->text, 200));
}

static enum result refusal_of(const struct scan *s)
{
	return s->conf->finds == FINDS_VIRUSES ? RESULT_VIRUS : RESULT_REFUSED;
}

static struct finding *find_refusal(struct scan *s, enum result result, const char *what)
{
	struct arena *a = s->content->arena;
	struct finding *f = content_find(s, result, s->milter.stage ?
		arena_printf(a, "%s at %s", what, s->milter.stage) : what);

	f->evidence = words_of(s);
	return f;
}

/* Some recipients were refused, others not: those must come alone. */
static void judge_recipients(struct scan *s)
{
	struct recipient *r = s->content->q.envelope->recipients;

	for (uint32_t i = 0; r; r = r->next, i++) {
		if (s->milter.recipients[i] == MILTER_ACCEPTS)
			continue;
		r->later = s->milter.recipients[i] == MILTER_DEFERS && (r->later || !r->alone);
		r->alone = true;
	}
	s->milter.stage = "rcpt";
	find_refusal(s, RESULT_DISAGREED, "refuses some recipients");
}

static const char *describe_changes(const struct scan *s)
{
	struct str out = STR_IN(s->content->arena);

	for (const struct milter_change *c = s->milter.changes; c; c = c->next) {
		str_puts(&out, out.n ? ", " : "");
		str_puts(&out, c->kind != MILTER_CHANGES ? "adds " : c->value.n ? "changes " : "removes ");
		str_escaped(&out, c->name, 60);
		if (out.n > 300) {
			str_puts(&out, ", ...");
			break;
		}
	}
	if (s->milter.body_replaced)
		str_puts(&out, out.n ? ", replaces the body" : "replaces the body");
	return out.n ? str_cstr(&out) : NULL;
}

static void judge_acceptance(struct scan *s)
{
	struct finding *f;

	if (s->milter.quarantine) {
		f = content_find(s, s->conf->quarantine == QUARANTINE_MARKS ? RESULT_SUSPECT : refusal_of(s),
			"asks for quarantine");
		f->evidence = s->milter.quarantine;
	} else if (s->milter.refused_recipients > 0) {
		judge_recipients(s);
	} else {
		f = content_find(s, RESULT_PASS, s->conf->may_change ? "accepts" : "accepts; changes are not allowed");
		f->evidence = describe_changes(s);
	}
}

void content_judge_milter(struct scan *s)
{
	switch (s->milter.verdict) {
	case MILTER_ACCEPTS:
		judge_acceptance(s);
		break;
	case MILTER_REJECTS:
		find_refusal(s, refusal_of(s), "refuses");
		break;
	case MILTER_DISCARDS:
		find_refusal(s, refusal_of(s), "would discard it, which is refused here");
		break;
	case MILTER_DEFERS:
		find_refusal(s, RESULT_TRY_LATER, "asks to try later");
		break;
	}
}

/* ---- its changes ---- */

/* What becomes of each field that the client sent; the last change of one holds. */
struct rewriting {
	struct content *content;
	const struct field **fields;
	uint32_t count;
	struct slice *text;		/* per field: instead of it */
	bool *changed;
};

static uint32_t number_of(const struct rewriting *w, uint32_t seen)
{
	return (uint32_t)(w->fields[seen] - w->content->header->fields);
}

static struct slice whole_field(const struct rewriting *w, const struct milter_change *c)
{
	struct str out = STR_IN(w->content->arena);

	str_add(&out, c->name);
	str_addc(&out, ':');
	str_add(&out, c->value);
	str_puts(&out, "\r\n");
	return str_slice(&out);
}

static void add_on_top(const struct rewriting *w, const struct milter_change *c)
{
	header_change_add(&w->content->q.envelope->changes, w->content->arena, HEADER_PREPEND, 0, whole_field(w, c));
}

/* The place counts our own Received field as the first. */
static void insert(const struct rewriting *w, const struct milter_change *c)
{
	struct header_changes *changes = &w->content->q.envelope->changes;

	if (c->index <= 1)
		add_on_top(w, c);
	else if (c->index - 1 < w->count)
		header_change_add(changes, w->content->arena, HEADER_INSERT, number_of(w, c->index - 1), whole_field(w, c));
	else
		header_change_add(changes, w->content->arena, HEADER_APPEND, 0, whole_field(w, c));
}

static void change(const struct rewriting *w, const struct milter_change *c)
{
	uint32_t wanted = c->index ? c->index : 1;

	for (uint32_t i = 0; i < w->count; i++) {
		if (!slice_eq_nocase(w->fields[i]->name, c->name) || --wanted > 0)
			continue;
		w->changed[i] = true;
		w->text[i] = c->value.n ? whole_field(w, c) : SLICE_NULL;
		return;
	}
	if (c->value.n > 0)	/* there is none to change: it is added, as MTAs do */
		add_on_top(w, c);
}

static void rewrite(const struct rewriting *w, const struct milter_change *list)
{
	for (const struct milter_change *c = list; c; c = c->next) {
		if (slice_starts_nocase(c->name, SLICE("Spurn-")))
			continue;	/* our marks are ours */
		if (c->kind == MILTER_ADDS)
			add_on_top(w, c);
		else if (c->kind == MILTER_INSERTS)
			insert(w, c);
		else
			change(w, c);
	}
}

static void hand_over(const struct rewriting *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->changed[i])
			header_change_add(&w->content->q.envelope->changes, w->content->arena,
				w->text[i].n ? HEADER_REPLACE : HEADER_REMOVE, number_of(w, i), w->text[i]);
}

static void commit_body(struct content *c, struct scan *s)
{
	if (c->replaced) {
		forget_body(s);
		s->why = "replaces the body, as another filter does: both cannot be served";
	} else if (s->body && c->q.sink.commit(s->body)) {
		s->body = NULL;
		c->replaced = true;
	} else {
		forget_body(s);
		s->why = "the new body cannot be kept";
	}
	if (s->why)
		content_find_trouble(s);
}

void content_apply_changes(struct content *c)
{
	struct rewriting w = { .content = c };

	if (!c->q.apply)
		return;
	w.fields = fields_of(c, c->arena, &w.count);
	w.text = arena_array(c->arena, struct slice, (size_t)w.count + 1);
	w.changed = arena_array(c->arena, bool, (size_t)w.count + 1);
	for (struct scan *s = c->scans; s < c->scans + c->count; s++) {
		if (s->skipped || s->why || !s->conf->may_change)
			continue;
		rewrite(&w, s->milter.changes);
		if (s->milter.body_replaced)
			commit_body(c, s);
	}
	hand_over(&w);
}
