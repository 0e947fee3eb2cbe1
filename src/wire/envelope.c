/*
 * Names of the envelope's enums, and its list of findings.
 *
 * The lists in the header print themselves (X macros), so a record never shows a number that nobody can
 * read and a new check cannot be without a name. Findings are a singly linked list in the order in
 * which they were made: a transaction has a handful, the verdict reads them all, and a check only
 * ever adds. Rejected: an array indexed by check (DNSBL and the content scanners make several
 * findings each).
 */
#include "wire/envelope.h"

#include "base/log.h"

static const char *const check_names[CHECK_COUNT] = {
#define X(id, name) [CHECK_##id] = name,
	CHECKS(X)
#undef X
};

static const char *const result_names[RESULT_COUNT] = {
#define X(id, name) [RESULT_##id] = name,
	RESULTS(X)
#undef X
};

const char *check_name(enum check c)
{
	BUG_ON((unsigned)c >= CHECK_COUNT);
	return check_names[c];
}

const char *result_name(enum result r)
{
	BUG_ON((unsigned)r >= RESULT_COUNT);
	return result_names[r];
}

const char *disposition_name(enum disposition d)
{
	switch (d) {
	case DISPOSITION_ACCEPT: return "accept";
	case DISPOSITION_MARK: return "mark";
	case DISPOSITION_DEFER: return "defer";
	case DISPOSITION_REJECT: return "reject";
	case DISPOSITION_DESTROY: return "destroy";
	}
	BUG_ON(true);
	return "";
}

const char *check_mode_name(enum check_mode m)
{
	switch (m) {
	case MODE_OFF: return "off";
	case MODE_OBSERVE: return "observe";
	case MODE_ENFORCE: return "enforce";
	}
	BUG_ON(true);
	return "";
}

struct finding *finding_add(struct findings *list, struct arena *a, enum check check,
	enum result result, const char *reason)
{
	struct finding *f = arena_new(a, struct finding);

	f->check = check;
	f->result = result;
	f->reason = reason;
	if (!list->last)
		list->last = &list->first;
	*list->last = f;
	list->last = &f->next;
	return f;
}

void findings_join(struct findings *to, const struct findings *from)
{
	if (!from->first)
		return;
	*(to->last ? to->last : &to->first) = from->first;
	to->last = from->last;
}

struct finding *finding_of(const struct findings *list, enum check check)
{
	struct finding *f = list->first;

	while (f && f->check != check)
		f = f->next;
	return f;
}
