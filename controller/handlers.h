// SPDX-License-Identifier: GPL-2.0-or-later
// The functions of the method table: each answers its call with call_answer or call_refuse.
#ifndef TWOFOLD_CONTROLLER_HANDLERS_H
#define TWOFOLD_CONTROLLER_HANDLERS_H

#include "controller/rpc.h"

void handle_enrol(struct call *call, const ProtobufCMessage *request);
void handle_renew(struct call *call, const ProtobufCMessage *request);
void handle_create_token(struct call *call, const ProtobufCMessage *request);
void handle_check_policy(struct call *call, const ProtobufCMessage *request);
void handle_apply_policy(struct call *call, const ProtobufCMessage *request);
void handle_show_policy(struct call *call, const ProtobufCMessage *request);
void handle_list_hosts(struct call *call, const ProtobufCMessage *request);
void handle_revoke_host(struct call *call, const ProtobufCMessage *request);
void handle_get_status(struct call *call, const ProtobufCMessage *request);
void handle_explain(struct call *call, const ProtobufCMessage *request);
void handle_list_audit(struct call *call, const ProtobufCMessage *request);

#endif
