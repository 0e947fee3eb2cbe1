/* Listeners and accepting over loopback; the PROXY header, whole and cut at every byte. */
#include "turns.h"

#include "run/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* ---- PROXY ---- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_BLOCK "\300\0\2\1\12\0\0\5\200\0\0\31"	/* 192.0.2.1:32768 to 10.0.0.5:25 */
#define V6_BLOCK "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1" "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\2" "\200\0\0\31"

static const struct proxy_case {
	struct slice input;
	enum proxy_result result;
	const char *client;	/* PROXY_OK: address, and port below */
	uint16_t port;
	size_t left;		/* bytes behind the header */
} proxy_cases[] = {
#define CASE(text, ...) { { text, sizeof(text) - 1 }, __VA_ARGS__ }
	/* version 1 */
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 32768 25\r\n", PROXY_OK, "192.0.2.1", 32768, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 32768 25\r\nEHLO a\r\n", PROXY_OK, "192.0.2.1", 32768, 8),
	CASE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", PROXY_OK, "255.255.255.255", 65535, 0),
	CASE("PROXY TCP6 2001:db8::1 2001:db8::2 0 25\r\n", PROXY_OK, "2001:db8::1", 0, 0),
	CASE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		PROXY_OK, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0),
	CASE("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n", PROXY_OK, "192.0.2.1", 1, 0),
	CASE("PROXY UNKNOWN\r\n", PROXY_LOCAL, NULL, 0, 0),
	CASE("PROXY UNKNOWN anything at all\r\nx", PROXY_LOCAL, NULL, 0, 1),
	CASE("PROXY UNKNOWNX\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY unknown\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("proxy TCP4 192.0.2.1 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY  TCP4 192.0.2.1 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4  192.0.2.1 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1  25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 25 \r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 25\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 25\r\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 01 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 65536 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 -1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 99999999\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.01 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.256 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 2001:db8::2 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP6 192.0.2.1 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY UDP4 192.0.2.1 10.0.0.5 1 25\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY \r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY TCP4\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("PROXY\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("EHLO a.example\r\n", PROXY_BAD, NULL, 0, 0),
	CASE("\r\n", PROXY_MORE, NULL, 0, 0),
	CASE("\n", PROXY_BAD, NULL, 0, 0),
	CASE("", PROXY_MORE, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 25\r", PROXY_MORE, NULL, 0, 0),
	CASE("PROXY TCP4 192.0.2.1 10.0.0.5 1 25\rx", PROXY_BAD, NULL, 0, 0),
	/* version 2 */
	CASE(SIGNATURE "\x21\x11\0\14" V4_BLOCK, PROXY_OK, "192.0.2.1", 32768, 0),
	CASE(SIGNATURE "\x21\x11\0\14" V4_BLOCK "EHLO", PROXY_OK, "192.0.2.1", 32768, 4),
	CASE(SIGNATURE "\x21\x11\0\22" V4_BLOCK "\4\0\3abcEHLO", PROXY_OK, "192.0.2.1", 32768, 4),
	CASE(SIGNATURE "\x21\x21\0\44" V6_BLOCK, PROXY_OK, "2001:db8::1", 32768, 0),
	CASE(SIGNATURE "\x20\0\0\0", PROXY_LOCAL, NULL, 0, 0),
	CASE(SIGNATURE "\x20\x11\0\14" V4_BLOCK "x", PROXY_LOCAL, NULL, 0, 1),
	CASE(SIGNATURE "\x20\xff\0\3abc", PROXY_LOCAL, NULL, 0, 0),
	CASE(SIGNATURE "\x21\0\0\0", PROXY_LOCAL, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x31\0\3abc", PROXY_LOCAL, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x11\0\13" V4_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x21\0\43" V6_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x12\0\14" V4_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x22\0\44" V6_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x41\0\0", PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x22\x11\0\14" V4_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x11\x11\0\14" V4_BLOCK, PROXY_BAD, NULL, 0, 0),
	CASE(SIGNATURE "\x21\x11\2\11", PROXY_BAD, NULL, 0, 0),	/* 521 bytes to come: more than 536 in all */
	CASE(SIGNATURE "\x21\x11\2\10", PROXY_MORE, NULL, 0, 0),
	CASE("\r\n\r\n\0\r\nQUIX\n", PROXY_BAD, NULL, 0, 0),
#undef CASE
};

static enum proxy_result parse(struct slice input, size_t *used, struct ip *client, uint16_t *port)
{
	char *exact = malloc(input.n ? input.n : 1);	/* so that a sanitizer sees a byte too many */
	enum proxy_result result;

	if (input.n)
		memcpy(exact, input.p, input.n);
	result = proxy_parse(slice_make(exact, input.n), used, client, port);
	free(exact);
	return result;
}

static void test_proxy_table(void **state)
{
	for (size_t i = 0; i < sizeof(proxy_cases) / sizeof(proxy_cases[0]); i++) {
		const struct proxy_case *c = &proxy_cases[i];
		struct ip client;
		uint16_t port = 4711;
		size_t used = 4711;
		enum proxy_result result;
		char text[IP_TEXT];

		memset(&client, 0x5a, sizeof(client));
		result = parse(c->input, &used, &client, &port);
		if (result != c->result)
			fail_msg("case %zu: %d instead of %d", i, result, c->result);
		if (result == PROXY_OK || result == PROXY_LOCAL)
			assert_int_equal(used, c->input.n - c->left);
		else
			assert_int_equal(used, 4711);
		if (result == PROXY_OK) {
			assert_string_equal(ip_text(&client, text), c->client);
			assert_int_equal(port, c->port);
		} else {
			assert_int_equal(port, 4711);		/* untouched */
			assert_int_equal(client.bytes[0], 0x5a);
		}
	}
}

/* A good header, cut anywhere, is incomplete and never bad. */
static void test_proxy_cut_at_every_byte(void **state)
{
	for (size_t i = 0; i < sizeof(proxy_cases) / sizeof(proxy_cases[0]); i++) {
		const struct proxy_case *c = &proxy_cases[i];

		if (c->result != PROXY_OK && c->result != PROXY_LOCAL)
			continue;
		for (size_t n = 0; n < c->input.n - c->left; n++) {
			struct ip client;
			uint16_t port;
			size_t used;

			if (parse(slice_head(c->input, n), &used, &client, &port) != PROXY_MORE)
				fail_msg("case %zu cut at %zu", i, n);
		}
	}
}

static void test_proxy_v1_without_end(void **state)
{
	char text[200] = "PROXY UNKNOWN ";
	struct ip client;
	uint16_t port;
	size_t used;

	memset(text + 14, 'x', sizeof(text) - 14);
	assert_int_equal(parse(slice_make(text, 106), &used, &client, &port), PROXY_MORE);
	assert_int_equal(parse(slice_make(text, 107), &used, &client, &port), PROXY_BAD);
	assert_int_equal(parse(slice_make(text, 200), &used, &client, &port), PROXY_BAD);
	memcpy(text + 105, "\r\n", 2);
	assert_int_equal(parse(slice_make(text, 200), &used, &client, &port), PROXY_LOCAL);
	assert_int_equal(used, 107);
	memcpy(text + 105, "x\r\n", 3);
	assert_int_equal(parse(slice_make(text, 200), &used, &client, &port), PROXY_BAD);
}

/* ---- accepting ---- */

static struct acceptor acceptor;
static struct sockaddr_storage address;
static socklen_t address_length;
static int accepted[100], accepted_count, listener;
static struct ip last_peer;
static uint16_t last_port;

static void takes(struct acceptor *a, int fd, const struct ip *peer, uint16_t port)
{
	assert_ptr_equal(a->owner, &address);
	assert_true(accepted_count < 100);
	accepted[accepted_count++] = fd;
	last_peer = *peer;
	last_port = port;
}

static void listen_on(struct sockaddr *sa, socklen_t length)
{
	const char *why = NULL;

	listener = listen_open(sa, length, false, &why);
	if (listener < 0)
		fail_msg("%s", why);
	address_length = sizeof(address);
	getsockname(listener, (struct sockaddr *)&address, &address_length);
	memset(&acceptor, 0, sizeof(acceptor));
	acceptor.on_accept = takes;
	acceptor.owner = &address;
	assert_true(acceptor_start(&acceptor, listener));
}

static int listen_setup(void **state)
{
	turns_setup(state);
	accepted_count = 0;
	loop_patience(20);
	return 0;
}

static int listen_teardown(void **state)
{
	acceptor_stop(&acceptor);
	acceptor_stop(&acceptor);
	while (accepted_count > 0)
		close(accepted[--accepted_count]);
	close(listener);
	return turns_teardown(state);
}

#define listen_test(f) cmocka_unit_test_setup_teardown(f, listen_setup, listen_teardown)

static int dial(void)
{
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_length), 0);
	return fd;
}

static void listen_on_loopback(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	listen_on((struct sockaddr *)&in, sizeof(in));
}

static void test_accepts_with_address_and_port(void **state)
{
	struct sockaddr_in own;
	socklen_t length = sizeof(own);
	char text[IP_TEXT];
	int fd, on = 0;

	listen_on_loopback();
	fd = dial();
	getsockname(fd, (struct sockaddr *)&own, &length);
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 1);
	assert_string_equal(ip_text(&last_peer, text), "127.0.0.1");
	assert_int_equal(last_port, ntohs(own.sin_port));
	length = sizeof(on);
	getsockopt(accepted[0], IPPROTO_TCP, TCP_NODELAY, &on, &length);
	assert_true(on);
	assert_int_equal(acceptor.accepted, 1);
	close(fd);
}

static void test_accepts_ipv6(void **state)
{
	struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	char text[IP_TEXT];
	const char *why;
	int probe = listen_open((struct sockaddr *)&in, sizeof(in), false, &why);

	if (probe < 0) {	/* a machine without IPv6 */
		listen_on_loopback();
		return;
	}
	close(probe);
	listen_on((struct sockaddr *)&in, sizeof(in));
	close(dial());
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 1);
	assert_string_equal(ip_text(&last_peer, text), "::1");
}

/* 1, 2, 4, ... a turn, until the crowd is in. */
static void test_bursts_grow(void **state)
{
	int fd[20], turns_needed = 0;

	listen_on_loopback();
	for (int i = 0; i < 20; i++)
		fd[i] = dial();
	while (accepted_count < 20 && turns_needed < 20) {
		loop_turn(clock_now());
		turns_needed++;
	}
	assert_int_equal(accepted_count, 20);
	assert_in_range(turns_needed, 5, 7);
	loop_turn(clock_now());
	assert_int_equal(acceptor.failed, 0);
	for (int i = 0; i < 20; i++)
		close(fd[i]);
}

static void test_stopped_while_accepting(void **state)
{
	int fd[2];

	listen_on_loopback();
	fd[0] = dial();
	loop_turn(clock_now());
	acceptor_stop(&acceptor);
	fd[1] = dial();		/* the backlog holds it: the descriptor is still open */
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 1);
	assert_true(acceptor_start(&acceptor, listener));
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 2);
	close(fd[0]);
	close(fd[1]);
}

static void test_pauses_when_out_of_descriptors(void **state)
{
	struct rlimit before, now;
	int fd[2], highest;

	listen_on_loopback();
	if (RUNNING_ON_VALGRIND)	/* it keeps the limit itself: accepts, and then closes */
		return;
	fd[0] = dial();
	fd[1] = dial();
	highest = dup(0);
	close(highest);
	getrlimit(RLIMIT_NOFILE, &before);
	now = before;
	now.rlim_cur = (rlim_t)highest;
	setrlimit(RLIMIT_NOFILE, &now);
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 0);
	assert_int_equal(acceptor.failed, 1);
	loop_turn(clock_now());
	assert_int_equal(acceptor.failed, 1);	/* it is not asked again and again */
	setrlimit(RLIMIT_NOFILE, &before);
	turns();
	assert_int_equal(accepted_count, 2);
	assert_true(clock_now() >= EPOCH + 100 * NS_PER_MS);
	close(fd[0]);
	close(fd[1]);
}

static void test_unix_listener_replaces_a_dead_one(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	static const struct ip zero;
	const char *why = NULL;
	struct stat st;

	snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/spurn-test-listen-%d", (int)getpid());
	close(listen_open((struct sockaddr *)&un, sizeof(un), false, &why));
	assert_int_equal(lstat(un.sun_path, &st), 0);
	listen_on((struct sockaddr *)&un, sizeof(un));		/* the dead one is in the way no more */
	assert_int_equal(listen_open((struct sockaddr *)&un, sizeof(un), false, &why), -1);
	assert_string_equal(why, "Address already in use");	/* but a living one stays */
	close(dial());
	loop_turn(clock_now());
	assert_int_equal(accepted_count, 1);
	assert_true(ip_eq(&last_peer, &zero));
	unlink(un.sun_path);
}

static void test_reuse_port(void **state)
{
	const char *why = NULL;
	int first, second, third;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);

	first = listen_open((struct sockaddr *)&in, sizeof(in), true, &why);
	getsockname(first, (struct sockaddr *)&in, &length);
	second = listen_open((struct sockaddr *)&in, sizeof(in), true, &why);
	assert_true(first >= 0 && second >= 0);
	third = listen_open((struct sockaddr *)&in, sizeof(in), false, &why);
	assert_int_equal(third, -1);
	assert_string_equal(why, "Address already in use");
	close(first);
	close(second);
	listen_on_loopback();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxy_table),
		cmocka_unit_test(test_proxy_cut_at_every_byte),
		cmocka_unit_test(test_proxy_v1_without_end),
		listen_test(test_accepts_with_address_and_port),
		listen_test(test_accepts_ipv6),
		listen_test(test_bursts_grow),
		listen_test(test_stopped_while_accepting),
		listen_test(test_pauses_when_out_of_descriptors),
		listen_test(test_unix_listener_replaces_a_dead_one),
		listen_test(test_reuse_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
