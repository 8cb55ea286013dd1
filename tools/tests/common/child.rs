// SPDX-License-Identifier: Apache-2.0

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

/// Takes files without a name away from a process: asking for one gives EOPNOTSUPP, as on file systems that have none.
pub(crate) fn without_unnamed_files(command: &mut Command) {
    // SAFETY: as above.
    unsafe { command.pre_exec(forbid_unnamed_files) };
}

/// The bit of `O_TMPFILE` that `O_DIRECTORY` does not have.
const UNNAMED: u32 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// Where the kernel shows a filter the number of the call, and the lower half of its third argument, the flags.
const NUMBER: u32 = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
const FLAGS: u32 = std::mem::offset_of!(libc::seccomp_data, args) as u32
    + 16
    + if cfg!(target_endian = "big") { 4 } else { 0 };

fn forbid_unnamed_files() -> io::Result<()> {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
    let filter = |code: u32, jump: [u8; 2], k| sock_filter { code: code as u16, jt: jump[0], jf: jump[1], k };
    let (load, test) = (BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_K);
    let mut program = [
        filter(load, [0, 0], NUMBER),
        filter(test | BPF_JEQ, [0, 3], libc::SYS_openat as u32),
        filter(load, [0, 0], FLAGS),
        filter(test | BPF_JSET, [0, 1], UNNAMED),
        filter(BPF_RET | BPF_K, [0, 0], libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32),
        filter(BPF_RET | BPF_K, [0, 0], libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: numbers alone, and a program that is there during the call; the kernel copies it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}
