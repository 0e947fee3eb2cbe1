/* DNS answers: packets composed here, well-formed, odd, and broken in every octet. */
#include "unit.h"

#include "wire/dns_packet.h"

static struct arena a;
static struct str packet;

/* ---- composing ---- */

static void add16(unsigned v)
{
	str_addc(&packet, (char)(v >> 8));
	str_addc(&packet, (char)v);
}

static void add32(uint32_t v)
{
	add16(v >> 16);
	add16(v & 0xffff);
}

static void add_name(const char *text)
{
	struct dns_name name;

	assert_true(dns_name_parse(&name, slice_of(text)));
	str_add(&packet, dns_name_slice(&name));
}

/* A response to "example.org TYPE IN" with so many records to come. */
static void begin(unsigned flags, enum dns_type type, unsigned answers, unsigned authority)
{
	arena_drop(&a);
	packet = STR_IN(&a);
	add16(77);
	add16(0x8180 | flags);
	add16(1);
	add16(answers);
	add16(authority);
	add16(0);
	add_name("example.org");	/* at 12, for pointers */
	add16(type);
	add16(1);
}

static size_t rr_begin(struct slice owner, unsigned type, uint32_t ttl)
{
	str_add(&packet, owner);
	add16(type);
	add16(1);
	add32(ttl);
	add16(0);
	return packet.n;
}

static void rr_end(size_t at)
{
	size_t n = packet.n - at;

	packet.p[at - 2] = (char)(n >> 8);
	packet.p[at - 1] = (char)n;
}

static void add_rr(struct slice owner, unsigned type, uint32_t ttl, struct slice data)
{
	size_t at = rr_begin(owner, type, ttl);

	str_add(&packet, data);
	rr_end(at);
}

#define OWNER SLICE("\xc0\x0c")
#define SOA_DATA SLICE("\2ns\xc0\x0c" "\4host\xc0\x0c" "\0\0\0\1" "\0\0\0\2" "\0\0\0\3" "\0\0\0\4" "\0\0\1\x2c")

static const char *why;

static bool parse(struct dns_reply *out, enum dns_type type)
{
	struct dns_name name;
	/* Exactly as long as it is, so that sanitizers see a read behind it. */
	char *copy = malloc(packet.n ? packet.n : 1);
	bool good;

	memcpy(copy, packet.p, packet.n);
	assert_true(dns_name_parse(&name, SLICE("Example.Org")));
	good = dns_packet_parse(out, &a, slice_make(copy, packet.n), &name, type, &why);
	free(copy);
	assert_true(good == (why == NULL));
	return good;
}

/* ---- what is right ---- */

static void addresses(void **state)
{
	struct dns_reply r;
	char text[IP_TEXT];

	begin(0, DNS_A, 2, 0);
	add_rr(OWNER, DNS_A, 300, SLICE("\xc0\0\2\1"));
	add_rr(SLICE("\7EXAMPLE\3org\0"), DNS_A, 200, SLICE("\xc0\0\2\2"));
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.id, 77);
	assert_int_equal(r.rcode, 0);
	assert_false(r.truncated);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.ttl, 200);
	assert_string_equal(ip_text(&r.records[0].ip, text), "192.0.2.1");
	assert_string_equal(ip_text(&r.records[1].ip, text), "192.0.2.2");
	begin(0, DNS_AAAA, 1, 0);
	add_rr(OWNER, DNS_AAAA, 300, SLICE("\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"));
	assert_true(parse(&r, DNS_AAAA));
	assert_string_equal(ip_text(&r.records[0].ip, text), "2001:db8::1");
}

static void names_and_text(void **state)
{
	struct dns_reply r;

	begin(0, DNS_MX, 3, 0);
	add_rr(OWNER, DNS_MX, 9, SLICE("\0\xa\2mx\xc0\x0c"));
	add_rr(OWNER, DNS_MX, 9, SLICE("\0\0\0"));	/* RFC 7505 null MX */
	add_rr(OWNER, DNS_MX, 9, SLICE("\1\0\4a.\\b\xc0\x0c"));
	assert_true(parse(&r, DNS_MX));
	assert_int_equal(r.count, 3);
	assert_int_equal(r.records[0].preference, 10);
	assert_slice(r.records[0].text, "mx.example.org");
	assert_int_equal(r.records[1].preference, 0);
	assert_slice(r.records[1].text, "");
	assert_int_equal(r.records[2].preference, 256);
	assert_slice(r.records[2].text, "a\\.\\\\b.example.org");
	begin(0, DNS_TXT, 2, 0);
	add_rr(OWNER, DNS_TXT, 9, SLICE("\4v=sp\0\2f1"));
	add_rr(OWNER, DNS_TXT, 9, SLICE("\0"));
	assert_true(parse(&r, DNS_TXT));
	assert_slice(r.records[0].text, "v=spf1");
	assert_slice(r.records[1].text, "");
	begin(0, DNS_PTR, 1, 0);
	add_rr(OWNER, DNS_PTR, 9, SLICE("\4Mail\xc0\x0c"));
	assert_true(parse(&r, DNS_PTR));
	assert_slice(r.records[0].text, "Mail.example.org");
	begin(0, DNS_SOA, 1, 0);
	add_rr(OWNER, DNS_SOA, 9, SOA_DATA);
	assert_true(parse(&r, DNS_SOA));
	assert_slice(r.records[0].text, "ns.example.org");
	begin(0, DNS_SRV, 1, 0);
	add_rr(OWNER, DNS_SRV, 9, SLICE("\0\5\0\1\0\x19\2mx\xc0\x0c"));
	assert_true(parse(&r, DNS_SRV));
	assert_int_equal(r.records[0].preference, 5);
	assert_slice(r.records[0].text, "mx.example.org");
	begin(0, DNS_CAA, 1, 0);
	add_rr(OWNER, DNS_CAA, 9, SLICE("\0\5issue;"));
	assert_true(parse(&r, DNS_CAA));
	assert_slices(r.records[0].text, SLICE("\0\5issue;"));
}

static void chain_of_aliases(void **state)
{
	struct dns_reply r;

	/* Not in order, and with a record in between that has nothing to do with it. */
	begin(0, DNS_A, 5, 0);
	add_rr(SLICE("\1c\xc0\x0c"), DNS_A, 100, SLICE("\xc0\0\2\3"));
	add_rr(SLICE("\1b\xc0\x0c"), DNS_CNAME, 50, SLICE("\1c\xc0\x0c"));
	add_rr(SLICE("\1x\xc0\x0c"), DNS_A, 1, SLICE("\xc0\0\2\x9"));
	add_rr(OWNER, DNS_CNAME, 70, SLICE("\1B\xc0\x0c"));
	add_rr(SLICE("\1c\xc0\x0c"), DNS_A, 100, SLICE("\xc0\0\2\4"));
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.count, 2);
	assert_int_equal(r.ttl, 50);
	assert_int_equal(r.records[0].ip.bytes[15], 3);
	/* The question for the alias itself is not followed. */
	packet.p[12 + 13 + 1] = DNS_CNAME;
	assert_true(parse(&r, DNS_CNAME));
	assert_int_equal(r.count, 1);
	assert_slice(r.records[0].text, "B.example.org");
}

static void endless_chain(void **state)
{
	struct dns_reply r;

	begin(0, DNS_A, 2, 0);
	add_rr(OWNER, DNS_CNAME, 70, SLICE("\1b\xc0\x0c"));
	add_rr(SLICE("\1b\xc0\x0c"), DNS_CNAME, 70, OWNER);
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.count, 0);
}

static void no_is_an_answer(void **state)
{
	struct dns_reply r;

	begin(DNS_NAMEERROR, DNS_A, 0, 1);
	add_rr(OWNER, DNS_SOA, 3600, SOA_DATA);
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.rcode, DNS_NAMEERROR);
	assert_int_equal(r.count, 0);
	assert_int_equal(r.ttl, 300);		/* the SOA's MINIMUM */
	begin(0, DNS_A, 1, 1);
	add_rr(OWNER, DNS_CNAME, 70, SLICE("\1b\xc0\x0c"));
	add_rr(OWNER, DNS_SOA, 200, SOA_DATA);
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.ttl, 70);		/* the alias lives shorter */
	begin(0, DNS_A, 0, 0);
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.ttl, 0);
	begin(DNS_SERVFAIL, DNS_A, 0, 0);
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.rcode, DNS_SERVFAIL);
}

static void odd_but_right(void **state)
{
	struct dns_reply r;

	begin(0x0200, DNS_A, 1, 0);
	add_rr(OWNER, DNS_A, UINT32_C(0x80000000), SLICE("\xc0\0\2\1"));
	assert_true(parse(&r, DNS_A));
	assert_true(r.truncated);
	assert_int_equal(r.ttl, 0);		/* RFC 2181 section 8 */
	/* No question repeated: accepted. Of another class: passed over. */
	arena_drop(&a);
	packet = STR_IN(&a);
	str_add(&packet, SLICE("\0\1\x80\0\0\0\0\1\0\0\0\0\7example\3org\0\0\1\0\3\0\0\0\1\0\4\xc0\0\2\1"));
	assert_true(parse(&r, DNS_A));
	assert_int_equal(r.count, 0);
}

/* ---- what is wrong ---- */

static void refused(enum dns_type type, const char *expected)
{
	struct dns_reply r;

	memset(&r, 0x55, sizeof(r));
	assert_false(parse(&r, type));
	assert_string_equal(why, expected);
	assert_int_equal(r.count, 0x5555555555555555);
}

static void another_answer(void **state)
{
	begin(0, DNS_A, 0, 0);
	refused(DNS_AAAA, "answers another question");
	packet.p[13] = 'x';
	refused(DNS_A, "answers another question");
	begin(0, DNS_A, 0, 0);
	packet.p[5] = 2;
	refused(DNS_A, "answers another question");
	begin(0, DNS_A, 0, 0);
	packet.p[2] = 0;
	refused(DNS_A, "not a DNS answer");
	begin(0, DNS_A, 0, 0);
	packet.n = 11;
	refused(DNS_A, "not a DNS answer");
	str_room(&packet, 70000);
	memset(packet.p, 0x80, 70000);
	packet.n = 65536;
	refused(DNS_A, "not a DNS answer");
	arena_drop(&a);
}

static void malformed_data(void **state)
{
	static const struct { enum dns_type type; struct slice data; } bad[] = {
		{ DNS_A, { "\1\2\3", 3 } }, { DNS_A, { "\1\2\3\4\5", 5 } }, { DNS_AAAA, { "\1\2\3\4", 4 } },
		{ DNS_MX, { "\0\1", 2 } }, { DNS_MX, { "\0", 1 } }, { DNS_MX, { "\0\1\0\0", 4 } },
		{ DNS_MX, { "\0\1\1a", 4 } }, { DNS_PTR, { "", 0 } }, { DNS_PTR, { "\1a\xc0", 3 } },
		{ DNS_PTR, { "\1a\xff\xff", 4 } }, { DNS_TXT, { "", 0 } }, { DNS_TXT, { "\5abc", 4 } },
		{ DNS_TXT, { "\1a\xff", 3 } }, { DNS_SRV, { "\0\1\0\1\0\1", 6 } }, { DNS_SRV, { "\0\1", 2 } },
		{ DNS_SOA, { "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0", 21 } },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		begin(0, bad[i].type, 1, 0);
		add_rr(OWNER, bad[i].type, 9, bad[i].data);
		refused(bad[i].type, "malformed record");
	}
	begin(0, DNS_A, 60000, 0);	/* the count is a lie */
	refused(DNS_A, "malformed record");
	begin(0, DNS_A, 0, 1);
	add_rr(OWNER, DNS_SOA, 9, SLICE("\0\0\0\0\0\1"));
	refused(DNS_A, "malformed record");
}

/* Cut anywhere, and every octet set to everything: never a crash, and a cut one is never whole. */
static void every_octet(void **state)
{
	struct dns_reply r;
	size_t whole;

	begin(0, DNS_MX, 3, 1);
	add_rr(OWNER, DNS_CNAME, 70, SLICE("\1b\xc0\x0c"));
	add_rr(SLICE("\1b\xc0\x0c"), DNS_MX, 70, SLICE("\0\1\2mx\xc0\x0c"));
	add_rr(SLICE("\1b\xc0\x0c"), DNS_TXT, 70, SLICE("\3abc"));
	add_rr(OWNER, DNS_SOA, 200, SOA_DATA);
	assert_true(parse(&r, DNS_MX));
	whole = packet.n;
	for (size_t n = 0; n < whole; n++) {
		packet.n = n;
		assert_false(parse(&r, DNS_MX));
	}
	packet.n = whole;
	for (size_t i = 0; i < whole; i++) {
		char kept = packet.p[i];

		for (int c = 0; c < 256; c++) {
			packet.p[i] = (char)c;
			parse(&r, DNS_MX);
		}
		packet.p[i] = kept;
	}
	assert_true(parse(&r, DNS_MX));
	arena_drop(&a);
}

static void numbers_have_names(void **state)
{
	uint16_t type;

	assert_string_equal(dns_type_name(DNS_MX), "MX");
	assert_string_equal(dns_type_name((enum dns_type)4711), "TYPE");
	assert_true(dns_type_parse(&type, SLICE("aaaa")) && type == DNS_AAAA);
	assert_true(dns_type_parse(&type, SLICE("type4711")) && type == 4711);
	assert_false(dns_type_parse(&type, SLICE("TYPE65536")));
	assert_false(dns_type_parse(&type, SLICE("TYPE")));
	assert_false(dns_type_parse(&type, SLICE("")));
	assert_false(dns_type_parse(&type, SLICE("MXX")));
	assert_string_equal(dns_rcode_name(2), "SERVFAIL");
	assert_string_equal(dns_rcode_name(15), "odd response code");
}

UNIT_MAIN(T(addresses), T(names_and_text), T(chain_of_aliases), T(endless_chain), T(no_is_an_answer),
	T(odd_but_right), T(another_answer), T(malformed_data), T(every_octet), T(numbers_have_names))
