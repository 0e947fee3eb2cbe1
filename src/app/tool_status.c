/*
 * The commands that ask the running daemon: status, observe, recipient; and the
 * pages of the manual that come out of tables.
 *
 * What the daemon answers is JSON; with --json it is passed on as it came. For
 * people it becomes a page whose first lines say what needs attention.
 */
#include "app/tool.h"

#include "policy/option.h"

#include <stdlib.h>

/* ---- status ---- */

static void print_attention(const json_t *s)
{
	const json_t *list, *one;
	size_t i;

	if (json_is_true(tool_member(s, "observe")))
		puts("ATTENTION  observe is on: checks refuse nothing (spurn observe off)");
	if (json_is_true(tool_member(s, "reload_failed")))
		puts("ATTENTION  the last reload was refused: the old configuration is in force (spurn check)");
	if (json_is_true(tool_member(s, "recipient_alarm")))
		puts("ATTENTION  many known recipients are refused at once: a broken backend?");
	if (json_is_null(tool_member(s, "store")))
		puts("ATTENTION  the store is not open: no commit ledger, no recipient cache");
	if (*tool_text(s, "store.last_error"))
		tool_print("ATTENTION  store: ", tool_text(s, "store.last_error"), "\n");
	if (*tool_text(s, "journal.last_error"))
		tool_print("ATTENTION  journal: ", tool_text(s, "journal.last_error"), "\n");
	list = tool_member(s, "backends");
	json_array_foreach(list, i, one)
		if (!json_is_true(tool_member(one, "up"))) {
			tool_print("ATTENTION  backend ", tool_text(one, "url"), " is down: ");
			tool_print("", tool_text(one, "last_error"), "\n");
		}
	list = tool_member(s, "dnsbl");
	json_array_foreach(list, i, one)
		if (!json_is_true(tool_member(one, "on"))) {
			tool_print("ATTENTION  list ", tool_text(one, "label"), " is off: ");
			tool_print("", tool_text(one, "reason"), "\n");
		}
	list = tool_member(s, "lists");
	json_array_foreach(list, i, one)
		if (*tool_text(one, "trouble"))
			tool_print("ATTENTION  ", tool_text(one, "trouble"), "\n");
}

static void print_workers(const json_t *s)
{
	const json_t *list = tool_member(s, "workers"), *one;
	size_t i;

	printf("\nworkers\n");
	json_array_foreach(list, i, one)
		printf("  %-3lld pid %-8lld %-9s %lld sessions, last seen %lld ms ago\n",
			(long long)tool_number(one, "slot"), (long long)tool_number(one, "pid"), tool_text(one, "state"),
			(long long)tool_number(one, "sessions"), (long long)tool_number(one, "heartbeat_age_ms"));
	if (tool_number(s, "crashes"))
		printf("  %lld worker(s) died since the start\n", (long long)tool_number(s, "crashes"));
}

static void print_backends(const json_t *s)
{
	const json_t *list = tool_member(s, "backends"), *one;
	size_t i;

	printf("\nbackends\n");
	json_array_foreach(list, i, one) {
		tool_print("  ", tool_text(one, "url"), "");
		printf(" %s, %lld idle, %lld in use, %lld transactions, %lld failures\n",
			!json_is_true(tool_member(one, "up")) ? "DOWN" :
			json_is_true(tool_member(one, "known")) ? "up" : "not asked yet",
			(long long)tool_number(one, "idle"), (long long)tool_number(one, "out"),
			(long long)tool_number(one, "transactions"), (long long)tool_number(one, "failed"));
	}
}

static void print_zones(const json_t *s)
{
	const json_t *list = tool_member(s, "dnsbl"), *one;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	printf("\nDNS lists\n");
	json_array_foreach(list, i, one) {
		tool_print("  ", tool_text(one, "label"), "");
		printf(" %s, asked %lld, listed %lld, errors %lld, trouble %lld\n",
			!json_is_true(tool_member(one, "on")) ? "OFF" :
			json_is_true(tool_member(one, "tested")) ? "on" : "on, not tested yet",
			(long long)tool_number(one, "asked"), (long long)tool_number(one, "listed"),
			(long long)tool_number(one, "errors"), (long long)tool_number(one, "trouble"));
	}
}

static void print_counts(const json_t *s, const char *name, const char *title)
{
	json_t *counts = (json_t *)tool_member(s, name), *one;
	const char *key;

	printf("\n%s\n", title);
	json_object_foreach(counts, key, one)
		if (tool_number(one, "value"))
			printf("  %12lld  %s\n", (long long)tool_number(one, "value"), tool_text(one, "text"));
}

static void print_state(const json_t *s)
{
	int64_t up = tool_number(s, "uptime_s");

	printf("spurn %s, master %lld, up %lldd %02lld:%02lld:%02lld, answered by worker %lld\n", tool_text(s, "version"),
		(long long)tool_number(s, "master_pid"), (long long)(up / 86400), (long long)(up / 3600 % 24),
		(long long)(up / 60 % 60), (long long)(up % 60), (long long)tool_number(s, "answered_by"));
	print_attention(s);
	print_workers(s);
	print_backends(s);
	print_zones(s);
	print_counts(s, "counters", "counted");
	print_counts(s, "glitches", "odd things that peers did");
	printf("\nDNS         %lld questions, %lld in trouble, %lld timeouts\n",
		(long long)tool_number(s, "dns.questions"), (long long)tool_number(s, "dns.trouble"),
		(long long)tool_number(s, "dns.timeouts"));
	printf("journal     %lld records, %lld octets\n", (long long)tool_number(s, "journal.records"),
		(long long)tool_number(s, "journal.bytes"));
	printf("store       %lld of %lld MiB\n", (long long)tool_number(s, "store.map_used") >> 20,
		(long long)tool_number(s, "store.map_size") >> 20);
}

/* One line per wait. */
static void print_waits(struct arena *a, struct slice answer)
{
	while (answer.n > 0) {
		struct slice line = slice_split(&answer, '\n');
		json_t *wait = json_loadb(line.p, line.n, 0, NULL);

		if (!wait)
			continue;
		printf("%8lld ms  ", (long long)tool_number(wait, "since_ms"));
		tool_print("", tool_text(wait, "name"), ": ");
		tool_print("", tool_text(wait, "label"), "");
		if (json_is_number(tool_member(wait, "deadline_in_ms")))
			printf(" (%lld ms left)", (long long)tool_number(wait, "deadline_in_ms"));
		putchar('\n');
		json_decref(wait);
	}
	arena_drop(a);
}

static int show(const struct config *c, bool json, bool waits)
{
	struct arena a = ARENA_INIT;
	struct slice answer = SLICE_NULL;
	json_t *s;

	if (json || waits) {
		answer = tool_ask(&a, c, waits ? "waits" : "status");
		if (json)
			fwrite(answer.p ? answer.p : "", 1, answer.n, stdout);
		else
			print_waits(&a, answer);
		arena_drop(&a);
		return answer.p || waits ? 0 : EX_UNAVAILABLE;
	}
	s = tool_ask_json(&a, c, "status");
	if (s)
		print_state(s);
	arena_drop(&a);
	json_decref(s);
	return s ? 0 : EX_UNAVAILABLE;
}

int tool_status(int argc, char **argv)
{
	const char *path = TOOL_CONFIG, **room = calloc((size_t)argc + 1, sizeof(*room));
	bool json = false, waits = false;
	struct tool_words rest = { room, 0 };
	const struct tool_flag flags[] = { { "-c", .value = &path }, { "--json", .given = &json },
		{ "--waits", .given = &waits } };
	int status;

	if (!room || !tool_arguments("status", argc, argv, flags, 3, &rest))
		status = EX_USAGE;
	else if (rest.count != 0)
		status = tool_misuse("status", "%s: not expected", rest.words[0]);
	else {
		struct config *c = tool_config(path);

		status = c ? show(c, json, waits) : EX_CONFIG;
		if (c)
			config_unref(c);
	}
	free(room);
	return status;
}

/* ---- observe ---- */

static int switch_observe(const struct config *c, const char *word)
{
	struct arena a = ARENA_INIT;
	json_t *answer = tool_ask_json(&a, c, arena_printf(&a, "observe %s", word));
	int status = answer ? 0 : EX_UNAVAILABLE;

	if (answer)
		puts(json_is_true(tool_member(answer, "observe")) ?
			"on: what checks would refuse is recorded and let in" : "off: checks refuse as configured");
	json_decref(answer);
	arena_drop(&a);
	return status;
}

int tool_observe(int argc, char **argv)
{
	const char *path = TOOL_CONFIG, **room = calloc((size_t)argc + 1, sizeof(*room));
	struct tool_words rest = { room, 0 };
	const struct tool_flag flags[] = { { "-c", .value = &path } };
	int status;

	if (!room || !tool_arguments("observe", argc, argv, flags, 1, &rest))
		status = EX_USAGE;
	else if (rest.count != 1 || (strcmp(rest.words[0], "on") != 0 && strcmp(rest.words[0], "off") != 0 &&
			strcmp(rest.words[0], "show") != 0))
		status = tool_misuse("observe", "on, off or show");
	else {
		struct config *c = tool_config(path);

		status = c ? switch_observe(c, rest.words[0]) : EX_CONFIG;
		if (c)
			config_unref(c);
	}
	free(room);
	return status;
}

/* ---- recipient ---- */

static void print_recipient(const json_t *answer)
{
	const json_t *list = tool_member(answer, "sources"), *one;
	size_t i;

	tool_print("", tool_text(answer, "address"), "");
	if (tool_member(answer, "forgotten")) {
		puts(json_is_true(tool_member(answer, "forgotten")) ? ": forgotten" : ": nothing was remembered");
		return;
	}
	printf(": %s\n", tool_text(answer, "answer"));
	json_array_foreach(list, i, one) {
		const char *detail = tool_text(one, "detail");

		tool_print("  ", tool_text(one, "source"), ": ");
		tool_print("", tool_text(one, "answer"), "");
		tool_print(*detail ? " (" : "", detail, *detail ? ")\n" : "\n");
	}
}

static int ask_recipient(const struct config *c, const char *verb, const char *address, bool json)
{
	struct arena a = ARENA_INIT;
	json_t *answer = NULL;

	/* It travels on one line. */
	if (strpbrk(address, "\r\n"))
		tool_fail(0, "the address holds a line break");
	else
		answer = tool_ask_json(&a, c, arena_printf(&a, "recipient %s %s", verb, address));
	if (answer && json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (answer) {
		print_recipient(answer);
	}
	json_decref(answer);
	arena_drop(&a);
	return answer ? 0 : EX_UNAVAILABLE;
}

static bool is_recipient_verb(const char *word)
{
	return strcmp(word, "show") == 0 || strcmp(word, "probe") == 0 || strcmp(word, "forget") == 0;
}

int tool_recipient(int argc, char **argv)
{
	const char *path = TOOL_CONFIG, **room = calloc((size_t)argc + 1, sizeof(*room));
	bool json = false;
	struct tool_words rest = { room, 0 };
	const struct tool_flag flags[] = { { "-c", .value = &path }, { "--json", .given = &json } };
	int status;

	if (!room || !tool_arguments("recipient", argc, argv, flags, 2, &rest))
		status = EX_USAGE;
	else if (rest.count != 2 || !is_recipient_verb(rest.words[0]))
		status = tool_misuse("recipient", "show, probe or forget, and one address");
	else {
		struct config *c = tool_config(path);

		status = c ? ask_recipient(c, rest.words[0], rest.words[1], json) : EX_CONFIG;
		if (c)
			config_unref(c);
	}
	free(room);
	return status;
}

/* ---- the manual ---- */

int tool_manual(int argc, char **argv)
{
	if (argc == 1 && strcmp(argv[0], "options") == 0)
		option_write_manual();
	else if (argc == 1 && strcmp(argv[0], "replies") == 0)
		replies_write_manual();
	else
		return tool_misuse("manual", "options or replies");
	return 0;
}
