/*
 * DNS answers.
 *
 * The whole packet is walked once, whatever was asked, so that a malformed tail is noticed; the
 * records of the answer section are noted by place. Then the chain of CNAMEs is followed
 * through them, in whatever order they came, and the data of those that match is read. The
 * work is bounded: at most CHAIN walks over what fits into 64 KiB.
 *
 * We ask through libunbound, which has checked and rewritten the packet. That is
 * no reason to believe it: the tests feed us servers of their own, and a parser that is
 * safe by itself can be fuzzed by itself.
 *
 * Rejected: libunbound's ldns-like helpers (not exported), res_nsearch and ns_parserr() (they
 * decompress into text, with a dot in a label and a dot between labels alike).
 */
#include "wire/dns_packet.h"

#define CHAIN 16	/* CNAMEs in a row: libunbound gives up at 11 */
#define HEADER 12

/* ---- names of numbers ---- */

const char *dns_type_name(enum dns_type t)
{
	switch (t) {
#define X(name, number) case DNS_##name: return #name;
	DNS_TYPES(X)
#undef X
	}
	return "TYPE";
}

bool dns_type_parse(uint16_t *out, struct slice text)
{
	static const struct { struct slice name; uint16_t number; } types[] = {
#define X(name, number) { { #name, sizeof(#name) - 1 }, number },
		DNS_TYPES(X)
#undef X
	};
	uint64_t number;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (slice_eq_nocase(text, types[i].name)) {
			*out = types[i].number;
			return true;
		}
	if (!slice_starts_nocase(text, SLICE("TYPE")) || !slice_number(slice_from(text, 4), 65535, &number))
		return false;
	*out = (uint16_t)number;
	return true;
}

const char *dns_rcode_name(unsigned rcode)
{
	static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
		"YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE" };

	return rcode < sizeof(names) / sizeof(names[0]) ? names[rcode] : "odd response code";
}

/* ---- octets ---- */

static uint16_t read16(struct slice s, size_t at)
{
	const uint8_t *p = (const uint8_t *)s.p + at;

	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read32(struct slice s, size_t at)
{
	return (uint32_t)read16(s, at) << 16 | read16(s, at + 2);
}

/* TTLs with the first bit set are zero. (RFC 2181 section 8) */
static uint32_t ttl_of(uint32_t ttl) { return ttl > INT32_MAX ? 0 : ttl; }

/* ---- data of a record ---- */

/* A name that ends exactly where the data ends. */
static bool name_parse(struct slice *out, struct arena *a, struct slice packet, size_t at, size_t end)
{
	struct dns_name name;

	if (!dns_name_unpack(&name, slice_head(packet, end), &at) || at != end)
		return false;
	*out = dns_name_copy(a, &name);
	return true;
}

/* A number before a name: MX preference; SRV priority, weight, port. */
static bool ranked_parse(struct dns_record *out, struct arena *a, struct slice packet, size_t at, size_t end,
	size_t numbers)
{
	if (at + numbers > end || !name_parse(&out->text, a, packet, at + numbers, end))
		return false;
	out->preference = read16(packet, at);
	return true;
}

/* MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM (RFC 1035 section 3.3.13) */
static bool soa_parse(struct dns_name *primary, uint32_t *minimum, struct slice packet, size_t at, size_t end)
{
	struct dns_name mailbox;

	packet = slice_head(packet, end);
	if (!dns_name_unpack(primary, packet, &at) || !dns_name_unpack(&mailbox, packet, &at) || at + 20 != end)
		return false;
	*minimum = ttl_of(read32(packet, at + 16));
	return true;
}

/* TXT-DATA = 1*<character-string>: a length octet, so many octets (RFC 1035 sections 3.3, 3.3.14).
 * Joined without anything between (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2). */
static bool strings_parse(struct slice *out, struct arena *a, struct slice data)
{
	char *text = arena_copy(a, data.p, data.n);	/* longer than needed: what is joined is shorter */
	size_t n = 0;

	if (slice_empty(data))
		return false;
	while (data.n > 0) {
		size_t length = (uint8_t)data.p[0];

		if (length + 1 > data.n)
			return false;
		memcpy(text + n, data.p + 1, length);
		n += length;
		data = slice_from(data, length + 1);
	}
	text[n] = '\0';
	*out = slice_make(text, n);
	return true;
}

static bool address_parse(struct ip *out, const char *p, size_t n, enum dns_type type)
{
	if (n != (type == DNS_A ? 4 : 16))
		return false;
	memset(out, 0, sizeof(*out));
	if (type == DNS_A)
		memset(out->bytes + 10, 0xff, 2);
	memcpy(out->bytes + 16 - n, p, n);
	return true;
}

bool dns_rdata_parse(struct dns_record *out, struct arena *a, struct slice packet, size_t at, size_t n,
	enum dns_type type)
{
	struct dns_record r = { .preference = 0 };
	size_t end = at + n;
	struct dns_name primary;
	uint32_t minimum;
	bool good = true;

	if (end > packet.n)
		return false;
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		good = address_parse(&r.ip, packet.p + at, n, type);
		break;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		good = name_parse(&r.text, a, packet, at, end);
		break;
	case DNS_MX:
		good = ranked_parse(&r, a, packet, at, end, 2);
		break;
	case DNS_SRV:
		good = ranked_parse(&r, a, packet, at, end, 6);
		break;
	case DNS_SOA:
		good = soa_parse(&primary, &minimum, packet, at, end);
		if (good)
			r.text = dns_name_copy(a, &primary);
		break;
	case DNS_TXT:
	case DNS_SPF:
		good = strings_parse(&r.text, a, slice_make(packet.p + at, n));
		break;
	default:
		r.text = slice_copy(a, slice_make(packet.p + at, n));
	}
	if (good)
		*out = r;
	return good;
}

/* ---- the packet ---- */

/* A resource record, by place. (RFC 1035 section 4.1.3) */
struct rr {
	uint32_t owner, data;	/* where they stand */
	uint32_t ttl;
	uint16_t type, class, n;
};

struct walk {
	struct slice packet;
	size_t at;
	struct rr *answers;
	size_t count;
	uint32_t soa_ttl;	/* of the SOA in the authority section */
};

static bool rr_parse(struct walk *w, struct rr *rr)
{
	struct dns_name owner;

	rr->owner = (uint32_t)w->at;
	if (!dns_name_unpack(&owner, w->packet, &w->at) || w->at + 10 > w->packet.n)
		return false;
	rr->type = read16(w->packet, w->at);
	rr->class = read16(w->packet, w->at + 2);
	rr->ttl = ttl_of(read32(w->packet, w->at + 4));
	rr->n = read16(w->packet, w->at + 8);
	w->at += 10;
	rr->data = (uint32_t)w->at;
	w->at += rr->n;
	return w->at <= w->packet.n;
}

/* The time a "no" holds: the SOA's own TTL or its MINIMUM, whichever is less. (RFC 2308 section 5) */
static bool soa_note(struct walk *w, const struct rr *rr)
{
	struct dns_name primary;
	uint32_t minimum;

	if (!soa_parse(&primary, &minimum, w->packet, rr->data, (size_t)rr->data + rr->n))
		return false;
	w->soa_ttl = minimum < rr->ttl ? minimum : rr->ttl;
	return true;
}

static bool sections_walk(struct walk *w, struct arena *a)
{
	size_t answers = read16(w->packet, 6), authority = read16(w->packet, 8);
	size_t total = answers + authority + read16(w->packet, 10);
	struct rr rr;

	if (total > w->packet.n / 11)	/* the smallest record: root, type, class, TTL, no data */
		return false;
	w->answers = arena_array(a, struct rr, answers);
	for (size_t i = 0; i < total; i++) {
		if (!rr_parse(w, &rr))
			return false;
		if (i < answers)
			w->answers[w->count++] = rr;
		else if (i < answers + authority && rr.type == DNS_SOA && !soa_note(w, &rr))
			return false;
	}
	return true;
}

/* QNAME QTYPE QCLASS (RFC 1035 section 4.1.2) */
static bool question_check(struct walk *w, const struct dns_name *name, enum dns_type type, const char **why)
{
	unsigned count = read16(w->packet, 4);
	struct dns_name asked;

	*why = "answers another question";
	w->at = HEADER;
	if (count == 0)
		return true;
	if (count > 1 || !dns_name_unpack(&asked, w->packet, &w->at) || w->at + 4 > w->packet.n)
		return false;
	w->at += 4;
	return dns_name_eq(&asked, name) && read16(w->packet, w->at - 4) == type &&
		read16(w->packet, w->at - 2) == 1;
}

/* ---- the answer in it ---- */

static bool rr_is(const struct walk *w, const struct rr *rr, const struct dns_name *owner, enum dns_type type)
{
	struct dns_name name;
	size_t at = rr->owner;

	return rr->type == type && rr->class == 1 && dns_name_unpack(&name, w->packet, &at) &&
		dns_name_eq(&name, owner);
}

/* Replaces owner by what it is an alias of. (RFC 1034 section 3.6.2) */
static bool alias_follow(const struct walk *w, struct dns_name *owner, uint32_t *ttl)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct rr *rr = &w->answers[i];
		struct slice packet = slice_head(w->packet, (size_t)rr->data + rr->n);
		size_t at = rr->data;

		if (!rr_is(w, rr, owner, DNS_CNAME))
			continue;
		if (rr->ttl < *ttl)
			*ttl = rr->ttl;
		return dns_name_unpack(owner, packet, &at) && at == packet.n;
	}
	return false;
}

static size_t records_count(const struct walk *w, const struct dns_name *owner, enum dns_type type)
{
	size_t count = 0;

	for (size_t i = 0; i < w->count; i++)
		count += rr_is(w, &w->answers[i], owner, type);
	return count;
}

static bool records_parse(struct dns_reply *out, struct arena *a, const struct walk *w,
	const struct dns_name *owner, enum dns_type type, size_t count)
{
	out->records = arena_array(a, struct dns_record, count);
	for (size_t i = 0; i < w->count && out->count < count; i++) {
		const struct rr *rr = &w->answers[i];

		if (!rr_is(w, rr, owner, type))
			continue;
		if (!dns_rdata_parse(&out->records[out->count], a, w->packet, rr->data, rr->n, type))
			return false;
		out->count++;
		if (rr->ttl < out->ttl)
			out->ttl = rr->ttl;
	}
	return true;
}

static bool answer_find(struct dns_reply *out, struct arena *a, const struct walk *w,
	const struct dns_name *name, enum dns_type type)
{
	struct dns_name owner = *name;
	size_t count = records_count(w, &owner, type);

	out->ttl = UINT32_MAX;
	for (int hops = 0; count == 0 && hops < CHAIN && type != DNS_CNAME; hops++) {
		if (!alias_follow(w, &owner, &out->ttl))
			break;
		count = records_count(w, &owner, type);
	}
	if (count > 0)
		return records_parse(out, a, w, &owner, type, count);
	if (w->soa_ttl < out->ttl)
		out->ttl = w->soa_ttl;
	return true;
}

bool dns_packet_parse(struct dns_reply *out, struct arena *a, struct slice packet,
	const struct dns_name *name, enum dns_type type, const char **why)
{
	struct walk w = { .packet = packet };
	struct dns_reply reply = { .count = 0 };

	if (packet.n < HEADER || packet.n > 65535 || !(packet.p[2] & 0x80)) {
		*why = "not a DNS answer";
		return false;
	}
	reply.id = read16(packet, 0);
	reply.rcode = packet.p[3] & 0x0f;
	reply.truncated = packet.p[2] & 0x02;
	if (!question_check(&w, name, type, why))
		return false;
	*why = "malformed record";
	if (!sections_walk(&w, a) || !answer_find(&reply, a, &w, name, type))
		return false;
	*why = NULL;
	*out = reply;
	return true;
}
