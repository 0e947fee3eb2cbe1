/* Streams over pairs of sockets: lines, partial reads and writes, ends, closing, dialling. */
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/un.h>

static struct stream s;
static int peer;		/* the other end, bare */
static int ready_calls;

static void counts_ready(struct stream *stream) { ready_calls++; }

static int stream_setup(void **state)
{
	int fd[2];

	turns_setup(state);
	socket_pair(fd);
	peer = fd[1];
	ready_calls = 0;
	assert_true(stream_open(&s, fd[0], counts_ready, NULL));
	turns_now();
	return 0;
}

static int stream_teardown(void **state)
{
	stream_limit_io(0);
	stream_abort(&s);
	if (peer >= 0)
		close(peer);
	return turns_teardown(state);
}

#define stream_test(f) cmocka_unit_test_setup_teardown(f, stream_setup, stream_teardown)

static void peer_says(const char *text)
{
	assert_int_equal(write(peer, text, strlen(text)), (ssize_t)strlen(text));
	loop_turn(clock_now());
}

static void peer_closes(void)
{
	close(peer);
	peer = -1;
	loop_turn(clock_now());
}

/* What the peer has got by now. */
static struct slice peer_hears(void)
{
	static char buffer[65536];
	ssize_t n = read(peer, buffer, sizeof(buffer));

	return slice_make(buffer, n > 0 ? (size_t)n : 0);
}

/* ---- reading ---- */

static void test_idle_stream_is_small_and_owns_nothing(void **state)
{
	struct slice line;

	assert_true(sizeof(struct stream) <= 104);
	assert_null(s.in);
	peer_says("NOOP\r\n");
	assert_int_equal(ready_calls, 1);
	assert_int_equal(stream_fill(&s), 6);
	assert_true(stream_line(&s, &line));
	assert_slice(line, "NOOP");
	stream_write(&s, SLICE("250 OK\r\n"));
	assert_true(stream_flush(&s));
	assert_slice(peer_hears(), "250 OK\r\n");
	assert_true(stream_park(&s));
	assert_null(s.in);
	assert_null(s.out);
}

static void test_short_read_means_drained(void **state)
{
	peer_says("x");
	assert_true(s.watch.ready & WATCH_READ);
	assert_false(stream_park(&s));
	assert_int_equal(stream_fill(&s), 1);
	assert_false(s.watch.ready & WATCH_READ);
	assert_int_equal(stream_fill(&s), 0);
	assert_true(stream_park(&s));
	peer_says("y");
	assert_int_equal(stream_fill(&s), 1);
	assert_slice(stream_input(&s), "xy");
	stream_consume(&s, 1);
	assert_slice(stream_input(&s), "y");
	stream_consume(&s, 1);
	assert_null(s.in);
}

/* Data and hang-up come in one event: both are seen. */
static void test_last_words_and_end_in_one_event(void **state)
{
	assert_int_equal(write(peer, "QUIT\r\n", 6), 6);
	peer_closes();
	assert_int_equal(ready_calls, 1);
	assert_int_equal(stream_fill(&s), 6);
	assert_int_equal(s.state, STREAM_OPEN);
	assert_false(stream_park(&s));
	assert_int_equal(stream_fill(&s), -1);
	assert_int_equal(s.state, STREAM_EOF);
	assert_int_equal(stream_fill(&s), -1);
	assert_slice(stream_input(&s), "QUIT\r\n");
	assert_true(stream_park(&s));
}

/* A Unix socket closed with unread bytes resets its peer. */
static void test_reset(void **state)
{
	stream_write(&s, SLICE("220 hello\r\n"));
	stream_flush(&s);
	peer_closes();
	assert_int_equal(stream_fill(&s), -1);
	assert_int_equal(s.state, STREAM_FAILED);
	assert_int_equal(s.error, ECONNRESET);
	stream_write(&s, SLICE("dropped"));
	assert_int_equal(stream_unsent(&s), 0);
	assert_false(stream_flush(&s));
}

static void test_half_closed_peer_still_hears(void **state)
{
	shutdown(peer, SHUT_WR);
	loop_turn(clock_now());
	assert_int_equal(stream_fill(&s), -1);
	assert_int_equal(s.state, STREAM_EOF);
	stream_write(&s, SLICE("221 bye\r\n"));
	assert_true(stream_flush(&s));
	assert_slice(peer_hears(), "221 bye\r\n");
}

static void test_only_crlf_ends_a_line(void **state)
{
	struct slice line;

	peer_says("a\nb\rc\r\r\n\r\n\nx\r\ny\r");
	stream_fill(&s);
	assert_true(stream_line(&s, &line));
	assert_slice(line, "a\nb\rc\r");
	assert_true(stream_line(&s, &line));
	assert_slice(line, "");
	assert_true(stream_line(&s, &line));
	assert_slice(line, "\nx");
	assert_false(stream_line(&s, &line));
	assert_slice(stream_input(&s), "y\r");
	peer_says("\n");
	stream_fill(&s);
	assert_true(stream_line(&s, &line));
	assert_slice(line, "y");
}

static void test_lines_byte_by_byte(void **state)
{
	struct slice line;
	int lines = 0;

	stream_limit_io(1);
	peer_says("EHLO a.example\r\nMAIL FROM:<>\r\n");
	for (int i = 0; i < 100; i++) {
		if (stream_line(&s, &line)) {
			assert_slice(line, lines++ ? "MAIL FROM:<>" : "EHLO a.example");
			continue;
		}
		if (stream_fill(&s) != 1)
			break;
		assert_true(s.in_seen < s.in_end - s.in_start);
	}
	assert_int_equal(lines, 2);
	assert_false(s.watch.ready & WATCH_READ);
}

/* What has been searched is not searched again, also across parking. */
static void test_long_line_is_searched_once(void **state)
{
	struct slice line;
	char chunk[1001];

	memset(chunk, 'x', 1000);
	chunk[1000] = '\0';
	for (size_t i = 1; i <= 60; i++) {
		peer_says(chunk);
		assert_int_equal(stream_fill(&s), 1000);
		assert_false(stream_line(&s, &line));
		assert_int_equal(s.in_seen, i * 1000);
		if (i % 7 == 0) {
			assert_true(stream_park(&s));
			assert_int_equal(s.in_cap, i * 1000);
		}
	}
	peer_says("\r\n");
	stream_fill(&s);
	assert_true(stream_line(&s, &line));
	assert_int_equal(line.n, 60000);
	assert_int_equal(s.in_seen, 0);
}

static void test_parked_remainder_is_kept_in_its_size(void **state)
{
	struct slice line;

	peer_says("RSET\r\nMAI");
	stream_fill(&s);
	assert_true(stream_line(&s, &line));
	assert_true(stream_park(&s));
	assert_int_equal(s.in_cap, 3);
	assert_slice(stream_input(&s), "MAI");
	assert_true(stream_park(&s));
	peer_says("L\r\n");
	assert_int_equal(stream_fill(&s), 3);
	assert_true(stream_line(&s, &line));
	assert_slice(line, "MAIL");
}

static void test_buffer_is_compacted_when_its_end_is_reached(void **state)
{
	char *chunk = malloc(STREAM_BUFFER);
	size_t got = 0;

	memset(chunk, 'x', STREAM_BUFFER);
	assert_int_equal(write(peer, chunk, STREAM_BUFFER), STREAM_BUFFER);
	loop_turn(clock_now());
	while (got < STREAM_BUFFER)
		got += (size_t)stream_fill(&s);
	assert_int_equal(stream_fill(&s), 0);	/* full */
	stream_consume(&s, STREAM_BUFFER - 5);
	peer_says("abc");
	assert_int_equal(stream_fill(&s), 3);
	assert_slice(stream_input(&s), "xxxxxabc");
	free(chunk);
}

static char order[4096];

static void note(const char *text) { strcat(order, text); }

static void reads_lines(void *arg)
{
	struct slice line;

	order[0] = '\0';
	for (;;) {
		enum wait_result r = stream_read_line(&s, &line, 20, "command", deadline_in(5 * NS_PER_SECOND));

		if (r != WAIT_READY) {
			note(r == WAIT_TIMEOUT ? "timeout" : "cancelled");
			break;
		}
		if (!line.p) {
			note(s.state == STREAM_OPEN ? "long" : s.state == STREAM_EOF ? "eof" : "failed");
			break;
		}
		strncat(order, line.p, line.n);
		note(";");
	}
}

static void test_fiber_reads_lines(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "reader", reads_lines, NULL);
	peer_says("on");
	peer_says("e\r");
	turns_now();
	assert_string_equal(order, "");
	assert_int_equal(s.in_cap, 4);		/* no buffer while it waits */
	peer_says("\ntwo\r\nthree\r\n12345678901234567890\r\n");
	turns_now();
	assert_string_equal(order, "one;two;three;12345678901234567890;");
	assert_null(s.in);
	assert_int_equal(ready_calls, 0);	/* the fiber was there, the owner was not parked */
	peer_closes();
	turns_now();
	assert_true(strstr(order, ";eof") != NULL);
}

static void test_fiber_meets_a_long_line(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "reader", reads_lines, NULL);
	peer_says("123456789012345678901\r\nnext\r\n");
	turns_now();
	assert_string_equal(order, "long");
	fiber_start(&job, "reader", reads_lines, NULL);	/* and again: it is still there */
	assert_string_equal(order, "long");
	stream_consume(&s, stream_input(&s).n);
	fiber_start(&job, "reader", reads_lines, NULL);
	peer_says("1234567890123456789012");		/* no end, but too long already */
	turns_now();
	assert_string_equal(order, "long");
}

static void test_fiber_reads_until_deadline_or_cancelled(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "reader", reads_lines, NULL);
	turns();
	assert_string_equal(order, "timeout");
	fiber_start(&job, "reader", reads_lines, NULL);
	fiber_job_cancel(&job);
	turns_now();
	assert_string_equal(order, "cancelled");
}

static void test_closed_under_a_reader(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "reader", reads_lines, NULL);
	stream_close(&s);
	stream_close(&s);
	assert_false(stream_is_open(&s));
	turns_now();
	assert_string_equal(order, "failed");
}

static void collects_too_much(void *arg)
{
	while (s.state == STREAM_OPEN)
		if (stream_read(&s, "all", DEADLINE_NONE) != WAIT_READY)
			break;
	note("done");
}

static void test_full_buffer_fails_instead_of_turning_for_ever(void **state)
{
	struct fiber_job job = { 0 };
	char *chunk = malloc(STREAM_BUFFER);

	order[0] = '\0';
	memset(chunk, 'x', STREAM_BUFFER);
	assert_int_equal(write(peer, chunk, STREAM_BUFFER), STREAM_BUFFER);
	fiber_start(&job, "collects", collects_too_much, NULL);
	turns_now();
	assert_string_equal(order, "done");
	assert_int_equal(s.error, ENOBUFS);
	free(chunk);
}

static void swallows(void *arg)
{
	size_t *sum = arg;

	while (stream_read(&s, "all", DEADLINE_NONE) == WAIT_READY && s.state == STREAM_OPEN) {
		*sum += stream_input(&s).n;
		stream_consume(&s, stream_input(&s).n);
	}
}

/* A peer that always has more does not keep the others from running. */
static void test_fast_peer_does_not_own_the_turn(void **state)
{
	struct fiber_job job = { 0 };
	char chunk[1000];
	size_t sum = 0;

	memset(chunk, 'x', sizeof(chunk));
	assert_int_equal(write(peer, chunk, sizeof(chunk)), sizeof(chunk));
	stream_limit_io(1);
	loop_turn(clock_now());
	fiber_start(&job, "swallows", swallows, &sum);
	assert_in_range(sum, 1, 32);
	turns_now();
	assert_int_equal(sum, 1000);
	fiber_job_cancel(&job);
	turns_now();
}

/* ---- writing ---- */

static char *large;
static size_t heard;

/* Reads what has come, compares it with `large`. */
static void peer_compares(size_t most)
{
	char buffer[3000];
	ssize_t n;

	while (most > 0 && (n = read(peer, buffer, most < sizeof(buffer) ? most : sizeof(buffer))) > 0) {
		assert_memory_equal(buffer, large + heard, (size_t)n);
		heard += (size_t)n;
		most -= (size_t)n;
	}
}

static void large_make(size_t n)
{
	large = malloc(n);
	heard = 0;
	for (size_t i = 0; i < n; i++)
		large[i] = (char)(i * 7 + i / 251);
}

static void tiny_buffers(void)
{
	int size = 1;

	setsockopt(s.watch.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void test_printf(void **state)
{
	char text[1000];

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	stream_printf(&s, "%d-%s\r\n", 250, "mx.example.org");
	stream_printf(&s, "%s", text);
	stream_write(&s, SLICE(""));
	assert_int_equal(stream_unsent(&s), 20 + 999);
	assert_true(stream_flush(&s));
	assert_int_equal(peer_hears().n, 20 + 999);
	assert_null(s.out);
}

/* Nobody waits; the loop sends the rest as the peer reads. */
static void test_loop_sends_the_rest(void **state)
{
	enum { SIZE = 300000 };

	tiny_buffers();
	large_make(SIZE);
	stream_write(&s, slice_make(large, SIZE));
	assert_true(stream_flush(&s));
	assert_true(stream_unsent(&s) > 0);
	for (int i = 0; i < 100000 && heard < SIZE; i++) {
		peer_compares(700);
		loop_turn(clock_now());
	}
	assert_int_equal(heard, SIZE);
	assert_int_equal(stream_unsent(&s), 0);
	assert_null(s.out);
	free(large);
}

static void peer_reads_on(struct timer *t)
{
	peer_compares(997);
	timer_set(t, clock_now() + NS_PER_MS);
}

static struct timer reader_timer = { .fn = peer_reads_on };

static void drains(void *arg)
{
	stream_write(&s, slice_make(large, 100000));
	note(stream_drain(&s, "drain", *(deadline *)arg) == WAIT_READY ? "ready" : "timeout");
}

static void test_drain_waits_for_a_slow_reader(void **state)
{
	struct fiber_job job = { 0 };
	deadline d = DEADLINE_NONE;

	order[0] = '\0';
	tiny_buffers();
	large_make(100000);
	fiber_start(&job, "drains", drains, &d);
	assert_string_equal(order, "");
	timer_set(&reader_timer, clock_now());
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
	assert_string_equal(order, "ready");
	peer_compares(100000);
	assert_int_equal(heard, 100000);
	timer_clear(&reader_timer);
	free(large);
}

static void test_drain_ends_at_its_deadline(void **state)
{
	struct fiber_job job = { 0 };
	deadline d = EPOCH + NS_PER_SECOND;

	order[0] = '\0';
	tiny_buffers();
	large_make(100000);
	fiber_start(&job, "drains", drains, &d);
	turns();
	assert_string_equal(order, "timeout");
	free(large);
}

static void sends_parts(void *arg)
{
	struct iovec iov[50];
	size_t at = 100;

	stream_write(&s, slice_make(large, 100));
	for (size_t i = 0; i < 50; i++) {
		size_t n = i == 49 ? 100000 - at : i % 5 == 0 ? 0 : i * 61;

		iov[i] = (struct iovec){ large + at, n };
		at += n;
	}
	assert_int_equal(stream_send(&s, iov, 50, "send", DEADLINE_NONE), WAIT_READY);
	assert_int_equal(s.state, STREAM_OPEN);
	note("sent");
}

static void send_with_limit(size_t limit, bool tiny)
{
	struct fiber_job job = { 0 };

	order[0] = '\0';
	if (tiny)
		tiny_buffers();
	large_make(100000);
	stream_limit_io(limit);
	timer_set(&reader_timer, clock_now());
	fiber_start(&job, "sends", sends_parts, NULL);
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
	assert_string_equal(order, "sent");
	assert_null(s.out);
	peer_compares(100000);
	assert_int_equal(heard, 100000);
	timer_clear(&reader_timer);
	free(large);
}

static void test_send_of_many_parts(void **state) { send_with_limit(0, false); }
static void test_send_against_backpressure(void **state) { send_with_limit(0, true); }
static void test_send_seven_bytes_at_a_time(void **state) { send_with_limit(7, false); }

static void sends_to_nobody(void *arg)
{
	struct iovec iov = { large, 100000 };

	assert_int_equal(stream_send(&s, &iov, 1, "send", DEADLINE_NONE), WAIT_READY);
	note(s.state == STREAM_FAILED ? "failed" : "?");
}

static void test_send_to_a_peer_that_goes(void **state)
{
	struct fiber_job job = { 0 };

	order[0] = '\0';
	tiny_buffers();
	large_make(100000);
	fiber_start(&job, "sends", sends_to_nobody, NULL);
	assert_string_equal(order, "");
	peer_closes();
	turns_now();
	assert_string_equal(order, "failed");
	free(large);
}

static int large_file(void)
{
	int fd = memfd_create("large", MFD_CLOEXEC);

	assert_int_equal(write(fd, large, 100000), 100000);
	return fd;
}

static void sends_file(void *arg)
{
	stream_write(&s, slice_make(large, 500));
	stream_send_file(&s, *(int *)arg, 500, 99500, "file", DEADLINE_NONE);
	note(s.state == STREAM_OPEN ? "sent" : "failed");
}

static void file_with_limit(size_t limit)
{
	struct fiber_job job = { 0 };
	int fd;

	order[0] = '\0';
	tiny_buffers();
	large_make(100000);
	fd = large_file();
	stream_limit_io(limit);
	timer_set(&reader_timer, clock_now());
	fiber_start(&job, "sends", sends_file, &fd);
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
	assert_string_equal(order, "sent");
	peer_compares(100000);
	assert_int_equal(heard, 100000);
	timer_clear(&reader_timer);
	free(large);
	close(fd);
}

static void test_send_file(void **state) { file_with_limit(0); }
static void test_send_file_in_small_pieces(void **state) { file_with_limit(13); }

static void test_send_file_that_is_too_short(void **state)
{
	struct fiber_job job = { 0 };
	int fd;

	order[0] = '\0';
	large_make(100000);
	fd = large_file();
	assert_int_equal(ftruncate(fd, 50000), 0);
	timer_set(&reader_timer, clock_now());
	fiber_start(&job, "sends", sends_file, &fd);
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
	assert_string_equal(order, "failed");
	assert_int_equal(s.error, EIO);
	timer_clear(&reader_timer);
	free(large);
	close(fd);
}

/* ---- closing and dialling, over loopback ---- */

static int listener;
static struct endpoint listening;

static int tcp_setup(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	turns_setup(state);
	loop_patience(50);
	peer = -1;
	s.watch.fd = -1;
	order[0] = '\0';
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(listener, 5), 0);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	listening.length = sizeof(listening.address);
	getsockname(listener, (struct sockaddr *)&listening.address, &listening.length);
	return 0;
}

static int tcp_teardown(void **state)
{
	close(listener);
	return stream_teardown(state);
}

#define tcp_test(f) cmocka_unit_test_setup_teardown(f, tcp_setup, tcp_teardown)

static void dials(void *arg)
{
	const char *why = NULL;

	if (stream_connect(&s, &listening, &why, "dial", deadline_in(NS_PER_SECOND)))
		note("connected");
	else
		note(why);
}

static void dial(void)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "dials", dials, NULL);
	while (fiber_job_active(&job))
		loop_turn(DEADLINE_NONE);
}

static void test_connect(void **state)
{
	int on = 0;
	socklen_t length = sizeof(on);

	dial();
	assert_string_equal(order, "connected");
	peer = accept(listener, NULL, NULL);
	stream_write(&s, SLICE("EHLO\r\n"));
	assert_true(stream_flush(&s));
	assert_slice(peer_hears(), "EHLO\r\n");
	getsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, &length);
	assert_true(on);		/* inherited from the listener */
	assert_int_equal(stream_unacknowledged(&s), 0);
}

static void test_connect_refused(void **state)
{
	close(listener);
	dial();
	assert_string_equal(order, "Connection refused");
	assert_false(stream_is_open(&s));
	assert_int_equal(s.error, ECONNREFUSED);
	stream_close(&s);
}

static struct fiber_job dial_job;

static void test_connect_to_a_full_unix_listener(void **state)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&listening.address;
	int fd[8], n = 0;

	close(listener);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "spurn-test-%d", (int)getpid());
	listening.length = sizeof(*un);
	assert_int_equal(bind(listener, (struct sockaddr *)un, sizeof(*un)), 0);
	assert_int_equal(listen(listener, 1), 0);
	do {
		fd[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	} while (connect(fd[n++], (struct sockaddr *)un, sizeof(*un)) == 0 && n < 8);
	loop_patience(0);
	dial();
	assert_string_equal(order, "Connection timed out");
	order[0] = '\0';
	fiber_start(&dial_job, "dials", dials, NULL);
	peer = accept(listener, NULL, NULL);
	turns();
	assert_string_equal(order, "connected");
	while (n > 0)
		close(fd[--n]);
}

static void test_connect_cancelled(void **state)
{
	fiber_start(&dial_job, "dials", dials, NULL);
	fiber_job_cancel(&dial_job);
	turns();
	assert_string_equal(order, "cancelled");
	assert_false(stream_is_open(&s));
}

/* The peer has sent what we never read; our last words arrive all the same, and no reset. */
static void linger_with(void (*close_it)(struct stream *), size_t unread)
{
	char *chunk = calloc(1, unread + 1), buffer[100];
	ssize_t n;

	dial();
	peer = accept(listener, NULL, NULL);
	assert_int_equal(send(peer, chunk, unread, MSG_DONTWAIT), (ssize_t)unread);
	loop_turn(clock_now());
	stream_write(&s, SLICE("421 too many\r\n"));
	close_it(&s);
	assert_false(stream_is_open(&s));
	assert_null(s.out);
	assert_null(s.in);
	loop_turn(clock_now());
	assert_int_equal(send(peer, "more", 4, MSG_DONTWAIT), 4);
	loop_turn(clock_now());
	n = recv(peer, buffer, sizeof(buffer), MSG_DONTWAIT);
	assert_slice(slice_make(buffer, n > 0 ? (size_t)n : 0), "421 too many\r\n");
	assert_int_equal(recv(peer, buffer, sizeof(buffer), MSG_DONTWAIT), 0);
	free(chunk);
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_close_with_unread_input_lingers(void **state)
{
	int before = open_descriptors();

	linger_with(stream_close, 5000);
	assert_int_equal(open_descriptors(), before + 2);
	assert_false(loop_turn(EPOCH + NS_PER_SECOND));
	assert_int_equal(open_descriptors(), before + 2);
	turns();		/* 2 s later at most */
	assert_int_equal(open_descriptors(), before + 1);
}

static void test_linger_ends_with_the_peer(void **state)
{
	int before = open_descriptors();

	linger_with(stream_linger, 0);
	assert_int_equal(open_descriptors(), before + 2);
	close(peer);
	peer = -1;
	turns_now();
	assert_int_equal(open_descriptors(), before);
	assert_in_range(clock_now(), EPOCH, EPOCH);
}

static void test_linger_reads_no_more_than_64_KiB(void **state)
{
	int before = open_descriptors();
	char *chunk = calloc(1, 70000);
	ssize_t n = 1;

	linger_with(stream_linger, 0);
	for (int i = 0; i < 50 && n > 0 && open_descriptors() == before + 2; i++) {
		n = send(peer, chunk, 70000, MSG_DONTWAIT | MSG_NOSIGNAL);
		loop_turn(clock_now());
	}
	assert_int_equal(open_descriptors(), before + 1);
	free(chunk);
}

/* Output that the socket has not taken yet outlives the stream. */
static void test_close_delivers_unsent_output(void **state)
{
	enum { SIZE = 8000000 };

	loop_patience(0);
	dial();
	peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	large_make(SIZE);
	stream_write(&s, slice_make(large, SIZE));
	stream_close(&s);
	assert_false(stream_is_open(&s));
	for (int i = 0; i < 1000000 && heard < SIZE; i++) {
		peer_compares(SIZE);
		loop_turn(clock_now());
	}
	assert_int_equal(heard, SIZE);
	free(large);
	close(peer);
	peer = -1;
	turns_now();
}

static void test_flood_of_lingering_closes_is_bounded(void **state)
{
	enum { COUNT = 300 };
	static int peers[COUNT];
	int before = open_descriptors();

	for (int i = 0; i < COUNT; i++) {
		int fd[2];

		socket_pair(fd);
		peers[i] = fd[1];
		assert_true(stream_open(&s, fd[0], NULL, NULL));
		stream_linger(&s);
		if (i >= 120)		/* not to run out of descriptors: these do not count */
			close(fd[1]);
	}
	for (int i = 0; i < 120; i++)
		close(peers[i]);
	turns();
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		stream_test(test_idle_stream_is_small_and_owns_nothing),
		stream_test(test_short_read_means_drained),
		stream_test(test_last_words_and_end_in_one_event),
		stream_test(test_reset),
		stream_test(test_half_closed_peer_still_hears),
		stream_test(test_only_crlf_ends_a_line),
		stream_test(test_lines_byte_by_byte),
		stream_test(test_long_line_is_searched_once),
		stream_test(test_parked_remainder_is_kept_in_its_size),
		stream_test(test_buffer_is_compacted_when_its_end_is_reached),
		stream_test(test_fiber_reads_lines),
		stream_test(test_fiber_meets_a_long_line),
		stream_test(test_fiber_reads_until_deadline_or_cancelled),
		stream_test(test_closed_under_a_reader),
		stream_test(test_full_buffer_fails_instead_of_turning_for_ever),
		stream_test(test_fast_peer_does_not_own_the_turn),
		stream_test(test_printf),
		stream_test(test_loop_sends_the_rest),
		stream_test(test_drain_waits_for_a_slow_reader),
		stream_test(test_drain_ends_at_its_deadline),
		stream_test(test_send_of_many_parts),
		stream_test(test_send_against_backpressure),
		stream_test(test_send_seven_bytes_at_a_time),
		stream_test(test_send_to_a_peer_that_goes),
		stream_test(test_send_file),
		stream_test(test_send_file_in_small_pieces),
		stream_test(test_send_file_that_is_too_short),
		tcp_test(test_connect),
		tcp_test(test_connect_refused),
		tcp_test(test_connect_to_a_full_unix_listener),
		tcp_test(test_connect_cancelled),
		tcp_test(test_close_with_unread_input_lingers),
		tcp_test(test_linger_ends_with_the_peer),
		tcp_test(test_linger_reads_no_more_than_64_KiB),
		tcp_test(test_close_delivers_unsent_output),
		tcp_test(test_flood_of_lingering_closes_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
