/*
 * Switching stacks: what a processor wants saved across a function call, and
 * nothing else. Included by fiber.c alone.
 *
 * fiber_switch(&from, to) pushes the callee-saved registers and the floating point control words,
 * leaves its stack pointer in *from, takes `to` as its own and pops the same from
 * there (System V ABI for AMD64, section 3.2.1; AAPCS64, section 6.1). There is no system call in it:
 * swapcontext() makes one for the signal mask, at every switch, and is what remains
 * for other processors (or with -DFIBER_UCONTEXT, for tests).
 *
 * A new stack begins in fiber_begin, which says to unwinders that nobody called
 * it, so that gdb, perf and sanitizers stop there.
 */
#ifndef SPURN_RUN_FIBER_SWITCH_H
#define SPURN_RUN_FIBER_SWITCH_H

#include <stdint.h>
#include <string.h>

#if !defined(FIBER_UCONTEXT) && defined(__x86_64__) && defined(__LP64__)

typedef void *fiber_place;	/* a stack pointer */

void fiber_switch(fiber_place *from, fiber_place *to) __attribute__((visibility("hidden")));
void fiber_begin(void) __attribute__((visibility("hidden")));

__asm__(
	".pushsection .text\n"
	".globl fiber_switch\n.hidden fiber_switch\n.type fiber_switch,@function\n"
	".p2align 4\n"
	"fiber_switch:\n"
	".cfi_startproc\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	leaq -8(%rsp), %rsp\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	leaq 8(%rsp), %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	popq %rcx\n"
	"	jmpq *%rcx\n"
	".cfi_endproc\n"
	".size fiber_switch,.-fiber_switch\n"
	".globl fiber_begin\n.hidden fiber_begin\n.type fiber_begin,@function\n"
	".p2align 4\n"
	"fiber_begin:\n"
	".cfi_startproc\n"
	".cfi_undefined rip\n"
	"	movq %r12, %rdi\n"
	"	callq *%r13\n"
	"	ud2\n"
	".cfi_endproc\n"
	".size fiber_begin,.-fiber_begin\n"
	".popsection\n");

/* The first switch to `place` calls fn(arg) on the stack that ends at top. */
static inline void fiber_prepare(fiber_place *place, char *bottom, size_t size, void (*fn)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)(bottom + size) - 2;
	uint32_t mxcsr;
	uint16_t fcw;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(fcw));
	*--sp = (uint64_t)(uintptr_t)fiber_begin;	/* sp is a multiple of 16 once this is popped */
	*--sp = 0;					/* rbp: end of the chain of frames */
	*--sp = 0;					/* rbx */
	*--sp = (uint64_t)(uintptr_t)arg;		/* r12 */
	*--sp = (uint64_t)(uintptr_t)fn;		/* r13 */
	*--sp = 0;					/* r14 */
	*--sp = 0;					/* r15 */
	*--sp = mxcsr | (uint64_t)fcw << 32;
	*place = sp;
}

#elif !defined(FIBER_UCONTEXT) && defined(__aarch64__)

typedef void *fiber_place;

void fiber_switch(fiber_place *from, fiber_place *to) __attribute__((visibility("hidden")));
void fiber_begin(void) __attribute__((visibility("hidden")));

__asm__(
	".pushsection .text\n"
	".globl fiber_switch\n.hidden fiber_switch\n.type fiber_switch,%function\n"
	".p2align 4\n"
	"fiber_switch:\n"
	".cfi_startproc\n"
	"	hint #34\n"			/* bti c */
	"	sub sp, sp, #176\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mrs x9, fpcr\n"
	"	str x9, [sp, #160]\n"
	"	mov x10, sp\n"
	"	str x10, [x0]\n"
	"	ldr x10, [x1]\n"
	"	mov sp, x10\n"
	"	ldr x9, [sp, #160]\n"
	"	msr fpcr, x9\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #176\n"
	"	ret\n"
	".cfi_endproc\n"
	".size fiber_switch,.-fiber_switch\n"
	".globl fiber_begin\n.hidden fiber_begin\n.type fiber_begin,%function\n"
	".p2align 4\n"
	"fiber_begin:\n"
	".cfi_startproc\n"
	".cfi_undefined x30\n"
	"	hint #36\n"			/* bti j */
	"	mov x0, x19\n"
	"	blr x20\n"
	"	brk #1\n"
	".cfi_endproc\n"
	".size fiber_begin,.-fiber_begin\n"
	".popsection\n");

static inline void fiber_prepare(fiber_place *place, char *bottom, size_t size, void (*fn)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)(bottom + size) - 22, fpcr;

	memset(sp, 0, 176);
	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	sp[0] = (uint64_t)(uintptr_t)arg;		/* x19 */
	sp[1] = (uint64_t)(uintptr_t)fn;		/* x20 */
	sp[11] = (uint64_t)(uintptr_t)fiber_begin;	/* x30; x29 = 0 ends the chain of frames */
	sp[20] = fpcr;
	*place = sp;
}

#else

#include <ucontext.h>

typedef ucontext_t fiber_place;

static inline void fiber_switch(fiber_place *from, fiber_place *to) { swapcontext(from, to); }

/* makecontext() hands over ints only. */
static void fiber_begin(unsigned fn_high, unsigned fn_low, unsigned arg_high, unsigned arg_low)
{
	uintptr_t fn = (uintptr_t)((uint64_t)fn_high << 32 | fn_low);

	((void (*)(void *))fn)((void *)(uintptr_t)((uint64_t)arg_high << 32 | arg_low));
}

static inline void fiber_prepare(fiber_place *place, char *bottom, size_t size, void (*fn)(void *), void *arg)
{
	uint64_t f = (uintptr_t)fn, a = (uintptr_t)arg;

	getcontext(place);
	place->uc_stack.ss_sp = bottom;
	place->uc_stack.ss_size = size;
	place->uc_link = NULL;
	makecontext(place, (void (*)(void))fiber_begin, 4, (unsigned)(f >> 32), (unsigned)f,
		(unsigned)(a >> 32), (unsigned)a);
}

#endif
#endif
