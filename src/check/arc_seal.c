/*
 * The tags stand in the order of their names, with one space after each semicolon and none elsewhere: there is no form in the
 * standard, and this is the one that others' test suites expect. b= comes second, so a field has a part before it
 * and a part behind it, and the signature is written between them, on a line of its own and unbroken: white space in it
 * would be covered by the seal.
 *
 * A seal covers the whole chain, or, where the chain is broken, its own set alone (section 5.1.2).
 */
#include "check/arc_seal.h"

#include "check/signature_write.h"

#include <string.h>

uint32_t arc_next_instance(struct arena *a, const struct header *h)
{
	uint32_t highest = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		uint32_t instance = arc_field_instance(a, &h->fields[i]);

		if (instance > highest)
			highest = instance;
	}
	return highest < ARC_MAX_INSTANCE ? highest + 1 : 0;
}

/* A line has at most 998 octets (RFC 5322 section 2.1.1). */
#define UNBROKEN 900u

struct writing {
	const struct arc_sealing *sealing;
	struct arena arena;		/* of the work */
	struct arc_set own;
};

/* A field of ours, read again as others will read it. NULL: that cannot be. */
static const struct field *field_read(struct writing *w, struct slice text)
{
	struct header *h = arena_new(&w->arena, struct header);

	header_init(h, &w->arena, UINT32_MAX, 2);
	header_push(h, text);
	header_push(h, SLICE("\r\n"));
	header_finish(h);
	return h->count == 1 ? &h->fields[0] : NULL;
}

/* ---- the text of the fields ---- */

static struct slice results_text(struct writing *w)
{
	const struct arc_sealing *g = w->sealing;

	return slice_of(arena_printf(&w->arena, "ARC-Authentication-Results: i=%u; %.*s\r\n", g->instance, SLICE_ARG(g->results)));
}

static void add_tag(struct folding *f, struct arena *a, const char *name, struct slice value)
{
	bool first = f->out->n - f->line == 1;

	fold_add(f, first ? "" : " ", slice_of(arena_printf(a, "%s=%.*s;", name, SLICE_ARG(value))));
}

/* The tail begins on a line of its own. */
static struct folding tail_begin(struct str *out)
{
	str_puts(out, ";\r\n\t");
	return (struct folding){ out, out->n - 1 };
}

/* What ends both: i=, s=, t=. */
static void add_end(struct folding *f, struct writing *w)
{
	const struct arc_sealing *g = w->sealing;

	fold_add(f, " ", slice_of(arena_printf(&w->arena, "i=%u;", g->instance)));
	add_tag(f, &w->arena, "s", g->signer->selector);
	fold_add(f, " ", slice_of(arena_printf(&w->arena, "t=%lld", (long long)g->now)));
}

/* Behind b= of ARC-Message-Signature. */
static struct slice message_tail(struct writing *w)
{
	const struct arc_sealing *g = w->sealing;
	struct str out = STR_IN(&w->arena), hash = STR_IN(&w->arena);
	struct folding f = tail_begin(&out);

	str_base64(&hash, g->body_hash);
	add_tag(&f, &w->arena, "bh", str_slice(&hash));
	add_tag(&f, &w->arena, "c", SLICE("relaxed/relaxed"));
	add_tag(&f, &w->arena, "d", g->signer->domain);
	fold_add(&f, " ", SLICE("h="));
	fold_names(&f, g->names.n > 0 ? g->names : signature_names(&w->arena, g->header, "DKIM-Signature"));
	str_puts(&out, ";");
	add_end(&f, w);
	return str_slice(&out);
}

/* Behind b= of ARC-Seal. */
static struct slice seal_tail(struct writing *w)
{
	const struct arc_sealing *g = w->sealing;
	struct str out = STR_IN(&w->arena);
	struct folding f = tail_begin(&out);

	add_tag(&f, &w->arena, "cv", slice_of(g->chain == RESULT_NONE ? "none" : g->chain == RESULT_PASS ? "pass" : "fail"));
	add_tag(&f, &w->arena, "d", g->signer->domain);
	add_end(&f, w);
	return str_slice(&out);
}

/* "NAME: a=...; b=", the octets that stand for the signature, and the tail. */
static struct slice signed_text(struct writing *w, const char *name, struct slice signature, struct slice tail)
{
	struct str out = STR_IN(&w->arena), digits = STR_IN(&w->arena);
	struct slice rest;

	str_printf(&out, "%s: a=%s;\r\n\tb=", name, signature_algorithm_name(w->sealing->signer->algorithm));
	str_base64(&digits, signature);
	rest = str_slice(&digits);
	while (rest.n > 0) {
		str_add(&out, slice_head(rest, UNBROKEN));
		rest = slice_from(rest, UNBROKEN);
		if (rest.n > 0)
			str_puts(&out, "\r\n\t");
	}
	str_add(&out, tail);
	str_puts(&out, "\r\n");
	return str_slice(&out);
}

/* ---- signing ---- */

/* Adds what a field covers: itself as it will be read, with b= emptied. */
typedef bool cover(struct writing *w, const struct field *f, struct str *octets);

static bool cover_message(struct writing *w, const struct field *f, struct str *octets)
{
	struct dkim_signature parsed;
	struct canon_index index;
	const char *why;

	if (!dkim_signature_parse(&parsed, &w->arena, f, SIGNATURE_ARC_MESSAGE, &why))
		return false;
	canon_index_build(&index, &w->arena, w->sealing->header);
	dkim_signed_header(octets, &parsed, &index, &w->arena);
	return true;
}

static bool cover_chain(struct writing *w, const struct field *f, struct str *octets)
{
	const struct arc_sealing *g = w->sealing;
	struct arc_sets sets = { .set = arena_array(&w->arena, struct arc_set, g->instance), .count = g->instance };
	bool whole = g->chain == RESULT_PASS;
	struct dkim_signature parsed;
	const char *why;

	if (!dkim_signature_parse(&parsed, &w->arena, f, SIGNATURE_ARC_SEAL, &why))
		return false;
	if (whole)
		memcpy(sets.set, g->sets->set, g->sets->count * sizeof(*sets.set));
	sets.set[g->instance - 1] = w->own;
	arc_sealed_octets(octets, &sets, whole ? 1 : g->instance, g->instance, f, parsed.emptied);
	return true;
}

/* The whole field, signed. Empty: the library failed. */
static struct slice field_signed(struct writing *w, const char *name, struct slice tail, cover *covers)
{
	const struct field *draft = field_read(w, signed_text(w, name, SLICE("in its place"), tail));
	struct str octets = STR_IN(&w->arena);
	uint8_t signature[SIGNATURE_MAX];
	size_t n = sizeof(signature);

	if (!draft || !covers(w, draft, &octets) || !signature_make(w->sealing->signer, str_slice(&octets), signature, &n))
		return SLICE_NULL;
	return signed_text(w, name, slice_make((const char *)signature, n), tail);
}

bool arc_seal(struct str *out, const struct arc_sealing *g)
{
	struct writing w = { .sealing = g, .arena = ARENA_INIT };
	struct slice results = results_text(&w), message, seal = SLICE_NULL;

	message = field_signed(&w, "ARC-Message-Signature", message_tail(&w), cover_message);
	w.own.results = field_read(&w, results);
	w.own.message_field = message.n > 0 ? field_read(&w, message) : NULL;
	if (w.own.results && w.own.message_field)
		seal = field_signed(&w, "ARC-Seal", seal_tail(&w), cover_chain);
	if (seal.n > 0) {
		str_add(out, seal);
		str_add(out, message);
		str_add(out, results);
	}
	arena_drop(&w.arena);
	return seal.n > 0;
}
