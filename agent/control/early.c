// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/control/early.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/spiffe.h"
#include "proto/wire/message.h"
#include "proto/wire/slice.h"

// In the order of arrival.
struct early {
    Twofold__V1__Bundle *kept[EARLY_KEPT_MAX];
    size_t count;
};

enum err early_new(struct early **ret_early)
{
    struct early *early = calloc(1, sizeof(*early));

    if (!early)
        return ERR_NOMEM;
    *ret_early = early;
    return ERR_OK;
}

void early_free(struct early *early)
{
    if (!early)
        return;
    for (size_t i = 0; i < early->count; i++)
        message_free(early->kept[i]);
    free(early);
}

static void forget(struct early *early, size_t index)
{
    message_free(early->kept[index]);
    early->count--;
    memmove(&early->kept[index], &early->kept[index + 1], (early->count - index) * sizeof(early->kept[0]));
}

enum err early_keep(struct early *early, const Twofold__V1__Bundle *bundle)
{
    ProtobufCMessage *copy;

    if (!name_is_valid(bundle->host))
        return ERR_MALFORMED;
    enum err err = message_copy(&bundle->base, &copy);
    if (err)
        return err;
    for (size_t i = 0; i < early->count; i++) {
        if (strcmp(early->kept[i]->host, bundle->host) == 0) {
            forget(early, i);
            break;
        }
    }
    if (early->count == EARLY_KEPT_MAX)
        forget(early, 0);
    early->kept[early->count++] = (Twofold__V1__Bundle *)copy;
    return ERR_OK;
}

void early_release(struct early *early, const Twofold__V1__Slice *slice,
                   void (*hand_on)(void *context, const Twofold__V1__Bundle *bundle), void *context)
{
    size_t left = 0;

    for (size_t i = 0; i < early->count; i++) {
        Twofold__V1__Bundle *bundle = early->kept[i];

        if (slice_peer(slice, bundle->host)) {
            hand_on(context, bundle);
            message_free(bundle);
        } else {
            early->kept[left++] = bundle;
        }
    }
    early->count = left;
}

size_t early_count(const struct early *early)
{
    return early->count;
}
