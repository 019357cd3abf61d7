// SPDX-License-Identifier: GPL-2.0-or-later
// Errors: one list makes the enumeration, the names and the texts. A function that can fail returns an `enum err`; results go
// through `ret_x` and are untouched on failure. Where people must be told more, the function takes a `struct note`.
#ifndef TWOFOLD_BASE_ERR_H
#define TWOFOLD_BASE_ERR_H

// Who has to act.
enum err_category {
    ERR_CATEGORY_NONE,
    ERR_CATEGORY_RETRY,  // passes by itself: try again
    ERR_CATEGORY_PEER,   // the other side broke the protocol or has no right
    ERR_CATEGORY_OURS,   // this program, this host
    ERR_CATEGORY_CONFIG, // what a person wrote or set up
};

#define ERR_LIST(X)                                           \
    X(OK, NONE, "no error")                                   \
    X(NOMEM, OURS, "out of memory")                           \
    X(IO, OURS, "input or output failed")                     \
    X(FULL, OURS, "no space left")                            \
    X(CORRUPT, OURS, "stored data is damaged")                \
    X(CRYPTO, OURS, "a cryptographic operation failed")       \
    X(KERNEL, OURS, "the kernel refused")                     \
    X(UNSUPPORTED, OURS, "not supported on this system")      \
    X(AGAIN, RETRY, "not now")                                \
    X(TIMEOUT, RETRY, "timed out")                            \
    X(CLOSED, RETRY, "the connection was closed")             \
    X(UNREACHABLE, RETRY, "the other side cannot be reached") \
    X(MALFORMED, PEER, "malformed input")                     \
    X(LIMIT, PEER, "a limit was exceeded")                    \
    X(PROTOCOL, PEER, "the protocol was violated")            \
    X(IDENTITY, PEER, "the identity was not proven")          \
    X(DENIED, PEER, "not permitted")                          \
    X(STALE, PEER, "older than what is known")                \
    X(REVOKED, PEER, "revoked")                               \
    X(EXPIRED, PEER, "expired")                               \
    X(NOT_FOUND, CONFIG, "not found")                         \
    X(EXISTS, CONFIG, "already there")                        \
    X(INVALID, CONFIG, "not valid")                           \
    X(USAGE, CONFIG, "wrong usage")

enum err {
#define ERR_ENUM(name, category, text) ERR_##name,
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
};

#define MUST_USE __attribute__((warn_unused_result))

// "MALFORMED"; for logs.
const char *err_name(enum err err);

// "malformed input"; for people.
const char *err_text(enum err err);

enum err_category err_category(enum err err);

// From errno: ENOMEM, ENOSPC and EDQUOT, ENOENT, EEXIST, EAGAIN, ETIMEDOUT, ECONNREFUSED and kin; ERR_IO otherwise.
enum err err_from_errno(int error);

#endif
