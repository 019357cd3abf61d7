// SPDX-License-Identifier: GPL-2.0-or-later
// Does this kernel have ESP with AES-GCM? Asked by doing: an SA as the agent installs it, to a loopback address, removed at once. Its
// reqid lies outside the agent's, so an agent that runs takes no notice.
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "controller/cli/checks.h"

#define PROBE_REQID  0x7ff00001u
#define KEY_BYTES    36 // AES-256 and the 4-byte salt of RFC 4106
#define ICV_BITS     128
#define REPLAY_WORDS 128 // 4096 packets

struct probe {
    struct mnl_socket *socket;
    uint32_t port_id;
    uint32_t sequence;
    uint16_t family;
    uint32_t spi; // network order
};

static void loopback(uint16_t family, xfrm_address_t *address)
{
    memset(address, 0, sizeof(*address));
    if (family == AF_INET)
        address->a4 = htonl(0x7f000001);
    else
        ((uint8_t *)address)[15] = 1;
}

static void put_algorithm(struct nlmsghdr *header)
{
    char bytes[sizeof(struct xfrm_algo_aead) + KEY_BYTES] = {0};
    struct xfrm_algo_aead algorithm = {.alg_key_len = KEY_BYTES * 8, .alg_icv_len = ICV_BITS};
    strcpy(algorithm.alg_name, "rfc4106(gcm(aes))");
    memcpy(bytes, &algorithm, sizeof(algorithm));
    if (getrandom(bytes + sizeof(algorithm), KEY_BYTES, 0) != KEY_BYTES)
        memset(bytes + sizeof(algorithm), 0x5a, KEY_BYTES); // nothing is ever encrypted with it
    mnl_attr_put(header, XFRMA_ALG_AEAD, sizeof(bytes), bytes);
}

static void put_replay(struct nlmsghdr *header)
{
    char bytes[sizeof(struct xfrm_replay_state_esn) + REPLAY_WORDS * 4] = {0};
    struct xfrm_replay_state_esn replay = {.bmp_len = REPLAY_WORDS, .replay_window = REPLAY_WORDS * 32};
    memcpy(bytes, &replay, sizeof(replay));
    mnl_attr_put(header, XFRMA_REPLAY_ESN_VAL, sizeof(bytes), bytes);
}

static void make_add(const struct probe *probe, struct nlmsghdr *header)
{
    struct xfrm_usersa_info *sa = mnl_nlmsg_put_extra_header(header, sizeof(*sa));
    header->nlmsg_type = XFRM_MSG_NEWSA;
    loopback(probe->family, &sa->id.daddr);
    loopback(probe->family, &sa->saddr);
    sa->id.spi = probe->spi;
    sa->id.proto = IPPROTO_ESP;
    sa->family = probe->family;
    sa->mode = XFRM_MODE_TRANSPORT;
    sa->reqid = PROBE_REQID;
    sa->flags = XFRM_STATE_ESN;
    sa->lft.soft_byte_limit = sa->lft.hard_byte_limit = XFRM_INF;
    sa->lft.soft_packet_limit = sa->lft.hard_packet_limit = XFRM_INF;
    put_algorithm(header);
    put_replay(header);
}

static void make_delete(const struct probe *probe, struct nlmsghdr *header)
{
    struct xfrm_usersa_id *id = mnl_nlmsg_put_extra_header(header, sizeof(*id));
    header->nlmsg_type = XFRM_MSG_DELSA;
    loopback(probe->family, &id->daddr);
    id->spi = probe->spi;
    id->proto = IPPROTO_ESP;
    id->family = probe->family;
}

// 0 or the kernel's errno.
static int ask(struct probe *probe, void (*make)(const struct probe *probe, struct nlmsghdr *header))
{
    // MNL_SOCKET_BUFFER_SIZE is no constant expression.
    char buffer[8192];
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = ++probe->sequence;
    make(probe, header);
    if (mnl_socket_sendto(probe->socket, header, header->nlmsg_len) < 0)
        return errno;
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(probe->socket, buffer, sizeof(buffer));
        if (len < 0)
            return errno;
        if (mnl_cb_run(buffer, (size_t)len, probe->sequence, probe->port_id, NULL, NULL) < 0)
            return errno;
        return 0;
    }
}

static int probe_family(struct probe *probe)
{
    const struct timeval limit = {.tv_sec = 10}; // modules may have to be loaded first
    if (setsockopt(mnl_socket_get_fd(probe->socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
        mnl_socket_bind(probe->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return errno;
    probe->port_id = mnl_socket_get_portid(probe->socket);
    if (getrandom(&probe->spi, sizeof(probe->spi), 0) != sizeof(probe->spi))
        return EIO;
    probe->spi |= htonl(0x80000000); // far above the reserved ones
    int error = ask(probe, make_add);
    if (!error)
        error = ask(probe, make_delete);
    return error;
}

enum check_verdict checks_judge_esp(int error, const char **ret_cause, const char **ret_remedy)
{
    static const struct {
        int error;
        enum check_verdict verdict;
        const char *cause, *remedy;
    } answers[] = {
        {0, CHECK_OK, "an ESP SA with AES-256-GCM and ESN was installed on a loopback address and removed", ""},
        {EPERM, CHECK_WARN, "not tested: only root may install an SA", "run this as root"},
        // The kernel looks for the algorithm first: whether it has ESP is not known then.
        {ENOSYS, CHECK_FAIL, "the kernel has no AES-GCM for ESP, rfc4106(gcm(aes))",
         "modprobe esp4 esp6 gcm aesni_intel (or aes_generic); when that fails look for a block in /etc/modprobe.d, or "
         "use a "
         "kernel with CONFIG_INET_ESP and CONFIG_CRYPTO_GCM; rules with layers: [https] work without"},
        {EPROTONOSUPPORT, CHECK_FAIL, "the kernel has no ESP",
         "modprobe esp4 esp6; when that fails look for a block in /etc/modprobe.d, or use a kernel with "
         "CONFIG_INET_ESP; rules with layers: [https] work without"},
        {EAFNOSUPPORT, CHECK_WARN, "the kernel does not have this address family",
         "nothing to do where the hosts do not use it"},
        {ETIMEDOUT, CHECK_FAIL, "the kernel did not answer", "see the kernel's log"},
        {EAGAIN, CHECK_FAIL, "the kernel did not answer", "see the kernel's log"},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        if (answers[i].error == error) {
            *ret_cause = answers[i].cause;
            *ret_remedy = answers[i].remedy;
            return answers[i].verdict;
        }
    }
    *ret_cause = strerror(error);
    *ret_remedy = "see the kernel's log; rules with layers: [https] work without ESP";
    return CHECK_FAIL;
}

static void check_family(struct checks *checks, uint16_t family, const char *name)
{
    struct probe probe = {.family = family, .sequence = (uint32_t)time(NULL)};
    const char *cause, *remedy;
    probe.socket = mnl_socket_open(NETLINK_XFRM);
    if (!probe.socket) {
        checks_add(checks, name, CHECK_FAIL,
                   "use a kernel with CONFIG_XFRM_USER; rules with layers: [https] work without",
                   "the kernel has no IPsec (%s)", strerror(errno));
        return;
    }
    enum check_verdict verdict = checks_judge_esp(probe_family(&probe), &cause, &remedy);
    mnl_socket_close(probe.socket);
    checks_add(checks, name, verdict, remedy, "%s", cause);
}

void checks_esp(struct checks *checks)
{
    check_family(checks, AF_INET, "ESP over IPv4");
    check_family(checks, AF_INET6, "ESP over IPv6");
}
