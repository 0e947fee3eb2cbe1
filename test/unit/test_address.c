/* address: the grammar (with the is_email corpus where it is there), domains, tags, canonical forms. */
#include "unit.h"

#include "wire/address.h"

#include <jansson.h>
#include <stdio.h>

/* ---- paths ---- */

/* The text of the path, NULL if refused; rest and *out are checked to be untouched then. */
static const char *path(struct arena *a, const char *text, bool utf8)
{
	struct slice rest = slice_of(text);
	struct path p, before;
	const char *why = NULL;

	memset(&p, 0x55, sizeof(p));
	before = p;
	if (path_parse(&p, &rest, utf8, &why))
		return slice_cstr(a, p.text);
	assert_memory_equal(&p, &before, sizeof(p));
	assert_non_null(why);
	assert_slice(rest, text);
	return NULL;
}

static void test_good_paths(void **state)
{
	static const char *const good[] = {
		"<a@b>", "<joe.q.public@example.org>", "<a@[192.0.2.1]>", "<a@[IPv6:2001:db8::1]>",
		"<a@[ipv6:::ffff:192.0.2.1]>", "<!#$%&'*+-/=?^_`{|}~@x>", "<\"joe q\"@x>", "<\"a\\\"b\\\\\"@x>", "<\"\"@x>",
		"<\"<a@b>\"@x>", "<a@host_name.example>", "<a@_dmarc.example>", "<a@1.2.3.4>", "<a@3com>",
		"<=?x?=@b>", "<\"a@b\"@c>", "<a@xn--bcher-kva.example>",
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const char *text = path(&a, good[i], false);
		assert_non_null(text);
		assert_true(slice_eq(slice_of(text), slice_make(good[i] + 1, strlen(good[i]) - 2)));
	}
	assert_string_equal(path(&a, "<>", false), "");
	assert_string_equal(path(&a, "<@one,@two.example:joe@x>", false), "joe@x");
	arena_drop(&a);
}

static void test_bad_paths(void **state)
{
	static const char *const bad[] = {
		"", "a@b", "<", "<a", "<a@b", "<a@b ", "< a@b>", "<a@b >", "<a @b>", "<a@ b>", "<@b>", "<a@>", "<a>", "<.a@b>",
		"<a.@b>", "<a..b@c>", "<a@.b>", "<a@b.>", "<a@b..c>", "<a@-b>", "<a@b->", "<a@b.-c>", "<a@b/c>", "<a@b@c>",
		"<a,b@c>", "<a(c)@b>", "<a;b@c>", "<a:b@c>", "<a<b@c>", "<\"a@b>", "<\"a\"b@c>", "<a\"b\"@c>",
		"<\"a\\\"@b>", "<\"a\tb\"@c>", "<\"a\\\nb\"@c>", "<a@[]>", "<a@[192.0.2]>", "<a@[192.0.2.256]>",
		"<a@[192.0.2.1>", "<a@[192.0.2.1]x>", "<a@x[192.0.2.1]>", "<a@[::1]>", "<a@[IPv6:192.0.2.1]>",
		"<a@[IPv6:1::2::3]>", "<a@[x:y]>", "<a@[1.2.3.4 ]>", "<@one,two:joe@x>", "<@one:>", "<@:joe@x>",
		"<@one joe@x>", "<@one,:joe@x>", "<@one", "<a@b\r>", "<a\001@b>", "<a\177@b>", "<a@b\177>", "<\\a@b>",
		"<j\303\266@x>", "<a@\303\266>", "<\"\303\266\"@x>",
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (path(&a, bad[i], false)) {
			print_error("%s was taken\n", bad[i]);
			fail();
		}
	}
	arena_drop(&a);
}

static void test_utf8_paths(void **state)
{
	struct arena a = ARENA_INIT;

	assert_non_null(path(&a, "<j\303\266@x>", true));
	assert_non_null(path(&a, "<a@b\303\274cher.example>", true));
	assert_non_null(path(&a, "<\"\303\266 \"@x>", true));
	assert_non_null(path(&a, "<\360\237\230\200@x>", true));
	assert_null(path(&a, "<j\303@x>", true));
	assert_null(path(&a, "<j\300\200@x>", true));
	assert_null(path(&a, "<j\355\240\200@x>", true));
	assert_null(path(&a, "<j\302\205@x>", true));	/* C1: NEXT LINE */
	assert_null(path(&a, "<\"\302\233\"@x>", true));
	assert_null(path(&a, "<a@\302\233x>", true));
	assert_null(path(&a, "<a@-\303\266>", true));
	arena_drop(&a);
}

static struct slice fill(char *p, const char *before, size_t n, const char *after)
{
	size_t at = strlen(before);

	memcpy(p, before, at);
	for (size_t i = 0; i < n; i++)
		p[at + i] = 'a';
	strcpy(p + at + n, after);
	return slice_of(p);
}

static void test_limits(void **state)
{
	struct arena a = ARENA_INIT;
	char text[600], label[64] = "";

	memset(label, 'b', 63);
	fill(text, "<", 250, "@x>");
	assert_non_null(path(&a, text, false));
	fill(text, "<", 251, "@x>");
	assert_null(path(&a, text, false));
	fill(text, "<a@", 63, ">");
	assert_non_null(path(&a, text, false));
	fill(text, "<a@", 64, ">");
	assert_null(path(&a, text, false));
	/* 254 octets between the brackets, 255 not. */
	snprintf(text, sizeof(text), "<a@%s.%s.%s.%.60s>", label, label, label, label);
	assert_int_equal(strlen(text), 256);
	assert_non_null(path(&a, text, false));
	snprintf(text, sizeof(text), "<aa@%s.%s.%s.%.60s>", label, label, label, label);
	assert_null(path(&a, text, false));
	/* domains: 255 */
	snprintf(text, sizeof(text), "%s.%s.%s.%s", label, label, label, label);
	assert_true(domain_valid(slice_of(text), false));
	snprintf(text, sizeof(text), "%s.%s.%s.%.62s.b", label, label, label, label);
	assert_int_equal(strlen(text), 256);
	assert_false(domain_valid(slice_of(text), false));
	arena_drop(&a);
}

static void test_forward_paths(void **state)
{
	struct path p;
	struct slice rest = SLICE("<POSTmaster> NOTIFY=NEVER");
	const char *why;

	assert_true(path_parse_forward(&p, &rest, false, &why));
	assert_true(path_is_postmaster(&p));
	assert_false(path_is_null(&p));
	assert_slice(p.text, "POSTmaster");
	assert_slice(rest, " NOTIFY=NEVER");
	rest = SLICE("<>");
	assert_false(path_parse_forward(&p, &rest, false, &why));
	rest = SLICE("<postmasterx>");
	assert_false(path_parse_forward(&p, &rest, false, &why));
	rest = SLICE("<postmaster@example.org>x");
	assert_true(path_parse_forward(&p, &rest, false, &why));
	assert_false(path_is_postmaster(&p));
	assert_slice(rest, "x");
	rest = SLICE("<>");
	assert_true(path_parse(&p, &rest, false, &why));
	assert_true(path_is_null(&p));
	assert_false(path_is_postmaster(&p));
}

static void test_copy(void **state)
{
	static const char *const texts[] = { "<\"a@b\"@c.example>", "<>", "<Postmaster>", "<@r:a@[192.0.2.1]>" };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < 4; i++) {
		struct slice rest = slice_copy(&a, slice_of(texts[i]));
		struct path p, copy;
		const char *why;
		assert_true(i == 2 ? path_parse_forward(&p, &rest, false, &why) : path_parse(&p, &rest, false, &why));
		copy = path_copy(&a, &p);
		assert_true(slice_eq(copy.text, p.text) && slice_eq(copy.local, p.local) &&
			slice_eq(copy.domain, p.domain));
		assert_true(copy.text.p != p.text.p);
		assert_int_equal(copy.null, i == 1);
		assert_int_equal(copy.literal, i == 3);
		assert_int_equal(copy.quoted, i == 0);
	}
	arena_drop(&a);
}

/* ---- domains ---- */

static void canonical_domain(const char *domain, const char *expected)
{
	struct arena a = ARENA_INIT;
	struct slice got = domain_canonical(&a, slice_of(domain));

	if (!expected)
		assert_true(got.p == NULL);
	else
		assert_slice(got, expected);
	arena_drop(&a);
}

static void test_canonical_domains(void **state)
{
	canonical_domain("Example.ORG", "example.org");
	canonical_domain("example.org.", "example.org");
	canonical_domain("a_B.x", "a_b.x");
	canonical_domain("b\303\274cher.Example", "xn--bcher-kva.example");
	canonical_domain("B\303\234CHER.example", "xn--bcher-kva.example");
	canonical_domain("stra\303\237e.de", "xn--strae-oqa.de");	/* non-transitional: not strasse */
	canonical_domain("bu\314\210cher.example", "xn--bcher-kva.example");	/* NFC */
	canonical_domain("XN--BCHER-KVA.example", "xn--bcher-kva.example");
	canonical_domain("\344\276\213\343\201\210.jp", "xn--r8jz45g.jp");
	canonical_domain("[192.0.2.1]", "[192.0.2.1]");
	canonical_domain("[ipv6:2001:DB8:0:0::1]", "[ipv6:2001:db8::1]");
	canonical_domain("[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]");
	canonical_domain("", NULL);
	canonical_domain(".", NULL);
	canonical_domain("a..b", NULL);
	canonical_domain("example.org..", NULL);
	canonical_domain("a b", NULL);
	canonical_domain("[192.0.2]", NULL);
	canonical_domain("[192.0.2.1]x", NULL);
	canonical_domain("a\357\274\240b.example", NULL);	/* FULLWIDTH COMMERCIAL AT maps to "@" */
	canonical_domain("a\357\274\217b.example", NULL);	/* FULLWIDTH SOLIDUS maps to "/" */
	canonical_domain("\303.example", NULL);
	canonical_domain("x\342\200\215.\303\274", NULL);	/* ZERO WIDTH JOINER without context */
}

/* ---- tags and canonical forms ---- */

static const struct {
	const char *path, *canonical, *plain;
	enum address_tag tag;
	const char *tag_text, *detail, *srs_for;
} forms[] = {
	{ "u@Example.ORG", "u@example.org", "u@Example.ORG", ADDRESS_TAG_NONE, "", "", "" },
	{ "Joe.User@d", "joe.user@d", "Joe.User@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "Joe+List@d", "joe@d", "Joe+List@d", ADDRESS_TAG_NONE, "", "List", "" },
	{ "joe+a+b@d", "joe@d", "joe+a+b@d", ADDRESS_TAG_NONE, "", "a+b", "" },
	{ "joe+@d", "joe@d", "joe+@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "+joe@d", "+joe@d", "+joe@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "+joe+x@d", "+joe@d", "+joe+x@d", ADDRESS_TAG_NONE, "", "x", "" },
	/* BATV in all its spellings */
	{ "prvs=0123abcdef=u@d", "u@d", "u@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	{ "PRVS=0123ABCDEF=U@D", "u@d", "U@D", ADDRESS_TAG_PRVS, "0123ABCDEF", "", "" },
	{ "prvs=0123abcdef=joe+x@d", "joe@d", "joe+x@d", ADDRESS_TAG_PRVS, "0123abcdef", "x", "" },
	{ "prvs=0123abcdef=a=b@d", "a=b@d", "a=b@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	{ "prvs=0123abcdef=a/b@d", "a/b@d", "a/b@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	{ "prvs=u/0123abcdef@d", "u@d", "u@d", ADDRESS_TAG_PRVS_SWAPPED, "0123abcdef", "", "" },
	{ "prvs=u=0123abcdef@d", "u@d", "u@d", ADDRESS_TAG_PRVS_SWAPPED, "0123abcdef", "", "" },
	{ "prvs=a=b=0123abcdef@d", "a=b@d", "a=b@d", ADDRESS_TAG_PRVS_SWAPPED, "0123abcdef", "", "" },
	{ "prvs=12345678a=u@d", "u@d", "u@d", ADDRESS_TAG_PRVS, "12345678a", "", "" },
	{ "prvs=0123abcdef=\303\266@d", "\303\266@d", "\303\266@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	{ "prvs=xyz=u@d", "prvs=xyz=u@d", "prvs=xyz=u@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "prvs=0123abcdef=@d", "prvs=0123abcdef=@d", "prvs=0123abcdef=@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "prvs==0123abcdef@d", "prvs==0123abcdef@d", "prvs==0123abcdef@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "prvs=@d", "prvs=@d", "prvs=@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "prvs@d", "prvs@d", "prvs@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "u+prvs=x@d", "u@d", "u+prvs=x@d", ADDRESS_TAG_NONE, "", "prvs=x", "" },
	{ "prvs=u/0123abcdef+zz@d", "u@d", "u@d", ADDRESS_TAG_PRVS_SWAPPED, "0123abcdef", "zz", "" },
	{ "btv1==0123456789ab==u@d", "u@d", "u@d", ADDRESS_TAG_BTV1, "0123456789ab", "", "" },
	{ "btv1==x==u@d", "u@d", "u@d", ADDRESS_TAG_BTV1, "x", "", "" },
	{ "btv1====u@d", "btv1====u@d", "btv1====u@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "msprvs1=17567abcD_E=Bounces-1+x@d", "bounces-1@d", "Bounces-1+x@d", ADDRESS_TAG_MSPRVS1, "17567abcD_E", "x",
		"" },
	{ "prvs=0123abcdef=btv1==x==u@d", "u@d", "btv1==x==u@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	/* SRS keeps its own form */
	{ "SRS0=HHHH=TT=example.org=joe@fwd", "srs0=hhhh=tt=example.org=joe@fwd", "SRS0=HHHH=TT=example.org=joe@fwd",
		ADDRESS_TAG_SRS0, "HHHH=TT=example.org=joe", "", "joe@example.org" },
	{ "SRS0+HHHH=TT=example.org=joe+x@fwd", "srs0+hhhh=tt=example.org=joe+x@fwd",
		"SRS0+HHHH=TT=example.org=joe+x@fwd", ADDRESS_TAG_SRS0, "HHHH=TT=example.org=joe+x", "",
		"joe+x@example.org" },
	{ "srs0-H=T=example.org=a=b@fwd", "srs0-h=t=example.org=a=b@fwd", "srs0-H=T=example.org=a=b@fwd",
		ADDRESS_TAG_SRS0, "H=T=example.org=a=b", "", "a=b@example.org" },
	{ "SRS1=HHHH=one.example==HHHH=TT=example.org=joe@two", "srs1=hhhh=one.example==hhhh=tt=example.org=joe@two",
		"SRS1=HHHH=one.example==HHHH=TT=example.org=joe@two", ADDRESS_TAG_SRS1,
		"HHHH=one.example==HHHH=TT=example.org=joe", "", "joe@example.org" },
	{ "SRS1+H=one.example=+H=T=x=j@two", "srs1+h=one.example=+h=t=x=j@two", "SRS1+H=one.example=+H=T=x=j@two",
		ADDRESS_TAG_SRS1, "H=one.example=+H=T=x=j", "", "j@x" },
	{ "SRS1=H=one.example=-odd@two", "srs1=h=one.example=-odd@two", "SRS1=H=one.example=-odd@two",
		ADDRESS_TAG_SRS1, "H=one.example=-odd", "", "" },
	{ "SRS0=short@d", "srs0=short@d", "SRS0=short@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "SRS0@d", "srs0@d", "SRS0@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "SRS2=H=T=x=j@d", "srs2=h=t=x=j@d", "SRS2=H=T=x=j@d", ADDRESS_TAG_NONE, "", "", "" },
	/* quotes */
	{ "\"joe\"@d", "joe@d", "\"joe\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"j\\oe\"@d", "joe@d", "\"j\\oe\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"Joe Q\"@d", "\"joe q\"@d", "\"Joe Q\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"a\\\"\\\\\"@d", "\"a\\\"\\\\\"@d", "\"a\\\"\\\\\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"\"@d", "\"\"@d", "\"\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"a..b\"@d", "\"a..b\"@d", "\"a..b\"@d", ADDRESS_TAG_NONE, "", "", "" },
	{ "\"joe+x y\"@d", "joe@d", "\"joe+x y\"@d", ADDRESS_TAG_NONE, "", "x y", "" },
	{ "\"prvs=0123abcdef=a b\"@d", "\"a b\"@d", "\"a b\"@d", ADDRESS_TAG_PRVS, "0123abcdef", "", "" },
	{ "u@B\303\274cher.example", "u@xn--bcher-kva.example", "u@B\303\274cher.example", ADDRESS_TAG_NONE, "", "", "" },
	{ "u@[IPv6:2001:DB8::1]", "u@[ipv6:2001:db8::1]", "u@[IPv6:2001:DB8::1]", ADDRESS_TAG_NONE, "", "", "" },
};

static void test_forms(void **state)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct arena a = ARENA_INIT;
		struct address_form form;
		struct slice rest = slice_of(arena_printf(&a, "<%s>", forms[i].path)), again;
		struct path p;
		const char *why;

		assert_true(path_parse(&p, &rest, true, &why));
		assert_true(address_form(&a, &p, SLICE("+"), &form));
		assert_slice(form.canonical, forms[i].canonical);
		assert_slice(form.plain, forms[i].plain);
		assert_int_equal(form.tag, forms[i].tag);
		assert_slice(form.tag_text, forms[i].tag_text);
		assert_slice(form.detail, forms[i].detail);
		assert_slice(form.srs_for, forms[i].srs_for);
		assert_true(address_canonical(&a, slice_of(forms[i].path), SLICE("+"), &again));
		assert_slice(again, forms[i].canonical);
		arena_drop(&a);
	}
}

static void test_separators(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice out = SLICE("before");

	assert_true(address_canonical(&a, SLICE("joe+x-y@d"), SLICE_NULL, &out));
	assert_slice(out, "joe+x-y@d");
	assert_true(address_canonical(&a, SLICE("joe-y+x@d"), SLICE("+-"), &out));
	assert_slice(out, "joe@d");
	out = SLICE("before");
	assert_false(address_canonical(&a, SLICE("joe@d "), SLICE_NULL, &out));
	assert_false(address_canonical(&a, SLICE("joe"), SLICE_NULL, &out));
	assert_false(address_canonical(&a, SLICE("<joe@d>"), SLICE_NULL, &out));
	assert_false(address_canonical(&a, SLICE("joe@a\357\274\240b"), SLICE_NULL, &out));
	assert_slice(out, "before");
	arena_drop(&a);
}

static void test_no_form_without_a_domain(void **state)
{
	struct arena a = ARENA_INIT;
	struct address_form form;
	struct slice rest = SLICE("<><postmaster>");
	struct path p;
	const char *why;

	assert_true(path_parse(&p, &rest, false, &why));
	assert_false(address_form(&a, &p, SLICE_NULL, &form));
	assert_true(path_parse_forward(&p, &rest, false, &why));
	assert_false(address_form(&a, &p, SLICE_NULL, &form));
	arena_drop(&a);
}

/* ---- the is_email corpus ---- */

/* Categories of the corpus: RFC5321 and plain valid ones are SMTP addresses; what only RFC 5322 knows (comments,
 * folding, obsolete forms, other literals) is none, and errors are none. DNSWARN depends on the DNS. */
static bool corpus_expects(const char *category, const char *diagnosis, bool *known)
{
	*known = strcmp(category, "ISEMAIL_DNSWARN") != 0 &&
		/* "::" for a single group: RFC 5321 has no such form, RFC 5952 section 4.2.2 knows that it is read. */
		strcmp(diagnosis, "ISEMAIL_RFC5321_IPV6DEPRECATED") != 0 &&
		/* We take longer ones than section 4.5.3.1.1 wants (address.c). */
		strcmp(diagnosis, "ISEMAIL_RFC5322_LOCAL_TOOLONG") != 0;
	return strcmp(category, "ISEMAIL_VALID_CATEGORY") == 0 || strcmp(category, "ISEMAIL_RFC5321") == 0;
}

static bool mailbox_ok(const char *address, size_t n)
{
	struct arena a = ARENA_INIT;
	struct str s = STR_IN(&a);
	struct slice rest;
	struct path p;
	const char *why;
	bool ok;

	str_addc(&s, '<');
	str_add(&s, slice_make(address, n));
	str_addc(&s, '>');
	rest = str_slice(&s);
	ok = path_parse(&p, &rest, false, &why) && rest.n == 0 && !p.null;
	arena_drop(&a);
	return ok;
}

/* id, address as a JSON string, category, diagnosis. */
static bool corpus_row(char *line)
{
	char *address, *category, *diagnosis, *save;
	json_t *json;
	bool known, expected, got;

	strtok_r(line, "\t\n", &save);
	address = strtok_r(NULL, "\t\n", &save);
	category = strtok_r(NULL, "\t\n", &save);
	diagnosis = strtok_r(NULL, "\t\n", &save);
	json = json_loads(address, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(json);
	assert_non_null(diagnosis);
	expected = corpus_expects(category, diagnosis, &known);
	got = mailbox_ok(json_string_value(json), json_string_length(json));
	json_decref(json);
	if (known && got != expected)
		print_error("%s (%s): %s\n", address, diagnosis, got ? "taken" : "refused");
	return !known || got == expected;
}

static void test_corpus(void **state)
{
	const char *shared = getenv("SPURN_SHARED");
	char name[512], line[4096];
	int rows = 0, wrong = 0;
	FILE *f;

	snprintf(name, sizeof(name), "%s/corpus/address/isemail.tsv", shared ? shared : "../shared");
	f = fopen(name, "r");
	if (!f) {
		print_message("no %s: skipped\n", name);
		skip();
	}
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "id\t", 3) == 0)
			continue;
		wrong += !corpus_row(line);
		rows++;
	}
	fclose(f);
	assert_int_equal(wrong, 0);
	assert_true(rows >= 164);
}

UNIT_MAIN(T(test_good_paths), T(test_bad_paths), T(test_utf8_paths), T(test_limits), T(test_forward_paths),
	T(test_copy), T(test_canonical_domains), T(test_forms), T(test_separators),
	T(test_no_form_without_a_domain), T(test_corpus))
