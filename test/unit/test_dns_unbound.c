/*
 * The network side of DNS: libunbound in the loop, against a server of ours on loopback. The clock is the real
 * one, since libunbound reads it itself; deadlines are short.
 */
#include "fake_dns.h"

#include "net/dns.h"

#include <openssl/evp.h>
#include <time.h>

static struct fake_dns server;
static char anchor[200];	/* of signed.test */
static struct dns *dns;
static struct arena a;
static struct dns_answer answer;

struct ask {
	const char *name;
	enum dns_type type;
	nanoseconds patience;
	struct dns_answer out;
	struct fiber_job job;
};

static void ask_run(void *arg)
{
	struct ask *q = arg;

	dns_ask(dns, &a, slice_of(q->name), q->type, &q->out, deadline_in(q->patience));
}

static void ask_start(struct ask *q, const char *name, enum dns_type type, nanoseconds patience)
{
	*q = (struct ask){ .name = name, .type = type, .patience = patience };
	clock_turn();		/* we are not called by the loop */
	fiber_start(&q->job, "ask", ask_run, q);
}

static void ask_finish(struct ask *q)
{
	while (fiber_job_active(&q->job))
		loop_turn(DEADLINE_NONE);
}

static void ask(const char *name, enum dns_type type)
{
	struct ask q;

	ask_start(&q, name, type, 5 * NS_PER_SECOND);
	ask_finish(&q);
	answer = q.out;
}

static void dns_begin_with(const struct dns_conf *conf)
{
	const char *why = "";

	dns = dns_open(&a, conf, &why);
	if (!dns)
		print_error("%s\n", why);
	assert_non_null(dns);
	fake_dns_forget(&server);
}

static void dns_begin(void)
{
	const char *forward[] = { server.address };
	struct dns_conf conf = { .forward = forward, .forward_count = 1, .trust_anchor_file = "" };

	dns_begin_with(&conf);
}

static void dns_end(void)
{
	dns_close(dns);
	arena_drop(&a);
}

static void assert_trouble(const char *why)
{
	assert_int_equal(answer.status, DNS_TROUBLE);
	assert_int_equal(answer.count, 0);
	assert_string_equal(answer.why, why);
}

/* ---- answers ---- */

static void every_type(void **state)
{
	char text[IP_TEXT];

	dns_begin();
	ask("ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.ttl, 60);
	assert_false(answer.secure);
	assert_false(answer.cached);
	assert_string_equal(ip_text(&answer.records[0].ip, text), "192.0.2.1");
	ask("OK.Test.", DNS_A);
	assert_true(answer.cached);
	assert_int_equal(fake_dns_count(&server, "A ok.test"), 1);
	ask("ok.test", DNS_AAAA);
	assert_string_equal(ip_text(&answer.records[0].ip, text), "2001:db8::1");
	ask("ok.test", DNS_MX);
	assert_int_equal(answer.records[0].preference, 10);
	assert_slice(answer.records[0].text, "mx.ok.test");
	ask("ok.test", DNS_TXT);
	assert_slice(answer.records[0].text, "onetwo");
	dns_end();
}

static void no_is_an_answer(void **state)
{
	dns_begin();
	ask("nx.test", DNS_A);
	assert_int_equal(answer.status, DNS_NXDOMAIN);
	assert_int_equal(answer.ttl, 30);
	assert_null(answer.why);
	ask("nodata.test", DNS_MX);
	assert_int_equal(answer.status, DNS_NODATA);
	ask("nodata.test", DNS_MX);
	assert_true(answer.cached);
	dns_end();
}

static void aliases(void **state)
{
	dns_begin();
	ask("alias.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_int_equal(answer.count, 1);
	ask("alias.test", DNS_CNAME);
	assert_slice(answer.records[0].text, "hop.test");
	ask("loop.test", DNS_A);
	assert_int_equal(answer.status, DNS_TROUBLE);
	dns_end();
}

static void truncated_goes_over_tcp(void **state)
{
	dns_begin();
	ask("big.test", DNS_TXT);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_int_equal(answer.records[0].text.n, 3000);
	assert_true(server.log->tcp > 0);
	ask("huge.test", DNS_A);
	assert_int_equal(answer.count, 400);
	assert_int_equal(answer.records[399].ip.bytes[14], 1);
	dns_end();
}

static void octets_of_any_kind(void **state)
{
	dns_begin();
	/* Sent as it is; libunbound takes text, in which a NUL, a backslash and a blank would mean something else. */
	ask("sp ace\\.\"x\".(y);z.ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_NXDOMAIN);
	assert_int_equal(fake_dns_count(&server, "A sp\\032ace\\\\.\"x\".(y);z.ok.test"), 1);
	ask("b\xc3\xbc.test", DNS_A);
	assert_int_equal(fake_dns_count(&server, "A b\\195\\188.test"), 1);
	ask("@.test", DNS_A);
	assert_int_equal(fake_dns_count(&server, "A @.test"), 1);
	ask("..", DNS_A);
	assert_int_equal(answer.status, DNS_NXDOMAIN);
	assert_true(answer.cached);
	dns_end();
}

/* ---- trouble ---- */

static void failures_are_no_answers(void **state)
{
	static const char *const names[] = { "servfail.test", "refused.test", "notimp.test", "garbage.test", "other.test" };

	dns_begin();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct ask q;

		ask_start(&q, names[i], DNS_A, NS_PER_SECOND);
		ask_finish(&q);
		assert_int_equal(q.out.status, DNS_TROUBLE);
		assert_non_null(q.out.why);
		assert_true(strcmp(q.out.why, "SERVFAIL") == 0 || strcmp(q.out.why, "timeout") == 0);
	}
	/* Trouble with one name is no trouble with another. */
	ask("ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	dns_end();
}

static void deadlines_are_ours(void **state)
{
	nanoseconds start;
	struct ask q, p;

	dns_begin();
	start = clock_precise();
	ask_start(&q, "silent.test", DNS_A, NS_PER_SECOND);
	ask_start(&p, "silent.test", DNS_A, 100 * NS_PER_MS);
	ask_finish(&p);
	assert_string_equal(p.out.why, "timeout");
	assert_true(fiber_job_active(&q.job));
	ask_finish(&q);
	assert_string_equal(q.out.why, "timeout");
	assert_true(clock_precise() - start >= NS_PER_SECOND);
	assert_int_equal(dns_stats(dns)->joined, 1);
	assert_int_equal(dns_stats(dns)->timeouts, 2);
	/* Closed with the question still under way in libunbound. */
	dns_end();
}

/* A question that all have given up still fills the cache. */
static void late_answers_warm_the_cache(void **state)
{
	struct ask q;

	dns_begin();
	ask_start(&q, "late.test", DNS_A, 50 * NS_PER_MS);
	ask_finish(&q);
	assert_string_equal(q.out.why, "timeout");
	/* Asked again while it is under way: joined, and answered by the first. */
	ask_start(&q, "late.test", DNS_A, 2 * NS_PER_SECOND);
	ask_finish(&q);
	assert_int_equal(q.out.status, DNS_FOUND);
	assert_int_equal(dns_stats(dns)->joined, 1);
	ask_start(&q, "late.test", DNS_AAAA, 50 * NS_PER_MS);
	ask_finish(&q);
	for (int tries = 0; tries < 100 && !(q.out.status == DNS_FOUND && q.out.cached); tries++) {
		ask_start(&q, "late.test", DNS_AAAA, 50 * NS_PER_MS);
		ask_finish(&q);
	}
	assert_true(q.out.cached);
	assert_in_range(fake_dns_count(&server, "A late.test"), 1, 3);	/* libunbound may repeat itself */
	assert_in_range(fake_dns_count(&server, "AAAA late.test"), 1, 3);
	dns_end();
}

static void many_ask_the_same(void **state)
{
	struct ask q[12];

	dns_begin();
	for (int i = 0; i < 12; i++)
		ask_start(&q[i], i % 2 ? "LATE.test" : "late.test.", DNS_A, 3 * NS_PER_SECOND);
	for (int i = 0; i < 12; i++) {
		ask_finish(&q[i]);
		assert_int_equal(q[i].out.status, DNS_FOUND);
		assert_int_equal(q[i].out.count, 1);
		assert_false(q[i].out.cached);
	}
	assert_int_equal(dns_stats(dns)->questions, 12);
	assert_int_equal(dns_stats(dns)->joined, 11);
	assert_in_range(fake_dns_count(&server, "A late.test"), 1, 3);	/* libunbound may repeat itself */
	dns_end();
}

static void cancelled_while_waiting(void **state)
{
	struct ask q;

	dns_begin();
	ask_start(&q, "silent.test", DNS_A, 5 * NS_PER_SECOND);
	loop_turn(clock_now());
	fiber_job_cancel(&q.job);
	ask_finish(&q);
	answer = q.out;
	assert_trouble("cancelled");
	dns_end();
}

static void closed_while_waiting(void **state)
{
	struct ask q, p;

	dns_begin();
	ask_start(&q, "silent.test", DNS_A, 5 * NS_PER_SECOND);
	ask_start(&p, "silent.test", DNS_MX, 5 * NS_PER_SECOND);
	loop_turn(clock_now());
	dns_close(dns);
	ask_finish(&q);
	ask_finish(&p);
	answer = q.out;
	assert_trouble("the resolver is closed");
	arena_drop(&a);
}

static void dead_forwarder(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(sa);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char address[40];
	const char *forward[] = { address };
	struct dns_conf conf = { .forward = forward, .forward_count = 1, .timeout = 400 * NS_PER_MS };

	/* A port where nobody listens. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &length), 0);
	close(fd);
	snprintf(address, sizeof(address), "127.0.0.1@%u", ntohs(sa.sin_port));
	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_TROUBLE);
	dns_end();
	/* With a second that lives, that one answers. */
	forward[0] = server.address;
	conf.forward = (const char *[]){ address, server.address };
	conf.forward_count = 2;
	conf.timeout = 0;
	conf.trust_anchor_file = "";
	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	dns_end();
}

/* ---- configurations ---- */

static void stub_zone(void **state)
{
	const struct dns_stub stub = { "test", "127.0.0.1", server.port };
	struct dns_conf conf = { .stubs = &stub, .stub_count = 1, .recurse = true, .timeout = NS_PER_SECOND };

	/* Under the root's anchor, but a zone of the site's own needs no signature. */
	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_false(answer.secure);
	dns_end();
}

/* With the root's anchor, behind a forwarder that knows no DNSSEC: insecure, not bogus. */
static void forwarder_without_dnssec(void **state)
{
	const char *forward[] = { server.address };
	struct dns_conf conf = { .forward = forward, .forward_count = 1 };

	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	if (answer.status == DNS_TROUBLE)
		print_error("%s\n", answer.why);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_false(answer.secure);
	dns_end();
}

/* An anchor of the site's own, for a zone that turns out not to be signed. */
static void bogus_is_trouble(void **state)
{
	static const char other_anchor[] = "test. IN DS 20326 8 2 "
		"E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
	const struct dns_stub stub = { "test", "127.0.0.1", server.port };
	char path[] = "/tmp/test_dns_anchor.XXXXXX";
	struct dns_conf conf = { .trust_anchor_file = path, .stubs = &stub, .stub_count = 1 };
	int fd = mkstemp(path);

	assert_int_equal(write(fd, other_anchor, sizeof(other_anchor) - 1), sizeof(other_anchor) - 1);
	close(fd);
	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	unlink(path);
	assert_int_equal(answer.status, DNS_TROUBLE);
	assert_true(slice_starts(slice_of(answer.why), SLICE("bogus: ")));
	dns_end();
}

/* ---- a signed zone: RFC 4034, Ed25519 of RFC 8080 ---- */

#define DNSKEY_HEAD "\1\1\3\xf"		/* zone key and entry point, protocol 3, algorithm 15 */

/* Appendix B of RFC 4034. */
static unsigned key_tag(const uint8_t *rdata, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? rdata[i] : (uint32_t)rdata[i] << 8;
	return (sum + (sum >> 16)) & 0xffff;
}

/* The record and its signature. lie: signed as something else. */
static void sign(EVP_PKEY *key, unsigned tag, struct fake_extra *e, const char *name, unsigned type,
	const void *data, size_t n, bool lie)
{
	uint8_t head[18] = { (uint8_t)(type >> 8), (uint8_t)type, 15, 2, 0, 0, 0, 60,
		0xd0, 0, 0, 0, 0x60, 0, 0, 0, (uint8_t)(tag >> 8), (uint8_t)tag };	/* 2021 to 2080 */
	struct str text = STR_IN(&a);
	struct dns_name owner, signer;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	size_t length = 64;

	assert_true(dns_name_parse(&owner, slice_of(name)) && dns_name_parse(&signer, SLICE("signed.test")));
	head[3] = strcmp(name, "signed.test") == 0 ? 2 : 3;		/* labels */
	*e = (struct fake_extra){ .name = name, .type = type };
	e->records[0].type = type;
	e->records[0].n = n;
	memcpy(e->records[0].data, data, n);
	str_add(&text, slice_make((char *)head, sizeof(head)));
	str_add(&text, dns_name_slice(&signer));
	e->records[1].type = DNS_RRSIG;
	e->records[1].n = text.n + 64;
	memcpy(e->records[1].data, text.p, text.n);
	n = text.n;
	str_add(&text, dns_name_slice(&owner));
	str_add(&text, slice_make((char *)head, 2));
	str_add(&text, SLICE("\0\1\0\0\0\x3c\0"));
	str_addc(&text, (char)e->records[0].n);
	str_add(&text, slice_make((char *)e->records[0].data, e->records[0].n));
	text.p[text.n - 1] = (char)(text.p[text.n - 1] + lie);
	assert_int_equal(EVP_DigestSignInit(md, NULL, NULL, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(md, e->records[1].data + n, &length, (uint8_t *)text.p, text.n), 1);
	EVP_MD_CTX_free(md);
}

static void sign_zone(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t dnskey[36] = DNSKEY_HEAD;
	struct str text = STR_IN(&a);
	size_t n = 32;
	unsigned tag;

	assert_int_equal(EVP_PKEY_get_raw_public_key(key, dnskey + 4, &n), 1);
	tag = key_tag(dnskey, sizeof(dnskey));
	sign(key, tag, &server.extra[0], "signed.test", DNS_DNSKEY, dnskey, sizeof(dnskey), false);
	sign(key, tag, &server.extra[1], "www.signed.test", DNS_A, "\xc0\0\2\7", 4, false);
	sign(key, tag, &server.extra[2], "forged.signed.test", DNS_A, "\xc0\0\2\7", 4, true);
	str_puts(&text, "signed.test. IN DNSKEY 257 3 15 ");
	str_base64(&text, slice_make((char *)dnskey + 4, 32));
	snprintf(anchor, sizeof(anchor), "%s\n", str_cstr(&text));
	EVP_PKEY_free(key);
	arena_drop(&a);
}

static void signed_answers(void **state)
{
	const char *forward[] = { server.address };
	char path[] = "/tmp/test_dns_anchor.XXXXXX";
	struct dns_conf conf = { .trust_anchor_file = path, .forward = forward, .forward_count = 1 };
	int fd = mkstemp(path);

	assert_int_equal(write(fd, anchor, strlen(anchor)), strlen(anchor));
	close(fd);
	dns_begin_with(&conf);
	unlink(path);
	ask("www.signed.test", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	assert_true(answer.secure);
	ask("www.signed.test", DNS_A);
	assert_true(answer.secure && answer.cached);
	ask("ok.test", DNS_A);
	assert_false(answer.secure);
	ask("forged.signed.test", DNS_A);
	assert_int_equal(answer.status, DNS_TROUBLE);
	assert_int_equal(answer.count, 0);
	assert_true(slice_starts(slice_of(answer.why), SLICE("bogus: ")));
	dns_end();
}

static void no_network(void **state)
{
	struct dns_conf conf = { .recurse = true, .timeout = 300 * NS_PER_MS };

	dns_begin_with(&conf);
	/* In the test's network namespace or not: what the outside says is no business of ours, but the end comes. */
	ask("name.that.is.not.in.use.invalid", DNS_A);
	assert_int_equal(answer.status, DNS_NXDOMAIN);		/* RFC 6761 section 6.4: no question leaves */
	ask("localhost", DNS_A);
	assert_int_equal(answer.status, DNS_FOUND);
	dns_end();
}

static void neither_recursion_nor_forwarder(void **state)
{
	struct dns_conf conf = { .recurse = false };

	dns_begin_with(&conf);
	ask("ok.test", DNS_A);
	assert_trouble("no resolver is configured");
	dns_end();
}

static void changed_while_waiting(void **state)
{
	const char *forward[] = { server.address };
	struct dns_conf offline = { .recurse = false }, online = { .forward = forward, .forward_count = 1,
		.trust_anchor_file = "" };
	const char *why = "";
	struct ask q;

	dns_begin();
	ask("ok.test", DNS_A);
	/* The same network: the cache stays. */
	assert_true(dns_reload(dns, &a, &online, &why));
	ask("ok.test", DNS_A);
	assert_true(answer.cached);
	/* Another: what is under way is asked again there. */
	ask_start(&q, "late.test", DNS_A, 5 * NS_PER_SECOND);
	loop_turn(clock_now());
	online.cache_size = 1000000;
	assert_true(dns_reload(dns, &a, &online, &why));
	ask_finish(&q);
	assert_int_equal(q.out.status, DNS_FOUND);
	assert_true(fake_dns_count(&server, "A late.test") >= 2);
	ask_start(&q, "silent.test", DNS_A, 5 * NS_PER_SECOND);
	assert_true(dns_reload(dns, &a, &offline, &why));
	ask_finish(&q);
	answer = q.out;
	assert_trouble("no resolver is configured");
	/* A mistake changes nothing. */
	online.forward = (const char *[]){ "nonsense" };
	assert_false(dns_reload(dns, &a, &online, &why));
	assert_string_equal(why, "resolver: no address: nonsense");
	dns_end();
}

static void mistakes(void **state)
{
	static const char *const bad[] = { "nonsense", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1", "::1@x", "",
		"127.0.0.1@53@53" };
	static const char *const good[] = { "127.0.0.1", "127.0.0.1:5353", "::1", "[::1]:5353", "::1@5353", "[::1]" };
	const struct dns_stub stub = { "a..b", "127.0.0.1", 53 };
	struct dns_conf conf = { .forward_count = 1 };
	const char *why = "";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		conf.forward = &bad[i];
		assert_null(dns_open(&a, &conf, &why));
		assert_true(slice_starts(slice_of(why), SLICE("resolver: no address: ")));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		conf.forward = &good[i];
		dns_begin_with(&conf);
		dns_close(dns);
	}
	conf = (struct dns_conf){ .stubs = &stub, .stub_count = 1 };
	assert_null(dns_open(&a, &conf, &why));
	assert_string_equal(why, "resolver: stub a..b: not a name");
	conf = (struct dns_conf){ .recurse = true, .trust_anchor_file = "/nonexistent/anchor" };
	assert_null(dns_open(&a, &conf, &why));
	assert_string_equal(why, "/nonexistent/anchor: No such file or directory");
	conf.trust_anchor_file = "/etc/passwd";
	assert_null(dns_open(&a, &conf, &why));
	arena_drop(&a);
}

/* ---- cost ---- */

static void cached_cost(void *arg)
{
	struct arena scratch = ARENA_INIT;
	struct dns_answer out;
	nanoseconds start = clock_precise();
	const int rounds = 20000;

	for (int i = 0; i < rounds; i++) {
		dns_ask(dns, &scratch, slice_of(arg), DNS_MX, &out, DEADLINE_NONE);
		assert_int_equal(out.status, DNS_FOUND);
		arena_drop(&scratch);
	}
	print_message("a cached question: %.2f us\n", (double)(clock_precise() - start) / rounds / 1000);
}

static void cost(void **state)
{
	struct fiber_job job = { 0 };

	dns_begin();
	ask("ok.test", DNS_MX);
	fiber_start(&job, "cost", cached_cost, (void *)"ok.test");
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
	dns_end();
}

static int begin(void **state)
{
	sign_zone();
	fake_dns_start(&server);
	loop_init();
	fiber_init(16, 64 * 1024);
	return 0;
}

static int end(void **state)
{
	fiber_drop();
	loop_drop();
	fake_dns_stop(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_type), T(no_is_an_answer), T(aliases), T(truncated_goes_over_tcp), T(octets_of_any_kind),
		T(failures_are_no_answers), T(deadlines_are_ours), T(late_answers_warm_the_cache), T(many_ask_the_same),
		T(cancelled_while_waiting), T(closed_while_waiting), T(dead_forwarder), T(stub_zone),
		T(forwarder_without_dnssec), T(bogus_is_trouble), T(signed_answers), T(no_network), T(neither_recursion_nor_forwarder),
		T(changed_while_waiting), T(mistakes), T(cost),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
