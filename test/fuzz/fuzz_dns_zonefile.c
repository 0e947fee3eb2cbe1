/*
 * Master files: what is read must be data that reads as what its type promises.
 */
#include "base/log.h"
#include "wire/dns_zonefile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool take(void *arg, const struct zonefile_record *r, const char **why)
{
	struct arena a = ARENA_INIT;
	struct dns_record record;
	struct dns_name name;
	size_t at = 0;

	BUG_ON(!dns_name_unpack(&name, dns_name_slice(&r->owner), &at) || at != r->owner.n);
	BUG_ON(r->ttl > INT32_MAX || r->rdata.n > 65535 || (r->ignored && r->rdata.n > 0));
	BUG_ON(!r->ignored && !dns_rdata_parse(&record, &a, r->rdata, 0, r->rdata.n, r->type));
	arena_drop(&a);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	const char *why = NULL;
	unsigned line = 0, lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += bytes[i] == '\n';
	if (!dns_zonefile_parse(text, &a, take, NULL, &line, &why))
		BUG_ON(!why || line == 0 || line > lines);
	arena_drop(&a);
	return 0;
}
