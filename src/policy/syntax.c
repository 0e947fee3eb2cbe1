/*
 * Words and blocks. A recursive descent over one file at a time; an include is
 * read in place. Depth of blocks and of includes is bounded, since a file that
 * includes itself is a mistake that postmasters make.
 *
 * Rejected: a parser generator (its errors have no place worth showing), and YAML
 * (a mail administrator's quotes and colons mean something else there).
 */
#include "policy/syntax.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 8
#define MAX_FILE (16u * 1024u * 1024u)
#define LINE_SHOWN 200u
#define BYTE_ORDER_MARK SLICE("\xef\xbb\xbf")

struct reader {
	struct report *report;
	const struct source *source;
	size_t at;
	uint32_t line, column;
	unsigned blocks, includes;
	bool broken;		/* a string has no end: its statement has none, and that was said */
};

/* ---- mistakes ---- */

static struct slice line_at(const struct source *s, uint32_t line)
{
	struct slice rest = s->text;

	while (--line > 0 && rest.n > 0)
		slice_split(&rest, '\n');
	return slice_split(&rest, '\n');
}

/* C0, DEL, and C1 as UTF-8 has them (U+0080 to U+009F), which some terminals obey, too. */
static bool is_control(struct slice text, size_t i)
{
	unsigned char c = (unsigned char)text.p[i], before = i > 0 ? (unsigned char)text.p[i - 1] : 0;

	return (c < ' ' && c != '\t') || c == 127 || (before == 0xc2 && c < 0xa0);
}

/* For a terminal: what would move its cursor or change its colours is a question mark. */
static void add_shown(struct str *out, struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		str_addc(out, is_control(text, i) ? '?' : text.p[i]);
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;	/* RFC 3629 section 3 */
}

/* The line of a word, or the part of it around the word, and a caret below. */
static void add_excerpt(struct str *out, const struct word *at)
{
	struct slice line = line_at(at->source, at->line);
	size_t column = at->column - 1 < line.n ? at->column - 1 : line.n, end = column + at->length;
	size_t start = column > LINE_SHOWN / 2 ? column - LINE_SHOWN / 2 : 0;

	while (start > 0 && start < column && !begins_character(line.p[start]))
		start++;
	end = end < start + LINE_SHOWN ? end : start + LINE_SHOWN;
	str_puts(out, "\n    ");
	add_shown(out, slice_head(slice_from(line, start), LINE_SHOWN));
	str_puts(out, "\n    ");
	for (size_t i = start; i < column; i++)
		if (begins_character(line.p[i]))
			str_addc(out, line.p[i] == '\t' ? '\t' : ' ');
	str_addc(out, '^');
	for (size_t i = column + 1; i < end && i < line.n; i++)
		if (begins_character(line.p[i]))
			str_addc(out, '~');
}

static void say(struct report *r, const struct word *at, const char *kind, const char *format, va_list args)
{
	struct str out = STR_IN(r->arena), text = STR_IN(r->arena);

	if (at->line == 0)
		str_printf(&out, "%s: %s: ", at->source->path, kind);
	else
		str_printf(&out, "%s:%u:%u: %s: ", at->source->path, at->line, at->column, kind);
	str_vprintf(&text, format, args);
	add_shown(&out, str_slice(&text));
	if (at->line != 0)
		add_excerpt(&out, at);
	r->say(r->arg, str_cstr(&out));
}

void report_error(struct report *r, const struct word *at, const char *format, ...)
{
	va_list args;

	r->errors++;
	va_start(args, format);
	say(r, at, "error", format, args);
	va_end(args);
}

void report_warning(struct report *r, const struct word *at, const char *format, ...)
{
	va_list args;

	r->warnings++;
	va_start(args, format);
	say(r, at, "warning", format, args);
	va_end(args);
}

/* ---- characters ---- */

static int peek(const struct reader *in)
{
	return in->at < in->source->text.n ? (unsigned char)in->source->text.p[in->at] : -1;
}

static int next(struct reader *in)
{
	int c = peek(in);

	if (c < 0)
		return c;
	in->at++;
	if (c == '\n') {
		in->line++;
		in->column = 1;
	} else {
		in->column++;
	}
	return c;
}

static void skip_blank(struct reader *in)
{
	for (int c = peek(in); c >= 0; c = peek(in)) {
		if (c == '#') {
			while (peek(in) >= 0 && peek(in) != '\n')
				next(in);
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			next(in);
		} else {
			return;
		}
	}
}

static struct word place(const struct reader *in)
{
	return (struct word){ .source = in->source, .line = in->line, .column = in->column, .length = 1 };
}

static bool ends_word(int c)
{
	return c <= 0 || strchr(" \t\r\n;{}\"#", c) != NULL;
}

static void read_quoted(struct reader *in, struct str *text, const struct word *at)
{
	next(in);
	for (;;) {
		int c = next(in);

		if (c == '\\')
			c = next(in);
		else if (c == '"')
			return;
		if (c < 0 || c == '\n') {
			report_error(in->report, at, "quoted string does not end on its line");
			in->broken = true;
			return;
		}
		str_addc(text, (char)c);
	}
}

static struct word read_word(struct reader *in)
{
	struct word w = place(in);
	struct str text = STR_IN(in->report->arena);

	if (peek(in) == '"')
		read_quoted(in, &text, &w);
	else
		while (!ends_word(peek(in)))
			str_addc(&text, (char)next(in));
	w.text = slice_make(str_cstr(&text), text.n);
	w.length = in->line == w.line && in->column > w.column ? in->column - w.column : 1;
	return w;
}

/* ---- statements ---- */

static struct statement *read_statements(struct reader *in, bool inside);
static struct statement *read_included(struct reader *in, const struct statement *st);

static void add_word(struct reader *in, struct statement *st, size_t *room, struct word w)
{
	if (st->count == *room) {
		struct word *larger = arena_array(in->report->arena, struct word, *room ? *room *= 2 : (*room = 8));

		if (st->count > 0)
			memcpy(larger, st->words, st->count * sizeof(w));
		st->words = larger;
	}
	st->words[st->count++] = w;
}

/* Words up to ; or {. NULL at the end of the block or file. */
static struct statement *read_statement(struct reader *in, bool inside)
{
	struct statement *st = arena_new(in->report->arena, struct statement);
	size_t room = 0;

	for (;;) {
		skip_blank(in);
		int c = peek(in);

		if (c == ';' && st->count == 0) {
			next(in);
			continue;
		}
		if (c == ';' || c == '{' || c < 0 || (c == '}' && (inside || st->count > 0)))
			break;
		if (c == '}') {
			struct word at = place(in);

			report_error(in->report, &at, "'}' closes no block");
			next(in);
			continue;
		}
		add_word(in, st, &room, read_word(in));
		if (in->broken)
			break;
	}
	if (st->count == 0 && peek(in) == '{') {
		struct word at = place(in);

		report_error(in->report, &at, "block without a name");
		add_word(in, st, &room, at);
	}
	return st->count > 0 ? st : NULL;
}

static void end_statement(struct reader *in, struct statement *st)
{
	struct word at = place(in);

	if (in->broken) {
		in->broken = false;
		return;
	}
	if (peek(in) == '{') {
		next(in);
		st->is_block = true;
		if (++in->blocks > MAX_DEPTH)
			report_error(in->report, &at, "blocks nested too deep");
		else
			st->children = read_statements(in, true);
		in->blocks--;
		skip_blank(in);
		if (peek(in) == '}')
			next(in);
		else
			report_error(in->report, &st->words[0], "block is not closed with '}'");
		skip_blank(in);
		if (peek(in) == ';')
			next(in);
		return;
	}
	if (peek(in) == ';')
		next(in);
	else
		report_error(in->report, &st->words[st->count - 1], "';' missing after '%.*s'",
			SLICE_ARG(st->words[st->count - 1].text));
}

static struct statement *read_statements(struct reader *in, bool inside)
{
	struct statement *first = NULL, **last = &first, *st;

	while ((st = read_statement(in, inside))) {
		end_statement(in, st);
		if (slice_eq(st->words[0].text, SLICE("include")) && !st->is_block)
			*last = read_included(in, st);
		else
			*last = st;
		while (*last)
			last = &(*last)->next;
	}
	return first;
}

/* ---- files ---- */

static bool read_file(struct arena *a, const char *path, struct slice *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct str text = STR_IN(a);
	ssize_t n = -1;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		errno = EISDIR;
	else
		while (text.n <= MAX_FILE && (n = read(fd, str_room(&text, 65536), 65536)) > 0)
			text.n += (size_t)n;
	if (text.n > MAX_FILE) {
		n = -1;
		errno = EFBIG;
	}
	int error = errno;
	close(fd);
	errno = error;
	*out = str_slice(&text);
	return n >= 0;
}

/* A word with NUL in it would end there for everybody who reads it as a C string. */
static bool refuse_nul(const struct reader *in)
{
	ptrdiff_t nul = slice_find(in->source->text, '\0');
	struct word at = place(in);

	if (nul < 0)
		return false;
	for (ptrdiff_t i = 0; i < nul; i++) {
		at.column = in->source->text.p[i] == '\n' ? 1 : at.column + 1;
		at.line += in->source->text.p[i] == '\n';
	}
	report_error(in->report, &at, "NUL octet: this is no text");
	return true;
}

static struct statement *parse(struct report *r, const char *name, struct slice text, unsigned includes)
{
	struct source *source = arena_new(r->arena, struct source);
	struct reader in = { .report = r, .source = source, .line = 1, .column = 1, .includes = includes };

	source->path = name;
	source->text = text;
	if (slice_starts(text, BYTE_ORDER_MARK))
		in.at = BYTE_ORDER_MARK.n;
	if (refuse_nul(&in))
		return NULL;
	return read_statements(&in, false);
}

static struct statement *read_one(struct reader *in, const struct word *at, const char *path)
{
	struct slice text;

	if (!read_file(in->report->arena, path, &text)) {
		report_error(in->report, at, "%s: %s", path, strerror(errno));
		return NULL;
	}
	return parse(in->report, arena_copy(in->report->arena, path, strlen(path)), text, in->includes + 1);
}

/* A pattern is relative to the file that names it; one without wildcards must match. */
static struct statement *read_included(struct reader *in, const struct statement *st)
{
	struct statement *first = NULL, **last = &first;
	glob_t found;

	if (st->count != 2) {
		report_error(in->report, &st->words[0], "include takes one file name or pattern");
		return NULL;
	}
	if (in->includes >= MAX_DEPTH) {
		report_error(in->report, &st->words[1], "includes nested too deep");
		return NULL;
	}
	const char *pattern = st->words[1].text.p, *slash = strrchr(in->source->path, '/');

	if (pattern[0] != '/' && slash)
		pattern = arena_printf(in->report->arena, "%.*s/%s", (int)(slash - in->source->path),
			in->source->path, pattern);
	if (glob(pattern, 0, NULL, &found) != 0) {
		if (!strpbrk(pattern, "*?["))
			report_error(in->report, &st->words[1], "%s: %s", pattern, strerror(ENOENT));
		return NULL;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		*last = read_one(in, &st->words[1], found.gl_pathv[i]);
		while (*last)
			last = &(*last)->next;
	}
	globfree(&found);
	return first;
}

struct statement *syntax_read_file(struct report *r, const char *path)
{
	struct source whole = { .path = path };
	struct word nowhere = { .source = &whole };
	struct slice text;

	if (!read_file(r->arena, path, &text)) {
		report_error(r, &nowhere, "%s", strerror(errno));
		return NULL;
	}
	return parse(r, path, text, 0);
}

struct statement *syntax_read_text(struct report *r, const char *name, struct slice text)
{
	return parse(r, name, text, 0);
}
