/*
 * Socketmap: what a server or a client sends, taken as netstrings one after another, as replies and as questions.
 * What is taken lies within its bounds and reads back the same when written.
 */
#include "wire/socketmap_text.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_reply(struct arena *a, struct slice text)
{
	struct str wire = STR_IN(a);
	enum socketmap_status status, again;
	struct slice said, back, taken;
	size_t used;
	const char *why = NULL;

	if (!socketmap_reply_parse(text, &status, &said, &why)) {
		BUG_ON(!why);
		return;
	}
	BUG_ON(said.n > text.n);
	socketmap_reply_write(&wire, status, said);
	BUG_ON(netstring_read(str_slice(&wire), SOCKETMAP_REPLY_MAX, &back, &used, &why) != NETSTRING_DONE);
	BUG_ON(!socketmap_reply_parse(back, &again, &taken, &why));
	BUG_ON(again != status || !slice_eq(taken, slice_head(said, taken.n)));
}

static void check_question(struct arena *a, struct slice text)
{
	struct str wire = STR_IN(a);
	struct slice map, key, back;
	size_t used;
	const char *why = NULL;

	if (!socketmap_question_parse(text, &map, &key, &why)) {
		BUG_ON(!why);
		return;
	}
	BUG_ON(map.n == 0 || key.n == 0 || map.n + 1 + key.n != text.n || slice_find(map, ' ') >= 0);
	socketmap_question_write(&wire, map, key);
	BUG_ON(netstring_read(str_slice(&wire), text.n, &back, &used, &why) != NETSTRING_DONE);
	BUG_ON(!slice_eq(back, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice in = slice_make((const char *)bytes, n), text = SLICE_NULL;
	size_t used = 0;
	const char *why = NULL;

	while (netstring_read(in, SOCKETMAP_REPLY_MAX, &text, &used, &why) == NETSTRING_DONE) {
		BUG_ON(text.n > SOCKETMAP_REPLY_MAX || used > in.n || used <= text.n);
		check_reply(&a, text);
		check_question(&a, text);
		in = slice_from(in, used);
	}
	check_reply(&a, slice_make((const char *)bytes, n));
	check_question(&a, slice_make((const char *)bytes, n));
	arena_drop(&a);
	return 0;
}
