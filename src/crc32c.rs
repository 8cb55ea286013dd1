//! CRC-32C of short pieces: bodies and small nodes.
//!
//! The crate `crc-fast` is made for long ones. It does the same with up to [`SHORT`] bytes, but what it takes to come
//! there is more than the work itself.

/// Longer pieces are worth the way.
const SHORT: usize = 256;

/// The checksum of `bytes`.
#[inline]
pub(crate) fn compute(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= SHORT && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instruction.
        return unsafe { by_instruction(bytes) };
    }
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[allow(clippy::little_endian_bytes, reason = "the processor's order")]
fn by_instruction(bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (eights, rest) = bytes.as_chunks::<8>();
    let (groups, single) = eights.as_chunks::<4>();
    let mut crc = u64::from(u32::MAX);
    for &[a, b, c, d] in groups {
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(a));
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(b));
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(c));
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(d));
    }
    for &eight in single {
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(eight));
    }
    let mut crc = crc as u32;
    for &byte in rest {
        crc = _mm_crc32_u8(crc, byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lengths_as_the_crate_has_them() {
        let bytes: Vec<u8> = (0..SHORT as u32 + 40).map(|at| ((at * at) >> 3) as u8).collect();
        for length in 0..bytes.len() {
            for start in 0..8.min(length) {
                let piece = bytes.get(start..length).unwrap_or_default();
                assert_eq!(compute(piece), crc_fast::crc32_iscsi(piece), "{start} {length}");
            }
        }
    }
}
