/*
 * Our signature on what comes back.
 *
 * Whether a body is whole no message says of itself. It counts as cut if the notice ended before its boundary, or if the last
 * lines of it say so, as Gmail writes them; the price is that a forger may say so, too, but he could as well return no body
 * at all. Its hash is only made where some signature names a domain of ours, so the bounces of others' spam cost nothing.
 *
 * Rejected: l= as a hint of how long a body was; nobody signs so any more.
 */
#include "check/returned.h"

#include "wire/taglist.h"

#define FIELDS_MOST 1000u
#define TAIL 200u	/* octets at the end of a body that may say that it was cut */

struct returned {
	struct arena *arena;
	struct returned_conf conf;
	struct notice_watch watch;
	struct body_hashes *hashes;	/* NULL: nothing of ours, or no message was attached */
	struct dkim_check *check;	/* by header section and body */
	bool body, whole;		/* octets of a body came; it ended where the notice says */
	char tail[2 * TAIL];
	size_t tail_length;
};

static struct header *read_header(struct arena *a, struct slice text)
{
	struct header *h = arena_new(a, struct header);

	header_init(h, a, NOTICE_ORIGINAL_MAX + 1024, FIELDS_MOST);
	header_push(h, text);
	header_finish(h);
	return h;
}

static bool bears_ours(struct returned *r, const struct header *h)
{
	const struct field *f;
	struct taglist list;
	const char *why;

	for (uint32_t i = 0; (f = header_field(h, SLICE("DKIM-Signature"), i)); i++)
		if (taglist_parse(&list, r->arena, f->value, &why) &&
		    r->conf.ours(r->conf.arg, taglist_value(&list, SLICE("d"))))
			return true;
	return false;
}

static struct dkim_check *begin_check(struct returned *r, const struct header *h, struct body_hashes *hashes)
{
	struct dkim_check *check = dkim_begin(r->arena, r->conf.dkim);

	dkim_only(check, r->conf.ours, r->conf.arg);
	dkim_header(check, h, hashes);
	return check;
}

/* ---- while it passes ---- */

static void header_passes(void *arg, struct slice text)
{
	struct returned *r = arg;
	struct header *h = read_header(r->arena, text);

	if (!bears_ours(r, h))
		return;
	r->hashes = body_hashes_new(r->arena);
	r->check = begin_check(r, h, r->hashes);
}

static void keep_tail(struct returned *r, struct slice piece)
{
	if (piece.n > TAIL)
		piece = slice_from(piece, piece.n - TAIL);
	if (r->tail_length + piece.n > sizeof(r->tail)) {
		memmove(r->tail, r->tail + r->tail_length - TAIL, TAIL);
		r->tail_length = TAIL;
	}
	memcpy(r->tail + r->tail_length, piece.p, piece.n);
	r->tail_length += piece.n;
}

static void body_passes(void *arg, struct slice piece)
{
	struct returned *r = arg;

	if (!r->hashes || piece.n == 0)
		return;
	body_hashes_push(r->hashes, piece);
	r->body = r->body || slice_trim(piece).n > 0;
	keep_tail(r, piece);
}

static void message_ended(void *arg, bool whole)
{
	struct returned *r = arg;

	r->whole = whole && slice_search_nocase(slice_make(r->tail, r->tail_length), SLICE("truncated")) < 0;
}

struct returned *returned_begin(struct arena *a, const struct returned_conf *conf)
{
	struct returned *r = arena_new(a, struct returned);

	r->arena = a;
	r->conf = *conf;
	r->watch = (struct notice_watch){ header_passes, body_passes, message_ended, r };
	return r;
}

const struct notice_watch *returned_watch(struct returned *r)
{
	return &r->watch;
}

/* ---- the end ---- */

static bool is_too_old(const struct returned *r, const struct dkim_facts *f, int64_t now)
{
	return r->conf.life && f->signed_at && now - f->signed_at > r->conf.life;
}

/* What the signatures come to: the best of them. */
static ASYNC enum result ask(const struct returned *r, struct dkim_check *check, struct dns *dns, struct dkim_keys *keys,
	int64_t now, struct returned_answer *out, deadline until)
{
	struct auth_facts facts = { .dkim = NULL };
	struct findings unused = { .first = NULL };
	enum result result = RESULT_FAIL;

	dkim_finish(check, dns, keys, now, &facts, &unused, until);
	for (const struct dkim_facts *f = facts.dkim; f; f = f->next) {
		if (f->result == RESULT_TEMPERROR && result == RESULT_FAIL)
			result = RESULT_TEMPERROR;
		if (f->result != RESULT_PASS)
			continue;
		if (is_too_old(r, f, now)) {
			out->too_old = true;
			continue;
		}
		result = RESULT_PASS;
		out->domain = f->domain;
		out->signature = f->signature_start;
	}
	return result;
}

ASYNC void returned_verify(struct returned *r, const struct notice_original *o, struct dns *dns, struct dkim_keys *keys,
	int64_t now, struct returned_answer *out, deadline until)
{
	struct header *h = read_header(r->arena, o->header);
	struct dkim_check *alone;
	bool with_body = r->check && r->body && r->whole;
	enum result result;

	*out = (struct returned_answer){ .result = RESULT_NONE };
	/* RFC 6376 section 8.15: a second From, above the one that is signed, would be whom readers see. */
	if (!dns || o->header_truncated || header_count(h, SLICE("From")) != 1 || !bears_ours(r, h))
		return;
	if (with_body) {
		out->result = ask(r, r->check, dns, keys, now, out, until);
		if (out->result != RESULT_FAIL)
			return;
	}
	alone = begin_check(r, h, NULL);
	result = ask(r, alone, dns, keys, now, out, until);
	if (!with_body)
		out->result = result;
	else
		out->other_body = result == RESULT_PASS;
	if (out->result != RESULT_PASS)
		out->domain = out->signature = SLICE_NULL;
}

void returned_drop(struct returned *r)
{
	if (r)
		body_hashes_drop(r->hashes);
}
