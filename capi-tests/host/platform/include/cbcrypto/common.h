// SPDX-License-Identifier: Apache-2.0
//
// The host's keys, as in the newest generation.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace cb::crypto {
enum class Cipher { None, AES_256_GCM };
enum class KeyDerivationMethod : uint8_t { NoDerivation, KeyBased, PasswordBased };

struct KeyDerivationKey {
    KeyDerivationKey() = default;
    std::string id{"unencrypted"};
    std::string derivationKey;
    Cipher cipher{Cipher::None};
    KeyDerivationMethod derivationMethod{KeyDerivationMethod::NoDerivation};
};
using SharedKeyDerivationKey = std::shared_ptr<const KeyDerivationKey>;
}  // namespace cb::crypto
