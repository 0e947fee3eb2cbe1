/*
 * The recogniser: the same judgement however the message is cut, within bounds, and what it returns can be read again.
 *
 * First octet: bit 0 null reverse-path, bit 1 it is known; then a seed for the cuts, then the message.
 */
#include "check/returned.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct watched {
	size_t header, body;
	int ends;
};

static void watch_header(void *arg, struct slice header)
{
	((struct watched *)arg)->header += header.n;
}

static void watch_body(void *arg, struct slice piece)
{
	((struct watched *)arg)->body += piece.n;
}

static void watch_end(void *arg, bool whole)
{
	((struct watched *)arg)->ends += whole ? 1 : 1;
}

static const struct notice *judge(struct arena *a, struct slice s, uint8_t how, uint32_t *seed,
	const struct notice_watch *watch)
{
	struct path path = { .null = how & 1, .local = SLICE("a"), .domain = SLICE("b.example"), .text = SLICE("a@b.example") };
	struct notice_reader *r = notice_begin(a, how & 2 ? &path : NULL, watch);
	struct header h;
	bool told = false;

	header_init(&h, a, 1 << 16, 1000);
	while (s.n > 0) {
		size_t length = s.n, taken;
		char *copy;
		if (seed) {
			*seed = *seed * 1664525u + 1013904223u;
			length = 1 + ((*seed >> 28) == 0 ? *seed >> 8 & 255 : *seed >> 24 & 7);
			length = length < s.n ? length : s.n;
		}
		copy = malloc(length);
		memcpy(copy, s.p, length);
		taken = told ? 0 : header_push(&h, slice_make(copy, length));
		if (!told && h.done) {
			told = true;
			notice_header(r, &h);
			notice_body(r, h.body_lead);
		}
		if (told)
			notice_body(r, slice_make(copy + taken, length - taken));
		free(copy);
		s = slice_from(s, length);
	}
	if (!told) {
		header_finish(&h);
		notice_header(r, &h);
		notice_body(r, h.body_lead);
	}
	return notice_finish(r);
}

static bool any_domain(void *arg, struct slice domain)
{
	(void)arg;
	return domain.n > 0;
}

/* Looking for our signature changes nothing of what is recognised. */
static void look_for_signature(struct arena *a, struct slice input, uint8_t how, uint32_t *seed, const struct notice *expected)
{
	static const struct dkim_conf dkim = { .max_signatures = 10 };
	const struct returned_conf conf = { &dkim, any_domain, NULL, 0 };
	struct returned *r = returned_begin(a, &conf);
	const struct notice *n = judge(a, input, how, seed, returned_watch(r));

	BUG_ON(n->kind != expected->kind || strcmp(n->evidence, expected->evidence) != 0);
	returned_drop(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT, b = ARENA_INIT;
	struct watched w1 = { 0, 0, 0 }, w2 = { 0, 0, 0 };
	const struct notice_watch watch1 = { watch_header, watch_body, watch_end, &w1 };
	const struct notice_watch watch2 = { watch_header, watch_body, watch_end, &w2 };
	const struct notice *whole, *cut;
	struct slice input;
	uint32_t seed, count = 0;

	if (n < 5)
		return 0;
	memcpy(&seed, bytes + 1, 4);
	input = slice_make((const char *)bytes + 5, n - 5);
	whole = judge(&a, input, bytes[0], NULL, &watch1);
	cut = judge(&b, input, bytes[0], &seed, &watch2);
	look_for_signature(&b, input, bytes[0], &seed, whole);
	BUG_ON(whole->kind != cut->kind || strcmp(whole->evidence, cut->evidence) != 0);
	BUG_ON(!slice_eq(whole->original.header, cut->original.header) || whole->recipient_count != cut->recipient_count);
	BUG_ON(!slice_eq(whole->original.message_id, cut->original.message_id));
	BUG_ON(w1.header != w2.header || w1.body != w2.body || w1.ends != w2.ends || w1.ends > 1);
	BUG_ON(whole->original.header.n > NOTICE_ORIGINAL_MAX || whole->kind >= NOTICE_KIND_COUNT);
	for (const struct notice_recipient *r = whole->recipients; r; r = r->next) {
		count++;
		BUG_ON(r->address.n == 0 || r->address.n > 320);
	}
	BUG_ON(count != whole->recipient_count || count > NOTICE_RECIPIENTS_MAX);
	for (const char *p = whole->evidence; *p; p++)
		BUG_ON((unsigned char)*p < ' ' || (unsigned char)*p > '~');
	arena_drop(&a);
	arena_drop(&b);
	return 0;
}
