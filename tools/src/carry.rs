// SPDX-License-Identifier: Apache-2.0

//! Callbacks of the library return the library's errors. A tool's own failure is carried past it.

use crate::program::Failure;
use couchstore::{Error, ErrorCode};

/// Keeps the failure of a callback until the library has returned.
#[derive(Debug, Default)]
pub struct Carry(Option<Failure>);

impl Carry {
    /// For the end of a callback: a failure is kept, and the library told to stop.
    pub fn take(&mut self, result: Result<(), Failure>) -> couchstore::Result<()> {
        result.map_err(|failure| {
            self.0 = Some(failure);
            Error::Callback(ErrorCode::CANCEL)
        })
    }

    /// What a call of the library has come to: the callback's failure, or else the library's.
    pub fn result<T>(self, result: couchstore::Result<T>) -> Result<T, Failure> {
        match self.0 {
            Some(failure) => Err(failure),
            None => Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_of_the_callback_comes_first() {
        let mut carry = Carry::default();
        let stopped = carry.take(Err(Failure::ClosedPipe));
        assert!(matches!(carry.result(stopped), Err(Failure::ClosedPipe)));
        assert!(matches!(Carry::default().result::<()>(Err(Error::DocNotFound)), Err(Failure::Library(_))));
        assert!(matches!(Carry::default().result(Ok(7)), Ok(7)));
    }
}
