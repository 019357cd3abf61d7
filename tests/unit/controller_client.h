// SPDX-License-Identifier: GPL-2.0-or-later
// Clients of a controller over real TLS, on the test's loop: each function runs the loop until its answer is there.
#ifndef TWOFOLD_TESTS_UNIT_CONTROLLER_CLIENT_H
#define TWOFOLD_TESTS_UNIT_CONTROLLER_CLIENT_H

#include <uv.h>

#include "control.pb-c.h"
#include "proto/link/grpc.h"
#include "proto/link/key.h"
#include "proto/link/tls.h"

// Own key and certificate, and the anchor for the other side.
struct client_identity {
    struct key *key; // NULL: none
    uint8_t *certificate;
    size_t certificate_len;
    uint8_t *root;
    size_t root_len;
};

struct client {
    uv_loop_t *loop;
    struct trust *trust;
    struct tls_context *context;
    struct grpc_channel *channel;
    bool open;
    bool gone;
    enum err err;
};

// ERR_OK when the connection is open; otherwise why it is gone.
enum err client_connect(struct client *client, uv_loop_t *loop, const struct ip_endpoint *controller,
                        const struct client_identity *identity);
void client_close(struct client *client);

// A unary call with raw request bytes, `count` times; the answer's bytes are freed by the caller.
enum grpc_status client_call_bytes(struct client *client, const char *path, const void *request, size_t len, int count,
                                   uint8_t **ret_bytes, size_t *ret_len, char text[256]);
// A unary call; message_free the answer, which is NULL when the status is not GRPC_OK.
enum grpc_status client_call(struct client *client, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *type, void *ret_answer, char text[256]);

// An agent's session: ACKs what it gets by itself, unless told to hold.
struct net_agent {
    struct client client;
    struct grpc_call *call; // NULL: over
    Twofold__V1__Slice *slice;
    uint8_t digest[DIGEST_BYTES];
    unsigned deltas, bundles, publishes;
    bool hold;
    bool done;
    enum grpc_status status;
    char text[256];
};
enum err net_agent_start(struct net_agent *agent, uv_loop_t *loop, const struct ip_endpoint *controller,
                         const struct client_identity *identity);
void net_agent_stop(struct net_agent *agent); // keeps the slice
void net_agent_free(struct net_agent *agent);

// Runs the loop until the flag is true or five seconds have passed; tells which.
bool client_wait(uv_loop_t *loop, const bool *flag);
bool client_wait_count(uv_loop_t *loop, const unsigned *count, unsigned at_least);

void client_identity_free(struct client_identity *identity);

#endif
