/*
 * A rehearsal: the edge, and the client that talks to it. For tool_try.c and tool_play.c.
 */
#ifndef SPURN_APP_TOOL_TRY_H
#define SPURN_APP_TOOL_TRY_H

#include "app/tool.h"
#include "edge/session.h"

struct play_recipient {
	struct slice address;	/* NUL-terminated */
	unsigned code;		/* of the last word said about it; 0: none */
	const char *reply;	/* with its codes */
};

struct play {
	struct tool *tool;
	struct arena arena;
	struct config *config;
	struct edge edge;
	uint64_t counters[EDGE_COUNTER_COUNT];
	void *rates;
	bool observe, json, has_message;
	char directory[256];		/* removed in the end */
	/* What to say. */
	const char *listener, *helo;
	struct slice from, message;	/* lines end in CRLF, not dot-stuffed */
	struct play_recipient *recipients;
	size_t recipient_count;
	/* The client. */
	int fd;
	struct stream stream;
	bool can_utf8, can_8bit, gone;
	json_t *dialogue;
};

/* tool_play.c: says the whole dialogue, prints it or collects it, and waits for the session's end. */
ASYNC void play_client(void *play);

#endif
