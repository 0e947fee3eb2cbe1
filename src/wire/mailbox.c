/*
 * A list is read in one pass, octet by octet, without going back: words are collected until what follows tells what they
 * were. Before "<" or ":" they are a phrase, before "@" a local part.
 *
 *   address-list = (address *("," address))
 *   mailbox      = name-addr / addr-spec
 *   name-addr    = [phrase] [CFWS] "<" [obs-route] addr-spec ">" [CFWS]
 *   group        = phrase ":" [mailbox-list] ";"
 *   addr-spec    = local-part "@" domain
 */
#include "wire/mailbox.h"

#define COMMENT_DEPTH_MAX 32

struct reader {
	struct arena *arena;
	struct slice rest;
	size_t max;
	struct mailbox_list *list;
	struct mailbox **last;
	struct str words;		/* the words since the last delimiter, as a local part is written */
	const char *phrase_from, *phrase_to;
	bool spaced;			/* words that only a phrase has between them: "a b" */
	bool quoted;			/* there was a quoted string among them */
	bool in_group;
	const char *why;
};

static bool fail(struct reader *r, const char *why)
{
	r->why = why;
	return false;
}

static char peek(const struct reader *r)
{
	return r->rest.n > 0 ? r->rest.p[0] : '\0';
}

static void skip(struct reader *r, size_t n)
{
	r->rest = slice_from(r->rest, n);
}

/* "(" ... ")", nested, with quoted pairs. */
static bool skip_comment(struct reader *r)
{
	unsigned depth = 0;

	do {
		char c = peek(r);

		if (r->rest.n == 0)
			return fail(r, "a comment is not closed");
		if (c == '\\' && r->rest.n > 1)
			skip(r, 1);
		else if (c == '(' && ++depth > COMMENT_DEPTH_MAX)
			return fail(r, "comments are nested too deeply");
		else if (c == ')')
			depth--;
		skip(r, 1);
	} while (depth > 0);
	return true;
}

/* CFWS. true as well if there is none. */
static bool skip_space(struct reader *r)
{
	while (r->rest.n > 0) {
		char c = peek(r);

		if (c == '(') {
			if (!skip_comment(r))
				return false;
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			skip(r, 1);
		} else {
			return true;
		}
	}
	return true;
}

static bool is_atext(char c)
{
	return (unsigned char)c > 127 || ascii_alpha(c) || ascii_digit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Atoms and dots, at the cursor. */
static struct slice take_atoms(struct reader *r)
{
	size_t n = 0;

	while (n < r->rest.n && (is_atext(r->rest.p[n]) || r->rest.p[n] == '.'))
		n++;
	struct slice atoms = slice_head(r->rest, n);

	skip(r, n);
	return atoms;
}

/* A quoted string with its quotes; folds in it are taken out. */
static bool take_quoted(struct reader *r, struct str *out)
{
	str_addc(out, '"');
	skip(r, 1);
	while (r->rest.n > 0) {
		char c = peek(r);

		skip(r, 1);
		if (c == '\r' || c == '\n')
			continue;
		str_addc(out, c);
		if (c == '"')
			return true;
		if (c == '\\' && r->rest.n > 0) {
			str_addc(out, peek(r));
			skip(r, 1);
		}
	}
	return fail(r, "a quoted string is not closed");
}

static bool take_literal(struct reader *r, struct str *out)
{
	while (r->rest.n > 0) {
		char c = peek(r);

		skip(r, 1);
		str_addc(out, c);
		if (c == ']')
			return true;
		if (c == '\\' || (c == '[' && out->n > 1) || (unsigned char)c < ' ')
			break;
	}
	return fail(r, "a domain literal is malformed");
}

/* No empty label: neither at an end nor in the middle. */
static bool dots_are_placed(struct slice s)
{
	return s.n > 0 && s.p[0] != '.' && s.p[s.n - 1] != '.' && slice_search(s, SLICE("..")) < 0;
}

/* domain = dot-atom / domain-literal / obs-domain */
static bool take_domain(struct reader *r, struct str *out)
{
	bool want_more = true;

	if (!skip_space(r))
		return false;
	if (peek(r) == '[')
		return take_literal(r, out);
	while (want_more) {
		struct slice atoms = take_atoms(r);

		str_add(out, atoms);
		if (!skip_space(r))
			return false;
		want_more = atoms.n > 0 && (peek(r) == '.' || (atoms.p[atoms.n - 1] == '.' && is_atext(peek(r))));
	}
	if (!dots_are_placed(str_slice(out)))
		return fail(r, "a domain is malformed");
	return true;
}

static void words_begin(struct reader *r)
{
	r->words = STR_IN(r->arena);
	r->phrase_from = r->phrase_to = NULL;
	r->spaced = r->quoted = false;
}

static void add_mailbox(struct reader *r, struct slice local, struct slice domain, struct slice phrase)
{
	struct mailbox *m;
	struct str address = STR_IN(r->arena);

	if (r->list->count++ >= r->max)
		return;
	m = arena_new(r->arena, struct mailbox);
	str_add(&address, local);
	str_addc(&address, '@');
	str_add(&address, domain);
	*m = (struct mailbox){ .address = str_slice(&address), .local = slice_head(str_slice(&address), local.n),
		.domain = slice_from(str_slice(&address), local.n + 1), .phrase = slice_trim(phrase),
		.in_group = r->in_group };
	*r->last = m;
	r->last = &m->next;
}

/* What may stand in no phrase, and does in honest ones: "[List] Name <a@example.com>". */
static bool is_stray(char c)
{
	return c == '[' || c == ']' || c == '\\' || c == 127 || (c > '\0' && c < ' ');
}

/* Words up to a delimiter: a phrase or a local part. */
static bool take_words(struct reader *r)
{
	for (;;) {
		const char *at;
		size_t before = r->words.n;

		if (!skip_space(r))
			return false;
		at = r->rest.p;
		if (peek(r) == '"') {
			r->quoted = true;
			if (!take_quoted(r, &r->words))
				return false;
		} else if (is_stray(peek(r))) {
			r->spaced = true;
			str_addc(&r->words, peek(r));
			skip(r, 1);
		} else {
			str_add(&r->words, take_atoms(r));
		}
		if (r->words.n == before)
			return true;
		/* Between two words of a local part stands a dot (obs-local-part); else it is a phrase. */
		if (before > 0 && r->words.p[before - 1] != '.' && r->words.p[before] != '.')
			r->spaced = true;
		if (!r->phrase_from)
			r->phrase_from = at;
		r->phrase_to = r->rest.p;
	}
}

static struct slice phrase_of(const struct reader *r)
{
	return r->phrase_from ? slice_make(r->phrase_from, (size_t)(r->phrase_to - r->phrase_from)) : SLICE_NULL;
}

static bool local_part_valid(const struct reader *r)
{
	return !r->spaced && (r->quoted ? r->words.n > 2 : dots_are_placed(str_slice(&r->words)));
}

/* obs-route = *CFWS "@" domain *("," ["@" domain]) ":" is read and dropped. */
static bool skip_route(struct reader *r)
{
	while (peek(r) == '@' || peek(r) == ',') {
		struct str dropped = STR_IN(r->arena);
		bool at = peek(r) == '@';

		skip(r, 1);
		if ((at && !take_domain(r, &dropped)) || !skip_space(r))
			return false;
	}
	if (peek(r) != ':')
		return fail(r, "a route is malformed");
	skip(r, 1);
	return skip_space(r);
}

static bool take_angle(struct reader *r)
{
	struct slice phrase = phrase_of(r);
	struct str domain = STR_IN(r->arena);

	skip(r, 1);
	words_begin(r);
	if (!skip_space(r) || (peek(r) == '@' && !skip_route(r)) || !take_words(r))
		return false;
	if (peek(r) != '@' || !local_part_valid(r))
		return fail(r, "there is no address between < and >");
	skip(r, 1);
	if (!take_domain(r, &domain) || !skip_space(r))
		return false;
	if (peek(r) != '>')
		return fail(r, "< is not closed");
	skip(r, 1);
	add_mailbox(r, str_slice(&r->words), str_slice(&domain), phrase);
	words_begin(r);
	return skip_space(r);
}

/* Behind a local part. If "<" follows, it was a phrase that looks like an address. */
static bool take_address(struct reader *r)
{
	struct str domain = STR_IN(r->arena);

	if (!local_part_valid(r))
		return fail(r, "a local part is malformed");
	skip(r, 1);
	if (!take_domain(r, &domain) || !skip_space(r))
		return false;
	if (peek(r) == '<') {
		r->phrase_to = r->rest.p;
		r->list->address_in_phrase = true;
		return take_angle(r);
	}
	add_mailbox(r, str_slice(&r->words), str_slice(&domain), SLICE_NULL);
	words_begin(r);
	return true;
}

/* One member of the list, up to its delimiter. */
static bool take_member(struct reader *r)
{
	words_begin(r);
	if (!take_words(r))
		return false;
	switch (peek(r)) {
	case '<':
		return take_angle(r);
	case '@':
		return take_address(r);
	case ':':
		if (r->in_group || !r->phrase_from)
			return fail(r, "a group is malformed");
		r->in_group = true;
		r->list->groups++;
		skip(r, 1);
		return take_member(r);
	default:
		r->list->bare_names += r->phrase_from != NULL;
		return true;
	}
}

static bool take_list(struct reader *r)
{
	while (r->rest.n > 0) {
		if (!take_member(r) || !skip_space(r))
			return false;
		if (peek(r) == ';' && r->in_group) {
			r->in_group = false;
			skip(r, 1);
			if (!skip_space(r))
				return false;
			if (r->rest.n > 0 && peek(r) != ',')
				return fail(r, "something stands behind a group");
		}
		if (r->rest.n == 0)
			break;
		if (peek(r) != ',')
			return fail(r, "something stands behind an address");
		skip(r, 1);
	}
	if (r->list->count == 0 && r->list->bare_names > 0)
		return fail(r, "a name without an address");
	return !r->in_group || fail(r, "a group is not closed");
}

bool mailbox_list_parse(struct arena *a, struct slice value, size_t max, struct mailbox_list *out, const char **why)
{
	struct reader r = { .arena = a, .rest = value, .max = max, .list = out };

	*out = (struct mailbox_list){ .first = NULL };
	r.last = &out->first;
	if (take_list(&r))
		return true;
	*why = r.why;
	return false;
}

/* RFC 5322 section 3.6: there is exactly one From. */
struct mailbox *header_authors(struct arena *a, const struct header *h, size_t max, const char **why)
{
	static const struct slice name = { "From", 4 };
	struct mailbox *first = NULL, **last = &first;
	uint32_t fields = header_count(h, name);
	const char *defect = fields == 0 ? "there is no From field" : fields > 1 ? "there are several From fields" : NULL;
	size_t left = max;

	for (uint32_t i = 0; i < fields && left > 0; i++) {
		struct mailbox_list list;
		const char *reason = NULL;

		if (!mailbox_list_parse(a, header_field(h, name, i)->value, left, &list, &reason) && !defect)
			defect = reason;
		else if (list.count == 0 && !defect)
			defect = "From names nobody";
		*last = list.first;
		for (; *last; last = &(*last)->next)
			left--;
	}
	if (why)
		*why = defect;
	return first;
}
