/* field_name: every known name in any case, names that nearly are one, ends of names at each place, the first of each name. */
#include "unit.h"

#include "wire/field_name.h"

static const char *const names[] = {
	"",
#define X(id, name) name,
	FIELD_NAMES(X)
#undef X
};

/* In memory of just that size, so that a look beside it is seen. */
static enum field_id id_of(const char *text, size_t n)
{
	char *exact = malloc(n > 0 ? n : 1);
	enum field_id id;

	memcpy(exact, text, n);
	id = field_id(slice_make(exact, n));
	free(exact);
	return id;
}

static bool is_name(const char *text)
{
	for (unsigned i = 1; i < FIELD_ID_COUNT; i++)
		if (strcmp(names[i], text) == 0)
			return true;
	return false;
}

static void known_and_unknown(void **state)
{
	char text[64];

	for (unsigned i = 1; i < FIELD_ID_COUNT; i++) {
		size_t n = strlen(names[i]);
		memcpy(text, names[i], n + 1);
		assert_int_equal(id_of(text, n), i);
		for (size_t at = 0; at < n; at++) {
			text[at] = (char)(names[i][at] >= 'a' && names[i][at] <= 'z' ? names[i][at] - 32 : names[i][at]);
			assert_int_equal(id_of(text, n), i);
		}
		for (size_t at = 0; at < n; at++) {
			memcpy(text, names[i], n + 1);
			text[at] = text[at] == 'q' ? 'j' : 'q';
			assert_int_equal(id_of(text, n), FIELD_OTHER);
			text[at] = (char)(names[i][at] | 0x80);
			assert_int_equal(id_of(text, n), FIELD_OTHER);
			memcpy(text, names[i], at);
			text[at] = '\0';
			if (!is_name(text))
				assert_int_equal(id_of(text, at), FIELD_OTHER);
		}
		memcpy(text, names[i], n);
		memcpy(text + n, "s", 2);
		assert_int_equal(id_of(text, n + 1), is_name(text) ? id_of(text, n + 1) : FIELD_OTHER);
	}
	assert_int_equal(id_of("", 0), FIELD_OTHER);
	assert_int_equal(id_of("t", 1), FIELD_OTHER);
}

static void lengths(void **state)
{
	char line[80];

	for (unsigned c = 0; c < 256; c++) {
		bool inside = c > ' ' && c < 0x7f && c != ':';
		for (size_t at = 0; at < 40; at++) {
			for (size_t n = at + 1; n < 60; n += 7) {
				char *exact = malloc(n);
				memset(line, 'x', sizeof(line));
				line[at] = (char)c;
				memcpy(exact, line, n);
				assert_int_equal(field_name_length(slice_make(exact, n)), inside ? n : at);
				free(exact);
			}
		}
	}
	assert_int_equal(field_name_length(SLICE_NULL), 0);
}

static void sets(void **state)
{
	static const struct field fields[] = {
		{ .name = { "X-Unknown", 9 } }, { .name = { "TO", 2 } }, { .name = { "to", 2 } }, { .name = { "Message-Id", 10 } },
	};
	struct field_set set;

	field_set_read(&set, fields, 4);
	assert_ptr_equal(set.first[FIELD_TO], &fields[1]);
	assert_ptr_equal(set.first[FIELD_MESSAGE_ID], &fields[3]);
	assert_null(set.first[FIELD_FROM]);
	assert_null(set.first[FIELD_OTHER]);
}

UNIT_MAIN(T(known_and_unknown), T(lengths), T(sets))
