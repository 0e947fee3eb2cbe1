/*
 * Plain values and what else every block needs.
 *
 * A directive is found in the option table by name, its value parsed by type,
 * checked against the range and stored at its offset. What is more than a value
 * goes back to the reader of its block. Reading goes on behind every mistake.
 *
 * Blocks of checks that a later version brings are known by name, so that one
 * configuration can serve both: they are warned about, not obeyed.
 */
#include "policy/loader.h"
#include "policy/value.h"

#include "base/log.h"

static const char *const later_blocks[] = { "console", NULL };

static bool is_among(const char *const *names, struct slice name)
{
	for (; *names; names++)
		if (slice_eq(name, slice_of(*names)))
			return true;
	return false;
}

/* ---- plain values ---- */

int64_t loader_choice(const char *choices, struct slice text)
{
	struct slice rest = slice_of(choices);

	for (int64_t i = 0; rest.n > 0; i++)
		if (slice_eq(slice_split(&rest, '|'), text))
			return i;
	return -1;
}

void loader_bad_choice(struct loader *l, const struct word *w, const char *name, const char *choices)
{
	struct slice rest = slice_of(choices);
	const char *wanted = slice_cstr(l->a, w->text), *near = NULL;

	while (rest.n > 0)
		option_near(wanted, slice_cstr(l->a, slice_split(&rest, '|')), &near);
	if (near)
		report_error(&l->report, w, "%s: %s; did you mean '%s'?", name, choices, near);
	else
		report_error(&l->report, w, "%s: %s", name, choices);
}

static bool parse_number(const struct option *o, struct slice text, int64_t *out, const char **why)
{
	switch (o->type) {
	case OPTION_COUNT_NUMBER:
		return value_count(text, out, why);
	case OPTION_SIZE:
		return value_size(text, out, why);
	case OPTION_DURATION:
		return value_duration(text, out, why);
	case OPTION_INTEGER:
		return value_integer(text, out, why);
	case OPTION_BOOL:
		*why = "yes or no is wanted";
		*out = loader_choice("no|yes", text);
		return *out >= 0;
	case OPTION_CHOICE:
		*why = o->choices;
		*out = loader_choice(o->choices, text);
		return *out >= 0;
	default:
		*why = "takes no number";
		return false;
	}
}

static void store_number(const struct option *o, char *at, int64_t value)
{
	switch (o->width) {
	case 1:
		*(uint8_t *)at = (uint8_t)value;
		break;
	case 4:
		memcpy(at, &(uint32_t){ (uint32_t)value }, 4);
		break;
	case 8:
		memcpy(at, &value, 8);
		break;
	default:
		break;
	}
}

static bool is_printable(struct slice url)
{
	for (size_t i = 0; i < url.n; i++)
		if (url.p[i] <= ' ' || url.p[i] > '~')
			return false;
	return url.n <= 200;
}

/* Puts a value where its option says. *why: what is wrong with it. */
static bool set_value(struct arena *a, const struct option *o, void *base, struct slice text, const char **why)
{
	char *at = (char *)base + o->offset;
	char limit[OPTION_NUMBER_MAX];
	struct rate_limit rate;
	int64_t number;

	if (o->type == OPTION_URL && !is_printable(text)) {
		*why = "it has to be printable, without blanks, of at most 200 octets";
		return false;
	}
	if (o->type == OPTION_WORD || o->type == OPTION_PATH || o->type == OPTION_URL) {
		const char *copy = slice_cstr(a, text);

		memcpy(at, &copy, sizeof(copy));
		return true;
	}
	if (o->type == OPTION_RATE) {
		if (!value_rate(text, &rate, why))
			return false;
		memcpy(at, &rate, sizeof(rate));
		return true;
	}
	if (!parse_number(o, text, &number, why))
		return false;
	if ((o->least || o->most) && (number < o->least || number > o->most)) {
		option_number(limit, sizeof(limit), o, number < o->least ? o->least : o->most);
		*why = arena_printf(a, number < o->least ? "too small: at least %s" : "too large: at most %s", limit);
		return false;
	}
	store_number(o, at, number);
	return true;
}

void loader_defaults(struct loader *l, const char *block, void *base)
{
	const char *why;

	for (size_t i = 0; i < option_count; i++)
		if (strcmp(options[i].block, block) == 0 && options[i].fallback && options[i].width > 0)
			set_value(l->a, &options[i], base, slice_of(options[i].fallback), &why);
}

/* A statement that goes on below the line on which it begins has often lost its end. */
static void report_count(struct loader *l, const struct option *o, const struct statement *st)
{
	const char *argument = o->argument ? o->argument : "VALUE";

	if (st->count > 2 && st->words[st->count - 1].line > st->words[0].line)
		report_error(&l->report, &st->words[0], "'%s' takes one value: %s; is a ';' missing behind it?", o->name, argument);
	else
		report_error(&l->report, &st->words[0], "'%s' takes one value: %s", o->name, argument);
}

/* A directive with one value from the table. false: it is none of them (custom or unknown). */
static bool read_plain(struct loader *l, const struct option *o, const struct statement *st, void *base)
{
	const char *why = NULL;

	if (o->width == 0)
		return false;
	BUG_ON(!base);
	if (st->is_block)
		report_error(&l->report, &st->words[0], "'%s' is a directive, not a block%s", o->name,
			st->count > 2 ? "; is a ';' missing behind it?" : "");
	else if (st->count != 2)
		report_count(l, o, st);
	else if (o->type == OPTION_CHOICE && loader_choice(o->choices, st->words[1].text) < 0)
		loader_bad_choice(l, &st->words[1], o->name, o->choices);
	else if (!set_value(l->a, o, base, st->words[1].text, &why))
		report_error(&l->report, &st->words[1], "%s: %s", o->name, why);
	return true;
}

static void report_unknown(struct loader *l, const struct word *w, const char *block, const char *near)
{
	if (near)
		report_error(&l->report, w, "unknown directive '%.*s'%s%s; did you mean '%s'?", SLICE_ARG(w->text),
			block[0] ? " in " : "", block, near);
	else
		report_error(&l->report, w, "unknown directive '%.*s'%s%s", SLICE_ARG(w->text),
			block[0] ? " in " : "", block);
}

struct given {
	struct table_link link;
	const void *place;
	const struct option *o;
	const struct statement *statement;
};

static bool given_match(const struct table_link *link, const void *key)
{
	const struct given *a = (const struct given *)link, *b = key;

	return a->place == b->place && a->o == b->o;
}

static struct given *find_given(const struct loader *l, const struct given *wanted, uint64_t *hash)
{
	const void *parts[] = { wanted->place, wanted->o };

	*hash = hash_bytes(parts, sizeof(parts));
	return (struct given *)table_find(&l->once, *hash, given_match, wanted);
}

bool loader_once(struct loader *l, const void *place, const struct option *o, const struct statement *st)
{
	struct given *mine = arena_new(l->a, struct given), *first;
	uint64_t hash;

	mine->place = place;
	mine->o = o;
	mine->statement = st;
	first = find_given(l, mine, &hash);
	if (first)
		report_error(&l->report, &st->words[0], "'%s' stands twice; first in %s:%u:%u", o->name,
			first->statement->words[0].source->path, first->statement->words[0].line, first->statement->words[0].column);
	else
		table_add(&l->once, &mine->link, hash);
	return !first;
}

const struct word *loader_given(struct loader *l, const void *place, const char *block, const char *name)
{
	const char *near;
	struct given wanted = { .place = place, .o = option_find(block, name, &near) }, *found;
	uint64_t hash;

	BUG_ON(!wanted.o);
	found = find_given(l, &wanted, &hash);
	if (!found)
		return l->nowhere;
	return &found->statement->words[found->statement->count > 1];
}

/* The option of a statement, after plain values have been taken care of. NULL: done, or a mistake was reported. */
const struct option *loader_option(struct loader *l, const char *block, const struct statement *st, void *base)
{
	const char *near;
	const struct option *o = option_find(block, slice_cstr(l->a, st->words[0].text), &near);

	if (!o) {
		if (is_among(later_blocks, st->words[0].text))
			report_warning(&l->report, &st->words[0], "'%.*s' is not part of this version: ignored",
				SLICE_ARG(st->words[0].text));
		else
			report_unknown(l, &st->words[0], block, near);
		return NULL;
	}
	if (o->type != OPTION_CUSTOM && base && !loader_once(l, base, o, st))
		return NULL;
	return read_plain(l, o, st, base) ? NULL : o;
}

bool loader_is_block(struct loader *l, const struct statement *st)
{
	if (st->is_block && st->count == 1)
		return true;
	report_error(&l->report, &st->words[0], "'%.*s' is a block: %.*s { ... }", SLICE_ARG(st->words[0].text),
		SLICE_ARG(st->words[0].text));
	return false;
}

bool loader_has_arguments(struct loader *l, const struct statement *st)
{
	if (st->count > 1)
		return true;
	report_error(&l->report, &st->words[0], "'%.*s' takes at least one value", SLICE_ARG(st->words[0].text));
	return false;
}

/* ---- prefixes and lists ---- */

void loader_prefixes(struct loader *l, const struct statement *st, struct ip_set **set)
{
	const char *why;

	if (!loader_has_arguments(l, st))
		return;
	if (!*set)
		*set = ip_set_new(l->a);
	for (size_t i = 1; i < st->count; i++) {
		struct ip_prefix prefix;

		if (ip_prefix_parse(&prefix, st->words[i].text, &why))
			ip_set_add(*set, &prefix);
		else
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
	}
}

struct list_file *loader_list_file(struct loader *l, const struct statement *st, size_t at, enum list_kind kind,
	struct slice separators, unsigned guard)
{
	const char *why = NULL;
	struct list_file *f;

	if (st->count != at + 1) {
		report_error(&l->report, &st->words[0], "'file' takes one file name");
		return NULL;
	}
	f = list_file_open(slice_cstr(l->a, st->words[at].text), kind, separators, guard, l->a, &why);
	if (!f)
		report_error(&l->report, &st->words[at], "%s", why);
	return f;
}

bool loader_names_file(const struct statement *st)
{
	return st->count > 1 && slice_eq(st->words[1].text, SLICE("file"));
}
