/*
 * What the floor run/ costs by itself: a switch, a hoist, a timer, a turn with one event, a
 * command over a socket pair, and the memory of an idle session, plain and TLS.
 *
 *   run_bench [CERTIFICATE KEY]      without them no TLS
 *
 * Each line: what, nanoseconds each (or KiB). The clock is the real one.
 */
#include "run/fiber.h"
#include "run/listen.h"
#include "run/loop.h"
#include "run/stream.h"
#include "run/tls.h"
#include "run/wait.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static nanoseconds began;
static size_t count;

static void begin(void) { began = clock_precise(); }

static void report(const char *what, size_t n)
{
	printf("%-44s %10.1f ns\n", what, (double)(clock_precise() - began) / (double)n);
}

static size_t resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- fibers and timers ---- */

static void nothing(void *arg) { count++; }

static void hoists(void *arg)
{
	enum { N = 5000000 };

	begin();
	for (int i = 0; i < N; i++)
		fiber_hoist(nothing, NULL);
	report("hoist (two switches)", N);
}

static struct event ping, pong;
enum { ROUNDS = 2000000 };

static void pinger(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		event_wake_one(&pong);
		wait_event(&ping, "ping", DEADLINE_NONE);
	}
}

static void ponger(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		wait_event(&pong, "pong", clock_now() + 300 * NS_PER_SECOND);
		event_wake_one(&ping);
	}
}

static void bench_fibers(void)
{
	struct fiber_job a = { .fn = NULL }, b = { .fn = NULL };

	fiber_start(&a, "hoists", hoists, NULL);
	event_init(&ping);
	event_init(&pong);
	fiber_start(&b, "pong", ponger, NULL);
	fiber_start(&a, "ping", pinger, NULL);
	begin();
	while (fiber_job_active(&a))
		loop_turn(clock_now());
	report("wait and wake (half of a ping-pong)", 2 * (size_t)ROUNDS);
	begin();
	for (int i = 0; i < ROUNDS; i++)
		fiber_start(&a, "nothing", nothing, NULL);
	report("fiber started and ended", ROUNDS);
}

static void fires(struct timer *t) { count++; }

static void bench_timers(void)
{
	enum { N = 100000 };
	struct timer *timers = calloc(N, sizeof(*timers));

	if (!timers)
		return;
	for (size_t i = 0; i < N; i++)
		timers[i].fn = fires;
	begin();
	for (size_t i = 0; i < N; i++)
		timer_set(&timers[i], clock_now() + 300 * NS_PER_SECOND + (nanoseconds)(i * 7919 % N));
	report("timer set, 100,000 of them", N);
	begin();
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < N; i++)
			timer_set(&timers[i], clock_now() + 301 * NS_PER_SECOND + round);
	report("timer moved later", 20 * (size_t)N);
	begin();
	for (size_t i = 0; i < N; i++)
		timer_clear(&timers[i]);
	report("timer cleared", N);
	free(timers);
}

/* ---- a command over a socket pair ---- */

static void answers(void *arg)
{
	struct stream *s = arg;
	struct slice line;

	while (stream_line(s, &line)) {
		stream_write(s, SLICE("250 2.1.0 OK\r\n"));
		stream_flush(s);
	}
	stream_park(s);
}

struct session {
	struct stream stream;
	struct fiber_job job;
};

static void commanded(struct stream *s)
{
	struct session *session = container_of(s, struct session, stream);

	if (stream_fill(s) > 0)
		fiber_start(&session->job, "session", answers, s);
}

static void bench_command(void)
{
	enum { N = 300000 };
	static struct session session;
	char buffer[100];
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0 ||
	    !stream_open(&session.stream, fd[0], commanded, NULL))
		return;
	begin();
	for (int i = 0; i < N; i++) {
		if (write(fd[1], "MAIL FROM:<a@example.org>\r\n", 27) != 27)
			return;
		loop_turn(DEADLINE_NONE);
		if (read(fd[1], buffer, sizeof(buffer)) != 14)
			return;
	}
	report("command and reply, five system calls", N);
	stream_close(&session.stream);
	close(fd[1]);
}

/* ---- idle sessions ---- */

enum { IDLE = 2000 };
static struct stream *idle;
static int ends[IDLE][2];
static struct tls_context *context;
static size_t shaken;

static void parked(struct stream *s) { }

static void serves(void *arg)
{
	struct stream *s = arg;
	const char *why;

	if (context && tls_accept(s, context, &why, deadline_in(60 * NS_PER_SECOND)))
		shaken++;
	else if (context)
		fprintf(stderr, "run_bench: %s\n", why);
	stream_write(s, SLICE("220 mx.example.org\r\n"));
	stream_flush(s);
	stream_park(s);
}

static void calls(void *arg)
{
	const char *why;

	if (!tls_connect(arg, context, NULL, &why, deadline_in(60 * NS_PER_SECOND)))
		_exit(1);
	count++;
}

/* The peers live in a process of their own, so that their memory is not counted. */
static pid_t peers(bool tls)
{
	static struct stream streams[IDLE];
	static struct fiber_job jobs[IDLE];
	struct arena a = ARENA_INIT;
	const char *why;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	fiber_drop();
	loop_drop();
	loop_init();
	fiber_init(64, 64 * 1024);
	context = tls_client_context(&a, false, NULL, &why);
	for (int i = 0; i < IDLE && tls; i++)
		if (stream_open(&streams[i], ends[i][1], NULL, NULL))
			fiber_start(&jobs[i], "peer", calls, &streams[i]);
	loop_run();
	_exit(0);
}

static void bench_idle(const char *what, const char *certificate, const char *key)
{
	struct fiber_job *jobs = calloc(IDLE, sizeof(*jobs));
	struct arena a = ARENA_INIT;
	const char *why = NULL;
	size_t before, after;
	pid_t pid;

	context = certificate ? tls_server_context(&a, certificate, key, &why) : NULL;
	if (why)
		fprintf(stderr, "run_bench: %s\n", why);
	for (int i = 0; i < IDLE; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends[i]) < 0)
			return;
	pid = peers(context != NULL);
	malloc_trim(0);
	before = resident();
	idle = calloc(IDLE, sizeof(*idle));
	shaken = 0;
	begin();
	for (int i = 0; i < IDLE && idle && jobs; i++)
		if (stream_open(&idle[i], ends[i][0], parked, NULL))
			fiber_start(&jobs[i], "session", serves, &idle[i]);
	while (fiber_stats().in_use + fiber_stats().in_line > 0)
		loop_turn(DEADLINE_NONE);
	if (context)
		report("handshake, this end", IDLE);
	after = resident();
	printf("%-44s %10.2f KiB\n", what, ((double)after - (double)before) / 1024 / IDLE);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < IDLE && idle; i++) {
		stream_abort(&idle[i]);
		close(ends[i][1]);
	}
	tls_context_unref(context);
	arena_drop(&a);
	free(idle);
	free(jobs);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 8192, 8192 };

	setrlimit(RLIMIT_NOFILE, &files);
	loop_init();
	fiber_init(256, 64 * 1024);
	bench_fibers();
	bench_timers();
	bench_command();
	bench_idle("idle stream, plain", NULL, NULL);
	if (argc == 3)
		bench_idle("idle stream, TLS", argv[1], argv[2]);
	fiber_drop();
	loop_drop();
	return 0;
}
