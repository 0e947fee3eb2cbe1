/*
 * The canonical body, in runs.
 *
 * Nearly all of a mail body is canonical as it stands: words are parted by one space and lines do not end in one. So the
 * machine looks, 32 octets at a time, for the next octet that relaxed canonicalisation could change (a tab, or
 * a space before white space or a CR), and passes on all before it in one piece. Pieces that are short go through
 * a stage, so that who hashes them is called seldom; long ones pass as they are.
 *
 * The ends of lines are held back: they are the end of the message or not, and only what follows can tell
 * (section 3.4.3: "ignores all empty lines at the end of the message body"). A count is enough for that, as it
 * is for white space before the end of a line.
 *
 * Rejected: a state machine over single octets (libopendkim's: 152 MB/s), and searching
 * line ends with memchr() first (a call per line; lines have 76 octets).
 *
 * A bare CR or LF is an octet like any other: lines end in CRLF only.
 */
#include "wire/canon.h"

#define DIRECT 512u	/* a piece this long is not copied */

static const char canon_crlf[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

bool canon_parse(struct slice word, enum canon *out)
{
	bool relaxed = slice_eq_nocase(word, SLICE("relaxed"));

	if (!relaxed && !slice_eq_nocase(word, SLICE("simple")))
		return false;
	*out = relaxed ? CANON_RELAXED : CANON_SIMPLE;
	return true;
}

const char *canon_name(enum canon kind)
{
	return kind == CANON_RELAXED ? "relaxed" : "simple";
}

void canon_body_init(struct canon_body *b, enum canon kind, canon_out *out, void *arg)
{
	b->kind = kind;
	b->out = out;
	b->arg = arg;
	b->length = b->lines = 0;
	b->space = b->cr = false;
	b->staged = 0;
}

/* ---- output ---- */

static void stage_flush(struct canon_body *b)
{
	if (b->staged > 0)
		b->out(b->arg, slice_make(b->stage, b->staged));
	b->staged = 0;
}

static inline void put(struct canon_body *b, const char *p, size_t n)
{
	char *to;

	b->length += n;
	if (__builtin_expect(n >= DIRECT, 0)) {
		stage_flush(b);
		b->out(b->arg, slice_make(p, n));
		return;
	}
	if (n > CANON_STAGE - b->staged)
		stage_flush(b);
	to = b->stage + b->staged;
	b->staged += (uint32_t)n;
	memcpy(to, p, n);
}

/* One or two octets, the commonest pieces, without a call. */
static inline void put_few(struct canon_body *b, char first, char second, uint32_t n)
{
	if (CANON_STAGE - b->staged < 2)
		stage_flush(b);
	b->stage[b->staged] = first;
	b->stage[b->staged + n - 1] = second;
	b->staged += n;
	b->length += n;
}

/* Lines held were not the last ones. */
static inline void put_lines(struct canon_body *b)
{
	if (b->lines == 1) {
		put_few(b, '\r', '\n', 2);
		b->lines = 0;
	}
	while (b->lines > 0) {
		size_t n = b->lines < 16 ? (size_t)b->lines : 16;
		put(b, canon_crlf, n * 2);
		b->lines -= n;
	}
}

static void put_space(struct canon_body *b)
{
	put_lines(b);
	put_few(b, ' ', ' ', 1);
	b->space = false;
}

/* Octets that are canonical as they stand; their last line ends are held. */
static void put_run(struct canon_body *b, const char *p, size_t n)
{
	size_t end = n;

	while (end >= 2 && p[end - 1] == '\n' && p[end - 2] == '\r')
		end -= 2;
	if (end > 0) {
		put_lines(b);
		put(b, p, end);
	}
	b->lines += (n - end) / 2;
}

/* ---- what has to be looked at ---- */

typedef uint8_t octets16 __attribute__((vector_size(16)));

static octets16 load16(const char *p)
{
	octets16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* 0xff where a tab stands, or a space before an octet up to SP: relaxed white space, or an odd
 * control character, which does no harm here. */
static octets16 changes16(const char *p)
{
	octets16 at = load16(p), next = load16(p + 1);

	return (octets16)(at == '\t') | ((octets16)(at == ' ') & (octets16)(next <= ' '));
}

static bool any16(octets16 v)
{
	uint64_t halves[2];

	memcpy(halves, &v, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* The place of the first octet that is not zero; there is one. */
static unsigned first16(octets16 v)
{
	uint64_t halves[2];

	memcpy(halves, &v, sizeof(halves));
	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return halves[0] ? (unsigned)__builtin_clzll(halves[0]) / 8 : 8 + (unsigned)__builtin_clzll(halves[1]) / 8;
	return halves[0] ? (unsigned)__builtin_ctzll(halves[0]) / 8 : 8 + (unsigned)__builtin_ctzll(halves[1]) / 8;
}

/* The first octet at or behind p that may change, or end. White space at the very end may. */
static const char *run_end(const char *p, const char *end)
{
	while (end - p > 32 && !any16(changes16(p) | changes16(p + 16)))
		p += 32;
	for (; end - p > 16; p += 16) {
		octets16 changes = changes16(p);

		if (any16(changes))
			return p + first16(changes);
	}
	for (; p < end; p++)
		if (is_wsp(*p) && (*p == '\t' || p + 1 == end || (unsigned char)p[1] <= ' '))
			return p;
	return end;
}

/* ---- pushing ---- */

/* A CR ended the push before; returns whether `c`, which follows it, was taken. */
static bool after_cr(struct canon_body *b, char c)
{
	b->cr = false;
	if (c == '\n') {
		b->space = false;
		b->lines++;
		return true;
	}
	if (b->space)
		put_space(b);
	put_run(b, "\r", 1);
	return false;
}

/* Passes on [p, end) but for a CR at its end, which the next push decides. */
static void push_run(struct canon_body *b, const char *p, const char *end, bool last)
{
	if (last && end > p && end[-1] == '\r') {
		b->cr = true;
		end--;
	}
	put_run(b, p, (size_t)(end - p));
}

/* Section 3.4.4: "Ignore all whitespace at the end of lines. [...] Reduce all sequences of WSP within
 * a line to a single SP character." Returns behind the white space at p, held or known. */
static const char *push_space(struct canon_body *b, const char *p, const char *end)
{
	while (p < end && is_wsp(*p)) {
		b->space = true;
		p++;
	}
	if (p == end || !b->space)
		return p;
	if (*p == '\r' && p + 1 == end) {
		b->cr = true;
		return end;
	}
	if (*p == '\r' && p[1] == '\n') {
		b->space = false;
		b->lines++;
		return p + 2;
	}
	put_space(b);
	return p;
}

static void push_relaxed(struct canon_body *b, const char *p, const char *end)
{
	while (p < end) {
		const char *run;
		p = push_space(b, p, end);
		run = p;
		p = run_end(p, end);
		push_run(b, run, p, p == end);
	}
}

void canon_body_push(struct canon_body *b, struct slice content)
{
	const char *p = content.p, *end = content.p + content.n;

	if (content.n == 0)
		return;
	if (b->cr && after_cr(b, *p))
		p++;
	if (b->kind == CANON_RELAXED)
		push_relaxed(b, p, end);
	else
		push_run(b, p, end, true);
}

/* White space behind the last CRLF ends no line: it becomes one SP, as dkimpy and others have it. The framing of SMTP
 * leaves no such body. Section 3.4.3: "If there is no body or no trailing CRLF on the message body, a CRLF is added. [...] Note that a
 * completely empty or missing body is canonicalized as a single CRLF". Section 3.4.4: "If the body is
 * non-empty but does not end with a CRLF, a CRLF is added", and a body of empty lines alone is empty. */
void canon_body_finish(struct canon_body *b)
{
	if (b->cr)
		after_cr(b, '\0');
	if (b->space)
		put_space(b);
	b->lines = 0;
	if (b->kind == CANON_SIMPLE || b->length > 0)
		put(b, canon_crlf, 2);
	stage_flush(b);
}
