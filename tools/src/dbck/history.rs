// SPDX-License-Identifier: Apache-2.0

//! The headers of a damaged file.

use super::log::Log;
use crate::found::FoundHeaders;
use couchstore::inspect::{BLOCK_SIZE, FileHeader, FoundHeader, Headers};
use couchstore::{Db, Error, Result};

/// A header and its offset.
pub(super) type At = (u64, FileHeader);

/// Tells of the damaged headers behind the newest one that can be read.
pub(super) fn damaged_behind(db: &Db, newest: u64, log: &mut Log<'_>) -> Result<()> {
    let behind = FoundHeaders(Headers::backward(db)).take_while(|found| found.position > newest);
    for found in behind {
        if let Err(error) = &found.header {
            log.header(found.position, error)?;
        }
    }
    Ok(())
}

/// The state of the database before this header, as far as it can be found.
///
/// After a rewind, headers of an abandoned history lie between a header and the one before it: what only they have is
/// gone for good. From version 14 on, headers tell which is the one before. Else, and if that one is damaged, it is
/// the next one down that has not used a higher sequence number already.
pub(super) fn older(db: &Db, current: &At, log: &mut Log<'_>) -> Result<Option<At>> {
    let (position, header) = current;
    let mut below = *position;
    if let (Some(_), previous) = (header.previous, header.previous_header()) {
        // Nothing but the header itself says that there is none before.
        let Some(previous) = previous else { return Ok(None) };
        if previous < *position && previous.is_multiple_of(BLOCK_SIZE) {
            match db.header_at(previous) {
                Ok(header) => return Ok(Some((previous, header))),
                // Compacted files begin without a header.
                Err(Error::NoHeader { .. }) if previous == 0 => return Ok(None),
                Err(error) => log.header(previous, &error)?,
            }
            below = previous;
        }
    }
    let Some(from) = below.checked_sub(1) else { return Ok(None) };
    for FoundHeader { position, header: found } in FoundHeaders(Headers::backward_from(db, from)) {
        log.proceed()?;
        match found {
            Ok(found) if found.update_seq <= header.update_seq => return Ok(Some((position, found))),
            Ok(_) => {}
            Err(error) => log.header(position, &error)?,
        }
    }
    Ok(None)
}
