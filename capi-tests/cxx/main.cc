// SPDX-License-Identifier: Apache-2.0
//
// The main program of the C++ tests: the last argument is an empty folder to work in.

#include "support.h"

int main(int argc, char **argv) {
    ::testing::InitGoogleTest(&argc, argv);
    if (argc > 1) {
        testing_support::folder() = argv[argc - 1];
    }
    return RUN_ALL_TESTS();
}
