/*
 * spurn why: the records that a reference, an address, a Message-ID or an IP
 * address finds.
 *
 * People paste what they have: "ref=ABC...", an address in angle brackets, a
 * Message-ID without them, an IPv6 address in long form. All the forms that a
 * key can have in the journal are tried; what two of them find is shown once.
 */
#include "app/tool.h"

#include "edge/journal.h"

#include <errno.h>
#include <sys/stat.h>

struct search {
	struct tool *t;
	bool json;
	struct found {
		struct found *next;
		struct slice record;
	} *first, **last;
	size_t count;
};

static bool is_known(const struct search *s, struct slice record)
{
	for (const struct found *f = s->first; f; f = f->next)
		if (slice_eq(f->record, record))
			return true;
	return false;
}

static void show(struct search *s, struct slice record)
{
	struct tool *t = s->t;
	json_t *value;

	if (s->json) {
		tool_print(t, "%.*s\n", SLICE_ARG(record));
		return;
	}
	value = tool_parse(record.p, record.n);
	if (!value)
		return;
	if (s->count > 0)
		str_addc(&t->out, '\n');
	tool_show_record(t, value);
	json_decref(value);
}

static bool on_record(void *arg, struct slice record)
{
	struct search *s = arg;

	record = slice_trim(record);
	show(s, record);
	s->count++;
	tool_relieve(s->t);
	return true;
}

/* Of a key with a second form the finds are kept, so that none is shown twice. */
static bool keep_record(void *arg, struct slice record)
{
	struct search *s = arg;
	struct found *f;

	record = slice_trim(record);
	if (is_known(s, record))
		return true;
	f = arena_new(&s->t->arena, struct found);
	f->record = slice_copy(&s->t->arena, record);
	*s->last = f;
	s->last = &f->next;
	return true;
}

/* The forms under which this may stand in the journal. */
static size_t forms_of(struct tool *t, struct slice text, struct slice forms[2])
{
	char ip_buffer[IP_TEXT];
	struct slice bare = text;
	struct ip ip;

	if (slice_starts_nocase(text, SLICE("ref=")))
		text = bare = slice_from(text, 4);
	if (text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
		bare = slice_make(text.p + 1, text.n - 2);
	if (ip_parse(&ip, bare)) {
		forms[0] = slice_copy(&t->arena, slice_of(ip_text(&ip, ip_buffer)));
		return 1;
	}
	forms[0] = bare;
	if (slice_find(bare, '@') < 0 && bare.n == text.n)
		return 1;
	forms[1] = slice_of(arena_printf(&t->arena, "<%.*s>", SLICE_ARG(bare)));
	return 2;
}

static bool search_all(struct search *s, const char *directory, struct slice key, nanoseconds since, const char **why)
{
	struct slice forms[2];
	size_t n = forms_of(s->t, key, forms);

	if (n == 1)
		return journal_search(directory, forms[0], since, on_record, s, why) >= 0;
	for (size_t i = 0; i < n; i++)
		if (journal_search(directory, forms[i], since, keep_record, s, why) < 0)
			return false;
	for (const struct found *f = s->first; f; f = f->next)
		on_record(s, f->record);
	return true;
}

int tool_why(struct tool *t, int argc, char **argv)
{
	const char *since_text = NULL, *directory, *why = NULL;
	struct search s = { .t = t, .last = &s.first };
	const struct tool_option options[] = { { "since", &since_text, NULL, NULL }, { "json", NULL, &s.json, NULL },
		{ NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options);
	nanoseconds since;
	struct stat st;

	if (words < 0)
		return EX_USAGE;
	if (words != 1 || argv[0][0] == '\0')
		return tool_misused(t, "one of a reference, a Message-ID, an address or an IP address is wanted");
	if (!tool_since(t, since_text, &since))
		return EX_USAGE;
	directory = tool_state(t, "journal");
	if (!directory)
		return EX_CONFIG;
	if (stat(directory, &st) != 0)
		return tool_fail(EX_NOINPUT, "%s: %s", directory, strerror(errno));
	if (!search_all(&s, directory, slice_of(argv[0]), since, &why))
		return tool_fail(EX_IOERR, "%s: %s", directory, why);
	if (s.count == 0)
		return tool_fail(1, "%s: no record in %s%s%s", tool_safe(t, slice_of(argv[0])), directory,
			since_text ? " of the last " : "", since_text ? since_text : "");
	return 0;
}
