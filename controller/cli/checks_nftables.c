// SPDX-License-Identifier: GPL-2.0-or-later
// Does this kernel take the kinds of rules that the agent writes? It is given a table to check, and forgets it again.
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller/cli/checks.h"

static const char ruleset[] = "table inet twofold_preflight {\n"
                              "  chain capture {\n"
                              "    type nat hook output priority -100; policy accept;\n"
                              "    meta skuid 0 accept\n"
                              "    fib daddr type local accept\n"
                              "    ip daddr { 192.0.2.1 } tcp dport { 80 } redirect to :15001\n"
                              "  }\n"
                              "  chain input {\n"
                              "    type filter hook input priority filter; policy accept;\n"
                              "    meta secpath exists accept\n"
                              "    ct direction reply ct state established accept\n"
                              "    limit rate 100/second log group 15 prefix \"twofold\" snaplen 96\n"
                              "    counter drop\n"
                              "  }\n"
                              "  chain output {\n"
                              "    type filter hook output priority filter; policy accept;\n"
                              "    rt ipsec exists accept\n"
                              "  }\n"
                              "}\n";

// The first line of what nftables says, without the place in our own text.
static void first_line(const char *text, char *line, size_t room)
{
    const char *error = strstr(text, "Error: ");
    const char *begin = error ? error + strlen("Error: ") : text;
    snprintf(line, room, "%.*s", (int)strcspn(begin, "\n"), begin);
}

void checks_nftables(struct checks *checks)
{
    static const char name[] = "nftables";
    char line[200];
    if (geteuid() != 0) {
        checks_add(checks, name, CHECK_WARN, "run this as root", "not tested: only root may ask");
        return;
    }
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!context) {
        checks_add(checks, name, CHECK_FAIL, "use a kernel with CONFIG_NF_TABLES", "libnftables could not start");
        return;
    }
    nft_ctx_set_dry_run(context, true);
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    if (nft_run_cmd_from_buffer(context, ruleset) == 0) {
        checks_add(checks, name, CHECK_OK, "", "the kernel takes redirect, fib, secpath, rt ipsec, ct, log and limit");
    } else {
        first_line(nft_ctx_get_error_buffer(context), line, sizeof(line));
        checks_add(checks, name, CHECK_FAIL,
                   "load nf_tables, nft_redir, nft_fib_inet, nft_xfrm, nft_ct, nft_log and nft_limit, or use a kernel "
                   "that has them",
                   "the kernel refuses a ruleset as the agent writes it: %s", line);
    }
    nft_ctx_free(context);
}
