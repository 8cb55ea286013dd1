// SPDX-License-Identifier: Apache-2.0
#include <platform/cb_malloc.h>

#include <cstdlib>

static size_t calls;

void *cb_malloc(size_t size) {
    ++calls;
    return std::malloc(size);
}
void *cb_realloc(void *block, size_t size) {
    return std::realloc(block, size);
}
void cb_free(void *block) {
    std::free(block);
}
size_t cb_malloc_calls() {
    return calls;
}
