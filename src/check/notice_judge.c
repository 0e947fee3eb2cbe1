/*
 * What a notice comes to: structure first, then bounces in free form, then other answers of programs.
 *
 * A bounce in free form is weighed: who wrote it, what the subject says, what the text says, what is returned. No single word
 * suffices, and nothing suffices without a sign that a program wrote it: "could not be delivered" stands in the
 * mail of parcel services and of whoever asks for help with a bounce.
 */
#include "check/notice_part.h"

struct verdict {
	enum notice_kind kind;
	struct str why;
};

static void why(struct verdict *v, const char *text)
{
	if (v->why.n > 0)
		str_puts(&v->why, "; ");
	str_puts(&v->why, text);
}

static void why_quoted(struct verdict *v, const char *before, struct slice text)
{
	if (v->why.n > 0)
		str_puts(&v->why, "; ");
	str_puts(&v->why, before);
	str_puts(&v->why, " \"");
	str_escaped(&v->why, text, 80);
	str_addc(&v->why, '"');
}

/* Who wrote it is a program, as far as the header section shows. */
static bool is_machine(const struct notice_head *h)
{
	return h->null_sender || h->daemon || h->responder || h->auto_submitted >= AUTO_GENERATED ||
		h->failed_recipients.n > 0;
}

static void why_machine(struct verdict *v, const struct notice_head *h)
{
	if (h->null_sender)
		why(v, "null sender");
	if (h->daemon)
		why(v, "from a mail system");
	if (h->auto_submitted == AUTO_REPLIED)
		why(v, "Auto-Submitted: auto-replied");
	else if (h->auto_submitted == AUTO_GENERATED)
		why(v, "Auto-Submitted: auto-generated");
	if (h->responder)
		why(v, h->mark);
}

/* ---- reports ---- */

static void recipients_of_dsn(struct notice_reader *r, const struct dsn *d)
{
	for (const struct dsn_recipient *g = d->recipients; g; g = g->next) {
		struct notice_recipient n = { .address = g->final.n > 0 ? g->final : g->original, .original = g->original,
			.action = g->action, .status = g->status, .diagnostic = g->diagnostic };
		if (n.status.n == 0)
			n.status = notice_status_in(n.diagnostic);
		notice_recipient_add(r->arena, r->out, &n);
	}
}

static bool is_action(struct slice action, const char *name)
{
	return slice_eq(action, slice_of(name));
}

/* RFC 3464 section 2.3.3: failed, delayed, delivered, relayed, expanded. The worst decides. */
static enum notice_kind kind_of_actions(struct notice_reader *r, const struct dsn *d)
{
	bool failed = false, delayed = false, delivered = false;
	unsigned says;

	for (const struct dsn_recipient *g = d->recipients; g; g = g->next) {
		char class = g->status.n > 0 ? g->status.p[0] : 0;
		bool known = is_action(g->action, "delivered") || is_action(g->action, "relayed") ||
			is_action(g->action, "expanded") || is_action(g->action, "deliverable");
		if (is_action(g->action, "delayed") || (g->action.n == 0 && class == '4'))
			delayed = true;
		else if (known || (g->action.n == 0 && class == '2'))
			delivered = true;
		else if (g->action.n > 0 || class == '5')
			failed = true;		/* and what is no action at all: "error", "expired" */
	}
	if (failed)
		return NOTICE_DSN;
	if (delayed)
		return NOTICE_DELAY;
	if (delivered)
		return NOTICE_SUCCESS;
	says = notice_words(r)->says.bits;
	return (says & SAYS_DELAYED) && !(says & SAYS_FAILED) ? NOTICE_DELAY : NOTICE_DSN;
}

static void why_recipients(struct notice_reader *r, struct verdict *v, const char *who)
{
	const struct notice_recipient *n = r->out->recipients;

	if (!n)
		return;
	if (v->why.n > 0)
		str_puts(&v->why, "; ");
	str_puts(&v->why, who);
	str_puts(&v->why, " names ");
	str_escaped(&v->why, n->address, 80);
	if (n->action.n > 0) {
		str_addc(&v->why, ' ');
		str_escaped(&v->why, n->action, 20);
	}
	if (n->status.n > 0) {
		str_addc(&v->why, ' ');
		str_add(&v->why, n->status);
	}
	if (r->out->recipient_count > 1)
		str_printf(&v->why, " and %u more", r->out->recipient_count - 1);
}

/* Asks for a confirmation, and says nothing of a failure. What the whole text does not say its own words do not say. */
static bool is_challenge(struct notice_reader *r)
{
	return phrases_challenge(phrases_fold(r->arena, r->words, NOTICE_FOLDED_MAX)) &&
		(notice_words(r)->says.bits & (SAYS_CHALLENGE | SAYS_FAILED)) == SAYS_CHALLENGE;
}

static bool judge_report(struct notice_reader *r, struct verdict *v)
{
	struct slice status = str_slice(&r->kept[ROLE_STATUS].text);
	struct dsn d;

	if (r->kept[ROLE_FEEDBACK].seen) {
		v->kind = NOTICE_FEEDBACK_REPORT;
		why(v, "message/feedback-report");
		return true;
	}
	if (r->tls_report || r->dmarc_report || slice_eq(r->report_type, SLICE("tlsrpt"))) {
		v->kind = NOTICE_REPORT;
		why(v, r->dmarc_report ? "attachment named as DMARC reports are" : "TLS report");
		return true;
	}
	if (r->kept[ROLE_DISPOSITION].seen) {
		dsn_read(r->arena, str_slice(&r->kept[ROLE_DISPOSITION].text), &d);
		v->kind = NOTICE_MDN;
		why(v, "message/disposition-notification");
		if (r->out->original.message_id.n == 0)
			r->out->original.message_id = d.original_message_id;
		return true;
	}
	if (!r->kept[ROLE_STATUS].seen || !(r->report || r->status_alone || is_machine(&r->head) ||
	    r->head.subject_says.bits & SAYS_FAILED))
		return false;
	if (is_challenge(r)) {
		v->kind = NOTICE_CHALLENGE;
		why_quoted(v, "text", notice_words(r)->says.first);
		return true;
	}
	dsn_read(r->arena, status, &d);
	if (d.fields == 0 && status.n > 0 && !r->report)
		return false;
	recipients_of_dsn(r, &d);
	v->kind = kind_of_actions(r, &d);
	why_machine(v, &r->head);
	why(v, r->report ? "multipart/report" : "message/delivery-status");
	why_recipients(r, v, "delivery-status");
	return true;
}

/* ---- free form ---- */

/* Fields of a delivery-status that stand in the text: damaged MIME, or a gateway that flattened it. */
static bool fields_in_text(struct notice_reader *r, const struct notice_text *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct slice line = slice_trim(t->lines[i]);
		char first = line.n > 0 ? ascii_lower(line.p[0]) : 0;
		struct dsn d;
		if (first != 'f' && first != 'o')
			continue;
		if (!slice_starts_nocase(line, SLICE("Final-Recipient:")) &&
		    !slice_starts_nocase(line, SLICE("Original-Recipient: rfc822")))
			continue;
		dsn_read(r->arena, slice_make(t->lines[i].p, (size_t)(t->lines[t->count - 1].p +
			t->lines[t->count - 1].n - t->lines[i].p)), &d);
		recipients_of_dsn(r, &d);
		return r->out->recipient_count > 0;
	}
	return false;
}

static void failed_header(struct notice_reader *r)
{
	struct slice rest = r->head.failed_recipients;

	while (rest.n > 0) {
		struct slice one = mime_words(r->arena, slice_trim(slice_split(&rest, ',')));
		struct notice_recipient n = { .address = dsn_address(r->arena, one) };
		notice_recipient_add(r->arena, r->out, &n);
	}
}

/* The first address in a field's value. */
static struct slice address_in(struct arena *a, struct slice value)
{
	ptrdiff_t open = slice_find(value, '<');

	if (open >= 0) {
		struct slice rest = slice_from(value, (size_t)open + 1);
		return slice_head(rest, notice_address_at(rest));
	}
	for (size_t i = 0; i < value.n; i++) {
		size_t n = notice_address_at(slice_from(value, i));
		if (n > 0)
			return slice_head(slice_from(value, i), n);
	}
	return SLICE_NULL;
}

static void recipients_in_text(struct notice_reader *r, const struct notice_text *t)
{
	struct notice_text_context context = { .author = address_in(r->arena, r->head.from), .others = {
		address_in(r->arena, r->head.from), address_in(r->arena, r->head.to),
		address_in(r->arena, r->out->original.from), r->out->original.return_path,
	} };

	notice_text_recipients(r->arena, t, &context, r->out);
}

/* What the original was sent to: the last resort. */
static void recipients_of_original(struct notice_reader *r)
{
	struct notice_recipient n = { .address = address_in(r->arena, r->out->original.to) };

	if (r->out->recipient_count == 0 && slice_find(r->out->original.to, ',') < 0)
		notice_recipient_add(r->arena, r->out, &n);
}

static void actions_fill(struct notice_reader *r, const char *action)
{
	for (struct notice_recipient *n = r->out->recipients; n; n = n->next)
		if (n->action.n == 0)
			n->action = slice_of(action);
}

#define OUTCOMES (SAYS_FAILED | SAYS_DELAYED | SAYS_DELIVERED)
#define AT_ONCE 160u	/* octets: a notice says what it is about in its first sentence */

/* What speaks for a bounce in free form, and against it. */
struct weight {
	bool mailer;		/* a mail system wrote it, by its address or the null reverse-path */
	bool subject, text, fault, named;
	int points;
};

static struct weight weigh(const struct notice_reader *r, const struct notice_text *t)
{
	const struct notice_head *h = &r->head;
	bool mailer = h->null_sender || h->daemon, returned = r->out->original.form != NOTICE_FORM_NONE;
	bool prefix = h->reply_prefix || h->forward_prefix;
	struct weight w = { .fault = (t->says.bits | h->subject_says.bits) & SAYS_FAULT };

	w.subject = h->subject_says.bits & (mailer ? OUTCOMES | SAYS_FAULT : OUTCOMES) && !h->forward_prefix;
	w.mailer = mailer;
	w.named = mailer && t->named;
	w.text = t->says.bits & OUTCOMES;
	/* A sentence late in a text that nothing announced may be anybody's. */
	if (w.text && !w.subject && t->says.at > AT_ONCE && !returned)
		w.text = false;
	w.points += mailer ? 2 : 0;
	w.points += w.subject ? prefix ? 1 : 2 : 0;
	w.points += w.text ? 2 : 0;
	w.points += w.fault ? 1 : 0;
	w.points += h->auto_submitted >= AUTO_GENERATED ? 1 : 0;
	w.points += h->failed_recipients.n > 0 ? 3 : 0;
	w.points += r->report ? 2 : 0;
	w.points += (returned || r->enclosed) && is_machine(h) ? 1 : 0;
	w.points += w.named && !w.text ? 2 : 0;
	w.points -= h->list ? h->daemon ? 1 : 3 : 0;	/* owners of lists get the bounces of their members */
	w.points -= prefix ? 1 : 0;
	return w;
}

static enum notice_kind kind_of_words(const struct notice_head *h, const struct said *says)
{
	if (h->subject_says.bits & SAYS_DELAYED || (says->bits & SAYS_DELAYED && h->failed_recipients.n == 0))
		return NOTICE_DELAY;
	return says->bits & SAYS_DELIVERED && !(says->bits & SAYS_FAILED) ? NOTICE_SUCCESS : NOTICE_BOUNCE;
}

static bool judge_bounce(struct notice_reader *r, struct verdict *v, const struct notice_text *t)
{
	const struct notice_head *h = &r->head;
	struct weight w = weigh(r, t);
	bool fields;

	if (!w.mailer && !r->report && h->failed_recipients.n == 0 && h->auto_submitted != AUTO_REPLIED)
		return false;
	/* From a person, as some lists post with the null reverse-path and all vacation is sent: words alone do not
	 * make it a bounce. */
	if (!h->daemon && h->failed_recipients.n == 0 && !r->report &&
	    !r->enclosed && !w.fault && !w.named && r->out->original.message_id.n == 0)
		return false;
	if (w.points < 4 || (h->subject_says.bits & SAYS_NOTICE && !w.subject))
		return false;
	fields = fields_in_text(r, t);
	if (!w.subject && !w.text && !w.fault && !w.named && h->failed_recipients.n == 0 && !r->report && !fields)
		return false;
	failed_header(r);
	if (!fields)
		recipients_in_text(r, t);
	recipients_of_original(r);
	v->kind = kind_of_words(h, &t->says);
	actions_fill(r, v->kind == NOTICE_DELAY ? "delayed" : v->kind == NOTICE_SUCCESS ? "delivered" : "failed");
	why_machine(v, h);
	if (w.subject)
		why_quoted(v, "subject", h->subject);
	if (w.text)
		why_quoted(v, "text", t->says.first);
	else if (w.fault && !w.subject)
		why(v, "the text names a fault of delivery");
	else if (w.named && !w.subject)
		why(v, "the text has the form of a bounce");
	if (h->failed_recipients.n > 0)
		why(v, "X-Failed-Recipients");
	why_recipients(r, v, fields ? "delivery-status in the text" : "text");
	return true;
}

/* ---- answers that are no bounces ---- */

static enum notice_kind kind_of_answer(struct notice_reader *r, const struct notice_text *t)
{
	const struct notice_head *h = &r->head;
	unsigned subject = h->subject_says.bits, says = subject | t->says.bits;
	bool machine = is_machine(h), enclosed = r->out->original.form == NOTICE_FORM_FULL;
	bool prefix = h->reply_prefix || h->forward_prefix;

	/* What an auto-responder sends to a list comes back through the list. */
	if (h->list && !(h->auto_submitted >= AUTO_GENERATED && subject & SAYS_AUTO_REPLY))
		return NOTICE_MESSAGE;
	if (t->json)
		return says & SAYS_COMPLAINT ? NOTICE_FEEDBACK_REPORT : NOTICE_NOTICE;
	if (says & SAYS_READ && (machine || subject & SAYS_READ))
		return NOTICE_MDN;
	if (says & SAYS_CHALLENGE && machine)
		return NOTICE_CHALLENGE;
	if (says & SAYS_NOTICE && machine)
		return NOTICE_NOTICE;
	if (says & SAYS_VIRUS && machine && !h->responder)
		return NOTICE_VIRUS_NOTICE;
	if (says & SAYS_COMPLAINT && machine)
		return enclosed ? NOTICE_FEEDBACK_REPORT : NOTICE_COMPLAINT;
	if (h->responder || h->auto_submitted == AUTO_REPLIED)
		return NOTICE_AUTO_REPLY;
	if (subject & SAYS_AUTO_REPLY && (machine || h->answers || h->bulk))
		return NOTICE_AUTO_REPLY;
	if (h->auto_submitted == AUTO_GENERATED && (h->answers || h->null_sender))
		return NOTICE_AUTO_REPLY;
	if (subject & SAYS_AUTO_REPLY && t->says.bits & SAYS_AUTO_REPLY && t->says.at < AT_ONCE && !prefix &&
	    h->subject.n < 60)
		return NOTICE_AUTO_REPLY;
	return NOTICE_MESSAGE;
}

static bool judge_answer(struct notice_reader *r, struct verdict *v, const struct notice_text *t)
{
	const struct notice_head *h = &r->head;

	v->kind = kind_of_answer(r, t);
	if (v->kind == NOTICE_MESSAGE)
		return false;
	why_machine(v, h);
	if (h->auto_submitted == AUTO_GENERATED && h->answers)
		why(v, "In-Reply-To");
	if (h->subject_says.first.n > 0)
		why_quoted(v, "subject", h->subject);
	if (t->says.first.n > 0)
		why_quoted(v, "text", t->says.first);
	return true;
}

/* ---- how sure ---- */

/* RFC 7489 section 7.2.1.1, RFC 8460 section 5.3: "Report Domain: ... Submitter: ... Report-ID: ..." */
static bool says_report(const struct notice_head *h)
{
	return slice_search(h->subject, SLICE("report domain:")) >= 0 && !h->reply_prefix && !h->forward_prefix;
}

/* Something else than words says that a program wrote it. People answer and forward such mail, write about it, and some are
 * called postmaster. */
static bool is_shown(struct notice_reader *r)
{
	const struct notice_head *h = &r->head;
	bool prefix = h->reply_prefix || h->forward_prefix, answers = prefix || h->answers;

	if (h->null_sender || h->auto_submitted >= AUTO_GENERATED || h->failed_recipients.n > 0 || r->report || r->status_alone)
		return true;
	if (h->responder && !h->weak_mark)
		return true;
	if (r->tls_report || r->dmarc_report)
		return says_report(h);
	if (h->daemon && !answers)
		return true;
	return h->bulk && !prefix && h->subject_says.bits & SAYS_AUTO_REPLY && notice_words(r)->says.bits & SAYS_AUTO_REPLY;
}

/* ---- all ---- */

void notice_judge(struct notice_reader *r)
{
	struct verdict v = { .kind = NOTICE_MESSAGE, .why = STR_IN(r->arena) };
	struct notice *n = r->out;

	if (judge_report(r, &v)) {
		if (notice_is_bounce(v.kind) && n->recipient_count == 0) {
			failed_header(r);
			recipients_in_text(r, notice_words(r));
			actions_fill(r, v.kind == NOTICE_DELAY ? "delayed" : "failed");
		}
	} else if (!judge_bounce(r, &v, notice_words(r)) && !judge_answer(r, &v, notice_words(r))) {
		n->original = (struct notice_original){ .form = NOTICE_FORM_NONE };
		n->recipients = NULL;
		n->recipient_count = 0;
	}
	n->kind = v.kind;
	n->guess = n->kind != NOTICE_MESSAGE && !is_shown(r);
	n->evidence = str_cstr(&v.why);
	if (n->original.message_id.n == 0 && (notice_is_bounce(n->kind) || r->kept[ROLE_FEEDBACK].seen))
		notice_original_mentioned(r->arena, notice_words(r), &n->original);
}
