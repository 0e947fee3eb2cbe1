/*
 * The returned message: from its header section, wherever that stands.
 *
 * A header section that is attached is read as it is. One that is quoted in the text is found by its own looks: lines that begin
 * with the names of fields that messages have. Gateways wrap such lines, so a line that is neither field nor fold is
 * taken for a fold that has lost its white space, as long as fields follow soon.
 */
#include "check/notice_part.h"

#define ODD_LINES_MAX 12u	/* between fields of a quoted header section */
#define QUOTED_LINES_MAX 400u

/* Fields that tell a header section from prose. */
size_t notice_known_field(struct slice line)
{
	static const struct slice names[] = {
		NAME("received"), NAME("return-path"), NAME("from"), NAME("to"), NAME("cc"), NAME("subject"), NAME("date"),
		NAME("message-id"), NAME("mime-version"), NAME("content-type"), NAME("content-transfer-encoding"),
		NAME("x-mailer"), NAME("reply-to"), NAME("sender"), NAME("references"), NAME("in-reply-to"),
		NAME("dkim-signature"), NAME("domainkey-signature"), NAME("user-agent"), NAME("delivered-to"),
		NAME("x-originating-ip"), NAME("authentication-results"), NAME("received-spf"), NAME("errors-to"),
		NAME("importance"), NAME("x-priority"), NAME("list-id"), NAME("precedence"), NAME("thread-topic"),
		NAME("thread-index"), NAME("x-received"), NAME("arc-seal"), NAME("envelope-to"), NAME("delivery-date"),
		NAME("apparently-to"), NAME("x-sender"), NAME("x-envelope-from"), NAME("spurn-sent"),
	};
	ptrdiff_t colon = slice_find(slice_head(line, 60), ':');
	struct slice name;

	if (colon < 2)
		return 0;
	name = slice_head(line, (size_t)colon);
	while (name.n > 0 && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
		name.n--;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name.n == names[i].n && slice_eq_nocase(name, names[i]))
			return name.n;
	return 0;
}

/* ---- facts ---- */

static struct slice value_of(struct arena *a, const struct header *h, struct slice name)
{
	const struct field *f = header_field(h, name, 0);

	return f ? slice_head(field_unfolded(a, f), 2000) : SLICE_NULL;
}

static void return_path_read(struct arena *a, const struct header *h, struct notice_original *out)
{
	struct slice v = value_of(a, h, SLICE("Return-Path"));
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

void notice_original_read(struct arena *a, struct slice header, struct notice_original *out)
{
	struct header h;

	header_init(&h, a, NOTICE_ORIGINAL_MAX + 2, 2000);
	header_push(&h, header);
	header_finish(&h);
	out->header = header;
	out->message_id = header_message_id(a, &h);
	if (out->message_id.n == 0) {
		/* Without brackets it is still what the message was known by. */
		struct slice id = value_of(a, &h, SLICE("Message-ID")), word = slice_word(&id);
		if (slice_find(word, '@') > 0)
			out->message_id = word;
	}
	out->from = value_of(a, &h, SLICE("From"));
	out->to = value_of(a, &h, SLICE("To"));
	out->subject = value_of(a, &h, SLICE("Subject"));
	return_path_read(a, &h, out);
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
