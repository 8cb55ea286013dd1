// SPDX-License-Identifier: Apache-2.0

#include "crc32.h"

#include <array>

namespace {

// Both checksums are reflected, start with all ones and end inverted; they differ in the polynomial.
constexpr uint32_t crc32Polynomial = 0xedb88320;
constexpr uint32_t crc32cPolynomial = 0x82f63b78;

constexpr std::array<uint32_t, 256> makeTable(uint32_t polynomial) {
    std::array<uint32_t, 256> table{};
    for (uint32_t byte = 0; byte < table.size(); ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ polynomial : crc >> 1;
        }
        table[byte] = crc;
    }
    return table;
}

constexpr auto crc32Table = makeTable(crc32Polynomial);
constexpr auto crc32cTable = makeTable(crc32cPolynomial);

}  // namespace

uint32_t get_checksum(const uint8_t *buf, size_t buf_len, crc_mode_e mode) {
    const auto &table = mode == CRC32 ? crc32Table : crc32cTable;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < buf_len; ++i) {
        crc = crc >> 8 ^ table[(crc ^ buf[i]) & 0xff];
    }
    return ~crc;
}

int perform_integrity_check(const uint8_t *buf,
                            size_t buf_len,
                            uint32_t checksum,
                            crc_mode_e mode) {
    if (mode != CRC_UNKNOWN) {
        return get_checksum(buf, buf_len, mode) == checksum;
    }
    return get_checksum(buf, buf_len, CRC32C) == checksum ||
           get_checksum(buf, buf_len, CRC32) == checksum;
}
