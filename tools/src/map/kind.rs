// SPDX-License-Identifier: Apache-2.0

//! What the bytes of a file are.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// What a byte is for. Each byte of a file is of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Body,
    ById,
    BySeq,
    Local,
    Header,
    OtherHeader,
    Damaged,
    Later,
    Garbage,
}

impl Kind {
    /// All of them, in the order in which they are drawn and listed.
    pub(super) const ALL: [Kind; 9] = [
        Kind::Body,
        Kind::ById,
        Kind::BySeq,
        Kind::Local,
        Kind::Header,
        Kind::OtherHeader,
        Kind::Damaged,
        Kind::Later,
        Kind::Garbage,
    ];

    /// Its place in [`Kind::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Whether the header that is shown needs it.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Kind::Body | Kind::ById | Kind::BySeq | Kind::Local | Kind::Header)
    }

    /// Name in legends.
    pub(super) fn label(self) -> &'static str {
        match self {
            Kind::Body => "document bodies",
            Kind::ById => "by-id nodes",
            Kind::BySeq => "by-seq nodes",
            Kind::Local => "local nodes",
            Kind::Header => "this header",
            Kind::OtherHeader => "other headers",
            Kind::Damaged => "damaged",
            Kind::Later => "after this header",
            Kind::Garbage => "garbage",
        }
    }

    /// Name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Body => "body",
            Kind::ById => "by_id",
            Kind::BySeq => "by_seq",
            Kind::Local => "local",
            Kind::Header => "header",
            Kind::OtherHeader => "other_headers",
            Kind::Damaged => "damaged",
            Kind::Later => "later",
            Kind::Garbage => "garbage",
        }
    }

    /// Stands for it in terminal pictures.
    pub(super) fn letter(self) -> char {
        match self {
            Kind::Body => 'B',
            Kind::ById => 'I',
            Kind::BySeq => 'S',
            Kind::Local => 'L',
            Kind::Header => 'H',
            Kind::OtherHeader => 'h',
            Kind::Damaged => '!',
            Kind::Later => '+',
            Kind::Garbage => '.',
        }
    }

    /// Its colour, red, green, blue: those of Okabe and Ito, which people who see few colours can tell apart too.
    pub(super) fn colour(self) -> [u8; 3] {
        match self {
            Kind::Body => [0x00, 0x9e, 0x73],
            Kind::ById => [0x00, 0x72, 0xb2],
            Kind::BySeq => [0x56, 0xb4, 0xe9],
            Kind::Local => [0xcc, 0x79, 0xa7],
            Kind::Header => [0x1a, 0x1a, 0x1a],
            Kind::OtherHeader => [0x7a, 0x7a, 0x7a],
            Kind::Damaged => [0xd5, 0x5e, 0x00],
            Kind::Later => [0xf0, 0xe4, 0x42],
            Kind::Garbage => [0xdc, 0xdc, 0xdc],
        }
    }
}

/// Numbers of bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes([u64; Kind::ALL.len()]);

impl Bytes {
    pub(super) fn get(&self, kind: Kind) -> u64 {
        self.0[kind.index()]
    }

    pub(super) fn add(&mut self, kind: Kind, bytes: u64) {
        let sum = &mut self.0[kind.index()];
        *sum = sum.saturating_add(bytes);
    }

    pub(super) fn add_all(&mut self, other: &Bytes) {
        for kind in Kind::ALL {
            self.add(kind, other.get(kind));
        }
    }

    /// Takes up to `excess` bytes off a kind and returns what is left to be taken off.
    pub(super) fn trim(&mut self, kind: Kind, excess: u64) -> u64 {
        let sum = &mut self.0[kind.index()];
        let taken = excess.min(*sum);
        *sum -= taken;
        excess - taken
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }

    pub(super) fn live(&self) -> u64 {
        self.present().filter(|(kind, _)| kind.is_live()).map(|(_, bytes)| bytes).sum()
    }

    /// The kinds that there are, with their bytes, in the order of [`Kind::ALL`].
    pub(super) fn present(&self) -> impl Iterator<Item = (Kind, u64)> + use<'_> {
        Kind::ALL.into_iter().map(|kind| (kind, self.get(kind))).filter(|&(_, bytes)| bytes > 0)
    }

    /// The kind with the most bytes.
    pub(super) fn dominant(&self) -> Kind {
        let most = self.present().max_by_key(|&(_, bytes)| bytes);
        most.map_or(Kind::Garbage, |(kind, _)| kind)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Kind::ALL.len()))?;
        for kind in Kind::ALL {
            map.serialize_entry(kind.name(), &self.get(kind))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_index() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn trimming_stops_at_zero() {
        let mut bytes = Bytes::default();
        bytes.add(Kind::Body, 10);
        assert_eq!(bytes.trim(Kind::Body, 4), 0);
        assert_eq!(bytes.trim(Kind::Body, 10), 4);
        assert_eq!(bytes.total(), 0);
        assert_eq!(bytes.dominant(), Kind::Garbage);
    }
}
