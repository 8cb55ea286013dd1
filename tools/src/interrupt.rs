// SPDX-License-Identifier: Apache-2.0

//! Ctrl-C and other signals that end programs: the first one asks the tool to end tidily, the second one ends it at
//! once.

use crate::program::Failure;
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user wants the tool to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen to the signals that end programs.
    pub fn listen() -> Result<Interrupt, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        let ignored = ignored_signals();
        let heeded = |signal: &&i32| ignored & (1 << (**signal - 1)) == 0;
        for &signal in TERM_SIGNALS.iter().chain(&[SIGHUP]).filter(heeded) {
            register(signal, &asked)
                .map_err(|error| Failure::Message(format!("cannot listen to signals: {error}")))?;
        }
        Ok(Interrupt(asked))
    }

    /// For callers that are no programs: signals are left to them.
    pub fn never() -> Interrupt {
        Interrupt(Arc::new(AtomicBool::new(false)))
    }

    /// An error once a signal has come.
    pub fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

fn register(signal: i32, asked: &Arc<AtomicBool>) -> io::Result<()> {
    // A terminal that goes away says so, and so does its shell: two of these are no sign of impatience.
    if signal != SIGHUP {
        // The order counts: the second signal finds the flag set by the first one.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(asked))?;
    }
    flag::register(signal, Arc::clone(asked))?;
    Ok(())
}

/// Signals that this program was started to ignore, for example by nohup: bit 0 is signal 1. None, where the system
/// does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
