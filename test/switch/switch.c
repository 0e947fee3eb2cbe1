/*
 * The switching of stacks by itself, without a library, so that it can be built for any processor and run under an emulator
 * (tools/switches). What a function may expect to find again behind a call must be there behind a switch.
 */
#include "run/fiber_switch.h"

#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>

#define FIBERS 16
#define ROUNDS 1000
#define STACK 65536

static fiber_place scheduler, places[FIBERS];
static _Alignas(16) char stacks[FIBERS][STACK];
static int ended;

#define CHECK(what) do { if (!(what)) { printf("not ok: %s (line %d)\n", #what, __LINE__); exit(1); } } while (0)

/* More live values than there are registers that a call keeps; with a switch in each round, or without any. */
static __attribute__((noinline)) double work(int seed, fiber_place *here)
{
	unsigned long a = (unsigned long)seed + 1, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13, g = a * 17, h = a * 19,
		i = a * 23, j = a * 29, k = a * 31, l = a * 37;
	double p = seed, q = p + 1, r = p + 2, s = p + 3, t = p + 4, u = p + 5, v = p + 6, w = p + 7;

	for (int n = 0; n < ROUNDS; n++) {
		if (here)
			fiber_switch(here, &scheduler);
		a += b ^ (unsigned long)n; b += c; c ^= d; d += e; e ^= f; f += g; g ^= h; h += i; i ^= j; j += k; k ^= l; l += a;
		p += q * 0.5; q = q * 0.25 + r; r = r * 0.25 + s; s = s * 0.25 + t; t = t * 0.25 + u; u = u * 0.25 + v;
		v = v * 0.25 + w; w = w * 0.25 + (double)(a & 255);
	}
	return p + q + r + s + t + u + v + w + (double)((b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l) & 0xffffff);
}

/* As the unit for arithmetic rounds now; fegetround() asks another one on AMD64. */
static double third(void)
{
	volatile double one = 1, three = 3;

	return one / three;
}

static void live(void *arg)
{
	int me = (int)(intptr_t)arg;
	_Alignas(16) char aligned[16];
	char text[32];

	CHECK((uintptr_t)aligned % 16 == 0 && (uintptr_t)aligned >= (uintptr_t)stacks[me] &&
		(uintptr_t)aligned < (uintptr_t)stacks[me] + STACK);
	snprintf(text, sizeof(text), "%.1f", (double)me);	/* variadic, with a floating point argument: wants its stack aligned */
	CHECK(atoi(text) == me);
	/* The rounding of one is not the rounding of another. */
	fesetround(me % 2 ? FE_UPWARD : FE_TOWARDZERO);
	double rounded = third();
	fiber_switch(&places[me], &scheduler);
	CHECK(third() == rounded);
	CHECK(fegetround() == (me % 2 ? FE_UPWARD : FE_TOWARDZERO));
	fesetround(FE_TONEAREST);
	CHECK(work(me, &places[me]) == work(me, NULL));
	ended++;
	for (;;)
		fiber_switch(&places[me], &scheduler);
}

int main(void)
{
	double before = work(99, NULL), rounded = third();

	for (int i = 0; i < FIBERS; i++)
		fiber_prepare(&places[i], stacks[i], STACK, live, (void *)(intptr_t)i);
	for (int n = 0; n < ROUNDS + 3; n++)
		for (int i = 0; i < FIBERS; i++) {
			fiber_switch(&scheduler, &places[i]);
			CHECK(fegetround() == FE_TONEAREST && third() == rounded);
		}
	CHECK(ended == FIBERS && work(99, NULL) == before);
	printf("ok: %d stacks, %d switches\n", FIBERS, 2 * FIBERS * (ROUNDS + 3));
	return 0;
}
