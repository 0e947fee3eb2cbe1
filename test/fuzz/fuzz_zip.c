/* ZIP names: the pieces that the octets come in make no difference, and names are bounded. */
#include "wire/zip.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct told {
	uint64_t sum;
	uint32_t count;
};

static void on_name(void *arg, struct slice name, bool locked)
{
	struct told *t = arg;

	BUG_ON(name.n == 0 || name.n > ZIP_NAME_MOST);
	for (size_t i = 0; i < name.n; i++)
		t->sum = t->sum * 31 + (uint8_t)name.p[i];
	t->sum += locked;
	t->count++;
}

static struct told read_all(struct slice s, size_t piece)
{
	struct told t = { 0 };
	struct zip z;

	zip_begin(&z, on_name, &t);
	for (; s.n > 0; s = slice_from(s, piece))
		zip_push(&z, slice_head(s, piece));
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice s = slice_make((const char *)bytes, n);
	struct told whole = read_all(s, n + 1), parts = read_all(s, 1 + (n > 0 ? bytes[0] % 7u : 0));

	BUG_ON(whole.sum != parts.sum || whole.count != parts.count || whole.count > ZIP_NAMES_MOST);
	return 0;
}
