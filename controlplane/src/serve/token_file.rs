//! A user's token in a file, replaced at half its life.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::Error;
use crate::auth::Keys;
use crate::kubeconfig::write_secret;

/// How long a token is good for, seconds.
const LIFE_SECONDS: i64 = 3600;
const LIFE: Duration = Duration::from_secs(LIFE_SECONDS.unsigned_abs());
/// Between two looks at the clock: short, for the timer stands still while a laptop sleeps.
const LOOK: Duration = Duration::from_secs(15);

/// Keeps one user's token fresh in one file, mode 0600.
#[derive(Debug)]
pub struct TokenFile {
    keys: Keys,
    user: String,
    groups: Vec<String>,
    path: PathBuf,
}

impl TokenFile {
    /// A token of `user` with `groups`, at `path`. Nothing is written yet.
    pub fn new(keys: Keys, user: &str, groups: &[&str], path: PathBuf) -> Self {
        Self { keys, user: user.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), path }
    }

    /// Writes a new token in one step.
    ///
    /// # Errors
    /// It cannot be signed, or the file cannot be written.
    pub fn write(&self) -> Result<(), Error> {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let token = self.keys.api_token(&self.user, &groups, LIFE_SECONDS).map_err(Error::Keys)?;
        // Without a line break: not every client cuts it off.
        write_secret(&self.path, &token).map_err(Error::Kubeconfig)
    }

    /// Replaces the token at half its life until told to stop. A write that fails is tried again.
    pub async fn keep(self, stop: CancellationToken) {
        let mut written = SystemTime::now();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            // A clock set back counts as time to write, too.
            if written.elapsed().is_ok_and(|age| age < LIFE / 2) {
                continue;
            }
            match self.write() {
                Ok(()) => written = SystemTime::now(),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    path = %self.path.display(),
                    "cannot replace the administrator's token; clients are refused when the old one ends"
                ),
            }
        }
    }
}
