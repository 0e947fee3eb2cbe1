/*
 * The text of a notice: where its own words end and the returned message begins.
 *
 * The end is found by looks rather than by product: a line that announces the original, or a run of header fields at
 * the start of lines. What stands before it are the notice's own words, and only they are searched for sentences: what
 * the returned message says about deliveries says nothing.
 */
#include "check/notice_part.h"

#include "check/phrase_index.h"

#define MARKER_LINE_MIN 8u	/* octets of a line that announces the returned message */
#define MARKER_LINE_MAX 120u
#define FIELD_RUN 3u		/* header fields in a row make a header section */

/* ---- lines ---- */

void notice_text_lines(struct arena *a, struct slice text, struct notice_text *out)
{
	size_t cap = text.n / 24 + 16;

	out->lines = arena_alloc(a, cap * sizeof(*out->lines));
	while (text.n > 0 && out->count < NOTICE_LINES_MAX) {
		const char *lf = memchr(text.p, '\n', text.n);
		struct slice line = slice_head(text, lf ? (size_t)(lf - text.p) : text.n);
		text = slice_from(text, line.n + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (out->count == cap) {
			struct slice *grown = arena_alloc(a, cap * 2 * sizeof(*grown));
			memcpy(grown, out->lines, cap * sizeof(*grown));
			out->lines = grown;
			cap *= 2;
		}
		out->lines[out->count++] = line;
	}
}

/* Fields that stand in a row from line i on, folds between them allowed. *telling: among them is one that
 * only messages have. */
static unsigned field_run(const struct notice_text *t, uint32_t i, bool *telling)
{
	unsigned fields = 0, odd = 0;

	*telling = false;
	for (; i < t->count && fields < 8; i++) {
		struct slice line = t->lines[i];
		if (slice_trim(line).n == 0)
			break;
		if (notice_known_field(line) > 0) {
			fields++;
			odd = 0;
			*telling |= slice_starts_nocase(line, SLICE("received")) ||
				slice_starts_nocase(line, SLICE("message-id")) ||
				slice_starts_nocase(line, SLICE("return-path")) ||
				slice_starts_nocase(line, SLICE("mime-version")) ||
				slice_starts_nocase(line, SLICE("dkim-signature"));
		} else if (line.p[0] != ' ' && line.p[0] != '\t') {
			ptrdiff_t colon = slice_find(slice_head(line, 60), ':');
			if (colon < 2 || slice_find(slice_head(line, (size_t)colon), ' ') >= 0)
				odd++;
			if (odd > 2)
				break;
		}
	}
	return fields;
}

static bool is_decorated(struct slice line)
{
	line = slice_trim(line);
	return line.n > 4 && (line.p[0] == '-' || line.p[0] == '=' || line.p[0] == '*' || line.p[0] == '_' ||
		line.p[0] == '|' || line.p[0] == '+' || line.p[0] == '#' || line.p[line.n - 1] == ':' ||
		line.p[line.n - 1] == '-');
}

/* A header section begins at the line, or soon behind an announcement. */
static bool header_at(const struct notice_text *t, uint32_t i, bool announced)
{
	bool telling;
	unsigned fields;

	if (notice_known_field(t->lines[i]) == 0)
		return false;
	fields = field_run(t, i, &telling);
	return announced ? fields >= 1 : fields >= FIELD_RUN && (telling || fields >= 4);
}

/* Behind an announcement the fields may follow after some blank lines. */
static uint32_t header_after(const struct notice_text *t, uint32_t i)
{
	for (uint32_t k = i + 1; k < t->count && k <= i + 6; k++) {
		if (header_at(t, k, true))
			return k;
		if (slice_trim(t->lines[k]).n > 0 && !is_decorated(t->lines[k]) && k > i + 3)
			break;
	}
	return t->count;
}

/* A line "<address>:" and what was the matter. */
static bool is_named(struct slice line)
{
	size_t n = line.n > 0 && line.p[0] == '<' ? notice_address_at(slice_from(line, 1)) : 0;

	return n > 0 && slice_starts(slice_from(line, n + 1), SLICE(">:"));
}

/* The text as far as it is folded. Each octet is folded once: for the lines that announce something, and for the words of the
 * notice, which are what was folded when the end is found. */
struct reading {
	struct notice_text *text;
	struct slice rest;		/* of the text, not yet folded */
	struct folding folded;
	uint32_t first_named;		/* line; count: none */
	size_t announced_at;		/* how much was folded before the line that announced something */
};

/* The line, folded; it is the next one. */
static struct slice line_fold(struct reading *r, uint32_t i, char *room)
{
	const struct notice_text *t = r->text;
	const char *end = i + 1 < t->count ? t->lines[i + 1].p : t->lines[i].p + t->lines[i].n;
	size_t before = r->folded.n, n = (size_t)(end - r->rest.p);
	struct folding alone = { .p = room, .room = MARKER_LINE_MAX };

	folding_add(&r->folded, slice_head(r->rest, n));
	r->rest = slice_from(r->rest, n);
	if (r->folded.n < r->folded.room)
		return slice_make(r->folded.p + before, r->folded.n - before);
	if (t->lines[i].n <= MARKER_LINE_MAX)
		folding_add(&alone, t->lines[i]);
	return slice_make(room, alone.n);
}

/* Finds the end of the notice's own words; returns how much of what is folded they are. */
static size_t end_find(struct reading *r)
{
	struct notice_text *t = r->text;
	uint32_t announced = t->count;
	char room[MARKER_LINE_MAX];

	t->end = t->header_line = r->first_named = t->count;
	for (uint32_t i = 0; i < t->count && t->header_line == t->count; i++) {
		size_t before = r->folded.n;
		struct slice line = t->lines[i], folded = line_fold(r, i, room);
		if (line.n < 4)
			continue;
		if (header_at(t, i, false)) {
			t->end = announced < i ? announced : i;
			t->header_line = i;
			return announced < i ? r->announced_at : before;
		}
		if (is_named(line)) {		/* the notice still speaks */
			announced = t->count;
			if (r->first_named == t->count)
				r->first_named = i;
		}
		if (line.n >= MARKER_LINE_MIN && line.n <= MARKER_LINE_MAX && phrases_marker(folded)) {
			uint32_t header = header_after(t, i);
			if (header < t->count) {
				t->end = i;
				r->announced_at = before;
			} else if (is_decorated(line) && i > 3 && announced == t->count) {
				announced = i;
				r->announced_at = before;
			}
			t->header_line = header;
		}
	}
	/* Announced, and then other things than a header section. */
	if (t->end == t->count)
		t->end = announced;
	if (t->end < t->count)
		return r->announced_at;
	folding_add(&r->folded, r->rest);
	return r->folded.n;
}

struct slice notice_text_behind_fields(struct arena *a, struct slice text)
{
	struct notice_text t = { .count = 0 };
	unsigned fields = 0;

	notice_text_lines(a, text, &t);
	for (uint32_t i = 0; i < t.count; i++) {
		fields += notice_known_field(t.lines[i]) > 0;
		if (slice_trim(t.lines[i]).n == 0)
			return fields >= FIELD_RUN ? slice_from(text, (size_t)(t.lines[i].p - text.p)) : text;
	}
	return text;
}

void notice_text_read(struct arena *a, struct slice text, struct notice_text *out)
{
	struct reading r = { .text = out, .rest = text, .folded.room = text.n < NOTICE_FOLDED_MAX ? text.n : NOTICE_FOLDED_MAX };
	size_t own;

	*out = (struct notice_text){ .count = 0 };
	notice_text_lines(a, text, out);
	r.folded.p = arena_alloc(a, r.folded.room + 1);
	own = end_find(&r);
	out->named = r.first_named < out->end;
	out->folded = slice_make(r.folded.p, own);
	out->says = phrases_in_text(out->folded);
	out->json = out->folded.n > 0 && out->folded.p[0] == '{' &&
		(slice_search(slice_head(out->folded, 200), SLICE("\"notificationtype\"")) >= 0 ||
		 slice_search(slice_head(out->folded, 200), SLICE("\"eventtype\"")) >= 0);
}

/* ---- HTML ---- */

static size_t entity_at(struct slice s, char *out)
{
	static const struct { const char *name; char c; } entities[] = { { "&lt;", '<' }, { "&gt;", '>' },
		{ "&amp;", '&' }, { "&quot;", '"' }, { "&nbsp;", ' ' }, { "&#39;", '\'' }, { "&#64;", '@' },
		{ "&apos;", '\'' }, { "&#8217;", '\'' }, { "&#160;", ' ' } };

	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		struct slice name = slice_of(entities[i].name);
		if (slice_starts_nocase(s, name)) {
			*out = entities[i].c;
			return name.n;
		}
	}
	return 0;
}

static bool tag_breaks(struct slice tag)
{
	static const char *const names[] = { "br", "p", "/p", "div", "/div", "tr", "/tr", "li", "h1", "h2", "h3", "/h1",
		"/h2", "/h3", "td", "table", "blockquote", "hr", "pre", "/pre", NULL };
	size_t n = 0;

	while (n < tag.n && (ascii_alpha(tag.p[n]) || ascii_digit(tag.p[n]) || tag.p[n] == '/'))
		n++;
	for (size_t i = 0; names[i]; i++)
		if (slice_eq_nocase(slice_head(tag, n), slice_of(names[i])))
			return true;
	return false;
}

/* Behind the end of an element whose content is no text. */
static size_t skip_element(struct slice html, size_t at)
{
	static const char *const names[][2] = { { "<style", "</style" }, { "<script", "</script" },
		{ "<!--", "-->" }, { "<title", "</title" } };

	for (size_t i = 0; i < 4; i++) {
		ptrdiff_t end;
		if (!slice_starts_nocase(slice_from(html, at), slice_of(names[i][0])))
			continue;
		end = slice_search_nocase(slice_from(html, at), slice_of(names[i][1]));
		return end < 0 ? html.n : at + (size_t)end;
	}
	return at;
}

struct slice notice_text_of_html(struct arena *a, struct slice html)
{
	char *out = arena_alloc(a, html.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < html.n;) {
		char c = html.p[i];
		size_t entity = c == '&' ? entity_at(slice_from(html, i), &c) : 0;
		if (c == '<' && entity == 0) {
			ptrdiff_t end;
			size_t skipped = skip_element(html, i);
			i = skipped;
			end = slice_find(slice_from(html, i), '>');
			if (end < 0)
				break;
			if (tag_breaks(slice_head(slice_from(html, i + 1), (size_t)end)))
				out[n++] = '\n';
			i += (size_t)end + 1;
			continue;
		}
		out[n++] = c == '\r' || c == '\n' ? ' ' : c;
		i += entity > 0 ? entity : 1;
	}
	return slice_make(out, n);
}
