// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
extern "C" {
__attribute__((visibility("default"))) void *cb_malloc(size_t size);
__attribute__((visibility("default"))) void *cb_realloc(void *block, size_t size);
__attribute__((visibility("default"))) void cb_free(void *block);
}
size_t cb_malloc_calls();
