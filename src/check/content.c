/*
 * Scanners in parallel, one finding each.
 *
 * While the message arrives nothing waits here; at its end a fiber per scanner holds the dialogue. The check decides nothing:
 * which result refuses, and for whom, stands among the rules of the verdict.
 *
 * What a bounce returns is offered to clamd and spamd once more as a message of its own, when the whole was found harmless: it has
 * travelled before, and scanners differ in how deep they look. Filters are told of transactions, and that one is none.
 *
 * Rejected: one scanner after the other, stopping at the first refusal: the sum of all budgets would have to fit into the
 * one deadline, and the record would not say what the others thought.
 */
#include "check/content_scan.h"

#include "check/finding.h"
#include "check/notice.h"
#include "wire/authres.h"

#include <stdlib.h>

#define BUFFER (32u * 1024u)
#define UNREADABLE "the message cannot be read"
#define POINT 1000	/* spamd's scores are in thousandths */

/* ---- who is asked ---- */

static bool all_skipped(const struct scanner_conf *conf, const struct envelope *e)
{
	const char *where;

	for (const struct recipient *r = e->recipients; r; r = r->next)
		if (!address_list_contains(&conf->skip_recipients, r->canonical, &where))
			return false;
	return e->recipients != NULL;
}

static const char *reason_to_skip(const struct scanner_conf *conf, const struct envelope *e)
{
	if (conf->skip_clients && ip_set_contains(conf->skip_clients, &e->client->ip))
		return "not asked: skip-clients";
	if (all_skipped(conf, e))
		return "not asked: skip-recipients";
	return NULL;
}

struct content *content_begin(const struct content_question *q)
{
	struct arena *a = q->envelope->arena;
	struct content *c;

	if (!q->wanted || !q->scanners)
		return NULL;
	c = arena_new(a, struct content);
	c->q = *q;
	c->arena = a;
	c->scans = arena_array(a, struct scan, (size_t)__builtin_popcount(q->wanted));
	for (uint32_t i = 0; i < q->conf->count; i++) {
		struct scan *s = &c->scans[c->count];

		if (!(q->wanted & 1u << i))
			continue;
		s->content = c;
		s->conf = &q->conf->scanners[i];
		s->scanner = scanner_of(q->scanners, s->conf);
		s->skipped = reason_to_skip(s->conf, q->envelope);
		c->count++;
	}
	return c;
}

bool content_hides(const struct content *c, const struct field *f)
{
	return authres_is_forged(f, slice_of(c->q.self.hostname));
}

uint64_t content_body_offset(const struct content *c)
{
	return c->header->bytes.n + (c->header->blank_line ? 2 : 0);
}

static bool hides_any(const struct content *c)
{
	for (uint32_t i = 0; i < c->header->count; i++)
		if (content_hides(c, &c->header->fields[i]))
			return true;
	return false;
}

/* Only where something has to go is the header section written again. */
static void write_lead(struct content *c)
{
	struct str lead = STR_IN(c->arena);

	for (uint32_t i = 0; i < c->header->count; i++)
		if (!content_hides(c, &c->header->fields[i]))
			str_add(&lead, c->header->fields[i].raw);
	if (c->header->blank_line)
		str_puts(&lead, "\r\n");
	c->lead = str_slice(&lead);
	c->skip = content_body_offset(c);
}

void content_header(struct content *c, const struct header *h)
{
	c->header = h;
	if (hides_any(c))
		write_lead(c);
}

static bool is_too_large(const struct scan *s, uint64_t size)
{
	return s->conf->size_limit && size > s->conf->size_limit;
}

static void stop_feeder(struct scan *s)
{
	if (s->feeder)
		feeder_drop(s->feeder);
	s->feeder = NULL;
}

void content_body(struct content *c, struct slice piece)
{
	uint64_t before = c->arrived;

	c->arrived += piece.n;
	for (struct scan *s = c->scans; s < c->scans + c->count; s++) {
		if (s->conf->kind != SCANNER_CLAMD || s->skipped)
			continue;
		if (is_too_large(s, c->arrived))
			stop_feeder(s);
		else if (s->feeder)
			feeder_wake(s->feeder);
		else if (s->conf->stream && before < FEEDER_FROM && c->arrived >= FEEDER_FROM)
			s->feeder = feeder_start(s->scanner, s->conf, c->q.source, c->lead, c->skip);
	}
}

void content_abandon(struct content *c)
{
	c->abandoned = true;
	if (c->asking)
		group_cancel(c->asking);
}

void content_drop(struct content *c)
{
	for (struct scan *s = c->scans; s < c->scans + c->count; s++) {
		stop_feeder(s);
		if (s->body)
			c->q.sink.drop(s->body);
		s->body = NULL;
	}
}

/* ---- the message as they see it ---- */

struct source_pieces {
	struct pieces pieces;
	struct content_source source;
	struct content_cursor at;
	struct slice lead;
	uint64_t skip;
	char buffer[BUFFER];
};

static bool next_piece(struct pieces *base, struct slice *piece)
{
	struct source_pieces *p = container_of(base, struct source_pieces, pieces);

	if (p->lead.n > 0) {
		*piece = p->lead;
		p->lead = SLICE_NULL;
		return true;
	}
	for (;;) {
		ptrdiff_t n = p->source.read(p->source.arg, &p->at, p->buffer, sizeof(p->buffer));

		if (n < 0)
			return false;
		*piece = slice_make(p->buffer, (size_t)n);
		if ((uint64_t)n > p->skip || n == 0) {
			*piece = slice_from(*piece, (size_t)p->skip);
			p->skip = 0;
			return true;
		}
		p->skip -= (uint64_t)n;
	}
}

struct pieces *content_pieces(struct arena *a, struct content_source source, struct slice lead, uint64_t skip)
{
	struct source_pieces *p = arena_alloc(a, sizeof(*p));

	memset(p, 0, offsetof(struct source_pieces, buffer));
	p->pieces.next = next_piece;
	p->source = source;
	p->lead = lead;
	p->skip = skip;
	return &p->pieces;
}

/* A first line that begins with white space is body, and would be the end of our field (RFC 5322 section 2.2.3). */
static bool begins_with_space(const struct content *c)
{
	struct content_cursor at = { 0 };
	char first;

	return c->header->count == 0 && c->q.source.read(c->q.source.arg, &at, &first, 1) == 1 &&
		(first == ' ' || first == '\t');
}

/* What this scanner is sent. spamd learns from our trace field who the client was. */
static struct pieces *message_for(const struct scan *s, struct arena *a)
{
	const struct content *c = s->content;
	struct str lead = STR_IN(a);

	if (s->returned)
		return content_returned(a, c->q.source);
	if (s->conf->kind != SCANNER_SPAMD)
		return content_pieces(a, c->q.source, c->lead, c->skip);
	str_add(&lead, c->q.received);
	if (begins_with_space(c))
		str_puts(&lead, "\r\n");
	str_add(&lead, c->lead);
	return content_pieces(a, c->q.source, str_slice(&lead), c->skip);
}

/* ---- findings ---- */

static const char *place_of(const struct scan *s)
{
	return s->returned ? ", in the message returned" : "";
}

struct finding *content_find(struct scan *s, enum result result, const char *reason)
{
	struct arena *a = s->content->arena;

	return finding_timed(&s->found, a, CHECK_CONTENT, result, s->began,
		arena_printf(a, "%s: %s%s", s->conf->name, reason, place_of(s)));
}

void content_find_trouble(struct scan *s)
{
	struct str why = STR_IN(s->content->arena);

	str_escaped(&why, slice_of(s->why), 300);
	content_find(s, s->conf->on_error == TROUBLE_MARKS ? RESULT_UNCHECKED : RESULT_TEMPERROR, str_cstr(&why));
}

static void judge_clamd(struct scan *s, const struct clamd_answer *answer)
{
	struct finding *f;

	if (!answer->infected) {
		content_find(s, RESULT_PASS, "nothing found");
		return;
	}
	f = content_find(s, RESULT_VIRUS, "found a virus");
	f->evidence = f->detail = arena_printf(s->content->arena, "%s", answer->virus);
}

/* "12.3 of 5.0" */
static const char *score_text(struct arena *a, const struct spamd_answer *answer)
{
	return arena_printf(a, "score %.1f of %.1f: %s", answer->score / (double)POINT, answer->threshold / (double)POINT,
		answer->symbols);
}

static void judge_spamd(struct scan *s, const struct spamd_answer *answer)
{
	const struct scanner_conf *conf = s->conf;
	bool marked = conf->mark_score ? answer->score >= conf->mark_score * POINT : answer->spam;
	struct finding *f;

	if (answer->score >= conf->reject_score * POINT)
		f = content_find(s, RESULT_SPAM, "score reaches reject-score");
	else if (marked)
		f = content_find(s, RESULT_SUSPECT, "score reaches the mark");
	else
		f = content_find(s, RESULT_PASS, "score is low");
	f->weight = answer->score / POINT;
	f->evidence = score_text(s->content->arena, answer);
}

/* ---- asking ---- */

static bool first_piece(struct scan *s, struct pieces *message, struct slice *piece)
{
	s->why = UNREADABLE;
	return message->next(message, piece);
}

static ASYNC bool ask_clamd(struct scan *s, struct arena *scratch)
{
	struct pieces *message = message_for(s, scratch);
	struct clamd_answer answer = { 0 };
	struct slice piece;
	struct clamd clamd;

	if (!first_piece(s, message, &piece))
		return false;
	if (s->returned && piece.n == 0)
		return true;
	if (!clamd_open(&clamd, &s->conf->endpoint, &s->why, s->until))
		return false;
	while (piece.n > 0) {
		if (!clamd_send(&clamd, piece, &s->why, s->until))
			return false;
		if (!message->next(message, &piece)) {
			s->why = UNREADABLE;
			clamd_close(&clamd);
			return false;
		}
	}
	if (!clamd_finish(&clamd, s->content->arena, &answer, &s->why, s->until))
		return false;
	judge_clamd(s, &answer);
	return true;
}

static bool count_octets(struct scan *s, struct arena *scratch, uint64_t *size)
{
	struct pieces *message = message_for(s, scratch);
	struct slice piece;

	for (*size = 0; message->next(message, &piece); *size += piece.n)
		if (piece.n == 0)
			return true;
	s->why = UNREADABLE;
	return false;
}

static struct slice user_of(const struct scan *s)
{
	const struct envelope *e = s->content->q.envelope;

	if (s->conf->user)
		return slice_of(s->conf->user);
	if (e->recipient_count != 1 || !spamd_user_valid(e->recipients->canonical))
		return SLICE_NULL;
	return e->recipients->canonical;
}

static ASYNC bool ask_spamd(struct scan *s, struct arena *scratch)
{
	struct spamd_question q = { .user = user_of(s) };
	struct spamd_answer answer;

	if (!count_octets(s, scratch, &q.size))
		return false;
	if (s->returned && q.size == 0)
		return true;
	q.message = message_for(s, scratch);
	if (!spamd_check(&s->conf->endpoint, &q, s->content->arena, &answer, &s->why, s->until))
		return false;
	judge_spamd(s, &answer);
	return true;
}

static ASYNC bool ask(struct scan *s, struct arena *scratch)
{
	switch (s->conf->kind) {
	case SCANNER_CLAMD:
		return ask_clamd(s, scratch);
	case SCANNER_SPAMD:
		return ask_spamd(s, scratch);
	case SCANNER_MILTER:
		return content_ask_milter(s, scratch);
	}
	return false;
}

/* A place, the question, the place back. false: s->why. */
static ASYNC bool ask_in_turn(struct scan *s)
{
	struct arena scratch = ARENA_INIT;
	bool ok;

	if (!scanner_enter(s->scanner, &s->why, s->until))
		return false;
	ok = ask(s, &scratch);
	/* That our own time is up says nothing about the scanner, that its budget is, does. */
	if (!ok && fiber_cancelled())
		scanner_withdraw(s->scanner);
	else
		scanner_leave(s->scanner, ok ? NULL : s->why);
	arena_drop(&scratch);
	return ok;
}

/* What the feeder has already sent needs only its end. false: ask from the beginning. */
static ASYNC bool ask_fed(struct scan *s, bool *ok)
{
	struct clamd_answer answer;
	enum feeder_result r;

	if (!s->feeder)
		return false;
	r = feeder_finish(s->feeder, s->content->arena, &answer, &s->why, s->until);
	stop_feeder(s);
	*ok = r == FEEDER_ANSWERED;
	if (*ok)
		judge_clamd(s, &answer);
	return r != FEEDER_LEFT;
}

static bool found_bad(const struct scan *s)
{
	for (const struct finding *f = s->found.first; f; f = f->next)
		if (f->result == RESULT_VIRUS || f->result == RESULT_SPAM || f->result == RESULT_REFUSED)
			return true;
	return false;
}

/* A bounce, or what has the look of one, that encloses a message. */
static bool returns_message(const struct content *c)
{
	const struct notice *n = c->q.envelope->notice;

	return n && n->original.form == NOTICE_FORM_FULL && (n->kind != NOTICE_MESSAGE || n->null_sender);
}

static ASYNC bool ask_all(struct scan *s)
{
	bool ok = false;

	if (!ask_fed(s, &ok))
		ok = ask_in_turn(s);
	if (!ok || s->conf->kind == SCANNER_MILTER || found_bad(s) || !returns_message(s->content))
		return ok;
	s->returned = true;
	return ask_in_turn(s);
}

static ASYNC void run_scan(void *arg)
{
	struct scan *s = arg;

	s->began = clock_precise();
	s->returned = false;
	s->why = NULL;
	if (!ask_all(s)) {
		content_find_trouble(s);
		return;
	}
	s->why = NULL;
	if (s->conf->kind == SCANNER_MILTER)
		content_judge_milter(s);
	scanner_count(s->scanner, found_bad(s), clock_precise() - s->began);
}

/* The scans of these kinds, side by side. */
static ASYNC void run_scans(struct content *c, bool milters, bool others, deadline until)
{
	struct group g;

	if (c->abandoned)
		return;
	group_init(&g);
	c->asking = &g;
	for (struct scan *s = c->scans; s < c->scans + c->count; s++) {
		if (s->skipped || !(s->conf->kind == SCANNER_MILTER ? milters : others))
			continue;
		s->until = deadline_min(until, deadline_in(s->conf->budget));
		group_start(&g, &s->member, s->conf->name, run_scan, s);
	}
	group_wait(&g, "scanners", until);
	c->asking = NULL;
}

/* The backend must have its share of the one deadline. */
static deadline share_of(deadline until)
{
	return deadline_in(deadline_left(until) / 4 * 3);
}

static void skip_large(struct content *c)
{
	uint64_t size = c->q.envelope->message.size;

	for (struct scan *s = c->scans; s < c->scans + c->count; s++)
		if (!s->skipped && is_too_large(s, size)) {
			stop_feeder(s);
			s->skipped = "not asked: larger than size-limit";
		}
}

ASYNC void content_finish(struct content *c, struct findings *found, deadline until)
{
	until = share_of(until);
	skip_large(c);
	run_scans(c, true, true, until);
	if (c->abandoned)
		return;
	content_apply_changes(c);
	if (c->replaced)
		run_scans(c, false, true, until);
	for (struct scan *s = c->scans; s < c->scans + c->count; s++) {
		s->began = clock_precise();
		if (s->skipped)
			content_find(s, RESULT_SKIPPED, s->skipped);
		findings_join(found, &s->found);
	}
}
