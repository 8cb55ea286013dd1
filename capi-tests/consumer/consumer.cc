// SPDX-License-Identifier: Apache-2.0
//
// The same as consumer.c, in C++.
#include <libcouchstore/couch_db.h>
#include <libcouchstore/couch_latency.h>

#include <cstdio>
#include <cstring>

#include "steps.inc"

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    return consumer_run(argv[1]);
}
