//! The issuers (OpenID Connect) that people and programs log in with: whose tokens are accepted, by which keys.
//!
//! Owns the cache of each issuer's public keys. Invariants: only issuers of the configuration are ever asked, at the address written there; an issuer is asked
//! at most once in [`Pace::soonest`], whoever sends unknown key ids, and one call at a time, for which few wait; keys that nobody confirmed for
//! [`Pace::kept`] are gone; a token names a key, never brings one; names that begin with
//! `system:` are ours alone.

pub mod config;
mod judge;
mod key_set;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Caller, Refused, verify};
use crate::outbound::{self, Outbound};

use config::Settings;
use key_set::KeySet;

/// An issuer is not asked sooner than this after the last time.
const SOONEST: Duration = Duration::from_secs(10);
/// Between two looks at an issuer's keys.
const REFRESH: Duration = Duration::from_secs(600);
/// Between two tries while an issuer has not answered yet.
const RETRY: Duration = Duration::from_secs(30);
/// Keys are used for so long after the issuer last said that they are its own.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Longest time that a call waits for a look at the keys, for the turn and again for the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Calls that wait for that at a time: whoever sends unknown key ids takes no more of the server than this.
const WAITING: usize = 16;

/// Why an issuer's keys are not known.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the issuer {issuer} cannot be asked")]
    Outbound {
        issuer: String,
        #[source]
        source: outbound::Error,
    },
    #[error("the issuer {issuer} answered {code} to {url}")]
    Refused { issuer: String, url: String, code: u16 },
    #[error("the issuer {issuer} describes itself wrongly: {problem}")]
    Document { issuer: String, problem: String },
}

/// All issuers of the configuration. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Issuers {
    issuers: Arc<[Arc<Issuer>]>,
}

/// How often an issuer is asked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Not sooner than this after the last time.
    pub soonest: Duration,
    /// Its keys are used for so long after it was asked last.
    pub kept: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { soonest: SOONEST, kept: KEPT }
    }
}

/// One of them.
#[derive(Debug)]
pub struct Issuer {
    settings: Settings,
    outbound: Outbound,
    keys: RwLock<Option<(Arc<KeySet>, Instant)>>,
    asked: Arc<tokio::sync::Mutex<Option<Instant>>>,
    waiting: Semaphore,
    pace: Pace,
}

impl Issuers {
    /// The issuers of a configuration. Nobody is asked yet.
    ///
    /// # Errors
    /// [`config::Error`]: an authority's certificate is none.
    pub fn new(settings: Vec<Settings>, pace: Pace) -> Result<Self, config::Error> {
        let issuers = settings.into_iter().map(|settings| Issuer::new(settings, pace));
        Ok(Self { issuers: issuers.map(|issuer| issuer.map(Arc::new)).collect::<Result<_, _>>()? })
    }

    /// The configured issuer that the token says it is by; not verified.
    pub fn of(&self, token: &str) -> Option<&Arc<Issuer>> {
        if self.issuers.is_empty() {
            return None;
        }
        let named = verify::named_issuer(token)?;
        self.issuers.iter().find(|issuer| issuer.settings.issuer == named)
    }

    /// What `torch-remote login` needs to know; none when people cannot log in.
    pub fn login(&self) -> Option<Value> {
        self.issuers.iter().find_map(|issuer| issuer.settings.login_document())
    }

    /// Keeps the keys of all issuers fresh until told to stop.
    pub async fn keep(self, stop: CancellationToken) {
        let all = self.issuers.iter().map(|issuer| issuer.keep());
        stop.run_until_cancelled(futures::future::join_all(all)).await;
    }
}

impl Issuer {
    fn new(settings: Settings, pace: Pace) -> Result<Self, config::Error> {
        let outbound = Outbound::new(settings.authority.as_deref());
        let outbound =
            outbound.map_err(|source| config::Error::Authority { issuer: settings.issuer.clone(), source })?;
        let waiting = Semaphore::new(WAITING);
        Ok(Self { settings, outbound, keys: RwLock::default(), asked: Arc::default(), waiting, pace })
    }

    /// Whose token it is, at the time `now`.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) async fn judge(self: &Arc<Self>, token: &str, now: i64) -> Result<Caller, Refused> {
        let header = judge::header(token, &self.settings)?;
        let keys = self.keys_with(&header.kid).await?;
        let key = keys.get(&header.kid, header.algorithm).ok_or(Refused::IssuersKey)?;
        judge::signature(token, header.algorithm, key)?;
        judge::claims(token, &self.settings, now)
    }

    /// The key set, fresh enough to know this key if there is one.
    async fn keys_with(self: &Arc<Self>, kid: &str) -> Result<Arc<KeySet>, Refused> {
        if let Some(keys) = self.known().filter(|keys| keys.has(kid)) {
            return Ok(keys);
        }
        let silent = |_| Refused::IssuerSilent;
        let _place = self.waiting.try_acquire().map_err(|_| Refused::IssuerSilent)?;
        let mut asked = tokio::time::timeout(PATIENCE, self.asked.clone().lock_owned()).await.map_err(silent)?;
        let new = self.known().is_some_and(|keys| keys.has(kid));
        if !new && asked.is_none_or(|at| at.elapsed() >= self.pace.soonest) {
            let issuer = self.clone();
            // A caller who hangs up does not end it: the turn is used, and others wait for what it brings.
            let look = tokio::spawn(async move {
                *asked = Some(Instant::now());
                issuer.refresh().await;
            });
            drop(tokio::time::timeout(PATIENCE, look).await.map_err(silent)?);
        }
        self.known().ok_or(Refused::IssuerSilent)
    }

    fn known(&self) -> Option<Arc<KeySet>> {
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(_, confirmed)| confirmed.elapsed() < self.pace.kept).map(|(keys, _)| keys.clone())
    }

    async fn keep(&self) {
        loop {
            {
                let mut asked = self.asked.lock().await;
                *asked = Some(Instant::now());
                self.refresh().await;
            }
            tokio::time::sleep(if self.known().is_some() { REFRESH } else { RETRY }).await;
        }
    }

    /// Asks for the keys. While the issuer does not answer, those known stay in use, for a day at most.
    async fn refresh(&self) {
        match self.fetch().await {
            Ok(keys) => {
                let known = Some((Arc::new(keys), Instant::now()));
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = known;
            }
            Err(error) => {
                metrics::counter!("torchremote_issuer_failures_total").increment(1);
                tracing::warn!(error = &error as &dyn std::error::Error, "the keys of an issuer stay as they were");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, Error> {
        let issuer = &self.settings.issuer;
        let wrong = |problem: &str| Error::Document { issuer: issuer.clone(), problem: problem.to_owned() };
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.get(&url).await?;
        if document["issuer"] != issuer.as_str() {
            return Err(wrong("its document is of another issuer"));
        }
        let keys = document["jwks_uri"].as_str().ok_or_else(|| wrong("its document has no jwks_uri"))?;
        if outbound::as_safe(issuer, keys).is_err() {
            return Err(wrong("its jwks_uri is not https"));
        }
        let keys = self.get(keys).await?;
        KeySet::read(&keys).ok_or_else(|| wrong("its key set is none"))
    }

    async fn get(&self, url: &str) -> Result<Value, Error> {
        let issuer = || self.settings.issuer.clone();
        let answer = self.outbound.get(url).await.map_err(|source| Error::Outbound { issuer: issuer(), source })?;
        if answer.code != 200 {
            return Err(Error::Refused { issuer: issuer(), url: url.to_owned(), code: answer.code });
        }
        let problem = |error: serde_json::Error| format!("{url} is not JSON: {error}");
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::Document { issuer: issuer(), problem: problem(error) })
    }
}
