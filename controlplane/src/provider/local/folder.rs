//! The folders of agents: `machines/<uid>/<token>/` with configuration and log, and one for the sockets of each token.
//!
//! Invariant: they are bounded. A machine keeps those of a few attempts, whose logs say why they failed, and none when it is gone for good.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::{Error, Local, unknown};

/// Longest path of a Unix socket, bytes.
const SOCKET_PATH_BYTES: usize = 107;
/// Longest name of a socket in its folder: `/slot-999`.
const SOCKET_NAME_BYTES: usize = 9;
/// Attempts of a machine whose folders are kept beside the new one.
const KEPT: usize = 2;
/// Bytes of the log's end that are quoted when an agent has failed.
const QUOTED_BYTES: usize = 600;

impl Local {
    pub(super) fn machine_dir(&self, machine_uid: &str) -> PathBuf {
        self.settings.data_dir.join("machines").join(machine_uid)
    }

    /// Follows from the token, so that it is found again after a restart.
    pub(super) fn socket_dir(&self, token: &str) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(self.settings.data_dir.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(token);
        let name = hex::encode(&hash.finalize()[..8]);
        let near = self.settings.data_dir.join("sockets").join(&name);
        if near.as_os_str().len() + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES {
            near
        } else {
            self.settings.short_dir.join(format!("tr-{name}"))
        }
    }

    pub(super) fn log(&self, token: &str) -> Option<PathBuf> {
        let machines = fs::read_dir(self.settings.data_dir.join("machines")).ok()?;
        machines.flatten().map(|machine| machine.path().join(token).join("agent.log")).find(|log| log.exists())
    }

    /// Drops what was kept of all attempts but the latest ones, and of none that runs.
    pub(super) fn drop_old_attempts(&self, machine_uid: &str) -> io::Result<()> {
        let mut attempts = self.attempts(machine_uid)?;
        attempts.sort_by_key(|(_, made)| std::cmp::Reverse(*made));
        let running = self.agents("look for agents").map_err(io::Error::other)?;
        for (token, _) in attempts.into_iter().skip(KEPT) {
            if running.iter().all(|found| found.token != token) {
                self.drop_attempt(machine_uid, &token)?;
            }
        }
        Ok(())
    }

    /// Drops all that was kept of a machine. One of its agents that still runs keeps its files.
    pub(super) fn drop_machine(&self, machine_uid: &str) -> Result<(), Error> {
        let dir = self.machine_dir(machine_uid);
        if self.agents("look for agents")?.iter().any(|found| found.config.starts_with(&dir)) {
            return Ok(());
        }
        let failed = || unknown("drop the files of a machine");
        for (token, _) in self.attempts(machine_uid).map_err(failed())? {
            self.drop_attempt(machine_uid, &token).map_err(failed())?;
        }
        remove(&dir).map_err(failed())
    }

    fn drop_attempt(&self, machine_uid: &str, token: &str) -> io::Result<()> {
        remove(&self.socket_dir(token))?;
        remove(&self.machine_dir(machine_uid).join(token))?;
        self.children().remove(token);
        Ok(())
    }

    /// Tokens that have a folder, and when it was last written to.
    fn attempts(&self, machine_uid: &str) -> io::Result<Vec<(String, SystemTime)>> {
        let entries = match fs::read_dir(self.machine_dir(machine_uid)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.modified()?))
            })
            .collect()
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A folder that only we may enter: where others may write, a name alone proves nothing.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a private folder of ours", path.display()),
        ));
    }
    Ok(())
}

pub(super) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text)
}

pub(super) fn last_lines(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(QUOTED_BYTES)..]).into_owned();
    let lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}
