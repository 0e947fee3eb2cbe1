/*
 * A DNS server for tests, on a loopback port: a process of its own that answers by name, over UDP and TCP, and
 * counts what it was asked. It is what a forwarder or an authoritative server would be to libunbound.
 *
 *     ok.test         A 192.0.2.1, AAAA 2001:db8::1, MX 10 mx.ok.test, TXT "one" "two"
 *     nx.test         does not exist; everything not listed here does neither
 *     nodata.test     exists and has nothing
 *     alias.test      -> hop.test -> ok.test
 *     loop.test       -> loop.test
 *     big.test        TXT of 3,000 octets: truncated over UDP
 *     huge.test       400 A records, over TCP as well
 *     late.test       A, after 300 ms
 *     silent.test     no answer, ever
 *     servfail.test   SERVFAIL;  refused.test, formerr.test, notimp.test alike
 *     garbage.test    octets that are no answer
 *     other.test      an answer to another question
 *
 * and what a test has put in `extra` before it starts.
 */
#ifndef SPURN_TEST_FAKE_DNS_H
#define SPURN_TEST_FAKE_DNS_H

#include "unit.h"

#include "wire/dns_packet.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define FAKE_EXTRA 8

struct fake_dns {
	struct fake_extra {
		const char *name;
		unsigned type;
		struct { unsigned type; uint8_t data[256]; size_t n; } records[2];
	} extra[FAKE_EXTRA];
	pid_t pid;
	uint16_t port;
	char address[40];	/* "127.0.0.1:PORT" */
	int udp, tcp;
	struct fake_dns_log { unsigned udp, tcp, n; char text[32768]; } *log;	/* "TYPE name\n"; shared */
};

/* ---- composing an answer ---- */

struct fake_answer {
	uint8_t bytes[65536];
	size_t n;
};

static inline void fake_add(struct fake_answer *out, const void *bytes, size_t n)
{
	assert_true(out->n + n <= sizeof(out->bytes));
	memcpy(out->bytes + out->n, bytes, n);
	out->n += n;
}

static inline void fake_add16(struct fake_answer *out, unsigned v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	fake_add(out, b, 2);
}

/* A record in section (3 answer, 4 authority). */
static inline void fake_rr(struct fake_answer *out, int section, const char *owner, unsigned type, const void *data,
	size_t n)
{
	struct dns_name name;

	assert_true(dns_name_parse(&name, slice_of(owner)));
	fake_add(out, name.wire, name.n);
	fake_add16(out, type);
	fake_add16(out, 1);
	fake_add16(out, 0);
	fake_add16(out, 60);
	fake_add16(out, (unsigned)n);
	fake_add(out, data, n);
	if (++out->bytes[section * 2 + 1] == 0)
		out->bytes[section * 2]++;
}

static inline void fake_alias(struct fake_answer *out, const char *owner, const char *target)
{
	struct dns_name name;

	assert_true(dns_name_parse(&name, slice_of(target)));
	fake_rr(out, 3, owner, DNS_CNAME, name.wire, name.n);
}

static inline void fake_ok(struct fake_answer *out, unsigned type, const char *owner)
{
	if (type == DNS_A)
		fake_rr(out, 3, owner, type, "\xc0\0\2\1", 4);
	else if (type == DNS_AAAA)
		fake_rr(out, 3, owner, type, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	else if (type == DNS_MX)
		fake_rr(out, 3, owner, type, "\0\xa\2mx\2ok\4test", 14);
	else if (type == DNS_TXT)
		fake_rr(out, 3, owner, type, "\3one\3two", 8);
}

static inline void fake_big(struct fake_answer *out, unsigned type, bool tcp)
{
	uint8_t text[3012];

	if (type != DNS_TXT)
		return;
	if (!tcp) {
		out->bytes[2] |= 0x02;
		return;
	}
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < sizeof(text); i += 251)
		text[i] = 250;
	fake_rr(out, 3, "big.test", type, text, sizeof(text));
}

static inline void fake_huge(struct fake_answer *out, unsigned type, bool tcp)
{
	if (type != DNS_A)
		return;
	if (!tcp)
		out->bytes[2] |= 0x02;
	for (int i = 0; i < 400 && tcp; i++)
		fake_rr(out, 3, "huge.test", type, (uint8_t[]){ 198, 18, (uint8_t)(i >> 8), (uint8_t)i }, 4);
}

static inline void fake_soa(struct fake_answer *out)
{
	fake_rr(out, 4, "test", DNS_SOA, "\1a\0\1b\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\36", 26);
}

static inline bool fake_answer_extra(const struct fake_dns *f, struct fake_answer *out, const char *name, unsigned type)
{
	for (const struct fake_extra *e = f->extra; e < f->extra + FAKE_EXTRA && e->name; e++) {
		if (strcmp(e->name, name) != 0 || e->type != type)
			continue;
		for (int i = 0; i < 2; i++)
			fake_rr(out, 3, name, e->records[i].type, e->records[i].data, e->records[i].n);
		return true;
	}
	return false;
}

/* False: no answer. */
static inline bool fake_answer(struct fake_answer *out, const char *name, unsigned type, bool tcp)
{
	static const char *const codes[] = { "", "formerr.test", "servfail.test", "nx.test", "notimp.test",
		"refused.test" };

	for (unsigned i = 1; i < 6; i++)
		if (strcmp(name, codes[i]) == 0) {
			out->bytes[3] |= (uint8_t)i;
			if (i == DNS_NAMEERROR)
				fake_soa(out);
			return true;
		}
	if (strcmp(name, "ok.test") == 0 || strcmp(name, "mx.ok.test") == 0)
		fake_ok(out, type, name);
	else if (strcmp(name, "alias.test") == 0) {
		fake_alias(out, "alias.test", "hop.test");
		fake_alias(out, "hop.test", "ok.test");
		fake_ok(out, type, "ok.test");
	} else if (strcmp(name, "hop.test") == 0) {
		fake_alias(out, "hop.test", "ok.test");
		fake_ok(out, type, "ok.test");
	} else if (strcmp(name, "loop.test") == 0)
		fake_alias(out, "loop.test", "loop.test");
	else if (strcmp(name, "big.test") == 0)
		fake_big(out, type, tcp);
	else if (strcmp(name, "huge.test") == 0)
		fake_huge(out, type, tcp);
	else if (strcmp(name, "late.test") == 0) {
		usleep(300000);
		fake_ok(out, type, name);
	} else if (strcmp(name, "silent.test") == 0)
		return false;
	else if (strcmp(name, "garbage.test") == 0)
		memset(out->bytes + 2, 0xc0, out->n - 2);
	else if (strcmp(name, "other.test") == 0)
		out->bytes[13] = 'x';
	else if (strcmp(name, "nodata.test") != 0 && strcmp(name, "test") != 0 && *name)
		out->bytes[3] |= DNS_NAMEERROR;
	if (out->bytes[7] == 0 && out->bytes[6] == 0 && !(out->bytes[2] & 2))
		fake_soa(out);
	return true;
}

/* ---- the process ---- */

static inline bool fake_reply(struct fake_dns *f, struct fake_answer *out, const uint8_t *query, size_t n, bool tcp)
{
	char text[DNS_TEXT_MAX];
	struct dns_name name;
	size_t at = 12;
	unsigned type;

	if (n < 17 || !dns_name_unpack(&name, slice_make((const char *)query, n), &at) || at + 4 > n)
		return false;
	type = (unsigned)query[at] << 8 | query[at + 1];
	dns_name_lower(&name);
	dns_name_text(&name, text);
	*(tcp ? &f->log->tcp : &f->log->udp) += 1;
	f->log->n += (unsigned)snprintf(f->log->text + f->log->n, sizeof(f->log->text) - f->log->n, "%s %s\n",
		dns_type_name((enum dns_type)type), text);
	out->n = 0;
	fake_add(out, query, at + 4);
	out->bytes[2] = 0x81;
	out->bytes[3] = 0x80;
	memset(out->bytes + 6, 0, 6);
	if (fake_answer_extra(f, out, text, type))
		return true;
	return fake_answer(out, text, type, tcp);
}

static inline void fake_serve_udp(struct fake_dns *f, struct fake_answer *out)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	uint8_t query[1500];
	ssize_t n = recvfrom(f->udp, query, sizeof(query), 0, (struct sockaddr *)&from, &length);

	if (n > 0 && fake_reply(f, out, query, (size_t)n, false))
		sendto(f->udp, out->bytes, out->n, 0, (struct sockaddr *)&from, length);
}

static inline void fake_serve_tcp(struct fake_dns *f, struct fake_answer *out)
{
	int fd = accept(f->tcp, NULL, NULL);
	uint8_t head[2], query[1500];

	while (fd >= 0 && recv(fd, head, 2, MSG_WAITALL) == 2) {
		size_t n = (size_t)head[0] << 8 | head[1];

		if (n > sizeof(query) || recv(fd, query, n, MSG_WAITALL) != (ssize_t)n ||
		    !fake_reply(f, out, query, n, true))
			break;
		head[0] = (uint8_t)(out->n >> 8);
		head[1] = (uint8_t)out->n;
		if (send(fd, head, 2, MSG_MORE | MSG_NOSIGNAL) < 0 || send(fd, out->bytes, out->n, MSG_NOSIGNAL) < 0)
			break;
		break;		/* one question a connection: others wait meanwhile */
	}
	if (fd >= 0)
		close(fd);
}

static inline void fake_run(struct fake_dns *f)
{
	static struct fake_answer out;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct pollfd p[2] = { { .fd = f->udp, .events = POLLIN }, { .fd = f->tcp, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			_exit(0);
		if (p[0].revents)
			fake_serve_udp(f, &out);
		if (p[1].revents)
			fake_serve_tcp(f, &out);
	}
}

/* UDP and TCP on the same port. */
static inline void fake_bind(struct fake_dns *f)
{
	for (int tries = 0; tries < 50; tries++) {
		struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t length = sizeof(sa);

		f->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		f->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(f->udp, (struct sockaddr *)&sa, sizeof(sa)), 0);
		assert_int_equal(getsockname(f->udp, (struct sockaddr *)&sa, &length), 0);
		if (bind(f->tcp, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(f->tcp, 16) == 0) {
			f->port = ntohs(sa.sin_port);
			snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", f->port);
			return;
		}
		close(f->udp);
		close(f->tcp);
	}
	fail_msg("no port free for UDP and TCP");
}

/* Before loop_init(): the child must not share the loop's descriptors. */
static inline void fake_dns_start(struct fake_dns *f)
{
	fake_bind(f);
	f->log = mmap(NULL, sizeof(*f->log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(f->log != MAP_FAILED);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		fake_run(f);
	close(f->udp);
	close(f->tcp);
}

static inline void fake_dns_stop(struct fake_dns *f)
{
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	munmap(f->log, sizeof(*f->log));
}

/* How often "TYPE name" was asked since the last fake_dns_forget(). */
static inline unsigned fake_dns_count(const struct fake_dns *f, const char *line)
{
	unsigned count = 0;
	size_t n = strlen(line);

	for (const char *at = f->log->text; *at; at = strchr(at, '\n') + 1)
		count += strncmp(at, line, n) == 0 && at[n] == '\n';
	return count;
}

static inline void fake_dns_forget(struct fake_dns *f)
{
	f->log->udp = f->log->tcp = f->log->n = 0;
	f->log->text[0] = '\0';
}

#endif
