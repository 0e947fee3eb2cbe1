/*
 * Configurations: any text is a tree or a list of mistakes, never both silent.
 */
#include "base/log.h"
#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void say(void *arg, const char *message)
{
	unsigned *errors = arg;

	BUG_ON(message[0] == '\0');
	*errors += strstr(message, "error: ") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	unsigned errors = 0;
	struct config *c;

	/* Files are not what is tested, and their names could be those of devices. */
	if (slice_search(text, SLICE("include")) >= 0 || slice_search(text, SLICE("file")) >= 0)
		return 0;
	c = config_parse("conf", text, say, &errors);
	BUG_ON(!c && errors == 0);
	if (!c)
		return 0;
	BUG_ON(!c->hostname || c->listener_count == 0 || c->workers == 0);
	for (size_t i = 0; i < c->domain_count; i++)
		BUG_ON(!c->domains[i].backend || c->domains[i].backend->host_count == 0 ||
			config_domain(c, slice_of(c->domains[i].name)) != &c->domains[i]);
	config_unref(c);
	return 0;
}
