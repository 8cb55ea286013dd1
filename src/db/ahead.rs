// SPDX-License-Identifier: Apache-2.0

//! Reading bodies ahead in a scan.
//!
//! A scan does not know whether whoever it shows documents to will read their bodies. Once [`ROW`] in a row were read,
//! those of a leaf are read at once, until a leaf comes of which fewer than half were wanted.

#![forbid(unsafe_code)]

use crate::format::block::content_end;
use crate::io::shared::SharedFile;
use std::ops::Range;

/// So many bodies in a row are taken for a sign that all will be read.
const ROW: u32 = 4;

/// What a scan has learnt of its callback.
#[derive(Default)]
pub(crate) struct BodiesAhead {
    /// Bodies read in a row.
    row: u32,
    active: bool,
    /// Bodies of the leaf at hand were read ahead. Not so if they were all there, from a plan before.
    planned: bool,
    /// Documents with a body that were shown of it, and those whose body was read.
    shown: u32,
    read: u32,
    /// All of this was read when that was looked at last: most bodies of a leaf stand one behind the other. Should a callback
    /// have read something else meanwhile, they are read one by one.
    held: Range<u64>,
}

impl BodiesAhead {
    /// For a scan that will want all bodies.
    pub(crate) fn of_all() -> BodiesAhead {
        BodiesAhead { active: true, ..BodiesAhead::default() }
    }

    /// Whether bodies are to be read ahead.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Another leaf comes.
    pub(crate) fn begin_leaf(&mut self) {
        self.active &= self.read * 2 >= self.shown;
        (self.planned, self.shown, self.read, self.held) = (false, 0, 0, 0..0);
    }

    /// Whether [`BodiesAhead::are_missing`] has to be asked.
    #[inline]
    pub(crate) fn may_be_missing(&self, body: u64, size: u64) -> bool {
        self.active
            && !self.planned
            && body != 0
            && !(self.held.start <= body && content_end(body, size) <= self.held.end)
    }

    /// A document with its body there is about to be shown. Whether the body and those of the documents behind it are to
    /// be read ahead: not so if the body is there already.
    #[inline]
    pub(crate) fn are_missing(&mut self, file: &SharedFile, body: u64, size: u64) -> bool {
        if !self.may_be_missing(body, size) {
            return false;
        }
        self.planned = match file.has_read(body, size) {
            Some(end) => {
                self.held = body..end;
                false
            }
            None => true,
        };
        self.planned
    }

    /// It was shown. What was read meanwhile is forgotten, so that the next one is seen by itself.
    #[inline]
    pub(crate) fn after(&mut self, file: &SharedFile, body: u64) {
        let last = file.take_last_body();
        if body != 0 {
            self.note(last == body);
        }
    }

    /// As [`BodiesAhead::after`], for whoever knows whether a body was read.
    #[inline]
    pub(crate) fn note(&mut self, was_read: bool) {
        self.shown += 1;
        if was_read {
            self.read += 1;
            self.row += 1;
            self.active |= self.row >= ROW;
        } else {
            self.row = 0;
        }
    }
}
