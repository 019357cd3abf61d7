// SPDX-License-Identifier: GPL-2.0-or-later
#include "controller/cli/show.h"

#include <string.h>
#include <unistd.h>

#include "controller/cli/columns.h"
#include "controller/cli/format.h"

#define EPOCHS_IN_SPI 64 // six bits of each end's (docs/wire.md)

const char *show_ipsec(const Twofold__V1__PeerState *peer)
{
    if (!peer->ipsec_needed)
        return "-";
    return peer->ipsec_up ? "up" : "down";
}

// Tunnels are made when the first flow comes.
const char *show_https(const Twofold__V1__PeerState *peer)
{
    if (!peer->https_needed)
        return "-";
    return peer->tunnels ? "up" : "idle";
}

static void peer_row(struct columns *columns, const Twofold__V1__PeerState *peer)
{
    char age[FORMAT_BYTES], rules[FORMAT_LIST_BYTES];
    columns_cell(columns, "%s", peer->host);
    columns_cell(columns, "%s", show_ipsec(peer));
    columns_cell(columns, "%s", peer->ipsec_up ? peer->suite : "");
    columns_cell(columns, "%s", peer->ipsec_up ? format_age(peer->age_seconds, age) : "");
    // As the SPIs have them; whole ones, of 16 digits, are in the JSON.
    if (peer->local_epoch || peer->peer_epoch)
        columns_cell(columns, "%u/%u", (unsigned)(peer->local_epoch % EPOCHS_IN_SPI),
                     (unsigned)(peer->peer_epoch % EPOCHS_IN_SPI));
    else
        columns_cell(columns, "-");
    columns_cell(columns, "%s", show_https(peer));
    columns_cell(columns, "%s", peer->https_suite);
    columns_cell(columns, "%u", peer->tunnels);
    columns_cell(columns, "%u", peer->flows);
    columns_cell(columns, "%s", format_words(peer->rules, peer->n_rules, rules));
    if (peer->problem[0])
        columns_line(columns, "%s", peer->problem);
}

enum exit_code show_peers(Twofold__V1__PeerState *const *peers, size_t count, FILE *out)
{
    static const char *const heads[] = {"PEER",        "IPSEC",   "IPSEC SUITE", "AGE",   "EPOCHS", "HTTPS",
                                        "HTTPS SUITE", "TUNNELS", "FLOWS",       "RULES", NULL};
    bool down = false;
    if (count == 0) {
        fprintf(out, "No peers: no rule of the policy in force concerns this host.\n");
        return EXIT_CODE_OK;
    }
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < count; i++) {
        peer_row(columns, peers[i]);
        down |= (peers[i]->ipsec_needed && !peers[i]->ipsec_up) || peers[i]->problem[0];
    }
    enum exit_code code = columns_finish(columns, out);
    return code == EXIT_CODE_OK && down ? EXIT_CODE_NO : code;
}

enum exit_code show_roles(Twofold__V1__RoleStatus *const *roles, size_t count, FILE *out)
{
    static const char *const heads[] = {
        "LAYER", "CIPHERS BY", "UID", "PROCESS", "OWN KEY (SHA-384)", "CA KEY (SHA-384)", NULL};
    char key[FORMAT_BYTES], ca[FORMAT_BYTES];
    struct columns *columns = columns_new(heads);
    for (size_t i = 0; i < count; i++) {
        columns_cell(columns, "%s", strcmp(roles[i]->role, "network") == 0 ? "ipsec" : roles[i]->role);
        columns_cell(columns, "%s", roles[i]->cipher_code);
        columns_cell(columns, "%u", roles[i]->uid);
        columns_cell(columns, "%u", roles[i]->pid);
        columns_cell(columns, "%s", format_hash(roles[i]->key_sha384, key));
        columns_cell(columns, "%s", format_hash(roles[i]->ca_sha384, ca));
    }
    return columns_finish(columns, out);
}

void show_warnings(char *const *warnings, size_t count, FILE *out)
{
    bool color = isatty(fileno(out)) == 1;
    char plain[2 * NOTE_TEXT_BYTES];
    for (size_t i = 0; i < count; i++) {
        snprintf(plain, sizeof(plain), "%s", warnings[i]);
        fprintf(out, "%swarning:%s %s\n", color ? "\033[33m" : "", color ? "\033[0m" : "", format_plain(plain));
    }
}
