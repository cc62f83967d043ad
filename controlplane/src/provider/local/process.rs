//! Agents among the processes of this machine, by what the kernel says of them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

/// A running `supervise` of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) token: String,
    pub(super) config: PathBuf,
    pid: i32,
    /// Clock ticks after boot: with the pid, this process and no other.
    started: u64,
}

impl Found {
    pub(super) fn id(&self) -> String {
        format!("pid-{}-{}", self.pid, self.started)
    }

    /// SIGTERM, or SIGKILL. A process that is gone by now is no error.
    pub(super) fn signal(&self, force: bool) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // The descriptor holds this process; only now is it certain that the number was not given to another meanwhile.
        if started(self.pid) != Some(self.started) {
            return Ok(());
        }
        match pidfd_send_signal(&descriptor, if force { Signal::KILL } else { Signal::TERM }) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// All of them: our user, this program, `supervise --config FILE --token TOKEN`. A process that is not reaped has no command line and is not among them.
pub(super) fn agents(program: &Path) -> io::Result<Vec<Found>> {
    let name = program.file_name();
    let mut found = vec![];
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.uid() != geteuid().as_raw() {
            continue;
        }
        let before = started(pid);
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<PathBuf> = line
            .split(|byte| *byte == 0)
            .map(|word| PathBuf::from(std::ffi::OsString::from_vec(word.to_vec())))
            .collect();
        // A script stands behind its interpreter.
        let ours = (0..2).any(|at| {
            words.get(at).is_some_and(|word| word.file_name() == name)
                && words.get(at + 1).is_some_and(|word| word.as_os_str() == "supervise")
        });
        if !ours {
            continue;
        }
        let value = |flag: &str| {
            words.iter().position(|word| word.as_os_str() == flag).and_then(|at| words.get(at + 1)).cloned()
        };
        if let (Some(token), Some(config), Some(started)) = (value("--token"), value("--config"), before) {
            found.push(Found { token: token.to_string_lossy().into_owned(), config, pid, started });
        }
    }
    // Between fork and exec a child of an agent looks like the agent itself; it is the younger one.
    found.sort_by_key(|found: &Found| (found.started, found.pid));
    let mut known = HashSet::new();
    found.retain(|found| known.insert((found.config.clone(), found.token.clone())));
    Ok(found)
}

/// Field 22 of stat; the name before it may hold anything but ends with the last parenthesis.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}
