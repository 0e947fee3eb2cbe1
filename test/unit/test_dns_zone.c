/* Zone files: what they answer themselves, what they leave to the network, and mistakes with a place. */
#include "unit.h"

#include "net/dns_zone.h"

#include <stdio.h>

static struct arena a;
static char path[64], path2[64];

static void write_file(char *where, const char *text)
{
	int fd;

	strcpy(where, "/tmp/test_dns_zone.XXXXXX");
	fd = mkstemp(where);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct dns_zones *zones_of(const char *text)
{
	const char *files[] = { path };
	const char *why = "";
	struct dns_zones *z;

	write_file(path, text);
	z = dns_zone_open(&a, files, 1, &why);
	if (!z)
		print_error("%s\n", why);
	unlink(path);
	assert_non_null(z);
	return z;
}

/* "STATUS ttl record record", "ALIAS ttl name" or "ELSEWHERE". */
static void asks(const struct dns_zones *z, const char *text, enum dns_type type, const char *expected)
{
	struct str seen = STR_IN(&a);
	struct dns_answer out = { .count = 0 };
	struct dns_name name, alias;
	char shown[IP_TEXT];

	assert_true(dns_name_parse(&name, slice_of(text)));
	switch (dns_zone_ask(z, &a, &name, type, &out, &alias)) {
	case ZONE_ELSEWHERE:
		str_puts(&seen, "ELSEWHERE");
		break;
	case ZONE_ALIAS:
		str_printf(&seen, "ALIAS %u ", out.ttl);
		str_add(&seen, dns_name_copy(&a, &alias));
		break;
	case ZONE_ANSWERED:
		str_printf(&seen, "%s %u", out.status == DNS_FOUND ? "FOUND" :
			out.status == DNS_NODATA ? "NODATA" : out.status == DNS_NXDOMAIN ? "NXDOMAIN" : "TROUBLE", out.ttl);
		assert_false(out.secure);
		for (size_t i = 0; i < out.count; i++) {
			str_addc(&seen, ' ');
			if (type == DNS_MX)
				str_printf(&seen, "%u:", out.records[i].preference);
			if (type == DNS_A)
				str_puts(&seen, ip_text(&out.records[i].ip, shown));
			else
				str_add(&seen, out.records[i].text);
		}
	}
	if (strcmp(str_cstr(&seen), expected) != 0)
		fail_msg("%s %s: got \"%s\", expected \"%s\"", text, dns_type_name(type), str_cstr(&seen), expected);
}

static const char zone[] =
	"$ORIGIN Example.test.\n"
	"$TTL 300\n"
	"@ SOA ns host 1 2 3 4 60\n"
	"@ NS ns\n"
	"@ MX 10 mail\n"
	"@ MX 20 .\n"
	"Mail 100 A 192.0.2.1\n"
	"mail 50 A 192.0.2.2\n"
	"mail A 192.0.2.1\n"		/* known already */
	"www CNAME MAIL\n"
	"far CNAME elsewhere.invalid.\n"
	"deep.down.there TXT x\n"
	"signed DNSKEY 1 2 3 4\n"
	"a\\.b TXT dotted\n";

static void plain_zone(void **state)
{
	struct dns_zones *z = zones_of(zone);

	asks(z, "example.test", DNS_MX, "FOUND 300 10:mail.Example.test 20:");
	asks(z, "mail.example.test", DNS_A, "FOUND 50 192.0.2.1 192.0.2.2");
	asks(z, "mail.example.test", DNS_AAAA, "NODATA 60");
	asks(z, "www.example.test", DNS_A, "ALIAS 300 mail.example.test");
	asks(z, "www.example.test", DNS_CNAME, "FOUND 300 MAIL.Example.test");
	asks(z, "far.example.test", DNS_A, "ALIAS 300 elsewhere.invalid");
	asks(z, "no.example.test", DNS_A, "NXDOMAIN 60");
	asks(z, "no.www.example.test", DNS_A, "NXDOMAIN 60");
	asks(z, "down.there.example.test", DNS_TXT, "NODATA 60");	/* exists because of what is below it */
	asks(z, "there.example.test", DNS_TXT, "NODATA 60");
	asks(z, "up.there.example.test", DNS_TXT, "NXDOMAIN 60");
	asks(z, "signed.example.test", DNS_TXT, "NODATA 60");
	asks(z, "signed.example.test", DNS_DNSKEY, "NODATA 60");
	asks(z, "a.b.example.test", DNS_TXT, "NXDOMAIN 60");		/* not the dot within a label */
	asks(z, "example.test", DNS_SOA, "FOUND 300 ns.Example.test");
	asks(z, "test", DNS_A, "ELSEWHERE");
	asks(z, "", DNS_NS, "ELSEWHERE");
	asks(z, "xexample.test", DNS_A, "ELSEWHERE");
	dns_zone_close(z);
	arena_drop(&a);
}

/* The example of RFC 4592 section 2.2.1. */
static void wildcards(void **state)
{
	struct dns_zones *z = zones_of("$ORIGIN example.\n"
		"@ 3600 SOA ns host 1 2 3 4 3600\n"
		"@ 3600 NS ns.example.com.\n"
		"* 3600 TXT \"this is a wildcard\"\n"
		"* 3600 MX 10 host1.example.\n"
		"sub.* 3600 TXT \"this is not a wildcard\"\n"
		"host1 3600 A 192.0.2.1\n"
		"_ssh._tcp.host1 3600 SRV 0 0 22 host1\n"
		"_ssh._tcp.host2 3600 SRV 0 0 22 host1\n"
		"*.alias CNAME host1\n");

	asks(z, "host3.example", DNS_MX, "FOUND 3600 10:host1.example");
	asks(z, "host3.example", DNS_A, "NODATA 3600");
	asks(z, "foo.bar.example", DNS_TXT, "FOUND 3600 this is a wildcard");
	asks(z, "host1.example", DNS_MX, "NODATA 3600");
	asks(z, "sub.*.example", DNS_MX, "NODATA 3600");
	asks(z, "*.example", DNS_TXT, "FOUND 3600 this is a wildcard");
	asks(z, "_telnet._tcp.host1.example", DNS_SRV, "NXDOMAIN 3600");
	asks(z, "host2.example", DNS_TXT, "NODATA 3600");
	asks(z, "ghost.*.example", DNS_MX, "NXDOMAIN 3600");
	asks(z, "x.alias.example", DNS_A, "ALIAS 3600 host1.example");
	asks(z, "alias.example", DNS_A, "NODATA 3600");
	dns_zone_close(z);
	arena_drop(&a);
}

static void names_without_soa_only_add(void **state)
{
	struct dns_zones *z = zones_of("mail.corp. A 192.0.2.1\nalias.corp. CNAME mail.corp.\n*.wild.corp. TXT x\n"
		"below.corp. TXT y\nbelow.corp. SOA a b 1 2 3 4 5\n");

	asks(z, "mail.corp", DNS_A, "FOUND 3600 192.0.2.1");
	asks(z, "mail.corp", DNS_AAAA, "ELSEWHERE");
	asks(z, "alias.corp", DNS_AAAA, "ALIAS 3600 mail.corp");
	asks(z, "corp", DNS_A, "ELSEWHERE");
	asks(z, "other.corp", DNS_A, "ELSEWHERE");
	asks(z, "a.b.wild.corp", DNS_TXT, "FOUND 3600 x");
	asks(z, "a.wild.corp", DNS_A, "ELSEWHERE");
	asks(z, "a.below.corp", DNS_A, "NXDOMAIN 5");	/* but here is an SOA */
	asks(z, "below.corp", DNS_A, "NODATA 5");
	dns_zone_close(z);
	z = zones_of(". SOA a b 1 2 3 4 7\nx. TXT y\n");
	asks(z, "anything.at.all", DNS_A, "NXDOMAIN 7");
	asks(z, "", DNS_SOA, "FOUND 3600 a");
	asks(z, "", DNS_A, "NODATA 7");
	dns_zone_close(z);
	z = zones_of("");
	asks(z, "x", DNS_A, "ELSEWHERE");
	dns_zone_close(z);
	arena_drop(&a);
}

static void longest_names(void **state)
{
	char text[400] = "", question[300] = "";
	struct dns_zones *z;

	for (int i = 0; i < 126; i++)
		strcat(question, "x.");
	snprintf(text, sizeof(text), "%sx. A 192.0.2.1\n", question);
	z = zones_of(text);
	strcat(question, "x");
	asks(z, question, DNS_A, "FOUND 3600 192.0.2.1");
	question[0] = 'y';
	asks(z, question, DNS_A, "ELSEWHERE");
	dns_zone_close(z);
	z = zones_of("* TXT star\n");
	asks(z, question, DNS_TXT, "FOUND 3600 star");
	dns_zone_close(z);
	arena_drop(&a);
}

static void several_files(void **state)
{
	const char *files[] = { path, path2 };
	const char *why = "";
	struct dns_zones *z;

	write_file(path, "example.test. SOA a b 1 2 3 4 5\n");
	write_file(path2, "mail.example.test. A 192.0.2.1\nexample.test. SOA a b 1 2 3 4 5\n");
	z = dns_zone_open(&a, files, 2, &why);
	assert_non_null(z);
	asks(z, "mail.example.test", DNS_A, "FOUND 3600 192.0.2.1");
	asks(z, "no.example.test", DNS_A, "NXDOMAIN 5");
	dns_zone_close(z);
	unlink(path);
	unlink(path2);
	arena_drop(&a);
}

static void refuses(const char *text, const char *expected)
{
	const char *files[] = { path };
	const char *why = "";
	char whole[200];

	write_file(path, text);
	snprintf(whole, sizeof(whole), "%s%s", path, expected);
	assert_null(dns_zone_open(&a, files, 1, &why));
	assert_string_equal(why, whole);
	unlink(path);
}

static void mistakes(void **state)
{
	const char *missing[] = { "/nonexistent/zone" }, *directory[] = { "/tmp" }, *endless[] = { "/dev/zero" };
	const char *why = "";

	refuses("a. A 192.0.2.1\nb. A x\n", ":2: not an IPv4 address: \"x\"");
	refuses("a. A 192.0.2.1\nA. CNAME b.\n", ":2: CNAME beside other records of this name");
	refuses("a. CNAME b.\na. TXT x\n", ":2: CNAME beside other records of this name");
	refuses("a. CNAME b.\na. CNAME c.\n", ":2: CNAME beside other records of this name");
	refuses("a. SOA b. c. 1 2 3 4 5\na. SOA b. c. 2 2 3 4 5\n", ":2: a second SOA of this name");
	assert_null(dns_zone_open(&a, missing, 1, &why));
	assert_string_equal(why, "/nonexistent/zone: No such file or directory");
	assert_null(dns_zone_open(&a, directory, 1, &why));
	assert_string_equal(why, "/tmp: no regular file of less than 256 MiB");
	assert_null(dns_zone_open(&a, endless, 1, &why));
	assert_string_equal(why, "/dev/zero: no regular file of less than 256 MiB");
	arena_drop(&a);
}

UNIT_MAIN(T(plain_zone), T(wildcards), T(names_without_soa_only_add), T(longest_names), T(several_files), T(mistakes))
