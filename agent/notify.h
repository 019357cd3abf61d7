// SPDX-License-Identifier: GPL-2.0-or-later
// sd_notify's protocol: one datagram to the socket that NOTIFY_SOCKET names.
#ifndef TWOFOLD_AGENT_NOTIFY_H
#define TWOFOLD_AGENT_NOTIFY_H

// "READY=1", "STOPPING=1", "STATUS=…". Nothing happens without NOTIFY_SOCKET, and a failure is not an error: the service manager's own time
// limit is.
void notify_send(const char *state);

#endif
