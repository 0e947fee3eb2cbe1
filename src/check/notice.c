/*
 * The reader of notices: it listens to the parser of MIME and keeps the parts that can say something, for the judgement
 * at the end.
 *
 * Only parts of the message itself speak for it: what stands within an enclosed message (a bounce that somebody
 * forwards) is about that message. Structure is believed first, then the fields of auto-responders, then
 * sentences, and a sentence only from somebody who looks like a program.
 *
 * Rejected: rules per product (unknown products would be missed, and new releases of known ones); a score trained on samples
 * (nobody can say why it said so).
 */
#include "check/notice_part.h"

#include "wire/charset.h"

#define TEXT_MAX (96u * 1024u)		/* of what is kept of text, of HTML, of a report */
#define OUTSIDE_MAX (16u * 1024u)	/* outside the parts of a multipart */
#define SNIFF_MAX (64u * 1024u)		/* of a part that may be a header section */

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

static enum role role_of_message(const char *subtype)
{
	static const struct {
		const char *subtype;
		enum role role;
	} roles[] = {
		{ "delivery-status", ROLE_STATUS },
		{ "global-delivery-status", ROLE_STATUS },
		{ "delivery-notification", ROLE_STATUS },
		{ "disposition-notification", ROLE_DISPOSITION },
		{ "global-disposition-notification", ROLE_DISPOSITION },
		{ "feedback-report", ROLE_FEEDBACK },
		{ "rfc822-headers", ROLE_HEADERS },
		{ "global-headers", ROLE_HEADERS },
	};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(subtype, roles[i].subtype) == 0)
			return roles[i].role;
	return ROLE_SNIFF;
}

static enum role role_of(const struct mime_part *p)
{
	if (strcmp(p->type, "message") == 0)
		return role_of_message(p->subtype);
	if (strcmp(p->type, "text") != 0)
		return strcmp(p->type, "application") == 0 ? ROLE_SNIFF : ROLE_NONE;
	if (strcmp(p->subtype, "html") == 0)
		return ROLE_HTML;
	if (strcmp(p->subtype, "rfc822-headers") == 0 || strcmp(p->subtype, "rfc822-header") == 0)
		return ROLE_HEADERS;
	return strcmp(p->subtype, "calendar") == 0 ? ROLE_NONE : ROLE_TEXT;
}

/* Reports that travel as attachments: RFC 7489 section 7.2.1.1 (receiver "!" domain "!" begin "!" end ".xml"), RFC
 * 8460 section 5.3. */
static void report_look(struct notice_reader *r, const struct mime_part *p)
{
	struct arena scratch = ARENA_INIT;
	struct slice name;
	unsigned marks = 0;

	if (strncmp(p->subtype, "tlsrpt", 6) == 0)
		r->tls_report = true;
	if (strcmp(p->type, "application") != 0 && strcmp(p->type, "text") != 0)
		return;
	name = mime_file_name(&scratch, p);
	for (size_t i = 0; i < name.n; i++)
		marks += name.p[i] == '!';
	if (marks >= 3 && slice_search_nocase(name, SLICE(".json")) >= 0)
		r->tls_report = true;
	else if (marks >= 3 && (slice_search_nocase(name, SLICE(".xml")) >= 0 || slice_ends_nocase(name, SLICE(".zip")) ||
	    slice_ends_nocase(name, SLICE(".gz"))))
		r->dmarc_report = true;
	arena_drop(&scratch);
}

static void charset_note(struct notice_reader *r, const struct mime_part *p)
{
	const struct field *f = p->content_type;
	struct arena scratch = ARENA_INIT;
	struct slice v = SLICE_NULL;

	if (f && strcmp(p->type, "text") == 0)
		mime_parameter(&scratch, f->value, SLICE("charset"), &v);
	v = slice_head(v, sizeof(r->charset_text));
	memcpy(r->charset_text, v.p ? v.p : "", v.n);
	r->charset = slice_make(r->charset_text, v.n);
	r->charset_known = v.n > 0 && charset_is_known(r->charset);
	arena_drop(&scratch);
}

static void top_begin(struct notice_reader *r, const struct mime_part *p)
{
	const struct field *f = p->content_type;
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
	if (p->header_plain && r->original.n == p->header.n)
		notice_facts_keep(&r->facts, p->fields, p->field_count, p->header, r->original);
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
		r->kept[role].part = r->kept[role].text.n;
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
	if (k->full) {
		p->enough = true;
		return;
	}
	/* Of other mail only JSON is looked at. */
	if (role == ROLE_TEXT && !r->interesting && k->text.n == 0 && piece.p[0] != '{') {
		k->full = true;
		p->enough = true;
		return;
	}
	if (!k->text.arena)
		k->text = STR_IN(r->arena);
	if ((role == ROLE_TEXT || role == ROLE_HTML) && !r->charset_known && r->charset.n > 0)
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

/* A text of a set that is converted as a whole has ended. */
static void convert_text(struct notice_reader *r, struct kept *k)
{
	struct arena scratch = ARENA_INIT;
	struct slice text = slice_from(str_slice(&k->text), k->part), converted;

	if (charset_convert(&scratch, r->charset, text, &converted)) {
		k->text.n = k->part;
		str_add(&k->text, slice_head(converted, TEXT_MAX - k->part));
	}
	arena_drop(&scratch);
}

static void on_end(void *arg, struct mime_part *p)
{
	struct notice_reader *r = arg;
	enum role role = r->roles[p->depth];

	if (p->is_message && p->messages == 1)
		r->original_body |= !p->no_body;
	if ((role == ROLE_TEXT || role == ROLE_HTML) && r->charset_known && r->kept[role].text.n > r->kept[role].part)
		convert_text(r, &r->kept[role]);
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

/* ---- the end ---- */

/* A header section whose lines need not be in order. */
static struct slice header_lenient(struct notice_reader *r, struct slice text)
{
	struct notice_text lines = { .count = 0 };

	notice_text_lines(r->arena, text, &lines);
	lines.header_line = 0;
	while (lines.header_line < lines.count && slice_trim(lines.lines[lines.header_line]).n == 0)
		lines.header_line++;
	return notice_original_quoted(r->arena, &lines);
}

static void original_settle(struct notice_reader *r)
{
	const struct notice_text *t;
	struct notice_original *o = &r->out->original;
	struct slice headers = str_slice(&r->kept[ROLE_HEADERS].text), sniffed = str_slice(&r->kept[ROLE_SNIFF].text);

	if (r->broken && r->kept[ROLE_BROKEN].text.n > 0) {
		struct str all = STR_IN(r->arena);
		str_add(&all, r->original);
		str_add(&all, str_slice(&r->kept[ROLE_BROKEN].text));
		r->original = header_lenient(r, str_slice(&all));
		r->facts.known = false;
	}
	if (r->original.n > 0) {
		if (r->facts.known)
			notice_original_know(r->arena, &r->facts, r->original, o);
		else
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
	t = notice_words(r);
	if (t->header_line < t->count) {
		notice_original_read(r->arena, notice_original_quoted(r->arena, t), o);
		o->form = NOTICE_FORM_TEXT;
	}
}

/* The words of the notice: plain text, else HTML, else what stands outside the parts. */
static void words_settle(struct notice_reader *r)
{
	struct slice text = str_slice(&r->kept[ROLE_TEXT].text);

	if (slice_trim(text).n < 20 && r->kept[ROLE_HTML].text.n > 0)
		text = notice_text_of_html(r->arena, str_slice(&r->kept[ROLE_HTML].text));
	if (slice_trim(text).n < 20 && r->kept[ROLE_OUTSIDE].text.n > 0)
		text = str_slice(&r->kept[ROLE_OUTSIDE].text);
	if (r->header_broken)
		text = notice_text_behind_fields(r->arena, text);
	r->words = text;
}

const struct notice_text *notice_words(struct notice_reader *r)
{
	if (!r->text_read)
		notice_text_read(r->arena, r->words, &r->text);
	r->text_read = true;
	return &r->text;
}

static bool is_worth_judging(const struct notice_reader *r)
{
	return r->interesting || r->kept[ROLE_STATUS].seen || r->kept[ROLE_DISPOSITION].seen ||
		r->kept[ROLE_FEEDBACK].seen || r->tls_report || r->dmarc_report || r->kept[ROLE_TEXT].text.n > 0;
}

const struct notice *notice_finish(struct notice_reader *r)
{
	struct notice *n = r->out;

	mime_finish(r->mime);
	n->evidence = "";
	n->in_reply_to = r->head.in_reply_to;
	n->references = r->head.references;
	n->null_sender = r->head.null_sender;
	n->automatic = r->head.auto_submitted >= AUTO_GENERATED;
	if (is_worth_judging(r)) {
		words_settle(r);
		original_settle(r);
		notice_judge(r);
	}
	return n;
}
