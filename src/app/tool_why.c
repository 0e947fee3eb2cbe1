/*
 * `spurn why`: what became of a message, found by whatever the caller at the
 * help desk has at hand.
 *
 * People paste: "ref=01ABC", "<id@host>" without its brackets, an address with
 * them, an IPv6 address in capitals. Each form that the journal could hold is looked
 * for. The journal is read directly: the answer must be there while the daemon is down.
 */
#include "app/tool.h"

#include "edge/journal.h"
#include "policy/value.h"

#include <stdlib.h>

struct printing {
	bool json;
	long shown;
};

static bool print_record(void *arg, struct slice text)
{
	struct printing *p = arg;
	json_t *record;

	if (p->json) {
		fwrite(text.p, 1, text.n, stdout);
		putchar('\n');
		p->shown++;
		return !ferror(stdout);
	}
	record = json_loadb(text.p, text.n, 0, NULL);
	if (!record)
		return true;
	if (p->shown > 0)
		putchar('\n');
	tool_record_print(record);
	json_decref(record);
	p->shown++;
	return !ferror(stdout);
}

/* What the journal may have written where the user writes this. Returns how many. */
static size_t forms_of(struct arena *a, const char *text, struct slice forms[2])
{
	struct slice key = slice_trim(slice_of(text));
	struct ip ip;
	char plain[IP_TEXT];

	if (slice_starts_nocase(key, SLICE("ref=")))
		key = slice_from(key, 4);
	if (ip_parse(&ip, key)) {
		ip_text(&ip, plain);
		forms[0] = slice_copy(a, slice_of(plain));
		return 1;
	}
	forms[0] = key;
	if (slice_find(key, '@') < 0)
		return 1;
	if (key.p[0] == '<' && key.p[key.n - 1] == '>')
		forms[1] = slice_make(key.p + 1, key.n - 2);
	else
		forms[1] = slice_of(arena_printf(a, "<%.*s>", SLICE_ARG(key)));
	return 2;
}

static bool since_of(const char *text, nanoseconds *out, const char **why)
{
	int64_t span;

	*out = 0;
	if (!text)
		return true;
	if (!value_duration(slice_of(text), &span, why))
		return false;
	clock_turn();
	*out = clock_wall() - span;
	return true;
}

static int search(struct arena *a, const struct config *c, const char *what, nanoseconds since, bool json)
{
	const char *directory = arena_printf(a, "%s/journal", c->state_dir), *why = NULL;
	struct printing p = { .json = json };
	struct slice forms[2];
	size_t count = forms_of(a, what, forms);

	for (size_t i = 0; i < count; i++)
		if (journal_search(directory, forms[i], since, print_record, &p, &why) < 0)
			return tool_fail(EX_NOINPUT, "%s: %s", directory, why ? why : "cannot be read");
	if (p.shown == 0)
		return tool_fail(1, "%s: no record of this in %s", what, directory);
	return 0;
}

int tool_why(int argc, char **argv)
{
	const char *path = TOOL_CONFIG, *since_text = NULL, *why = NULL, **room = calloc((size_t)argc + 1, sizeof(*room));
	bool json = false;
	struct tool_words rest = { room, 0 };
	const struct tool_flag flags[] = { { "-c", .value = &path }, { "--since", .value = &since_text },
		{ "--json", .given = &json } };
	struct arena arena = ARENA_INIT;
	nanoseconds since;
	int status;

	if (!room || !tool_arguments("why", argc, argv, flags, 3, &rest))
		status = EX_USAGE;
	else if (rest.count != 1 || rest.words[0][0] == '\0')
		status = tool_misuse("why", "one reference, Message-ID, address or IP address");
	else if (!since_of(since_text, &since, &why))
		status = tool_misuse("why", "--since %s: %s", since_text, why);
	else {
		struct config *c = tool_config(path);

		status = c ? search(&arena, c, rest.words[0], since, json) : EX_CONFIG;
		if (c)
			config_unref(c);
	}
	arena_drop(&arena);
	free(room);
	return status;
}
