/*
 * The reader of notices: it listens to the parser of MIME, keeps the parts that can say something, and at the end weighs
 * what was said.
 *
 * Only parts of the message itself speak for it: what stands within an enclosed message (a bounce that somebody
 * forwards) is about that message. Structure is believed first, then the fields of auto-responders, then
 * sentences, and a sentence only from somebody who looks like a program.
 *
 * Rejected: rules per product (unknown products would be missed, and new releases of known ones); a score trained on samples
 * (nobody can say why it said so).
 */
#include "check/notice_part.h"

#define TEXT_MAX (96u * 1024u)		/* of what is kept of text, of HTML, of a report */
#define OUTSIDE_MAX (16u * 1024u)	/* outside the parts of a multipart */
#define SNIFF_MAX (64u * 1024u)		/* of a part that may be a header section */

/* What a part is kept for. */
enum role {
	ROLE_NONE,
	ROLE_TEXT, ROLE_HTML, ROLE_OUTSIDE,
	ROLE_STATUS, ROLE_DISPOSITION, ROLE_FEEDBACK,
	ROLE_HEADERS,		/* text/rfc822-headers and the like */
	ROLE_SNIFF,		/* an attachment that may be the original after all */
	ROLE_BROKEN,		/* the rest of the original's header section, broken by a line that lost its fold */
	ROLE_MESSAGE,		/* encloses the returned message */
	ROLE_COUNT,
};

struct kept {
	struct str text;
	bool seen, full;
};

struct notice_reader {
	struct arena *arena;
	const struct path *reverse_path;
	const struct notice_watch *watch;
	struct mime *mime;
	struct notice_head head;
	struct kept kept[ROLE_COUNT];
	uint8_t roles[MIME_DEPTH_MAX + 1];	/* of the open entities, by depth */
	bool report;			/* multipart/report */
	bool status_alone;		/* the message is a delivery-status and nothing else */
	struct slice report_type;
	struct slice charset;		/* of the text part at hand */
	bool interesting;		/* its text is worth reading */
	bool header_broken;		/* it ended in a line that is no field */
	bool tls_report, dmarc_report;	/* an attachment of the kind */
	struct slice original;		/* the header section of the first enclosed message */
	bool original_cut, original_body;
	bool enclosed;			/* some message is enclosed, be it empty */
	uint32_t broken;		/* number of the enclosed message if its header section is; 0: it is not */
	uint32_t watched;		/* number of the part whose message is watched; 0: none yet */
	bool watching_body;
	struct notice *out;
};

const char *notice_kind_name(enum notice_kind k)
{
	static const char *const names[] = {
#define X(id, name) name,
		NOTICE_KINDS(X)
#undef X
	};

	return names[k];
}

bool notice_is_bounce(enum notice_kind k)
{
	return k == NOTICE_DSN || k == NOTICE_BOUNCE || k == NOTICE_DELAY || k == NOTICE_SUCCESS;
}

const char *notice_form_name(enum notice_form f)
{
	static const char *const names[] = { "none", "full", "headers", "text" };

	return names[f];
}

/* ---- parts ---- */

static bool is_type(const struct mime_part *p, const char *type, const char *subtype)
{
	return strcmp(p->type, type) == 0 && strcmp(p->subtype, subtype) == 0;
}

static enum role role_of(const struct mime_part *p)
{
	static const struct {
		const char *type, *subtype;
		enum role role;
	} roles[] = {
		{ "message", "delivery-status", ROLE_STATUS },
		{ "message", "global-delivery-status", ROLE_STATUS },
		{ "message", "disposition-notification", ROLE_DISPOSITION },
		{ "message", "global-disposition-notification", ROLE_DISPOSITION },
		{ "message", "feedback-report", ROLE_FEEDBACK },
		{ "text", "rfc822-headers", ROLE_HEADERS },
		{ "text", "rfc822-header", ROLE_HEADERS },
		{ "message", "rfc822-headers", ROLE_HEADERS },
		{ "message", "global-headers", ROLE_HEADERS },
		{ "text", "html", ROLE_HTML },
		{ "message", "delivery-notification", ROLE_STATUS },
	};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (is_type(p, roles[i].type, roles[i].subtype))
			return roles[i].role;
	if (strcmp(p->type, "text") == 0 && strcmp(p->subtype, "calendar") != 0)
		return ROLE_TEXT;
	if (strcmp(p->type, "application") == 0 || strcmp(p->type, "message") == 0)
		return ROLE_SNIFF;
	return ROLE_NONE;
}

/* Reports that travel as attachments: RFC 7489 section 7.2.1.1 (receiver "!" domain "!" begin "!" end ".xml"), RFC
 * 8460 section 5.3. */
static void report_look(struct notice_reader *r, const struct mime_part *p)
{
	struct slice name;
	unsigned marks = 0;

	if (strncmp(p->subtype, "tlsrpt", 6) == 0)
		r->tls_report = true;
	if (strcmp(p->type, "application") != 0 && strcmp(p->type, "text") != 0)
		return;
	name = mime_file_name(r->arena, p);
	for (size_t i = 0; i < name.n; i++)
		marks += name.p[i] == '!';
	if (marks < 3)
		return;
	if (slice_search_nocase(name, SLICE(".json")) >= 0)
		r->tls_report = true;
	else if (slice_search_nocase(name, SLICE(".xml")) >= 0 || slice_ends_nocase(name, SLICE(".zip")) ||
	    slice_ends_nocase(name, SLICE(".gz")))
		r->dmarc_report = true;
}

static void charset_note(struct notice_reader *r, const struct mime_part *p)
{
	const struct field *f = mime_field(p, SLICE("Content-Type"), 0);

	r->charset = SLICE_NULL;
	if (f && strcmp(p->type, "text") == 0)
		mime_parameter(r->arena, f->value, SLICE("charset"), &r->charset);
}

static void top_begin(struct notice_reader *r, const struct mime_part *p)
{
	const struct field *f = mime_field(p, SLICE("Content-Type"), 0);
	struct slice v;

	r->report = is_type(p, "multipart", "report");
	r->status_alone = role_of(p) == ROLE_STATUS;
	if (r->report && f && mime_parameter(r->arena, f->value, SLICE("report-type"), &v))
		r->report_type = slice_lower(r->arena, slice_head(v, 60));
}

/* The first message that is enclosed in ours. */
static void original_begin(struct notice_reader *r, const struct mime_part *p)
{
	if (r->original.p || p->messages != 1 || !p->is_message)
		return;
	r->original = slice_copy(r->arena, slice_head(p->header, NOTICE_ORIGINAL_MAX));
	r->original_cut = p->header_cut;
	r->broken = p->header_broken && r->interesting ? p->number : 0;
	if (r->watch && r->watched == p->parent) {
		if (r->watch->header)
			r->watch->header(r->watch->arg, r->original);
		r->watching_body = true;
	}
}

static enum mime_want want_of(struct notice_reader *r, const struct mime_part *p, enum role role)
{
	if (role == ROLE_MESSAGE) {
		if (!r->watch || r->watched)
			return MIME_SKIP;
		r->watched = p->number;
		return MIME_DECODED;
	}
	if (!r->interesting && (role == ROLE_HTML || role == ROLE_OUTSIDE || role == ROLE_SNIFF))
		return MIME_SKIP;
	return role == ROLE_NONE || r->kept[role].full ? MIME_SKIP : MIME_DECODED;
}

/* Without any of this no text makes a notice of it, so that ordinary mail costs the walk over its boundaries. */
static bool is_interesting(const struct notice_reader *r)
{
	const struct notice_head *h = &r->head;

	return h->null_sender || h->daemon || h->responder || h->auto_submitted >= AUTO_GENERATED ||
		h->failed_recipients.n > 0 || h->subject_says.bits || r->report;
}

static enum mime_want on_begin(void *arg, struct mime_part *p)
{
	struct notice_reader *r = arg;
	enum role role = ROLE_NONE;

	if (p->number == 1) {
		top_begin(r, p);
		r->interesting = is_interesting(r);
	}
	r->enclosed |= p->shape == MIME_MESSAGE;
	original_begin(r, p);
	if (p->messages == 0) {
		if (p->shape == MIME_MULTIPART)
			role = p->number == 1 ? ROLE_OUTSIDE : ROLE_NONE;
		else if (p->shape == MIME_MESSAGE)
			role = ROLE_MESSAGE;
		else
			role = role_of(p);
		report_look(r, p);
		charset_note(r, p);
		if (role != ROLE_NONE && role != ROLE_MESSAGE && r->kept[role].seen && !r->kept[role].full)
			str_puts(&r->kept[role].text, role == ROLE_TEXT || role == ROLE_HTML ? "\n\n" : "");
		/* One report of a kind, and one header section. */
		if (role == ROLE_SNIFF || role == ROLE_HEADERS || role == ROLE_STATUS)
			role = r->kept[role].seen && r->kept[role].text.n > 0 && role != ROLE_SNIFF ? ROLE_NONE : role;
		r->kept[role].seen = true;
	}
	if (r->broken && r->broken == p->number)
		role = ROLE_BROKEN;
	r->roles[p->depth] = (uint8_t)role;
	return want_of(r, p, role);
}

static size_t room_of(enum role role)
{
	return role == ROLE_OUTSIDE ? OUTSIDE_MAX : role == ROLE_SNIFF ? SNIFF_MAX : TEXT_MAX;
}

static void on_body(void *arg, struct mime_part *p, struct slice piece)
{
	struct notice_reader *r = arg;
	enum role role = r->roles[p->depth];
	struct kept *k = &r->kept[role];

	if (role == ROLE_MESSAGE) {
		if (r->watching_body && r->watched == p->number && r->watch->body)
			r->watch->body(r->watch->arg, piece);
		return;
	}
	if (k->full)
		return;
	/* Of other mail only JSON is looked at. */
	if (role == ROLE_TEXT && !r->interesting && k->text.n == 0 && piece.p[0] != '{') {
		k->full = true;
		return;
	}
	if (!k->text.arena)
		k->text = STR_IN(r->arena);
	if (role == ROLE_TEXT || role == ROLE_HTML)
		piece = mime_charset(r->arena, r->charset, piece);
	if (k->text.n + piece.n >= room_of(role)) {
		piece = slice_head(piece, room_of(role) - k->text.n);
		k->full = true;
	}
	str_add(&k->text, piece);
	/* A header section begins with a field, or it is none. */
	if (role == ROLE_SNIFF && k->text.n >= 60 && notice_known_field(slice_trim(str_slice(&k->text))) == 0) {
		k->text.n = 0;
		k->full = true;
	}
}

static void on_end(void *arg, struct mime_part *p)
{
	struct notice_reader *r = arg;
	enum role role = r->roles[p->depth];

	if (p->is_message && p->messages == 1)
		r->original_body |= !p->no_body;
	if (role == ROLE_SNIFF) {	/* the next attachment gets its chance */
		struct kept *k = &r->kept[role];
		if (k->text.n == 0 || notice_known_field(slice_trim(str_slice(&k->text))) == 0) {
			k->text.n = 0;
			k->full = false;
		} else {
			k->full = true;
		}
	}
	if (role == ROLE_MESSAGE && r->watched == p->number) {
		if (r->watching_body && r->watch->end)
			r->watch->end(r->watch->arg, !p->cut);
		r->watching_body = false;
	}
}

/* ---- feeding ---- */

struct notice_reader *notice_begin(struct arena *a, const struct path *reverse_path, const struct notice_watch *watch)
{
	static const struct mime_events events = { on_begin, on_body, on_end };
	struct notice_reader *r = arena_new(a, struct notice_reader);

	r->arena = a;
	r->reverse_path = reverse_path;
	r->watch = watch;
	r->mime = mime_begin(a, &events, r);
	r->out = arena_new(a, struct notice);
	for (size_t i = 0; i < ROLE_COUNT; i++)
		r->kept[i].text = STR_IN(a);
	return r;
}

void notice_header(struct notice_reader *r, const struct header *h)
{
	notice_head_read(r->arena, h, r->reverse_path, &r->head);
	r->header_broken = h->malformed;
	mime_header(r->mime, h);
}

void notice_body(struct notice_reader *r, struct slice piece)
{
	mime_push(r->mime, piece);
}

/* ---- what it comes to ---- */

struct verdict {
	enum notice_kind kind;
	struct str why;
};

static void why(struct verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void why(struct verdict *v, const char *format, ...)
{
	va_list args;

	if (v->why.n > 0)
		str_puts(&v->why, "; ");
	va_start(args, format);
	str_vprintf(&v->why, format, args);
	va_end(args);
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
		why(v, "%s", h->mark);
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
static enum notice_kind kind_of_actions(const struct dsn *d, const struct said *says)
{
	bool failed = false, delayed = false, delivered = false;

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
	return (says->bits & SAYS_DELAYED) && !(says->bits & SAYS_FAILED) ? NOTICE_DELAY : NOTICE_DSN;
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

static bool judge_report(struct notice_reader *r, struct verdict *v, const struct notice_text *t)
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
	if (t->says.bits & SAYS_CHALLENGE && !(t->says.bits & SAYS_FAILED)) {
		v->kind = NOTICE_CHALLENGE;
		why_quoted(v, "text", t->says.first);
		return true;
	}
	dsn_read(r->arena, status, &d);
	if (d.fields == 0 && status.n > 0 && !r->report)
		return false;
	recipients_of_dsn(r, &d);
	v->kind = kind_of_actions(&d, &t->says);
	why_machine(v, &r->head);
	why(v, "%s", r->report ? "multipart/report" : "message/delivery-status");
	why_recipients(r, v, "delivery-status");
	return true;
}

/* ---- free form ---- */

/* Fields of a delivery-status that stand in the text: damaged MIME, or a gateway that flattened it. */
static bool fields_in_text(struct notice_reader *r, const struct notice_text *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct slice line = slice_trim(t->lines[i]);
		struct dsn d;
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
	    h->subject.n < 60) {
		r->out->guess = true;
		return NOTICE_AUTO_REPLY;
	}
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

/* ---- the end ---- */

/* A header section whose lines need not be in order. */
static struct slice header_lenient(struct notice_reader *r, struct slice text)
{
	struct notice_text lines = { .count = 0 };

	notice_text_read(r->arena, text, &lines);
	lines.header_line = 0;
	while (lines.header_line < lines.count && slice_trim(lines.lines[lines.header_line]).n == 0)
		lines.header_line++;
	return notice_original_quoted(r->arena, &lines);
}

static void original_settle(struct notice_reader *r, const struct notice_text *t)
{
	struct notice_original *o = &r->out->original;
	struct slice headers = str_slice(&r->kept[ROLE_HEADERS].text), sniffed = str_slice(&r->kept[ROLE_SNIFF].text);

	if (r->broken && r->kept[ROLE_BROKEN].text.n > 0) {
		struct str all = STR_IN(r->arena);
		str_add(&all, r->original);
		str_add(&all, str_slice(&r->kept[ROLE_BROKEN].text));
		r->original = header_lenient(r, str_slice(&all));
	}
	if (r->original.n > 0) {
		notice_original_read(r->arena, r->original, o);
		o->form = r->original_body ? NOTICE_FORM_FULL : NOTICE_FORM_HEADERS;
		o->header_truncated = r->original_cut;
		return;
	}
	if (headers.n == 0 && sniffed.n > 0)
		headers = sniffed;
	if (headers.n > 0) {
		notice_original_read(r->arena, header_lenient(r, headers), o);
		o->form = headers.p == sniffed.p ? NOTICE_FORM_FULL : NOTICE_FORM_HEADERS;
		return;
	}
	if (t->header_line < t->count) {
		notice_original_read(r->arena, notice_original_quoted(r->arena, t), o);
		o->form = NOTICE_FORM_TEXT;
	}
}

/* The words of the notice: plain text, else HTML, else what stands outside the parts. */
static void text_settle(struct notice_reader *r, struct notice_text *t)
{
	struct slice text = str_slice(&r->kept[ROLE_TEXT].text);

	if (slice_trim(text).n < 20 && r->kept[ROLE_HTML].text.n > 0)
		text = notice_text_of_html(r->arena, str_slice(&r->kept[ROLE_HTML].text));
	if (slice_trim(text).n < 20 && r->kept[ROLE_OUTSIDE].text.n > 0)
		text = str_slice(&r->kept[ROLE_OUTSIDE].text);
	if (r->header_broken)
		text = notice_text_behind_fields(r->arena, text);
	notice_text_read(r->arena, text, t);
}

static bool is_worth_judging(const struct notice_reader *r)
{
	return r->interesting || r->kept[ROLE_STATUS].seen || r->kept[ROLE_DISPOSITION].seen ||
		r->kept[ROLE_FEEDBACK].seen || r->tls_report || r->dmarc_report || r->kept[ROLE_TEXT].text.n > 0;
}

const struct notice *notice_finish(struct notice_reader *r)
{
	struct verdict v = { .kind = NOTICE_MESSAGE, .why = STR_IN(r->arena) };
	struct notice *n = r->out;
	struct notice_text t;

	mime_finish(r->mime);
	n->evidence = "";
	n->in_reply_to = r->head.in_reply_to;
	n->references = r->head.references;
	n->null_sender = r->head.null_sender;
	n->automatic = r->head.auto_submitted >= AUTO_GENERATED;
	if (!is_worth_judging(r))
		return n;
	text_settle(r, &t);
	original_settle(r, &t);
	if (judge_report(r, &v, &t)) {
		if (notice_is_bounce(v.kind) && n->recipient_count == 0) {
			failed_header(r);
			recipients_in_text(r, &t);
			actions_fill(r, v.kind == NOTICE_DELAY ? "delayed" : "failed");
		}
		if (n->original.message_id.n == 0)
			notice_original_mentioned(r->arena, &t, &n->original);
	} else if (judge_bounce(r, &v, &t)) {
		if (n->original.message_id.n == 0)
			notice_original_mentioned(r->arena, &t, &n->original);
	} else if (!judge_answer(r, &v, &t)) {
		n->original = (struct notice_original){ .form = NOTICE_FORM_NONE };
		n->recipients = NULL;
		n->recipient_count = 0;
	}
	n->kind = v.kind;
	n->evidence = str_cstr(&v.why);
	return n;
}
