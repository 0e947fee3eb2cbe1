/*
 * Names: the input as plain text, as text of a master file, and as a packet. What is read must
 * be well-formed, print, and read back as itself.
 */
#include "base/log.h"
#include "wire/dns_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const struct dns_name *name)
{
	struct dns_name again, lower = *name;
	char text[DNS_TEXT_MAX + 1];
	const char *why = NULL;
	size_t at = 0, n, end = 0;

	while (end < name->n && name->wire[end] != 0) {
		BUG_ON(name->wire[end] > DNS_LABEL_MAX);
		end += 1 + (size_t)name->wire[end];
	}
	BUG_ON(end + 1 != name->n);
	n = dns_name_text(name, text);
	BUG_ON(n >= DNS_TEXT_MAX || strlen(text) != n);
	text[n] = '.';
	BUG_ON(!dns_name_parse_escaped(&again, slice_make(text, n + 1), NULL, &why));
	BUG_ON(again.n != name->n || memcmp(again.wire, name->wire, name->n) != 0);
	BUG_ON(!dns_name_unpack(&again, dns_name_slice(name), &at) || at != name->n);
	dns_name_lower(&lower);
	BUG_ON(!dns_name_eq(&lower, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice input = slice_make((const char *)bytes, n);
	struct dns_name name, origin;
	const char *why = NULL;

	if (dns_name_parse(&name, input))
		check(&name);
	if (dns_name_parse_escaped(&name, input, NULL, &why)) {
		check(&name);
		origin = name;
		if (dns_name_parse_escaped(&name, input, &origin, &why))
			check(&name);
	} else {
		BUG_ON(!why);
	}
	for (size_t i = 0; i < n && i < 300; i++) {
		size_t at = i;

		if (!dns_name_unpack(&name, input, &at))
			continue;
		BUG_ON(at <= i || at > n);
		check(&name);
	}
	return 0;
}
