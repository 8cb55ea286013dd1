// SPDX-License-Identifier: Apache-2.0
//
// Keys as hosts of generation MO declare them.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace cb::crypto {
enum class Cipher { None, AES_256_GCM };

class EncryptionKeyIface {
public:
    virtual ~EncryptionKeyIface() = default;
    virtual std::string_view getId() const = 0;
    virtual Cipher getCipher() const = 0;
    virtual std::string_view getKey() const = 0;
};

struct DataEncryptionKey final : public EncryptionKeyIface {
    DataEncryptionKey() = default;
    DataEncryptionKey(std::string id, Cipher cipher, std::string key);
    std::string_view getId() const override;
    Cipher getCipher() const override;
    std::string_view getKey() const override;

    std::string id{"unencrypted"};
    Cipher cipher{Cipher::None};
    std::string key;
};
using SharedEncryptionKey = std::shared_ptr<const DataEncryptionKey>;
}  // namespace cb::crypto
