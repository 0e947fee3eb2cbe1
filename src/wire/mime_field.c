/*
 * What stands in the header fields of a part: type, parameters, names, encoded words.
 *
 * One reader of parameters serves all: it collects the pieces of one parameter in a single walk over the value
 * (RFC 2231 lets them come in any order) and joins them afterwards. Readers are lenient, since
 * what they look for decides what is looked at: a scanner that does not see the name "x.exe" because a quote is missing
 * has been fooled.
 */
#include "wire/charset.h"
#include "wire/mime_decode.h"

#define PIECES 64u	/* of one parameter, RFC 2231 section 3 */

/* ---- lexical ---- */

/* RFC 2045 section 5.1: tspecials end a token. A bit for each octet of ASCII; what is beyond it may be in one. */
static bool is_token_char(char c)
{
	static const uint64_t inside[2] = { 0x03ff6cfa00000000, 0x7fffffffc7fffffe };
	unsigned char u = (unsigned char)c;

	return u >= 0x80 || (inside[u >> 6] >> (u & 63) & 1);
}

/* White space and comments; a comment that does not end takes all. */
static struct slice skip_comments(struct slice s)
{
	unsigned depth = 0;
	size_t i = 0;

	for (; i < s.n; i++) {
		char c = s.p[i];
		if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth > 0 && c == '\\')
			i++;
		else if (depth == 0 && !ascii_space(c))
			break;
	}
	return slice_from(s, i);
}

static struct slice take_token(struct slice *rest)
{
	struct slice s = *rest;
	size_t n = 0;

	while (n < s.n && is_token_char(s.p[n]))
		n++;
	*rest = slice_from(s, n);
	return slice_head(s, n);
}

/* One parameter value as it stands: a quoted string without its quotes (to be unescaped), or all up to the next ";" or white
 * space (tokens in the wild hold tspecials). */
static struct slice take_value(struct slice *rest, bool *quoted)
{
	struct slice s = *rest;
	size_t n = 0;

	*quoted = s.n > 0 && s.p[0] == '"';
	if (*quoted) {
		for (n = 1; n < s.n && s.p[n] != '"'; n++)
			if (s.p[n] == '\\' && n + 1 < s.n)
				n++;
		*rest = slice_from(s, n + 1);
		return slice_from(slice_head(s, n), 1);
	}
	while (n < s.n && s.p[n] != ';' && !ascii_space(s.p[n]))
		n++;
	*rest = slice_from(s, n);
	return slice_head(s, n);
}

/* ---- type ---- */

static bool lower_into(char *out, struct slice token)
{
	if (token.n == 0 || token.n > MIME_TYPE_MAX)
		return false;
	for (size_t i = 0; i < token.n; i++)
		out[i] = ascii_lower(token.p[i]);
	out[token.n] = '\0';
	return true;
}

/* RFC 2045 section 5.1:   content := "Content-Type" ":" type "/" subtype *(";" parameter)
 * section 5.2: what is not syntactically valid is text/plain. */
void mime_type_read(struct slice value, char *type, char *subtype)
{
	struct slice rest = skip_comments(value);
	struct slice main = take_token(&rest), sub = SLICE_NULL;

	rest = skip_comments(rest);
	if (rest.n > 0 && rest.p[0] == '/') {
		rest = skip_comments(slice_from(rest, 1));
		sub = take_token(&rest);
	}
	if (!lower_into(type, main) || !lower_into(subtype, sub)) {
		memcpy(type, "text", 5);
		memcpy(subtype, "plain", 6);
	}
}

/* ---- parameters ---- */

struct piece {
	struct slice text;
	bool set, quoted, extended;
};

struct parameter {
	struct piece plain, extended;	/* name= and name*= */
	uint64_t there;			/* a bit for each piece that is set */
	struct piece pieces[PIECES];	/* name*0= name*1*= ...; last: not cleared */
};

_Static_assert(PIECES <= 64, "a bit for each piece");

/* RFC 2231 section 7:
 *   regular-parameter := regular-name "=" value, regular-name := attribute [section]
 *   section := "*" ("0" / other-digits), an extended one has another "*" behind it */
static void parameter_note(struct parameter *p, struct slice name, struct slice wanted, struct piece piece)
{
	struct slice rest;
	struct piece *slot;
	uint64_t index;

	if (!slice_starts_nocase(name, wanted))
		return;
	rest = slice_from(name, wanted.n);
	if (rest.n == 0) {
		slot = &p->plain;
	} else if (rest.p[0] != '*') {
		return;
	} else if (rest.n == 1) {
		piece.extended = true;
		slot = &p->extended;
	} else {
		rest = slice_from(rest, 1);
		if (rest.p[rest.n - 1] == '*') {
			piece.extended = true;
			rest = slice_head(rest, rest.n - 1);
		}
		if (!slice_number(rest, PIECES - 1, &index))
			return;
		slot = &p->pieces[index];
		slot->set = p->there >> index & 1;
		p->there |= UINT64_C(1) << index;
	}
	piece.set = true;
	if (!slot->set)
		*slot = piece;
}

static void parameter_collect(struct parameter *p, struct slice value, struct slice wanted)
{
	ptrdiff_t semicolon = slice_find(value, ';');
	struct slice rest = semicolon >= 0 ? slice_from(value, (size_t)semicolon) : SLICE_NULL;

	while (rest.n > 0) {
		struct piece piece = { .set = false };
		struct slice name;
		if (rest.p[0] != ';') {
			semicolon = slice_find(rest, ';');
			rest = semicolon >= 0 ? slice_from(rest, (size_t)semicolon) : SLICE_NULL;
			continue;
		}
		rest = skip_comments(slice_from(rest, 1));
		name = take_token(&rest);
		rest = skip_comments(rest);
		if (name.n == 0 || rest.n == 0 || rest.p[0] != '=')
			continue;
		rest = skip_comments(slice_from(rest, 1));
		piece.text = take_value(&rest, &piece.quoted);
		parameter_note(p, name, wanted, piece);
	}
}

/* Where the value is written; what does not fit is left away. */
struct sink {
	char *p;
	size_t n, room;
};

static void sink_add(struct sink *s, char c)
{
	if (s->n < s->room)
		s->p[s->n++] = c;
}

static void sink_piece(struct sink *s, const struct piece *piece)
{
	struct slice t = piece->text;

	if (!piece->extended && slice_find(t, '\\') < 0 && slice_find(t, '\r') < 0 && slice_find(t, '\n') < 0) {
		t = slice_head(t, s->room - s->n);
		if (t.n > 0)
			memcpy(s->p + s->n, t.p, t.n);
		s->n += t.n;
		return;
	}
	for (size_t i = 0; i < t.n; i++) {
		char c = t.p[i];
		if (piece->extended && c == '%' && i + 2 < t.n && ascii_hex(t.p[i + 1]) >= 0 &&
		    ascii_hex(t.p[i + 2]) >= 0) {
			c = (char)(ascii_hex(t.p[i + 1]) << 4 | ascii_hex(t.p[i + 2]));
			i += 2;
		} else if (piece->quoted && c == '\\' && i + 1 < t.n) {
			c = t.p[++i];
		} else if (c == '\r' || c == '\n') {
			continue;
		}
		sink_add(s, c);
	}
}

/* RFC 2231 section 4:   extended-initial-value := [charset] "'" [language] "'" extended-other-values */
static void take_charset(struct piece *piece, struct slice *charset)
{
	struct slice rest = piece->text, first = slice_split(&rest, '\'');
	ptrdiff_t second = slice_find(rest, '\'');

	if (!piece->extended || second < 0 || first.n > 40)
		return;
	*charset = first;
	piece->text = slice_from(rest, (size_t)second + 1);
}

ptrdiff_t mime_parameter_read(struct slice value, struct slice name, char *out, size_t room, struct slice *charset)
{
	struct sink s = { .room = room };
	struct parameter p;

	memset(&p, 0, offsetof(struct parameter, pieces));
	s.p = out;
	*charset = SLICE_NULL;
	parameter_collect(&p, value, name);
	if (p.extended.set) {
		take_charset(&p.extended, charset);
		sink_piece(&s, &p.extended);
	} else if (p.there & 1) {
		take_charset(&p.pieces[0], charset);
		for (size_t i = 0; i < PIECES && p.there >> i & 1; i++)
			sink_piece(&s, &p.pieces[i]);
	} else if (p.plain.set) {
		sink_piece(&s, &p.plain);
	} else {
		return -1;
	}
	return (ptrdiff_t)s.n;
}

bool mime_parameter(struct arena *a, struct slice value, struct slice name, struct slice *out)
{
	struct slice charset;
	char *text = arena_alloc(a, value.n + 1);
	ptrdiff_t n = mime_parameter_read(value, name, text, value.n, &charset);

	if (n < 0)
		return false;
	*out = slice_make(text, (size_t)n);
	if (charset.n > 0)
		*out = mime_charset(a, charset, *out);
	return true;
}

/* ---- fields ---- */

const struct field *mime_field(const struct mime_part *part, struct slice name, uint32_t n)
{
	for (uint32_t i = 0; i < part->field_count; i++)
		if (slice_eq_nocase(part->fields[i].name, name) && n-- == 0)
			return &part->fields[i];
	return NULL;
}

struct slice mime_value(struct arena *a, const struct mime_part *part, struct slice name)
{
	const struct field *f = mime_field(part, name, 0);

	return f ? field_unfolded(a, f) : SLICE_NULL;
}

struct slice mime_file_name(struct arena *a, const struct mime_part *part)
{
	const struct field *disposition = part->content_disposition, *type = part->content_type;
	struct slice name;

	if (disposition && mime_parameter(a, disposition->value, SLICE("filename"), &name))
		return mime_words(a, name);
	if (type && mime_parameter(a, type->value, SLICE("name"), &name))
		return mime_words(a, name);
	return SLICE_NULL;
}

/* ---- character sets ---- */

/* windows-1252 where it differs from ISO-8859-1 (0x80 to 0x9f); 0: not assigned. */
static const uint16_t windows_1252[32] = {
	0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0,
	0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e,
	0x0178,
};

/* ISO-8859-1 is read as windows-1252, which those who say so write (WHATWG Encoding Standard, section 4.2). */
static bool is_latin(struct slice charset)
{
	static const char *const names[] = { "iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252",
		"iso-8859-15", "iso_8859-1", NULL };

	for (size_t i = 0; names[i]; i++)
		if (slice_eq_nocase(charset, slice_of(names[i])))
			return true;
	return false;
}

struct slice mime_charset(struct arena *a, struct slice charset, struct slice text)
{
	bool iso15 = slice_eq_nocase(charset, SLICE("iso-8859-15"));
	struct str out = STR_IN(a);

	if (charset_convert(a, charset, text, &text) || !is_latin(charset) || ascii_only(text))
		return text;
	str_room(&out, text.n * 2);
	for (size_t i = 0; i < text.n; i++) {
		uint32_t c = (unsigned char)text.p[i];
		if (c >= 0x80 && c < 0xa0 && windows_1252[c - 0x80])
			c = windows_1252[c - 0x80];
		else if (c == 0xa4 && iso15)
			c = 0x20ac;
		str_utf8(&out, c);
	}
	return str_slice(&out);
}

/* ---- encoded words ---- */

/* RFC 2047 section 4.2: Q is quoted-printable with "_" for a space. */
static void add_q(struct str *out, struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '=' && i + 2 < text.n && ascii_hex(text.p[i + 1]) >= 0 && ascii_hex(text.p[i + 2]) >= 0) {
			c = (char)(ascii_hex(text.p[i + 1]) << 4 | ascii_hex(text.p[i + 2]));
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		str_addc(out, c);
	}
}

static void add_b(struct str *out, struct slice text)
{
	struct mime_decoder d = { .encoding = MIME_BASE64 };
	char *room = str_room(out, text.n + 4);
	size_t n = mime_decode(&d, &text, room, text.n + 4);

	out->n += n + mime_decode_end(&d, room + n);
}

/* Where "?=" stands in s. *clear: before it there is none, as an earlier look has shown; so each octet of a text is looked at
 * once, however many words are begun and not ended. */
static ptrdiff_t word_end(struct slice s, const char **clear)
{
	size_t skip = *clear > s.p + 1 ? (size_t)(*clear - 1 - s.p) : 0;
	ptrdiff_t end = slice_search(slice_from(s, skip), SLICE("?="));

	if (end < 0 && s.p + s.n > *clear)
		*clear = s.p + s.n;
	return end < 0 ? end : end + (ptrdiff_t)skip;
}

/* encoded-word = "=?" charset "?" encoding "?" encoded-text "?=" at the start of s. Returns its length, 0: none. */
static size_t encoded_word(struct arena *a, struct slice s, struct str *out, const char **clear)
{
	struct slice rest = slice_from(s, 2), charset, encoding, text;
	struct str raw = STR_IN(a);
	ptrdiff_t end;

	if (!slice_starts(s, SLICE("=?")))
		return 0;
	rest = slice_head(rest, 2000);
	charset = slice_split(&rest, '?');
	encoding = slice_split(&rest, '?');
	if (charset.n == 0 || charset.n > 40 || encoding.n != 1 || (end = word_end(rest, clear)) < 0)
		return 0;
	text = slice_head(rest, (size_t)end);
	if (encoding.p[0] == 'Q' || encoding.p[0] == 'q')
		add_q(&raw, text);
	else if (encoding.p[0] == 'B' || encoding.p[0] == 'b')
		add_b(&raw, text);
	else
		return 0;
	str_add(out, mime_charset(a, charset, str_slice(&raw)));
	return (size_t)(rest.p + end + 2 - s.p);
}

/* Section 6.2: white space between two encoded words is not shown. */
struct slice mime_words(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);
	size_t after_word = SIZE_MAX;
	const char *clear = text.p;

	if (slice_search(text, SLICE("=?")) < 0)
		return text;
	for (size_t i = 0; i < text.n;) {
		size_t n = text.p[i] == '=' ? encoded_word(a, slice_from(text, i), &out, &clear) : 0;
		if (n > 0) {
			i += n;
			after_word = out.n;
			continue;
		}
		if (after_word == out.n && ascii_space(text.p[i])) {
			size_t end = i;
			while (end < text.n && ascii_space(text.p[end]))
				end++;
			if (slice_starts(slice_from(text, end), SLICE("=?"))) {
				i = end;
				continue;
			}
		}
		str_addc(&out, text.p[i++]);
	}
	return str_slice(&out);
}
