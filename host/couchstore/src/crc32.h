// SPDX-License-Identifier: Apache-2.0
//
// The checksums of chunks: CRC-32 in files of version 11, CRC-32C in newer ones.
#pragma once

#include <cstddef>
#include <cstdint>

enum crc_mode_e {
    CRC_UNKNOWN = 0,  // either will do
    CRC32 = 1,
    CRC32C = 2,
};

// The checksum of a buffer. CRC_UNKNOWN is treated as CRC32C.
uint32_t get_checksum(const uint8_t *buf, size_t buf_len, crc_mode_e mode);

// Whether a buffer has this checksum; CRC_UNKNOWN accepts both kinds. Returns 1 if it does, 0 if not.
int perform_integrity_check(const uint8_t *buf, size_t buf_len, uint32_t checksum, crc_mode_e mode);
