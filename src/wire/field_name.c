/*
 * Names are told apart by their length, their first eight octets and their last eight, which are two loads however long the name is. Of the
 * names that are known no two agree in these, so only what lies between remains to be compared, and that for
 * one name at most.
 *
 * Rejected: a switch by length and first letter (the compiler makes it, but nobody reads it); an identity kept in struct
 * field (everybody would pay for it who parses a header section, and few ask).
 */
#include "wire/field_name.h"

#include "base/log.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SLOTS 256u		/* three times as many as there are names */
#define NAME_MIN 2u
#define NAME_MAX 30u

struct name {
	uint64_t head, tail;	/* in lower case */
	struct slice text;
	enum field_id id;
};

static struct name slots[SLOTS];
static bool built;

/* Two loads that cover a name of at most sixteen octets. */
static void key_of(struct slice name, uint64_t *head, uint64_t *tail)
{
	uint32_t first = 0, last = 0;

	if (name.n >= 8) {
		memcpy(head, name.p, 8);
		memcpy(tail, name.p + name.n - 8, 8);
	} else {
		size_t half = name.n >= 4 ? 4 : 2;
		memcpy(&first, name.p, half == 4 ? 4 : 2);
		memcpy(&last, name.p + name.n - half, half == 4 ? 4 : 2);
		*head = first;
		*tail = last;
	}
	*head = ascii_lower_eight(*head);
	*tail = ascii_lower_eight(*tail);
}

static unsigned slot_of(uint64_t head, uint64_t tail, size_t n)
{
	uint64_t mixed = (head ^ tail >> 3 ^ n) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(mixed >> 56);
}

static void add(struct slice text, enum field_id id)
{
	struct name n = { .text = text, .id = id };
	unsigned at;

	BUG_ON(text.n < NAME_MIN || text.n > NAME_MAX);
	key_of(text, &n.head, &n.tail);
	for (at = slot_of(n.head, n.tail, text.n); slots[at].id != FIELD_OTHER; at = (at + 1) % SLOTS)
		BUG_ON(slots[at].head == n.head && slots[at].tail == n.tail && slots[at].text.n == text.n);
	slots[at] = n;
}

/* Workers are single-threaded; the table is made once. */
static void build(void)
{
#define X(id, name) add(SLICE(name), FIELD_##id);
	FIELD_NAMES(X)
#undef X
	built = true;
}

enum field_id field_id(struct slice name)
{
	uint64_t head, tail;

	if (name.n < NAME_MIN || name.n > NAME_MAX)
		return FIELD_OTHER;
	if (!built)
		build();
	key_of(name, &head, &tail);
	for (unsigned at = slot_of(head, tail, name.n); slots[at].id != FIELD_OTHER; at = (at + 1) % SLOTS) {
		const struct name *k = &slots[at];
		if (k->head == head && k->tail == tail && k->text.n == name.n)
			return name.n <= 16 || bytes_eq_nocase(name.p + 8, k->text.p + 8, name.n - 16) ? k->id : FIELD_OTHER;
	}
	return FIELD_OTHER;
}

static bool is_name_char(char c)
{
	return c > ' ' && c <= '~' && c != ':';
}

size_t field_name_length(struct slice line)
{
	size_t n = 0;

#if defined(__SSE2__)
	for (; line.n - n >= 16; n += 16) {
		__m128i octets = _mm_loadu_si128((const __m128i *)(const void *)(line.p + n));
		/* Signed: what is beyond ASCII is less than the space. */
		__m128i no = _mm_or_si128(_mm_cmplt_epi8(octets, _mm_set1_epi8(' ' + 1)),
			_mm_or_si128(_mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f)), _mm_cmpeq_epi8(octets, _mm_set1_epi8(':'))));
		unsigned bits = (unsigned)_mm_movemask_epi8(no);
		if (bits)
			return n + (unsigned)__builtin_ctz(bits);
	}
#endif
	while (n < line.n && is_name_char(line.p[n]))
		n++;
	return n;
}

void field_set_read(struct field_set *set, const struct field *fields, uint32_t count)
{
	memset(set, 0, sizeof(*set));
	for (uint32_t i = 0; i < count; i++) {
		enum field_id id = field_id(fields[i].name);
		if (!set->first[id])
			set->first[id] = &fields[i];
	}
	set->first[FIELD_OTHER] = NULL;
}
