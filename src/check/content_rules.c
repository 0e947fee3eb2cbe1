/*
 * The rules on the way of the message: a consumer of the MIME parser. It runs while the message arrives and costs no
 * time at its end. Names are compared as a reader would show them (encoded words and RFC 2231 undone).
 *
 * Rejected: regular expressions over the body: what they cost depends on who writes the message.
 */
#include "check/content_rules.h"

#include "base/clock.h"
#include "check/finding.h"
#include "wire/mime.h"
#include "wire/zip.h"

#include <openssl/evp.h>

#define HOST_MOST 255u
#define LINKS_MOST 2000u	/* looked up, of a message */

/* A link on its way: behind "http://" or "https://". */
struct link_reader {
	uint8_t seen;		/* octets of "://" seen, with an "http" or "https" before */
	uint8_t scheme;		/* octets of "https" seen */
	bool in_host;
	uint16_t length;
	char host[HOST_MOST];
};

struct rules {
	const struct rules_conf *conf;
	struct envelope *envelope;
	struct arena *arena;
	struct mime *mime;
	EVP_MD_CTX *digest;		/* NULL: no rule wants it */
	bool wanted[RULE_HEADER + 1];
	bool hit[RULES_MOST];
	struct findings found;
	int64_t weight;
	nanoseconds began, spent;
	uint32_t links;
	struct link_reader link;
	struct zip zip;
};

bool rules_match(struct slice pattern, struct slice text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == ascii_lower(text.p[t]))) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

/* ---- hits ---- */

static void hit(struct rules *r, const struct content_rule *rule, const char *what, struct slice evidence)
{
	struct finding *f;

	if (r->hit[rule - r->conf->rules])
		return;
	r->hit[rule - r->conf->rules] = true;
	r->weight += rule->weight;
	f = finding_add(&r->found, r->arena, CHECK_CONTENT, RESULT_LISTED,
		arena_printf(r->arena, "rules: %s, weight %d", what, rule->weight));
	f->evidence = finding_escaped(r->arena, evidence, 200);
	f->weight = rule->weight;
}

static void try_patterns(struct rules *r, enum rule_kind kind, const char *what, struct slice text)
{
	for (uint32_t i = 0; i < r->conf->count; i++) {
		const struct content_rule *rule = &r->conf->rules[i];

		for (uint32_t k = 0; rule->kind == kind && k < rule->count; k++)
			if (rules_match(rule->patterns[k], text))
				hit(r, rule, what, text);
	}
}

static void try_lists(struct rules *r, enum rule_kind kind, const char *what, struct slice key, struct slice shown)
{
	const char *where;

	for (uint32_t i = 0; i < r->conf->count; i++) {
		const struct content_rule *rule = &r->conf->rules[i];

		if (rule->kind == kind && address_list_contains(&rule->list, key, &where))
			hit(r, rule, what, shown);
	}
}

static void try_rule(struct rules *r, enum rule_kind kind, const char *what, struct slice evidence)
{
	for (uint32_t i = 0; i < r->conf->count; i++)
		if (r->conf->rules[i].kind == kind)
			hit(r, &r->conf->rules[i], what, evidence);
}

/* ---- links ---- */

static void end_host(struct rules *r)
{
	struct link_reader *l = &r->link;
	struct arena scratch = ARENA_INIT;
	struct slice host = slice_make(l->host, l->length), name;
	ptrdiff_t colon = slice_find(host, ':');

	l->in_host = false;
	if (colon >= 0)
		host = slice_head(host, (size_t)colon);
	while (host.n > 0 && host.p[host.n - 1] == '.')		/* of the sentence */
		host.n--;
	if (r->links++ < LINKS_MOST && domain_valid(host, true) && (name = domain_canonical(&scratch, host)).n > 0)
		try_lists(r, RULE_HOST, "a link to a listed host",
			slice_of(arena_printf(&scratch, "x@%.*s", SLICE_ARG(name))), name);
	arena_drop(&scratch);
}

static void take_host(struct rules *r, char c)
{
	struct link_reader *l = &r->link;

	if (c == '@') {			/* what stood before was a user */
		l->length = 0;
	} else if (ascii_alpha(c) || ascii_digit(c) || (c && strchr(".-_:%", c)) || (unsigned char)c >= 0x80) {
		if (l->length < HOST_MOST)
			l->host[l->length++] = c;
	} else {
		end_host(r);
	}
}

/* "http" ["s"] "://" */
static void take_scheme(struct link_reader *l, char c)
{
	static const char word[] = "https", separator[] = "://";

	if (l->scheme >= 4 && c == separator[l->seen]) {
		if (++l->seen < 3)
			return;
		l->in_host = true;
		l->length = 0;
	} else if (l->seen == 0 && l->scheme < 5 && c == word[l->scheme]) {
		l->scheme++;
		return;
	}
	l->seen = 0;
	l->scheme = !l->in_host && c == 'h';
}

static void read_links(struct rules *r, struct slice piece)
{
	for (size_t i = 0; i < piece.n; i++)
		if (r->link.in_host)
			take_host(r, piece.p[i]);
		else
			take_scheme(&r->link, ascii_lower(piece.p[i]));
}

/* ---- parts ---- */

static void on_zip_name(void *arg, struct slice name, bool locked)
{
	struct rules *r = arg;
	ptrdiff_t slash = slice_rfind(name, '/');

	if (locked)
		try_rule(r, RULE_LOCKED, "an encrypted archive", name);
	try_patterns(r, RULE_ATTACHMENT, "a file in an archive", slice_from(name, (size_t)(slash + 1)));
}

static bool is_text(const struct mime_part *part)
{
	return strcmp(part->type, "text") == 0;
}

static enum mime_want on_begin(void *arg, struct mime_part *part)
{
	struct rules *r = arg;
	struct arena scratch = ARENA_INIT;
	struct slice name = SLICE_NULL;

	try_patterns(r, RULE_TYPE, "a media type", slice_of(arena_printf(&scratch, "%s/%s", part->type, part->subtype)));
	if (part->shape == MIME_LEAF)
		name = mime_file_name(&scratch, part);
	if (name.n > 0)
		try_patterns(r, RULE_ATTACHMENT, "an attachment", name);
	arena_drop(&scratch);
	if (part->shape != MIME_LEAF)
		return MIME_SKIP;
	memset(&r->link, 0, offsetof(struct link_reader, host));
	zip_begin(&r->zip, on_zip_name, r);
	if (r->digest)
		EVP_DigestInit_ex(r->digest, EVP_sha256(), NULL);
	return MIME_DECODED;
}

static void on_body(void *arg, struct mime_part *part, struct slice piece)
{
	struct rules *r = arg;

	if (part->shape != MIME_LEAF)
		return;
	if (r->digest)
		EVP_DigestUpdate(r->digest, piece.p, piece.n);
	if (r->wanted[RULE_HOST] && is_text(part))
		read_links(r, piece);
	if (r->wanted[RULE_ATTACHMENT] || r->wanted[RULE_LOCKED])
		zip_push(&r->zip, piece);
}

static void on_end(void *arg, struct mime_part *part)
{
	struct rules *r = arg;
	struct arena scratch = ARENA_INIT;
	struct str hex = STR_IN(&scratch);
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (part->shape != MIME_LEAF)
		return;
	if (r->link.in_host)
		end_host(r);
	if (r->digest && EVP_DigestFinal_ex(r->digest, sum, &n) == 1) {
		str_hex(&hex, slice_make((const char *)sum, n));
		try_lists(r, RULE_HASH, "a part with a listed digest",
			slice_of(arena_printf(&scratch, "%s@digest.invalid", str_cstr(&hex))), slice_of(str_cstr(&hex)));
	}
	arena_drop(&scratch);
}

static const struct mime_events events = { on_begin, on_body, on_end };

/* ---- the header ---- */

/* RFC 5322 section 3.6: these stand once at most, From and Date exactly once. */
static const char *oddity_of(const struct header *h)
{
	static const struct { struct slice name; const char *text; } once[] = {
		{ { "Subject", 7 }, "two Subject fields" }, { { "To", 2 }, "two To fields" },
		{ { "Message-ID", 10 }, "two Message-ID fields" }, { { "Sender", 6 }, "two Sender fields" },
		{ { "Reply-To", 8 }, "two Reply-To fields" }, { { "Date", 4 }, "two Date fields" },
	};
	uint32_t from = header_count(h, SLICE("From"));

	if (h->malformed)
		return "a line that is no field";
	if (from != 1)
		return from ? "two From fields" : "no From field";
	if (header_count(h, SLICE("Date")) == 0)
		return "no Date field";
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (header_count(h, once[i].name) > 1)
			return once[i].text;
	return NULL;
}

/* ---- the check ---- */

struct rules *rules_begin(const struct rules_conf *conf, struct envelope *e)
{
	struct rules *r;

	if (conf->count == 0)
		return NULL;
	r = arena_new(e->arena, struct rules);
	r->conf = conf;
	r->envelope = e;
	r->arena = e->arena;
	for (uint32_t i = 0; i < conf->count; i++)
		r->wanted[conf->rules[i].kind] = true;
	r->digest = r->wanted[RULE_HASH] ? EVP_MD_CTX_new() : NULL;
	r->mime = mime_begin(r->arena, &events, r);
	return r;
}

void rules_header(struct rules *r, const struct header *h)
{
	const char *oddity = oddity_of(h);

	r->began = clock_precise();
	if (oddity)
		try_rule(r, RULE_HEADER, "an odd header", slice_of(oddity));
	mime_header(r->mime, h);
	r->spent += clock_precise() - r->began;
}

void rules_body(struct rules *r, struct slice piece)
{
	r->began = clock_precise();
	mime_push(r->mime, piece);
	r->spent += clock_precise() - r->began;
}

void rules_finish(struct rules *r, struct findings *found)
{
	const struct rules_conf *c = r->conf;
	struct finding *f;

	r->began = clock_precise();
	mime_finish(r->mime);
	r->spent += clock_precise() - r->began;
	findings_join(found, &r->found);
	f = finding_add(found, r->arena, CHECK_CONTENT, c->reject_weight && r->weight >= c->reject_weight ? RESULT_REFUSED :
		c->mark_weight && r->weight >= c->mark_weight ? RESULT_SUSPECT : RESULT_PASS,
		arena_printf(r->arena, "rules: weight %lld", (long long)r->weight));
	f->weight = (int)r->weight;
	f->cost_us = (uint32_t)(r->spent / NS_PER_US);
}

void rules_drop(struct rules *r)
{
	EVP_MD_CTX_free(r->digest);
	r->digest = NULL;
}
