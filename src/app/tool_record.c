/*
 * A record of the journal as a trail that a help desk can read out: who came,
 * what was asked, what each check found, what was answered and what it means.
 *
 * The sentence behind a reply's number comes from replies.def, so this and the
 * manual page cannot disagree.
 */
#include "app/tool.h"

#include "wire/smtp_reply.h"

static const char *outcome_of(const char *disposition)
{
	static const struct { const char *word, *text; } outcomes[] = {
		{ "accept", "accepted" }, { "mark", "accepted with a mark" }, { "defer", "deferred, the sender tries again" },
		{ "reject", "rejected" }, { "destroy", "answered 250 and destroyed" },
		{ "abandoned", "abandoned by the client" }, { "none", "no transaction" },
	};

	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
		if (strcmp(outcomes[i].word, disposition) == 0)
			return outcomes[i].text;
	return disposition;
}

static const char *meaning_of(int64_t number)
{
	for (int name = REPLY_NONE + 1; name < REPLY_COUNT; name++) {
		const struct reply_definition *d = reply_definition((enum reply_name)name);

		if (d->number == number)
			return d->operator_text;
	}
	return NULL;
}

/* "550 5.1.1 text" of an object with code, enhanced and the text under a name. */
static void print_reply(const json_t *reply, const char *text)
{
	const char *enhanced = tool_text(reply, "enhanced");

	if (tool_number(reply, "code") == 0) {
		fputs("no answer", stdout);
		return;
	}
	printf("%lld %s%s", (long long)tool_number(reply, "code"), enhanced, *enhanced ? " " : "");
	tool_print_safe(tool_text(reply, text));
}

static void print_client(const json_t *record)
{
	const char *name = tool_text(record, "client.name"), *helo = tool_text(record, "client.helo");
	const char *tls = tool_text(record, "client.tls");

	tool_print("  client      ", tool_text(record, "client.ip"), "");
	tool_print(" ", *name ? name : "(no confirmed name)", "");
	if (*helo)
		tool_print(", HELO ", helo, "");
	if (*tls)
		tool_print(", ", tls, "");
	tool_print("\n  listener    ", tool_text(record, "listener"), "");
	tool_print(" of ", tool_text(record, "node"), "\n");
}

static void print_recipients(const json_t *record)
{
	const json_t *list = tool_member(record, "rcpt"), *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *backend = tool_text(one, "backend");

		tool_print("  recipient   <", tool_text(one, "address"), ">: ");
		print_reply(one, "reply");
		putchar('\n');
		if (*backend)
			tool_print("              the backend said: ", backend, "\n");
		if (json_is_true(tool_member(one, "had_it")))
			puts("              has the message from an earlier try: not sent again");
		if (json_is_true(tool_member(one, "in_doubt")))
			puts("              an earlier try may have delivered it already: a possible double");
	}
}

static void print_message(const json_t *record)
{
	const char *id = tool_text(record, "message.id"), *from = tool_text(record, "message.from");

	if (!tool_member(record, "message"))
		return;
	tool_print("  message     ", *id ? id : "(no Message-ID)", "");
	printf(", %lld octets", (long long)tool_number(record, "message.size"));
	if (*from)
		tool_print(", From: ", from, "");
	putchar('\n');
}

void tool_finding_print(const json_t *f)
{
	const char *evidence = tool_text(f, "evidence"), *rcpt = tool_text(f, "rcpt");
	const char *would = tool_text(f, "would"), *led = tool_text(f, "led");

	printf("  %-11s %s: ", tool_text(f, "check"), tool_text(f, "result"));
	tool_print_safe(tool_text(f, "reason"));
	if (*evidence)
		tool_print(" (", evidence, ")");
	if (*rcpt)
		tool_print(" for <", rcpt, ">");
	if (tool_member(f, "weight"))
		printf(", weight %lld", (long long)tool_number(f, "weight"));
	if (*led)
		printf(" -> %s", led);
	if (*would)
		printf(" -> would %s, but the check only observes", would);
	putchar('\n');
}

static void print_findings(const json_t *record)
{
	const json_t *list = tool_member(record, "findings"), *one;
	size_t i;

	json_array_foreach(list, i, one)
		tool_finding_print(one);
}

static void print_answer(const json_t *record)
{
	const char *backend = tool_text(record, "backend.address"), *said = tool_text(record, "backend.reply");
	const char *meaning = meaning_of(tool_number(record, "reply.number"));

	if (*backend || *said) {
		tool_print("  backend     ", *backend ? backend : "(none reached)", "");
		tool_print(*said ? " said: " : "", said, "\n");
	}
	if (tool_number(record, "reply.code")) {
		fputs("  answer      ", stdout);
		print_reply(tool_member(record, "reply"), "text");
		putchar('\n');
		if (meaning)
			printf("              (reply %lld: %s)\n", (long long)tool_number(record, "reply.number"), meaning);
	}
	if (tool_member(record, "in_doubt"))
		tool_print("  in doubt    the backend took the message and gave no answer; a retry may double it: ref ",
			tool_text(record, "in_doubt"), "\n");
}

void tool_record_print(const json_t *record)
{
	const json_t *sender = tool_member(record, "mail_from");

	tool_print("", tool_text(record, "ref"), "  ");
	tool_print("", tool_text(record, "time"), "  ");
	printf("%s\n", outcome_of(tool_text(record, "disposition")));
	print_client(record);
	if (sender)
		tool_print("  sender      <", tool_text(record, "mail_from"), ">\n");
	print_recipients(record);
	print_message(record);
	print_findings(record);
	print_answer(record);
	printf("  took        %.1f ms", json_number_value(tool_member(record, "times.total")));
	if (tool_member(record, "times.relay"))
		printf(" (MAIL %.1f, RCPT %.1f, data %.1f, relay %.1f)",
			json_number_value(tool_member(record, "times.mail")),
			json_number_value(tool_member(record, "times.rcpt")),
			json_number_value(tool_member(record, "times.data")),
			json_number_value(tool_member(record, "times.relay")));
	putchar('\n');
}
