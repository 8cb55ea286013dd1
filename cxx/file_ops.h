// SPDX-License-Identifier: Apache-2.0
//
// A FileOpsInterface, and a key getter, as the Rust library calls them.
#pragma once

#include "entry.h"

namespace couchstore_shim {

// The library's own operations if ops is their object.
couchstore_private_ops toRust(FileOpsInterface *ops);

// A key getter for the length of one call. What it throws is a failure for Rust, which gives it the code that fits.
class Keys {
public:
    explicit Keys(cb::couchstore::detail::KeyFunction &getter_) : getter(getter_) {
    }

    couchstore_private_keys toRust();

private:
    static int find(void *ctx, sized_buf id, couchstore_private_key *out) noexcept;

    cb::couchstore::detail::KeyFunction &getter;
    // Keeps the bytes alive that Rust was given.
    cb::couchstore::detail::SharedKey key;
};

}  // namespace couchstore_shim
