/*
 * Addresses and prefixes from a list such as an operator or a PROXY header would give: each line
 * is parsed as both. What parses must print and parse back to itself, libc must agree on what is an
 * address, and a set of all prefixes must answer as each of them does.
 */
#include "base/ip.h"
#include "base/log.h"

#include <arpa/inet.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool libc_agrees(struct slice line, bool ok)
{
	char copy[64] = "";
	uint8_t out[16];

	if (line.n >= sizeof(copy) || slice_find(line, '\0') >= 0)
		return !ok;
	if (line.n)
		memcpy(copy, line.p, line.n);
	return ok == (inet_pton(AF_INET, copy, out) == 1 || inet_pton(AF_INET6, copy, out) == 1);
}

static void one_address(struct arena *a, struct slice line)
{
	struct str name = STR_IN(a);
	struct ip ip, again;
	char text[IP_TEXT], literal[56];
	bool ok = ip_parse(&ip, line);

	BUG_ON(!libc_agrees(line, ok));
	if (!ok)
		return;
	BUG_ON(!ip_parse(&again, slice_of(ip_text(&ip, text))) || !ip_eq(&ip, &again));
	BUG_ON(strlen(ip_literal(&ip, literal)) >= sizeof(literal));
	ip_ptr_name(&name, &ip);
	BUG_ON(name.n > 72 || name.n < 20);
	BUG_ON((ip_is_private(&ip) || ip_is_loopback(&ip)) && !ip_is_special(&ip));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice rest = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	struct ip_set *set = ip_set_new(&a);
	struct ip_prefix prefixes[64];
	size_t count = 0;

	while (rest.n && count < 64) {
		struct slice line = slice_split(&rest, '\n');
		const char *why = NULL;
		one_address(&a, line);
		if (ip_prefix_parse(&prefixes[count], line, &why)) {
			BUG_ON(prefixes[count].bits > 128);
			ip_set_add(set, &prefixes[count++]);
		} else {
			BUG_ON(!why);
		}
	}
	ip_set_finish(set);
	for (size_t i = 0; i < count; i++) {
		/* Its first address, that with one bit turned, and the next one of the 16 bytes. */
		for (unsigned turn = 0; turn <= 128; turn++) {
			struct ip ip = prefixes[i].address;
			bool expected = false;
			if (turn < 128)
				ip.bytes[turn / 8] ^= (uint8_t)(0x80 >> turn % 8);
			for (size_t j = 0; j < count && !expected; j++)
				expected = ip_prefix_contains(&prefixes[j], &ip);
			BUG_ON(ip_set_contains(set, &ip) != expected);
		}
	}
	arena_drop(&a);
	return 0;
}
