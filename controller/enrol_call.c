// SPDX-License-Identifier: GPL-2.0-or-later
// Enrolment/Enrol and Enrolment/Renew: from the call to enrol.h and into memory.
#include <stdlib.h>

#include "control.pb-c.h"
#include "controller/handlers.h"
#include "controller/session.h"
#include "proto/base/log.h"

static void answer(struct call *call, const struct enrolled *enrolled)
{
    const struct ca *ca = call->daemon->state.ca;
    Twofold__V1__EnrolResponse response = TWOFOLD__V1__ENROL_RESPONSE__INIT;
    response.agent = (ProtobufCBinaryData){enrolled->issued.agent_len, enrolled->issued.agent};
    response.host = (ProtobufCBinaryData){enrolled->issued.host_len, enrolled->issued.host};
    response.workload = (ProtobufCBinaryData){enrolled->issued.workload_len, enrolled->issued.workload};
    response.network_ca = (ProtobufCBinaryData){ca->network.der_len, ca->network.der};
    response.workload_ca = (ProtobufCBinaryData){ca->workload.der_len, ca->workload.der};
    call_answer(call, &response.base);
}

// The machine that had the name before has certificates that are good for nothing now.
static void end_old_session(struct daemon *daemon, const char *host)
{
    struct agent *agent = fleet_find(daemon->fleet, host);
    if (agent != NULL && agent->session != NULL)
        session_cut(agent->session, "the host has enrolled anew");
}

void handle_enrol(struct call *call, const ProtobufCMessage *request)
{
    struct daemon *daemon = call->daemon;
    struct note note = {0};
    struct enrolled enrolled = {0};
    enum err err = enrol_by_token(&daemon->enrolment, (const Twofold__V1__EnrolRequest *)request, &call->remote.ip,
                                  &enrolled, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
        return;
    }
    err = fleet_put_host(daemon->fleet, &enrolled.host, enrolled.generation);
    if (err != ERR_OK) {
        daemon_fail(daemon, err);
    } else {
        end_old_session(daemon, enrolled.host.name);
        answer(call, &enrolled);
    }
    ca_issued_free(&enrolled.issued);
}

void handle_renew(struct call *call, const ProtobufCMessage *request)
{
    struct note note = {0};
    struct enrolled enrolled = {0};
    enum err err = enrol_renew(&call->daemon->enrolment, &call->peer, (const Twofold__V1__RenewRequest *)request,
                               &call->remote.ip, &enrolled, &note);
    if (err != ERR_OK) {
        call_refuse(call, err, &note);
        return;
    }
    log_event(LOG_LEVEL_INFO, "host.renewed", LOG_STR("host", enrolled.host.name),
              LOG_U64("expires", enrolled.issued.expires));
    answer(call, &enrolled);
    ca_issued_free(&enrolled.issued);
}
