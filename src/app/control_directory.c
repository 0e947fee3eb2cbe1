/*
 * The health of directories, for status. Of those that the directory process asks, what it wrote into shared memory; of
 * other programs' socketmaps, what this worker has seen.
 */
#include "app/control.h"

static void add_time(struct str *out, const char *name, nanoseconds wall)
{
	char text[25];

	if (wall > 0)
		clock_rfc3339(wall, text);
	json_cstr(out, name, wall > 0 ? text : NULL);
}

static void add_ours(struct str *out, const struct directory_health *shared)
{
	struct directory_health h = *shared;	/* it is written while we read */
	uint64_t answered = h.found + h.absent;

	h.name[sizeof(h.name) - 1] = h.last_error[sizeof(h.last_error) - 1] = h.copy_error[sizeof(h.copy_error) - 1] = '\0';
	json_open(out, NULL, '{');
	json_cstr(out, "name", h.name);
	json_cstr(out, "kind", directory_kind_name(h.kind <= DIRECTORY_SOCKETMAP ? h.kind : DIRECTORY_NONE));
	json_bool(out, "up", h.up);
	json_number(out, "asked", h.asked);
	json_number(out, "found", h.found);
	json_number(out, "absent", h.absent);
	json_number(out, "trouble", h.trouble);
	json_number(out, "average_us", answered ? (uint64_t)h.time_total / answered / 1000 : 0);
	add_time(out, "answered", h.answered_at);
	json_cstr(out, "last_error", h.last_error[0] ? h.last_error : NULL);
	json_number(out, "copied", h.copied);
	add_time(out, "copied_at", h.copied_at);
	json_cstr(out, "copy_error", h.copy_error[0] ? h.copy_error : NULL);
	str_addc(out, '}');
}

static void add_socketmap(struct str *out, const struct directory_conf *d)
{
	struct socketmap_info m;
	uint64_t answered;

	socketmap_inspect(d->source.map, &m);
	answered = m.found + m.absent;
	json_open(out, NULL, '{');
	json_cstr(out, "name", d->name);
	json_cstr(out, "kind", "socketmap");
	json_bool(out, "up", m.up);
	json_number(out, "asked", m.asked);
	json_number(out, "found", m.found);
	json_number(out, "absent", m.absent);
	json_number(out, "trouble", m.trouble);
	json_number(out, "average_us", answered ? (uint64_t)m.time_total / answered / 1000 : 0);
	add_time(out, "answered", m.last_answer);
	json_cstr(out, "last_error", m.last_error[0] ? m.last_error : NULL);
	str_addc(out, '}');
}

void control_directories(struct str *out)
{
	const struct config *c = worker.edge.config;

	json_open(out, "directories", '[');
	for (size_t i = 0; i < DIRECTORIES_SHOWN; i++)
		if (worker.shared->directories[i].name[0])
			add_ours(out, &worker.shared->directories[i]);
	for (size_t i = 0; i < c->directory_count; i++)
		if (c->directories[i].kind == DIRECTORY_SOCKETMAP)
			add_socketmap(out, &c->directories[i]);
	str_addc(out, ']');
}
