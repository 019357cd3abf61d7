// SPDX-License-Identifier: GPL-2.0-or-later
// Clock, kernel settings, processor, users.
#include <glob.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/timex.h>
#include <wolfssl/options.h>

#include "controller/cli/checks.h"

#define PATH_BYTES 512

void checks_add(struct checks *checks, const char *name, enum check_verdict verdict, const char *remedy,
                const char *cause, ...)
{
    va_list arguments;
    if (checks->count == CHECKS_MAX)
        return;
    struct check *check = &checks->items[checks->count++];
    check->name = name;
    check->verdict = verdict;
    snprintf(check->remedy, sizeof(check->remedy), "%s", remedy);
    va_start(arguments, cause);
    vsnprintf(check->cause, sizeof(check->cause), cause, arguments);
    va_end(arguments);
}

// ---- clock

// 2025-01-01, before any release: a clock that is behind it was never set.
#define CLOCK_EARLIEST 1735689600u

void checks_clock(struct checks *checks, uint64_t unix_seconds)
{
    struct timex kernel = {0};
    int state = adjtimex(&kernel);
    if (unix_seconds < CLOCK_EARLIEST)
        checks_add(checks, "clock", CHECK_FAIL,
                   "set the clock and run an NTP client: certificates are checked against it",
                   "the clock is in the past");
    else if (state == -1)
        checks_add(checks, "clock", CHECK_WARN, "run an NTP client",
                   "the kernel does not say whether the clock is synchronised");
    else if (state == TIME_ERROR || kernel.status & STA_UNSYNC)
        checks_add(checks, "clock", CHECK_WARN,
                   "run an NTP client (systemd-timesyncd, chrony): certificates live 24 h, bundles an hour, both by "
                   "this clock",
                   "the clock is not synchronised");
    else
        checks_add(checks, "clock", CHECK_OK, "", "synchronised, at most %ld ms off", kernel.maxerror / 1000);
}

// ---- kernel settings

// -1 when it cannot be read.
static int read_setting(const char *path)
{
    int value = -1;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%d", &value) != 1)
        value = -1;
    fclose(file);
    return value;
}

static void check_forwarding(struct checks *checks, const char *root)
{
    static const char *const settings[] = {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"};
    char path[PATH_BYTES];
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/proc/sys/%s", root, settings[i]);
        if (read_setting(path) <= 0)
            continue;
        found = true;
        checks_add(checks, "forwarding", CHECK_WARN,
                   "switch it off where this host is no router: an agent drops everything that would be forwarded",
                   "%s is on: this host forwards packets of others", settings[i]);
    }
    if (!found)
        checks_add(checks, "forwarding", CHECK_OK, "", "off");
}

// The device's name is the last but one part of the path.
static void device_of(const char *path, char *device, size_t room)
{
    const char *last = strrchr(path, '/'), *begin = last;
    while (begin > path && begin[-1] != '/')
        begin--;
    snprintf(device, room, "%.*s", (int)(last - begin), begin);
}

static size_t check_switch(struct checks *checks, const char *root, const char *family, const char *setting)
{
    char pattern[PATH_BYTES], device[64];
    size_t bad = 0;
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/proc/sys/net/%s/conf/*/%s", root, family, setting);
    if (glob(pattern, 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        device_of(found.gl_pathv[i], device, sizeof(device));
        // lo has both by default: traffic of the host with itself needs no IPsec. "default" is for devices to come.
        if (strcmp(device, "lo") == 0 || read_setting(found.gl_pathv[i]) <= 0)
            continue;
        bad++;
        checks_add(checks, setting, CHECK_FAIL, "set it to 0 with sysctl, and find out who set it",
                   "net.%s.conf.%s.%s is on: IPsec is silently switched off there", family, device, setting);
    }
    globfree(&found);
    return bad;
}

void checks_sysctls(struct checks *checks, const char *root)
{
    check_forwarding(checks, root);
    if (check_switch(checks, root, "ipv4", "disable_xfrm") == 0)
        checks_add(checks, "disable_xfrm", CHECK_OK, "", "off on all devices");
    if (check_switch(checks, root, "ipv4", "disable_policy") + check_switch(checks, root, "ipv6", "disable_policy") ==
        0)
        checks_add(checks, "disable_policy", CHECK_OK, "", "off on all devices");
}

// ---- processor

#if defined(__x86_64__)
static bool has_aes(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}
#elif defined(__aarch64__)
static bool has_aes(void)
{
    return getauxval(AT_HWCAP) & (1u << 3); // HWCAP_AES
}
#else
static bool has_aes(void)
{
    return false;
}
#endif

#if defined(WOLFSSL_AESNI) || defined(WOLFSSL_ARMASM)
static const bool wolfssl_uses_aes = true;
#else
static const bool wolfssl_uses_aes = false;
#endif

void checks_processor(struct checks *checks)
{
    if (!has_aes())
        checks_add(checks, "AES instructions", CHECK_WARN,
                   "use a machine or a virtual processor type with AES instructions",
                   "the processor has none: both layers are about ten times slower");
    else if (!wolfssl_uses_aes)
        checks_add(checks, "AES instructions", CHECK_WARN, "build wolfSSL with deploy/deps/install",
                   "the processor has them, but wolfSSL was built without: the https layer is slower");
    else
        checks_add(checks, "AES instructions", CHECK_OK, "", "there, and wolfSSL uses them");
}

// ---- users

void checks_users(struct checks *checks)
{
    static const char *const names[] = {"twofold-control", "twofold-network", "twofold-https"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (getpwnam(names[i]))
            continue;
        checks_add(checks, "users", CHECK_WARN,
                   "systemd-sysusers, or give the agent other users with --control-user and its kin",
                   "user %s does not exist: the agent's roles run as users of their own", names[i]);
        return;
    }
    checks_add(checks, "users", CHECK_OK, "", "the three roles have users of their own");
}
