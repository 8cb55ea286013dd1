// SPDX-License-Identifier: Apache-2.0

#include "node_types.h"

namespace {

// All bytes of a struct as one number.
template <typename Raw>
uint64_t decode(const Raw &raw) {
    uint64_t value = 0;
    for (const uint8_t byte : raw.raw_bytes) {
        value = value << 8 | byte;
    }
    return value;
}

// The lowest bytes of a number.
template <typename Raw>
Raw encode(uint64_t value) {
    Raw raw{};
    for (size_t i = sizeof(raw.raw_bytes); i-- > 0; value >>= 8) {
        raw.raw_bytes[i] = static_cast<uint8_t>(value);
    }
    return raw;
}

}  // namespace

uint8_t couchstore_decode_raw08(raw_08 raw) {
    return static_cast<uint8_t>(decode(raw));
}

uint16_t couchstore_decode_raw16(raw_16 raw) {
    return static_cast<uint16_t>(decode(raw));
}

uint32_t couchstore_decode_raw24p(const raw_24 *raw) {
    return static_cast<uint32_t>(decode(*raw));
}

uint32_t couchstore_decode_raw32(raw_32 raw) {
    return static_cast<uint32_t>(decode(raw));
}

uint64_t couchstore_decode_raw40p(const raw_40 *raw) {
    return decode(*raw);
}

uint64_t couchstore_decode_raw48p(const raw_48 *raw) {
    return decode(*raw);
}

uint64_t couchstore_decode_raw64(raw_64 raw) {
    return decode(raw);
}

raw_08 couchstore_encode_raw08(uint8_t value) {
    return encode<raw_08>(value);
}

raw_16 couchstore_encode_raw16(uint16_t value) {
    return encode<raw_16>(value);
}

void couchstore_encode_raw24(uint64_t value, raw_24 *raw) {
    *raw = encode<raw_24>(value);
}

raw_32 couchstore_encode_raw32(uint32_t value) {
    return encode<raw_32>(value);
}

void couchstore_encode_raw40(uint64_t value, raw_40 *raw) {
    *raw = encode<raw_40>(value);
}

void couchstore_encode_raw48(uint64_t value, raw_48 *raw) {
    *raw = encode<raw_48>(value);
}

raw_64 couchstore_encode_raw64(uint64_t value) {
    return encode<raw_64>(value);
}

raw_kv_length encode_kv_length(size_t key_length, size_t value_length) {
    const auto both = encode<raw_40>(uint64_t{key_length} << 28 | value_length);
    raw_kv_length raw{};
    for (size_t i = 0; i < sizeof(raw.raw_kv); ++i) {
        raw.raw_kv[i] = both.raw_bytes[i];
    }
    return raw;
}

void decode_kv_length(const raw_kv_length *raw, uint32_t *key_length, uint32_t *value_length) {
    raw_40 both{};
    for (size_t i = 0; i < sizeof(raw->raw_kv); ++i) {
        both.raw_bytes[i] = raw->raw_kv[i];
    }
    const auto number = decode(both);
    *key_length = static_cast<uint32_t>(number >> 28);
    *value_length = static_cast<uint32_t>(number & 0x0fffffff);
}
