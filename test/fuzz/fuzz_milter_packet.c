/*
 * Responses and options of the milter protocol: the first octet chooses which, the rest is its data. What is
 * believed can stand in a header section, or is a refusal; what is not leaves no trace.
 */
#include "wire/milter_packet.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_name(struct slice name)
{
	BUG_ON(name.n == 0);
	for (size_t i = 0; i < name.n; i++)
		BUG_ON(name.p[i] <= ' ' || name.p[i] >= 127 || name.p[i] == ':');
}

static void try_options(struct slice data)
{
	static const struct milter_options offered = { .version = 6, .actions = 0x131, .steps = 0x1ff7ff };
	struct milter_options o = { .version = 77 };
	const char *why = NULL;

	if (!milter_options_parse(&o, data, &offered, &why)) {
		BUG_ON(!why || o.version != 77);
		return;
	}
	BUG_ON(o.version < 2 || o.version > 6 || (o.actions & ~offered.actions) || (o.steps & ~offered.steps));
	for (int i = 0; i < MILTER_STAGES; i++)
		BUG_ON(o.macros[i].n > 0 && memchr(o.macros[i].p, '\0', o.macros[i].n));
}

static void try_response(char word, struct slice data)
{
	struct milter_response r = { .word = '!' };
	struct arena a = ARENA_INIT;
	const char *why = NULL;

	if (!milter_response_parse(&r, word, data, &a, &why)) {
		BUG_ON(!why || r.word != '!');
	} else {
		BUG_ON(strchr("+-2eO", word));
		if (word == 'h' || word == 'i' || word == 'm') {
			check_name(r.name);
			BUG_ON(r.value.n > 0 && memchr(r.value.p, '\0', r.value.n));
		}
		BUG_ON(word == 'y' && (r.reply.code < 400 || r.reply.code > 599));
	}
	arena_drop(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice data = slice_make((const char *)bytes + 1, n > 0 ? n - 1 : 0);
	size_t length;
	char word;
	const char *why;

	if (n == 0)
		return 0;
	if (bytes[0] == 'O')
		try_options(data);
	else
		try_response((char)bytes[0], data);
	if (n >= MILTER_HEAD && milter_head_parse(slice_make((const char *)bytes, MILTER_HEAD), &word, &length, &why))
		BUG_ON(length > MILTER_PACKET_MOST);
	return 0;
}
