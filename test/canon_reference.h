/*
 * The canonical body as RFC 6376 section 3.4 says it, octet by octet and on the whole body: slow and plain, to hold
 * the machine of src/wire/canon_body.c against.
 */
#ifndef SPURN_TEST_CANON_REFERENCE_H
#define SPURN_TEST_CANON_REFERENCE_H

#include "wire/canon.h"

static inline bool reference_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* One line, without its CRLF: white space in runs becomes one SP, at its end none. */
static inline void reference_line(struct str *out, struct slice line, bool ended)
{
	while (ended && line.n > 0 && reference_wsp(line.p[line.n - 1]))
		line.n--;
	for (size_t i = 0; i < line.n; i++) {
		if (!reference_wsp(line.p[i]))
			str_addc(out, line.p[i]);
		else if (i == 0 || !reference_wsp(line.p[i - 1]))
			str_addc(out, ' ');
	}
}

static inline struct slice reference_body(struct arena *a, enum canon kind, struct slice body)
{
	struct str out = STR_IN(a);

	str_room(&out, body.n + 2);
	while (body.n > 0) {
		ptrdiff_t end = slice_search(body, SLICE("\r\n"));
		struct slice line = end < 0 ? body : slice_head(body, (size_t)end);
		if (kind == CANON_RELAXED)
			reference_line(&out, line, end >= 0);
		else
			str_add(&out, line);
		str_add(&out, SLICE("\r\n"));
		body = slice_from(body, line.n + 2);
	}
	while (out.n >= 4 && memcmp(out.p + out.n - 4, "\r\n\r\n", 4) == 0)
		out.n -= 2;
	if (out.n == 2 && memcmp(out.p, "\r\n", 2) == 0)
		out.n = 0;
	if (out.n == 0 && kind == CANON_SIMPLE)
		str_add(&out, SLICE("\r\n"));
	return str_slice(&out);
}

#endif
