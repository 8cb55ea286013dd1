// SPDX-License-Identifier: Apache-2.0

#include "stats_ops.h"
#include "tests/wrapped_fileops_test.h"

// As hosts have it: the class that is tested does not own what it wraps, so another one does.
class TestedStatsOps : private std::unique_ptr<FileOpsInterface>, public StatsOps {
public:
    explicit TestedStatsOps(std::unique_ptr<FileOpsInterface> wrapped)
        : std::unique_ptr<FileOpsInterface>(std::move(wrapped)), StatsOps(get()) {
    }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Stats, WrappedOpsTest, TestedStatsOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Stats, UnbufferedWrappedOpsTest, TestedStatsOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Stats, BufferedWrappedOpsTest, TestedStatsOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Log, WrappedOpsTest, LogOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Log, UnbufferedWrappedOpsTest, LogOps);
INSTANTIATE_TYPED_TEST_SUITE_P(Log, BufferedWrappedOpsTest, LogOps);
