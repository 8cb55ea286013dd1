// SPDX-License-Identifier: Apache-2.0

/* For LD_PRELOAD: the first THREADS threads are made, no more. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int made;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_fetch_add(&made, 1) >= atoi(getenv("THREADS"))) {
        return EAGAIN;
    }
    return real(thread, attributes, start, argument);
}
