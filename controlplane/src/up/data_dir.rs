//! The data directory of `up`: where each thing lies, and the lock that lets one process at a time use it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::Error;

/// A data directory this process holds alone. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes the directory if missing, and takes its lock.
    ///
    /// # Errors
    /// [`Error::Directory`], or [`Error::Running`] with what holds it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Directory { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(failed)?;
        // Others may enter: as root the database runs under another user. What is secret has a mode of its own.
        DirBuilder::new().recursive(true).mode(0o755).create(&absolute).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(absolute.join("lock")).map_err(failed)?;
        if let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            let mut pid = String::new();
            lock.read_to_string(&mut pid).map_err(failed)?;
            let address = fs::read_to_string(absolute.join("address")).unwrap_or_default();
            return Err(Error::Running {
                path: absolute,
                pid: pid.trim().to_owned(),
                address: address.trim().to_owned(),
            });
        }
        let mut this = Self { path: absolute, lock };
        this.sign().map_err(failed)?;
        Ok(this)
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster of the embedded Postgres.
    pub fn postgres(&self) -> PathBuf {
        self.path.join("postgres")
    }

    /// The key that seals secrets in the database.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("key")
    }

    /// The administrator's current token.
    pub fn token_file(&self) -> PathBuf {
        self.path.join("admin.token")
    }

    /// The administrator's kubeconfig, unless another place was named.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The address of last time.
    ///
    /// # Errors
    /// [`Error::Directory`] when the file is there and cannot be read or understood.
    pub fn address(&self) -> Result<Option<SocketAddr>, Error> {
        let path = self.path.join("address");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Directory { path, source }),
        };
        let address = text.trim().parse();
        address.map(Some).map_err(|error| Error::Directory { path, source: std::io::Error::other(error) })
    }

    /// Keeps the address for next time.
    ///
    /// # Errors
    /// [`Error::Directory`].
    pub fn keep_address(&self, address: SocketAddr) -> Result<(), Error> {
        let path = self.path.join("address");
        fs::write(&path, format!("{address}\n")).map_err(|source| Error::Directory { path, source })
    }

    fn sign(&mut self) -> std::io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        writeln!(self.lock, "{}", std::process::id())
    }
}
