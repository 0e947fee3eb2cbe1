/*
 * `spurn report`: what was refused, and what would have been if the checks that
 * only observe had been enforced: the page to look at before changing a mode.
 *
 * One pass over the journal, a table of counts for each question. Kept in
 * memory: as many entries as there are different senders and clients.
 */
#include "app/tool.h"

#include "base/table.h"
#include "edge/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TOP 15

struct count {
	struct table_link link;
	struct count *next;
	uint64_t n;
	struct slice name;
};

struct tally {
	const char *key, *title;
	struct table table;
	struct count *first;
};

enum { BY_DISPOSITION, BY_REPLY, BY_FINDING, BY_WOULD, WOULD_SENDERS, REJECTED_CLIENTS, HELD_BY_USER, HELD_BY_REASON, HELD_TO,
	WOULD_HOLD_USER, WOULD_HOLD_REASON, WOULD_HOLD_TO, TALLIES };

struct tally_run {
	struct arena arena, scratch;
	struct tool *tool;
	struct tally tallies[TALLIES];
	uint64_t records;
};

/* As it stands in the record: made harmless when it is shown. */
static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool same_name(const struct table_link *link, const void *key)
{
	return slice_eq(container_of(link, struct count, link)->name, *(const struct slice *)key);
}

static void count_one(struct tally_run *run, int which, const char *name)
{
	struct tally *t = &run->tallies[which];
	struct slice key = slice_of(name);
	uint64_t hash = hash_bytes(key.p, key.n);
	struct table_link *link = table_find(&t->table, hash, same_name, &key);
	struct count *c = link ? container_of(link, struct count, link) : NULL;

	if (!c) {
		c = arena_new(&run->arena, struct count);
		c->name = slice_copy(&run->arena, key);
		c->next = t->first;
		t->first = c;
		table_add(&t->table, &c->link, hash);
	}
	c->n++;
}

static const char *sentence_of(int64_t number)
{
	for (enum reply_name name = REPLY_NONE + 1; name < REPLY_COUNT; name++)
		if (reply_definition(name)->number == number)
			return reply_definition(name)->operator_text;
	return "";
}

/* A recipient's refusal has no number in the record: its codes have to do. */
static void count_reply(struct tally_run *run, const json_t *reply)
{
	const char *enhanced = text_of(reply, "enhanced");
	long long code = tool_number(reply, "code"), number = tool_number(reply, "number");

	if (code < 400)
		return;
	count_one(run, BY_REPLY, number ? arena_printf(&run->scratch, "%lld %s (reply %lld) %s", code, enhanced, number,
		sentence_of(number)) : arena_printf(&run->scratch, "%lld %s (at RCPT)", code, enhanced));
}

static void count_findings(struct tally_run *run, const json_t *record, bool *would_refuse)
{
	const json_t *list = json_object_get(record, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		const char *led = text_of(f, "led"), *would = text_of(f, "would");
		const char *name = arena_printf(&run->scratch, "%s %s", text_of(f, "check"), text_of(f, "result"));

		if (*led)
			count_one(run, BY_FINDING, arena_printf(&run->scratch, "%s -> %s", name, led));
		if (*would) {
			count_one(run, BY_WOULD, arena_printf(&run->scratch, "%s -> would %s", name, would));
			*would_refuse = *would_refuse || strcmp(would, "reject") == 0 || strcmp(would, "defer") == 0;
		}
	}
}

/* "ann@x.example is not proven ... (only observed: ...)": without the address and what stands in brackets. */
static const char *reason_of(struct tally_run *run, const json_t *finding)
{
	struct slice reason = slice_of(text_of(finding, "reason")), rest = reason, word = slice_word(&rest);
	ptrdiff_t bracket;

	if (slice_find(word, '@') >= 0 || slice_find(word, '.') >= 0)
		reason = slice_trim(rest);
	bracket = slice_search(reason, SLICE(" (only observed"));
	return slice_cstr(&run->scratch, bracket < 0 ? reason : slice_head(reason, (size_t)bracket));
}

/* A notice of our own servers and users that the guard held back, or would have: "auto-reply for bob@x.example: ..." is the
 * evidence. */
static void count_notice(struct tally_run *run, const json_t *record, const json_t *finding)
{
	struct slice evidence = slice_of(text_of(finding, "evidence"));
	ptrdiff_t colon = slice_search(evidence, SLICE(": "));
	const char *who = slice_cstr(&run->scratch, colon < 0 ? evidence : slice_head(evidence, (size_t)colon));
	bool held = *text_of(finding, "led");
	const json_t *list = json_object_get(record, "rcpt"), *to;
	size_t i;

	count_one(run, held ? HELD_BY_USER : WOULD_HOLD_USER, who);
	count_one(run, held ? HELD_BY_REASON : WOULD_HOLD_REASON, reason_of(run, finding));
	json_array_foreach(list, i, to)
		count_one(run, held ? HELD_TO : WOULD_HOLD_TO, arena_printf(&run->scratch, "%s to %s", who,
			text_of(to, "address")));
}

static void count_notices(struct tally_run *run, const json_t *record)
{
	const json_t *list = json_object_get(record, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		const char *result = text_of(f, "result");

		if (strcmp(text_of(f, "check"), "notice") == 0 && (*text_of(f, "led") || *text_of(f, "would")) &&
		    (strcmp(result, "unsolicited") == 0 || strcmp(result, "repeated") == 0))
			count_notice(run, record, f);
	}
}

static bool count_record(void *arg, struct slice text)
{
	struct tally_run *run = arg;
	json_t *record = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
	const char *disposition = text_of(record, "disposition");
	const json_t *list = json_object_get(record, "rcpt"), *one;
	bool would_refuse = false;
	size_t i;

	if (!record)
		return true;
	run->records++;
	count_one(run, BY_DISPOSITION, tool_fate(disposition));
	json_array_foreach(list, i, one)
		count_reply(run, one);
	if (json_object_get(record, "message") || !json_array_size(list))
		count_reply(run, json_object_get(record, "reply"));
	count_findings(run, record, &would_refuse);
	count_notices(run, record);
	if (would_refuse)
		count_one(run, WOULD_SENDERS, arena_printf(&run->scratch, "<%s>", text_of(record, "mail_from")));
	if (strcmp(disposition, "reject") == 0)
		count_one(run, REJECTED_CLIENTS, text_of(json_object_get(record, "client"), "ip"));
	json_decref(record);
	arena_drop(&run->scratch);
	return true;
}

static int by_count(const void *a, const void *b)
{
	const struct count *x = *(struct count *const *)a, *y = *(struct count *const *)b;

	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return slice_cmp(x->name, y->name);
}

static struct count **sorted(struct tally_run *run, const struct tally *t)
{
	struct count **all = arena_array(&run->arena, struct count *, t->table.count + 1);
	size_t n = 0;

	for (struct count *c = t->first; c; c = c->next)
		all[n++] = c;
	qsort(all, n, sizeof(*all), by_count);
	return all;
}

static void print_tally(struct tally_run *run, const struct tally *t)
{
	struct count **all = sorted(run, t);

	if (t->table.count == 0)
		return;
	tool_print(run->tool, "\n%s\n", t->title);
	for (size_t i = 0; i < t->table.count && i < TOP; i++) {
		tool_print(run->tool, "%10llu  %s\n", (unsigned long long)all[i]->n,
			tool_safe(run->tool, all[i]->name));
	}
	if (t->table.count > TOP)
		tool_print(run->tool, "            and %zu more\n", t->table.count - TOP);
}

static void print_json(struct tally_run *run)
{
	json_t *out = json_pack("{s:I}", "records", (json_int_t)run->records);
	char *text;

	for (int i = 0; i < TALLIES; i++) {
		const struct tally *t = &run->tallies[i];
		struct count **all = sorted(run, t);
		json_t *list = json_array();

		for (size_t k = 0; k < t->table.count && k < TOP; k++)
			json_array_append_new(list, json_pack("{s:s%,s:I}", "name", all[k]->name.p, all[k]->name.n,
				"count", (json_int_t)all[k]->n));
		json_object_set_new(out, t->key, list);
	}
	text = json_dumps(out, JSON_COMPACT);
	tool_print(run->tool, "%s\n", text ? text : "{}");
	free(text);
	json_decref(out);
}

static int report(struct tally_run *run, const char *directory, nanoseconds since, const char *span, bool json)
{
	const char *why = NULL;

	if (journal_each(directory, since, count_record, run, &why) < 0)
		return tool_fail(EX_IOERR, "%s: %s", directory, why ? why : "cannot be read");
	if (json) {
		print_json(run);
		return 0;
	}
	tool_print(run->tool, "%llu records of the last %s\n", (unsigned long long)run->records, span);
	for (int i = 0; i < TALLIES; i++)
		print_tally(run, &run->tallies[i]);
	return 0;
}

int tool_report(struct tool *t, int argc, char **argv)
{
	static struct tally_run run = { .tallies = {
		[BY_DISPOSITION] = { .key = "dispositions", .title = "what became of them" },
		[BY_REPLY] = { .key = "refusals", .title = "refusals given, by reply" },
		[BY_FINDING] = { .key = "findings", .title = "refusals and marks given, by check" },
		[BY_WOULD] = { .key = "would", .title = "held back because the check only observes, by check" },
		[WOULD_SENDERS] = { .key = "would_senders", .title = "senders that would be refused" },
		[REJECTED_CLIENTS] = { .key = "rejected_clients", .title = "clients refused" },
		[HELD_BY_USER] = { .key = "notices_held", .title = "automatic answers not sent, by kind and user" },
		[HELD_BY_REASON] = { .key = "notices_held_why", .title = "automatic answers not sent, by reason" },
		[HELD_TO] = { .key = "notices_held_to", .title = "automatic answers not sent, and to whom they would have gone" },
		[WOULD_HOLD_USER] = { .key = "notices_observed",
			.title = "automatic answers sent since the guard only observes, by kind and user" },
		[WOULD_HOLD_REASON] = { .key = "notices_observed_why", .title = "... by reason" },
		[WOULD_HOLD_TO] = { .key = "notices_observed_to", .title = "... and to whom they have gone" },
	} };
	const char *span = "7d", *directory;
	bool json = false;
	const struct tool_option wanted[] = { { "since", &span, NULL, NULL }, { "json", NULL, &json, NULL },
		{ NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted);
	nanoseconds since;
	struct stat st;

	if (words < 0)
		return EX_USAGE;
	if (words > 0)
		return tool_misused(t, "%s: not expected", tool_safe(t, slice_of(argv[0])));
	if (!tool_since(t, span, &since))
		return EX_USAGE;
	directory = tool_state(t, "journal");
	if (!directory)
		return EX_CONFIG;
	if (stat(directory, &st) != 0)
		return tool_fail(EX_NOINPUT, "%s: %s", directory, strerror(errno));
	run.tool = t;
	return report(&run, directory, since, span, json);
}
