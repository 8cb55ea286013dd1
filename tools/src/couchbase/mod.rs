// SPDX-License-Identifier: Apache-2.0

//! What kv-engine, the program that couchstore files mostly come from, puts into documents. To the library all of it
//! is bytes.
//!
//! * [`rev_meta`]: CAS, expiry, flags and datatype, in the revision metadata
//! * [`collection`]: the collection that an id begins with
//! * [`vbstate`]: the local document that says what a file is
//! * [`xattr`]: extended attributes in front of a body

pub mod collection;
pub mod rev_meta;
pub mod vbstate;
pub mod xattr;
