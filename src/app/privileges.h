/*
 * Rights of a process: who it is, and which capabilities it keeps.
 */
#ifndef SPURN_APP_PRIVILEGES_H
#define SPURN_APP_PRIVILEGES_H

#include <stdbool.h>

/* The process, started as root, becomes `user` for good and keeps nothing but CAP_NET_BIND_SERVICE (ambient, so that the
 * binary of an upgrade has it, too), under no_new_privs. false: *why. */
bool privileges_drop(const char *user, const char **why);
/* Sets the capabilities: CAP_NET_BIND_SERVICE (bind), or none at all. */
bool privileges_keep(bool bind);

#endif
