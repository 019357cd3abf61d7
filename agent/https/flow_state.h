// SPDX-License-Identifier: GPL-2.0-or-later
// The life of one flow through the role, as a table. Pure.
//
//   outbound  WAITING --asked--> ASKING --answered--> OPEN          a local application opened it
//             ASKING --put back--> WAITING                          the peer took no notice of it (REFUSED_STREAM)
//   inbound   REACHING --reached--> OPEN                            a peer asked for it
//             REACHING --peer end--> REACHING_HALF --reached--> PEER_ENDED
//
//   OPEN --app end--> APP_ENDED --peer end--> ENDED                 FIN of the application, END_STREAM of the peer
//   OPEN --peer end--> PEER_ENDED --app end--> ENDED
//   ENDED --delivered--> CLOSING                                    both halves are carried over
//   any --cut--> CLOSING                                            RST, refusal, policy, revocation, time
#ifndef TWOFOLD_AGENT_HTTPS_FLOW_STATE_H
#define TWOFOLD_AGENT_HTTPS_FLOW_STATE_H

#define FLOW_STATES(X)                \
    X(WAITING, "waiting")             \
    X(ASKING, "asking")               \
    X(REACHING, "reaching")           \
    X(REACHING_HALF, "reaching-half") \
    X(OPEN, "open")                   \
    X(APP_ENDED, "app-ended")         \
    X(PEER_ENDED, "peer-ended")       \
    X(ENDED, "ended")                 \
    X(CLOSING, "closing")

#define FLOW_EVENTS(X)        \
    X(ASKED, "asked")         \
    X(PUT_BACK, "put-back")   \
    X(ANSWERED, "answered")   \
    X(REACHED, "reached")     \
    X(APP_END, "app-end")     \
    X(PEER_END, "peer-end")   \
    X(DELIVERED, "delivered") \
    X(CUT, "cut")

enum flow_state {
    FLOW_NONE, // no transition
#define FLOW_STATE_ENUM(name, text) FLOW_##name,
    FLOW_STATES(FLOW_STATE_ENUM)
#undef FLOW_STATE_ENUM
        FLOW_STATE_COUNT
};

enum flow_event {
#define FLOW_EVENT_ENUM(name, text) FLOW_EVENT_##name,
    FLOW_EVENTS(FLOW_EVENT_ENUM)
#undef FLOW_EVENT_ENUM
        FLOW_EVENT_COUNT
};

// FLOW_NONE: the event has no meaning in this state.
enum flow_state flow_state_next(enum flow_state state, enum flow_event event);
const char *flow_state_name(enum flow_state state);
const char *flow_event_name(enum flow_event event);

#endif
