/*
 * The EHLO reply, whatever a backend offers. Beyond not crashing: only what we know is taken in,
 * a limit comes with SIZE alone, and saying everything twice changes nothing.
 */
#include "net/smtp_client.h"

#include "base/log.h"

#define KNOWN (CAP_PIPELINING | CAP_SIZE | CAP_8BITMIME | CAP_SMTPUTF8 | CAP_DSN | CAP_CHUNKING | CAP_ENHANCED | \
	CAP_STARTTLS | CAP_XFORWARD | CAP_XCLIENT | CAP_PRDR)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void hear(void *arg, struct slice text, bool first)
{
	if (!first)
		smtp_client_capability(arg, text);
}

/* Lines end in CRLF, as the stream has it; the last one may be cut. */
static void feed(struct smtp_client *c, struct arena *a, struct slice input)
{
	enum reply_parse state = REPLY_PARSE_MORE;
	const char *why = NULL;

	reply_parser_init(&c->parser, a);
	c->parser.on_line = hear;
	c->parser.arg = c;
	while (input.n > 0 && state == REPLY_PARSE_MORE) {
		ptrdiff_t end = slice_search(input, SLICE("\r\n"));
		struct slice line = end < 0 ? input : slice_head(input, (size_t)end);

		state = reply_parser_line(&c->parser, line, &why);
		BUG_ON(state == REPLY_PARSE_BAD && !why);
		input = slice_from(input, line.n + 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice input = slice_make((const char *)bytes, n);
	static struct smtp_client once, twice;
	struct arena a = ARENA_INIT;

	memset(&once, 0, sizeof(once));
	memset(&twice, 0, sizeof(twice));
	feed(&once, &a, input);
	BUG_ON(once.capabilities & ~(unsigned)KNOWN);
	BUG_ON(once.size_limit > 0 && !(once.capabilities & CAP_SIZE));
	BUG_ON(once.xforward && !(once.capabilities & CAP_XFORWARD));
	BUG_ON(once.xclient && !(once.capabilities & CAP_XCLIENT));
	feed(&twice, &a, input);
	feed(&twice, &a, input);
	BUG_ON(once.capabilities != twice.capabilities || once.size_limit != twice.size_limit);
	BUG_ON(once.xforward != twice.xforward || once.xclient != twice.xclient);
	arena_drop(&a);
	return 0;
}
