// SPDX-License-Identifier: Apache-2.0

//! The machine that proves the promises: see `docs/reliability.md`.
//!
//! * [`history`]: what is done to a database, and what it should hold after each commit
//! * [`oracle`]: whether a file is a database in one of those states, whole and usable
//! * [`operations`], [`sweep`]: every call of every operation fails in every way
//! * [`images`]: power cuts, also a second one after the work that followed the first
//! * [`folders`]: power cuts while files get their names
//! * [`folder_faults`]: failures meanwhile
//! * [`fsync`]: what file systems do to pages after a failed sync
//! * [`unwritten`]: blocks that keep nothing after a failed sync
//! * [`naming`]: failures of the calls that give files their names
//! * [`races`]: many creators of one name
//! * [`kill`]: a process that is killed while it commits
//! * [`killed_compactions`]: processes that are killed in each phase of a compaction
//! * [`cost`]: how many syncs creating and opening take
//! * [`torture`]: all of it for a given time, with seeds of its own
//!
//! A failure prints a seed and a run: `COUCHSTORE_SIM_SEED=seed COUCHSTORE_SIM_RUN=run` runs that one alone.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod cost;
mod folder_faults;
mod folders;
mod fsync;
mod history;
mod images;
mod kill;
mod killed_compactions;
mod naming;
mod operations;
mod oracle;
mod races;
mod run;
mod sweep;
mod torture;
mod unwritten;
