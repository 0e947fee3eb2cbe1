/*
 * The content of a message read again from its spool, for whoever must see it as a whole (scanners), even while it still
 * arrives.
 *
 * The spool holds the wire form, so the dots that transparency doubled are taken out on the way (RFC 5321 section 4.5.2).
 * Each line of the wire form that begins with a dot has one too many. Rejected: a second spool with the content
 * (twice the memory for every message, for the few that are read again).
 */
#include "edge/transaction.h"

enum { AT_LINE_START, IN_LINE, AFTER_CR };

static uint8_t after(char c, uint8_t state)
{
	if (c == '\r')
		return AFTER_CR;
	return c == '\n' && state == AFTER_CR ? AT_LINE_START : IN_LINE;
}

/* Takes the doubled dots out of n octets of the wire form, in place; returns the octets left. */
static size_t unstuff(char *bytes, size_t n, uint8_t *state)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (*state == AT_LINE_START && bytes[i] == '.') {
			*state = IN_LINE;
			continue;
		}
		*state = after(bytes[i], *state);
		bytes[kept++] = bytes[i];
	}
	return kept;
}

static ptrdiff_t read_content(void *arg, struct content_cursor *at, char *to, size_t room)
{
	const struct transaction *tx = arg;
	ptrdiff_t n;
	size_t kept;

	do {
		n = spool_read(&tx->spool, at->wire, to, room);
		if (n <= 0)
			return n;
		at->wire += (uint64_t)n;
		kept = unstuff(to, (size_t)n, &at->state);
	} while (kept == 0);
	return (ptrdiff_t)kept;
}

/* ---- another body ---- */

struct new_body {
	struct transaction *tx;
	struct spool spool;
	struct smtp_data framing;
};

static void to_spool(void *arg, struct slice piece)
{
	struct new_body *b = arg;

	spool_add(&b->spool, piece);
}

static bool body_is_sound(const struct new_body *b)
{
	return !b->spool.error && !b->framing.nul;
}

static bool body_add(void *body, struct slice piece)
{
	struct new_body *b = body;

	if (piece.n > 0)
		smtp_data_push_chunk(&b->framing, piece);
	return body_is_sound(b);
}

/* What we pass on we have framed ourselves: bare CR and LF of a scanner are repaired. */
static void *body_begin(void *arg)
{
	struct transaction *tx = arg;
	struct new_body *b = arena_new(&tx->arena, struct new_body);

	b->tx = tx;
	spool_init(&b->spool, tx->spool.pool);
	smtp_data_init(&b->framing, to_spool, NULL, b);
	b->framing.repair = true;
	body_add(b, str_slice(&tx->header.bytes));
	body_add(b, SLICE("\r\n"));
	return b;
}

static void body_drop(void *body)
{
	struct new_body *b = body;

	spool_drop(&b->spool);
}

static bool body_commit(void *body)
{
	struct new_body *b = body;

	smtp_data_finish_chunks(&b->framing);
	if (!body_is_sound(b)) {
		spool_drop(&b->spool);
		return false;
	}
	spool_drop(&b->tx->spool);
	b->tx->spool = b->spool;
	b->tx->header.blank_line = true;
	b->tx->envelope.message.body_replaced = true;
	spool_init(&b->spool, b->tx->spool.pool);
	return true;
}

struct content_sink content_sink_of(struct transaction *tx)
{
	return (struct content_sink){ .arg = tx, .begin = body_begin, .add = body_add, .commit = body_commit,
		.drop = body_drop };
}

struct content_source content_of(struct transaction *tx)
{
	return (struct content_source){ .arg = tx, .read = read_content };
}
