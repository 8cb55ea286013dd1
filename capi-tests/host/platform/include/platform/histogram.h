// SPDX-License-Identifier: Apache-2.0
//
// The host's histogram: other members than the library's own, and functions in the host's library.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>

using UnsignedMicroseconds = std::chrono::duration<uint64_t, std::micro>;

namespace cb {
template <typename T>
struct duration_limits {};
}  // namespace cb

template <typename T, template <class> class Limits>
class Histogram {
public:
    void add(T value, size_t count = 1);
    size_t host_total() const;

private:
    std::map<uint64_t, size_t> counts;
};

using MicrosecondHistogram = Histogram<UnsignedMicroseconds, cb::duration_limits>;
