/*
 * A walk over stored mail.
 *
 * A file whose first line begins with "From " is an mbox (RFC 4155): each such line behind a blank one begins a
 * message. Everything streams: an mbox may be larger than memory.
 */
#include "app/tool_mail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 65536u
#define DEPTH_MAX 32

struct mail_file {
	struct tool *tool;
	const struct mail_sink *sink;
	const char *path;
	uint32_t messages;	/* begun */
	bool mbox, open;
	bool blank_before;	/* the line before was empty, or there was none */
	bool held_blank;	/* an empty line of an mbox, which belongs to the next "From " if one follows */
	char head[5];		/* the first octets of the line at hand, as far as they were cut off */
	uint8_t head_n;
	bool at_start, last_cr;
	bool in_from;		/* in a "From " line */
	bool skipping;		/* in a blank line before the message */
	char out[BLOCK * 2 + 16];
	size_t out_n;
};

static void out_flush(struct mail_file *f)
{
	if (f->out_n > 0 && f->open)
		f->sink->take(f->sink->arg, slice_make(f->out, f->out_n));
	f->out_n = 0;
}

static void message_end(struct mail_file *f)
{
	out_flush(f);
	if (f->open)
		f->sink->end(f->sink->arg);
	f->open = false;
}

static void message_begin(struct mail_file *f)
{
	const char *name = f->path;

	message_end(f);
	if (f->messages++ > 0)
		name = arena_printf(&f->tool->arena, "%s#%u", f->path, f->messages);
	f->open = true;
	f->sink->begin(f->sink->arg, name);
}

/* Octets of a line, LF to CRLF. */
static void out_add(struct mail_file *f, struct slice piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		if (f->out_n + 2 > sizeof(f->out))
			out_flush(f);
		if (piece.p[i] == '\n' && !f->last_cr)
			f->out[f->out_n++] = '\r';
		f->out[f->out_n++] = piece.p[i];
		f->last_cr = piece.p[i] == '\r';
	}
}

/* A line begins; `start` holds its first octets, as many as the question needs or all there are. */
static void line_begin(struct mail_file *f, struct slice start)
{
	if (f->messages == 0) {
		f->mbox = slice_starts(start, SLICE("From "));
		message_begin(f);
		f->in_from = f->mbox;
		return;
	}
	if (f->mbox && f->blank_before && slice_starts(start, SLICE("From "))) {
		f->held_blank = false;
		message_begin(f);
		f->in_from = true;
		return;
	}
	f->in_from = false;
	if (f->held_blank)
		out_add(f, SLICE("\n"));
	f->held_blank = false;
}

static bool is_blank(struct slice line)
{
	return slice_eq(line, SLICE("\n")) || slice_eq(line, SLICE("\r\n"));
}

/* A part of a line, the first one with at least five octets or the line end. */
static void line_part(struct mail_file *f, struct slice part, bool first)
{
	/* Blank lines before a message are not of it. */
	if (first && f->messages == 0 && slice_trim(part).n == 0) {
		f->skipping = part.n == 0 || part.p[part.n - 1] != '\n';
		return;
	}
	if (f->skipping) {
		ptrdiff_t lf = slice_find(part, '\n');
		f->skipping = lf < 0;
		if (slice_trim(part).n == 0)
			return;
		f->skipping = false;
		first = true;
	}
	if (first)
		line_begin(f, part);
	if (f->in_from) {
		f->blank_before = false;
		return;
	}
	if (first && f->mbox && is_blank(part)) {
		f->held_blank = f->blank_before = true;
		return;
	}
	f->blank_before = false;
	out_add(f, part);
}

static void block_take(struct mail_file *f, struct slice block)
{
	while (block.n > 0) {
		struct slice part = block;
		ptrdiff_t lf = slice_find(block, '\n');
		bool first = f->at_start;
		if (lf >= 0)
			part = slice_head(block, (size_t)lf + 1);
		block = slice_from(block, part.n);
		if (f->head_n > 0 || (first && lf < 0 && part.n < sizeof(f->head))) {
			/* The beginning of a line in pieces: gathered until it can be told. */
			while (part.n > 0 && f->head_n < sizeof(f->head) &&
			       (f->head_n == 0 || f->head[f->head_n - 1] != '\n')) {
				f->head[f->head_n++] = part.p[0];
				part = slice_from(part, 1);
			}
			if (f->head_n < sizeof(f->head) && f->head[f->head_n - 1] != '\n')
				continue;
			line_part(f, slice_make(f->head, f->head_n), true);
			f->head_n = 0;
			first = false;
		}
		if (part.n > 0)
			line_part(f, part, first);
		f->at_start = lf >= 0;
	}
}

static bool file_read(struct tool *t, const char *path, int fd, const struct mail_sink *sink)
{
	static struct mail_file f;
	static char block[BLOCK];
	ssize_t n;

	f = (struct mail_file){ .tool = t, .sink = sink, .path = path, .at_start = true, .blank_before = true };
	while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			block_take(&f, slice_make(block, (size_t)n));
	if (n < 0) {
		tool_fail(0, "%s: %s", tool_safe(t, slice_of(path)), strerror(errno));
		f.open = false;
		return false;
	}
	if (f.head_n > 0)
		line_part(&f, slice_make(f.head, f.head_n), true);
	if (f.messages == 0)
		message_begin(&f);
	message_end(&f);
	return true;
}

/* ---- directories ---- */

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Of a Maildir (cur, new, tmp) only cur, new and folders hold messages that are complete. */
static bool is_message_place(bool maildir, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	return !maildir || strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || name[0] == '.';
}

static bool walk(struct tool *t, const char *path, const struct mail_sink *sink, int depth)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);
	bool ok = true, maildir;

	if (n < 0 || depth > DEPTH_MAX) {
		tool_fail(0, "%s: %s", tool_safe(t, slice_of(path)), n < 0 ? strerror(errno) : "too deep");
		return false;
	}
	maildir = is_directory(arena_printf(&t->arena, "%s/cur", path)) &&
		is_directory(arena_printf(&t->arena, "%s/new", path));
	for (int i = 0; i < n; i++) {
		const char *below = arena_printf(&t->arena, "%s/%s", path, names[i]->d_name);
		bool directory = is_directory(below);
		if (is_message_place(maildir, names[i]->d_name) && (directory || (!maildir && names[i]->d_name[0] != '.'))) {
			if (directory)
				ok = walk(t, below, sink, depth + 1) && ok;
			else
				ok = tool_mail_each(t, below, sink) && ok;
		}
		free(names[i]);
	}
	free(names);
	return ok;
}

bool tool_mail_each(struct tool *t, const char *path, const struct mail_sink *sink)
{
	int fd;
	bool ok;

	if (strcmp(path, "-") == 0)
		return file_read(t, path, 0, sink);
	if (is_directory(path))
		return walk(t, path, sink, 0);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		tool_fail(0, "%s: %s", tool_safe(t, slice_of(path)), strerror(errno));
		return false;
	}
	ok = file_read(t, path, fd, sink);
	close(fd);
	return ok;
}
