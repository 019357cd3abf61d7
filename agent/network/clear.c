// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/network/clear.h"

#include <stdlib.h>

#include "agent/network/dataplane.h"
#include "agent/network/nft.h"
#include "agent/network/xfrm/apply.h"
#include "agent/network/xfrm/plan.h"
#include "agent/network/xfrm/sad.h"

enum err network_floor(struct note *note)
{
    struct dataplane_config config = {0};
    struct dataplane *dataplane;
    enum err err = dataplane_new(&config, &dataplane, note);
    if (err != ERR_OK)
        return err;
    err = dataplane_start(dataplane, note);
    dataplane_free(dataplane);
    return err;
}

static enum err clear_policies(struct netlink *netlink, struct note *note)
{
    struct spd_policy *policies;
    struct plan plan;
    size_t count;
    enum err err = spd_dump(netlink, &policies, &count, note);
    if (err != ERR_OK)
        return err;
    err = plan_make(NULL, 0, policies, count, &plan);
    free(policies);
    if (err != ERR_OK)
        return err;
    err = apply_plan(netlink, &plan, note);
    plan_free(&plan);
    return err;
}

static enum err clear_sas(struct netlink *netlink, struct note *note)
{
    struct sad_entry *entries;
    size_t count;
    enum err err = sad_dump(netlink, &entries, &count, note);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        err = sad_remove(netlink, &entries[i].destination, entries[i].spi, note);
        if (err == ERR_NOT_FOUND)
            err = ERR_OK;
    }
    free(entries);
    return err;
}

enum err network_clear(struct note *note)
{
    struct netlink *netlink = NULL;
    struct nft *nft = NULL;
    enum err err = netlink_open(NETLINK_XFRM, 0, &netlink, note);
    if (err == ERR_OK)
        err = clear_policies(netlink, note);
    if (err == ERR_OK)
        err = clear_sas(netlink, note);
    if (err == ERR_OK)
        err = nft_new(&nft, note);
    if (err == ERR_OK)
        err = nft_remove(nft, note);
    nft_free(nft);
    netlink_close(netlink);
    return err;
}
