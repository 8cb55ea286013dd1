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

/// Both ways of a case give the same.
pub(crate) fn in_both_ways<E: Engine>(engine: &E, case: &Case) {
    let [first, second] = case.settings.ways;
    let traces = [play(engine, case, [first, second]), play(engine, case, [second, first])];
    assert_eq!(traces[0], traces[1], "the bytes of both ways");
}
