/*
 * Addresses: a path that was taken prints and parses back to itself, nothing in it can end a line or a path, and its
 * canonical form is its own canonical form.
 *
 * First octet: bit 0 SMTPUTF8, bit 1 forward-path, bit 2 separators, bit 3 the input is a domain.
 */
#include "wire/address.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool same_path(const struct path *a, const struct path *b)
{
	return slice_eq(a->text, b->text) && slice_eq(a->local, b->local) && slice_eq(a->domain, b->domain) &&
		a->null == b->null && a->quoted == b->quoted && a->literal == b->literal && a->utf8 == b->utf8;
}

static void check_octets(struct slice s, bool utf8)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		BUG_ON(c < ' ' || c == 0x7f || (c >= 0x80 && !utf8));
	}
	BUG_ON(!utf8_valid(s));
}

static void check_print(struct arena *a, const struct path *p, bool utf8, bool forward)
{
	struct str s = STR_IN(a);
	struct slice rest;
	struct path again, copy = path_copy(a, p);
	const char *why;

	BUG_ON(!same_path(p, &copy));
	str_addc(&s, '<');
	str_add(&s, p->text);
	str_addc(&s, '>');
	rest = str_slice(&s);
	BUG_ON(!(forward ? path_parse_forward : path_parse)(&again, &rest, utf8, &why));
	BUG_ON(rest.n != 0 || !same_path(p, &again));
}

static void check_form(struct arena *a, const struct path *p, struct slice separators)
{
	struct address_form form;
	struct slice again;

	if (!address_form(a, p, separators, &form))
		return;
	check_octets(form.canonical, true);
	check_octets(form.plain, true);
	BUG_ON((form.tag == ADDRESS_TAG_NONE) != (form.tag_text.p == NULL));
	/* A-labels may be longer than what they stand for, and without its detail a local part may need quotes. */
	if (form.canonical.n <= 254 && slice_rfind(form.canonical, '@') <= 250) {
		BUG_ON(!address_canonical(a, form.canonical, separators, &again));
		BUG_ON(!slice_eq(form.canonical, again));
	}
	BUG_ON(!address_canonical(a, p->text, separators, &again) || !slice_eq(form.canonical, again));
	/* Taking the tag off leads to the same mailbox. */
	BUG_ON(!address_canonical(a, form.plain, separators, &again) || !slice_eq(form.canonical, again));
}

static void check_domain(struct arena *a, struct slice domain)
{
	struct slice canonical = domain_canonical(a, domain), again;

	if (canonical.p == NULL)
		return;
	BUG_ON(canonical.p[0] != '[' && !domain_valid(canonical, false));
	again = domain_canonical(a, canonical);
	BUG_ON(!slice_eq(again, canonical));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice rest;
	const char *why = NULL;
	bool utf8, forward;
	struct path p;

	if (n < 1)
		return 0;
	utf8 = bytes[0] & 1;
	forward = bytes[0] & 2;
	rest = slice_make((const char *)bytes + 1, n - 1);
	if (bytes[0] & 8) {
		check_domain(&a, rest);
	} else if ((forward ? path_parse_forward : path_parse)(&p, &rest, utf8, &why)) {
		BUG_ON(rest.n >= n - 1 || p.text.n > 254 || p.local.n > 250);
		check_octets(p.text, utf8);
		check_print(&a, &p, utf8, forward);
		check_form(&a, &p, bytes[0] & 4 ? SLICE("+-") : SLICE_NULL);
	} else {
		BUG_ON(why == NULL || rest.n != n - 1);
	}
	arena_drop(&a);
	return 0;
}
