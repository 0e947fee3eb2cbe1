/* Domain names: text to wire and back, out of packets, and what cannot be one. */
#include "unit.h"

#include "wire/dns_name.h"

#define L10 "abcdefghij"
#define L63 L10 L10 L10 L10 L10 L10 "abc"
#define NAME253 L63 "." L63 "." L63 "." L10 L10 L10 L10 L10 L10 "a"

static struct arena a;

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	if (!dns_name_parse(&name, slice_of(text)))
		fail_msg("%s is no name", text);
	return name;
}

static void assert_text(const struct dns_name *name, const char *expected)
{
	char text[DNS_TEXT_MAX];

	assert_int_equal(dns_name_text(name, text), strlen(expected));
	assert_string_equal(text, expected);
}

static void plain_text(void **state)
{
	static const char *const pairs[][2] = {
		{ "example.org", "example.org" }, { "Example.ORG.", "Example.ORG" },
		{ "", "" }, { ".", "" }, { "a", "a" }, { "_dmarc.a-b.example", "_dmarc.a-b.example" },
		{ "with space.x", "with\\032space.x" }, { "back\\slash.x", "back\\\\slash.x" },
		{ "\xc3\xbc.x", "\\195\\188.x" }, { "*.x", "*.x" }, { "a\"b;(c)@.x", "a\"b;(c)@.x" },
		{ L63 ".x", L63 ".x" }, { NAME253, NAME253 }, { NAME253 ".", NAME253 },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct dns_name name = name_of(pairs[i][0]);

		assert_text(&name, pairs[i][1]);
	}
	assert_int_equal(name_of(NAME253).n, DNS_NAME_MAX);
	assert_memory_equal(name_of("ab.c").wire, "\2ab\1c\0", 6);
}

static void names_that_cannot_be(void **state)
{
	static const char *const texts[] = { "..", "a..", "a..b", ".a", "...", L63 "x.org", "x." L63 "x",
		NAME253 "b", "b." NAME253, NAME253 ".." };
	struct dns_name name = name_of("untouched");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (dns_name_parse(&name, slice_of(texts[i])))
			fail_msg("%s should be no name", texts[i]);
	assert_text(&name, "untouched");
}

static void octets_of_any_kind(void **state)
{
	struct dns_name name, again;
	const char *why;
	char all[62];
	char text[DNS_TEXT_MAX];

	/* Every octet but the dot survives: to the wire, to escaped text, and back. */
	for (int from = 0; from < 256; from += 62) {
		size_t n = 0;

		for (int c = from; c < from + 62 && c < 256; c++)
			if (c != '.')
				all[n++] = (char)c;
		assert_true(dns_name_parse(&name, slice_make(all, n)));
		assert_int_equal(name.wire[0], n);
		assert_memory_equal(name.wire + 1, all, n);
		dns_name_text(&name, text);
		assert_true(dns_name_parse_escaped(&again, slice_of(text), NULL, &why));
		assert_memory_equal(&name, &again, (size_t)name.n + 1);
	}
}

static void escaped_text(void **state)
{
	static const char *const pairs[][2] = {
		{ "www", "www.example.org" }, { "www.", "www" }, { "@", "example.org" }, { ".", "" },
		{ "a\\.b", "a\\.b.example.org" }, { "\\097\\098c.", "abc" }, { "\\@", "@.example.org" },
		{ "\\000.", "\\000" }, { "\\255\\\".", "\\255\"" }, { "\\\\.", "\\\\" }, { "a.b", "a.b.example.org" },
		{ "\\256.", NULL }, { "\\25", NULL }, { "\\2x5.", NULL }, { "a\\", NULL }, { "", NULL },
		{ "a..b", NULL }, { "..", NULL }, { ".a", NULL }, { "a..", NULL }, { L63 "x", NULL },
		{ NAME253 ".", NAME253 }, { NAME253, NULL }, { L63 "." L63 "." L63 "." L63 ".", NULL },
	};
	struct dns_name origin = name_of("example.org");

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct dns_name name = origin;
		const char *why = NULL;
		bool good = dns_name_parse_escaped(&name, slice_of(pairs[i][0]), &origin, &why);

		if (good != (pairs[i][1] != NULL))
			fail_msg("%s: %s", pairs[i][0], why);
		assert_text(&name, good ? pairs[i][1] : "example.org");
		assert_true(good || why);
	}
}

static void out_of_packets(void **state)
{
	/*                      0             8        12    14      */
	struct slice packet = SLICE("\7example\3org\0" "\3www\xc0\x00" "\xc0\x0d" "\xc0\x13");
	static const struct { size_t at, next; const char *text; } good[] = {
		{ 0, 13, "example.org" }, { 8, 13, "org" }, { 12, 13, "" }, { 13, 19, "www.example.org" },
		{ 19, 21, "www.example.org" }, { 21, 23, "www.example.org" } };

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct dns_name name;
		size_t at = good[i].at;

		assert_true(dns_name_unpack(&name, packet, &at));
		assert_int_equal(at, good[i].next);
		assert_text(&name, good[i].text);
	}
}

static void bad_packets(void **state)
{
	static const struct { struct slice packet; size_t at; } bad[] = {
		{ { "", 0 }, 0 }, { { "\3ab", 3 }, 0 }, { { "\3abc", 4 }, 0 }, { { "\xc0", 1 }, 0 },
		{ { "\xc0\x00", 2 }, 0 },				/* itself */
		{ { "\xc0\x02\xc0\x00", 4 }, 2 },			/* in a ring */
		{ { "\xc0\x02\0", 3 }, 0 },				/* forward */
		{ { "\1a\xc0\x00", 4 }, 0 },				/* into its own front */
		{ { "\1a\xc0\x00", 4 }, 2 },				/* the same, begun at the pointer */
		{ { "\x40" "abc\0", 5 }, 0 }, { { "\x80" "abc\0", 5 }, 0 }, /* RFC 1035: reserved */
		{ { "\0", 1 }, 1 }, { { "\0", 1 }, 77 },
	};
	struct dns_name name = name_of("untouched");
	char many[600];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t at = bad[i].at;

		if (dns_name_unpack(&name, bad[i].packet, &at))
			fail_msg("packet %zu gave a name", i);
		assert_int_equal(at, bad[i].at);
	}
	assert_text(&name, "untouched");
	/* A staircase of pointers, each to the one before: at most one per possible label. */
	memset(many, 0, sizeof(many));
	for (size_t i = 1; i < 299; i++) {
		many[2 * i] = (char)(0xc0 | (i - 1) * 2 >> 8);
		many[2 * i + 1] = (char)((i - 1) * 2);
	}
	for (size_t steps = 1; steps < 299; steps++) {
		size_t at = 2 * steps;

		assert_true(dns_name_unpack(&name, slice_make(many, sizeof(many)), &at) == (steps <= 127));
	}
}

static void lengths_in_packets(void **state)
{
	struct str s = STR_IN(&a);
	struct dns_name name;
	size_t at = 0;

	for (int i = 0; i < 127; i++)
		str_add(&s, SLICE("\1x"));
	str_addc(&s, 0);
	assert_true(dns_name_unpack(&name, str_slice(&s), &at));	/* 255 octets */
	assert_int_equal(at, 255);
	s.n = 0;
	str_add(&s, SLICE("\2xx"));
	for (int i = 0; i < 126; i++)
		str_add(&s, SLICE("\1x"));
	str_addc(&s, 0);
	at = 0;
	assert_false(dns_name_unpack(&name, str_slice(&s), &at));	/* 256 */
	s.n = 0;
	for (int i = 0; i < 128; i++)
		str_add(&s, SLICE("\1x"));
	str_addc(&s, 0);
	at = 0;
	assert_false(dns_name_unpack(&name, str_slice(&s), &at));
	arena_drop(&a);
}

static void comparing(void **state)
{
	struct dns_name one = name_of("WWW.Example.org"), two = name_of("www.example.ORG."),
		three = name_of("www.example.orh");

	assert_true(dns_name_eq(&one, &two));
	assert_false(dns_name_eq(&one, &three));
	dns_name_lower(&one);
	assert_text(&one, "www.example.org");
	assert_slices(dns_name_parent(dns_name_slice(&one)), SLICE("\7example\3org\0"));
	assert_slice(dns_name_copy(&a, &one), "www.example.org");
	arena_drop(&a);
}

UNIT_MAIN(T(plain_text), T(names_that_cannot_be), T(octets_of_any_kind), T(escaped_text), T(out_of_packets),
	T(bad_packets), T(lengths_in_packets), T(comparing))
