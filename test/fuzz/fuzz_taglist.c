/* Tag lists: slices lie in the input, names differ, and a list put together again from its parts reads the same. */
#include "wire/taglist.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_items(struct slice value)
{
	size_t colons = 0, items = 0, all = value.n;

	for (size_t i = 0; i < value.n; i++)
		colons += value.p[i] == ':';
	while (value.p) {
		struct slice item = taglist_item(&value);
		BUG_ON(item.n > all || slice_find(item, ':') >= 0);
		items++;
	}
	BUG_ON(items != colons + 1);
}

static void check_tags(struct arena *a, const struct taglist *list, struct slice text)
{
	struct str again = STR_IN(a);
	struct taglist second;
	struct slice octets = SLICE("untouched");
	const char *why;

	BUG_ON(list->count == 0 || list->count > TAGLIST_MAX_TAGS);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct tag *t = &list->tags[i];
		BUG_ON(t->name.p < text.p || t->raw.p + t->raw.n > text.p + text.n);
		BUG_ON(t->value.n > t->raw.n || slice_find(t->raw, ';') >= 0);
		BUG_ON(taglist_find(list, t->name) != t);
		check_items(t->value);
		if (!taglist_base64(a, t->value, &octets))
			BUG_ON(!slice_eq(octets, SLICE("untouched")));
		else
			BUG_ON(octets.n == 0 || octets.n > t->value.n);
		octets = SLICE("untouched");
		str_add(&again, t->name);
		str_addc(&again, '=');
		str_add(&again, t->raw);
		str_addc(&again, ';');
	}
	BUG_ON(!taglist_parse(&second, a, str_slice(&again), &why) || second.count != list->count);
	for (uint32_t i = 0; i < list->count; i++)
		BUG_ON(!slice_eq(second.tags[i].value, list->tags[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice text = slice_make((const char *)bytes, n);
	struct taglist list;
	const char *why = NULL;

	if (taglist_parse(&list, &a, text, &why))
		check_tags(&a, &list, text);
	else
		BUG_ON(!why);
	arena_drop(&a);
	return 0;
}
