/*
 * What the check arc takes besides its mode: whom it trusts, and who seals.
 */
#include "policy/loader.h"

static struct slice domain_of(struct loader *l, const struct word *w)
{
	struct slice domain = domain_valid(w->text, true) ? domain_canonical(l->a, w->text) : SLICE_NULL;

	if (domain.n == 0)
		report_error(&l->report, w, "%.*s is no domain name", SLICE_ARG(w->text));
	return domain;
}

static void read_sealer(struct loader *l, const struct statement *st)
{
	if (st->count != 2 || l->sealer)
		report_error(&l->report, &st->words[0], l->sealer ? "a second seal: one domain seals for all" : "seal DOMAIN;");
	else
		l->sealer = &st->words[1];
}

void loader_read_arc(struct loader *l, const struct option *o, const struct statement *st)
{
	struct arc_conf *arc = &l->c->arc;
	struct slice *all;

	if (!loader_has_arguments(l, st))
		return;
	if (strcmp(o->name, "seal") == 0) {
		read_sealer(l, st);
		return;
	}
	all = arena_array(l->a, struct slice, arc->trusted_count + st->count);
	if (arc->trusted_count > 0)
		memcpy(all, arc->trusted, arc->trusted_count * sizeof(*all));
	for (size_t i = 1; i < st->count; i++)
		all[arc->trusted_count++] = domain_of(l, &st->words[i]);
	arc->trusted = all;
}

void loader_finish_arc(struct loader *l)
{
	struct slice domain = l->sealer ? domain_of(l, l->sealer) : SLICE_NULL;

	for (size_t i = 0; i < l->c->signer_count && domain.n > 0 && !l->c->arc.sealer; i++)
		if (slice_eq(l->c->signers[i].domain, domain))
			l->c->arc.sealer = &l->c->signers[i];
	if (domain.n > 0 && !l->c->arc.sealer)
		report_error(&l->report, l->sealer, "there is no sign %.*s { ... } with its key", SLICE_ARG(domain));
}
