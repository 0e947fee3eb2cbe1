/*
 * The scanner blocks, and who wants which of them.
 *
 * A domain may name scanners that stand further down in the file, so names are looked up when all has been read. A domain
 * that names none wants all; an outbound listener wants none unless it names some.
 */
#include "policy/loader.h"
#include "policy/value.h"

#define CLAMD_SIZE (INT64_C(25) << 20)	/* StreamMaxLength of clamd in Debian */
#define SPAMD_SIZE (INT64_C(1) << 20)	/* spam is small, and rules run over all of it */

/* unix:/path, inet:ADDRESS:PORT; localhost is 127.0.0.1. */
static bool read_address(struct loader *l, const struct word *w, struct scanner_conf *s)
{
	struct listen_address place;
	struct slice text = w->text;
	const char *why;

	if (slice_starts(text, SLICE("inet:")))
		text = slice_from(text, 5);
	if (slice_starts(text, SLICE("localhost:")))
		text = slice_of(arena_printf(l->a, "127.0.0.1:%.*s", SLICE_ARG(slice_from(text, 10))));
	if (!value_listen_address(l->a, text, &place, &why)) {
		report_error(&l->report, w, "%.*s: %s", SLICE_ARG(w->text), why);
		return false;
	}
	s->address = slice_cstr(l->a, w->text);
	s->endpoint.address = place.address;
	s->endpoint.length = place.length;
	return true;
}

static void read_kind(struct loader *l, const struct statement *st, enum scanner_kind kind, struct scanner_conf *s)
{
	if (s->address) {
		report_error(&l->report, &st->words[0], "a scanner is one of clamd, spamd, milter, and once");
		return;
	}
	if (st->count != 2)
		report_error(&l->report, &st->words[0], "'%.*s' takes one address: unix:/path or inet:ADDRESS:PORT",
			SLICE_ARG(st->words[0].text));
	else if (read_address(l, &st->words[1], s))
		s->kind = kind;
}

static void read_skipped(struct loader *l, const struct statement *st, struct address_list *list)
{
	const char *why;

	if (!loader_has_arguments(l, st))
		return;
	if (!list->entries)
		list->entries = address_set_new(l->a);
	for (size_t i = 1; i < st->count; i++)
		if (!address_set_add(list->entries, st->words[i].text, SLICE_NULL, &why))
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
}

static void read_size(struct loader *l, const struct statement *st, int64_t *size)
{
	const char *why;

	if (st->count != 2)
		report_error(&l->report, &st->words[0], "'size-limit' takes one value: SIZE");
	else if (!value_size(st->words[1].text, size, &why))
		report_error(&l->report, &st->words[1], "size-limit: %s", why);
}

static void read_option(struct loader *l, const struct option *o, const struct statement *st, struct scanner_conf *s,
	int64_t *size)
{
	int64_t kind = loader_choice("clamd|spamd|milter", slice_of(o->name));

	if (kind >= 0)
		read_kind(l, st, (enum scanner_kind)kind, s);
	else if (strcmp(o->name, "size-limit") == 0)
		read_size(l, st, size);
	else if (strcmp(o->name, "skip-clients") == 0)
		loader_prefixes(l, st, &s->skip_clients);
	else if (strcmp(o->name, "skip-recipients") == 0)
		read_skipped(l, st, &s->skip_recipients);
}

static void finish_scanner(struct loader *l, const struct statement *block, struct scanner_conf *s, int64_t size)
{
	const struct content_conf *all = &l->c->content;

	if (!s->address)
		report_error(&l->report, &block->words[0], "scanner %s names no clamd, spamd or milter", s->name);
	for (uint32_t i = 0; i < all->count; i++)
		if (strcmp(all->scanners[i].name, s->name) == 0)
			report_error(&l->report, &block->words[1], "scanner %s stands twice", s->name);
	s->size_limit = (uint64_t)(size >= 0 ? size : s->kind == SCANNER_CLAMD ? CLAMD_SIZE :
		s->kind == SCANNER_SPAMD ? SPAMD_SIZE : 0);
	if (s->kind == SCANNER_CLAMD)
		s->finds = FINDS_VIRUSES;
	if (s->skip_clients)
		ip_set_finish(s->skip_clients);
	if (s->user && !spamd_user_valid(slice_of(s->user)))
		report_error(&l->report, &block->words[1], "scanner %s: user has characters that no user name has", s->name);
}

void loader_read_scanner(struct loader *l, const struct statement *block)
{
	struct content_conf *all = &l->c->content;
	struct scanner_conf *s = &all->scanners[all->count];
	int64_t size = -1;

	if (block->count != 2 || !block->is_block) {
		report_error(&l->report, &block->words[0], "scanner NAME { ... }");
		return;
	}
	if (all->count >= SCANNERS_MOST) {
		report_error(&l->report, &block->words[0], "more than %d scanners", SCANNERS_MOST);
		return;
	}
	loader_defaults(l, "scanner", s);
	s->name = slice_cstr(l->a, block->words[1].text);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "scanner", st, s);

		if (o)
			read_option(l, o, st, s, &size);
	}
	finish_scanner(l, block, s, size);
	all->count++;
}

void loader_read_content(struct loader *l, const struct statement *st, uint32_t *wanted)
{
	struct content_choice *choice = arena_new(l->a, struct content_choice);

	if (!loader_has_arguments(l, st))
		return;
	choice->next = l->choices;
	choice->statement = st;
	choice->wanted = wanted;
	l->choices = choice;
}

static uint32_t bit_of(const struct content_conf *all, struct slice name)
{
	for (uint32_t i = 0; i < all->count; i++)
		if (slice_eq(name, slice_of(all->scanners[i].name)))
			return 1u << i;
	return 0;
}

static void resolve(struct loader *l, const struct content_choice *choice)
{
	const struct statement *st = choice->statement;

	*choice->wanted = 0;
	if (st->count == 2 && slice_eq(st->words[1].text, SLICE("none")))
		return;
	for (size_t i = 1; i < st->count; i++) {
		uint32_t bit = bit_of(&l->c->content, st->words[i].text);

		if (!bit)
			report_error(&l->report, &st->words[i], "there is no scanner %.*s",
				SLICE_ARG(st->words[i].text));
		*choice->wanted |= bit;
	}
}

void loader_finish_content(struct loader *l)
{
	uint32_t all = l->c->content.count >= 32 ? UINT32_MAX : (1u << l->c->content.count) - 1;

	for (size_t i = 0; i < l->c->domain_count; i++)
		l->c->domains[i].content = all;
	for (const struct content_choice *choice = l->choices; choice; choice = choice->next)
		resolve(l, choice);
}
