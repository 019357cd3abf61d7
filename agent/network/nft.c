// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/nft.h"

#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nft {
    struct nft_ctx *context;
};

enum err nft_new(struct nft **ret_nft, struct note *note)
{
    struct nft *nft = calloc(1, sizeof(*nft));
    if (nft == NULL)
        return ERR_NOMEM;
    nft->context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (nft->context == NULL || nft_ctx_buffer_output(nft->context) != 0 || nft_ctx_buffer_error(nft->context) != 0) {
        nft_free(nft);
        return note_set(note, ERR_UNSUPPORTED, "nftables cannot be used: is CONFIG_NF_TABLES in the kernel?");
    }
    *ret_nft = nft;
    return ERR_OK;
}

void nft_free(struct nft *nft)
{
    if (nft == NULL)
        return;
    if (nft->context != NULL)
        nft_ctx_free(nft->context);
    free(nft);
}

// The first line that says "Error: …", without the position in our generated text.
static enum err complain(struct nft *nft, struct note *note)
{
    const char *text = nft_ctx_get_error_buffer(nft->context);
    const char *error = text != NULL ? strstr(text, "Error: ") : NULL;
    if (error == NULL)
        return note_set(note, ERR_KERNEL, "nftables refused the ruleset without a reason");
    error += strlen("Error: ");
    return note_set(note, ERR_KERNEL, "nftables refused the ruleset: %.*s", (int)strcspn(error, "\n"), error);
}

static enum err run(struct nft *nft, const char *text, bool dry, struct note *note)
{
    nft_ctx_set_dry_run(nft->context, dry);
    if (nft_run_cmd_from_buffer(nft->context, text) != 0)
        return complain(nft, note);
    return ERR_OK;
}

enum err nft_check(struct nft *nft, const char *text, struct note *note)
{
    return run(nft, text, true, note);
}

enum err nft_apply(struct nft *nft, const char *text, struct note *note)
{
    return run(nft, text, false, note);
}

enum err nft_remove(struct nft *nft, struct note *note)
{
    return run(nft, "table " NFT_TABLE "\ndelete table " NFT_TABLE "\n", false, note);
}

enum nft_presence nft_presence(struct nft *nft)
{
    if (run(nft, "list chain " NFT_TABLE " capture\n", false, NULL) == ERR_OK)
        return NFT_SLICE;
    if (run(nft, "list chain " NFT_TABLE " input\n", false, NULL) == ERR_OK)
        return NFT_FLOOR;
    return NFT_ABSENT;
}

void nft_digest(struct nft *nft, uint8_t ret_digest[DIGEST_BYTES])
{
    unsigned before = nft_ctx_output_get_flags(nft->context);
    memset(ret_digest, 0, DIGEST_BYTES);
    // Numeric: nothing is looked up in files.
    nft_ctx_output_set_flags(nft->context, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
    if (run(nft, "list table " NFT_TABLE "\n", false, NULL) == ERR_OK) {
        const char *text = nft_ctx_get_output_buffer(nft->context);
        digest_sha384(text, strlen(text), ret_digest);
    }
    nft_ctx_output_set_flags(nft->context, before);
}

void nft_counters(struct nft *nft, uint64_t ret_packets[NFT_REASON_COUNT])
{
    memset(ret_packets, 0, sizeof(*ret_packets) * NFT_REASON_COUNT);
    if (run(nft, "list counters table " NFT_TABLE "\n", false, NULL) != ERR_OK)
        return;
    const char *text = nft_ctx_get_output_buffer(nft->context);
    for (int i = 0; text != NULL && i < NFT_REASON_COUNT; i++) {
        char head[64];
        snprintf(head, sizeof(head), "counter %s {", nft_reason_text((enum nft_reason)i));
        const char *at = strstr(text, head);
        const char *packets = at != NULL ? strstr(at, "packets ") : NULL;
        if (packets != NULL)
            ret_packets[i] = strtoull(packets + strlen("packets "), NULL, 10);
    }
}
