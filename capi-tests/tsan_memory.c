// SPDX-License-Identifier: Apache-2.0

/*
 * What rustc's instrumentation calls for copies of memory, for runtimes of ThreadSanitizer that do not have it yet (gcc's up
 * to 12): the functions of the C library, which the runtime watches. scripts/sanitize.sh links it.
 */
#include <string.h>

void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int byte, size_t size);

__attribute__((weak)) void *__tsan_memcpy(void *to, const void *from, size_t size) {
    return memcpy(to, from, size);
}

__attribute__((weak)) void *__tsan_memmove(void *to, const void *from, size_t size) {
    return memmove(to, from, size);
}

__attribute__((weak)) void *__tsan_memset(void *to, int byte, size_t size) {
    return memset(to, byte, size);
}
