/* Master files: what is read, and where a mistake is said to be. */
#include "unit.h"

#include "wire/dns_zonefile.h"

#include <stdio.h>

static struct arena a;
static struct str seen;		/* "owner TTL TYPE data" a line */

static bool note(void *arg, const struct zonefile_record *r, const char **why)
{
	struct dns_record record;
	char text[IP_TEXT];

	if (r->owner.n > 1 && r->owner.wire[1] == '!') {
		*why = "not wanted";
		return false;
	}
	str_add(&seen, dns_name_copy(&a, &r->owner));
	str_printf(&seen, " %u %s", r->ttl, dns_type_name(r->type));
	if (r->ignored) {
		assert_int_equal(r->rdata.n, 0);
		str_puts(&seen, " ignored\n");
		return true;
	}
	assert_true(dns_rdata_parse(&record, &a, r->rdata, 0, r->rdata.n, r->type));
	if (r->type == DNS_MX || r->type == DNS_SRV)
		str_printf(&seen, " %u", record.preference);
	str_addc(&seen, ' ');
	if (r->type == DNS_A || r->type == DNS_AAAA)
		str_puts(&seen, ip_text(&record.ip, text));
	else
		str_escaped(&seen, record.text, 1000);
	str_addc(&seen, '\n');
	return true;
}

static bool read_zone(const char *text, unsigned *line, const char **why)
{
	arena_drop(&a);
	seen = STR_IN(&a);
	str_puts(&seen, "");
	return dns_zonefile_parse(slice_of(text), &a, note, NULL, line, why);
}

static void reads(const char *text, const char *expected)
{
	const char *why = NULL;
	unsigned line = 0;

	if (!read_zone(text, &line, &why))
		fail_msg("line %u: %s", line, why);
	assert_slice(str_slice(&seen), expected);
}

static void fails(const char *text, unsigned expected_line, const char *expected)
{
	const char *why = NULL;
	unsigned line = 0;

	if (read_zone(text, &line, &why))
		fail_msg("read: %s", text);
	assert_string_equal(why, expected);
	assert_int_equal(line, expected_line);
}

/* The example of RFC 1035 section 5.3, with an SOA time as BIND writes it. */
static void example_of_the_standard(void **state)
{
	reads("$ORIGIN ISI.EDU.\n"
		"@   IN  SOA     VENERA      Action\\.domains (\n"
		"                                 20     ; SERIAL\n"
		"                                 7200   ; REFRESH\n"
		"                                 600    ; RETRY\n"
		"                                 3600000; EXPIRE\n"
		"                                 1m)     ; MINIMUM\n"
		"\n"
		"        NS      A.ISI.EDU.\n"
		"        NS      VENERA\n"
		"        MX      10      VENERA\n"
		"        MX      20      VAXA\n"
		"\n"
		"A       A       26.3.0.103\n"
		"\n"
		"VENERA  A       10.1.0.52\n"
		"        A       128.9.0.32\n",
		"ISI.EDU 3600 SOA VENERA.ISI.EDU\n"
		"ISI.EDU 3600 NS A.ISI.EDU\n"
		"ISI.EDU 3600 NS VENERA.ISI.EDU\n"
		"ISI.EDU 3600 MX 10 VENERA.ISI.EDU\n"
		"ISI.EDU 3600 MX 20 VAXA.ISI.EDU\n"
		"A.ISI.EDU 3600 A 26.3.0.103\n"
		"VENERA.ISI.EDU 3600 A 10.1.0.52\n"
		"VENERA.ISI.EDU 3600 A 128.9.0.32\n");
}

static void heads_in_any_order(void **state)
{
	reads("a 60 IN A 192.0.2.1\nb in 1h30m A 192.0.2.2\nc IN A 192.0.2.3\nd 1w A 192.0.2.4\ne A 192.0.2.5\n"
		"in 5 in txt in\n60 txt 60\n",
		"a 60 A 192.0.2.1\nb 5400 A 192.0.2.2\nc 5400 A 192.0.2.3\nd 604800 A 192.0.2.4\ne 604800 A 192.0.2.5\n"
		"in 5 TXT in\n60 5 TXT 60\n");
	/* $TTL is the default from there on, whatever a record says of itself. */
	reads("a A 192.0.2.1\n$TTL 2h\na A 192.0.2.2\na 7 A 192.0.2.3\na A 192.0.2.4\n$ttl 0\na A 192.0.2.5\n",
		"a 3600 A 192.0.2.1\na 7200 A 192.0.2.2\na 7 A 192.0.2.3\na 7200 A 192.0.2.4\na 0 A 192.0.2.5\n");
}

static void owners(void **state)
{
	reads("a A 192.0.2.1\n \t A 192.0.2.2\n\n; comment\n   ; comment\n\tTXT x\n$ORIGIN x.\n A 192.0.2.3\n"
		"@ A 192.0.2.4\nb A 192.0.2.5\n$ORIGIN y\nc A 192.0.2.6\nd. A 192.0.2.7\n. A 192.0.2.8\n"
		"*.z A 192.0.2.9\ne\\.f A 192.0.2.10\n\\@ A 192.0.2.11\n",
		"a 3600 A 192.0.2.1\na 3600 A 192.0.2.2\na 3600 TXT x\na 3600 A 192.0.2.3\nx 3600 A 192.0.2.4\n"
		"b.x 3600 A 192.0.2.5\nc.y.x 3600 A 192.0.2.6\nd 3600 A 192.0.2.7\n 3600 A 192.0.2.8\n"
		"*.z.y.x 3600 A 192.0.2.9\ne\\.f.y.x 3600 A 192.0.2.10\n@.y.x 3600 A 192.0.2.11\n");
}

static void strings(void **state)
{
	reads("a TXT \"v=spf1 \" \"-all\"\na TXT ( \"a;b\" ; comment \"x\n \"(c)\" )\na TXT a\\;b \"q\\\"q\" \\065\\000\n"
		"a TXT \"\"\na SPF \"x\" y\"z\"w\na TXT \"trailing\\\\\"\na TXT p=1;comment\n",
		"a 3600 TXT v=spf1 -all\na 3600 TXT a;b(c)\na 3600 TXT a;bq\"qA\\x00\n"
		"a 3600 TXT \na 3600 SPF xyzw\na 3600 TXT trailing\\\\\na 3600 TXT p=1\n");
}

static void long_strings(void **state)
{
	struct str text = STR_IN(&a);
	char *copy, *expected;

	str_puts(&text, "a TXT \"");
	for (int i = 0; i < 600; i++)
		str_addc(&text, (char)('a' + i % 26));
	str_puts(&text, "\"");
	copy = strdup(str_cstr(&text));
	expected = malloc(700);
	snprintf(expected, 700, "a 3600 TXT %.600s\n", copy + 7);
	reads(copy, expected);
	free(copy);
	free(expected);
	arena_drop(&a);
}

static void all_types(void **state)
{
	reads("a AAAA 2001:db8::1\na AAAA ::ffff:192.0.2.1\na PTR b\na CNAME .\na SRV 1 2 25 mx\na CAA 0 issue \"ca.example\"\n"
		"a CAA 128 tbs Unknown\na TYPE4711 \\# 3 AB c d ef\na A \\# 4 C0000201\na TYPE1 \\# 4 C000 0202\na TYPE4711 \\# 0\n"
		"a DNSKEY 257 3 8 (AwEAA\n ag==)\na HINFO \"x\" y\na TYPE99 \\# 2 0178\na RRSIG A 1 2 ; no more\n",
		"a 3600 AAAA 2001:db8::1\na 3600 AAAA 192.0.2.1\na 3600 PTR b\na 3600 CNAME \na 3600 SRV 1 mx\n"
		"a 3600 CAA \\x00\\x05issueca.example\na 3600 CAA \\x80\\x03tbsUnknown\na 3600 TYPE \\xAB\\xCD\\xEF\n"
		"a 3600 A 192.0.2.1\na 3600 A 192.0.2.2\na 3600 TYPE \na 3600 DNSKEY ignored\na 3600 HINFO ignored\n"
		"a 3600 SPF x\na 3600 RRSIG ignored\n");
}

static void empty_and_odd_files(void **state)
{
	reads("", "");
	reads("\n\n;x", "");
	reads("\xef\xbb\xbf" "a A 192.0.2.1\r\n\r\n ; x\r\nb A 192.0.2.2", "a 3600 A 192.0.2.1\nb 3600 A 192.0.2.2\n");
	reads("a (\n\n A ; x (\n ) 192.0.2.1 ()\n", "a 3600 A 192.0.2.1\n");
}

static void mistakes_have_lines(void **state)
{
	fails("a A 192.0.2.1\nb A 192.0.2.300\n", 2, "not an IPv4 address: \"192.0.2.300\"");
	fails("a AAAA 192.0.2.1\n", 1, "not an IPv6 address: \"192.0.2.1\"");
	fails("a A ::1\n", 1, "not an IPv4 address: \"::1\"");
	fails("a A\n", 1, "address missing");
	fails("a", 1, "type missing");
	fails("a IN\n", 1, "type missing");
	fails("a TXT\n", 1, "string missing");
	fails("a CH TXT x\n", 1, "only class IN is served, not \"CH\"");
	fails("a FOO x\n", 1, "unknown type \"FOO\"");
	fails("a \"A\" 192.0.2.1\n", 1, "not a type: \"A\"");
	fails("a A 192.0.2.1 192.0.2.2\n", 1, "unexpected \"192.0.2.2\"");
	fails("\n\n A 192.0.2.1\n", 3, "no owner to repeat");
	fails("a TXT \"x\n", 1, "string not closed");
	fails("a TXT \"x\\\ny\"\n", 1, "string not closed");
	fails("\na TXT ( x\n\n\n", 2, "parenthesis not closed");
	fails("a TXT ( x ; )\n", 1, "parenthesis not closed");
	fails("a TXT x )\n", 1, "parenthesis not opened");
	fails("$INCLUDE /etc/passwd\n", 1, "not supported: \"$INCLUDE\"");
	fails("$GENERATE 1-5 a$ A 192.0.2.$\n", 1, "not supported: \"$GENERATE\"");
	fails("$ORIGIN a..b.\n", 1, "empty label in a name \"a..b.\"");
	fails("$ORIGIN\n", 1, "name missing");
	fails("$ORIGIN a b\n", 1, "unexpected \"b\"");
	fails("$TTL x\n", 1, "not a TTL: \"x\"");
	fails("$TTL\n", 1, "TTL missing");
	fails("a 99999999999 A 192.0.2.1\n", 1, "not a TTL: \"99999999999\"");
	fails("a 1h2 A 192.0.2.1\n", 1, "not a TTL: \"1h2\"");
	fails("a 9999w A 192.0.2.1\n", 1, "not a TTL: \"9999w\"");
	fails("a\\300 A 192.0.2.1\n", 1, "bad escape in a name \"a\\\\300\"");
	fails("a TXT \"\\300\"\n", 1, "bad escape in \"\\\\300\"");
	fails("a TXT x\\\n", 1, "bad escape in \"x\\\\\"");
	fails("a MX 65536 b\n", 1, "not a number up to 65535: \"65536\"");
	fails("a MX mail\n", 1, "not a number up to 65535: \"mail\"");
	fails("a MX 10\n", 1, "name missing");
	fails("a SRV 1 2\n", 1, "port missing");
	fails("a SOA a b (\n x 1 1 1 1 )\n", 2, "not a serial number: \"x\"");
	fails("a SOA a b 1 1 1 1\n", 1, "minimum missing");
	fails("a SOA a b 1 1 1 x 1\n", 1, "not a time: \"x\"");
	fails("a CAA 256 a b\n", 1, "not a number up to 255: \"256\"");
	fails("a CAA 0 \"\" b\n", 1, "not a tag: \"\"");
	fails("a DNAME b\n", 1, "DNAME is not supported");
	fails("a A \\# 4 C00002\n", 1, "data of another length than given");
	fails("a A \\# 3 C00002\n", 1, "malformed data");
	fails("a A \\# 4 C000020\n", 1, "data of another length than given");
	fails("a A \\# 4 C00002XX\n", 1, "not hexadecimal: \"C00002XX\"");
	fails("a A \\# x\n", 1, "not a length: \"x\"");
	fails("\"\" A 192.0.2.1\n", 1, "empty name \"\"");
	fails("a A 192.0.2.1\n!no A (\n192.0.2.1\n)\n", 2, "not wanted");
	arena_drop(&a);
}

/* Every prefix of a file with everything in it: read or refused, never a crash. */
static void every_cut(void **state)
{
	static const char text[] = "$ORIGIN x.\n$TTL 1h\n@ SOA ns host ( 1 1h 2h 1w 5m )\n a 1d IN TXT \"a\\\"\\065\" b ; c\n"
		"b MX 10 a\nc TYPE7 \\# 2 0a 0b\nd CAA 0 issue \"x\"\n";
	const char *why;
	unsigned line;

	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n ? n : 1);

		memcpy(copy, text, n);
		arena_drop(&a);
		seen = STR_IN(&a);
		dns_zonefile_parse(slice_make(copy, n), &a, note, NULL, &line, &why);
		free(copy);
	}
	arena_drop(&a);
}

UNIT_MAIN(T(example_of_the_standard), T(heads_in_any_order), T(owners), T(strings), T(long_strings), T(all_types),
	T(empty_and_odd_files), T(mistakes_have_lines), T(every_cut))
