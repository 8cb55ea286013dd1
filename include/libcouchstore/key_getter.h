/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * How C++ programs hand keys to libcouchstore: cb::couchstore::EncryptionKeyGetter. It is included
 * by <libcouchstore/couch_db.h>.
 */
#ifndef COUCHSTORE_KEY_GETTER_H
#define COUCHSTORE_KEY_GETTER_H

#ifdef __cplusplus

#include <libcouchstore/crypto_types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cb::couchstore {

/** The key type of the generation before, by the name that it had here. */
using SharedEncryptionKey = std::shared_ptr<const cb::crypto::DataEncryptionKey>;

namespace detail {

using SharedKey = std::shared_ptr<const cb::crypto::KeyDerivationKey>;

/** What a getter is in the ABI. */
using KeyFunction = std::function<SharedKey(std::string_view)>;

/** KeyDerivationKey once more, for hosts that know only DataEncryptionKey. The same layout. */
template <typename Cipher>
struct KeyRecord {
    std::string id;
    std::string derivationKey;
    Cipher cipher;
    uint8_t derivationMethod;
};

/** A key of the generation before as one of today: a key without derivation. */
template <typename OldKey>
SharedKey convertKey(const std::shared_ptr<const OldKey> &old) {
    if (!old) {
        return {};
    }
    using Record = KeyRecord<std::decay_t<decltype(old->cipher)>>;
    auto record = std::make_shared<const Record>(Record{old->id, old->key, old->cipher, 0});
    return {record, reinterpret_cast<const cb::crypto::KeyDerivationKey *>(record.get())};
}

template <typename Function>
constexpr bool returnsKey = std::is_invocable_r_v<SharedKey, Function &, std::string_view>;

template <typename Function>
constexpr bool returnsOldKey =
        !returnsKey<Function> &&
        std::is_invocable_r_v<SharedEncryptionKey, Function &, std::string_view>;

}  // namespace detail

/**
 * Finds keys. It is called with the id that is stored in the file, or with an empty one when a file
 * is created: then it returns the key to encrypt the file with, or null for a file that is not
 * encrypted. It is never called for an existing file that is not encrypted.
 *
 * Made from any function that returns a shared KeyDerivationKey, or a shared DataEncryptionKey as
 * in the generation before. In the ABI it is the std::function that it derives from.
 */
class EncryptionKeyGetter : public detail::KeyFunction {
public:
    EncryptionKeyGetter() = default;

    EncryptionKeyGetter(std::nullptr_t) noexcept {
    }

    template <typename Function,
              std::enable_if_t<!std::is_base_of_v<EncryptionKeyGetter, std::decay_t<Function>> &&
                                       detail::returnsKey<std::decay_t<Function>>,
                               int> = 0>
    EncryptionKeyGetter(Function &&getter) : detail::KeyFunction(std::forward<Function>(getter)) {
    }

    template <typename Function,
              std::enable_if_t<!std::is_base_of_v<EncryptionKeyGetter, std::decay_t<Function>> &&
                                       detail::returnsOldKey<std::decay_t<Function>>,
                               short> = 0>
    EncryptionKeyGetter(Function &&getter) {
        std::function<SharedEncryptionKey(std::string_view)> old(std::forward<Function>(getter));
        if (old) {
            assign([old = std::move(old)](std::string_view id) -> detail::SharedKey {
                return detail::convertKey<cb::crypto::DataEncryptionKey>(old(id));
            });
        }
    }

private:
    void assign(detail::KeyFunction getter) {
        static_cast<detail::KeyFunction &>(*this) = std::move(getter);
    }
};

namespace detail {

/** The function of a getter. (Converting one to a std::function would wrap it, even an empty one.) */
inline KeyFunction &functionOf(EncryptionKeyGetter &getter) {
    return getter;
}

}  // namespace detail

static_assert(sizeof(EncryptionKeyGetter) == sizeof(detail::KeyFunction),
              "libcouchstore: the getter must be nothing but its function");

}  // namespace cb::couchstore

#endif /* __cplusplus */

#endif /* COUCHSTORE_KEY_GETTER_H */
