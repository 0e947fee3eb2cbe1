/*
 * Socketmap: netstrings and what stands in them.
 *
 * Strict both ways. A length with leading zeros or a sign, a missing comma, a word of
 * status that is none: the two sides have lost step, and whatever follows might be the answer to another
 * question. That a server writes its words in another case was rejected, too: no server does, and a
 * guess at what "notfound" means would be a guess about a mailbox.
 */
#include "wire/socketmap_text.h"

static const char *const words[] = {
	[SOCKETMAP_FOUND] = "OK",
	[SOCKETMAP_NOTFOUND] = "NOTFOUND",
	[SOCKETMAP_TEMP] = "TEMP",
	[SOCKETMAP_TIMEOUT] = "TIMEOUT",
	[SOCKETMAP_PERM] = "PERM",
};

const char *socketmap_status_word(enum socketmap_status status)
{
	return words[status];
}

/* ---- netstrings ---- */

static enum netstring_parse bad(const char **why, const char *reason)
{
	*why = reason;
	return NETSTRING_BAD;
}

enum netstring_parse netstring_read(struct slice in, size_t most, struct slice *text, size_t *used, const char **why)
{
	size_t length = 0, at = 0;

	while (at < in.n && ascii_digit(in.p[at])) {
		if (at > 0 && in.p[0] == '0')
			return bad(why, "a netstring length with a leading zero");
		length = length * 10 + (size_t)(in.p[at++] - '0');
		if (length > most)
			return bad(why, "a netstring longer than allowed");
	}
	if (at == in.n)
		return NETSTRING_MORE;
	if (at == 0 || in.p[at] != ':')
		return bad(why, "no netstring");
	if (in.n - at - 1 < length + 1)
		return NETSTRING_MORE;
	if (in.p[at + 1 + length] != ',')
		return bad(why, "a netstring without its final comma");
	*text = slice_make(in.p + at + 1, length);
	*used = at + 1 + length + 1;
	return NETSTRING_DONE;
}

/* ---- replies ---- */

bool socketmap_reply_parse(struct slice text, enum socketmap_status *status, struct slice *said, const char **why)
{
	struct slice rest = text, word = slice_split(&rest, ' ');

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!slice_eq(word, slice_of(words[i])))
			continue;
		*status = (enum socketmap_status)i;
		*said = rest;
		return true;
	}
	*why = "a reply that is none of OK, NOTFOUND, TEMP, TIMEOUT, PERM";
	return false;
}

void socketmap_reply_write(struct str *out, enum socketmap_status status, struct slice said)
{
	struct slice word = slice_of(words[status]);

	/* The blank is part of the reply even where nothing follows: "NOTFOUND<SP>". */
	said = slice_head(said, SOCKETMAP_REPLY_MAX - word.n - 1);
	str_number(out, word.n + 1 + said.n);
	str_addc(out, ':');
	str_add(out, word);
	str_addc(out, ' ');
	str_add(out, said);
	str_addc(out, ',');
}

/* ---- questions ---- */

bool socketmap_question_parse(struct slice text, struct slice *map, struct slice *key, const char **why)
{
	ptrdiff_t blank = slice_find(text, ' ');

	if (blank <= 0 || (size_t)blank + 1 >= text.n) {
		*why = "a question is the name of a map, a blank and a key";
		return false;
	}
	*map = slice_head(text, (size_t)blank);
	*key = slice_from(text, (size_t)blank + 1);
	return true;
}

void socketmap_question_write(struct str *out, struct slice map, struct slice key)
{
	str_number(out, map.n + 1 + key.n);
	str_addc(out, ':');
	str_add(out, map);
	str_addc(out, ' ');
	str_add(out, key);
	str_addc(out, ',');
}
