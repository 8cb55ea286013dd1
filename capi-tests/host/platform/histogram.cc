// SPDX-License-Identifier: Apache-2.0
#include <platform/histogram.h>

template <typename T, template <class> class Limits>
void Histogram<T, Limits>::add(T value, size_t count) {
    counts[value.count()] += count;
}

template <typename T, template <class> class Limits>
size_t Histogram<T, Limits>::host_total() const {
    size_t total = 0;
    for (const auto &entry : counts) {
        total += entry.second;
    }
    return total;
}

template class Histogram<UnsignedMicroseconds, cb::duration_limits>;
