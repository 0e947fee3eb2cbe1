/*
 * The keys of bounce proofs: one small text file each, the same on every node of a site.
 *
 *   # a comment
 *   version 1
 *   id 3                            one digit: it stands in each tag and header made with the key
 *   created 2026-11-23T07:47:10Z
 *   from    2026-11-23T07:47:10Z    makes proofs from then on: copy the file to all nodes before
 *   retired 2027-02-01T00:00:00Z    makes none any more (absent: not retired)
 *   until   2027-02-16T00:00:00Z    what it made is believed until then (absent: without end)
 *   secret  BASE64                  32 octets
 *
 * Of all keys the one whose `from` came last makes proofs; every one that is not over verifies them. So a
 * new key and a retired one overlap for as long as a bounce may take. Nothing else is shared between nodes: what one has
 * made another proves.
 *
 * Rejected: a passphrase in the configuration (weak, and in every backup and ticket); one file for all keys
 * (a node with half of a copied file would lose them all).
 */
#ifndef SPURN_CHECK_PROOF_KEY_H
#define SPURN_CHECK_PROOF_KEY_H

#include "base/str.h"

#include <time.h>

#define PROOF_SECRET 32u	/* octets */
#define PROOF_KEYS_MAX 10u	/* identifiers are digits */
#define PROOF_KEY_FILE_MAX 4096u

struct proof_key {
	char id;			/* '0' to '9' */
	time_t created, from;
	time_t retired, until;		/* 0: not said */
	uint8_t secret[PROOF_SECRET];
	uint8_t tag_secret[32], trace_secret[32];	/* derived: what leaks of one says nothing of the other */
	char fingerprint[9];		/* eight hexadecimal digits, to compare nodes by */
	const char *path;		/* NULL: not from a file */
};

struct proof_keys {
	struct proof_key keys[PROOF_KEYS_MAX];	/* by their identifiers */
	uint32_t count;
};

/* What is wrong with a key file, and where (from 1; line 0: the file as a whole). */
struct proof_key_error {
	uint32_t line, column, length;
	const char *why;
};

/* One key from the text of its file. false and *error; *out is untouched then. */
bool proof_key_parse(struct proof_key *out, struct slice text, struct proof_key_error *error);
/* The text of its file. */
void proof_key_write(struct str *out, const struct proof_key *key);
/* A new secret; times and identifier are the caller's. */
void proof_key_make(struct proof_key *out, char id, time_t created, time_t from);

/* All files DIR/?*.key. Each mistake is said through say(path, text of the file or empty, error); files that others can write, or
 * that everybody can read, are mistakes. false: there was one. Strings go into `a`. */
bool proof_keys_load(struct proof_keys *out, struct arena *a, const char *dir,
	void (*say)(void *arg, const char *path, struct slice text, const struct proof_key_error *error), void *arg);

/* What is wrong with the rights of a file that holds a secret; NULL: nothing. One that others can write proves what they like, one
 * that everybody reads is none. */
struct stat;
const char *secret_file_unsafe(const struct stat *st);

/* The key that makes proofs now; NULL: none. */
const struct proof_key *proof_keys_signing(const struct proof_keys *keys, time_t now);
/* The key of an identifier, over or not; NULL: not ours. */
const struct proof_key *proof_keys_find(const struct proof_keys *keys, char id);
/* Whether what it made is still believed. */
bool proof_key_is_valid(const struct proof_key *key, time_t now);

/* "2026-11-23T07:47:10Z" (RFC 3339, UTC, whole seconds). */
void proof_time_write(time_t t, char out[21]);
bool proof_time_parse(struct slice text, time_t *out);

#endif
