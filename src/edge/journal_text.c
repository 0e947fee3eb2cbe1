/*
 * The text of records: finding the strings in them, without building a tree.
 *
 * A search may have to look into a million records, ageing rewrites all of
 * them; both want the strings with their places and nothing else. What is read
 * here we have written ourselves, but disks fail: a record that is no JSON is
 * told, never walked over its end. (jansson was rejected: 10 us and a
 * hundred allocations a record, and the places of the strings are lost.)
 */
#include "edge/journal_file.h"

#include <stdlib.h>

#define DEPTH 8

struct walk {
	const char *p, *end;
	char path[128];
	size_t path_n;
	int depth;
	bool stopped;		/* by fn */
	bool (*fn)(void *arg, const char *path, struct slice raw);
	void *arg;
};

static bool take(struct walk *w, char c)
{
	if (w->p == w->end || *w->p != c)
		return false;
	w->p++;
	return true;
}

static bool walk_string(struct walk *w, struct slice *raw)
{
	const char *begin;

	if (!take(w, '"'))
		return false;
	for (begin = w->p; w->p < w->end && *w->p != '"'; w->p++)
		if (*w->p == '\\' && ++w->p == w->end)
			return false;
	*raw = slice_make(begin, (size_t)(w->p - begin));
	return take(w, '"');
}

static bool path_add(struct walk *w, struct slice step)
{
	if (w->path_n + step.n + 1 >= sizeof(w->path))
		return false;
	memcpy(w->path + w->path_n, step.p, step.n);
	w->path_n += step.n;
	w->path[w->path_n] = '\0';
	return true;
}

static void path_cut(struct walk *w, size_t n)
{
	w->path_n = n;
	w->path[n] = '\0';
}

static bool walk_value(struct walk *w);

static bool walk_object(struct walk *w)
{
	size_t n = w->path_n;
	struct slice name;

	if (take(w, '}'))
		return true;
	do {
		if (!walk_string(w, &name) || !take(w, ':') || (n > 0 && !path_add(w, SLICE("."))) ||
		    !path_add(w, name) || !walk_value(w))
			return false;
		if (w->stopped)
			return true;
		path_cut(w, n);
	} while (take(w, ','));
	return take(w, '}');
}

static bool walk_array(struct walk *w)
{
	size_t n = w->path_n;

	if (take(w, ']'))
		return true;
	if (!path_add(w, SLICE("[]")))
		return false;
	do {
		if (!walk_value(w))
			return false;
		if (w->stopped)
			return true;
	} while (take(w, ','));
	path_cut(w, n);
	return take(w, ']');
}

/* A number, true, false, null. */
static bool walk_word(struct walk *w)
{
	const char *begin = w->p;

	while (w->p < w->end && (ascii_digit(*w->p) || ascii_alpha(*w->p) || *w->p == '-' || *w->p == '+' ||
			*w->p == '.'))
		w->p++;
	return w->p > begin;
}

static bool walk_value(struct walk *w)
{
	struct slice raw;
	bool ok;

	if (w->depth == DEPTH || w->p == w->end)
		return false;
	if (*w->p == '"') {
		if (!walk_string(w, &raw))
			return false;
		w->stopped = !w->fn(w->arg, w->path, raw);
		return true;
	}
	w->depth++;
	if (take(w, '{'))
		ok = walk_object(w);
	else if (take(w, '['))
		ok = walk_array(w);
	else
		ok = walk_word(w);
	w->depth--;
	return ok;
}

bool journal_each_text(struct slice record, bool (*fn)(void *arg, const char *path, struct slice raw), void *arg)
{
	struct walk w = { .p = record.p, .end = record.p + record.n, .fn = fn, .arg = arg };

	if (record.n == 0 || record.p[0] != '{' || !walk_value(&w))
		return false;
	return w.stopped || w.p == w.end;
}

/* Four hexadecimal digits, or -1. */
static int hex4(const char *p)
{
	int value = 0;

	for (int i = 0; i < 4; i++) {
		int digit = ascii_hex(p[i]);

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

void journal_unescape(struct str *out, struct slice raw)
{
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];
		int code;

		if (c != '\\' || i + 1 == raw.n) {
			str_addc(out, c);
			continue;
		}
		c = raw.p[++i];
		switch (c) {
		case 'n': str_addc(out, '\n'); break;
		case 'r': str_addc(out, '\r'); break;
		case 't': str_addc(out, '\t'); break;
		case 'b': str_addc(out, '\b'); break;
		case 'f': str_addc(out, '\f'); break;
		case 'u':
			code = raw.n - i > 4 ? hex4(raw.p + i + 1) : -1;
			if (code >= 0) {
				str_utf8(out, (uint32_t)code);
				i += 4;
			}
			break;
		default:
			str_addc(out, c);
		}
	}
}

bool journal_path_is_key(const char *path)
{
	static const char *const paths[] = { "ref", "client.ip", "mail_from", "rcpt[].address", "message.id",
		"in_doubt" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return false;
}

/* ---- time ---- */

static int digits(const char *p, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!ascii_digit(p[i]))
			return -1;
		value = value * 10 + p[i] - '0';
	}
	return value;
}

/* {"time":"2026-11-23T02:49:59.123Z", as clock_rfc3339() writes it. */
nanoseconds journal_record_time(struct slice record)
{
	static const struct slice begin = { "{\"time\":\"", 9 };
	const char *p = record.p + begin.n;

	if (record.n < begin.n + 24 || !slice_starts(record, begin))
		return -1;
	struct tm tm = { .tm_year = digits(p, 4) - 1900, .tm_mon = digits(p + 5, 2) - 1, .tm_mday = digits(p + 8, 2),
		.tm_hour = digits(p + 11, 2), .tm_min = digits(p + 14, 2), .tm_sec = digits(p + 17, 2) };
	int ms = digits(p + 20, 3);

	if (tm.tm_year < 0 || tm.tm_mon < 0 || tm.tm_mday < 0 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0 || ms < 0)
		return -1;
	return (nanoseconds)timegm(&tm) * NS_PER_SECOND + ms * NS_PER_MS;
}
