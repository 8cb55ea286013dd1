// SPDX-License-Identifier: Apache-2.0

//! Callbacks that end a scan with an error of their own, or early, or never.
//!
//! The visitors inside have one signature and the library's error. Here a callback's result decides what the whole call
//! returns.

use super::Db;
use super::iter::ids;
use super::pages::key_of;
use super::scan::ScanOptions;
use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::DocInfoRef;
use crate::format::ints::MAX_U48;
use std::cmp::Ordering;
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow, RangeBounds};

/// What a callback may return, and what the call that it is given to returns then.
///
/// * `()`: the callback sees everything; the call returns `Result<()>`
/// * `Result<(), E>` with an `E` that the library's errors can become: the first error ends the call, which returns it as
///   it is
/// * [`ControlFlow<B>`](ControlFlow): a break ends the call early; it returns `Result<ControlFlow<B>>`
pub trait Outcome: Sized {
    /// What the call returns.
    type Output;
    /// What ends it.
    #[doc(hidden)]
    type Stop;
    #[doc(hidden)]
    fn stop(self) -> Option<Self::Stop>;
    #[doc(hidden)]
    fn stopped(by: Self::Stop) -> Self::Output;
    #[doc(hidden)]
    fn ended(result: Result<()>) -> Self::Output;
}

impl Outcome for () {
    type Output = Result<()>;
    type Stop = Infallible;

    fn stop(self) -> Option<Infallible> {
        None
    }

    fn stopped(by: Infallible) -> Result<()> {
        match by {}
    }

    fn ended(result: Result<()>) -> Result<()> {
        result
    }
}

impl<E: From<Error>> Outcome for Result<(), E> {
    type Output = Result<(), E>;
    type Stop = E;

    fn stop(self) -> Option<E> {
        self.err()
    }

    fn stopped(by: E) -> Result<(), E> {
        Err(by)
    }

    fn ended(result: Result<()>) -> Result<(), E> {
        Ok(result?)
    }
}

impl<B> Outcome for ControlFlow<B> {
    type Output = Result<ControlFlow<B>>;
    type Stop = B;

    fn stop(self) -> Option<B> {
        self.break_value()
    }

    fn stopped(by: B) -> Result<ControlFlow<B>> {
        Ok(ControlFlow::Break(by))
    }

    fn ended(result: Result<()>) -> Result<ControlFlow<B>> {
        result.map(ControlFlow::Continue)
    }
}

/// Ends a visitor inside; nobody sees it.
fn enough() -> Error {
    Error::Callback(ErrorCode::CANCEL)
}

/// What a callback has ended a visit with, if it has; inside that ends with [`enough`].
struct Kept<S>(Option<S>);

impl<S> Kept<S> {
    fn note<O: Outcome<Stop = S>>(&mut self, outcome: O) -> Result<()> {
        let Some(stop) = outcome.stop() else { return Ok(()) };
        self.0 = Some(stop);
        Err(enough())
    }

    fn output<O: Outcome<Stop = S>>(self, result: Result<()>) -> O::Output {
        match self.0 {
            Some(stop) => O::stopped(stop),
            None => O::ended(result),
        }
    }
}

impl Db {
    /// Shows the documents with ids in this range to `visit`, in order, without a copy of any.
    ///
    /// What `visit` returns decides what this returns: see [`Outcome`]. It may use this handle, also to save: what is shown
    /// is what the handle saw at the beginning.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use couchstore::{Db, ScanOptions};
    ///
    /// let db = Db::create(dir.path().join("a.couch"))?;
    /// db.put("one", "1")?;
    /// db.put("two", "2")?;
    /// let mut bytes = 0;
    /// db.for_each("o".., ScanOptions::new(), |info| bytes += info.physical_size)?;
    /// // With an error of its own.
    /// db.for_each("o".., ScanOptions::new(), |info| -> Result<(), Box<dyn std::error::Error>> {
    ///     let text = String::from_utf8(db.body(info)?)?;
    ///     text.parse::<u8>()?;
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_each<K: AsRef<[u8]>, O: Outcome>(
        &self,
        range: impl RangeBounds<K>,
        options: ScanOptions,
        mut visit: impl FnMut(&DocInfoRef<'_>) -> O,
    ) -> O::Output {
        let span = ids(&range);
        let (first, last) = (key_of(&span.first).unwrap_or_default(), key_of(&span.last));
        let mut kept = Kept(None);
        // Ends that are left out are shown by the scan. It ends behind them by itself, and tells of damage that it has stepped
        // over.
        let result = self.docs_in_range(first, last, options, &mut |info| match span.place_of(info) {
            Ordering::Less | Ordering::Greater => Ok(()),
            Ordering::Equal => kept.note(visit(info)),
        });
        kept.output::<O>(result)
    }

    /// Shows the documents with sequence numbers in this range to `visit`, in order: as [`Db::for_each`].
    pub fn for_each_change<O: Outcome>(
        &self,
        range: impl RangeBounds<u64>,
        options: ScanOptions,
        mut visit: impl FnMut(&DocInfoRef<'_>) -> O,
    ) -> O::Output {
        // Whole numbers: no bound has to be left out, nor an entry that does not tell its number.
        let first = match range.start_bound() {
            Bound::Included(&seq) => Some(seq),
            Bound::Excluded(&seq) => seq.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let last = match range.end_bound() {
            Bound::Included(&seq) => Some(seq),
            Bound::Excluded(&seq) => seq.checked_sub(1),
            Bound::Unbounded => Some(MAX_U48),
        };
        let mut kept = Kept(None);
        let result = match (first, last) {
            (Some(first), Some(last)) if first <= last.min(MAX_U48) => {
                let last = Some(last.min(MAX_U48));
                self.changes_in_range(first, last, options, &mut |info| kept.note(visit(info)))
            }
            _ => self.check_open(),
        };
        kept.output::<O>(result)
    }

    /// Shows the local documents to `visit`, id and body, in order of ids: as [`Db::for_each`].
    pub fn for_each_local<O: Outcome>(&self, mut visit: impl FnMut(&[u8], &[u8]) -> O) -> O::Output {
        let mut kept = Kept(None);
        let result = self.scan_local(b"", &mut |id, body| kept.note(visit(id, body)));
        kept.output::<O>(result)
    }
}
