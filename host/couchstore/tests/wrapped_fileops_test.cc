// SPDX-License-Identifier: Apache-2.0

#include "wrapped_fileops_test.h"

#include <cstdio>
#include <unistd.h>

WrappedOpsFile::WrappedOpsFile()
    : path(::testing::TempDir() + "wrapped_ops." + std::to_string(::getpid())) {
    std::remove(path.c_str());
}

WrappedOpsFile::~WrappedOpsFile() {
    std::remove(path.c_str());
}
