// SPDX-License-Identifier: Apache-2.0

//! What the library's tests and this program share: the model of a database, and the second reader of the format.

#[path = "../../tests/common/forwarding.rs"]
pub(crate) mod forwarding;
#[path = "../../tests/common/model.rs"]
pub(crate) mod model;
#[path = "../../tests/common/naming.rs"]
pub(crate) mod naming;
#[path = "../../tests/common/raw.rs"]
pub(crate) mod raw;
#[path = "../../tests/common/store.rs"]
pub(crate) mod store;
