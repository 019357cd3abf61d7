// SPDX-License-Identifier: GPL-2.0-or-later
// The local socket, asked through real sockets by a client on another thread; the roles' answers come from the test.
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control/local.h"
#include "proto/link/channel.h"
#include "proto/wire/message.h"

static uv_loop_t loop;
static char folder[64], path[96];
static struct local *local;
static struct inquiry *ask_status, *ask_flows;
static bool status_asked, flows_asked;
static uint64_t now_ms = 1000;
static struct note note;

static uint64_t read_clock(void *context)
{
    (void)context;
    return now_ms;
}

static const struct clock fake_clock = {.boot_ms = read_clock, .unix_ms = read_clock};

static enum err send_status(void *context, enum role role)
{
    (void)context;
    (void)role;
    status_asked = true;
    return ERR_OK;
}

static enum err send_flows(void *context, enum role role)
{
    (void)context;
    (void)role;
    flows_asked = true;
    return ERR_OK;
}

static enum err make_status(void *context, const struct inquiry_answers *answers, uint8_t **ret_bytes, size_t *ret_len)
{
    Twofold__V1__LocalResponse response = TWOFOLD__V1__LOCAL_RESPONSE__INIT;
    Twofold__V1__LocalStatus status = TWOFOLD__V1__LOCAL_STATUS__INIT;

    (void)context;
    status.host = answers->of[ROLE_HTTPS] ? (char *)"both" : (char *)"one";
    response.body_case = TWOFOLD__V1__LOCAL_RESPONSE__BODY_STATUS;
    response.status = &status;
    return message_encode(&response.base, ret_bytes, ret_len);
}

static void start(void)
{
    strcpy(folder, "/tmp/local-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(inquiry_new(&fake_clock, send_status, NULL, &ask_status), ERR_OK);
    cr_assert_eq(inquiry_new(&fake_clock, send_flows, NULL, &ask_flows), ERR_OK);
    const struct local_config config = {
        .loop = &loop,
        .clock = &fake_clock,
        .folder = folder,
        .admin_gid = (gid_t)-1,
        .status = ask_status,
        .flows = ask_flows,
        .make_status = make_status,
    };
    cr_assert_eq(local_new(&config, &local, &note), ERR_OK, "%s", note.text);
}

static void finish(void)
{
    char command[128];

    local_close(local);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    inquiry_free(ask_status);
    inquiry_free(ask_flows);
    cr_expect_neq(access(path, F_OK), 0, "the socket is removed");
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(control_local, .init = start, .fini = finish, .timeout = 30);

struct client {
    pthread_t thread;
    bool flows;
    uint32_t limit;
    enum err err;
    Twofold__V1__LocalResponse *response;
    atomic_bool done;
};

static void *ask(void *argument)
{
    struct client *client = argument;
    Twofold__V1__LocalRequest request = TWOFOLD__V1__LOCAL_REQUEST__INIT;
    Twofold__V1__StatusRequest status = TWOFOLD__V1__STATUS_REQUEST__INIT;
    Twofold__V1__FlowsRequest flows = TWOFOLD__V1__FLOWS_REQUEST__INIT;
    ProtobufCMessage *decoded;
    struct note why = {0};
    uint8_t *bytes, *answer;
    size_t len, answer_len;

    flows.limit = client->limit;
    request.body_case =
        client->flows ? TWOFOLD__V1__LOCAL_REQUEST__BODY_FLOWS : TWOFOLD__V1__LOCAL_REQUEST__BODY_STATUS;
    if (client->flows)
        request.flows = &flows;
    else
        request.status = &status;
    client->err = message_encode(&request.base, &bytes, &len);
    client->err = channel_ask(path, bytes, len, 20000, 1 << 20, &answer, &answer_len, &why);
    free(bytes);
    if (!client->err) {
        client->err = message_decode(&twofold__v1__local_response__descriptor, answer, answer_len, &decoded);
        client->response = (Twofold__V1__LocalResponse *)decoded;
        free(answer);
    }
    client->done = true;
    return NULL;
}

static void begin(struct client *client)
{
    cr_assert_eq(pthread_create(&client->thread, NULL, ask, client), 0);
}

#define RUN_UNTIL(condition)          \
    do {                              \
        uv_run(&loop, UV_RUN_NOWAIT); \
        usleep(1000);                 \
    } while (!(condition))

static void end(struct client *client)
{
    RUN_UNTIL(client->done);
    cr_assert_eq(pthread_join(client->thread, NULL), 0);
}

static void roles_answer_status(void)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__RoleStatus status = TWOFOLD__V1__ROLE_STATUS__INIT;

    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_STATUS;
    message.status = &status;
    inquiry_on_answer(ask_status, ROLE_NETWORK, &message);
    inquiry_on_answer(ask_status, ROLE_HTTPS, &message);
}

Test(control_local, status)
{
    struct client client = {0};

    begin(&client);
    RUN_UNTIL(status_asked);
    roles_answer_status();
    end(&client);
    cr_assert_eq(client.err, ERR_OK);
    cr_expect_str_eq(client.response->status->host, "both");
    message_free(client.response);
}

Test(control_local, role_that_does_not_answer)
{
    struct client client = {0};

    begin(&client);
    RUN_UNTIL(status_asked);
    now_ms += INQUIRY_MS;
    inquiry_tick(ask_status);
    end(&client);
    cr_assert_eq(client.err, ERR_OK);
    cr_expect_str_eq(client.response->status->host, "one");
    message_free(client.response);
}

Test(control_local, flows_with_a_limit)
{
    Twofold__V1__RoleMessage message = TWOFOLD__V1__ROLE_MESSAGE__INIT;
    Twofold__V1__Flows flows = TWOFOLD__V1__FLOWS__INIT;
    Twofold__V1__Flow one = TWOFOLD__V1__FLOW__INIT, two = TWOFOLD__V1__FLOW__INIT;
    Twofold__V1__Flow *both[] = {&one, &two};
    struct client client = {.flows = true, .limit = 3};

    begin(&client);
    RUN_UNTIL(flows_asked);
    flows.n_flows = 2;
    flows.flows = both;
    message.body_case = TWOFOLD__V1__ROLE_MESSAGE__BODY_FLOWS;
    message.flows = &flows;
    inquiry_on_answer(ask_flows, ROLE_NETWORK, &message);
    inquiry_on_answer(ask_flows, ROLE_HTTPS, &message);
    end(&client);
    cr_assert_eq(client.err, ERR_OK);
    cr_expect_eq(client.response->flows->n_flows, 3);
    message_free(client.response);
}

Test(control_local, socket_is_not_for_everybody)
{
    struct stat status;

    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0660);
}

// ---- what a bad client does

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, path, strlen(path));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static bool is_closed(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void expect_cut(const void *bytes, size_t len)
{
    int fd = connect_raw();

    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    RUN_UNTIL(is_closed(fd));
    close(fd);
    cr_expect_not(status_asked);
}

Test(control_local, bad_requests_are_cut)
{
    expect_cut("\0\0\0\3abc", 7);            // no message
    expect_cut("\0\0\0\0", 4);               // none of the requests
    expect_cut("\0\0\0\2\x1a\0", 6);         // a field that is not one of them
    expect_cut("\0\0\4\1\x0a\0", 6);         // larger than allowed
    expect_cut("\x7f\xff\xff\xff\x0a\0", 6); // much larger
}

Test(control_local, second_question_before_the_answer)
{
    static const char question[] = {0, 0, 0, 2, 0x0a, 0};
    int fd = connect_raw();

    cr_assert_eq(send(fd, question, sizeof(question), 0), (ssize_t)sizeof(question));
    RUN_UNTIL(status_asked);
    cr_assert_eq(send(fd, question, sizeof(question), 0), (ssize_t)sizeof(question));
    RUN_UNTIL(is_closed(fd));
    close(fd);
    roles_answer_status(); // to nobody
}

Test(control_local, questions_one_after_the_other)
{
    static const char question[] = {0, 0, 0, 2, 0x0a, 0};
    char answer[256];
    int fd = connect_raw();

    for (int i = 0; i < 3; i++) {
        status_asked = false;
        cr_assert_eq(send(fd, question, sizeof(question), 0), (ssize_t)sizeof(question));
        RUN_UNTIL(status_asked);
        roles_answer_status();
        RUN_UNTIL(recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 4);
    }
    close(fd);
}

Test(control_local, idle_client_is_cut)
{
    int fd = connect_raw();

    RUN_UNTIL(local_deadline(local) != UINT64_MAX);
    cr_expect_eq(local_deadline(local), now_ms + LOCAL_IDLE_MS);
    local_tick(local);
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_not(is_closed(fd));
    now_ms += LOCAL_IDLE_MS;
    local_tick(local);
    RUN_UNTIL(is_closed(fd));
    close(fd);
}

Test(control_local, client_that_leaves_while_it_is_asked_for)
{
    struct client client = {0};
    static const char question[] = {0, 0, 0, 2, 0x0a, 0};
    int fd = connect_raw();

    cr_assert_eq(send(fd, question, sizeof(question), 0), (ssize_t)sizeof(question));
    RUN_UNTIL(status_asked);
    close(fd);
    RUN_UNTIL(local_deadline(local) == UINT64_MAX);
    begin(&client);
    for (int i = 0; i < 50; i++)
        RUN_UNTIL(true);
    roles_answer_status();
    end(&client);
    cr_assert_eq(client.err, ERR_OK);
    message_free(client.response);
}

Test(control_local, too_many_at_once)
{
    int fds[LOCAL_ASKERS_MAX + 1];

    for (size_t i = 0; i <= LOCAL_ASKERS_MAX; i++)
        fds[i] = connect_raw();
    RUN_UNTIL(is_closed(fds[LOCAL_ASKERS_MAX]));
    for (size_t i = 0; i < LOCAL_ASKERS_MAX; i++)
        cr_expect_not(is_closed(fds[i]));
    for (size_t i = 0; i <= LOCAL_ASKERS_MAX; i++)
        close(fds[i]);
}
