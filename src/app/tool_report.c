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
#include "policy/value.h"

#include <stdlib.h>

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

enum { BY_DISPOSITION, BY_REPLY, BY_FINDING, BY_WOULD, WOULD_SENDERS, REJECTED_CLIENTS, TALLIES };

struct report_run {
	struct arena arena, scratch;
	struct tally tallies[TALLIES];
	uint64_t records;
};

static bool same_name(const struct table_link *link, const void *key)
{
	return slice_eq(container_of(link, struct count, link)->name, *(const struct slice *)key);
}

static void count_one(struct report_run *run, int which, const char *name)
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

static void count_reply(struct report_run *run, const json_t *reply, int64_t number)
{
	const char *enhanced = tool_text(reply, "enhanced");
	int64_t code = tool_number(reply, "code");

	if (code < 400)
		return;
	/* The text is cut where it names what differs from one refusal to the next. */
	count_one(run, BY_REPLY, number ? arena_printf(&run->scratch, "%lld %s (reply %lld)", (long long)code, enhanced,
		(long long)number) : arena_printf(&run->scratch, "%lld %s (at RCPT)", (long long)code, enhanced));
}

static void count_findings(struct report_run *run, const json_t *record, bool *would_refuse)
{
	const json_t *list = tool_member(record, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		const char *led = tool_text(f, "led"), *would = tool_text(f, "would");
		const char *name = arena_printf(&run->scratch, "%s %s", tool_text(f, "check"), tool_text(f, "result"));

		if (*led)
			count_one(run, BY_FINDING, arena_printf(&run->scratch, "%s -> %s", name, led));
		if (*would) {
			count_one(run, BY_WOULD, arena_printf(&run->scratch, "%s -> would %s", name, would));
			*would_refuse = *would_refuse || strcmp(would, "reject") == 0 || strcmp(would, "defer") == 0;
		}
	}
}

static bool count_record(void *arg, struct slice text)
{
	struct report_run *run = arg;
	json_t *record = json_loadb(text.p, text.n, 0, NULL);
	const char *disposition = tool_text(record, "disposition");
	const json_t *list = tool_member(record, "rcpt"), *one;
	bool would_refuse = false;
	size_t i;

	if (!record)
		return true;
	run->records++;
	count_one(run, BY_DISPOSITION, disposition);
	json_array_foreach(list, i, one)
		count_reply(run, one, 0);
	if (tool_member(record, "message") || !json_array_size(list))
		count_reply(run, tool_member(record, "reply"), tool_number(record, "reply.number"));
	count_findings(run, record, &would_refuse);
	if (would_refuse)
		count_one(run, WOULD_SENDERS, arena_printf(&run->scratch, "<%s>", tool_text(record, "mail_from")));
	if (strcmp(disposition, "reject") == 0)
		count_one(run, REJECTED_CLIENTS, tool_text(record, "client.ip"));
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

static struct count **sorted(struct report_run *run, const struct tally *t)
{
	struct count **all = arena_array(&run->arena, struct count *, t->table.count + 1);
	size_t n = 0;

	for (struct count *c = t->first; c; c = c->next)
		all[n++] = c;
	qsort(all, n, sizeof(*all), by_count);
	return all;
}

static void print_tally(struct report_run *run, const struct tally *t)
{
	struct count **all = sorted(run, t);

	if (t->table.count == 0)
		return;
	printf("\n%s\n", t->title);
	for (size_t i = 0; i < t->table.count && i < TOP; i++) {
		printf("%10llu  ", (unsigned long long)all[i]->n);
		tool_print("", slice_cstr(&run->scratch, all[i]->name), "\n");
	}
	if (t->table.count > TOP)
		printf("            and %zu more\n", t->table.count - TOP);
}

static void print_json(struct report_run *run)
{
	json_t *out = json_pack("{s:I}", "records", (json_int_t)run->records);

	for (int i = 0; i < TALLIES; i++) {
		const struct tally *t = &run->tallies[i];
		struct count **all = sorted(run, t);
		json_t *list = json_array();

		for (size_t k = 0; k < t->table.count && k < TOP; k++)
			json_array_append_new(list, json_pack("{s:s%,s:I}", "name", all[k]->name.p, all[k]->name.n,
				"count", (json_int_t)all[k]->n));
		json_object_set_new(out, t->key, list);
	}
	json_dumpf(out, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(out);
}

static int report(const struct config *c, nanoseconds since, const char *span, bool json)
{
	struct report_run run = { .tallies = {
		[BY_DISPOSITION] = { .key = "dispositions", .title = "what became of them" },
		[BY_REPLY] = { .key = "refusals", .title = "refusals given, by reply" },
		[BY_FINDING] = { .key = "findings", .title = "refusals and marks given, by check" },
		[BY_WOULD] = { .key = "would", .title = "held back because the check only observes, by check" },
		[WOULD_SENDERS] = { .key = "would_senders", .title = "senders that would be refused" },
		[REJECTED_CLIENTS] = { .key = "rejected_clients", .title = "clients rejected" },
	} };
	const char *directory = arena_printf(&run.arena, "%s/journal", c->state_dir), *why = NULL;
	int status = 0;

	if (journal_each(directory, since, count_record, &run, &why) < 0)
		status = tool_fail(EX_NOINPUT, "%s: %s", directory, why ? why : "cannot be read");
	else if (json)
		print_json(&run);
	else {
		printf("%llu records in the last %s\n", (unsigned long long)run.records, span);
		for (int i = 0; i < TALLIES; i++)
			print_tally(&run, &run.tallies[i]);
	}
	for (int i = 0; i < TALLIES; i++)
		table_drop(&run.tallies[i].table);
	arena_drop(&run.scratch);
	arena_drop(&run.arena);
	return status;
}

int tool_report(int argc, char **argv)
{
	const char *path = TOOL_CONFIG, *span_text = "1d", *why = NULL, **room = calloc((size_t)argc + 1, sizeof(*room));
	bool json = false;
	struct tool_words rest = { room, 0 };
	const struct tool_flag flags[] = { { "-c", .value = &path }, { "--since", .value = &span_text },
		{ "--json", .given = &json } };
	int64_t span;
	int status;

	if (!room || !tool_arguments("report", argc, argv, flags, 3, &rest))
		status = EX_USAGE;
	else if (rest.count != 0)
		status = tool_misuse("report", "%s: not expected", rest.words[0]);
	else if (!value_duration(slice_of(span_text), &span, &why))
		status = tool_misuse("report", "--since %s: %s", span_text, why);
	else {
		struct config *c = tool_config(path);

		clock_turn();
		status = c ? report(c, clock_wall() - span, span_text, json) : EX_CONFIG;
		if (c)
			config_unref(c);
	}
	free(room);
	return status;
}
