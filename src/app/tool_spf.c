/*
 * `spurn spf`: what SPF says of a client and a sender, and why; without a daemon and without a configuration.
 */
#include "app/tool.h"

#include "check/spf.h"

#define PATIENCE (20 * NS_PER_SECOND)	/* RFC 7208 section 4.6.4 asks for at least so much */

struct inquiry {
	struct tool *tool;
	struct dns *dns;
	struct spf_question question;
	struct spf_answer answer;
};

static ASYNC void inquire(void *arg)
{
	struct inquiry *q = arg;

	spf_check_host(q->dns, &q->tool->arena, &q->question, &q->answer, deadline_in(PATIENCE));
}

/* "<a@b>", "a@b", "b"; "" and "<>" are the null sender. false: no sender. */
static bool split_sender(const char *text, struct slice *local, struct slice *domain)
{
	struct slice s = slice_of(text);
	ptrdiff_t at;

	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = slice_make(s.p + 1, s.n - 2);
	at = slice_rfind(s, '@');
	*local = at > 0 ? slice_head(s, (size_t)at) : SLICE_NULL;
	*domain = at >= 0 ? slice_from(s, (size_t)at + 1) : s;
	return domain->n > 0 || s.n == 0;
}

static void print_text(struct inquiry *q)
{
	const struct spf_answer *a = &q->answer;

	tool_print(q->tool, "%s\n%s\n", result_name(a->result), a->reason);
	if (a->explanation)
		tool_print(q->tool, "%s explains: %s\n", a->domain, a->explanation);
}

static void print_json(struct inquiry *q)
{
	const struct spf_answer *a = &q->answer;
	json_t *out = json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s, s:s?, s:i, s:i, s:b}", "result", result_name(a->result),
		"identity", a->helo ? "helo" : "mailfrom", "domain", a->domain, "mechanism", a->mechanism,
		"record", a->record, "reason", a->reason, "explanation", a->explanation, "lookups", (int)a->lookups,
		"voids", (int)a->voids, "never_sends", a->never_sends);
	char *text = json_dumps(out, JSON_COMPACT);

	tool_print(q->tool, "%s\n", text);
	free(text);
	json_decref(out);
}

int tool_spf(struct tool *t, int argc, char **argv)
{
	const char *text = NULL, *helo = "", *from = NULL, *zone = NULL;
	bool json = false;
	const struct tool_option wanted[] = { { "ip", &text, NULL, NULL }, { "helo", &helo, NULL, NULL },
		{ "from", &from, NULL, NULL }, { "zone", &zone, NULL, NULL }, { "json", NULL, &json, NULL },
		{ NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted), status;
	struct inquiry q = { .tool = t };
	struct ip ip;

	if (words < 0)
		return EX_USAGE;
	if (words > 0)
		return tool_misused(t, "%s is too much", tool_safe(t, slice_of(argv[0])));
	if (!text || !from)
		return tool_misused(t, "%s is missing", !text ? "--ip" : "--from");
	if (!ip_parse(&ip, slice_of(text)))
		return tool_misused(t, "--ip %s: not an IP address", tool_safe(t, slice_of(text)));
	q.question = (struct spf_question){ .ip = &ip, .helo = slice_of(helo) };
	if (!split_sender(from, &q.question.local, &q.question.domain))
		return tool_misused(t, "--from %s: neither an address nor a domain", tool_safe(t, slice_of(from)));
	if (q.question.domain.n == 0 && helo[0] == '\0')
		return tool_misused(t, "--helo is missing: for the null sender HELO is asked about");
	q.dns = tool_resolver(t, zone, &status);
	if (!q.dns)
		return status;
	q.question.now = clock_wall_seconds();
	tool_run_fiber("spf", inquire, &q);
	dns_close(q.dns);
	if (json)
		print_json(&q);
	else
		print_text(&q);
	return q.answer.result == RESULT_TEMPERROR ? EX_TEMPFAIL : 0;
}
