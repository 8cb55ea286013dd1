// SPDX-License-Identifier: Apache-2.0
//
// How exceptions get past the Rust library, which they must not unwind.
//
// A public function runs its work in guarded(). What a callback, or a file operation, throws meanwhile is caught by
// the function through which Rust called it (caught()): it is remembered in the innermost call of the thread, and Rust
// gets an error code, with which it unwinds in its own way. When it has returned, guarded() throws the exception on.
// Functions that end something, an unlock for example, are called after an exception, too: caught() alone does that.
//
// Calls nest: a callback may use the library, and then has a call of its own. All of this lives on the stack; the
// thread-local pointer below only says where.
#pragma once

#include <libcouchstore/couch_db.h>

#include <exception>
#include <utility>

namespace couchstore_shim {

class Call {
public:
    explicit Call(void *context_ = nullptr) noexcept
        : place(&innermost), outer(*place), context(context_) {
        *place = this;
    }

    ~Call() {
        *place = outer;
    }

    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

    // Remembers the exception being handled. The first one counts.
    static void remember() noexcept {
        if (innermost && !innermost->exception) {
            innermost->exception = std::current_exception();
        }
    }

    // Whether something was thrown in the innermost call: then callbacks are not called any more.
    static bool hasFailed() noexcept {
        return innermost && innermost->exception;
    }

    // What the innermost call was given, for callbacks that have no context of their own.
    static void *innermostContext() noexcept {
        return innermost ? innermost->context : nullptr;
    }

    bool failed() const noexcept {
        return static_cast<bool>(exception);
    }

    void rethrow() {
        if (exception) {
            std::rethrow_exception(std::exchange(exception, nullptr));
        }
    }

private:
    // Not thread_local: that would look for an initialisation wherever it is used.
    static __thread Call *innermost;
    // This thread's.
    Call **const place;
    Call *outer;
    void *context;
    std::exception_ptr exception;
};

// Runs the work of a public function, and throws on what was thrown in it.
template <typename Work>
auto guarded(Work &&work, void *context = nullptr) {
    Call call(context);
    const auto result = work();
    call.rethrow();
    return result;
}

// The same for work that tells callbacks of its call.
template <typename Work>
couchstore_error_t guardedScan(Work &&work) {
    Call call;
    const couchstore_error_t code = work(call);
    call.rethrow();
    return code;
}

// The same for a function with a result in *out. Where the function succeeded all the same (only a hint to the file
// operations threw), the result is given back, since the caller will not see it.
template <typename Result, typename Work>
couchstore_error_t guardedResult(Result **out, void (*release)(Result *), Work &&work) {
    Call call;
    const couchstore_error_t code = work();
    if (call.failed() && code == COUCHSTORE_SUCCESS) {
        release(std::exchange(*out, nullptr));
    }
    call.rethrow();
    return code;
}

// Closes and frees a handle; errors and exceptions are dropped.
void closeAndFree(Db *db) noexcept;

// Runs the user's code for Rust: its result, or otherwise if it threw.
template <typename Result, typename Work>
Result caught(Result otherwise, Work &&work) noexcept {
    try {
        return work();
    } catch (...) {
        Call::remember();
        return otherwise;
    }
}

// The same for a callback: after an exception in the same call it is not called any more.
template <typename Work>
int caughtCallback(Work &&work) noexcept {
    if (Call::hasFailed()) {
        return COUCHSTORE_ERROR_CANCEL;
    }
    return caught<int>(COUCHSTORE_ERROR_CANCEL, std::forward<Work>(work));
}

// The same for a callback that knows its call, which is the innermost one whenever Rust calls it.
template <typename Work>
int caughtCallback(const Call &call, Work &&work) noexcept {
    if (call.failed()) {
        return COUCHSTORE_ERROR_CANCEL;
    }
    return caught<int>(COUCHSTORE_ERROR_CANCEL, std::forward<Work>(work));
}

}  // namespace couchstore_shim
