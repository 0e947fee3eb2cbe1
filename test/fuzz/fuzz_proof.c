/*
 * Tags, traces and SRS addresses as strangers write them: nothing that we did not make is valid, and what we make is, however its letters
 * are cased.
 *
 * First octet: 0 a tagged or rewritten address, 1 the value of a Spurn-Sent field, 2 a sender to be tagged.
 */
#include "check/proof.h"

#include "base/log.h"

#define NOW (20780 * (time_t)86400)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct proof_keys keys;

static void set_up(void)
{
	static const char file[] = "version 1\nid 4\nfrom 2020-01-01T00:00:00Z\n"
		"secret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
	struct proof_key_error error;

	BUG_ON(!proof_key_parse(&keys.keys[0], slice_of(file), &error));
	keys.count = 1;
}

static bool form_of(struct arena *a, struct slice text, struct path *p, struct address_form *form)
{
	struct str line = STR_IN(a);
	struct slice rest;
	const char *why;

	str_addc(&line, '<');
	str_add(&line, text);
	str_addc(&line, '>');
	rest = str_slice(&line);
	return path_parse(p, &rest, true, &why) && rest.n == 0 && !p->null && address_form(a, p, SLICE("+"), form);
}

static void check_address(struct arena *a, struct slice text)
{
	struct srs_secrets secrets;
	struct address_form form;
	struct path p;

	srs_secrets_parse(&secrets, SLICE("tops3cret\n"));
	if (!form_of(a, text, &p, &form))
		return;
	/* 24 bits: a fuzzer might find one in the end; what it must not find is a crash. */
	proof_tag_check(&keys, form.tag_text, form.canonical, 14, NOW);
	srs_check(&secrets, &form, NOW);
}

static void check_trace(struct arena *a, struct slice value)
{
	struct slice id = SLICE("<1@example.org>"), sender = SLICE("bob@example.org");
	struct slice ours = proof_trace_make(a, &keys, sender, id, NOW);
	time_t sent = 0;

	BUG_ON(proof_trace_check(&keys, ours, sender, id, 14, NOW, &sent) != PROOF_VALID);
	/* 128 bits: nobody finds one. */
	BUG_ON(proof_trace_check(&keys, value, sender, value, 14, NOW, &sent) == PROOF_VALID);
}

static void check_sender(struct arena *a, struct slice text)
{
	struct address_form form, back;
	struct path p, tagged_path;
	struct slice tagged;

	if (!form_of(a, text, &p, &form))
		return;
	tagged = proof_tag_make(a, &keys, &p, form.canonical, 14, NOW);
	if (tagged.n == 0)
		return;
	BUG_ON(tagged.n > PROOF_PATH_MAX);
	BUG_ON(!form_of(a, slice_lower(a, tagged), &tagged_path, &back));
	BUG_ON(back.tag != ADDRESS_TAG_PRVS || !slice_eq(back.canonical, form.canonical));
	BUG_ON(proof_tag_check(&keys, back.tag_text, back.canonical, 14, NOW) != PROOF_VALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct slice rest;

	if (n < 1)
		return 0;
	if (keys.count == 0)
		set_up();
	rest = slice_make((const char *)bytes + 1, n - 1);
	if (bytes[0] % 3 == 0)
		check_address(&a, rest);
	else if (bytes[0] % 3 == 1)
		check_trace(&a, rest);
	else
		check_sender(&a, rest);
	arena_drop(&a);
	return 0;
}
