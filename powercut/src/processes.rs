// SPDX-License-Identifier: Apache-2.0

//! Starting and watching the processes that mount.

use crate::filesystem::FileSystem;
use crate::serve::ServedDisk;
use crate::worker::{FINE, Run, Task, WRONG};
use clap::ValueEnum;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Nothing takes so long, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn command(job: &str, system: FileSystem, mount: &Path) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", job, "--system", &system.to_string(), "--mount"]).arg(mount);
    Ok(command)
}

/// Waits for a process to end, and kills one that does not.
fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no end after {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a workload in a process of its own. Returns what is wrong.
pub(crate) fn run_workload(run: &Run) -> Result<(), String> {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let child = command("run", run.place.system, &run.place.mount).and_then(|mut command| {
        command.arg("--disk").arg(&run.disk).arg("--mark").arg(&run.mark);
        command.args(["--seed", &run.seed.to_string(), "--workload", &run.workload.name(), "--sabotage"]);
        command.arg(name(run.sabotage.to_possible_value()).unwrap_or_default());
        command.args(["--told", &run.told.to_string()]);
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()
    });
    let mut child = child.map_err(|error| error.to_string())?;
    let status = wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    let said = child.stderr.take().map(std::io::read_to_string).and_then(Result::ok).unwrap_or_default();
    Err(format!("{} ({status})", said.trim()))
}

/// A process that checks images.
pub(crate) struct Checker {
    system: FileSystem,
    mount: PathBuf,
    process: Option<Process>,
}

struct Process {
    child: Child,
    answers: Receiver<String>,
}

impl Checker {
    pub(crate) fn new(system: FileSystem, mount: PathBuf) -> Checker {
        Checker { system, mount, process: None }
    }

    fn process(&mut self) -> std::io::Result<&mut Process> {
        if self.process.is_none() {
            let mut command = command("check", self.system, &self.mount)?;
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (sender, answers) = channel();
            let out = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
            std::thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
            self.process = Some(Process { child, answers });
        }
        self.process.as_mut().ok_or_else(|| std::io::ErrorKind::BrokenPipe.into())
    }

    /// Has an image checked. Returns how many files are left for the next compaction to remove, or what is wrong.
    pub(crate) fn check(&mut self, disk: &ServedDisk, mut task: Task) -> Result<u64, String> {
        task.disk.clone_from(&disk.path);
        let process = self.process().map_err(|error| error.to_string())?;
        let sent = process.child.stdin.as_mut().map(|stdin| stdin.write_all(task.line().as_bytes()));
        let answer = process.answers.recv_timeout(PATIENCE);
        let text = match answer {
            Ok(answer) => match answer.split_once(' ') {
                Some((FINE, left)) => return left.parse().map_err(|_| answer.clone()),
                Some((WRONG, text)) => return Err(text.to_owned()),
                _ => answer,
            },
            Err(RecvTimeoutError::Timeout) => format!("no answer after {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => format!("the process that checks has died; {sent:?}"),
        };
        self.end();
        Err(text)
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.end();
    }
}
