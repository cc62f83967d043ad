//! [`Credentials`]: what logging in brought, in one file for each server and user.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::device::{self, Tokens};
use super::{Error, Offer, outbound};
use crate::kubeconfig::write_secret;

/// Longest wait for another process that refreshes the same file.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(50);

/// Tokens of one user of one control plane.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The control plane.
    pub server: String,
    /// The user's name there.
    pub user: String,
    issuer: String,
    issuer_authority: Option<String>,
    token_endpoint: String,
    client_id: String,
    id_token: String,
    /// When it came, by this machine's clock: the issuer's may differ.
    obtained: i64,
    /// For how long it is good, seconds.
    life: i64,
    refresh_token: Option<String>,
}

/// A token, and until when it is to be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The token.
    pub token: String,
    /// Seconds since the epoch: a little before its end, so that it does not end on the way.
    pub until: i64,
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("until", &self.until).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("server", &self.server).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where the credentials of a user of a server lie.
pub fn path(folder: &Path, server: &str, user: &str) -> PathBuf {
    let digest = hex::encode(Sha256::digest(format!("{server}\0{user}")));
    let host = server.split("://").nth(1).unwrap_or(server);
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    folder.join(format!("{}-{}.json", host.chars().take(100).collect::<String>(), &digest[..12]))
}

impl Credentials {
    pub(super) fn new(
        server: String,
        offer: &Offer,
        token_endpoint: String,
        user: String,
        tokens: Tokens,
        now: i64,
    ) -> Result<Self, Error> {
        let mut credentials = Self {
            server,
            user,
            issuer: offer.issuer.clone(),
            issuer_authority: offer.issuer_authority.clone(),
            token_endpoint,
            client_id: offer.client_id.clone(),
            id_token: String::new(),
            obtained: now,
            life: 0,
            refresh_token: None,
        };
        credentials.take(tokens, now)?;
        Ok(credentials)
    }

    /// A token that is good for half its life or more: the one in the file, or a new one of the issuer's. Many processes may ask at once: one asks the issuer.
    ///
    /// # Errors
    /// There is no such file, the login is over, or the issuer does not answer and the last token has ended.
    pub async fn token(path: &Path, clock: impl Fn() -> i64) -> Result<Fresh, Error> {
        let credentials = Self::read(path)?;
        if credentials.young(clock()) {
            return Ok(credentials.fresh());
        }
        let _lock = lock(path).await?;
        // Another process may have been first, while this one waited: what it brought is younger than this call.
        let mut credentials = Self::read(path)?;
        let now = clock();
        if credentials.young(now) {
            return Ok(credentials.fresh());
        }
        match credentials.refresh(now).await {
            Ok(()) => {
                credentials.write(path)?;
                Ok(credentials.fresh())
            }
            Err(Error::Unreachable { .. } | Error::Refused { .. }) if now < credentials.fresh().until => {
                Ok(credentials.fresh())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the file of a new login, while nobody refreshes what was there.
    ///
    /// # Errors
    /// [`Error::Write`]; another process holds it for too long.
    pub async fn keep(&self, path: &Path) -> Result<(), Error> {
        if let Some(folder) = path.parent() {
            let failed = |source| Error::Read { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let _lock = lock(path).await?;
        self.write(path)
    }

    /// Writes the file in one step, mode 0600.
    fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).expect("a tree of strings and numbers is JSON");
        write_secret(path, &text).map_err(|source| Error::Write { path: path.to_owned(), source: Box::new(source) })
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotLoggedIn { path: path.to_owned() });
            }
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        serde_json::from_str(&text).map_err(|_| Error::NotLoggedIn { path: path.to_owned() })
    }

    async fn refresh(&mut self, now: i64) -> Result<(), Error> {
        let refresh_token = self.refresh_token.clone().ok_or_else(|| Error::Over { issuer: self.issuer.clone() })?;
        let outbound = outbound(&self.issuer, self.issuer_authority.as_deref())?;
        let at = (self.issuer.as_str(), self.token_endpoint.as_str());
        let tokens = device::refresh(&outbound, at, &self.client_id, &refresh_token).await?;
        self.take(tokens, now)
    }

    fn take(&mut self, tokens: Tokens, now: i64) -> Result<(), Error> {
        let claims = tokens.id_token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value = claims.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let (Some(issued), Some(expires)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
            let what = "an id_token that does not say when it ends".to_owned();
            return Err(Error::Answer { server: self.issuer.clone(), what });
        };
        self.id_token = tokens.id_token;
        (self.obtained, self.life) = (now, expires.saturating_sub(issued).max(0));
        // An issuer that sends no new one lets the old one be used again.
        self.refresh_token = tokens.refresh_token.or(self.refresh_token.take());
        Ok(())
    }

    /// Before half its life is over; a clock that was set back since makes it old.
    fn young(&self, now: i64) -> bool {
        (self.obtained..self.obtained.saturating_add(self.life / 2)).contains(&now)
    }

    fn fresh(&self) -> Fresh {
        let margin = (self.life / 6).min(10);
        Fresh { token: self.id_token.clone(), until: self.obtained.saturating_add(self.life - margin) }
    }
}

/// Keeps other processes from refreshing until it is dropped.
async fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |source: std::io::Error| Error::Read { path: name.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name).map_err(failed)?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}
