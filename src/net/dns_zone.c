/*
 * Zone files: one hash table of names, whatever file they came from.
 *
 * A name that exists only because another exists below it is a node without records (an empty
 * non-terminal, RFC 4592 section 2.2.2), made when the lower one is added. So a look-up is: is there a
 * node of that name? If not, the closest ancestor that has one decides, and a "*" right below it speaks for
 * all that do not exist (RFC 4592 section 3.3.1). The nearest ancestor with an SOA says whether what is
 * missing does not exist or is only not ours to know.
 *
 * There are no referrals: NS records below an SOA are data, and the names below them are
 * answered from the file as well, or do not exist.
 *
 * Rejected: libunbound's local-zone and local-data (no wildcards, no CNAME into the network,
 * frozen with its configuration, and a mistake has no line), its auth-zone (the same, and
 * not to be had through the library).
 */
#include "net/dns_zone.h"

#include "base/table.h"
#include "wire/dns_zonefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (256 * 1024 * 1024)

struct zone_record {
	struct zone_record *next;	/* in the order of the file */
	uint32_t ttl;
	uint16_t type;
	struct slice rdata;
};

struct zone_node {
	struct table_link link;
	struct slice name;		/* on the wire, lower case */
	struct zone_record *records;	/* NULL: an empty non-terminal */
	bool apex;			/* has an SOA */
	uint32_t no_ttl;		/* how long a "no" below it holds */
};

struct dns_zones {
	struct arena arena;
	struct table nodes;
};

/* ---- nodes ---- */

static bool node_match(const struct table_link *link, const void *key)
{
	const struct zone_node *node = container_of(link, struct zone_node, link);

	return slice_eq(node->name, *(const struct slice *)key);
}

static struct zone_node *node_find(const struct dns_zones *z, struct slice name)
{
	struct table_link *link = table_find(&z->nodes, hash_bytes(name.p, name.n), node_match, &name);

	return link ? container_of(link, struct zone_node, link) : NULL;
}

/* The node of a name, made if need be, its ancestors as well. */
static struct zone_node *node_make(struct dns_zones *z, struct slice name)
{
	struct zone_node *first = NULL, *node;

	while (!(node = node_find(z, name))) {
		node = arena_new(&z->arena, struct zone_node);
		node->name = slice_copy(&z->arena, name);
		table_add(&z->nodes, &node->link, hash_bytes(name.p, name.n));
		if (!first)
			first = node;
		if (name.n == 1)
			break;
		name = dns_name_parent(name);
	}
	return first ? first : node;
}

static const struct zone_node *apex_above(const struct dns_zones *z, struct slice name)
{
	for (;;) {
		const struct zone_node *node = node_find(z, name);

		if (node && node->apex)
			return node;
		if (name.n == 1)
			return NULL;
		name = dns_name_parent(name);
	}
}

/* What speaks for a name that has no node: "*" below the closest ancestor that has one. */
static const struct zone_node *wildcard_for(const struct dns_zones *z, struct slice name)
{
	char star[DNS_NAME_MAX + 1] = { 1, '*' };

	do {
		if (name.n == 1)
			return NULL;
		name = dns_name_parent(name);
	} while (!node_find(z, name));
	memcpy(star + 2, name.p, name.n);	/* at most as long as the name asked for */
	return node_find(z, slice_make(star, name.n + 2));
}

/* ---- loading ---- */

static bool record_fits(const struct zone_node *node, const struct zonefile_record *r, bool *known, const char **why)
{
	*known = false;
	for (const struct zone_record *have = node->records; have; have = have->next) {
		if (have->type == r->type && slice_eq(have->rdata, r->rdata)) {
			*known = true;
			return true;
		}
		if (have->type == DNS_SOA && r->type == DNS_SOA) {
			*why = "a second SOA of this name";
			return false;
		}
		if (have->type == DNS_CNAME || r->type == DNS_CNAME) {	/* RFC 1034 section 3.6.2 */
			*why = "CNAME beside other records of this name";
			return false;
		}
	}
	return true;
}

/* Of a "no": the SOA's TTL or its MINIMUM, whichever is less. (RFC 2308 section 5) */
static void apex_set(struct zone_node *node, const struct zonefile_record *soa)
{
	const uint8_t *p = (const uint8_t *)soa->rdata.p + soa->rdata.n - 4;
	uint32_t minimum = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];

	node->apex = true;
	node->no_ttl = minimum < soa->ttl ? minimum : soa->ttl;
}

static bool record_add(void *arg, const struct zonefile_record *r, const char **why)
{
	struct dns_zones *z = arg;
	struct dns_name owner = r->owner;
	struct zone_node *node;
	struct zone_record **at;
	bool known;

	dns_name_lower(&owner);
	node = node_make(z, dns_name_slice(&owner));
	if (r->ignored)
		return true;
	if (!record_fits(node, r, &known, why))
		return false;
	if (known)
		return true;
	for (at = &node->records; *at; at = &(*at)->next)
		;
	*at = arena_new(&z->arena, struct zone_record);
	**at = (struct zone_record){ .ttl = r->ttl, .type = r->type, .rdata = slice_copy(&z->arena, r->rdata) };
	if (r->type == DNS_SOA)
		apex_set(node, r);
	return true;
}

static bool file_read(struct arena *a, int fd, struct slice *text, const char **why)
{
	struct stat st;
	char *p;
	size_t n = 0;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		*why = "no regular file of less than 256 MiB";
		return false;
	}
	p = arena_alloc(a, (size_t)st.st_size + 1);
	while (n < (size_t)st.st_size) {
		ssize_t got = read(fd, p + n, (size_t)st.st_size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			*why = got < 0 ? strerror(errno) : "file changed while it was read";
			return false;
		}
		n += (size_t)got;
	}
	*text = slice_make(p, n);
	return true;
}

static bool file_load(struct dns_zones *z, struct arena *a, const char *path, const char **why)
{
	struct arena scratch = ARENA_INIT;
	const char *what = NULL;
	struct slice text;
	unsigned line = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool good;

	if (fd < 0) {
		*why = arena_printf(a, "%s: %s", path, strerror(errno));
		return false;
	}
	good = file_read(&scratch, fd, &text, &what) &&
		dns_zonefile_parse(text, &scratch, record_add, z, &line, &what);
	close(fd);
	if (!good && line)
		*why = arena_printf(a, "%s:%u: %s", path, line, what);
	else if (!good)
		*why = arena_printf(a, "%s: %s", path, what);
	arena_drop(&scratch);
	return good;
}

struct dns_zones *dns_zone_open(struct arena *a, const char *const *files, size_t count, const char **why)
{
	struct dns_zones *z = calloc(1, sizeof(*z));

	if (!z) {
		*why = "out of memory";
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (!file_load(z, a, files[i], why)) {
			dns_zone_close(z);
			return NULL;
		}
	return z;
}

void dns_zone_close(struct dns_zones *z)
{
	if (!z)
		return;
	table_drop(&z->nodes);
	arena_drop(&z->arena);
	free(z);
}

/* ---- answering ---- */

static bool found(const struct zone_node *node, struct arena *a, enum dns_type type, struct dns_answer *out)
{
	size_t count = 0;

	for (const struct zone_record *r = node->records; r; r = r->next)
		count += r->type == type;
	if (count == 0)
		return false;
	out->status = DNS_FOUND;
	out->ttl = UINT32_MAX;
	out->records = arena_array(a, struct dns_record, count);
	for (const struct zone_record *r = node->records; r; r = r->next) {
		if (r->type != type)
			continue;
		/* The file's parser made it: it can be read. */
		dns_rdata_parse(&out->records[out->count++], a, r->rdata, 0, r->rdata.n, type);
		if (r->ttl < out->ttl)
			out->ttl = r->ttl;
	}
	return true;
}

static bool alias_of(const struct zone_node *node, struct dns_name *alias, uint32_t *ttl)
{
	for (const struct zone_record *r = node->records; r; r = r->next) {
		size_t at = 0;

		if (r->type != DNS_CNAME || !dns_name_unpack(alias, r->rdata, &at))
			continue;
		dns_name_lower(alias);
		*ttl = r->ttl;
		return true;
	}
	return false;
}

enum dns_zone_result dns_zone_ask(const struct dns_zones *z, struct arena *a, const struct dns_name *name,
	enum dns_type type, struct dns_answer *out, struct dns_name *alias)
{
	struct slice wire = dns_name_slice(name);
	const struct zone_node *node, *apex;

	if (z->nodes.count == 0)
		return ZONE_ELSEWHERE;
	node = node_find(z, wire);
	if (!node)
		node = wildcard_for(z, wire);
	*out = (struct dns_answer){ .cached = true };
	if (node && found(node, a, type, out))
		return ZONE_ANSWERED;
	if (node && alias_of(node, alias, &out->ttl))
		return ZONE_ALIAS;
	apex = apex_above(z, wire);
	if (!apex)
		return ZONE_ELSEWHERE;
	out->status = node ? DNS_NODATA : DNS_NXDOMAIN;
	out->ttl = apex->no_ttl;
	return ZONE_ANSWERED;
}
