/* DMARC records: what is read is one of the few policies, and a record that is read is one that is meant as such. */
#include "wire/dmarc_record.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool is_policy(char c)
{
	return c == DMARC_NONE || c == DMARC_QUARANTINE || c == DMARC_REJECT;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	struct dmarc_record r;
	const char *why = NULL;

	if (!dmarc_record_parse(&r, text, &why)) {
		BUG_ON(!why);
		return 0;
	}
	BUG_ON(!dmarc_record_is(text) || !is_policy(r.policy) || !is_policy(r.sub_policy) || !is_policy(r.absent_policy));
	BUG_ON(r.percent > 100 || !strchr("ynu", r.public_suffix));
	return 0;
}
