/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The histogram class in which the C++ form of couchstore_get_latency_info() gives its times.
 *
 * It belongs to the host. Where its header <platform/histogram.h> is found it is used; a program
 * that has nothing but this library gets the small class below, with the same names. The library
 * and its users must agree on which one it is: the layouts differ.
 *
 * Define COUCHSTORE_OWN_HISTOGRAM to get the class below in any case.
 */
#ifndef COUCHSTORE_HISTOGRAM_TYPES_H
#define COUCHSTORE_HISTOGRAM_TYPES_H

#ifdef __cplusplus

#if !defined(COUCHSTORE_OWN_HISTOGRAM) && __has_include(<platform/histogram.h>)
#include <platform/histogram.h>
#else
#define COUCHSTORE_HAS_OWN_HISTOGRAM 1

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

/** Times as histograms count them. */
using UnsignedMicroseconds = std::chrono::duration<uint64_t, std::micro>;

namespace cb {
/** The largest time that a histogram tells apart. */
template <typename Duration>
struct duration_limits {
    static constexpr Duration max() {
        return Duration{uint64_t{1} << 39};
    }
};
}  // namespace cb

/** Counts of values, in bins whose width doubles: [0, 1), [1, 2), [2, 4), [4, 8) ... */
template <typename T, template <typename> class Limits>
class Histogram {
public:
    /** One bin: the values from start() to below end(), and how many there were. */
    class Bin {
    public:
        Bin() = default;
        Bin(uint64_t first, uint64_t limit) : first_(first), limit_(limit) {
        }

        T start() const {
            return T{first_};
        }

        T end() const {
            return T{limit_};
        }

        size_t count() const {
            return count_;
        }

    private:
        friend class Histogram;
        uint64_t first_{0};
        uint64_t limit_{0};
        size_t count_{0};
    };

    using Bins = std::array<Bin, 40>;
    using const_iterator = typename Bins::const_iterator;

    Histogram() {
        uint64_t first = 0;
        uint64_t limit = 1;
        for (auto &bin : bins_) {
            bin = Bin(first, limit);
            first = limit;
            limit *= 2;
        }
    }

    /** Counts a value; the last bin takes what is above all others. */
    void add(const T &value, size_t count = 1) {
        bins_[indexOf(value)].count_ += count;
    }

    /** The bin that a value belongs to. */
    const Bin &getBin(const T &value) const {
        return bins_[indexOf(value)];
    }

    /** Forgets all counts. */
    void reset() {
        for (auto &bin : bins_) {
            bin.count_ = 0;
        }
    }

    /** Number of values. */
    size_t total() const {
        size_t sum = 0;
        for (const auto &bin : bins_) {
            sum += bin.count_;
        }
        return sum;
    }

    const_iterator begin() const {
        return bins_.begin();
    }

    const_iterator end() const {
        return bins_.end();
    }

    /** Number of bins. */
    size_t size() const {
        return bins_.size();
    }

private:
    size_t indexOf(const T &value) const {
        const auto limited = value > Limits<T>::max() ? Limits<T>::max() : value;
        size_t index = 0;
        while (index + 1 < bins_.size() && limited.count() >= bins_[index].limit_) {
            ++index;
        }
        return index;
    }

    Bins bins_;
};

using MicrosecondHistogram = Histogram<UnsignedMicroseconds, cb::duration_limits>;

#endif

#endif /* __cplusplus */

#endif /* COUCHSTORE_HISTOGRAM_TYPES_H */
