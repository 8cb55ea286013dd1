// SPDX-License-Identifier: Apache-2.0

#include "stats_ops.h"
#include "tests/wrapped_fileops_test.h"

INSTANTIATE_TYPED_TEST_SUITE_P(Stats, WrappedOpsTest, StatsOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Log, WrappedOpsTest, LogOps);
