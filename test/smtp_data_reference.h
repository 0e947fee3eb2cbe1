/*
 * What smtp_data should do, written as plainly as it can be: the whole input at
 * once, octet by octet, into two buffers. For its unit test and its fuzzer.
 */
#ifndef SPURN_TEST_SMTP_DATA_REFERENCE_H
#define SPURN_TEST_SMTP_DATA_REFERENCE_H

#include "wire/smtp_data.h"

#include <stdlib.h>

struct framed {
	struct str wire, content;
	uint64_t size;
	size_t used;
	bool end, bare_cr, bare_lf, nul, eight_bit, last_was_crlf;
};

/* ---- the reference ---- */

static inline void reference_content(struct framed *f, char c)
{
	str_addc(&f->content, c);
	f->nul |= c == '\0';
	f->eight_bit |= (c & 0x80) != 0;
}

static inline bool reference_ends_crlf(const struct str *s)
{
	return s->n == 0 || (s->n >= 2 && s->p[s->n - 2] == '\r' && s->p[s->n - 1] == '\n');
}

/* The wire view follows from the content alone. */
static inline void reference_stuff(struct framed *f)
{
	for (size_t i = 0; i < f->content.n; i++) {
		if (f->content.p[i] == '.' && reference_ends_crlf(&f->wire))
			str_addc(&f->wire, '.');
		str_addc(&f->wire, f->content.p[i]);
	}
}

/* chunks: BDAT, and its end if `last`. */
static inline struct framed reference_frame(struct arena *a, struct slice s, bool repair, bool chunks, bool last)
{
	struct framed f = { .wire = STR_IN(a), .content = STR_IN(a) };
	bool line_start = true;
	size_t i = 0;

	while (i < s.n) {
		size_t left = s.n - i;
		if (!chunks && line_start && s.p[i] == '.') {
			if (left == 1 || (left == 2 && s.p[i + 1] == '\r'))
				break;	/* held */
			if (s.p[i + 1] == '\r' && s.p[i + 2] == '\n') {
				f.end = true;
				i += 3;
				break;
			}
			line_start = false;
			i++;
			continue;
		}
		line_start = false;
		if (s.p[i] == '\r' && left == 1 && !last)
			break;		/* held */
		if (s.p[i] == '\r' && left > 1 && s.p[i + 1] == '\n') {
			reference_content(&f, '\r');
			reference_content(&f, '\n');
			line_start = true;
			i += 2;
			continue;
		}
		if (s.p[i] == '\n' && repair)
			reference_content(&f, '\r');
		if (s.p[i] != '\r' || !repair)
			reference_content(&f, s.p[i]);
		f.bare_lf |= s.p[i] == '\n';
		f.bare_cr |= s.p[i] == '\r';
		i++;
	}
	reference_stuff(&f);
	f.last_was_crlf = reference_ends_crlf(&f.content);
	if (last && !f.last_was_crlf)
		str_puts(&f.wire, "\r\n");
	f.size = f.content.n;
	f.used = f.end ? i : s.n;
	return f;
}

/* ---- the machine, fed in pieces ---- */

static inline void framed_wire(void *arg, struct slice piece)
{
	struct framed *f = arg;

	f->nul |= piece.n == 0;	/* no piece is empty: would show as a difference */
	str_add(&f->wire, piece);
}

static inline void framed_content(void *arg, struct slice piece)
{
	struct framed *f = arg;

	f->nul |= piece.n == 0;
	str_add(&f->content, piece);
}

/* next() says how long the next piece is (capped at what is left, at least 1). Each piece is a copy of exact length,
 * so that sanitizers see a step beyond it. */
static inline struct framed machine_frame(struct arena *a, struct slice s, bool repair, bool chunks, bool last,
	size_t (*next)(void *arg), void *arg)
{
	struct framed f = { .wire = STR_IN(a), .content = STR_IN(a) };
	struct smtp_data d;

	smtp_data_init(&d, framed_wire, framed_content, &f);
	d.repair = repair;
	while (f.used < s.n && !f.end) {
		size_t used, n = next ? next(arg) : s.n;
		struct slice piece = slice_head(slice_from(s, f.used), n > 0 ? n : 1);
		char *copy = malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		used = piece.n;
		if (chunks)
			smtp_data_push_chunk(&d, slice_make(copy, piece.n));
		else
			f.end = smtp_data_push(&d, slice_make(copy, piece.n), &used);
		free(copy);
		f.used += used;
	}
	if (last)
		smtp_data_finish_chunks(&d);
	f.size = d.content_size;
	f.bare_cr = d.bare_cr;
	f.bare_lf = d.bare_lf;
	f.nul |= d.nul;
	f.eight_bit = d.eight_bit;
	f.last_was_crlf = d.last_was_crlf;
	return f;
}

/* What differs, or NULL. */
static inline const char *framed_difference(const struct framed *a, const struct framed *b)
{
	if (!slice_eq(str_slice(&a->wire), str_slice(&b->wire)))
		return "wire";
	if (!slice_eq(str_slice(&a->content), str_slice(&b->content)))
		return "content";
	if (a->size != b->size)
		return "content_size";
	if (a->used != b->used)
		return "used";
	if (a->end != b->end)
		return "end";
	if (a->bare_cr != b->bare_cr)
		return "bare_cr";
	if (a->bare_lf != b->bare_lf)
		return "bare_lf";
	if (a->nul != b->nul)
		return "nul";
	if (a->eight_bit != b->eight_bit)
		return "eight_bit";
	if (a->last_was_crlf != b->last_was_crlf)
		return "last_was_crlf";
	return NULL;
}

/* What no backend must ever see: false if the wire view holds an end of data, or, where no bare CR or LF was
 * noted or all were repaired, anything that a lenient server could take for one. */
static inline bool framed_is_safe(const struct framed *f, bool repair)
{
	struct slice w = str_slice(&f->wire);
	bool clean = repair || (!f->bare_cr && !f->bare_lf);

	if (slice_starts(w, SLICE(".\r\n")) || slice_search(w, SLICE("\r\n.\r\n")) >= 0)
		return false;
	for (size_t i = 0; clean && i < w.n; i++) {
		if (w.p[i] == '\r' && (i + 1 == w.n || w.p[i + 1] != '\n'))
			return false;
		if (w.p[i] == '\n' && (i == 0 || w.p[i - 1] != '\r'))
			return false;
	}
	return true;
}

#endif
