// SPDX-License-Identifier: Apache-2.0

//! couchstore beside redb and LMDB: the same documents, the same work, the same durability. Prints Markdown.
//!
//! * [`corpus`]: the documents, those of `couch_bench`
//! * [`store`]: what each of them does; [`couch`], [`redb_store`], [`lmdb`]: how
//! * [`run`]: the work, on the clock and compared off it
//! * [`table`]: the tables
//!
//! Errors end the program with a message: there is nothing to clean up but a temporary folder.

mod couch;
// The same documents as those of couch_bench.
#[path = "../../tools/src/bench/corpus.rs"]
#[allow(dead_code, reason = "couch_bench needs more of it")]
mod corpus;
mod lmdb;
mod redb_store;
mod run;
mod store;
mod table;

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use store::{Kind, Syncs};

/// Compare couchstore with redb and LMDB
#[derive(Debug, Parser)]
struct Args {
    /// Documents
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    docs: u64,

    /// Size of bodies in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    body_size: u32,

    /// Documents of a commit while loading; a tenth of that while updating
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..))]
    batch: u32,

    /// Where files are made
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Whether commits wait for the disk; by default there is a table for each
    #[arg(long, value_enum)]
    sync: Option<Sync>,

    /// Run everything so many times and take the one in the middle, row by row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sync {
    Real,
    None,
}

fn main() -> store::Result<()> {
    let args = Args::parse();
    let folder = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let regimes = match args.sync {
        Some(Sync::Real) => vec![Syncs::Real],
        Some(Sync::None) => vec![Syncs::None],
        None => vec![Syncs::Real, Syncs::None],
    };
    let work =
        run::Work { documents: args.docs, body_size: args.body_size as usize, batch: args.batch as usize };
    for syncs in regimes {
        let mut columns = Vec::new();
        for kind in Kind::ALL {
            let runs = (0..args.repeat).map(|_| run::measure(&work, kind, syncs, &folder));
            columns.push((kind.name(), run::middle(runs.collect::<store::Result<_>>()?)));
        }
        table::print(&work, syncs, &columns);
    }
    Ok(())
}
