/* Keys of bounce proofs: the file, its mistakes and rights, and which of several is used. */
#include "unit.h"

#include "check/proof_key.h"

#include <stdio.h>
#include <sys/stat.h>

#define GOOD "version 1\nid 3\nfrom 2026-11-23T07:47:10Z\nsecret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

static char dir[64];
static struct arena arena;
static struct str said;

static void hear(void *arg, const char *path, struct slice text, const struct proof_key_error *error)
{
	const char *name = strrchr(path, '/');

	(void)arg;
	(void)text;
	str_printf(&said, "%s:%u:%u: %s\n", name ? name + 1 : path, error->line, error->column, error->why);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/spurn-keys-XXXXXX");
	said = STR_IN(&arena);
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r '%s'", dir);
	arena_drop(&arena);
	return system(command);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void a_key_reads_what_it_writes(void **state)
{
	struct proof_key key, again;
	struct proof_key_error error;
	struct str text = STR_IN(&arena);

	(void)state;
	proof_key_make(&key, '7', 1795420030, 1795423630);
	key.retired = 1795500000;
	key.until = 1796800000;
	proof_key_write(&text, &key);
	assert_true(proof_key_parse(&again, str_slice(&text), &error));
	assert_memory_equal(&again, &key, sizeof(key));
	proof_key_make(&again, '7', 1795420030, 1795423630);
	assert_memory_not_equal(again.secret, key.secret, sizeof(key.secret));
	assert_memory_not_equal(again.tag_secret, again.trace_secret, 32);
}

static void a_mistake_has_a_place(void **state)
{
	static const struct { const char *text; uint32_t line, column; const char *why; } cases[] = {
		{ "version 2\n", 1, 9, "version 1" },
		{ "version 1\nid 12\n", 2, 4, "one digit" },
		{ "version 1\n\n  id  x\n", 3, 7, "one digit" },
		{ "version 1\nid 3\nfrom 2026-02-30T00:00:00Z\n", 3, 6, "a time is written" },
		{ "version 1\nid 3\nfrom 2026-02-20\n", 3, 6, "a time is written" },
		{ "version 1\nunitl 2026-02-20T00:00:00Z\n", 2, 1, "is wanted" },
		{ "version 1\nversion 1\n", 2, 1, "twice" },
		{ "version\n", 1, 1, "no value" },
		{ "version 1 2\n", 1, 11, "one value" },
		{ "secret AAAA\n", 1, 8, "32 octets" },
		{ "version 1\nid 3\n", 0, 0, "secret is missing" },
		{ "", 0, 0, "version is missing" },
		{ GOOD "retired 2026-11-24T07:47:10Z\n", 0, 0, "until is missing" },
	};
	struct proof_key key;
	struct proof_key_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_false(proof_key_parse(&key, slice_of(cases[i].text), &error));
		assert_int_equal(error.line, cases[i].line);
		assert_int_equal(error.column, cases[i].column);
		assert_non_null(strstr(error.why, cases[i].why));
	}
	assert_true(proof_key_parse(&key, SLICE(GOOD), &error));
	assert_true(proof_key_parse(&key, SLICE("# x\r\nid 3\r\nversion 1\r\nfrom 2026-11-23T07:47:10Z\r\n"
		"secret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n"), &error));
	assert_int_equal(key.id, '3');
	assert_int_equal(key.from, 1795420030);
}

static void a_directory_is_read_and_looked_at(void **state)
{
	struct proof_keys keys;

	(void)state;
	write_file("3.key", GOOD, 0600);
	write_file("notes.txt", "not a key", 0644);
	assert_true(proof_keys_load(&keys, &arena, dir, hear, NULL));
	assert_int_equal(keys.count, 1);
	write_file("a.key", "version 1\nid 0\nfrom 2026-11-23T07:47:10Z\n"
		"secret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", 0640);
	assert_true(proof_keys_load(&keys, &arena, dir, hear, NULL));
	assert_int_equal(keys.count, 2);
	assert_int_equal(keys.keys[0].id, '0');
	write_file("b.key", "version 1\nid 0\nfrom never\n", 0600);
	write_file("c.key", GOOD, 0600);
	write_file("d.key", GOOD, 0644);
	write_file("e.key", GOOD, 0620);
	assert_false(proof_keys_load(&keys, &arena, dir, hear, NULL));
	assert_non_null(strstr(str_cstr(&said), "b.key:3:6: a time is written"));
	assert_non_null(strstr(str_cstr(&said), "c.key:0:0: id 3 is that of"));
	assert_non_null(strstr(str_cstr(&said), "d.key:0:0: everybody can read it"));
	assert_non_null(strstr(str_cstr(&said), "e.key:0:0: others than its owner can write it"));
	assert_false(proof_keys_load(&keys, &arena, "/nonexistent", hear, NULL));
	assert_int_equal(keys.count, 0);
}

static void keys_overlap(void **state)
{
	struct proof_keys keys = { .count = 2 };
	struct proof_key *old = &keys.keys[0], *new = &keys.keys[1];

	(void)state;
	proof_key_make(old, '1', 1000, 1000);
	proof_key_make(new, '2', 2000, 3000);
	assert_null(proof_keys_signing(&keys, 999));
	assert_ptr_equal(proof_keys_signing(&keys, 1000), old);
	/* Made, copied to all nodes, and only then used. */
	assert_ptr_equal(proof_keys_signing(&keys, 2999), old);
	assert_ptr_equal(proof_keys_signing(&keys, 3000), new);
	old->retired = 3000;
	old->until = 5000;
	assert_true(proof_key_is_valid(old, 4999));
	assert_false(proof_key_is_valid(old, 5000));
	assert_true(proof_key_is_valid(new, 1 << 30));
	new->retired = 4000;
	new->until = 6000;
	assert_ptr_equal(proof_keys_signing(&keys, 3999), new);
	assert_null(proof_keys_signing(&keys, 4000));
	assert_ptr_equal(proof_keys_find(&keys, '2'), new);
	assert_null(proof_keys_find(&keys, '3'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_reads_what_it_writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_mistake_has_a_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directory_is_read_and_looked_at, set_up, tear_down),
		cmocka_unit_test(keys_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
