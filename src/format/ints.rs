// SPDX-License-Identifier: Apache-2.0

//! Big-endian integers of the widths that the format uses: 8, 16, 32, 40, 48 and 64 bits, and the packed pair of a
//! 12-bit and a 28-bit length.

use super::Malformed;

/// Largest value of a 48-bit field: sequence numbers and file offsets.
pub(crate) const MAX_U48: u64 = (1 << 48) - 1;
/// Largest value of a 40-bit field: counts.
pub(crate) const MAX_U40: u64 = (1 << 40) - 1;
/// Largest key: its length has 12 bits.
pub(crate) const MAX_KEY: usize = (1 << 12) - 1;
/// Largest value in a node: its length has 28 bits.
pub(crate) const MAX_VALUE: usize = (1 << 28) - 1;

/// Reads fields one after the other from the front of a byte string.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) =
            self.0.split_at_checked(n).ok_or(Malformed("a field that ends within its bytes"))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array_of<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (head, tail) =
            self.0.split_first_chunk::<N>().ok_or(Malformed("a field that ends within its bytes"))?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.array_of().copied()
    }

    /// Eight bits.
    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// Sixteen bits.
    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// 40 bits.
    #[inline]
    pub(crate) fn u40(&mut self) -> Result<u64, Malformed> {
        let [a, b, c, d, e] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }

    /// 48 bits.
    #[inline]
    pub(crate) fn u48(&mut self) -> Result<u64, Malformed> {
        self.array().map(u48)
    }

    /// 64 bits.
    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A 12-bit and a 28-bit number packed in five bytes.
    pub(crate) fn u12_u28(&mut self) -> Result<(usize, usize), Malformed> {
        self.u40().map(split_u12_u28)
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// These bytes as a number: two reads, where byte by byte would be three.
#[inline]
pub(crate) fn u48([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from(u32::from_be_bytes([a, b, c, d])) << 16 | u64::from(u16::from_be_bytes([e, f]))
}

/// Eight of these bytes as a number.
#[inline]
pub(crate) fn eight<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u64 {
    bytes.get(AT..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Puts a number there, in eight bytes.
#[inline]
pub(crate) fn put_eight<const AT: usize, const N: usize>(bytes: &mut [u8; N], number: u64) {
    if let Some(place) = bytes.get_mut(AT..).and_then(<[u8]>::first_chunk_mut) {
        *place = number.to_be_bytes();
    }
}

/// The 12-bit and the 28-bit number that are packed in the low 40 bits.
#[inline]
pub(crate) fn split_u12_u28(packed: u64) -> (usize, usize) {
    ((packed >> 28) as usize & 0xfff, (packed & 0x0fff_ffff) as usize)
}

/// Appends the low 40 bits of `value`.
pub(crate) fn put_u40(out: &mut Vec<u8>, value: u64) {
    let [_, _, _, tail @ ..] = value.to_be_bytes();
    out.extend_from_slice(&tail);
}

/// The low 48 bits of `value`: numbers above 48 bits are stored modulo 2^48.
pub(crate) fn u48_bytes(value: u64) -> [u8; 6] {
    let [_, _, tail @ ..] = value.to_be_bytes();
    tail
}

/// Appends the low 48 bits of `value`.
pub(crate) fn put_u48(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&u48_bytes(value));
}

/// A 12-bit and a 28-bit number packed in 40 bits; the caller has checked the widths.
#[inline]
pub(crate) fn u12_u28(high: usize, low: usize) -> u64 {
    debug_assert!(high <= MAX_KEY && low <= MAX_VALUE);
    ((high as u64) << 28) | low as u64
}

/// Appends a 12-bit and a 28-bit number packed in five bytes; the caller has checked the widths.
#[inline]
pub(crate) fn put_u12_u28(out: &mut Vec<u8>, high: usize, low: usize) {
    put_u40(out, u12_u28(high, low));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn widths_round_trip() {
        let mut out = Vec::new();
        put_u40(&mut out, 0x01_0203_0405);
        put_u48(&mut out, 0xffff_0a0b_0c0d_0e0f);
        put_u12_u28(&mut out, 0xabc, 0x123_4567);
        assert_eq!(out, [1, 2, 3, 4, 5, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0xab, 0xc1, 0x23, 0x45, 0x67]);
        let mut fields = Fields(&out);
        assert_eq!(fields.u40().unwrap(), 0x01_0203_0405);
        assert_eq!(fields.u48().unwrap(), 0x0a0b_0c0d_0e0f);
        assert_eq!(fields.u12_u28().unwrap(), (0xabc, 0x123_4567));
        assert!(fields.u8().is_err());
    }
}
