/*
 * Reading line by line, with an eye on the delimiters of the multipart at hand and of those around it: gateways wrap
 * a report to add a footer.
 *
 * A line is looked at as a whole only while it can still be a delimiter; all others pass through in pieces. The returned
 * message is opaque but for its header section, so whatever is nested in it costs nothing. If it is in base64 or
 * quoted-printable (RFC 2046 section 5.2.1 forbids it, RFC 6532 section 3.5 permits it for message/global), it is decoded as far.
 */
#include "wire/dsn_reduce.h"

#include "wire/mime_decode.h"

#define LINE_HOLD (MIME_BOUNDARY_MAX + 68u)	/* "--", the boundary, "--", white space, CRLF */
#define RETURNED_FIELDS_MAX 2000u
#define FRAMES_MAX 8u		/* multiparts within multiparts */

enum place {
	OUTSIDE,	/* before the first delimiter, behind the last */
	IN_HEADER,	/* of a part */
	IN_PART,	/* a body that passes through */
	IN_RETURNED,	/* the returned message */
};

/* A multipart that has begun. */
struct frame {
	bool digest;			/* what its parts are unless they say so: messages (RFC 2046 section 5.1.5) */
	bool closed;			/* the close-delimiter has come */
	uint32_t boundary_n;
	char boundary[MIME_BOUNDARY_MAX];
};

struct dsn_reducer {
	struct arena part_arena;	/* of the part at hand */
	void (*out)(void *arg, struct slice piece);
	void *arg;
	const char *why;		/* the first thing that went wrong */
	enum place place;
	bool mid_line;			/* the line at hand cannot be a delimiter */
	uint32_t parts;
	uint64_t dropped;

	struct header part;		/* header section of the part at hand */
	struct header returned;		/* of the returned message */
	bool global;			/* it is message/global */
	bool after_cr;			/* decoded text: the last octet was a CR */
	struct mime_decoder decoder;

	uint32_t held;
	uint32_t depth;			/* of frames; the innermost is the last */
	char hold[LINE_HOLD];
	struct frame frames[FRAMES_MAX];
};

/* ---- beginning ---- */

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Begins a multipart of this type. NULL, or what is wrong. */
static const char *enter(struct dsn_reducer *r, struct slice type, const char *subtype)
{
	struct frame *f = &r->frames[r->depth];
	struct slice charset;
	ptrdiff_t n;

	if (r->depth == FRAMES_MAX)
		return "its parts are nested too deeply";
	n = mime_parameter_read(type, SLICE("boundary"), f->boundary, sizeof(f->boundary), &charset);
	while (n > 0 && is_wsp(f->boundary[n - 1]))	/* RFC 2046 section 5.1.1: bchars do not end with space */
		n--;
	if (n <= 0)
		return "its parts have no boundary";
	for (uint32_t i = 0; i < r->depth; i++)
		if (slice_eq(slice_make(r->frames[i].boundary, r->frames[i].boundary_n), slice_make(f->boundary, (size_t)n)))
			return "a multipart within it has the same boundary";
	f->boundary_n = (uint32_t)n;
	f->digest = strcmp(subtype, "digest") == 0;
	f->closed = false;
	r->depth++;
	return NULL;
}

struct dsn_reducer *dsn_reduce_begin(struct arena *a, const struct header *h,
	void (*out)(void *arg, struct slice piece), void *arg, const char **why)
{
	const struct field *type = header_field(h, SLICE("Content-Type"), 0);
	char main_type[MIME_TYPE_MAX + 1], subtype[MIME_TYPE_MAX + 1];
	struct dsn_reducer *r;

	*why = "it is no multipart/report";
	if (!type || header_count(h, SLICE("Content-Type")) > 1 || !h->blank_line)
		return NULL;
	mime_type_read(type->value, main_type, subtype);
	if (strcmp(main_type, "multipart") != 0 || (strcmp(subtype, "report") != 0 && strcmp(subtype, "mixed") != 0))
		return NULL;
	r = arena_new(a, struct dsn_reducer);
	*why = enter(r, type->value, subtype);
	if (*why)
		return NULL;
	r->out = out;
	r->arg = arg;
	return r;
}

static void fail(struct dsn_reducer *r, const char *why)
{
	if (!r->why)
		r->why = why;
}

static void put(struct dsn_reducer *r, struct slice s)
{
	if (s.n > 0)
		r->out(r->arg, s);
}

/* ---- the returned message ---- */

static void push_plain(struct dsn_reducer *r, struct slice s)
{
	if (!r->returned.done) {
		s = slice_from(s, header_push(&r->returned, s));
		if (!r->returned.done)
			return;
		r->dropped += r->returned.body_lead.n;
	}
	r->dropped += s.n;
}

/* Lines of decoded text may end in LF alone; a header section ends its lines in CRLF. */
static void push_decoded(struct dsn_reducer *r, struct slice s)
{
	while (s.n > 0) {
		ptrdiff_t end = r->returned.done ? -1 : slice_find(s, '\n');
		size_t n = end < 0 ? s.n : (size_t)end;
		bool cr = n > 0 ? s.p[n - 1] == '\r' : r->after_cr;

		push_plain(r, slice_head(s, n));
		r->after_cr = cr;
		if (end < 0)
			return;
		push_plain(r, cr || r->returned.done ? SLICE("\n") : SLICE("\r\n"));
		r->after_cr = false;
		s = slice_from(s, n + 1);
	}
}

static void push_returned(struct dsn_reducer *r, struct slice s)
{
	char decoded[1024];

	if (r->decoder.encoding == MIME_IDENTITY)
		push_plain(r, s);
	while (r->decoder.encoding != MIME_IDENTITY && s.n > 0)
		push_decoded(r, slice_make(decoded, mime_decode(&r->decoder, &s, decoded, sizeof(decoded))));
	if (r->returned.too_large)
		fail(r, "the header section that it returns is too long");
	else if (r->returned.done && r->returned.count == 0)
		fail(r, "what it returns begins with no header field");
}

/* RFC 2045 section 6.7. No line begins with "-", so that none becomes a delimiter. */
static void put_quoted(struct str *out, struct slice s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool line_ends = i + 1 == s.n || (s.p[i + 1] == '\r' && i + 2 < s.n && s.p[i + 2] == '\n');

		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			str_puts(out, "\r\n");
			column = 0;
			i++;
			continue;
		}
		if (column > 72) {
			str_puts(out, "=\r\n");
			column = 0;
		}
		if ((c > ' ' && c <= '~' && c != '=' && (c != '-' || column > 0)) || ((c == ' ' || c == '\t') && !line_ends)) {
			str_addc(out, (char)c);
			column++;
		} else {
			str_printf(out, "=%02X", c);
			column += 3;
		}
	}
}

static bool is_replaced(const struct field *f)
{
	return slice_eq_nocase(f->name, SLICE("Content-Type")) ||
		slice_eq_nocase(f->name, SLICE("Content-Transfer-Encoding")) ||
		slice_eq_nocase(f->name, SLICE("Content-Length")) || slice_eq_nocase(f->name, SLICE("Content-MD5"));
}

/* The part anew: its other fields, and the header section as it was returned. What came unencoded leaves so; what was
 * encoded, and is not plain ASCII, is encoded again (RFC 6522 section 4: quoted-printable). */
static void put_returned(struct dsn_reducer *r)
{
	struct str text = STR_IN(&r->part_arena);
	struct slice section = str_slice(&r->returned.bytes);
	bool plain = ascii_only(section), encoded = r->decoder.encoding != MIME_IDENTITY;

	for (uint32_t i = 0; i < r->part.count; i++)
		if (!is_replaced(&r->part.fields[i]))
			str_add(&text, r->part.fields[i].raw);
	str_printf(&text, "Content-Type: %s\r\n", r->global ? "message/global-headers" : "text/rfc822-headers");
	if (!plain)
		str_printf(&text, "Content-Transfer-Encoding: %s\r\n", encoded ? "quoted-printable" : "8bit");
	str_puts(&text, "\r\n");
	if (!plain && encoded)
		put_quoted(&text, section);
	else
		str_add(&text, section);
	if (!slice_ends_nocase(section, SLICE("\r\n")))
		str_puts(&text, "\r\n");
	str_puts(&text, "\r\n");	/* of the delimiter (RFC 2046 section 5.1.1) */
	put(r, str_slice(&text));
}

static void end_returned(struct dsn_reducer *r)
{
	char rest[4];

	if (r->decoder.encoding != MIME_IDENTITY)
		push_decoded(r, slice_make(rest, mime_decode_end(&r->decoder, rest)));
	header_finish(&r->returned);
	if (r->returned.too_large || r->returned.count == 0)
		fail(r, "what it returns begins with no header field");
	else
		put_returned(r);
}

/* ---- parts ---- */

static bool is_message(const struct dsn_reducer *r, bool *global)
{
	const struct field *type = header_field(&r->part, SLICE("Content-Type"), 0);
	char main_type[MIME_TYPE_MAX + 1], subtype[MIME_TYPE_MAX + 1];

	*global = false;
	if (!type)
		return r->frames[r->depth - 1].digest;
	mime_type_read(type->value, main_type, subtype);
	*global = strcmp(subtype, "global") == 0;
	return strcmp(main_type, "message") == 0 && (*global || strcmp(subtype, "rfc822") == 0);
}

/* The part is a multipart that can be looked into: what is encrypted cannot. What is signed would not be so any more. */
static bool is_multipart(struct dsn_reducer *r, struct slice *type, char subtype[MIME_TYPE_MAX + 1])
{
	const struct field *f = header_field(&r->part, SLICE("Content-Type"), 0);
	const struct field *encoding = header_field(&r->part, SLICE("Content-Transfer-Encoding"), 0);
	char main_type[MIME_TYPE_MAX + 1];

	if (!f)
		return false;
	mime_type_read(f->value, main_type, subtype);
	if (strcmp(main_type, "multipart") != 0 || strcmp(subtype, "encrypted") == 0)
		return false;
	if (strcmp(subtype, "signed") == 0)
		fail(r, "a part of it is signed");
	else if (encoding && mime_encoding_of(encoding->value) != MIME_IDENTITY)	/* RFC 2045 section 6.4 forbids it */
		fail(r, "a multipart within it is encoded");
	else if (header_count(&r->part, SLICE("Content-Type")) > 1 || !r->part.blank_line)
		fail(r, "the header section of a part is broken");
	*type = f->value;
	return true;
}

static void begin_returned(struct dsn_reducer *r)
{
	const struct field *f = header_field(&r->part, SLICE("Content-Transfer-Encoding"), 0);

	r->place = IN_RETURNED;
	r->decoder = (struct mime_decoder){ .encoding = (uint8_t)(f ? mime_encoding_of(f->value) : MIME_IDENTITY) };
	r->after_cr = false;
	header_init(&r->returned, &r->part_arena, DSN_RETURNED_MAX, RETURNED_FIELDS_MAX);
}

static void end_message_header(struct dsn_reducer *r)
{
	if (r->part.blank_line)
		begin_returned(r);
	else
		fail(r, "the header section of what it returns is broken");
}

/* The header section of a part is complete: is it what has to be reduced, or is that in it? */
static void end_part_header(struct dsn_reducer *r)
{
	char subtype[MIME_TYPE_MAX + 1];
	struct slice type;
	const char *why;

	if (r->part.too_large) {
		fail(r, "the header section of a part is too long");
		return;
	}
	if (is_message(r, &r->global)) {
		end_message_header(r);
		return;
	}
	r->place = IN_PART;
	if (is_multipart(r, &type, subtype)) {
		why = enter(r, type, subtype);
		if (why)
			fail(r, why);
		r->place = OUTSIDE;
	}
	put(r, str_slice(&r->part.bytes));
	if (r->part.blank_line)
		put(r, SLICE("\r\n"));
	put(r, r->part.body_lead);
}

static void end_part(struct dsn_reducer *r)
{
	if (r->place == IN_HEADER) {	/* a part without a body */
		header_finish(&r->part);
		put(r, str_slice(&r->part.bytes));
		put(r, r->part.body_lead);
	} else if (r->place == IN_RETURNED) {
		end_returned(r);
	}
}

static void begin_part(struct dsn_reducer *r)
{
	arena_drop(&r->part_arena);
	r->place = IN_HEADER;
	header_init(&r->part, &r->part_arena, MIME_HEADER_MAX, MIME_FIELDS_MAX);
	if (++r->parts > MIME_PARTS_MAX)
		fail(r, "it has too many parts");
}

/* ---- lines ---- */

static void push_text(struct dsn_reducer *r, struct slice s)
{
	if (r->place == IN_HEADER) {
		s = slice_from(s, header_push(&r->part, s));
		if (!r->part.done)
			return;
		end_part_header(r);
	}
	if (r->place == IN_RETURNED)
		push_returned(r, s);
	else
		put(r, s);
}

/* delimiter := CRLF "--" boundary, close-delimiter := delimiter "--", both before *LWSP-char CRLF (RFC 2046 section 5.1.1). */
static bool is_delimiter(const struct frame *f, struct slice line, bool *close)
{
	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r' || is_wsp(line.p[line.n - 1])))
		line.n--;
	if (!slice_starts(line, SLICE("--")))
		return false;
	line = slice_from(line, 2);
	if (line.n < f->boundary_n || memcmp(line.p, f->boundary, f->boundary_n) != 0)
		return false;
	line = slice_from(line, f->boundary_n);
	*close = slice_eq(line, SLICE("--"));
	return *close || line.n == 0;
}

/* The multipart that the line delimits, and NULL if it is none. */
static struct frame *frame_of(struct dsn_reducer *r, struct slice line, bool *close)
{
	for (uint32_t i = r->depth; i > 0; i--)
		if (is_delimiter(&r->frames[i - 1], line, close))
			return &r->frames[i - 1];
	return NULL;
}

static void delimit(struct dsn_reducer *r, struct frame *f, struct slice line, bool close)
{
	end_part(r);
	for (; &r->frames[r->depth - 1] != f; r->depth--)
		if (!r->frames[r->depth - 1].closed)
			fail(r, "a multipart within it is not closed");
	if (f->closed)
		fail(r, "it goes on behind its end");
	put(r, line);
	if (close) {
		f->closed = true;
		r->place = OUTSIDE;
	} else {
		begin_part(r);
	}
}

/* What was held is a whole line, or can be no delimiter any more. */
static void release(struct dsn_reducer *r, bool whole)
{
	struct slice line = slice_make(r->hold, r->held);
	struct frame *f = NULL;
	bool close;

	r->held = 0;
	if (whole)
		f = frame_of(r, line, &close);
	if (f)
		delimit(r, f, line, close);
	else
		push_text(r, line);
}

/* Holds back the beginning of a line that may be a delimiter; returns the octets taken. */
static size_t hold_line(struct dsn_reducer *r, struct slice s)
{
	size_t n = 0;

	while (n < s.n && r->held < LINE_HOLD) {
		char c = s.p[n++];

		r->hold[r->held++] = c;
		if (c == '\n') {
			release(r, true);
			return n;
		}
		if (r->held <= 2 && c != '-')
			break;
	}
	if (n < s.n || r->held == LINE_HOLD || (r->held <= 2 && r->hold[r->held - 1] != '-')) {
		r->mid_line = true;
		release(r, false);
	}
	return n;
}

void dsn_reduce_push(struct dsn_reducer *r, struct slice piece)
{
	while (piece.n > 0 && !r->why) {
		size_t n;

		if (r->held == 0 && piece.p[0] != '-')
			r->mid_line = true;
		if (r->mid_line) {
			ptrdiff_t end = slice_find(piece, '\n');

			n = end < 0 ? piece.n : (size_t)end + 1;
			r->mid_line = end < 0;
			push_text(r, slice_head(piece, n));
		} else {
			n = hold_line(r, piece);
		}
		piece = slice_from(piece, n);
	}
}

bool dsn_reduce_finish(struct dsn_reducer *r, uint64_t *dropped, const char **why)
{
	if (r->held > 0 && !r->why)
		release(r, true);
	if (!r->frames[0].closed)
		fail(r, "its last part is not closed");
	arena_drop(&r->part_arena);
	if (r->why) {
		*why = r->why;
		return false;
	}
	*dropped = r->dropped;
	return true;
}
