// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>

#include "agent/https/flow_state.h"

Test(flow_state, both_halves_end_in_either_order)
{
    enum flow_state a = flow_state_next(FLOW_OPEN, FLOW_EVENT_APP_END);
    enum flow_state b = flow_state_next(FLOW_OPEN, FLOW_EVENT_PEER_END);
    cr_assert_eq(a, FLOW_APP_ENDED);
    cr_assert_eq(b, FLOW_PEER_ENDED);
    cr_assert_eq(flow_state_next(a, FLOW_EVENT_PEER_END), FLOW_ENDED);
    cr_assert_eq(flow_state_next(b, FLOW_EVENT_APP_END), FLOW_ENDED);
    cr_assert_eq(flow_state_next(FLOW_ENDED, FLOW_EVENT_DELIVERED), FLOW_CLOSING);
}

Test(flow_state, a_peer_may_end_its_half_before_the_application_is_reached)
{
    enum flow_state half = flow_state_next(FLOW_REACHING, FLOW_EVENT_PEER_END);
    cr_assert_eq(half, FLOW_REACHING_HALF);
    cr_assert_eq(flow_state_next(half, FLOW_EVENT_REACHED), FLOW_PEER_ENDED);
}

Test(flow_state, a_flow_that_the_peer_took_no_notice_of_waits_again)
{
    cr_assert_eq(flow_state_next(FLOW_ASKING, FLOW_EVENT_PUT_BACK), FLOW_WAITING);
    cr_assert_eq(flow_state_next(FLOW_OPEN, FLOW_EVENT_PUT_BACK), FLOW_NONE);
}

Test(flow_state, a_cut_ends_every_state)
{
    for (int state = FLOW_NONE + 1; state < FLOW_STATE_COUNT; state++) {
        cr_assert_eq(flow_state_next((enum flow_state)state, FLOW_EVENT_CUT), FLOW_CLOSING, "%s",
                     flow_state_name((enum flow_state)state));
    }
}

Test(flow_state, no_half_ends_twice)
{
    cr_assert_eq(flow_state_next(FLOW_APP_ENDED, FLOW_EVENT_APP_END), FLOW_NONE);
    cr_assert_eq(flow_state_next(FLOW_PEER_ENDED, FLOW_EVENT_PEER_END), FLOW_NONE);
    cr_assert_eq(flow_state_next(FLOW_OPEN, FLOW_EVENT_ANSWERED), FLOW_NONE);
    cr_assert_eq(flow_state_next(FLOW_CLOSING, FLOW_EVENT_PEER_END), FLOW_NONE);
}

Test(flow_state, everything_has_a_name)
{
    for (int state = 0; state < FLOW_STATE_COUNT; state++) {
        cr_assert_not_null(flow_state_name((enum flow_state)state));
    }
    for (int event = 0; event < FLOW_EVENT_COUNT; event++) {
        cr_assert_not_null(flow_event_name((enum flow_event)event));
    }
}
