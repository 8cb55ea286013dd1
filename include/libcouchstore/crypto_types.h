/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Encryption keys, as the C++ functions of libcouchstore take them: the types cb::crypto::*.
 *
 * They belong to the host. Where its header <cbcrypto/common.h> is found it is used; a program that
 * has nothing but this library gets the declarations below, with the same names and layouts.
 *
 * Define COUCHSTORE_OWN_CRYPTO_TYPES to get the declarations below in any case.
 */
#ifndef COUCHSTORE_CRYPTO_TYPES_H
#define COUCHSTORE_CRYPTO_TYPES_H

#ifdef __cplusplus

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#if !defined(COUCHSTORE_OWN_CRYPTO_TYPES) && __has_include(<cbcrypto/common.h>)
#include <cbcrypto/common.h>

namespace cb::crypto {
// Hosts of different years know only one of these two. A declaration is enough for the rest.
struct DataEncryptionKey;
struct KeyDerivationKey;
}  // namespace cb::crypto

#else
#define COUCHSTORE_HAS_OWN_CRYPTO_TYPES 1

namespace cb::crypto {

/** How a file is encrypted. */
enum class Cipher {
    None,        /**< it is not */
    AES_256_GCM, /**< AES with keys of 256 bits, in Galois/counter mode */
};

/** How the key that encrypts a file follows from the key that the host knows. */
enum class KeyDerivationMethod : uint8_t {
    NoDerivation,  /**< the file has a random key, which is stored wrapped with the host's */
    KeyBased,      /**< derived from the host's key */
    PasswordBased, /**< derived from a password; no file of couchstore is */
};

/** A key from which the keys of files are derived. */
struct KeyDerivationKey {
    static constexpr const char *UnencryptedKeyId = "unencrypted";
    static constexpr const char *PasswordKeyId = "password";

    KeyDerivationKey() = default;

    KeyDerivationKey(std::string id_,
                     Cipher cipher_,
                     std::string derivationKey_,
                     KeyDerivationMethod method = KeyDerivationMethod::KeyBased)
        : id(std::move(id_)),
          derivationKey(std::move(derivationKey_)),
          cipher(cipher_),
          derivationMethod(method) {
    }

    std::string id{UnencryptedKeyId};
    std::string derivationKey;
    Cipher cipher{Cipher::None};
    KeyDerivationMethod derivationMethod{KeyDerivationMethod::NoDerivation};
};

using SharedKeyDerivationKey = std::shared_ptr<const KeyDerivationKey>;

/** What hosts of the generation before derive their keys from. */
class EncryptionKeyIface {
public:
    virtual ~EncryptionKeyIface() = default;
    virtual std::string_view getId() const = 0;
    virtual Cipher getCipher() const = 0;
    virtual std::string_view getKey() const = 0;
};

/** A key that is used without derivation: all that the generation before knew. */
struct DataEncryptionKey final : public EncryptionKeyIface {
    DataEncryptionKey() = default;

    DataEncryptionKey(std::string id_, Cipher cipher_, std::string key_)
        : id(std::move(id_)), cipher(cipher_), key(std::move(key_)) {
    }

    std::string_view getId() const override {
        return id;
    }

    Cipher getCipher() const override {
        return cipher;
    }

    std::string_view getKey() const override {
        return key;
    }

    std::string id{KeyDerivationKey::UnencryptedKeyId};
    Cipher cipher{Cipher::None};
    std::string key;
};

using SharedEncryptionKey = std::shared_ptr<const DataEncryptionKey>;

}  // namespace cb::crypto

#endif

#endif /* __cplusplus */

#endif /* COUCHSTORE_CRYPTO_TYPES_H */
