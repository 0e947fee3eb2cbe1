/*
 * The sign block: a domain, a selector and the key that signs for them.
 */
#include "policy/loader.h"

struct sign_draft {
	struct dkim_signer signer;
	const struct word *selector, *key;
};

static struct slice name_of(struct loader *l, const struct word *w, const char *what)
{
	struct slice name = domain_valid(w->text, true) ? domain_canonical(l->a, w->text) : SLICE_NULL;

	if (name.n == 0)
		report_error(&l->report, w, "%.*s is no %s", SLICE_ARG(w->text), what);
	return name;
}

static void read_key(struct loader *l, const struct word *w, struct dkim_signer *s)
{
	const char *why = NULL;

	s->key_file = slice_cstr(l->a, w->text);
	if (!dkim_signer_load(s, l->a, s->key_file, &why))
		report_error(&l->report, w, "%s: %s", s->key_file, why);
	else if (s->algorithm != ALGORITHM_ED25519_SHA256 && s->bits < DKIM_GOOD_BITS)
		report_warning(&l->report, w, "%s: an RSA key of %u bits; it should have %u (RFC 8301 section 3.2)", s->key_file,
			s->bits, DKIM_GOOD_BITS);
}

static void read_directive(struct loader *l, const struct statement *st, struct sign_draft *draft)
{
	const struct option *o = loader_option(l, "sign", st, NULL);
	const struct word **place = o && strcmp(o->name, "key") == 0 ? &draft->key : &draft->selector;

	if (!o)
		return;
	if (st->count != 2 || *place) {
		report_error(&l->report, &st->words[0], *place ? "a second %s: each key has a block of its own" :
			"%s takes one word", o->name);
		return;
	}
	*place = &st->words[1];
}

static void check_twice(struct loader *l, const struct word *at, const struct dkim_signer *s)
{
	for (size_t i = 0; i < l->c->signer_count; i++)
		if (slice_eq(l->c->signers[i].domain, s->domain) && slice_eq(l->c->signers[i].selector, s->selector))
			report_error(&l->report, at, "a second key with this selector for %.*s", SLICE_ARG(s->domain));
}

void loader_read_sign(struct loader *l, const struct statement *block)
{
	struct sign_draft draft = { .selector = NULL };
	struct dkim_signer *s = &draft.signer;

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "sign DOMAIN { selector NAME; key FILE; }");
		return;
	}
	s->domain = name_of(l, &block->words[1], "domain");
	for (const struct statement *st = block->children; st; st = st->next)
		read_directive(l, st, &draft);
	if (!draft.selector || !draft.key) {
		report_error(&l->report, &block->words[0], "sign without a %s", draft.selector ? "key" : "selector");
		return;
	}
	s->selector = name_of(l, draft.selector, "selector");
	check_twice(l, draft.selector, s);
	read_key(l, draft.key, s);
	l->c->signers[l->c->signer_count++] = *s;
}
