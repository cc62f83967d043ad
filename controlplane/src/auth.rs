//! Who calls, and what they may do.
//!
//! Owns the signing keys, the tokens made with them, the issuers that others log in with, and the answer to "may this caller do that". Invariants:
//! private keys leave this module only sealed; a token is accepted for one type and one audience; nothing is fetched for a token whose issuer is not
//! configured; every route but health, version and the public keys asks here first.

pub mod authorize;
pub mod clock;
pub mod issuer;
pub mod keys;
pub mod policies;
pub mod seal;
mod verified;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use torch_remote_api::rbac::{self, User};
use torch_remote_api::token::{API_AUDIENCE, API_TYPE, AccountClaim, ApiClaims};

use crate::store::watch_cache::WatchCache;
use crate::store::{Key, Resource};

pub use clock::Clock;
pub use issuer::Issuers;
pub use keys::Keys;
pub use policies::Policies;
pub use seal::Sealer;
pub use verify::Refused;

/// Group whose members may do everything.
pub const ADMINISTRATORS: &str = rbac::MASTERS;

/// An authenticated user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// `admin`, `system:serviceaccount:NS:NAME`.
    pub name: String,
    /// Groups the token names, and `system:authenticated`.
    pub groups: Vec<String>,
    /// Uid, if the token or the impersonator names one.
    pub uid: Option<String>,
    /// More that is known, by key.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Who acts as this one; none: itself.
    pub actor: Option<Arc<Caller>>,
}

impl Caller {
    /// As the roles know it.
    pub fn user(&self) -> User<'_> {
        User { name: &self.name, groups: &self.groups }
    }

    /// Whose call it really is: of whom limits count.
    pub fn actor(&self) -> &Self {
        self.actor.as_deref().unwrap_or(self)
    }

    /// Whether the caller may do everything.
    pub fn administrator(&self) -> bool {
        self.groups.iter().any(|group| group == ADMINISTRATORS)
    }
}

/// Finds out who calls: by our own keys, by the accounts there are, and by the issuers of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Authenticator<'a> {
    /// Judge our own tokens.
    pub keys: &'a Keys,
    /// Knows which ServiceAccounts and Secrets are there, without a statement.
    pub cache: &'a WatchCache,
    /// Judge the tokens of others.
    pub issuers: &'a Issuers,
}

impl Authenticator<'_> {
    /// Who sends these headers.
    ///
    /// # Errors
    /// [`Refused`]: there is no bearer token, or not one for this API.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        self.judge(bearer(headers)?, API_AUDIENCE).await
    }

    /// Whose token it is, for this audience. An issuer's tokens are for the API alone: the configuration says which of its audiences that is.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn judge(&self, token: &str, audience: &str) -> Result<Caller, Refused> {
        let mut caller = match self.issuers.of(token) {
            Some(_) if audience != API_AUDIENCE => return Err(Refused::Audience),
            Some(issuer) => issuer.judge(token, self.keys.clock().now()).await?,
            None => {
                let claims: ApiClaims = self.keys.verify(API_TYPE, audience, token).await?;
                if let Some(account) = &claims.account {
                    self.require(account).await?;
                }
                let uid = claims.account.map(|account| account.uid);
                Caller { name: claims.registered.sub, groups: claims.groups, uid, ..Caller::default() }
            }
        };
        caller.groups.push(rbac::AUTHENTICATED.to_owned());
        Ok(caller)
    }

    /// A token ends with its account, and with the Secret that it is bound to.
    async fn require(&self, account: &AccountClaim) -> Result<(), Refused> {
        // It may have been made by another replica, which was further. One that is not caught up with is judged by what is known.
        drop(self.cache.reach(account.version).await);
        let there = |resource, name: &str, uid: &str| {
            let object = self.cache.get(&Key::new(resource, account.namespace.as_str(), name));
            object.is_some_and(|object| {
                object["metadata"]["uid"] == uid && object["metadata"]["deletionTimestamp"].is_null()
            })
        };
        if !there(Resource::SERVICE_ACCOUNTS, &account.name, &account.uid) {
            return Err(Refused::AccountGone);
        }
        match &account.secret {
            Some(secret) if !there(Resource::SECRETS, &secret.name, &secret.uid) => Err(Refused::SecretGone),
            _ => Ok(()),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Refused::NoToken) };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refused::NoToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Refused::NoToken) }
}
