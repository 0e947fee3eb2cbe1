/*
 * Records and macros of SPF: the input is a record, then a domain-spec, then an explanation. What the parser lets through the
 * expander must be able to read, and the names it makes must be names.
 */
#include "base/log.h"
#include "wire/dns_name.h"
#include "wire/spf_macro.h"
#include "wire/spf_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct spf_macro_values values_for(const struct ip *ip)
{
	return (struct spf_macro_values){ .local = SLICE("a-b+c"), .sender_domain = SLICE("mail.example.org"),
		.domain = SLICE("example.org"), .ip = ip, .helo = SLICE("x\xff\"\r\n%{d}."), .now = 1600000000 };
}

static void expand(struct arena *a, struct slice text, bool domain)
{
	struct ip four, six;

	BUG_ON(!ip_parse(&four, SLICE("192.0.2.1")) || !ip_parse(&six, SLICE("2001:db8::1")));
	for (int i = 0; i < 2; i++) {
		struct spf_macro_values v = values_for(i ? &six : &four);
		struct str out = STR_IN(a);
		struct slice target;
		struct dns_name name;

		spf_macro_expand(&out, text, &v);
		BUG_ON(out.n > SPF_EXPANSION_MAX);
		if (!domain)
			continue;
		target = spf_macro_domain(a, text, &v);
		BUG_ON(target.n > 253 || (target.p && !dns_name_parse(&name, target)));
	}
	for (char letter = 'a'; letter <= 'z'; letter++)
		spf_macro_uses(text, letter);
}

static void check_record(struct arena *a, struct slice text)
{
	struct spf_record r;
	const char *why = NULL;

	if (!spf_record_is(text))
		return;
	if (!spf_record_parse(&r, a, text, &why)) {
		BUG_ON(!why || !ascii_only(slice_of(why)) || strlen(why) > 600);
		return;
	}
	for (size_t i = 0; i < r.count; i++) {
		BUG_ON(r.terms[i].bits4 > 32 || r.terms[i].bits6 > 128 || r.terms[i].mechanism > SPF_EXISTS);
		BUG_ON(r.terms[i].text.n == 0 || slice_find(r.terms[i].text, ' ') >= 0);
		if (r.terms[i].domain.n > 0)
			expand(a, r.terms[i].domain, true);
	}
	if (r.redirect.n > 0)
		expand(a, r.redirect, true);
	if (r.explanation.n > 0)
		expand(a, r.explanation, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	struct str record = STR_IN(&a);
	const char *why;

	check_record(&a, text);
	str_puts(&record, "v=spf1 ");
	str_add(&record, slice_head(text, 4096));
	check_record(&a, str_slice(&record));
	text = slice_head(text, 4096);
	if (spf_macro_valid(text, SPF_MACRO_DOMAIN, &why))
		expand(&a, text, true);
	if (spf_macro_valid(text, SPF_MACRO_EXPLANATION, &why))
		expand(&a, text, false);
	arena_drop(&a);
	return 0;
}
