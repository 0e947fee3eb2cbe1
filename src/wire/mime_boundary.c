/*
 * Which lines are delimiters of the multiparts that are open.
 *
 * A line is compared by a hash with the boundaries there are, and one bit for each boundary there ever was tells most
 * lines apart before that.
 */
#include "wire/mime_parser.h"

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Eight octets at a time. Not keyed: who makes boundaries collide gains twenty comparisons a line. */
static uint64_t hash_of(struct slice s)
{
	uint64_t hash = s.n * 0x9e3779b97f4a7c15u, word;

	while (s.n > 0) {
		size_t n = s.n < 8 ? s.n : 8;
		word = 0;
		memcpy(&word, s.p, n);
		hash = (hash ^ word) * 0xff51afd7ed558ccdu;
		hash ^= hash >> 32;
		s.p += n;
		s.n -= n;
	}
	return hash;
}

static uint64_t seen_bit(uint64_t hash)
{
	return UINT64_C(1) << (hash >> 58);
}

void mime_boundary_set(struct mime *m, struct entity *e, ptrdiff_t n)
{
	while (n > 0 && is_wsp(e->boundary[n - 1]))	/* RFC 2046 section 5.1.1: bchars do not end with space */
		n--;
	if (n == 0)
		return;
	e->boundary_n = (uint16_t)n;
	e->part.shape = MIME_MULTIPART;
	m->hashes[e - m->stack] = hash_of(slice_make(e->boundary, (size_t)n));
	m->seen |= seen_bit(m->hashes[e - m->stack]);
}

/* RFC 2046 section 5.1.1:
 *   delimiter := CRLF "--" boundary, close-delimiter := delimiter "--", both before *LWSP-char CRLF */
bool mime_delimiter_match(const struct mime *m, struct slice line, struct delimiter *out)
{
	uint64_t open, close;
	size_t n;

	while (line.n > 0 && (is_wsp(line.p[line.n - 1]) || line.p[line.n - 1] == '\n' ||
	       line.p[line.n - 1] == '\r'))
		line.n--;
	if (line.n < 3)
		return false;
	line = slice_from(line, 2);
	n = line.n > 2 && line.p[line.n - 1] == '-' && line.p[line.n - 2] == '-' ? line.n - 2 : line.n;
	open = hash_of(line);
	close = n < line.n ? hash_of(slice_make(line.p, n)) : open;
	if (!(m->seen & (seen_bit(open) | seen_bit(close))))
		return false;
	for (uint16_t i = m->count; i-- > 0;) {
		const struct entity *e = &m->stack[i];
		if (e->boundary_n == 0 || e->closed || (m->hashes[i] != open && m->hashes[i] != close))
			continue;
		if ((e->boundary_n != line.n && e->boundary_n != n) ||
		    memcmp(line.p, e->boundary, e->boundary_n) != 0)
			continue;
		*out = (struct delimiter){ i, e->boundary_n < line.n };
		return true;
	}
	return false;
}

/* What the line at the start of `in` is, as far as it has come. */
enum nature mime_line_nature(const struct mime *m, struct slice in, struct slice *line, struct delimiter *d)
{
	const char *lf;

	if (in.n > 1 && in.p[1] != '-')
		return LINE_TEXT;
	lf = memchr(in.p, '\n', in.n < HOLD_MAX ? in.n : HOLD_MAX);
	if (!lf)
		return in.n < HOLD_MAX ? LINE_OPEN : LINE_TEXT;
	*line = slice_make(in.p, (size_t)(lf - in.p) + 1);
	return mime_delimiter_match(m, *line, d) ? LINE_DELIMITER : LINE_TEXT;
}
