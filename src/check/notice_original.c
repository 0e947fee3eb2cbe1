/*
 * The returned message: from its header section, wherever that stands.
 *
 * A header section that is attached is read as it is. One that is quoted in the text is found by its own looks: lines that begin
 * with the names of fields that messages have. Gateways wrap such lines, so a line that is neither field nor fold is
 * taken for a fold that has lost its white space, as long as fields follow soon.
 */
#include "check/notice_part.h"

#include "wire/field_name.h"

#define KNOWN_NAME_MAX 60u	/* octets in which the colon has to stand */
#define ODD_LINES_MAX 12u	/* between fields of a quoted header section */
#define QUOTED_LINES_MAX 400u

/* Fields that tell a header section from prose. */
static bool is_telling(enum field_id id)
{
	switch (id) {
	case FIELD_RECEIVED: case FIELD_RETURN_PATH: case FIELD_FROM: case FIELD_TO: case FIELD_CC: case FIELD_SUBJECT:
	case FIELD_DATE: case FIELD_MESSAGE_ID: case FIELD_MIME_VERSION: case FIELD_CONTENT_TYPE:
	case FIELD_CONTENT_TRANSFER_ENCODING: case FIELD_X_MAILER: case FIELD_REPLY_TO: case FIELD_SENDER:
	case FIELD_REFERENCES: case FIELD_IN_REPLY_TO: case FIELD_DKIM_SIGNATURE: case FIELD_DOMAINKEY_SIGNATURE:
	case FIELD_USER_AGENT: case FIELD_DELIVERED_TO: case FIELD_X_ORIGINATING_IP: case FIELD_AUTHENTICATION_RESULTS:
	case FIELD_RECEIVED_SPF: case FIELD_ERRORS_TO: case FIELD_IMPORTANCE: case FIELD_X_PRIORITY: case FIELD_LIST_ID:
	case FIELD_PRECEDENCE: case FIELD_THREAD_TOPIC: case FIELD_THREAD_INDEX: case FIELD_X_RECEIVED: case FIELD_ARC_SEAL:
	case FIELD_ENVELOPE_TO: case FIELD_DELIVERY_DATE: case FIELD_APPARENTLY_TO: case FIELD_X_SENDER:
	case FIELD_X_ENVELOPE_FROM: case FIELD_SPURN_SENT:
		return true;
	default:
		return false;
	}
}

size_t notice_known_field(struct slice line)
{
	size_t n = field_name_length(slice_head(line, KNOWN_NAME_MAX)), colon = n;

	while (colon < line.n && colon < KNOWN_NAME_MAX && (line.p[colon] == ' ' || line.p[colon] == '\t'))
		colon++;
	if (colon < 2 || colon == line.n || colon == KNOWN_NAME_MAX || line.p[colon] != ':')
		return 0;
	return is_telling(field_id(slice_head(line, n))) ? n : 0;
}

/* ---- facts ---- */

static struct slice value_of(struct arena *a, const struct field *f)
{
	return f && f->raw.p ? slice_head(field_unfolded(a, f), 2000) : SLICE_NULL;
}

static void return_path_read(struct slice v, struct notice_original *out)
{
	ptrdiff_t open = slice_find(v, '<'), close;

	if (open >= 0) {
		v = slice_from(v, (size_t)open + 1);
		close = slice_find(v, '>');
		if (close < 0)
			return;
		v = slice_head(v, (size_t)close);
		out->null_return_path = v.n == 0;
	}
	out->return_path = slice_trim(v);
}

/* The field as it stands in a copy of its header section. */
static void fact_keep(struct field *out, const struct field *f, struct slice section, struct slice copy)
{
	if (f)
		*out = (struct field){ .raw = slice_make(copy.p + (f->raw.p - section.p), f->raw.n),
			.value = slice_make(copy.p + (f->value.p - section.p), f->value.n) };
}

void notice_facts_keep(struct notice_facts *out, const struct field *fields, uint32_t count, struct slice section,
	struct slice copy)
{
	struct field_set set;

	field_set_read(&set, fields, count);
	*out = (struct notice_facts){ .known = true };
	fact_keep(&out->message_id, set.first[FIELD_MESSAGE_ID], section, copy);
	fact_keep(&out->from, set.first[FIELD_FROM], section, copy);
	fact_keep(&out->to, set.first[FIELD_TO], section, copy);
	fact_keep(&out->subject, set.first[FIELD_SUBJECT], section, copy);
	fact_keep(&out->return_path, set.first[FIELD_RETURN_PATH], section, copy);
}

void notice_original_know(struct arena *a, const struct notice_facts *facts, struct slice header, struct notice_original *out)
{
	out->header = header;
	out->message_id = facts->message_id.raw.p ? field_message_id(a, &facts->message_id) : SLICE_NULL;
	if (out->message_id.n == 0) {
		/* Without brackets it is still what the message was known by. */
		struct slice id = value_of(a, &facts->message_id), word = slice_word(&id);
		if (slice_find(word, '@') > 0)
			out->message_id = word;
	}
	out->from = value_of(a, &facts->from);
	out->to = value_of(a, &facts->to);
	out->subject = value_of(a, &facts->subject);
	return_path_read(value_of(a, &facts->return_path), out);
}

void notice_original_read(struct arena *a, struct slice header, struct notice_original *out)
{
	struct notice_facts facts;
	struct header h;

	header_init(&h, a, NOTICE_ORIGINAL_MAX + 2, 2000);
	header_push(&h, header);
	header_finish(&h);
	notice_facts_keep(&facts, h.fields, h.count, str_slice(&h.bytes), str_slice(&h.bytes));
	notice_original_know(a, &facts, header, out);
}

/* ---- quoted in the text ---- */

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 section 3.6.8, with a name as they are used: letters, digits, hyphens. */
static bool is_field(struct slice line)
{
	ptrdiff_t colon = slice_find(slice_head(line, 80), ':');

	if (colon < 2)
		return false;
	for (ptrdiff_t i = 0; i < colon; i++)
		if (!ascii_alpha(line.p[i]) && !ascii_digit(line.p[i]) && line.p[i] != '-' && line.p[i] != '_')
			return false;
	return true;
}

/* Lines up to a blank one. */
struct slice notice_original_quoted(struct arena *a, const struct notice_text *t)
{
	struct str out = STR_IN(a);
	unsigned odd = 0;

	for (uint32_t i = t->header_line; i < t->count && i - t->header_line < QUOTED_LINES_MAX; i++) {
		struct slice line = t->lines[i];
		while (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (slice_trim(line).n == 0)
			break;
		odd = is_field(line) || (is_wsp(line.p[0]) && out.n > 0) ? 0 : odd + 1;
		if (odd > ODD_LINES_MAX || out.n + line.n + 3 > NOTICE_ORIGINAL_MAX)
			break;
		if (odd > 0 && out.n == 0)
			continue;
		if (odd > 0)
			str_addc(&out, ' ');
		str_add(&out, line);
		str_puts(&out, "\r\n");
	}
	return str_slice(&out);
}

/* The value of "  Name:  value" anywhere in the text, quote marks and indentation before it; the first one that is not
 * empty. */
static struct slice mentioned(const struct notice_text *t, struct slice name)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct slice line = slice_trim(t->lines[i]);
		while (line.n > 0 && (line.p[0] == '>' || line.p[0] == '|' || line.p[0] == ' ' || line.p[0] == '*'))
			line = slice_from(line, 1);
		if (!slice_starts_nocase(line, name))
			continue;
		line = slice_trim(slice_from(line, name.n));
		if (line.n > 1 && line.p[0] == ':')
			return slice_trim(slice_from(line, 1));
	}
	return SLICE_NULL;
}

/* "<...@...>" in a value. */
static struct slice bracketed_id(struct slice s)
{
	ptrdiff_t open = slice_find(s, '<'), close;

	if (open < 0)
		return SLICE_NULL;
	s = slice_from(s, (size_t)open);
	close = slice_find(s, '>');
	return close > 2 ? slice_head(s, (size_t)close + 1) : SLICE_NULL;
}

void notice_original_mentioned(struct arena *a, const struct notice_text *t, struct notice_original *out)
{
	static const char *const names[] = { "message-id", "message id", "messageid", "original message-id",
		"original-message-id", NULL };

	for (size_t i = 0; names[i] && out->message_id.n == 0; i++)
		out->message_id = bracketed_id(mentioned(t, slice_of(names[i])));
	if (out->subject.n == 0)
		out->subject = mentioned(t, SLICE("subject"));
	if (out->to.n == 0)
		out->to = mentioned(t, SLICE("to"));
	if (out->from.n == 0)
		out->from = mentioned(t, SLICE("from"));
	if (out->form == NOTICE_FORM_NONE && (out->message_id.n > 0 || out->subject.n > 0))
		out->form = NOTICE_FORM_TEXT;
}
