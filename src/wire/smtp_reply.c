/*
 * Replies: ours from the table, those of backends from their lines.
 *
 * Text of ours is composed once in reply_make(); what a peer or a backend gave to it is
 * escaped there, and reply_write() has the last word: whatever a text holds, no octet but printable
 * ASCII and HTAB reaches the wire, so a reply cannot be split by what stands in it (response injection).
 *
 * The parser is strict where it matters for staying in step (digits, separator, the same code on
 * each line) and lenient in what only people read. One deviation: RFC 5321 section 4.2 allows 0 to 5
 * as second digit, but servers say 571 and the like, so any digit is taken.
 *
 * Rejected: printf formats in replies.def (a text is not code), and passing the text of
 * a backend through (it tells strangers about the inside; the journal has it).
 */
#include "wire/smtp_reply.h"

#include "base/log.h"

#define LINE_MAX_OUT 512u	/* RFC 5321 section 4.5.3.1.5, with CRLF */
#define DETAIL_MAX 256u

#define PARSE_LINE 4096u
#define PARSE_LINES 512u
#define PARSE_OCTETS (64u * 1024u)
#define PARSE_TEXT 2048u

static const struct reply_definition definitions[REPLY_COUNT] = {
	[REPLY_NONE] = { "NONE", 0, 0, "", "", "" },
#define REPLY(name, number, code, enhanced, text, operator_text) \
	[REPLY_##name] = { #name, number, code, enhanced, text, operator_text },
#include "wire/replies.def"
#undef REPLY
};

const struct reply_definition *reply_definition(enum reply_name name)
{
	BUG_ON((unsigned)name >= REPLY_COUNT);
	return &definitions[name];
}

/* ---- enhanced codes ---- */

/* subject = 1*3digit, detail = 1*3digit; a leading zero is none of the codes. */
static bool take_number(struct slice *text, uint16_t *out)
{
	struct slice digits = slice_head(*text, 0);
	uint64_t value;

	while (digits.n < text->n && digits.n < 4 && ascii_digit(text->p[digits.n]))
		digits.n++;
	if (!slice_number(digits, 999, &value) || (digits.p[0] == '0' && digits.n > 1))
		return false;
	*out = (uint16_t)value;
	*text = slice_from(*text, digits.n);
	return true;
}

static bool take_char(struct slice *text, char c)
{
	if (text->n == 0 || text->p[0] != c)
		return false;
	*text = slice_from(*text, 1);
	return true;
}

/* RFC 3463 section 2:
 *   status-code = class "." subject "." detail
 *   class = "2" / "4" / "5"
 * It ends at white space or at the end of the text, which is moved behind both (RFC 2034 section 4). */
bool enhanced_code_parse(struct enhanced_code *out, struct slice *text)
{
	struct slice rest = *text;
	struct enhanced_code code = { 0, 0, 0 };

	if (rest.n < 5 || (rest.p[0] != '2' && rest.p[0] != '4' && rest.p[0] != '5'))
		return false;
	code.class = (uint8_t)(rest.p[0] - '0');
	rest = slice_from(rest, 1);
	if (!take_char(&rest, '.') || !take_number(&rest, &code.subject) || !take_char(&rest, '.') ||
	    !take_number(&rest, &code.detail))
		return false;
	if (rest.n > 0 && rest.p[0] != ' ' && rest.p[0] != '\t')
		return false;
	while (rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t'))
		rest = slice_from(rest, 1);
	*out = code;
	*text = rest;
	return true;
}

/* ---- ours ---- */

struct reply reply_make(struct arena *a, enum reply_name name, struct slice detail,
	const char *ref, const char *url)
{
	const struct reply_definition *def = reply_definition(name);
	struct slice enhanced = slice_of(def->enhanced), text = slice_of(def->text);
	struct reply r = { .name = name, .code = def->code };
	struct str s = STR_IN(a);
	ptrdiff_t gap = slice_search(text, SLICE("%s"));

	BUG_ON(name == REPLY_NONE);
	enhanced_code_parse(&r.enhanced, &enhanced);
	if (gap >= 0) {
		struct str shown = STR_IN(a);
		str_escaped(&shown, detail, DETAIL_MAX);
		str_add(&s, slice_head(text, (size_t)gap));
		str_add(&s, slice_head(str_slice(&shown), DETAIL_MAX));
		text = slice_from(text, (size_t)gap + 2);
	}
	str_add(&s, text);
	if (def->code >= 400 && ref)
		str_printf(&s, " ref=%s", ref);
	if (def->code >= 400 && url)
		str_printf(&s, " see %s%s", url, ref ? ref : "");
	r.text = str_slice(&s);
	return r;
}

/* How much of the text fits one line: all, or up to a space if there is one in its second half. */
static size_t line_cut(struct slice text, size_t room)
{
	ptrdiff_t space;

	if (text.n <= room)
		return text.n;
	space = slice_rfind(slice_head(text, room + 1), ' ');
	return space > (ptrdiff_t)(room / 2) ? (size_t)space : room;
}

static void add_printable(struct str *out, struct slice text)
{
	char *p = str_room(out, text.n);

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		p[i] = (c >= ' ' && c <= '~') || c == '\t' ? c : '?';
	}
	out->n += text.n;
}

/* RFC 5321 section 4.2:
 *   Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *   textstring = 1*(%d09 / %d32-126)
 * Deviation: the space is written even if there is no text, for clients that look for it. */
void reply_write(struct str *out, const struct reply *r)
{
	struct slice rest = r->text;
	char prefix[32];
	size_t n;
	bool last;

	BUG_ON(r->code < 200 || r->code > 599);
	if (r->enhanced.class != 0 && r->enhanced.class == r->code / 100)
		n = (size_t)snprintf(prefix, sizeof(prefix), "%u %u.%u.%u ", r->code, r->enhanced.class,
			r->enhanced.subject, r->enhanced.detail);
	else
		n = (size_t)snprintf(prefix, sizeof(prefix), "%u ", r->code);
	do {
		ptrdiff_t lf = slice_find(rest, '\n');
		struct slice line = lf >= 0 ? slice_head(rest, (size_t)lf) : rest;
		size_t cut = line_cut(line, LINE_MAX_OUT - 2 - n);
		/* What stood between two lines, a LF or the space of the cut, belongs to neither. */
		rest = slice_from(rest, cut);
		if (rest.n > 0 && (cut == line.n || rest.p[0] == ' '))
			rest = slice_from(rest, 1);
		last = rest.n == 0;
		prefix[3] = last ? ' ' : '-';
		str_add(out, slice_make(prefix, n));
		add_printable(out, slice_head(line, cut));
		str_add(out, SLICE("\r\n"));
	} while (!last);
}

/* ---- theirs ---- */

void reply_parser_init(struct reply_parser *p, struct arena *a)
{
	*p = (struct reply_parser){ .arena = a, .text = STR_IN(a) };
}

static enum reply_parse refuse(const char **why, const char *reason)
{
	*why = reason;
	return REPLY_PARSE_BAD;
}

/* What a line that is well formed adds to the reply. */
static void take_text(struct reply_parser *p, struct slice text)
{
	struct enhanced_code enhanced;
	struct slice shown = text;
	size_t room;

	if (p->on_line)
		p->on_line(p->arg, text, p->lines == 1);
	/* RFC 2034 section 4: the class of both codes is the same, or it is no enhanced code. */
	if (enhanced_code_parse(&enhanced, &shown) && enhanced.class == p->reply.code / 100) {
		if (p->lines == 1)
			p->reply.enhanced = enhanced;
		text = shown;
	}
	if (p->lines > 1 && p->text.n < PARSE_TEXT)
		str_addc(&p->text, '\n');
	room = PARSE_TEXT - p->text.n;
	str_add(&p->text, slice_head(text, room));
}

enum reply_parse reply_parser_line(struct reply_parser *p, struct slice line, const char **why)
{
	uint64_t code;
	bool last;

	if (line.n > PARSE_LINE)
		return refuse(why, "reply line too long");
	if (++p->lines > PARSE_LINES)
		return refuse(why, "reply of too many lines");
	p->octets += (uint32_t)line.n + 2;
	if (p->octets > PARSE_OCTETS)
		return refuse(why, "reply too long");
	if (slice_find(line, '\0') >= 0 || slice_find(line, '\r') >= 0 || slice_find(line, '\n') >= 0)
		return refuse(why, "control character in a reply");
	if (line.n < 3 || !slice_number(slice_head(line, 3), 599, &code) || code < 200)
		return refuse(why, "reply without a reply code");
	if (p->lines > 1 && code != p->reply.code)
		return refuse(why, "reply code changes between lines");
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return refuse(why, "reply code without a separator");
	last = line.n == 3 || line.p[3] == ' ';
	p->reply.code = (uint16_t)code;
	take_text(p, slice_from(line, 4));
	if (!last)
		return REPLY_PARSE_MORE;
	p->reply.text = str_slice(&p->text);
	return REPLY_PARSE_DONE;
}
