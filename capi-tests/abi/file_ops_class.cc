// SPDX-License-Identifier: Apache-2.0
//
// The order of the virtual functions of FileOpsInterface is part of the ABI: classes compiled long ago are
// called through it. The Itanium C++ ABI gives a pointer to a virtual function as 1 + offset in the table.
#include <libcouchstore/file_ops.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

static int failures = 0;

template <typename Function>
static void expect_slot(const char *name, Function function, size_t slot) {
    uintptr_t representation[2];
    static_assert(sizeof function == sizeof representation, "not the Itanium C++ ABI");
    std::memcpy(representation, &function, sizeof function);
#if defined(__aarch64__) || defined(__arm__)
    const bool is_virtual = (representation[1] & 1) != 0;
    const size_t actual = representation[0] / sizeof(void *);
#else
    const bool is_virtual = (representation[0] & 1) != 0;
    const size_t actual = (representation[0] - 1) / sizeof(void *);
#endif
    if (!is_virtual || actual != slot) {
        std::fprintf(stderr, "%s: slot %zu, expected %zu\n", name, actual, slot);
        ++failures;
    }
}

#define EXPECT_SLOT(function, slot) expect_slot(#function, &FileOpsInterface::function, slot)

int main() {
    static_assert(std::has_virtual_destructor<FileOpsInterface>::value, "slots 0 and 1");
    EXPECT_SLOT(constructor, 2);
    EXPECT_SLOT(open, 3);
    EXPECT_SLOT(close, 4);
    EXPECT_SLOT(set_periodic_sync, 5);
    EXPECT_SLOT(set_tracing_enabled, 6);
    EXPECT_SLOT(set_write_validation_enabled, 7);
    EXPECT_SLOT(set_mprotect_enabled, 8);
    EXPECT_SLOT(pread, 9);
    EXPECT_SLOT(pwrite, 10);
    EXPECT_SLOT(goto_eof, 11);
    EXPECT_SLOT(sync, 12);
    EXPECT_SLOT(advise, 13);
    EXPECT_SLOT(tag, 14);
    EXPECT_SLOT(get_stats, 15);
    EXPECT_SLOT(destructor, 16);
    EXPECT_SLOT(free_buffers, 17);
    return failures != 0;
}
