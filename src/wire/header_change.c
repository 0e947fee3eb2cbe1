/*
 * Changes of a header section: a list, and the section as it will be with them.
 *
 * The message is not rewritten for the sake of one line: what is sent is composed when it is sent. Who must know before that
 * how it will look (signing) gets it composed and read again, which happens only where there are changes.
 */
#include "wire/envelope.h"
#include "wire/message.h"

void header_change_add(struct header_changes *list, struct arena *a, enum header_change_kind kind, uint32_t field,
	struct slice text)
{
	struct header_change *c = arena_new(a, struct header_change);

	*c = (struct header_change){ .kind = kind, .field = field, .text = text };
	*(list->last ? list->last : &list->first) = c;
	list->last = &c->next;
}

/* Changes of one kind, in their order; of INSERT, REMOVE and REPLACE those of one field. Returns whether there were any. */
static bool add_changes(struct str *out, const struct header_changes *changes, enum header_change_kind kind, uint32_t field)
{
	bool any = false;

	for (const struct header_change *c = changes->first; c; c = c->next) {
		if (c->kind != kind || (kind != HEADER_PREPEND && kind != HEADER_APPEND && c->field != field))
			continue;
		str_add(out, c->text);
		any = true;
	}
	return any;
}

const struct header *header_changed(struct arena *a, const struct header *h, const struct header_changes *changes)
{
	struct header *changed;
	struct str text = STR_IN(a);

	if (!changes->first)
		return h;
	add_changes(&text, changes, HEADER_PREPEND, 0);
	for (uint32_t i = 0; i < h->count; i++) {
		add_changes(&text, changes, HEADER_INSERT, i);
		if (!add_changes(&text, changes, HEADER_REPLACE, i) && !add_changes(&text, changes, HEADER_REMOVE, i))
			str_add(&text, h->fields[i].raw);
	}
	add_changes(&text, changes, HEADER_APPEND, 0);
	changed = arena_alloc(a, sizeof(*changed));
	header_init(changed, a, UINT32_MAX, UINT32_MAX);
	header_push(changed, str_slice(&text));
	header_finish(changed);
	return changed;
}
