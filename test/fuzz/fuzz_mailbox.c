/*
 * Mailboxes: an address that was read is read again from itself, alone and unchanged, has one "@" outside of quotes where the
 * slices say, and no more are kept than asked for.
 *
 * First octet: how many are kept at most.
 */
#include "wire/mailbox.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_mailbox(struct arena *a, const struct mailbox *m)
{
	struct mailbox_list again;
	const char *why;

	BUG_ON(m->local.n == 0 || m->domain.n == 0 || m->address.n != m->local.n + m->domain.n + 1);
	BUG_ON(m->address.p[m->local.n] != '@');
	BUG_ON(!mailbox_list_parse(a, m->address, 2, &again, &why));
	BUG_ON(again.count != 1 || again.groups != 0 || !slice_eq(again.first->address, m->address));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct mailbox_list list;
	const char *why = NULL;
	size_t kept = 0;

	if (n == 0)
		return 0;
	BUG_ON(!mailbox_list_parse(&a, slice_make((const char *)bytes + 1, n - 1), bytes[0] % 8, &list, &why) && !why);
	for (const struct mailbox *m = list.first; m; m = m->next) {
		check_mailbox(&a, m);
		kept++;
	}
	BUG_ON(kept != (list.count < bytes[0] % 8u ? list.count : bytes[0] % 8u));
	arena_drop(&a);
	return 0;
}
