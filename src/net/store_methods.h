/*
 * What a kind of store has to bring; store.c chooses one and passes on.
 */
#ifndef SPURN_NET_STORE_METHODS_H
#define SPURN_NET_STORE_METHODS_H

#include "net/store.h"

struct store_methods {
	void (*close)(struct store *s);
	bool (*flush)(struct store *s);
	enum store_status (*put)(struct store *s, enum store_table t, const struct store_key *key,
		const struct store_value *value);
	enum store_status (*delete)(struct store *s, enum store_table t, const struct store_key *key);
	enum store_status (*get)(struct store *s, enum store_table t, const struct store_key *key,
		struct store_value *out);
	enum store_status (*claim)(struct store *s, enum store_table t, const struct store_key *key,
		const struct store_value *value, bool *won, struct store_value *existing);
	void (*each)(struct store *s, enum store_table t,
		bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg);
	void (*stats)(struct store *s, struct store_stats *out);
};

struct store {
	const struct store_methods *methods;
	uint8_t secret[16];
};

#endif
