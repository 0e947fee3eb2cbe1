/*
 * Authentication-Results: slices are of the input or taken from it, the limits hold, a field that was read names its own server,
 * and what is written with the strings of the input is read again as it was meant.
 */
#include "wire/authres.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_read(const struct authres *said, size_t n)
{
	size_t results = 0, properties = 0;

	for (const struct authres_result *r = said->results; r; r = r->next) {
		BUG_ON(r->method.n == 0 || r->result.n == 0 || r->method.n > n || r->reason.n > n);
		results++;
		for (const struct authres_property *p = r->properties; p; p = p->next) {
			BUG_ON(p->type.n == 0 || p->name.n == 0 || p->value.n > n);
			properties++;
		}
	}
	BUG_ON(results != said->count || results > AUTHRES_MAX_RESULTS || properties > AUTHRES_MAX_PROPERTIES);
}

/* A stranger's octets as domain, selector and reason: three results of ours come out, and no fourth. */
static void check_written(struct arena *a, struct slice text)
{
	struct dkim_facts signature = { .result = RESULT_FAIL, .domain = text, .selector = text, .identity = text,
		.signature_start = text, .reason = slice_cstr(a, text) };
	struct auth_facts auth = { .dkim_asked = true, .dkim = &signature,
		.spf = { .asked = true, .result = RESULT_PASS, .domain = text },
		.dmarc = { .asked = true, .result = RESULT_FAIL, .policy = 'r', .from_domain = text } };
	struct str field = STR_IN(a);
	struct authres said;
	const char *why;

	authres_write_value(&field, "mx.example.org", &auth, NULL);
	BUG_ON(!authres_parse(&said, a, str_slice(&field), &why) || said.count != 3);
	BUG_ON(!slice_eq(said.results->method, SLICE("spf")) || !slice_eq(said.results->next->result, SLICE("fail")));
	BUG_ON(!authres_names(str_slice(&field), SLICE("MX.example.org")));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	struct authres said;
	const char *why = NULL;

	if (authres_parse(&said, &a, text, &why)) {
		struct slice name = domain_canonical(&a, said.server);

		check_read(&said, n);
		if (name.n > 0 && slice_find(name, '/') < 0)
			BUG_ON(!authres_names(text, name));
	} else {
		BUG_ON(!why);
	}
	check_written(&a, text);
	arena_drop(&a);
	return 0;
}
