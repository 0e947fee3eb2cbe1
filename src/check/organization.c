/*
 * The public suffix list of the machine, or the one inside libpsl if that is newer: distributions keep it up to date,
 * we would not. It is read once; the process that has it open keeps it.
 */
#include "check/organization.h"

#include <libpsl.h>

#define NAME_OCTETS 255u

static const psl_ctx_t *list(void)
{
	static const psl_ctx_t *suffixes;

	if (!suffixes)
		suffixes = psl_latest(NULL);
	if (!suffixes)
		suffixes = psl_builtin();
	return suffixes;
}

void organization_prepare(void)
{
	list();
}

struct slice organization_registered(struct slice domain)
{
	const char *registered;
	char name[NAME_OCTETS + 1];

	if (domain.n == 0 || domain.n > NAME_OCTETS || memchr(domain.p, '\0', domain.n) || !list())
		return SLICE_NULL;
	memcpy(name, domain.p, domain.n);
	name[domain.n] = '\0';
	registered = psl_registrable_domain(list(), name);
	return registered ? slice_from(domain, (size_t)(registered - name)) : SLICE_NULL;
}

struct slice organization_of(struct slice domain)
{
	struct slice registered = organization_registered(domain);

	return registered.n > 0 ? registered : domain;
}
