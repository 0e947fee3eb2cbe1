/*
 * What the journal costs: writing a record, finding one among a million, packing and fading them.
 *
 *   journal_bench [RECORDS [DIRECTORY]]
 *
 * Records are as large as real ones (about 900 octets, five keys); the goal is a search of under one second
 * among a million, in any form of the segments.
 */
#include "edge/journal_file.h"

#include "base/arena.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY (24 * 3600 * NS_PER_SECOND)

static char directory[256];

static void append(struct journal *j, unsigned n, struct str *line)
{
	char now[25], ref[16], ip[32], from[64], to[64], id[64];
	struct journal_keys keys = { .count = 5 };

	clock_rfc3339(clock_wall(), now);
	snprintf(ref, sizeof(ref), "R%09u", n);
	snprintf(ip, sizeof(ip), "198.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	snprintf(from, sizeof(from), "sender%u@client.example.net", n);
	snprintf(to, sizeof(to), "user%u@example.org", n);
	snprintf(id, sizeof(id), "<id%u@client.example.net>", n);
	line->n = 0;
	str_printf(line, "{\"time\":\"%s\",\"ref\":\"%s\",\"node\":\"mx.example.org\",\"listener\":\"inbound\","
		"\"client\":{\"ip\":\"%s\",\"port\":%u,\"name\":\"host.example.net\",\"helo\":\"host.example.net\","
		"\"tls\":\"TLSv1.3\"},\"mail_from\":\"%s\",\"rcpt\":[{\"address\":\"%s\",\"code\":250,\"enhanced\":\"2.1.5\","
		"\"reply\":\"Recipient ok\",\"backend\":\"250 2.1.5 Ok\"}],\"message\":{\"id\":\"%s\",\"from\":\"<%s>\","
		"\"size\":4096,\"body_sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"},"
		"\"findings\":[{\"check\":\"rdns\",\"result\":\"pass\",\"reason\":\"Name and address confirm each other.\","
		"\"mode\":\"enforce\",\"cost_us\":310},{\"check\":\"recipient\",\"result\":\"exists\",\"reason\":\"The backend "
		"knows the recipient.\",\"mode\":\"enforce\",\"cost_us\":12}],\"disposition\":\"accept\",\"reply\":{\"number\":"
		"0,\"code\":250,\"enhanced\":\"2.0.0\",\"text\":\"Ok: queued as %u\"},\"backend\":{\"address\":"
		"\"smtp://127.0.0.1:25\"},\"times\":{\"connect\":0.1,\"total\":3.2}}",
		now, ref, ip, n % 60000, from, to, id, from, n);
	keys.keys[0] = slice_of(ref);
	keys.keys[1] = slice_of(ip);
	keys.keys[2] = slice_of(from);
	keys.keys[3] = slice_of(to);
	keys.keys[4] = slice_of(id);
	journal_append(j, str_slice(line), &keys);
	journal_flush(j);
}

static bool ignore(void *arg, struct slice record)
{
	return true;
}

static void search(const char *form, const char *key)
{
	const char *why = NULL;
	nanoseconds began = clock_precise();
	long n = journal_search(directory, slice_of(key), 0, ignore, NULL, &why);

	printf("  %-8s %-34s %8.1f ms  %ld found%s%s\n", form, key, (double)(clock_precise() - began) / NS_PER_MS, n,
		why ? ": " : "", why ? why : "");
}

static void searches(const char *form, unsigned records)
{
	char key[64];

	snprintf(key, sizeof(key), "R%09u", records / 2);
	search(form, key);
	snprintf(key, sizeof(key), "user%u@example.org", records - 1);
	search(form, key);
	snprintf(key, sizeof(key), "id%u@client.example.net", records / 3);
	search(form, key);
	search(form, "198.0.7.7");
	search(form, "nobody@example.org");
}

static void age(const char *what, const struct journal_conf *conf, nanoseconds wall)
{
	const char *why = NULL;
	nanoseconds began = clock_precise();
	bool ok = journal_age_run(conf, "", wall, &why);

	printf("%s: %.1f s%s%s\n", what, (double)(clock_precise() - began) / NS_PER_SECOND, ok ? "" : ": ", ok ? "" : why);
}

static double octets(void)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	struct stat st;
	double sum = 0;

	while (d && (e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (double)st.st_size;
	if (d)
		closedir(d);
	return sum / (1024 * 1024);
}

int main(int argc, char **argv)
{
	unsigned records = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
	struct journal_conf conf = { .directory = directory, .segment = 64u << 20, .keep = 90 * DAY, .detail = 14 * DAY };
	struct arena a = ARENA_INIT;
	struct str line = STR_IN(&a);
	const char *why = NULL;
	char command[512];

	snprintf(directory, sizeof(directory), "%s/spurn-journal-bench-XXXXXX", argc > 2 ? argv[2] : "/tmp");
	if (!mkdtemp(directory)) {
		fprintf(stderr, "journal_bench: %s: %s\n", directory, strerror(errno));
		return 1;
	}
	clock_turn();
	struct journal *j = journal_open(&a, &conf, &why);
	nanoseconds began = clock_precise();

	for (unsigned n = 0; j && n < records; n++) {
		append(j, n, &line);
		if (n % 4000 == 3999)
			journal_tick(j);	/* the clock stands: no ageing meanwhile */
	}
	journal_close(j);
	printf("write: %.2f us a record (with its flush), %.0f MiB\n",
		(double)(clock_precise() - began) / records / NS_PER_US, octets());
	searches("plain", records);
	age("pack", &conf, clock_wall() + DAY);
	printf("packed: %.0f MiB\n", octets());
	searches("packed", records);
	age("fade", &conf, clock_wall() + 15 * DAY);
	searches("faded", records);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	arena_drop(&a);
	return system(command) != 0;
}
