/*
 * spurn status, observe, recipient: what the daemon says, for people.
 *
 * Status begins with what needs attention, because that is why it is looked at;
 * then come tables in the order of the way of the mail. Counters of value 0
 * are left out. With --json the daemon's own lines are passed on.
 */
#include "app/tool.h"

#define SLOW_HEARTBEAT 5000	/* ms: a worker beats each second */
#define MAP_FULL 90		/* per cent */

/* ---- what needs attention ---- */

static void attend(struct tool *t, struct tool_table *table, const char *what, const char *text)
{
	tool_row(t, table, "!", what, text, NULL);
}

static void attend_daemon(struct tool *t, struct tool_table *table, const json_t *s)
{
	if (tool_is(s, "observe"))
		attend(t, table, "observe", "on: refusals by judgement are recorded and not given (spurn observe off)");
	if (tool_is(s, "reload_failed"))
		attend(t, table, "reload", "the last one was refused, the old configuration holds (spurn check)");
	if (tool_is(json_object_get(s, "proofs"), "keys_configured") &&
	    tool_text(t, json_object_get(s, "proofs"), "key_in_use")[0] == '\0')
		attend(t, table, "keys", "none is in use: what leaves is not marked (spurn keys new)");
	if (tool_is(s, "recipient_alarm"))
		attend(t, table, "recipients", "many known addresses turned unknown: a backend may be broken");
	if (tool_number(s, "crashes") > 0)
		attend(t, table, "workers", arena_printf(&t->arena, "%lld crashed or hung and replaced since the start",
			(long long)tool_number(s, "crashes")));
}

static void attend_waves(struct tool *t, struct tool_table *table, const json_t *s)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(s, "proofs"), "waves"), i, w)
		attend(t, table, tool_text(t, w, "name"), arena_printf(&t->arena,
			"a wave of notices about mail that was not sent from here, since %s: %lld in this hour, usually %lld",
			tool_span(t, tool_number(w, "since_s") * 1000), (long long)tool_number(w, "this_hour"),
			(long long)tool_number(w, "usual")));
}

static void attend_workers(struct tool *t, struct tool_table *table, const json_t *s)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(s, "workers"), i, w)
		if (tool_number(w, "heartbeat_age_ms") > SLOW_HEARTBEAT)
			attend(t, table, arena_printf(&t->arena, "worker %lld", (long long)tool_number(w, "slot")),
				arena_printf(&t->arena, "silent for %s", tool_span(t, tool_number(w, "heartbeat_age_ms"))));
}

static void attend_backends(struct tool *t, struct tool_table *table, const json_t *s)
{
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(s, "backends"), i, b)
		if (!tool_is(b, "up"))
			attend(t, table, arena_printf(&t->arena, "backend %s", tool_text(t, b, "url")),
				arena_printf(&t->arena, "down: %s; next try in %s", tool_text(t, b, "last_error"),
					tool_span(t, tool_number(b, "retry_in_ms"))));
	json_array_foreach(json_object_get(s, "backend_truth"), i, b) {
		const char *which = arena_printf(&t->arena, "backend %s", tool_text(t, b, "backend"));

		if (tool_is(b, "accept_all"))
			attend(t, table, which, arena_printf(&t->arena, "takes any address of %s: it cannot tell who exists",
				tool_text(t, b, "domain")));
		if (tool_number(b, "late_refusals") > 0)
			attend(t, table, which, arena_printf(&t->arena, "took %lld unknown recipients of %s at RCPT and refused "
				"them after the message", (long long)tool_number(b, "late_refusals"), tool_text(t, b, "domain")));
	}
	json_array_foreach(json_object_get(s, "dnsbl"), i, b)
		if (!tool_is(b, "on"))
			attend(t, table, arena_printf(&t->arena, "dnsbl %s", tool_text(t, b, "label")),
				arena_printf(&t->arena, "switched off: %s", tool_text(t, b, "reason")));
	json_array_foreach(json_object_get(s, "scanners"), i, b)
		if (!tool_is(b, "up"))
			attend(t, table, arena_printf(&t->arena, "scanner %s", tool_text(t, b, "name")),
				arena_printf(&t->arena, "down: %s; next try in %s", tool_text(t, b, "last_error"),
					tool_span(t, tool_number(b, "retry_in_ms"))));
	json_array_foreach(json_object_get(s, "lists"), i, b)
		if (json_is_string(json_object_get(b, "trouble")))
			attend(t, table, tool_text(t, b, "path"), tool_text(t, b, "trouble"));
}

static void attend_directories(struct tool *t, struct tool_table *table, const json_t *s)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(s, "directories"), i, d) {
		const char *name = arena_printf(&t->arena, "directory %s", tool_text(t, d, "name"));

		if (!tool_is(d, "up"))
			attend(t, table, name, arena_printf(&t->arena, "does not answer: %s", tool_text(t, d, "last_error")));
		if (tool_text(t, d, "copy_error")[0])
			attend(t, table, name, arena_printf(&t->arena, "copy: %s", tool_text(t, d, "copy_error")));
	}
}

static void attend_state(struct tool *t, struct tool_table *table, const json_t *s)
{
	const json_t *store = json_object_get(s, "store"), *journal = json_object_get(s, "journal");
	int64_t size = tool_number(store, "map_size"), used = tool_number(store, "map_used");

	if (!json_is_object(store))
		attend(t, table, "store", "not open: mail flows without ledger and cache");
	else if (tool_text(t, store, "last_error")[0])
		attend(t, table, "store", tool_text(t, store, "last_error"));
	if (size > 0 && used * 100 / size >= MAP_FULL)
		attend(t, table, "store", arena_printf(&t->arena, "%lld %% full: entries give way before their time",
			(long long)(used * 100 / size)));
	if (tool_number(journal, "failures") > 0)
		attend(t, table, "journal", arena_printf(&t->arena, "%lld writes failed: %s",
			(long long)tool_number(journal, "failures"), tool_text(t, journal, "last_error")));
	if (tool_text(t, json_object_get(s, "dns"), "last_error")[0])
		attend(t, table, "resolver", tool_text(t, json_object_get(s, "dns"), "last_error"));
}

static void attend_all(struct tool *t, struct tool_table *table, const json_t *s)
{
	attend_daemon(t, table, s);
	attend_waves(t, table, s);
	attend_workers(t, table, s);
	attend_backends(t, table, s);
	attend_directories(t, table, s);
	attend_state(t, table, s);
}

/* ---- tables ---- */

static void print_table(struct tool *t, const char *title, const struct tool_table *table)
{
	if (table->count == 0)
		return;
	tool_print(t, "\n%s\n", title);
	tool_rows(t, table);
}

static const char *count_text(struct tool *t, const json_t *object, const char *name)
{
	return arena_printf(&t->arena, "%lld", (long long)tool_number(object, name));
}

static void print_head(struct tool *t, const json_t *s)
{
	const char *reloaded = tool_text(t, s, "reloaded");
	long long sessions = 0;
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(s, "workers"), i, w)
		sessions += tool_number(w, "sessions");
	tool_print(t, "spurnd %s, process %lld, up %s, %zu worker%s, %lld session%s", tool_text(t, s, "version"),
		(long long)tool_number(s, "master_pid"), tool_span(t, tool_number(s, "uptime_s") * 1000), i,
		i == 1 ? "" : "s", sessions, sessions == 1 ? "" : "s");
	if (reloaded[0])
		tool_print(t, ", reloaded %s", reloaded);
	tool_print(t, "\n");
}

static void print_workers(struct tool *t, const json_t *s)
{
	struct tool_table table = { 0 };
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(s, "workers"), i, w)
		tool_row(t, &table, count_text(t, w, "slot"), arena_printf(&t->arena, "process %s",
			count_text(t, w, "pid")), tool_text(t, w, "state"),
			arena_printf(&t->arena, "%s sessions", count_text(t, w, "sessions")), NULL);
	print_table(t, "workers", &table);
}

static const char *capabilities_of(struct tool *t, const json_t *backend)
{
	struct str text = STR_IN(&t->arena);
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(backend, "capabilities"), i, name)
		if (json_is_string(name))
			str_printf(&text, "%s%s", i ? " " : "", tool_safe(t, slice_of(json_string_value(name))));
	return str_cstr(&text);
}

static void print_backends(struct tool *t, const json_t *s)
{
	struct tool_table backends = { 0 }, zones = { 0 };
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(s, "backends"), i, b)
		tool_row(t, &backends, tool_text(t, b, "url"),
			!tool_is(b, "up") ? "down" : tool_is(b, "known") ? "up" : "not asked yet",
			arena_printf(&t->arena, "%s out, %s idle", count_text(t, b, "out"), count_text(t, b, "idle")),
			arena_printf(&t->arena, "%s transactions", count_text(t, b, "transactions")),
			arena_printf(&t->arena, "%s failed", count_text(t, b, "failed")), capabilities_of(t, b), NULL);
	print_table(t, "backends (of the worker that answered)", &backends);
	json_array_foreach(json_object_get(s, "dnsbl"), i, b)
		tool_row(t, &zones, tool_text(t, b, "label"),
			!tool_is(b, "on") ? "off" : tool_is(b, "tested") ? "on" : "not tested yet",
			arena_printf(&t->arena, "%s asked", count_text(t, b, "asked")),
			arena_printf(&t->arena, "%s listed", count_text(t, b, "listed")),
			arena_printf(&t->arena, "%s errors", count_text(t, b, "errors")),
			arena_printf(&t->arena, "%s without answer", count_text(t, b, "trouble")),
			tool_text(t, b, "reason"), NULL);
	print_table(t, "DNS lists (of the worker that answered)", &zones);
}

static void print_scanners(struct tool *t, const json_t *s)
{
	struct tool_table table = { 0 };
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(s, "scanners"), i, b)
		tool_row(t, &table, tool_text(t, b, "name"), tool_is(b, "up") ? "up" : "down",
			arena_printf(&t->arena, "%s %s", tool_text(t, b, "kind"), tool_text(t, b, "address")),
			arena_printf(&t->arena, "%s asked", count_text(t, b, "asked")),
			arena_printf(&t->arena, "%s refused", count_text(t, b, "refused")),
			arena_printf(&t->arena, "%s failed", count_text(t, b, "failures")),
			arena_printf(&t->arena, "%lld ms", (long long)tool_number(b, "average_us") / 1000), NULL);
	print_table(t, "scanners (of the worker that answered)", &table);
}

static void print_guard(struct tool *t, const json_t *s)
{
	const json_t *g = json_object_get(s, "guard");
	const char *since = tool_text(t, g, "complete_since"), *mode = tool_text(t, g, "mode");
	struct tool_table table = { 0 };

	if (!tool_is(g, "wanted"))
		return;
	tool_row(t, &table, strcmp(mode, "enforce") != 0 ? "only observes: the check notice is not enforced" :
		!tool_is(g, "warm") ? arena_printf(&t->arena, "only observes until %s", since[0] ? tool_text(t, g, "warm_at") :
			"its ledger can be read") :
		strcmp(tool_text(t, g, "action"), "refuse") == 0 ? "refuses what may not leave" : "destroys what may not leave",
		since[0] ? arena_printf(&t->arena, "ledger complete since %s", since) : "ledger not complete", NULL);
	print_table(t, "guard of automatic answers", &table);
}

static void print_counts(struct tool *t, const char *title, const json_t *counts)
{
	struct tool_table table = { 0 };
	const char *name;
	const json_t *count;

	json_object_foreach((json_t *)counts, name, count)
		if (tool_number(count, "value") != 0)
			tool_row(t, &table, count_text(t, count, "value"), tool_text(t, count, "text"), NULL);
	print_table(t, title, &table);
}

static void print_directories(struct tool *t, const json_t *s)
{
	struct tool_table table = { 0 };
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(s, "directories"), i, d)
		tool_row(t, &table, tool_text(t, d, "name"), tool_is(d, "up") ? "up" : "down", tool_text(t, d, "kind"),
			arena_printf(&t->arena, "%s asked", count_text(t, d, "asked")),
			arena_printf(&t->arena, "%s found", count_text(t, d, "found")),
			arena_printf(&t->arena, "%s unanswered", count_text(t, d, "trouble")),
			arena_printf(&t->arena, "%lld us", (long long)tool_number(d, "average_us")),
			tool_text(t, d, "copied_at")[0] ? arena_printf(&t->arena, "copy of %s, %s addresses",
				tool_text(t, d, "copied_at"), count_text(t, d, "copied")) : "", NULL);
	print_table(t, "directories", &table);
}

static void print_lists(struct tool *t, const json_t *s)
{
	struct tool_table table = { 0 };
	const json_t *l;
	size_t i;

	json_array_foreach(json_object_get(s, "lists"), i, l)
		tool_row(t, &table, tool_text(t, l, "path"), arena_printf(&t->arena, "%s entries",
			count_text(t, l, "count")), NULL);
	print_table(t, "lists", &table);
}

static void print_proofs(struct tool *t, const json_t *s)
{
	const json_t *proofs = json_object_get(s, "proofs"), *d;
	struct tool_table table = { 0 };
	size_t i;

	json_array_foreach(json_object_get(proofs, "domains"), i, d) {
		int64_t since = tool_number(d, "marked_since_s"), elsewhere = tool_number(d, "elsewhere_s");

		tool_row(t, &table, tool_text(t, d, "name"), tool_is(d, "enrolled") ? "enrolled" :
			tool_is(d, "ready") ? "ready: enrolled yes may be said" : "not ready yet",
			since < 0 ? "nothing has left here" :
				arena_printf(&t->arena, "leaves marked since %s", tool_span(t, since * 1000)),
			elsewhere < 0 ? "no other exit was seen" :
				arena_printf(&t->arena, "another exit was seen %s ago", tool_span(t, elsewhere * 1000)), NULL);
	}
	print_table(t, "bounce proofs", &table);
}

static void print_status(struct tool *t, const json_t *s)
{
	struct tool_table table = { 0 };

	print_head(t, s);
	attend_all(t, &table, s);
	print_table(t, "needs attention", &table);
	print_workers(t, s);
	print_backends(t, s);
	print_scanners(t, s);
	print_directories(t, s);
	print_lists(t, s);
	print_proofs(t, s);
	print_guard(t, s);
	print_counts(t, "counted since the start", json_object_get(s, "counters"));
	print_counts(t, "oddities of peers", json_object_get(s, "glitches"));
}

/* ---- waits ---- */

static void print_waits(struct tool *t, const char *answer)
{
	struct tool_table table = { 0 };
	struct slice rest = slice_of(answer);

	while (rest.n > 0) {
		struct slice line = slice_split(&rest, '\n');
		json_t *w = line.n > 0 ? tool_parse(line.p, line.n) : NULL;

		if (!w)
			continue;
		tool_row(t, &table, tool_text(t, w, "name"), tool_text(t, w, "label"),
			arena_printf(&t->arena, "for %s", tool_span(t, tool_number(w, "since_ms"))),
			json_is_null(json_object_get(w, "deadline_in_ms")) ? "no deadline" :
				arena_printf(&t->arena, "at most %s more", tool_span(t, tool_number(w, "deadline_in_ms"))),
			NULL);
		json_decref(w);
	}
	if (table.count == 0)
		tool_print(t, "no fiber of the worker that answered waits for anything\n");
	tool_rows(t, &table);
}

bool tool_attention(struct tool *t)
{
	struct tool_table table = { 0 };
	int status;
	const char *answer = tool_ask(t, "status", &status);
	json_t *s = answer ? tool_parse(answer, strlen(answer)) : NULL;

	if (!s)
		return false;
	attend_all(t, &table, s);
	tool_rows(t, &table);
	json_decref(s);
	return table.count == 0;
}

int tool_status(struct tool *t, int argc, char **argv)
{
	bool json = false, waits = false;
	const struct tool_option options[] = { { "json", NULL, &json, NULL }, { "waits", NULL, &waits, NULL },
		{ NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options), status;
	const char *answer;
	json_t *value;

	if (words != 0)
		return words < 0 ? EX_USAGE : tool_misused(t, "takes no word: %s", argv[0]);
	answer = tool_ask(t, waits ? "waits" : "status", &status);
	if (!answer)
		return status;
	if (json) {
		tool_print(t, "%s", answer);
	} else if (waits) {
		print_waits(t, answer);
	} else {
		value = tool_parse(answer, strlen(answer));
		if (!value)
			return EX_DATAERR;
		print_status(t, value);
		json_decref(value);
	}
	return 0;
}

/* ---- observe ---- */

int tool_observe(struct tool *t, int argc, char **argv)
{
	const struct tool_option options[] = { { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options), status;
	const char *answer;
	json_t *value;

	if (words < 0)
		return EX_USAGE;
	if (words > 1 || (words == 1 && strcmp(argv[0], "on") != 0 && strcmp(argv[0], "off") != 0 &&
			strcmp(argv[0], "show") != 0))
		return tool_misused(t, "on, off or show is wanted");
	answer = tool_ask(t, arena_printf(&t->arena, "observe %s", words == 1 ? argv[0] : "show"), &status);
	if (!answer)
		return status;
	value = tool_parse(answer, strlen(answer));
	if (!value)
		return EX_DATAERR;
	tool_print(t, tool_is(value, "observe") ?
		"observe is on: refusals by judgement are recorded and not given\n" :
		"observe is off: checks hold as configured\n");
	json_decref(value);
	return 0;
}

/* ---- recipient ---- */

static void print_recipient(struct tool *t, const json_t *r)
{
	static const struct { const char *name, *words; } answers[] = {
		{ "exists", "exists" }, { "no-such-user", "does not exist" },
		{ "ask", "not known yet: the backend would be asked" },
		{ "unknown", "cannot be told now: senders hear 451" },
	};
	const char *answer = tool_text(t, r, "answer");
	struct tool_table table = { 0 };
	const json_t *s;
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (strcmp(answers[i].name, answer) == 0)
			answer = answers[i].words;
	tool_print(t, "%s: %s\n", tool_text(t, r, "address"), answer);
	json_array_foreach(json_object_get(r, "sources"), i, s)
		tool_row(t, &table, tool_text(t, s, "source"), tool_text(t, s, "answer"), tool_text(t, s, "detail"), NULL);
	tool_rows(t, &table);
}

int tool_recipient(struct tool *t, int argc, char **argv)
{
	bool json = false, force = false;
	const char *answer, *column = NULL;
	const struct tool_option options[] = { { "json", NULL, &json, NULL }, { "force", NULL, &force, NULL },
		{ "column", &column, NULL, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options), status;
	json_t *value;

	if (words < 0)
		return EX_USAGE;
	if (words > 0 && words <= 2 && strcmp(argv[0], "sync") == 0)
		return tool_recipient_sync(t, words == 2 ? argv[1] : NULL, force);
	if (words == 2 && strcmp(argv[0], "import") == 0)
		return tool_recipient_import(t, argv[1], column, force);
	if (words != 2 || (strcmp(argv[0], "show") != 0 && strcmp(argv[0], "probe") != 0 && strcmp(argv[0], "forget") != 0))
		return tool_misused(t, "show, probe or forget is wanted, and an address; or sync, or import and a file");
	if (strpbrk(argv[1], "\r\n"))
		return tool_misused(t, "not an address: %s", tool_safe(t, slice_of(argv[1])));
	answer = tool_ask(t, arena_printf(&t->arena, "recipient %s %s", argv[0], argv[1]), &status);
	if (!answer)
		return status;
	value = tool_parse(answer, strlen(answer));
	if (!value)
		return EX_DATAERR;
	if (json)
		tool_print(t, "%s", answer);
	else if (argv[0][0] == 'f')
		tool_print(t, "%s: %s\n", tool_safe(t, slice_of(argv[1])),
			tool_is(value, "forgotten") ? "forgotten" : "nothing was remembered");
	else
		print_recipient(t, value);
	json_decref(value);
	return 0;
}
