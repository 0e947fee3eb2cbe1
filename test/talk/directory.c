/*
 * The scripted directory: a socketmap server that knows whom it is told to know. Polled between turns of
 * the loop, like the server behind.
 */
#include "talk.h"

#include "wire/socketmap_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 16
#define ADDRESSES 64
#define QUESTIONS 1024

static struct {
	int fd;
	char in[SOCKETMAP_QUESTION_MAX + 16];
	size_t used;
} connections[CONNECTIONS];

static struct arena arena;
static int listening = -1;
static char path[108];
static struct slice known[ADDRESSES], questions[QUESTIONS], said;
static size_t known_count, question_count;
static bool silent;

void directory_open(const char *at)
{
	snprintf(path, sizeof(path), "%s", at);
	for (size_t i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;
	directory_up(true);
}

void directory_up(bool up)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	for (size_t i = 0; i < CONNECTIONS && path[0]; i++) {
		if (connections[i].fd >= 0)
			close(connections[i].fd);
		connections[i].fd = -1;
	}
	if (listening >= 0) {
		close(listening);
		unlink(path);
	}
	listening = -1;
	if (!up)
		return;
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memcpy(sun.sun_path, path, sizeof(path));
	unlink(path);
	if (bind(listening, (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(listening, 64) != 0) {
		fprintf(stderr, "talk: directory: %s: %s\n", path, strerror(errno));
		exit(2);
	}
}

void directory_knows(struct slice address, bool knows)
{
	for (size_t i = 0; i < known_count; i++)
		if (slice_eq(known[i], address))
			known[i--] = known[--known_count];
	if (knows && known_count < ADDRESSES)
		known[known_count++] = slice_copy(&arena, address);
}

void directory_says(struct slice octets)
{
	silent = slice_eq(octets, SLICE("nothing"));
	said = silent ? SLICE_NULL : slice_copy(&arena, octets);
}

size_t directory_asked(struct slice glob)
{
	size_t n = 0;

	for (size_t i = 0; i < question_count; i++)
		n += glob_match(glob, questions[i]);
	return n;
}

static void answer(int fd, struct slice question)
{
	struct str out = STR_IN(&arena);
	struct slice map, key;
	const char *why;
	bool has = false;

	if (question_count < QUESTIONS)
		questions[question_count++] = slice_copy(&arena, question);
	if (silent || !socketmap_question_parse(question, &map, &key, &why))
		return;
	for (size_t i = 0; i < known_count; i++)
		has = has || slice_eq(known[i], key);
	if (said.n > 0)
		str_add(&out, said);
	else
		socketmap_reply_write(&out, has ? SOCKETMAP_FOUND : SOCKETMAP_NOTFOUND, has ? key : SLICE_NULL);
	send(fd, out.p, out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool serve(size_t i)
{
	struct slice question;
	size_t used;
	const char *why;
	ssize_t n = recv(connections[i].fd, connections[i].in + connections[i].used,
		sizeof(connections[i].in) - connections[i].used, MSG_DONTWAIT);

	if (n < 0)
		return false;
	if (n == 0) {
		close(connections[i].fd);
		connections[i].fd = -1;
		return true;
	}
	connections[i].used += (size_t)n;
	while (netstring_read(slice_make(connections[i].in, connections[i].used), SOCKETMAP_QUESTION_MAX, &question, &used,
			&why) == NETSTRING_DONE) {
		answer(connections[i].fd, question);
		memmove(connections[i].in, connections[i].in + used, connections[i].used - used);
		connections[i].used -= used;
	}
	return true;
}

bool directory_poll(void)
{
	bool busy = false;
	int fd = accept_waiting(listening);

	for (size_t i = 0; i < CONNECTIONS && fd >= 0; i++)
		if (connections[i].fd < 0) {
			connections[i].fd = fd;
			connections[i].used = 0;
			fd = -1;
			busy = true;
		}
	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < CONNECTIONS && path[0]; i++)
		if (connections[i].fd >= 0 && serve(i))
			busy = true;
	return busy;
}
