// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/https/flow_state.h"

static const enum flow_state transitions[FLOW_STATE_COUNT][FLOW_EVENT_COUNT] = {
    [FLOW_WAITING] = {[FLOW_EVENT_ASKED] = FLOW_ASKING, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_ASKING] =
        {[FLOW_EVENT_PUT_BACK] = FLOW_WAITING, [FLOW_EVENT_ANSWERED] = FLOW_OPEN, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_REACHING] =
        {[FLOW_EVENT_REACHED] = FLOW_OPEN, [FLOW_EVENT_PEER_END] = FLOW_REACHING_HALF, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_REACHING_HALF] = {[FLOW_EVENT_REACHED] = FLOW_PEER_ENDED, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_OPEN] = {[FLOW_EVENT_APP_END] = FLOW_APP_ENDED,
                   [FLOW_EVENT_PEER_END] = FLOW_PEER_ENDED,
                   [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_APP_ENDED] = {[FLOW_EVENT_PEER_END] = FLOW_ENDED, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_PEER_ENDED] = {[FLOW_EVENT_APP_END] = FLOW_ENDED, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_ENDED] = {[FLOW_EVENT_DELIVERED] = FLOW_CLOSING, [FLOW_EVENT_CUT] = FLOW_CLOSING},
    [FLOW_CLOSING] = {[FLOW_EVENT_CUT] = FLOW_CLOSING},
};

enum flow_state flow_state_next(enum flow_state state, enum flow_event event)
{
    return transitions[state][event];
}

const char *flow_state_name(enum flow_state state)
{
#define STATE_NAME(name, text) [FLOW_##name] = (text),
    static const char *const names[FLOW_STATE_COUNT] = {[FLOW_NONE] = "none", FLOW_STATES(STATE_NAME)};
#undef STATE_NAME
    return names[state];
}

const char *flow_event_name(enum flow_event event)
{
#define EVENT_NAME(name, text) [FLOW_EVENT_##name] = (text),
    static const char *const names[FLOW_EVENT_COUNT] = {FLOW_EVENTS(EVENT_NAME)};
#undef EVENT_NAME
    return names[event];
}
