//! [`KubeconfigLock`]: the file beside a kubeconfig by which client-go, and so kubectl, keeps two programs from writing it at once.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Error;

/// Longest wait for another program, which writes in an instant.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(50);

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct KubeconfigLock(PathBuf);

impl KubeconfigLock {
    /// Waits until no other program writes the file of this name, and keeps them from it.
    ///
    /// # Errors
    /// [`Error::Locked`]; the folder cannot be written to.
    pub(super) async fn take(kubeconfig: &Path) -> Result<Self, Error> {
        Self::take_within(kubeconfig, PATIENCE).await
    }

    async fn take_within(kubeconfig: &Path, patience: Duration) -> Result<Self, Error> {
        let mut name = kubeconfig.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let failed = |source| Error::Lock { path: lock.clone(), source };
        if let Some(folder) = lock.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let began = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && began.elapsed() < patience => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(Error::Locked { path: kubeconfig.to_owned(), lock });
                }
                Err(source) => return Err(failed(source)),
            }
        }
    }
}

impl Drop for KubeconfigLock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(error = &error as &dyn std::error::Error, lock = %self.0.display(), "delete it: programs wait for it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_who_waits_in_vain_is_told_for_what() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config");
        let held = KubeconfigLock::take(&path).await.unwrap();
        assert!(folder.path().join("new/config.lock").exists(), "as client-go names it");
        let refused = KubeconfigLock::take_within(&path, Duration::ZERO).await.unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
        let (next, ()) = tokio::join!(KubeconfigLock::take(&path), async { drop(held) });
        drop(next.unwrap());
        assert!(!folder.path().join("new/config.lock").exists());
    }
}
