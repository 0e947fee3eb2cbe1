/*
 * A journal record for people: the trail of one transaction in the order in
 * which a help desk asks. Who, from whom, to whom with what answer, what was
 * found, what was said at the end, how long it took.
 *
 * Everything in a record may have been written by a stranger and is escaped
 * for the terminal.
 */
#include "app/tool.h"

const char *tool_fate(const char *disposition)
{
	static const struct { const char *name, *words; } fates[] = {
		{ "accept", "accepted" }, { "mark", "accepted and marked" }, { "defer", "deferred" },
		{ "reject", "refused" }, { "destroy", "destroyed" }, { "abandoned", "given up by the client" },
		{ "none", "no transaction" },
	};

	for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++)
		if (strcmp(fates[i].name, disposition) == 0)
			return fates[i].words;
	return disposition[0] ? disposition : "unknown";
}

/* "550 5.1.1 text" of an object with code, enhanced and a text member. */
static const char *reply_text(struct tool *t, const json_t *o, const char *member)
{
	const char *enhanced = tool_text(t, o, "enhanced");

	return arena_printf(&t->arena, "%lld%s%s %s", (long long)tool_number(o, "code"), enhanced[0] ? " " : "",
		enhanced, tool_text(t, o, member));
}

static void line(struct tool *t, const char *label, const char *text)
{
	tool_print(t, "  %-9s %s\n", label, text);
}

static void show_client(struct tool *t, const json_t *record)
{
	const json_t *c = json_object_get(record, "client");
	const char *name = tool_text(t, c, "name"), *helo = tool_text(t, c, "helo"), *tls = tool_text(t, c, "tls");

	tool_print(t, "  client    %s", tool_text(t, c, "ip"));
	if (name[0])
		tool_print(t, " (%s)", name);
	tool_print(t, "%s%s%s%s", helo[0] ? ", HELO " : ", no HELO", helo, tls[0] ? ", " : "", tls);
	tool_print(t, "; listener %s of %s\n", tool_text(t, record, "listener"), tool_text(t, record, "node"));
}

static void show_recipient(struct tool *t, const json_t *r)
{
	int64_t code = tool_number(r, "code");

	tool_print(t, "  to        <%s>  %s%s\n", tool_text(t, r, "address"), reply_text(t, r, "reply"),
		tool_is(r, "had_it") ? "; had the message from an earlier try" : "");
	if (tool_text(t, r, "backend")[0] && (code >= 400 || tool_text(t, r, "backend")[0] != '2'))
		tool_print(t, "            the backend said: %s\n", tool_text(t, r, "backend"));
	if (tool_is(r, "in_doubt"))
		tool_print(t, "            in doubt: an earlier try may have delivered it already\n");
}

static void show_message(struct tool *t, const json_t *record)
{
	const json_t *m = json_object_get(record, "message");
	const char *id = tool_text(t, m, "id"), *from = tool_text(t, m, "from");

	if (!json_is_object(m))
		return;
	tool_print(t, "  message   %s, %lld octets%s%s\n", id[0] ? id : "no Message-ID",
		(long long)tool_number(m, "size"), from[0] ? ", From: " : "", from);
}

static void show_finding(struct tool *t, const json_t *f)
{
	const char *led = tool_text(t, f, "led"), *would = tool_text(t, f, "would"), *rcpt = tool_text(t, f, "rcpt");
	const char *evidence = tool_text(t, f, "evidence");

	tool_print(t, "  finding   %s: %s", tool_text(t, f, "check"), tool_text(t, f, "result"));
	if (rcpt[0])
		tool_print(t, " <%s>", rcpt);
	if (tool_number(f, "weight"))
		tool_print(t, ", weight %lld", (long long)tool_number(f, "weight"));
	if (led[0])
		tool_print(t, " -> %s", led);
	if (would[0])
		tool_print(t, " -> would %s, but is only observed", would);
	tool_print(t, ": %s\n", tool_text(t, f, "reason"));
	if (evidence[0])
		tool_print(t, "            seen: %s\n", evidence);
}

void tool_show_findings(struct tool *t, const json_t *record)
{
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(record, "findings"), i, f)
		show_finding(t, f);
}

static void show_end(struct tool *t, const json_t *record)
{
	const json_t *reply = json_object_get(record, "reply"), *backend = json_object_get(record, "backend");
	const char *doubt = tool_text(t, record, "in_doubt");

	if (tool_number(reply, "code"))
		line(t, "reply", arena_printf(&t->arena, "%s (reply %lld)", reply_text(t, reply, "text"),
			(long long)tool_number(reply, "number")));
	if (tool_text(t, backend, "address")[0])
		line(t, "backend", arena_printf(&t->arena, "%s%s%s", tool_text(t, backend, "address"),
			tool_text(t, backend, "reply")[0] ? " said last: " : "", tool_text(t, backend, "reply")));
	if (doubt[0])
		line(t, "in doubt", strcmp(doubt, tool_text(t, record, "ref")) == 0 ?
			"the backend may have taken this message: a retry of it may double it" :
			arena_printf(&t->arena, "an earlier try, ref=%s, may have delivered it already", doubt));
}

static void show_times(struct tool *t, const json_t *record)
{
	static const char *const names[] = { "connect", "mail", "rcpt", "data", "scan", "relay" };
	const json_t *times = json_object_get(record, "times");
	struct str parts = STR_IN(&t->arena);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (tool_number(times, names[i]) >= 1)
			str_printf(&parts, "%s%s %s", parts.n ? ", " : " (", names[i],
				tool_span(t, tool_number(times, names[i])));
	tool_print(t, "  took      %s%s%s\n", tool_span(t, tool_number(times, "total")),
		str_cstr(&parts), parts.n ? ")" : "");
}

void tool_show_record(struct tool *t, const json_t *record)
{
	const json_t *r, *rcpt = json_object_get(record, "rcpt");
	size_t i;

	tool_print(t, "%s  ref=%s  %s\n", tool_text(t, record, "time"), tool_text(t, record, "ref"),
		tool_fate(tool_text(t, record, "disposition")));
	show_client(t, record);
	if (json_is_string(json_object_get(record, "mail_from")))
		line(t, "from", arena_printf(&t->arena, "<%s>", tool_text(t, record, "mail_from")));
	json_array_foreach(rcpt, i, r)
		show_recipient(t, r);
	show_message(t, record);
	tool_show_findings(t, record);
	show_end(t, record);
	show_times(t, record);
}
