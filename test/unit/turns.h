/*
 * For the tests of run/ and what stands on it: a loop, fibers and a fake clock
 * for each test, and pairs of connected sockets. No network, no waiting.
 */
#ifndef SPURN_TEST_TURNS_H
#define SPURN_TEST_TURNS_H

#include "unit.h"

#include "run/fiber.h"
#include "run/loop.h"
#include "run/stream.h"
#include "run/wait.h"

#include <sys/socket.h>
#include <unistd.h>

#define EPOCH (1000 * NS_PER_SECOND)
#define WALL (INT64_C(1790000000) * NS_PER_SECOND)
#define STACKS 16

static inline int turns_setup(void **state)
{
	(void)state;
	clock_fake(EPOCH, WALL);
	loop_init();
	fiber_init(STACKS, 64 * 1024);
	return 0;
}

static inline int turns_teardown(void **state)
{
	(void)state;
	fiber_drop();
	loop_drop();
	return 0;
}

/* Until nothing is ready and no timer is set. */
static inline void turns(void)
{
	while (loop_turn(DEADLINE_NONE))
		;
}

/* Until nothing is ready, without letting time pass. */
static inline void turns_now(void)
{
	while (loop_turn(clock_now()))
		;
}

static inline void socket_pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

#define turns_test(f) cmocka_unit_test_setup_teardown(f, turns_setup, turns_teardown)

#endif
