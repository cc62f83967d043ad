//! Seals what must not lie open in the database, with a key that lies in a file outside it.
//!
//! ChaCha20-Poly1305 with a random nonce; table, row and column are bound in, so that sealed values cannot be swapped. A sealed value is nonce,
//! then ciphertext and tag.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use rand::TryRngCore;

const NONCE: usize = 12;

/// Why nothing can be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named by the texts")]
pub enum Error {
    #[error(
        "could not read the key file {path}; name one with --key-file, or restore it: without it the sealed signing keys are lost"
    )]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not make the key file {path}")]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the key file {path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")]
    Open { path: PathBuf, mode: u32 },
    #[error(
        "the key file {path} does not hold 64 hexadecimal digits; restore it, or make a new one with: openssl rand -hex 32"
    )]
    Malformed { path: PathBuf },
    #[error("{place} was not sealed with this key file; start with the key file this database was made with")]
    OtherKey { place: String },
    #[error("the system gives no random numbers")]
    Random,
}

/// Where a sealed value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table.
    pub table: &'a str,
    /// Primary key.
    pub row: &'a str,
    /// Column.
    pub column: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.table, self.column, self.row)
    }
}

/// Holds the key. Cheap enough to clone.
#[derive(Clone)]
pub struct Sealer {
    cipher: ChaCha20Poly1305,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Reads the key file.
    ///
    /// # Errors
    /// It is not there, others can read it, or it does not hold a key.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(read)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Open { path: path.to_owned(), mode });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|_| Error::Malformed { path: path.to_owned() })?;
        Ok(Self { cipher: ChaCha20Poly1305::new(&key.into()) })
    }

    /// Reads the key file, and makes it first if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open); the file cannot be made.
    pub fn open_or_make(path: &Path) -> Result<Self, Error> {
        let make = |source| Error::Make { path: path.to_owned(), source };
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                writeln!(file, "{}", hex::encode(random::<32>()?)).and_then(|()| file.sync_all()).map_err(make)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(make(source)),
        }
        Self::open(path)
    }

    /// Seals a value for one place.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: plain, aad: &bound(place) };
        let sealed = self
            .cipher
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("plaintexts here are far below the cipher's limit");
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`Error::OtherKey`]: another key, another place, or a changed value.
    pub fn unseal(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let other = || Error::OtherKey { place: place.to_string() };
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE).ok_or_else(other)?;
        let payload = Payload { msg: ciphertext, aad: &bound(place) };
        self.cipher.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| other())
    }
}

fn bound(place: Place<'_>) -> Vec<u8> {
    [place.table, place.row, place.column].join("\0").into_bytes()
}

/// Bytes from the system's source of randomness.
///
/// # Errors
/// It gives none.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { table: "signing_key", row: "k1", column: "sealed" };

    #[test]
    fn a_sealed_value_opens_only_in_its_own_place_and_with_its_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
        let sealed = sealer.seal(PLACE, b"secret").unwrap();
        let again = Sealer::open(&folder.path().join("key")).unwrap();
        assert_eq!(again.unseal(PLACE, &sealed).unwrap(), b"secret");
        let other = Sealer::open_or_make(&folder.path().join("other")).unwrap();
        assert!(matches!(other.unseal(PLACE, &sealed), Err(Error::OtherKey { .. })));
        assert!(again.unseal(Place { row: "k2", ..PLACE }, &sealed).is_err());
        assert!(again.unseal(PLACE, &sealed[..8]).is_err());
    }

    #[test]
    fn a_key_file_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Sealer::open_or_make(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Sealer::open(&path), Err(Error::Open { .. })));
    }
}
