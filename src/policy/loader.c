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

/* Puts a value where its option says. *why: what is wrong with it. */
static bool set_value(struct arena *a, const struct option *o, void *base, struct slice text, const char **why)
{
	char *at = (char *)base + o->offset;
	struct rate_limit rate;
	int64_t number;

	if (o->type == OPTION_WORD || o->type == OPTION_PATH) {
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
		*why = number < o->least ? "too small" : "too large";
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

/* A directive with one value from the table. false: it is none of them (custom or unknown). */
static bool read_plain(struct loader *l, const struct option *o, const struct statement *st, void *base)
{
	const char *why = NULL;

	if (o->width == 0)
		return false;
	if (st->is_block)
		report_error(&l->report, &st->words[0], "'%s' is a directive, not a block%s", o->name,
			st->count > 2 ? "; is a ';' missing behind it?" : "");
	else if (st->count != 2)
		report_error(&l->report, &st->words[0], "'%s' takes one value: %s", o->name,
			o->argument ? o->argument : "VALUE");
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
	return read_plain(l, o, st, base) ? NULL : o;
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
