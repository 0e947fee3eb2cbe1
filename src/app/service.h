/*
 * What the service manager that started us is told, if there is one that wants to know.
 */
#ifndef SPURN_APP_SERVICE_H
#define SPURN_APP_SERVICE_H

/* "READY=1", "STOPPING=1": sd_notify(3), the protocol of $NOTIFY_SOCKET. Nothing happens where nobody listens. */
void service_tell(const char *state);

#endif
