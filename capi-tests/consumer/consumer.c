// SPDX-License-Identifier: Apache-2.0

/* Saves a document, commits, opens the file again and reads the document. */
#include <libcouchstore/couch_db.h>
#include <libcouchstore/couch_latency.h>

#include <stdio.h>
#include <string.h>

#include "steps.inc"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    return consumer_run(argv[1]);
}
