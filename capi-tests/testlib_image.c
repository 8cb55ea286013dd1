/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Checksums, Snappy, and database files built byte by byte.
 */
#include "testlib.h"

static uint32_t crc_reflected(uint32_t polynomial, const void *data, size_t size) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; ++i) {
        crc ^= ((const unsigned char *)data)[i];
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
        }
    }
    return ~crc;
}

uint32_t crc32c(const void *data, size_t size) {
    return crc_reflected(0x82f63b78, data, size);
}

uint32_t crc32_ieee(const void *data, size_t size) {
    return crc_reflected(0xedb88320, data, size);
}

/* ---- file images made by hand ------------------------------------------- */

static void add_varint(struct bytes *b, size_t value) {
    while (value >= 0x80) {
        bytes_be(b, (value & 0x7f) | 0x80, 1);
        value >>= 7;
    }
    bytes_be(b, value, 1);
}

struct bytes snappy_literals(const struct bytes *plain) {
    struct bytes out = {NULL, 0};
    add_varint(&out, plain->size);
    for (size_t at = 0; at < plain->size;) {
        size_t n = plain->size - at < 60 ? plain->size - at : 60;
        bytes_be(&out, (n - 1) << 2, 1);
        bytes_add(&out, plain->data + at, n);
        at += n;
    }
    return out;
}

struct bytes snappy_decode(const unsigned char *data, size_t size) {
    struct bytes out = {NULL, 0};
    size_t at = 0;
    while (at < size && data[at++] >= 0x80) {
    }
    while (at < size) {
        unsigned tag = data[at++];
        size_t length, offset = 0;
        if ((tag & 3) == 0) {
            length = tag >> 2;
            if (length >= 60) {
                size_t extra = length - 59;
                length = 0;
                for (size_t i = 0; i < extra && at < size; ++i) {
                    length |= (size_t)data[at++] << (8 * i);
                }
            }
            ++length;
            CHECK(length <= size - at);
            bytes_add(&out, data + at, length);
            at += length;
            continue;
        }
        if ((tag & 3) == 1) {
            length = (tag >> 2 & 7) + 4;
            CHECK(at < size);
            offset = (size_t)(tag >> 5) << 8 | data[at++];
        } else {
            size_t width = (tag & 3) == 2 ? 2 : 4;
            length = (tag >> 2) + 1;
            CHECK(width <= size - at);
            for (size_t i = 0; i < width; ++i) {
                offset |= (size_t)data[at++] << (8 * i);
            }
        }
        CHECK(offset > 0 && offset <= out.size);
        while (length-- > 0) {
            unsigned char byte = out.data[out.size - offset];
            bytes_add(&out, &byte, 1);
        }
    }
    return out;
}

/* Appends content, with a block-type byte at every boundary. */
static void image_add(struct bytes *image, const void *data, size_t size, unsigned block_type) {
    for (size_t i = 0; i < size; ++i) {
        if (image->size % BLOCK_SIZE == 0) {
            bytes_be(image, block_type, 1);
        }
        bytes_add(image, (const unsigned char *)data + i, 1);
    }
}

uint64_t image_chunk(struct bytes *image, const void *body, size_t size) {
    struct bytes chunk = {NULL, 0};
    uint64_t position;
    if (image->size == 0) {
        bytes_be(image, DATA_BLOCK, 1);
    }
    position = image->size;
    bytes_be(&chunk, size | 0x80000000, 4);
    bytes_be(&chunk, crc32c(body, size), 4);
    bytes_add(&chunk, body, size);
    image_add(image, chunk.data, chunk.size, DATA_BLOCK);
    bytes_free(&chunk);
    return position;
}

uint64_t image_node(struct bytes *image, const struct bytes *node) {
    struct bytes packed = snappy_literals(node);
    uint64_t position = image_chunk(image, packed.data, packed.size);
    bytes_free(&packed);
    return position;
}

struct bytes image_read_node(const struct bytes *image, uint64_t position) {
    size_t length;
    CHECK(position + 8 <= image->size);
    length = read_be(image->data + position, 4) & 0x7fffffff;
    CHECK(position + 8 + length <= image->size);
    CHECK(position / BLOCK_SIZE == (position + 8 + length - 1) / BLOCK_SIZE &&
          position % BLOCK_SIZE != 0);
    CHECK_EQ_INT(read_be(image->data + position + 4, 4),
                 crc32c(image->data + position + 8, length));
    return snappy_decode(image->data + position + 8, length);
}

void node_entry(struct bytes *node, const void *key, size_t key_size, const struct bytes *value) {
    bytes_be(node, (uint64_t)key_size << 28 | value->size, 5);
    bytes_add(node, key, key_size);
    bytes_add(node, value->data, value->size);
}

struct bytes pointer_value(uint64_t position, uint64_t subtree_size, const struct bytes *reduce) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, position, 6);
    bytes_be(&b, subtree_size, 6);
    bytes_be(&b, reduce->size, 2);
    bytes_add(&b, reduce->data, reduce->size);
    return b;
}

struct bytes by_id_value(uint64_t seq, uint32_t size, uint64_t position, const char *rev_meta) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, seq, 6);
    bytes_be(&b, size, 4);
    bytes_be(&b, position, 6);
    bytes_be(&b, 1, 6);
    bytes_be(&b, 0, 1);
    bytes_add(&b, rev_meta, strlen(rev_meta));
    return b;
}

struct bytes by_seq_value(const char *id, uint32_t size, uint64_t position, const char *rev_meta) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, (uint64_t)strlen(id) << 28 | size, 5);
    bytes_be(&b, position, 6);
    bytes_be(&b, 1, 6);
    bytes_be(&b, 0, 1);
    bytes_add(&b, id, strlen(id));
    bytes_add(&b, rev_meta, strlen(rev_meta));
    return b;
}

struct bytes by_id_reduce(uint64_t live, uint64_t deleted, uint64_t size) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, live, 5);
    bytes_be(&b, deleted, 5);
    bytes_be(&b, size, 6);
    return b;
}

struct bytes by_seq_reduce(uint64_t count) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, count, 5);
    return b;
}

struct bytes tree_root(uint64_t position, uint64_t subtree_size, const struct bytes *reduce) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, position, 6);
    bytes_be(&b, subtree_size, 6);
    bytes_add(&b, reduce->data, reduce->size);
    return b;
}

uint64_t image_add_header(struct bytes *image, const struct image_header *header) {
    unsigned version = header->version ? header->version : 14;
    struct bytes body = {NULL, 0};
    struct bytes chunk = {NULL, 0};
    uint64_t position;
    bytes_be(&body, version, 1);
    bytes_be(&body, header->update_seq, 6);
    bytes_be(&body, header->purge_seq, 6);
    bytes_be(&body, 0, 6);
    bytes_be(&body, header->by_seq.size, 2);
    bytes_be(&body, header->by_id.size, 2);
    bytes_be(&body, header->local.size, 2);
    if (version >= 13) {
        bytes_be(&body, header->timestamp, 8);
    }
    if (version >= 14) {
        bytes_be(&body, header->previous, 6);
    }
    bytes_add(&body, header->by_seq.data, header->by_seq.size);
    bytes_add(&body, header->by_id.data, header->by_id.size);
    bytes_add(&body, header->local.data, header->local.size);
    bytes_be(&chunk, body.size + 4, 4);
    bytes_be(&chunk,
             version == 11 ? crc32_ieee(body.data, body.size) : crc32c(body.data, body.size), 4);
    bytes_add(&chunk, body.data, body.size);
    bytes_zeros(image, (BLOCK_SIZE - image->size % BLOCK_SIZE) % BLOCK_SIZE);
    position = image->size;
    image_add(image, chunk.data, chunk.size, HEADER_BLOCK);
    bytes_free(&body);
    bytes_free(&chunk);
    return position;
}

int headers_in(const char *name) {
    struct bytes file = file_read(name);
    int count = 0;
    for (size_t at = 0; at < file.size; at += BLOCK_SIZE) {
        count += file.data[at] == HEADER_BLOCK;
    }
    bytes_free(&file);
    return count;
}
