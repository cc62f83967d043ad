//! Who calls, and what they may do.
//!
//! Owns the signing keys, the tokens made with them, and the answer to "may this caller do that". Invariants: private keys leave this module
//! only sealed; a token is accepted for one type and one audience; every route but health, version and the public keys asks here first.

pub mod authorize;
pub mod keys;
pub mod policies;
pub mod seal;
pub mod verify;

use std::collections::BTreeMap;

use http::HeaderMap;
use torch_remote_api::rbac::{self, User};
use torch_remote_api::token::{API_AUDIENCE, API_TYPE, ApiClaims};

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
}

impl Caller {
    /// As the roles know it.
    pub fn user(&self) -> User<'_> {
        User { name: &self.name, groups: &self.groups }
    }

    /// Whether the caller may do everything.
    pub fn administrator(&self) -> bool {
        self.groups.iter().any(|group| group == ADMINISTRATORS)
    }
}

/// Finds out who calls from the `Authorization` header.
///
/// # Errors
/// [`Refused`]: there is no bearer token, or not one of ours for this API.
pub async fn authenticate(keys: &Keys, headers: &HeaderMap) -> Result<Caller, Refused> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Refused::NoToken) };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refused::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refused::NoToken);
    }
    let claims: ApiClaims = keys.verify(API_TYPE, API_AUDIENCE, token.trim()).await?;
    let mut groups = claims.groups;
    groups.push(rbac::AUTHENTICATED.to_owned());
    Ok(Caller { name: claims.registered.sub, groups, ..Caller::default() })
}
