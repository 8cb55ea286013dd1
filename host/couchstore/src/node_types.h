// SPDX-License-Identifier: Apache-2.0
//
// Integers as files have them: big-endian, of 1 to 8 bytes, in structs without padding.
#pragma once

#include <libcouchstore/visibility.h>

#include <cstddef>
#include <cstdint>

struct raw_08 {
    uint8_t raw_bytes[1];
};

struct raw_16 {
    uint8_t raw_bytes[2];
};

struct raw_24 {
    uint8_t raw_bytes[3];
};

struct raw_32 {
    uint8_t raw_bytes[4];
};

struct raw_40 {
    uint8_t raw_bytes[5];
};

struct raw_48 {
    uint8_t raw_bytes[6];
};

struct raw_64 {
    uint8_t raw_bytes[8];
};

LIBCOUCHSTORE_API uint8_t couchstore_decode_raw08(raw_08 raw);
LIBCOUCHSTORE_API uint16_t couchstore_decode_raw16(raw_16 raw);
LIBCOUCHSTORE_API uint32_t couchstore_decode_raw24p(const raw_24 *raw);
LIBCOUCHSTORE_API uint32_t couchstore_decode_raw32(raw_32 raw);
LIBCOUCHSTORE_API uint64_t couchstore_decode_raw40p(const raw_40 *raw);
LIBCOUCHSTORE_API uint64_t couchstore_decode_raw48p(const raw_48 *raw);
LIBCOUCHSTORE_API uint64_t couchstore_decode_raw64(raw_64 raw);

LIBCOUCHSTORE_API raw_08 couchstore_encode_raw08(uint8_t value);
LIBCOUCHSTORE_API raw_16 couchstore_encode_raw16(uint16_t value);
LIBCOUCHSTORE_API void couchstore_encode_raw24(uint64_t value, raw_24 *raw);
LIBCOUCHSTORE_API raw_32 couchstore_encode_raw32(uint32_t value);
LIBCOUCHSTORE_API void couchstore_encode_raw40(uint64_t value, raw_40 *raw);
LIBCOUCHSTORE_API void couchstore_encode_raw48(uint64_t value, raw_48 *raw);
LIBCOUCHSTORE_API raw_64 couchstore_encode_raw64(uint64_t value);

// The lengths of key and value before an item of a node: 12 and 28 bits.
struct raw_kv_length {
    uint8_t raw_kv[5];
};

raw_kv_length encode_kv_length(size_t key_length, size_t value_length);
void decode_kv_length(const raw_kv_length *raw, uint32_t *key_length, uint32_t *value_length);
