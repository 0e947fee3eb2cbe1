/*
 * The framing machine of DATA and BDAT. Two definitions hold it together:
 *
 *   content = the input without its stuffed dots, up to the lone dot (DATA), or the
 *             input as it is (BDAT); under `repair` with every bare LF made CRLF and every bare CR
 *             dropped.
 *   wire    = content, with a dot put before each line that begins with one.
 *
 * So the wire view is framed by us whatever the client did, and no input can put a
 * lone dot into it: not by a dot behind a bare LF that repair turns into CRLF, not by
 * a bare CR that repair takes from between dot and CRLF. What a client stuffed needlessly
 * (".text") leaves without that dot; RFC 5321 section 4.5.2 gives both the same meaning.
 *
 * Where a line of the input begins is decided by CRLF alone, also under repair: a dot
 * behind a bare LF is text to us, and never an end.
 *
 * Speed: nearly all octets need no decision. run_scan() looks at 64 at a time: block_is_plain() asks only whether
 * there is anything to decide, by comparing the input with itself moved by one octet; where there is,
 * block_scan() makes bit masks of CR, LF and dots and shifts one against the other, which shows
 * bare CR, bare LF and dots at a line's start. So a run of many lines leaves as one piece that points into
 * the input. Only what stops a run goes through the switch of the machine.
 *
 * Rejected: memchr() for each line (as fast for long lines, three times slower for short ones, and
 * blind to bare CR); a switch for each octet (0.4 GB/s); handing the wire view out as it
 * came (then repair has to know what a backend would make of it).
 */
#include "wire/smtp_data.h"

#include "base/log.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What the octets so far end with. Held octets (CR, dot, dot and CR) are in neither view yet. */
enum data_state {
	AT_LINE_START,		/* nothing yet, or CRLF */
	IN_LINE,
	AFTER_CR,		/* a CR is held */
	AFTER_DOT,		/* at a line's start: a dot is held */
	AFTER_DOT_CR,		/* both are held */
	AT_END,
};

#define BLOCK 64

/* One bit for each octet of a block, the lowest for the first. */
struct block {
	uint64_t cr, lf, dot, nul, high;
};

#if defined(__SSE2__)

static inline uint64_t block_equal(const __m128i v[4], char c)
{
	__m128i wanted = _mm_set1_epi8(c);
	uint64_t mask = 0;

	for (int i = 0; i < 4; i++)
		mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], wanted)) << (16 * i);
	return mask;
}

static inline struct block block_load(const char *p)
{
	__m128i v[4];
	uint64_t high = 0;

	for (int i = 0; i < 4; i++) {
		v[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
		high |= (uint64_t)(uint32_t)_mm_movemask_epi8(v[i]) << (16 * i);
	}
	return (struct block){ block_equal(v, '\r'), block_equal(v, '\n'), block_equal(v, '.'),
		block_equal(v, '\0'), high };
}

/* True if each LF of the block has its CR, no line begins with a dot and there is no NUL: nothing to decide and
 * nothing to note but *high. Looks at p[-1] too. May be false for less (a dot behind a bare LF). */
static inline bool block_is_plain(const char *p, bool *high)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), dot = _mm_set1_epi8('.');
	__m128i odd = _mm_setzero_si128(), any = odd, least = cr;

	for (int i = 0; i < BLOCK; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(p + i));
		__m128i before = _mm_loadu_si128((const __m128i *)(p + i - 1));
		__m128i pairs = _mm_xor_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(before, cr));
		__m128i dots = _mm_and_si128(_mm_cmpeq_epi8(v, dot), _mm_cmpeq_epi8(before, lf));
		odd = _mm_or_si128(odd, _mm_or_si128(pairs, dots));
		any = _mm_or_si128(any, v);
		least = _mm_min_epu8(least, v);
	}
	odd = _mm_or_si128(odd, _mm_cmpeq_epi8(least, _mm_setzero_si128()));
	if (_mm_movemask_epi8(odd))
		return false;
	*high |= _mm_movemask_epi8(any) != 0;
	return true;
}

#else

static inline bool block_is_plain(const char *p, bool *high)
{
	return false;
}

#define LOW_BITS UINT64_C(0x7f7f7f7f7f7f7f7f)

/* The top bits of eight octets, first octet lowest: bit 7 of octet i to bit i of the result. */
static inline uint64_t gather(uint64_t word)
{
	return ((word >> 7 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080)) >> 56;
}

/* 0x80 in each octet of word that is zero; exact, unlike the common trick with a borrow. */
static inline uint64_t zeros(uint64_t word)
{
	return ~(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS);
}

static inline struct block block_load(const char *p)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	struct block b = { 0, 0, 0, 0, 0 };

	for (int i = 0; i < BLOCK; i += 8) {
		uint64_t word;
		memcpy(&word, p + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		word = __builtin_bswap64(word);
#endif
		b.cr |= gather(zeros(word ^ each * '\r')) << i;
		b.lf |= gather(zeros(word ^ each * '\n')) << i;
		b.dot |= gather(zeros(word ^ each * '.')) << i;
		b.nul |= gather(zeros(word)) << i;
		b.high |= gather(word) << i;
	}
	return b;
}

#endif

static inline uint64_t bits_below(unsigned n)
{
	return n < BLOCK ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/* ---- the two views ---- */

static void put_wire(struct smtp_data *d, struct slice piece)
{
	if (piece.n > 0)
		d->on_wire(d->arg, piece);
}

/* A piece of content, which goes to the wire with a dot before it where one is due. A line can
 * begin with a dot only at the start of a piece: run_scan() stops there. */
static void put(struct smtp_data *d, struct slice piece)
{
	if (piece.n == 0)
		return;
	if (d->last_was_crlf && piece.p[0] == '.')
		put_wire(d, SLICE("."));
	put_wire(d, piece);
	if (d->on_content)
		d->on_content(d->arg, piece);
	d->content_size += piece.n;
	/* CR and LF of a pair are never in two pieces, since a CR at the end of the input is held. */
	d->last_was_crlf = piece.n >= 2 && piece.p[piece.n - 2] == '\r' && piece.p[piece.n - 1] == '\n';
}

static void put_bare_cr(struct smtp_data *d)
{
	d->bare_cr = true;
	if (!d->repair)
		put(d, SLICE("\r"));
}

/* ---- runs ---- */

/* What stopped a run. */
enum stop { STOP_NOT, STOP_DOT, STOP_BARE_LF, STOP_BARE_CR };

struct run {
	size_t n;		/* octets before what stopped it */
	enum stop stop;
};

/* Looks at `length` octets of a block that begins at octet r->n of the run. True: stopped, and r->n, r->stop say
 * where and why. Without repair a bare CR or LF stops nothing, but is noted. */
static inline bool block_scan(struct smtp_data *d, struct run *r, const char *run, struct block b, unsigned length)
{
	bool behind_cr = r->n > 0 && run[r->n - 1] == '\r';
	bool behind_crlf = r->n > 1 && run[r->n - 1] == '\n' && run[r->n - 2] == '\r';
	uint64_t after_cr = b.cr << 1 | behind_cr;
	uint64_t bare_lf = b.lf & ~after_cr;
	uint64_t bare_cr = after_cr & ~b.lf;	/* a bit each for the octet behind it */
	uint64_t dots = b.dot & ((b.lf & after_cr) << 1 | behind_crlf);
	uint64_t stops = (d->repair ? dots | bare_lf | bare_cr : dots) & bits_below(length);
	unsigned at = stops ? (unsigned)__builtin_ctzll(stops) : length;
	uint64_t seen = bits_below(at);

	d->nul |= (b.nul & seen) != 0;
	d->eight_bit |= (b.high & seen) != 0;
	d->bare_lf |= (bare_lf & seen) != 0;
	d->bare_cr |= (bare_cr & seen) != 0;
	r->n += at;
	if (!stops)
		return false;
	if (dots >> at & 1) {
		r->stop = STOP_DOT;
	} else if (bare_cr >> at & 1) {
		r->stop = STOP_BARE_CR;
		r->n--;
	} else {
		r->stop = STOP_BARE_LF;
	}
	return true;
}

/* How far the input can be passed on as it is. Its first octet is taken even if it is a dot. */
static struct run run_scan(struct smtp_data *d, struct slice in)
{
	struct run r = { 0, STOP_NOT };
	char last[BLOCK];

	while (in.n - r.n >= BLOCK) {
		if (r.n > 0 && block_is_plain(in.p + r.n, &d->eight_bit)) {
			r.n += BLOCK;
			continue;
		}
		if (block_scan(d, &r, in.p, block_load(in.p + r.n), BLOCK))
			return r;
	}
	if (r.n < in.n) {
		unsigned left = (unsigned)(in.n - r.n);
		memset(last, ' ', sizeof(last));
		memcpy(last, in.p + r.n, left);
		block_scan(d, &r, in.p, block_load(last), left);
	}
	return r;
}

/* Passes a run on, and what ended it under repair; returns the octets taken. */
static size_t take_run(struct smtp_data *d, struct slice in)
{
	struct run r = run_scan(d, in);
	bool held = r.stop == STOP_BARE_CR;

	if (r.stop == STOP_NOT && in.p[r.n - 1] == '\r') {
		held = true;
		r.n--;
	}
	put(d, slice_head(in, r.n));
	if (held) {
		d->state = AFTER_CR;
		return r.n + 1;
	}
	if (r.stop == STOP_BARE_LF) {
		d->bare_lf = true;
		put(d, SLICE("\r\n"));
		d->state = IN_LINE;
		return r.n + 1;
	}
	d->state = r.n >= 2 && in.p[r.n - 2] == '\r' && in.p[r.n - 1] == '\n' ? AT_LINE_START : IN_LINE;
	return r.n;
}

/* The octet behind a held CR: 1 if it was the LF, else the CR was bare and the octet is not taken. */
static size_t take_after_cr(struct smtp_data *d, char c)
{
	if (c == '\n') {
		put(d, SLICE("\r\n"));
		d->state = AT_LINE_START;
		return 1;
	}
	put_bare_cr(d);
	d->state = IN_LINE;
	return 0;
}

/* ---- the machine ---- */

void smtp_data_init(struct smtp_data *d, void (*on_wire)(void *, struct slice),
	void (*on_content)(void *, struct slice), void *arg)
{
	*d = (struct smtp_data){ .on_wire = on_wire, .on_content = on_content, .arg = arg,
		.state = AT_LINE_START, .last_was_crlf = true };
}

/* RFC 5321 section 4.1.1.4:
 *   the mail data are terminated by a line containing only a period, that is, the
 *   character sequence "<CRLF>.<CRLF>", where the first <CRLF> is actually the terminator of
 *   the previous line
 * (the command's own line if the very first one of the data is the period), section 4.5.2:
 *   If the first character is a period and there are other characters on the line, the first
 *   character is deleted.
 * A dot that turns out to be no end is dropped, and what follows it is text, even another dot. */
bool smtp_data_push(struct smtp_data *d, struct slice input, size_t *used)
{
	struct slice in = input;

	while (in.n > 0 && d->state != AT_END) {
		char c = in.p[0];
		size_t taken = 0;

		switch ((enum data_state)d->state) {
		case AT_LINE_START:
			if (c == '.') {
				d->state = AFTER_DOT;
				taken = 1;
				break;
			}
			taken = take_run(d, in);
			break;
		case IN_LINE:
			taken = take_run(d, in);
			break;
		case AFTER_CR:
			taken = take_after_cr(d, c);
			break;
		case AFTER_DOT:
			d->state = c == '\r' ? AFTER_DOT_CR : IN_LINE;
			taken = c == '\r';
			break;
		case AFTER_DOT_CR:
			d->state = c == '\n' ? AT_END : IN_LINE;
			taken = c == '\n';
			if (c != '\n')
				put_bare_cr(d);
			break;
		case AT_END:
			break;
		}
		in = slice_from(in, taken);
	}
	*used = input.n - in.n;
	return d->state == AT_END;
}

/* RFC 3030 section 2: chunks need no dot-stuffing and have no lines; a CRLF may be cut between two. */
void smtp_data_push_chunk(struct smtp_data *d, struct slice input)
{
	BUG_ON(d->state != AT_LINE_START && d->state != IN_LINE && d->state != AFTER_CR);
	while (input.n > 0) {
		size_t taken = d->state == AFTER_CR ? take_after_cr(d, input.p[0]) : take_run(d, input);
		input = slice_from(input, taken);
	}
}

void smtp_data_finish_chunks(struct smtp_data *d)
{
	if (d->state == AFTER_CR)
		put_bare_cr(d);
	d->state = AT_END;
	if (!d->last_was_crlf)
		put_wire(d, SLICE("\r\n"));
}
