// SPDX-License-Identifier: Apache-2.0

//! A case from the beginning to the end.

use crate::case::{Case, Way};
use crate::engine::Engine;
use crate::world::World;

/// The number of cases, unless the environment says otherwise.
pub(crate) fn cases(default: u32) -> u32 {
    match std::env::var("COUCHSTORE_DIFFERENTIAL_CASES") {
        Ok(text) => text.parse().expect("COUCHSTORE_DIFFERENTIAL_CASES is a number"),
        Err(_) => default,
    }
}

/// Plays a case; the notes on its bytes.
pub(crate) fn play<E: Engine>(engine: &E, case: &Case, ways: [Way; 2]) -> Vec<String> {
    let mut world = World::new(engine, &case.settings, ways);
    case.ops.iter().for_each(|op| world.apply(op));
    world.finish()
}
