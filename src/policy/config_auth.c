/*
 * What the check arc takes besides its mode: whom it trusts.
 */
#include "policy/loader.h"

static struct slice domain_of(struct loader *l, const struct word *w)
{
	struct slice domain = domain_valid(w->text, true) ? domain_canonical(l->a, w->text) : SLICE_NULL;

	if (domain.n == 0)
		report_error(&l->report, w, "%.*s is no domain name", SLICE_ARG(w->text));
	return domain;
}

void loader_read_arc(struct loader *l, const struct option *o, const struct statement *st)
{
	struct arc_conf *arc = &l->c->arc;
	struct slice *all;

	if (!loader_has_arguments(l, st))
		return;
	all = arena_array(l->a, struct slice, arc->trusted_count + st->count);
	if (arc->trusted_count > 0)
		memcpy(all, arc->trusted, arc->trusted_count * sizeof(*all));
	for (size_t i = 1; i < st->count; i++)
		all[arc->trusted_count++] = domain_of(l, &st->words[i]);
	arc->trusted = all;
}
