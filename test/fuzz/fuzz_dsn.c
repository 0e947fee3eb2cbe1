/*
 * Fields of reports: bounded in number, and what is read stands in the text.
 */
#include "wire/dsn.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice text = slice_make((const char *)bytes, n), address;
	struct dsn d;
	uint32_t count = 0;

	dsn_read(&a, text, &d);
	for (const struct dsn_recipient *r = d.recipients; r; r = r->next) {
		count++;
		BUG_ON(r->final.n > n + 3 || r->diagnostic.n > n);
		BUG_ON(r->status.n > 0 && (r->status.n < 5 || r->status.n > 9 || r->status.p[1] != '.'));
		for (size_t i = 0; i < r->action.n; i++)
			BUG_ON(r->action.p[i] != '-' && (r->action.p[i] < 'a' || r->action.p[i] > 'z'));
	}
	BUG_ON(count != d.count || count > DSN_RECIPIENTS_MAX || d.fields > DSN_FIELDS_MAX);
	address = dsn_address(&a, text);
	BUG_ON(address.n > n);
	dsn_status(text);
	arena_drop(&a);
	return 0;
}
