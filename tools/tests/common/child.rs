//! Tools as processes of their own, to be sent signals.

use super::program;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Seconds after which such a process ends by itself, should the test have died that was to end it.
const LIMIT: u32 = 300;

/// A tool, by its name, in the folder `dir`. The signals that end programs end it: whoever runs the tests may ignore
/// them, as `nohup` and shells in the background do, and children inherit that.
pub(crate) fn process(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(dir);
    // SAFETY: between fork and exec; the calls may be made there, and touch nothing but the new process.
    unsafe { command.pre_exec(heed_signals) };
    command
}

/// Sends a signal, by its name.
pub(crate) fn signal(name: &str, id: u32) {
    let kill = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap();
    assert!(kill.success());
}

fn heed_signals() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: the default action is a valid handler for these.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: takes a number alone. The alarm outlives exec.
    unsafe { libc::alarm(LIMIT) };
    Ok(())
}
