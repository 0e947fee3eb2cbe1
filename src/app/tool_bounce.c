/*
 * spurn bounce: what is this mail, and whom and what is it about?
 *
 * For a user who has found "Mail delivery failed" in a mailbox, for a postmaster with a directory of them, and for
 * scripts. It reads and writes nothing but the messages, so anyone may run it.
 */
#include "app/tool_mail.h"

#include "check/bounce.h"
#include "wire/mime.h"

#include <unistd.h>

#define HEADER_MAX (1024u * 1024u)
#define FIELDS_MAX 10000u

struct bounce_run {
	struct tool *tool;
	bool json;
	struct arena arena;		/* of the message at hand */
	const char *name;
	struct header header;
	struct notice_reader *reader;
	bool told;			/* the reader has the header section */
	const struct config *config;	/* NULL: nothing is proved */
	struct bounce_proof proof;
	bool enrolled;			/* all mail of the addressee's domain leaves marked */
};

/* ---- feeding ---- */

static void begin(void *arg, const char *name)
{
	struct bounce_run *b = arg;

	b->name = name;
	b->told = false;
	b->reader = notice_begin(&b->arena, NULL, NULL);
	header_init(&b->header, &b->arena, HEADER_MAX, FIELDS_MAX);
}

static void header_told(struct bounce_run *b)
{
	b->told = true;
	notice_header(b->reader, &b->header);
	notice_body(b->reader, b->header.body_lead);
}

static void take(void *arg, struct slice piece)
{
	struct bounce_run *b = arg;
	size_t taken = b->told ? 0 : header_push(&b->header, piece);

	if (!b->told && b->header.done)
		header_told(b);
	if (b->told)
		notice_body(b->reader, slice_from(piece, taken));
}

/* ---- proof ---- */

/* The first address that the notice is for: where it says it was delivered, else To. */
static bool addressee_of(struct bounce_run *b, struct address_form *out)
{
	static const char *const names[] = { "X-Original-To", "Delivered-To", "Envelope-To", "To" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct field *f = header_field(&b->header, slice_of(names[i]), 0);
		struct slice text = f ? field_unfolded(&b->arena, f) : SLICE_NULL, rest;
		ptrdiff_t open = slice_rfind(text, '<'), at;
		const struct domain_conf *d;
		struct path p;
		const char *why;

		if (open < 0)
			text = slice_of(arena_printf(&b->arena, "<%.*s>", SLICE_ARG(text)));
		rest = open < 0 ? text : slice_from(text, (size_t)open);
		if (!path_parse(&p, &rest, true, &why) || !address_form(&b->arena, &p, SLICE_NULL, out))
			continue;
		at = slice_rfind(out->canonical, '@');
		d = config_domain(b->config, slice_from(out->canonical, (size_t)at + 1));
		if (d && address_form(&b->arena, &p, d->separators, out)) {
			b->enrolled = d->bounces.enrolled;
			return true;
		}
	}
	return false;
}

/* With the keys alone: the ledger belongs to the daemon (spurn sent). false: nothing can be said. */
static bool prove(struct bounce_run *b, const struct notice *n)
{
	struct address_form form;
	struct bounce_question q = { .notice = n, .now = time(NULL) };

	if (!b->config || n->kind == NOTICE_MESSAGE || !addressee_of(b, &form))
		return false;
	q.conf = &b->config->bounces;
	q.addressee = form.canonical;
	q.form = &form;
	if ((form.tag == ADDRESS_TAG_PRVS || form.tag == ADDRESS_TAG_PRVS_SWAPPED) && form.tag_text.n == 10)
		q.tag = form.tag_text;
	bounce_judge(&b->proof, &q, &b->arena);
	return true;
}

/* ---- for scripts ---- */

static void json_text(struct tool *t, const char *name, struct slice value, const char *after)
{
	tool_print(t, "\"%s\":", name);
	if (value.n > 0)
		str_json(&t->out, value);
	else
		tool_print(t, "null");
	tool_print(t, "%s", after);
}

static void print_json(struct bounce_run *b, const struct notice *n)
{
	struct tool *t = b->tool;
	const struct notice_original *o = &n->original;

	tool_print(t, "{\"file\":");
	str_json(&t->out, slice_of(b->name));
	tool_print(t, ",\"kind\":\"%s\",\"recipients\":[", notice_kind_name(n->kind));
	for (const struct notice_recipient *r = n->recipients; r; r = r->next) {
		tool_print(t, "{");
		json_text(t, "address", r->address, ",");
		json_text(t, "action", r->action, ",");
		json_text(t, "status", r->status, ",");
		json_text(t, "diagnostic", r->diagnostic, r->next ? "}," : "}");
	}
	tool_print(t, "],\"original\":{");
	json_text(t, "message_id", o->message_id, ",");
	json_text(t, "from", o->from, ",");
	json_text(t, "to", o->to, ",");
	json_text(t, "return_path", o->return_path, ",");
	json_text(t, "subject", o->subject, ",");
	tool_print(t, "\"form\":\"%s\"},\"proof\":", notice_form_name(o->form));
	if (prove(b, n))
		tool_print(t, "{\"result\":\"%s\",\"method\":\"%s\",\"reason\":\"%s\"},", result_name(b->proof.result),
			bounce_method_name(b->proof.method), b->proof.reason);
	else
		tool_print(t, "null,");
	json_text(t, "why", slice_of(n->evidence), "}\n");
}

/* ---- for people ---- */

static const char *sentence_of(enum notice_kind k)
{
	static const char *const sentences[NOTICE_KIND_COUNT] = {
		[NOTICE_MESSAGE] = "an ordinary message, written by no mail system",
		[NOTICE_DSN] = "a bounce: a mail server says that it could not deliver a message",
		[NOTICE_BOUNCE] = "a bounce: a mail server says, in its own words, that it could not deliver a message",
		[NOTICE_DELAY] = "a delay report: a message has not been delivered yet, the server still tries",
		[NOTICE_SUCCESS] = "a delivery report: a message was delivered",
		[NOTICE_MDN] = "a receipt: a message was displayed, or deleted, by its reader's program",
		[NOTICE_AUTO_REPLY] = "an automatic reply: a program answers for somebody who is away, or confirms receipt",
		[NOTICE_CHALLENGE] = "a challenge: a filter wants the sender of a message to confirm it",
		[NOTICE_VIRUS_NOTICE] = "a notice of a virus scanner about a message",
		[NOTICE_FEEDBACK_REPORT] = "a feedback report: a reader called a message spam",
		[NOTICE_REPORT] = "a report for postmasters (DMARC or TLS)",
		[NOTICE_COMPLAINT] = "a complaint about spam",
		[NOTICE_NOTICE] = "a notice of a mailing list or another program",
	};

	return sentences[k];
}

/* A message of an enrolled domain would bear our mark, if what is returned has its whole header section. */
static bool is_never_sent(const struct bounce_run *b, const struct notice_original *o)
{
	return b->enrolled && b->proof.result == RESULT_UNPROVEN && !o->header_truncated &&
		(o->form == NOTICE_FORM_FULL || o->form == NOTICE_FORM_HEADERS);
}

static const char *advice_on(const struct bounce_run *b, const struct notice *n)
{
	if (is_never_sent(b, &n->original))
		return "This bounce is false: it returns a message that was never sent from here. Ignore it, do not open its attachments.";
	switch (b->proof.result) {
	case RESULT_PROVEN:
		return "This bounce is genuine: it is about a message that left here.";
	case RESULT_PLAUSIBLE:
		return "This bounce is probably genuine: an alias or a forwarder may have stood between.";
	case RESULT_REFUTED:
		return "This bounce is false: it shows a proof that is not ours. Ignore it, do not open its attachments.";
	default:
		return "Nothing shows that this message left here. If all mail leaves through Spurn, the bounce is false: ignore it, "
			"do not open its attachments.";
	}
}

static void print_human(struct bounce_run *b, const struct notice *n)
{
	struct tool *t = b->tool;
	const struct notice_original *o = &n->original;

	tool_print(t, "%s\n  This is %s.\n", tool_safe(t, slice_of(b->name)), sentence_of(n->kind));
	for (const struct notice_recipient *r = n->recipients; r; r = r->next)
		tool_print(t, "  Recipient  %s%s%s%s%s\n", tool_safe(t, r->address), r->action.n ? "  " : "",
			tool_safe(t, r->action), r->status.n ? "  " : "", tool_safe(t, r->status));
	if (o->form != NOTICE_FORM_NONE) {
		static const char *const forms[] = { "", "the whole message", "its header only", "quoted in the text" };
		tool_print(t, "  Returned   %s\n", forms[o->form]);
		if (o->from.n)
			tool_print(t, "    From     %s\n", tool_safe(t, mime_words(&b->arena, o->from)));
		if (o->to.n)
			tool_print(t, "    To       %s\n", tool_safe(t, mime_words(&b->arena, o->to)));
		if (o->subject.n)
			tool_print(t, "    Subject  %s\n", tool_safe(t, mime_words(&b->arena, o->subject)));
		if (o->message_id.n)
			tool_print(t, "    Message  %s\n", tool_safe(t, o->message_id));
	}
	if (n->evidence[0])
		tool_print(t, "  Because    %s\n", n->evidence);
	if (prove(b, n)) {
		tool_print(t, "  Proof      %s: %s\n", result_name(b->proof.result), b->proof.reason);
		if (notice_is_bounce(n->kind))
			tool_print(t, "  %s\n", advice_on(b, n));
	}
	tool_print(t, "\n");
}

static void end(void *arg)
{
	struct bounce_run *b = arg;
	const struct notice *n;

	if (!b->told) {
		header_finish(&b->header);
		header_told(b);
	}
	n = notice_finish(b->reader);
	if (b->json)
		print_json(b, n);
	else
		print_human(b, n);
	tool_relieve(b->tool);
	arena_drop(&b->arena);
}

/* The keys are not for everybody: they are looked for where the configuration is named, or root asks. */
static bool wants_config(const struct tool *t)
{
	return strcmp(t->config, TOOL_CONFIG) != 0 || (geteuid() == 0 && access(t->config, R_OK) == 0);
}

int tool_bounce(struct tool *t, int argc, char **argv)
{
	static struct bounce_run run;
	const struct tool_option wanted[] = { { "json", NULL, &run.json, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted);
	const struct mail_sink sink = { .arg = &run, .begin = begin, .take = take, .end = end };
	bool ok = true;

	if (words < 0)
		return EX_USAGE;
	if (words == 0)
		return tool_misused(t, "name a file, a directory, or - for standard input");
	run.tool = t;
	if (wants_config(t) && !(run.config = tool_config(t)))
		return EX_CONFIG;
	for (int i = 0; i < words; i++)
		ok = tool_mail_each(t, argv[i], &sink) && ok;
	return ok ? 0 : EX_NOINPUT;
}
