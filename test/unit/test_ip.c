/* Addresses and prefixes: text forms, kinds, reverse names, sets against a linear search. */
#include "unit.h"

#include "base/ip.h"
#include "base/table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static struct arena a;

static struct ip ip_of(const char *text)
{
	struct ip ip;

	if (!ip_parse(&ip, slice_of(text)))
		fail_msg("%s is no address", text);
	return ip;
}

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix prefix;
	const char *why = "";

	if (!ip_prefix_parse(&prefix, slice_of(text), &why))
		fail_msg("%s: %s", text, why);
	return prefix;
}

static void parse_and_print(void **state)
{
	static const char *const pairs[][2] = {
		{ "192.0.2.1", "192.0.2.1" }, { "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" }, { "10.20.30.109", "10.20.30.109" },
		{ "::ffff:192.0.2.1", "192.0.2.1" }, { "::FFFF:c000:201", "192.0.2.1" },
		{ "::", "::" }, { "::1", "::1" }, { "1::", "1::" },
		{ "2001:DB8::1", "2001:db8::1" },
		/* RFC 5952 sections 4.1, 4.2.2, 4.2.3 */
		{ "2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "0:0:1:2:3:4:5:6", "::1:2:3:4:5:6" }, { "1:2:3:4:5:6:0:0", "1:2:3:4:5:6::" },
		{ "1:0:0:4:5:6:7:8", "1::4:5:6:7:8" },
		{ "fe80:10:200:3000::abcd", "fe80:10:200:3000::abcd" },
		{ "::192.0.2.1", "::c000:201" }, { "64:ff9b::192.0.2.33", "64:ff9b::c000:221" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char out[IP_TEXT];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct ip ip = ip_of(pairs[i][0]), again;
		assert_string_equal(ip_text(&ip, out), pairs[i][1]);
		again = ip_of(out);
		assert_true(ip_eq(&ip, &again));
		assert_true(ip_is_v4(&ip) == (strchr(out, ':') == NULL));
	}
}

static void parse_nothing_else(void **state)
{
	static const char *const bad[] = {
		"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4",
		"1.2.3.4/32", "[1.2.3.4]", "1.2.3.-4", ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "12345::", "::g", "::1%lo", "::ffff:1.2.3.256", "IPv6:::1",
		"example.org", "1111:2222:3333:4444:5555:6666:7777:8888:", "3232235777",
		"11112222333344445555666677778888999900001111222233334444",
	};
	struct ip ip = ip_of("192.0.2.1"), before = ip;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (ip_parse(&ip, slice_of(bad[i])))
			fail_msg("\"%s\" is taken for an address", bad[i]);
	}
	assert_false(ip_parse(&ip, SLICE("1.2.3.4\0")));
	assert_false(ip_parse(&ip, SLICE("1.2.3.4\0x")));
	assert_false(ip_parse(&ip, SLICE_NULL));
	assert_true(ip_eq(&ip, &before));
}

/* All-over addresses print and parse as inet_ntop() and inet_pton() would have it. */
static void text_agrees_with_libc(void **state)
{
	char out[IP_TEXT], expected[INET6_ADDRSTRLEN];

	for (uint64_t i = 0; i < 20000; i++) {
		struct ip ip, again;
		uint64_t zeros = hash_bytes(&i, sizeof(i));
		random_bytes(ip.bytes, 16);
		for (int g = 0; g < 8; g++) {
			if (zeros >> g & 1)
				memset(ip.bytes + 2 * g, 0, 2);
			if (zeros >> (8 + g) & 1)
				ip.bytes[2 * g] = 0;
		}
		again = ip_of(ip_text(&ip, out));
		assert_true(ip_eq(&ip, &again));
		inet_ntop(AF_INET6, ip.bytes, expected, sizeof(expected));
		if (!strchr(expected, '.'))
			assert_string_equal(out, expected);
	}
}

static void sockaddrs(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_storage sa;
	struct ip ip = ip_of("192.0.2.1"), back;
	uint16_t port = 0;

	assert_int_equal(ip_to_sockaddr(&ip, 25, &sa), sizeof(struct sockaddr_in));
	assert_int_equal(sa.ss_family, AF_INET);
	assert_int_equal(((struct sockaddr_in *)&sa)->sin_addr.s_addr, htonl(0xc0000201));
	assert_true(ip_from_sockaddr(&back, &port, (struct sockaddr *)&sa));
	assert_true(ip_eq(&ip, &back));
	assert_int_equal(port, 25);
	ip = ip_of("2001:db8::1");
	assert_int_equal(ip_to_sockaddr(&ip, 65535, &sa), sizeof(struct sockaddr_in6));
	assert_true(ip_from_sockaddr(&back, &port, (struct sockaddr *)&sa));
	assert_true(ip_eq(&ip, &back));
	assert_int_equal(port, 65535);
	assert_true(ip_from_sockaddr(&back, NULL, (struct sockaddr *)&sa));
	/* A dual-stack socket shows IPv4 as mapped: the same client. */
	((struct sockaddr_in6 *)&sa)->sin6_addr = (struct in6_addr){ .s6_addr = {
		[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1 } };
	assert_true(ip_from_sockaddr(&back, &port, (struct sockaddr *)&sa));
	ip = ip_of("192.0.2.1");
	assert_true(ip_eq(&ip, &back));
	assert_false(ip_from_sockaddr(&back, &port, (struct sockaddr *)&un));
	assert_true(ip_eq(&ip, &back));
}

static void literals(void **state)
{
	struct ip ip = ip_of("192.0.2.1");
	char out[56];

	assert_string_equal(ip_literal(&ip, out), "[192.0.2.1]");
	ip = ip_of("2001:db8::1");
	assert_string_equal(ip_literal(&ip, out), "[IPv6:2001:db8::1]");
	memset(ip.bytes, 0xff, 16);
	assert_int_equal(strlen(ip_literal(&ip, out)), 46);
}

/* ---- prefixes ---- */

static void prefixes(void **state)
{
	struct ip_prefix p = prefix_of("192.0.2.0/24");
	struct ip in = ip_of("192.0.2.255"), out = ip_of("192.0.3.0");

	assert_int_equal(p.bits, 120);
	assert_true(ip_prefix_contains(&p, &in));
	assert_false(ip_prefix_contains(&p, &out));
	assert_int_equal(prefix_of("192.0.2.1").bits, 128);
	assert_int_equal(prefix_of("2001:db8::").bits, 128);
	assert_int_equal(prefix_of("0.0.0.0/0").bits, 96);
	assert_int_equal(prefix_of("::ffff:192.0.2.0/120").bits, 120);
	p = prefix_of("2001:db8:8000::/33");
	in = ip_of("2001:db8:ffff::1");
	out = ip_of("2001:db8:7fff::1");
	assert_true(ip_prefix_contains(&p, &in));
	assert_false(ip_prefix_contains(&p, &out));
}

static void prefix_mistakes(void **state)
{
	static const char *const bad[][2] = {
		{ "192.0.2.1/24", "host bits are set, did you mean 192.0.2.0/24?" },
		{ "10.0.0.1/8", "host bits are set, did you mean 10.0.0.0/8?" },
		{ "2001:db8::1/64", "host bits are set, did you mean 2001:db8::/64?" },
		{ "::ffff:192.0.2.1/120", "host bits are set, did you mean 192.0.2.0/24?" },
		{ "192.0.2.0/33", "prefix length is not 0 to 32" },
		{ "192.0.2.0/", "prefix length is not 0 to 32" },
		{ "192.0.2.0/-1", "prefix length is not 0 to 32" },
		{ "192.0.2.0/24/24", "prefix length is not 0 to 32" },
		{ "192.0.2.0/255.255.255.0", "prefix length is not 0 to 32" },
		{ "2001:db8::/129", "prefix length is not 0 to 128" },
		{ "192.0.2/24", "not an IP address" }, { "", "not an IP address" },
		{ "/24", "not an IP address" }, { "example.org", "not an IP address" },
	};
	struct ip_prefix p = prefix_of("10.0.0.0/8");

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = NULL;
		assert_false(ip_prefix_parse(&p, slice_of(bad[i][0]), &why));
		assert_string_equal(why, bad[i][1]);
	}
	assert_int_equal(p.bits, 104);
}

/* ::/0 means IPv6, whatever the bits of a mapped address say. */
static void v6_prefix_is_not_v4(void **state)
{
	struct ip_prefix v6 = prefix_of("::/0"), v4 = prefix_of("0.0.0.0/0"), low = prefix_of("::/64");
	struct ip four = ip_of("192.0.2.1"), six = ip_of("2001:db8::1"), one = ip_of("::1");

	assert_true(ip_prefix_contains(&v6, &six));
	assert_false(ip_prefix_contains(&v6, &four));
	assert_true(ip_prefix_contains(&v4, &four));
	assert_false(ip_prefix_contains(&v4, &six));
	assert_true(ip_prefix_contains(&low, &one));
	assert_false(ip_prefix_contains(&low, &four));
}

static void client_nets(void **state)
{
	struct ip four = ip_of("192.0.2.1"), six = ip_of("2001:db8:1:2:3:4:5:6"), net;

	net = ip_client_net(&four);
	assert_true(ip_eq(&net, &four));
	net = ip_client_net(&six);
	six = ip_of("2001:db8:1:2::");
	assert_true(ip_eq(&net, &six));
}

static void kinds(void **state)
{
	static const struct {
		const char *ip;
		bool special, loopback, private;
	} rows[] = {
		{ "127.0.0.1", true, true, false }, { "127.255.255.255", true, true, false },
		{ "128.0.0.0", false, false, false }, { "126.255.255.255", false, false, false },
		{ "::1", true, true, false }, { "::", true, false, false },
		{ "::2", true, false, false }, { "0.0.0.0", true, false, false },
		{ "0.1.2.3", true, false, false }, { "1.0.0.0", false, false, false },
		{ "10.0.0.0", true, false, true }, { "11.0.0.0", false, false, false },
		{ "172.15.255.255", false, false, false }, { "172.16.0.0", true, false, true },
		{ "172.31.255.255", true, false, true }, { "172.32.0.0", false, false, false },
		{ "192.168.5.5", true, false, true }, { "192.169.0.0", false, false, false },
		{ "100.63.255.255", false, false, false }, { "100.64.0.0", true, false, false },
		{ "100.127.255.255", true, false, false }, { "100.128.0.0", false, false, false },
		{ "169.254.1.1", true, false, false }, { "192.0.0.8", true, false, false },
		{ "192.0.1.0", false, false, false }, { "192.0.2.1", true, false, false },
		{ "198.17.255.255", false, false, false }, { "198.18.0.0", true, false, false },
		{ "198.19.255.255", true, false, false }, { "198.20.0.0", false, false, false },
		{ "198.51.100.7", true, false, false }, { "203.0.113.7", true, false, false },
		{ "223.255.255.255", false, false, false }, { "224.0.0.1", true, false, false },
		{ "240.0.0.1", true, false, false }, { "255.255.255.255", true, false, false },
		{ "8.8.8.8", false, false, false }, { "2606:4700::1111", false, false, false },
		{ "fc00::1", true, false, true }, { "fdff::1", true, false, true },
		{ "fe00::1", false, false, false }, { "fe80::1", true, false, false },
		{ "febf::1", true, false, false }, { "fec0::1", true, false, false },
		{ "ff02::1", true, false, false }, { "2001:db8::1", true, false, false },
		{ "2001:db9::1", false, false, false }, { "2001::1", true, false, false },
		{ "2001:1ff::1", true, false, false }, { "2001:200::1", false, false, false },
		{ "100::1", true, false, false }, { "100:0:0:1::", false, false, false },
		{ "3fff:fff::1", true, false, false }, { "3fff:1000::1", false, false, false },
		{ "64:ff9b:1::1", true, false, false }, { "2a00:1450::1", false, false, false },
		{ "::ffff:10.1.2.3", true, false, true }, { "::10.1.2.3", true, false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ip ip = ip_of(rows[i].ip);
		if (ip_is_special(&ip) != rows[i].special || ip_is_loopback(&ip) != rows[i].loopback ||
			ip_is_private(&ip) != rows[i].private)
			fail_msg("%s", rows[i].ip);
	}
}

static void reverse_names(void **state)
{
	struct ip four = ip_of("192.0.2.99"), six = ip_of("2001:db8:1:2:3:4:567:89ab");
	struct str b = STR_IN(&a);

	ip_reverse_name(&b, &four, SLICE("bl.example"));
	assert_slice(str_slice(&b), "99.2.0.192.bl.example");
	b.n = 0;
	/* RFC 5782 section 2.4 */
	ip_reverse_name(&b, &six, SLICE("bl.example"));
	assert_slice(str_slice(&b), "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2."
		"bl.example");
	b.n = 0;
	ip_ptr_name(&b, &four);
	assert_slice(str_slice(&b), "99.2.0.192.in-addr.arpa");
	b.n = 0;
	ip_ptr_name(&b, &six);
	assert_true(slice_ends_nocase(str_slice(&b), SLICE(".d.0.1.0.0.2.ip6.arpa")));
	assert_int_equal(b.n, 72);
	arena_drop(&a);
}

/* ---- sets ---- */

static bool set_has(const struct ip_set *set, const char *text)
{
	struct ip ip = ip_of(text);

	return ip_set_contains(set, &ip);
}

static struct ip_set *set_of(const char *const *texts)
{
	struct ip_set *set = ip_set_new(&a);

	for (; *texts; texts++) {
		struct ip_prefix prefix = prefix_of(*texts);
		ip_set_add(set, &prefix);
	}
	ip_set_finish(set);
	return set;
}

static void set_edges(void **state)
{
	struct ip_set *set = set_of((const char *const[]){ "192.0.2.0/24", "10.0.0.0/8", "192.0.2.128/25",
		"10.0.0.0/8", "255.255.255.255", "0.0.0.0", "2001:db8::/32", "ffff::/16", NULL });

	assert_int_equal(ip_set_count(set), 8);
	assert_true(set_has(set, "192.0.2.0"));
	assert_true(set_has(set, "192.0.2.255"));
	assert_false(set_has(set, "192.0.1.255"));
	assert_false(set_has(set, "192.0.3.0"));
	assert_true(set_has(set, "10.255.255.255"));
	assert_false(set_has(set, "11.0.0.0"));
	assert_true(set_has(set, "0.0.0.0"));
	assert_false(set_has(set, "0.0.0.1"));
	assert_true(set_has(set, "255.255.255.255"));
	assert_false(set_has(set, "255.255.255.254"));
	assert_false(set_has(set, "::1:0:0:0"));
	assert_true(set_has(set, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
	assert_true(set_has(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	arena_drop(&a);
}

static void set_empty(void **state)
{
	struct ip_set *set = ip_set_new(&a);

	assert_false(set_has(set, "::"));
	ip_set_finish(set);
	assert_false(set_has(set, "::"));
	assert_int_equal(ip_set_count(set), 0);
	arena_drop(&a);
}

static void set_misuse(void **state)
{
	struct ip_prefix prefix = prefix_of("10.0.0.0/8");
	struct ip_set *set = ip_set_new(&a);

	ip_set_add(set, &prefix);
	assert_aborts(set_has(set, "10.0.0.1"));
	ip_set_finish(set);
	assert_aborts(ip_set_add(set, &prefix));
	arena_drop(&a);
}

static void set_of_all_v6(void **state)
{
	struct ip_set *set = set_of((const char *const[]){ "::/0", NULL });

	assert_true(set_has(set, "::"));
	assert_true(set_has(set, "::fffe:ffff:ffff"));
	assert_false(set_has(set, "0.0.0.0"));
	assert_false(set_has(set, "255.255.255.255"));
	assert_true(set_has(set, "::1:0:0:0"));
	assert_true(set_has(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	set = set_of((const char *const[]){ "0.0.0.0/0", NULL });
	assert_true(set_has(set, "255.255.255.255"));
	assert_false(set_has(set, "::fffe:ffff:ffff"));
	assert_false(set_has(set, "::1:0:0:0"));
	arena_drop(&a);
}

/* Random prefixes that overlap and nest; every answer as ip_prefix_contains() gives it. */
static void set_against_search(void **state)
{
	static struct ip_prefix prefixes[300];

	for (int round = 0; round < 20; round++) {
		struct ip_set *set = ip_set_new(&a);
		for (int i = 0; i < 300; i++) {
			struct ip ip = { { 0 } };
			uint8_t bits;
			random_bytes(&bits, 1);
			bits = (uint8_t)(round % 2 ? 96 + bits % 33 : bits % 129);
			random_bytes(ip.bytes, 2);
			random_bytes(ip.bytes + 12, 2);
			if (round % 2)
				memcpy(ip.bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
			/* Clears the host bits without the code under test. */
			for (unsigned bit = bits; bit < 128; bit++)
				ip.bytes[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
			prefixes[i] = (struct ip_prefix){ ip, bits };
			ip_set_add(set, &prefixes[i]);
		}
		ip_set_finish(set);
		for (int i = 0; i < 2000; i++) {
			struct ip ip = prefixes[i % 300].address;
			bool expected = false;
			uint8_t where;
			random_bytes(&where, 1);
			ip.bytes[where % 16] ^= (uint8_t)(1 << (where >> 5));
			for (int j = 0; j < 300 && !expected; j++)
				expected = ip_prefix_contains(&prefixes[j], &ip);
			assert_true(ip_set_contains(set, &ip) == expected);
		}
		arena_drop(&a);
	}
}

UNIT_MAIN(T(parse_and_print), T(parse_nothing_else), T(text_agrees_with_libc), T(sockaddrs),
	T(literals), T(prefixes), T(prefix_mistakes), T(v6_prefix_is_not_v4), T(client_nets), T(kinds),
	T(reverse_names), T(set_edges), T(set_empty), T(set_misuse), T(set_of_all_v6),
	T(set_against_search))
