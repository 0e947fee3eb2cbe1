/*
 * The milter protocol's packets. Pure: no I/O, no memory but the arena's.
 *
 * Rejected: reading what a filter says as leniently as it may mean it. A length, an index or a reply code that is
 * off by one is a filter that has lost its step, and its next word would be taken for the verdict on another message.
 */
#include "wire/milter_packet.h"

#define FIELD_NAME_MOST 998	/* RFC 5322 section 2.1.1 */
#define INDEX_MOST 100000u

/* ---- writing ---- */

void milter_put_u32(struct str *out, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		str_addc(out, (char)(value >> shift & 0xff));
}

void milter_put_u16(struct str *out, uint16_t value)
{
	str_addc(out, (char)(value >> 8));
	str_addc(out, (char)(value & 0xff));
}

size_t milter_packet_begin(struct str *out, enum milter_command command)
{
	size_t at = out->n;

	milter_put_u32(out, 0);
	str_addc(out, (char)command);
	return at;
}

void milter_packet_end(struct str *out, size_t at)
{
	uint32_t n = (uint32_t)(out->n - at - 4);

	for (int i = 0; i < 4; i++)
		out->p[at + (size_t)i] = (char)(n >> (24 - 8 * i) & 0xff);
}

void milter_put_string(struct str *out, struct slice text)
{
	size_t at = out->n;

	str_add(out, text);
	for (; at < out->n; at++)
		if (out->p[at] == '\0')
			out->p[at] = '?';
	str_addc(out, '\0');
}

/* ---- reading ---- */

static uint32_t u32_at(struct slice s, size_t at)
{
	const uint8_t *p = (const uint8_t *)s.p + at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool milter_head_parse(struct slice head, char *word, size_t *n, const char **why)
{
	uint32_t length = u32_at(head, 0);

	*why = "malformed packet: empty";
	if (length == 0)
		return false;
	*why = "malformed packet: longer than any may be";
	if (length > MILTER_PACKET_MOST + 1)
		return false;
	*word = head.p[4];
	*n = length - 1;
	return true;
}

/* A string up to its NUL; false if there is no NUL. */
static bool take_string(struct slice *rest, struct slice *out)
{
	ptrdiff_t end = slice_find(*rest, '\0');

	if (end < 0)
		return false;
	*out = slice_head(*rest, (size_t)end);
	*rest = slice_from(*rest, (size_t)end + 1);
	return true;
}

bool milter_options_parse(struct milter_options *out, struct slice data, const struct milter_options *offered,
	const char **why)
{
	struct milter_options o = { 0 };
	struct slice rest;

	*why = "malformed answer to the negotiation";
	if (data.n < 12)
		return false;
	o.version = u32_at(data, 0);
	o.actions = u32_at(data, 4) & offered->actions;
	o.steps = u32_at(data, 8);
	for (rest = slice_from(data, 12); rest.n > 0;) {
		uint32_t stage;
		struct slice names;

		if (rest.n < 5)
			return false;
		stage = u32_at(rest, 0);
		rest = slice_from(rest, 4);
		if (stage >= MILTER_STAGES || !take_string(&rest, &names))
			return false;
		o.macros[stage] = names;
	}
	*why = "the filter speaks another version of the protocol";
	if (o.version < MILTER_VERSION_LEAST || o.version > offered->version)
		return false;
	*why = "the filter wants steps that were not offered";
	if (o.steps & ~offered->steps)
		return false;
	*out = o;
	return true;
}

/* ftext of RFC 5322 section 3.6.8. */
static bool is_field_name(struct slice name)
{
	if (name.n == 0 || name.n > FIELD_NAME_MOST)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 127 || name.p[i] == ':')
			return false;
	return true;
}

static bool parse_field(struct milter_response *r, struct slice data, bool indexed, const char **why)
{
	*why = "malformed header change";
	if (indexed) {
		if (data.n < 4)
			return false;
		r->index = u32_at(data, 0);
		data = slice_from(data, 4);
	}
	if (!take_string(&data, &r->name) || !take_string(&data, &r->value) || data.n > 0)
		return false;
	*why = "header change of a field that cannot be";
	return is_field_name(r->name) && r->index <= INDEX_MOST;
}

/* "550 5.7.1 text", or several such lines with "550-" before the last; '%' is doubled, as libmilter has it. */
static bool parse_reply(struct milter_response *r, struct slice data, struct arena *a, const char **why)
{
	struct reply_parser parser;
	enum reply_parse state = REPLY_PARSE_MORE;
	struct slice text;

	*why = "malformed reply code";
	if (!take_string(&data, &text) || data.n > 0)
		return false;
	reply_parser_init(&parser, a);
	while (state == REPLY_PARSE_MORE && text.n > 0) {
		struct slice line = slice_split(&text, '\n');

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (memchr(line.p, '\r', line.n))
			return false;
		state = reply_parser_line(&parser, line, why);
	}
	*why = "malformed reply code";
	if (state != REPLY_PARSE_DONE || text.n > 0)
		return false;
	*why = "reply code that is no refusal";
	r->reply = parser.reply;
	return reply_is_transient(&r->reply) || reply_is_permanent(&r->reply);
}

bool milter_response_parse(struct milter_response *out, char word, struct slice data, struct arena *a,
	const char **why)
{
	struct milter_response r = { .word = word };
	bool ok = false;

	switch ((enum milter_word)word) {
	case MILTER_SAYS_ADDHEADER:
		ok = parse_field(&r, data, false, why);
		break;
	case MILTER_SAYS_INSHEADER:
	case MILTER_SAYS_CHGHEADER:
		ok = parse_field(&r, data, true, why);
		break;
	case MILTER_SAYS_REPLYCODE:
		ok = parse_reply(&r, data, a, why);
		break;
	case MILTER_SAYS_QUARANTINE:
		*why = "malformed quarantine";
		ok = take_string(&data, &r.text) && data.n == 0;
		break;
	case MILTER_SAYS_REPLBODY:
		r.text = data;
		ok = true;
		break;
	case MILTER_SAYS_SHUTDOWN: case MILTER_SAYS_ACCEPT: case MILTER_SAYS_CONTINUE: case MILTER_SAYS_DISCARD:
	case MILTER_SAYS_CONN_FAIL: case MILTER_SAYS_PROGRESS: case MILTER_SAYS_REJECT: case MILTER_SAYS_SKIP:
	case MILTER_SAYS_TEMPFAIL:
		*why = "malformed response: data behind a word that has none";
		ok = data.n == 0;
		break;
	case MILTER_SAYS_ADDRCPT: case MILTER_SAYS_ADDRCPT_PAR: case MILTER_SAYS_DELRCPT: case MILTER_SAYS_CHGFROM:
		*why = "the filter changes the envelope, which it was not offered";
		break;
	default:
		*why = "unknown response";
		break;
	}
	if (ok)
		*out = r;
	return ok;
}
