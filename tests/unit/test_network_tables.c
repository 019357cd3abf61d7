// SPDX-License-Identifier: GPL-2.0-or-later
// What the network role remembers of the kernel: SAs and the pairs of addresses that have them.
#include <criterion/criterion.h>
#include <string.h>

#include "agent/network/address_pairs.h"
#include "agent/network/sa_table.h"

static struct ip ip(uint8_t last)
{
    struct ip made = {.len = 4, .bytes = {192, 0, 2, last}};
    return made;
}

Test(network_tables, sas_are_found_by_destination_and_spi)
{
    struct sa_table table = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        struct sad_entry entry = {.destination = ip((uint8_t)(i * 7)), .spi = 1000 - i, .reqid = i};
        cr_assert_eq(sa_table_put(&table, &entry), ERR_OK);
    }
    cr_assert_eq(table.count, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        struct ip destination = ip((uint8_t)(i * 7));
        const struct sad_entry *found = sa_table_find(&table, &destination, 1000 - i);
        cr_assert_not_null(found);
        cr_assert_eq(found->reqid, i);
    }
    struct ip other = ip(0);
    cr_assert_null(sa_table_find(&table, &other, 5000));
    sa_table_free(&table);
}

Test(network_tables, an_sa_is_replaced_and_dropped)
{
    struct sa_table table = {0};
    struct sad_entry entry = {.destination = ip(1), .spi = 7, .reqid = 1};
    cr_assert_eq(sa_table_put(&table, &entry), ERR_OK);
    entry.reqid = 2;
    cr_assert_eq(sa_table_put(&table, &entry), ERR_OK);
    cr_assert_eq(table.count, 1);
    cr_assert_eq(sa_table_find(&table, &entry.destination, 7)->reqid, 2);
    sa_table_drop(&table, &entry.destination, 8);
    cr_assert_eq(table.count, 1);
    sa_table_drop(&table, &entry.destination, 7);
    cr_assert_eq(table.count, 0);
    sa_table_drop(&table, &entry.destination, 7);
    sa_table_free(&table);
}

Test(network_tables, pairs_stay_sorted)
{
    struct address_pairs pairs = {0};
    struct address_pair *pair;
    for (unsigned i = 0; i < 200; i++) {
        struct ip local = ip((uint8_t)(i % 3)), remote = ip((uint8_t)(199 - i));
        cr_assert_eq(address_pairs_put(&pairs, &local, &remote, i, &pair), ERR_OK);
        pair->outbound_spi = i + 1;
    }
    for (size_t i = 1; i < pairs.count; i++) {
        int order = ip_compare(&pairs.items[i - 1].local, &pairs.items[i].local);
        cr_assert(order < 0 || (order == 0 && ip_compare(&pairs.items[i - 1].remote, &pairs.items[i].remote) < 0));
    }
    struct ip local = ip(1), remote = ip(198);
    pair = address_pairs_find(&pairs, &local, &remote);
    cr_assert_not_null(pair);
    cr_assert_eq(pair->outbound_spi, 2);
    // Putting it again keeps what is known of it.
    cr_assert_eq(address_pairs_put(&pairs, &local, &remote, 9, &pair), ERR_OK);
    cr_assert_eq(pair->outbound_spi, 2);
    address_pairs_drop(&pairs, pair);
    cr_assert_null(address_pairs_find(&pairs, &local, &remote));
    cr_assert_eq(pairs.count, 199);
    address_pairs_free(&pairs);
}
