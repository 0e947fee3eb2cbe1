/*
 * Addresses, prefixes, reverse names, sets of prefixes.
 *
 * All are 16 bytes, so one comparison serves both families. The one trap of that: ::/0 as an
 * operator writes it means IPv6, though as bits it covers ::ffff:0:0/96 and with it all of IPv4.
 * So a prefix of fewer than 96 bits never contains an IPv4 address.
 *
 * A set is an array of disjoint ranges, sorted, searched by halves: 20 comparisons of 16
 * bytes for a million prefixes, no pointers, and the loading of a list is one sort.
 * Rejected: a radix trie (faster by little, larger by much); a hash per
 * length of prefix (129 look-ups for a miss).
 */
#include "base/ip.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t v4_head[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->bytes, v4_head, 12) == 0;
}

static void ip_from_v4(struct ip *out, const void *four)
{
	memcpy(out->bytes, v4_head, 12);
	memcpy(out->bytes + 12, four, 4);
}

bool ip_parse(struct ip *out, struct slice text)
{
	char copy[IP_TEXT];
	uint8_t bytes[16];

	if (text.n == 0 || text.n >= sizeof(copy) || slice_find(text, '\0') >= 0)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1) {
		ip_from_v4(out, bytes);
		return true;
	}
	if (inet_pton(AF_INET6, copy, bytes) == 1) {
		memcpy(out->bytes, bytes, 16);
		return true;
	}
	return false;
}

bool ip_from_sockaddr(struct ip *out, uint16_t *port, const struct sockaddr *sa)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		ip_from_v4(out, &in.sin_addr);
		if (port)
			*port = ntohs(in.sin_port);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(out->bytes, &in6.sin6_addr, 16);
		if (port)
			*port = ntohs(in6.sin6_port);
		return true;
	}
	return false;
}

socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *sa)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	memset(sa, 0, sizeof(*sa));
	if (ip_is_v4(ip)) {
		memcpy(&in.sin_addr, ip->bytes + 12, 4);
		memcpy(sa, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, ip->bytes, 16);
	memcpy(sa, &in6, sizeof(in6));
	return sizeof(in6);
}

static char *put_octet(char *p, unsigned value)
{
	if (value >= 100)
		*p++ = (char)('0' + value / 100);
	if (value >= 10)
		*p++ = (char)('0' + value / 10 % 10);
	*p++ = (char)('0' + value % 10);
	return p;
}

static unsigned group_of(const struct ip *ip, int i)
{
	return (unsigned)ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1];
}

/* RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals, is "::". */
static int longest_zeros(const struct ip *ip, int *length)
{
	int start = -1, best = 1;

	for (int i = 0, run = 0; i < 8; i++) {
		run = group_of(ip, i) ? 0 : run + 1;
		if (run > best) {
			best = run;
			start = i - run + 1;
		}
	}
	*length = start >= 0 ? best : 0;
	return start;
}

const char *ip_text(const struct ip *ip, char out[IP_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	int zeros, start;
	char *p = out;

	if (ip_is_v4(ip)) {
		for (int i = 12; i < 16; i++) {
			p = put_octet(p, ip->bytes[i]);
			*p++ = i < 15 ? '.' : '\0';
		}
		return out;
	}
	start = longest_zeros(ip, &zeros);
	for (int i = 0; i < 8; i++) {
		unsigned group = group_of(ip, i);
		if (i == start) {
			*p++ = ':';
			if (start + zeros == 8)
				*p++ = ':';
			i += zeros - 1;
			continue;
		}
		if (i > 0)
			*p++ = ':';
		for (int shift = group > 0xfff ? 12 : group > 0xff ? 8 : group > 0xf ? 4 : 0;
			shift >= 0; shift -= 4)
			*p++ = digits[group >> shift & 15];
	}
	*p = '\0';
	return out;
}

const char *ip_literal(const struct ip *ip, char out[56])
{
	char text[IP_TEXT];

	snprintf(out, 56, ip_is_v4(ip) ? "[%s]" : "[IPv6:%s]", ip_text(ip, text));
	return out;
}

/* ---- prefixes ---- */

/* The address with all bits from `bits` on cleared, or set. */
static struct ip ip_masked(const struct ip *ip, unsigned bits, bool set)
{
	struct ip masked = *ip;

	for (unsigned i = bits / 8; i < 16; i++) {
		uint8_t host = i == bits / 8 ? (uint8_t)(0xff >> bits % 8) : 0xff;
		masked.bytes[i] = set ? masked.bytes[i] | host : masked.bytes[i] & (uint8_t)~host;
	}
	return masked;
}

bool ip_prefix_parse(struct ip_prefix *out, struct slice text, const char **why)
{
	static __thread char hint[IP_TEXT + 64];
	struct slice rest = text, address = slice_split(&rest, '/');
	bool dotted = slice_find(address, ':') < 0;
	uint64_t length = dotted ? 32 : 128;
	char right[IP_TEXT];
	struct ip ip, masked;

	if (!ip_parse(&ip, address)) {
		*why = "not an IP address";
		return false;
	}
	if (address.n < text.n && !slice_number(rest, length, &length)) {
		*why = dotted ? "prefix length is not 0 to 32" : "prefix length is not 0 to 128";
		return false;
	}
	if (dotted)
		length += 96;
	masked = ip_masked(&ip, (unsigned)length, false);
	if (!ip_eq(&masked, &ip)) {
		/* Nearly always a slip, and which of the two was meant is not ours to guess. */
		snprintf(hint, sizeof(hint), "host bits are set, did you mean %s/%u?",
			ip_text(&masked, right), (unsigned)length - (ip_is_v4(&masked) ? 96 : 0));
		*why = hint;
		return false;
	}
	*out = (struct ip_prefix){ ip, (uint8_t)length };
	return true;
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip)
{
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

	if (prefix->bits < 96 && ip_is_v4(ip))
		return false;
	if (memcmp(prefix->address.bytes, ip->bytes, whole) != 0)
		return false;
	return rest == 0 || (prefix->address.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}

struct ip ip_client_net(const struct ip *ip)
{
	return ip_is_v4(ip) ? *ip : ip_masked(ip, 64, false);
}

/* ---- kinds ---- */

#define V4(a, b, c, d, n) \
	{ { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d } }, 96 + (n) }
#define V6(a, b, c, d, n) { { { (a) >> 8, (a) & 255, (b) >> 8, (b) & 255, (c) >> 8, (c) & 255, \
	(d) >> 8, (d) & 255 } }, n }

static const struct ip_prefix loopback_blocks[] = {
	V4(127, 0, 0, 0, 8),
	{ { { [15] = 1 } }, 128 },
};

static const struct ip_prefix private_blocks[] = {
	V4(10, 0, 0, 0, 8), V4(172, 16, 0, 0, 12), V4(192, 168, 0, 0, 16),	/* RFC 1918 */
	V6(0xfc00, 0, 0, 0, 7),							/* RFC 4193 */
};

/* IANA special-purpose address registries (RFC 6890), those of no global reach, and multicast. */
static const struct ip_prefix special_blocks[] = {
	V4(0, 0, 0, 0, 8),		/* this network */
	V4(100, 64, 0, 0, 10),		/* shared, RFC 6598 */
	V4(169, 254, 0, 0, 16),		/* link-local */
	V4(192, 0, 0, 0, 24),		/* protocol assignments */
	V4(192, 0, 2, 0, 24),		/* documentation */
	V4(198, 18, 0, 0, 15),		/* benchmarking */
	V4(198, 51, 100, 0, 24), V4(203, 0, 113, 0, 24), /* documentation */
	V4(224, 0, 0, 0, 4),		/* multicast */
	V4(240, 0, 0, 0, 4),		/* class E, broadcast */
	{ { { 0 } }, 96 },			/* unspecified, IPv4-compatible (RFC 4291 2.5.5.1) */
	V6(0x64, 0xff9b, 1, 0, 48),	/* local translation, RFC 8215 */
	V6(0x100, 0, 0, 0, 64),		/* discard */
	V6(0x2001, 0, 0, 0, 23),	/* protocol assignments: Teredo, ORCHID, benchmarking */
	V6(0x2001, 0xdb8, 0, 0, 32),	/* documentation */
	V6(0x3fff, 0, 0, 0, 20),	/* documentation, RFC 9637 */
	V6(0x5f00, 0, 0, 0, 16),	/* segment routing, RFC 9602 */
	V6(0xfe80, 0, 0, 0, 10),	/* link-local */
	V6(0xfec0, 0, 0, 0, 10),	/* site-local, RFC 3879 */
	V6(0xff00, 0, 0, 0, 8),		/* multicast */
};

static bool in_blocks(const struct ip_prefix *blocks, size_t count, const struct ip *ip)
{
	for (size_t i = 0; i < count; i++) {
		if (ip_prefix_contains(&blocks[i], ip))
			return true;
	}
	return false;
}

#define IN_BLOCKS(blocks, ip) in_blocks((blocks), sizeof(blocks) / sizeof(*(blocks)), (ip))

bool ip_is_loopback(const struct ip *ip)
{
	return IN_BLOCKS(loopback_blocks, ip);
}

bool ip_is_private(const struct ip *ip)
{
	return IN_BLOCKS(private_blocks, ip);
}

bool ip_is_special(const struct ip *ip)
{
	return IN_BLOCKS(special_blocks, ip) || ip_is_private(ip) || ip_is_loopback(ip);
}

/* ---- reverse names ---- */

void ip_reverse_name(struct str *out, const struct ip *ip, struct slice zone)
{
	static const char digits[] = "0123456789abcdef";

	if (ip_is_v4(ip)) {
		for (int i = 15; i >= 12; i--) {
			str_number(out, ip->bytes[i]);
			str_addc(out, '.');
		}
	} else {
		for (int i = 15; i >= 0; i--) {
			str_add(out, slice_make((char[]){ digits[ip->bytes[i] & 15], '.',
				digits[ip->bytes[i] >> 4], '.' }, 4));
		}
	}
	str_add(out, zone);
}

void ip_ptr_name(struct str *out, const struct ip *ip)
{
	ip_reverse_name(out, ip, ip_is_v4(ip) ? SLICE("in-addr.arpa") : SLICE("ip6.arpa"));
}

/* ---- sets ---- */

struct range {
	struct ip first, last;
};

struct ip_set {
	struct arena *arena;
	struct range *ranges;
	size_t ranges_used, cap;
	size_t added;
	bool finished;
};

struct ip_set *ip_set_new(struct arena *a)
{
	struct ip_set *set = arena_new(a, struct ip_set);

	set->arena = a;
	return set;
}

static void add_range(struct ip_set *set, struct ip first, struct ip last)
{
	if (set->ranges_used == set->cap) {
		size_t cap = set->cap ? set->cap * 2 : 16;
		struct range *ranges = arena_array(set->arena, struct range, cap);
		if (set->ranges_used)
			memcpy(ranges, set->ranges, set->ranges_used * sizeof(*ranges));
		set->ranges = ranges;
		set->cap = cap;
	}
	set->ranges[set->ranges_used++] = (struct range){ first, last };
}

/* One up (or down) as a number of 128 bits; wraps. */
static struct ip ip_step(struct ip ip, bool up)
{
	for (int i = 15; i >= 0; i--) {
		ip.bytes[i] = (uint8_t)(ip.bytes[i] + (up ? 1 : -1));
		if (ip.bytes[i] != (up ? 0 : 0xff))
			break;
	}
	return ip;
}

static int ip_cmp(const struct ip *a, const struct ip *b)
{
	return memcmp(a->bytes, b->bytes, 16);
}

void ip_set_add(struct ip_set *set, const struct ip_prefix *prefix)
{
	struct ip first = ip_masked(&prefix->address, prefix->bits, false);
	struct ip last = ip_masked(&prefix->address, prefix->bits, true);
	struct ip v4_first = { { 0 } }, v4_last;

	BUG_ON(set->finished);
	memcpy(v4_first.bytes, v4_head, 12);
	v4_last = ip_masked(&v4_first, 96, true);
	set->added++;
	if (prefix->bits < 96 && ip_cmp(&first, &v4_first) <= 0 && ip_cmp(&last, &v4_last) >= 0) {
		/* An IPv6 prefix around the mapped addresses: leave those out. */
		if (ip_cmp(&first, &v4_first) < 0)
			add_range(set, first, ip_step(v4_first, false));
		if (ip_cmp(&last, &v4_last) > 0)
			add_range(set, ip_step(v4_last, true), last);
		return;
	}
	add_range(set, first, last);
}

static int range_cmp(const void *a, const void *b)
{
	return ip_cmp(&((const struct range *)a)->first, &((const struct range *)b)->first);
}

void ip_set_finish(struct ip_set *set)
{
	size_t kept = 0;

	set->finished = true;
	if (set->ranges_used == 0)
		return;
	qsort(set->ranges, set->ranges_used, sizeof(*set->ranges), range_cmp);
	for (size_t i = 1; i < set->ranges_used; i++) {
		struct range *into = &set->ranges[kept], *range = &set->ranges[i];
		if (ip_cmp(&range->first, &into->last) > 0)
			set->ranges[++kept] = *range;
		else if (ip_cmp(&range->last, &into->last) > 0)
			into->last = range->last;
	}
	set->ranges_used = kept + 1;
}

bool ip_set_contains(const struct ip_set *set, const struct ip *ip)
{
	size_t low = 0, high = set->ranges_used;

	BUG_ON(high && !set->finished);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ip_cmp(&set->ranges[middle].last, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->ranges_used && ip_cmp(&set->ranges[low].first, ip) <= 0;
}

size_t ip_set_count(const struct ip_set *set)
{
	return set->added;
}
