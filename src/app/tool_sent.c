/*
 * spurn sent: what the sent ledger of the running daemon knows. It holds hashes, so it can be asked about a name and not
 * read through.
 */
#include "app/tool.h"

static const char *ago(struct tool *t, int64_t seconds)
{
	return arena_printf(&t->arena, "%s ago", tool_span(t, seconds * 1000));
}

static void print_message(struct tool *t, const json_t *a)
{
	tool_print(t, "%s has sent it, %s, to %lld recipient%s\n", tool_text(t, a, "sender"), ago(t, tool_number(a, "age_s")),
		(long long)tool_number(a, "recipients"), tool_number(a, "recipients") == 1 ? "" : "s");
	if (tool_number(a, "notices") > 0)
		tool_print(t, "  notices about it: %lld, of them %lld for somebody it was not sent to\n",
			(long long)tool_number(a, "notices"), (long long)tool_number(a, "foreign"));
}

int tool_sent(struct tool *t, int argc, char **argv)
{
	bool json = false, found;
	const struct tool_option options[] = { { "json", NULL, &json, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options), status;
	const char *answer;
	json_t *value;

	if (words < 0)
		return EX_USAGE;
	if (words != 2)
		return tool_misused(t, "the address of a sender is wanted, and a Message-ID, an address or a domain");
	for (int i = 0; i < 2; i++)
		if (strpbrk(argv[i], " \t\r\n"))
			return tool_misused(t, "no blanks: %s", tool_safe(t, slice_of(argv[i])));
	answer = tool_ask(t, arena_printf(&t->arena, "sent %s %s", argv[0], argv[1]), &status);
	/* 1 is the answer that nothing is known. */
	if (!answer)
		return status == 1 ? EX_DATAERR : status;
	value = tool_parse(answer, strlen(answer));
	if (!value)
		return EX_DATAERR;
	found = tool_is(value, "found");
	if (json)
		tool_print(t, "%s", answer);
	else if (!found)
		tool_print(t, "nothing is known of it\n");
	else if (tool_is(value, "is_message"))
		print_message(t, value);
	else
		tool_print(t, "%s has written to %s, last about %s\n", tool_text(t, value, "sender"),
			tool_text(t, value, "domain"), ago(t, tool_number(value, "age_s")));
	json_decref(value);
	return found ? 0 : 1;
}
