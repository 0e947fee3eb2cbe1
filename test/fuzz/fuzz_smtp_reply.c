/*
 * Replies: what the parser takes is within its limits, and what reply_write() makes of it, or of a reply of
 * ours with the input as detail, is lines of printable text that parse back to the same codes.
 *
 * First octet 0: the rest is lines of a backend; else it is the number of one of our replies and the rest its
 * detail.
 */
#include "wire/smtp_reply.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static enum reply_parse parse(struct arena *a, struct reply *out, struct slice lines)
{
	enum reply_parse state = REPLY_PARSE_MORE;
	struct reply_parser p;
	const char *why = NULL;

	reply_parser_init(&p, a);
	while (lines.n > 0 && state == REPLY_PARSE_MORE) {
		struct slice line = slice_split(&lines, '\n');
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		state = reply_parser_line(&p, line, &why);
	}
	BUG_ON((state == REPLY_PARSE_BAD) != (why != NULL));
	BUG_ON(state == REPLY_PARSE_DONE && lines.n > 0 && p.lines == 0);
	*out = p.reply;
	return state;
}

/* Each line: at most 512 octets, the code, a separator, printable text, CRLF. */
static void check_lines(struct slice wire, const struct reply *r)
{
	BUG_ON(wire.n == 0);
	while (wire.n > 0) {
		ptrdiff_t lf = slice_find(wire, '\n');
		struct slice line;
		BUG_ON(lf < 5 || lf >= 512 || wire.p[lf - 1] != '\r');
		line = slice_head(wire, (size_t)lf - 1);
		wire = slice_from(wire, (size_t)lf + 1);
		BUG_ON(line.p[0] != '0' + r->code / 100 || line.p[3] != (wire.n ? '-' : ' '));
		for (size_t i = 0; i < line.n; i++)
			BUG_ON((line.p[i] < ' ' || line.p[i] > '~') && line.p[i] != '\t');
	}
}

static void check_written(struct arena *a, const struct reply *r)
{
	struct str wire = STR_IN(a);
	struct reply again;

	reply_write(&wire, r);
	check_lines(str_slice(&wire), r);
	BUG_ON(parse(a, &again, str_slice(&wire)) != REPLY_PARSE_DONE);
	BUG_ON(again.code != r->code);
	BUG_ON(again.enhanced.class != r->enhanced.class || again.enhanced.subject != r->enhanced.subject ||
		again.enhanced.detail != r->enhanced.detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice input;
	struct reply r;

	if (n < 1)
		return 0;
	input = slice_make((const char *)bytes + 1, n - 1);
	if (bytes[0] > 0) {
		enum reply_name name = 1 + bytes[0] % (REPLY_COUNT - 1);
		/* The greeting begins with a name, and the name of a host is no enhanced code. */
		if (name == REPLY_GREETING)
			input = SLICE("mx.example.org");
		r = reply_make(&a, name, input, "0123456789", "https://why.example/");
		BUG_ON(r.code >= 400 && slice_search(r.text, SLICE(" ref=0123456789 see https")) < 0);
		check_written(&a, &r);
	} else if (parse(&a, &r, input) == REPLY_PARSE_DONE) {
		BUG_ON(r.code < 200 || r.code > 599 || r.text.n > 2048);
		BUG_ON(slice_find(r.text, '\0') >= 0 || slice_find(r.text, '\r') >= 0);
		check_written(&a, &r);
	}
	arena_drop(&a);
	return 0;
}
