// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/link/channel.h"

struct end {
    struct channel *channel;
    unsigned messages;
    size_t bytes;
    uint8_t last[64];
    size_t last_len;
    unsigned closes;
    enum err err;
    bool inside; // one of our calls is running
    bool close_on_message;
    bool echo;
};

static uv_loop_t loop;

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
}

static void finish(void)
{
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(channel, .init = start, .fini = finish, .timeout = 30);

static void on_message(void *owner, struct channel *channel, const uint8_t *bytes, size_t len)
{
    struct end *end = owner;

    cr_expect_eq(end->closes, 0);
    end->messages++;
    end->bytes += len;
    end->last_len = len;
    if (len)
        memcpy(end->last, bytes, len < sizeof(end->last) ? len : sizeof(end->last));
    if (end->echo)
        cr_expect_eq(channel_send(channel, bytes, len), ERR_OK);
    if (end->close_on_message) {
        end->inside = true;
        channel_close(channel);
        channel_close(channel); // twice is once
        end->inside = false;
    }
}

static void on_close(void *owner, struct channel *channel, enum err err)
{
    struct end *end = owner;

    (void)channel;
    cr_expect_not(end->inside);
    end->closes++;
    end->err = err;
    end->channel = NULL;
}

static const struct channel_events events = {on_message, on_close};

static void run_until(const unsigned *count, unsigned value)
{
    while (*count < value)
        uv_run(&loop, UV_RUN_ONCE);
}

static void join(struct end *a, struct end *b, size_t max)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(channel_open(&loop, fds[0], max, &events, a, &a->channel), ERR_OK);
    cr_assert_eq(channel_open(&loop, fds[1], max, &events, b, &b->channel), ERR_OK);
}

// A channel whose other end is a plain socket.
static int join_raw(struct end *end, size_t max)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(channel_open(&loop, fds[0], max, &events, end, &end->channel), ERR_OK);
    return fds[1];
}

Test(channel, messages_of_every_size_arrive_whole_and_in_order)
{
    struct end a = {0}, b = {0};
    static uint8_t bytes[1 << 20];
    static const size_t sizes[] = {0, 1, 5, 65531, 65532, 65533, 200000, 1 << 20};
    size_t total = 0;

    join(&a, &b, 1 << 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bytes[0] = (uint8_t)i;
        cr_assert_eq(channel_send(a.channel, bytes, sizes[i]), ERR_OK);
        total += sizes[i];
    }
    run_until(&b.messages, 8);
    cr_expect_eq(b.bytes, total);
    cr_expect_eq(b.last[0], 7);
    channel_close(a.channel);
    run_until(&b.closes, 1);
    cr_expect_eq(b.err, ERR_CLOSED);
    run_until(&a.closes, 1);
    cr_expect_eq(a.err, ERR_OK);
}

Test(channel, what_was_sent_before_the_close_still_arrives)
{
    struct end a = {0}, b = {0};
    static uint8_t bytes[1 << 20];

    join(&a, &b, 1 << 20);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(channel_send(a.channel, bytes, sizeof(bytes)), ERR_OK);
    channel_close(a.channel);
    cr_expect_eq(channel_send(a.channel, bytes, 1), ERR_CLOSED);
    run_until(&b.closes, 1);
    cr_expect_eq(b.messages, 8);
}

Test(channel, byte_by_byte)
{
    struct end end = {0};
    int fd = join_raw(&end, 100);
    static const uint8_t wire[] = {0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0, 0, 0, 1, 'x'};

    for (size_t i = 0; i < sizeof(wire); i++) {
        cr_assert_eq(write(fd, wire + i, 1), 1);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    run_until(&end.messages, 3);
    cr_expect_eq(end.last[0], 'x');
    close(fd);
    run_until(&end.closes, 1);
    cr_expect_eq(end.err, ERR_CLOSED);
}

Test(channel, a_frame_that_is_too_large_ends_the_channel)
{
    struct end end = {0};
    int fd = join_raw(&end, 100);
    static const uint8_t wire[] = {0, 0, 0, 101};

    cr_assert_eq(write(fd, wire, sizeof(wire)), 4);
    run_until(&end.closes, 1);
    cr_expect_eq(end.err, ERR_LIMIT);
    cr_expect_eq(end.messages, 0);
    close(fd);
}

Test(channel, a_cut_frame_is_malformed)
{
    struct end end = {0};
    int fd = join_raw(&end, 100);
    static const uint8_t wire[] = {0, 0, 0, 10, 'x'};

    cr_assert_eq(write(fd, wire, sizeof(wire)), 5);
    close(fd);
    run_until(&end.closes, 1);
    cr_expect_eq(end.err, ERR_MALFORMED);
}

Test(channel, closing_from_inside_a_message)
{
    struct end a = {0}, b = {.close_on_message = true};

    join(&a, &b, 100);
    cr_assert_eq(channel_send(a.channel, "one", 3), ERR_OK);
    cr_assert_eq(channel_send(a.channel, "two", 3), ERR_OK);
    run_until(&a.closes, 1);
    run_until(&b.closes, 1);
    cr_expect_eq(b.messages, 1);
    cr_expect_eq(b.err, ERR_OK);
}

Test(channel, the_queue_is_bounded)
{
    struct end end = {0};
    int fd = join_raw(&end, 100);
    static uint8_t bytes[16 << 20];
    enum err err = ERR_OK;
    int sent = 0;

    while (sent < 10 && !(err = channel_send(end.channel, bytes, sizeof(bytes))))
        sent++;
    cr_expect_eq(err, ERR_LIMIT);
    cr_expect_leq(sent, 2);
    channel_close(end.channel); // the other end never reads: the close does not wait for ever
    run_until(&end.closes, 1);
    close(fd);
}

// ---- listening and asking

struct service {
    struct channel_listener *listener;
    struct end ends[8];
    unsigned channels;
    bool stop_after_answer;
    char path[64];
};

static void on_channel(void *owner, struct channel *channel)
{
    struct service *service = owner;
    struct end *end = &service->ends[service->channels++];
    uid_t uid;
    pid_t pid;

    cr_expect_eq(channel_peer_credentials(channel, &uid, &pid), ERR_OK);
    cr_expect_eq(uid, getuid());
    cr_expect_eq(pid, getpid());
    end->channel = channel;
    end->echo = true;
    channel_set_owner(channel, &events, end);
}

static void listen_at(struct service *service, size_t max_connections)
{
    struct note note = {0};

    snprintf(service->path, sizeof(service->path), "/tmp/twofold-test-channel.%d", (int)getpid());
    cr_assert_eq(channel_listen(&loop, service->path, (gid_t)-1, 1000, max_connections, on_channel, service,
                                &service->listener, &note),
                 ERR_OK, "%s", note.text);
}

struct question {
    const char *path;
    const char *text;
    enum err err;
    struct note note;
    uint8_t *answer;
    size_t len;
};

static void *ask(void *context)
{
    struct question *question = context;

    question->err = channel_ask(question->path, question->text, strlen(question->text), 5000, 100, &question->answer,
                                &question->len, &question->note);
    return NULL;
}

Test(channel, ask_gets_an_answer)
{
    struct service service = {0};
    struct question question = {.text = "how are you"};
    struct stat status;
    pthread_t thread;

    listen_at(&service, 4);
    cr_assert_eq(stat(service.path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0660);
    question.path = service.path;
    pthread_create(&thread, NULL, ask, &question);
    run_until(&service.ends[0].closes, 1);
    pthread_join(thread, NULL);
    cr_expect_eq(question.err, ERR_OK, "%s", question.note.text);
    cr_expect_eq(question.len, 11);
    cr_expect_arr_eq(question.answer, "how are you", 11);
    free(question.answer);
    channel_listener_close(service.listener);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_neq(access(service.path, F_OK), 0);
}

Test(channel, too_many_connections_are_turned_away)
{
    struct service service = {0};
    struct question question = {.text = "x"};
    pthread_t thread;

    listen_at(&service, 0);
    question.path = service.path;
    pthread_create(&thread, NULL, ask, &question);
    for (int i = 0; i < 100; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    cr_expect(question.err == ERR_CLOSED || question.err == ERR_IO, "%s", err_name(question.err));
    cr_expect_eq(service.channels, 0);
    channel_listener_close(service.listener);
}

Test(channel, the_listener_may_go_before_its_channels)
{
    struct service service = {0};
    struct question question = {.text = "x"};
    pthread_t thread;

    listen_at(&service, 1);
    question.path = service.path;
    pthread_create(&thread, NULL, ask, &question);
    run_until(&service.channels, 1);
    channel_listener_close(service.listener);
    run_until(&service.ends[0].closes, 1);
    pthread_join(thread, NULL);
    cr_expect_eq(question.err, ERR_OK);
    free(question.answer);
}

Test(channel, a_stale_socket_is_replaced_and_a_live_one_is_not)
{
    struct service service = {0}, second = {0};
    struct note note;

    listen_at(&service, 1);
    cr_expect_eq(channel_listen(&loop, service.path, (gid_t)-1, 1000, 1, on_channel, &second, &second.listener, &note),
                 ERR_EXISTS);
    cr_expect(strstr(note.text, "another process listens"), "%s", note.text);
    char kept[80];
    snprintf(kept, sizeof(kept), "%s.kept", service.path);
    cr_assert_eq(rename(service.path, kept), 0);
    channel_listener_close(service.listener);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(rename(kept, service.path), 0); // a socket file without a listener
    listen_at(&second, 1);
    channel_listener_close(second.listener);

    uv_run(&loop, UV_RUN_DEFAULT);
    FILE *file = fopen(service.path, "w");
    fclose(file);
    cr_expect_eq(channel_listen(&loop, service.path, (gid_t)-1, 1000, 1, on_channel, &second, &second.listener, &note),
                 ERR_EXISTS);
    cr_expect_eq(access(service.path, F_OK), 0);
    unlink(service.path);
}

Test(channel, ask_says_what_is_wrong)
{
    uint8_t *answer;
    size_t len;
    struct note note;

    cr_expect_eq(channel_ask("/tmp/twofold-nobody.sock", "x", 1, 100, 10, &answer, &len, &note), ERR_UNREACHABLE);
    cr_expect(strstr(note.text, "is the service running"), "%s", note.text);
}
