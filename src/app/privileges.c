/*
 * The process that was started as root becomes its user and keeps the one right
 * of binding low ports. (A root master that only listens was rejected: it would
 * parse the configuration as root.)
 */
#include "app/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

bool privileges_keep(bool bind)
{
	cap_t caps = cap_init();
	cap_value_t value = CAP_NET_BIND_SERVICE;
	bool ok;

	if (!caps)
		return false;
	ok = !bind || (cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_SET) == 0 &&
		cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_SET) == 0 &&
		cap_set_flag(caps, CAP_INHERITABLE, 1, &value, CAP_SET) == 0);
	ok = ok && cap_set_proc(caps) == 0;
	cap_free(caps);
	return ok;
}

bool privileges_drop(const char *user, const char **why)
{
	const struct passwd *pw = getpwnam(user);

	*why = "no such user; create it (adduser --system --group --no-create-home NAME) or name another with 'user'";
	if (!pw)
		return false;
	*why = strerror(EPERM);
	if (prctl(PR_SET_KEEPCAPS, 1) != 0 || initgroups(user, pw->pw_gid) != 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		return false;
	*why = "capabilities cannot be set";
	if (!privileges_keep(true))
		return false;
	/* Ambient: the binary that replaces this one at an upgrade may bind, too. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
	*why = "no_new_privs cannot be set";
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}
