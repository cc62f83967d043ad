//! Judges a token: pure, so that every known attack on JWTs is a row of a table test.
//!
//! Stricter than the standard asks: one algorithm, a required type and key id, claims whose types are exact, no field given twice, no header that
//! could change what is verified, and a bound on the life of each type of token.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use serde_json::Value;
use torch_remote_api::token::{API_TYPE, CONTROL_SECONDS, CONTROL_TYPE, LEASE_SECONDS, LEASE_TYPE, Registered};

use crate::document::Document;

/// A token longer than this is not looked at.
const LONGEST: usize = 8 * 1024;
/// How far another replica's clock may be ahead, in seconds.
const SKEW: i64 = 5;
/// Longest life of an API token, seconds.
pub const API_SECONDS: i64 = 24 * 3600;
const HEADERS: [&str; 3] = ["alg", "typ", "kid"];

/// Why a call is not authenticated. The text says what to do and nothing that helps to forge.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Refused {
    #[error("the call has no bearer token; log in, or set the token of the kubeconfig's user")]
    NoToken,
    #[error("the token is not a JSON Web Token that this control plane makes")]
    Malformed,
    #[error("the token's signature is by no key of this control plane; log in again")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token is of another type than this call takes")]
    Type,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token is by another issuer; is this the control plane you logged in to?")]
    Issuer,
    #[error("the token has expired; log in again")]
    Expired,
    #[error("the token is not valid yet; is this machine's clock right?")]
    Early,
    #[error("the token's claim {0} is missing or wrong")]
    Claim(&'static str),
    #[error("the service account of the token is gone; make a new token with `kubectl create token`")]
    AccountGone,
    #[error("the Secret that the token was bound to is gone; make a new token with `kubectl create token`")]
    SecretGone,
    #[error("the token's signature is by no key of its issuer; log in again")]
    IssuersKey,
    #[error("the token's issuer does not answer at the moment, so its keys are not known; try again")]
    IssuerSilent,
    #[error(
        "the token does not name a user in the claim that the configuration says, or one that is not its issuer's to name"
    )]
    UserClaim,
    #[error("the token's groups are not a list of at most 500 names")]
    GroupsClaim,
    #[error("the signing keys cannot be read at the moment")]
    Keys(#[source] crate::store::Error),
}

impl Refused {
    /// Nothing is known of the token: what it would be judged by is not there. That is not the caller's fault.
    pub fn unjudged(&self) -> bool {
        matches!(self, Self::IssuerSilent | Self::Keys(_))
    }
}

/// What a token must be to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Header `typ`.
    pub typ: &'a str,
    /// Claim `aud`.
    pub audience: &'a str,
    /// Claim `iss`.
    pub issuer: &'a str,
    /// Seconds since the epoch.
    pub now: i64,
}

/// The key id a token names, if its header is one we make; for finding the key before judging.
///
/// # Errors
/// The header is not one of ours.
pub fn key_id(token: &str, typ: &str) -> Result<String, Refused> {
    if token.len() > LONGEST || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(Refused::Malformed);
    }
    let header = part(token.split('.').next().unwrap_or(""))?;
    let header = header.as_object().ok_or(Refused::Malformed)?;
    // `crit`, `jku`, `jwk`, `x5u`, `x5c`, `zip` and whatever comes next could only change what is verified.
    if header.keys().any(|name| !HEADERS.contains(&name.as_str())) || header.get("alg") != Some(&"EdDSA".into()) {
        return Err(Refused::Malformed);
    }
    if header.get("typ") != Some(&typ.into()) {
        return Err(Refused::Type);
    }
    let kid = header.get("kid").and_then(Value::as_str).ok_or(Refused::Malformed)?;
    let ours = kid.len() == 43 && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if ours { Ok(kid.to_owned()) } else { Err(Refused::UnknownKey) }
}

/// The issuer that a token says it is by. Nothing is verified: it only tells which rules the token is to be judged by.
pub fn named_issuer(token: &str) -> Option<String> {
    /// Longest token of any issuer.
    const LONGEST: usize = 16 * 1024;
    let claims = token.split('.').nth(1).filter(|_| token.len() <= LONGEST)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

/// Judges a token by these keys.
///
/// # Errors
/// [`Refused`], at the first thing that is wrong.
pub fn verify<C: DeserializeOwned>(
    token: &str,
    expected: Expected<'_>,
    keys: &HashMap<String, DecodingKey>,
) -> Result<C, Refused> {
    let claims = signed(token, expected, keys)?;
    judge(&claims, expected)?;
    serde_json::from_value(claims).map_err(|_| Refused::Malformed)
}

/// What one of these keys has signed, by whatever clock.
///
/// # Errors
/// [`Refused`]; not for its time, which [`judge`] looks at.
pub(super) fn signed(
    token: &str,
    expected: Expected<'_>,
    keys: &HashMap<String, DecodingKey>,
) -> Result<Value, Refused> {
    let kid = key_id(token, expected.typ)?;
    let key = keys.get(&kid).ok_or(Refused::UnknownKey)?;
    // Time and audience are judged below, by our own rules; this is the signature.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_audience(&[expected.audience]);
    validation.set_issuer(&[expected.issuer]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    jsonwebtoken::decode::<Value>(token, key, &validation).map_err(|error| reason(&error))?;
    part(token.split('.').nth(1).unwrap_or(""))
}

/// Judges the claims of a token that is signed as it should be.
///
/// # Errors
/// [`Refused`], at the first thing that is wrong.
pub(super) fn judge(claims: &Value, expected: Expected<'_>) -> Result<(), Refused> {
    for name in ["exp", "nbf", "iat"] {
        if claims[name].as_i64().is_none_or(|time| time < 0) {
            return Err(Refused::Claim(name));
        }
    }
    for name in ["sub", "jti", "iss", "aud"] {
        if claims[name].as_str().is_none_or(str::is_empty) {
            return Err(Refused::Claim(name));
        }
    }
    let claims: Registered = serde::Deserialize::deserialize(claims).map_err(|_| Refused::Malformed)?;
    if claims.aud != expected.audience {
        return Err(Refused::Audience);
    }
    if claims.iss != expected.issuer {
        return Err(Refused::Issuer);
    }
    if claims.exp <= expected.now {
        return Err(Refused::Expired);
    }
    if claims.nbf > expected.now + SKEW || claims.iat > expected.now + SKEW {
        return Err(Refused::Early);
    }
    match longest_life(expected.typ) {
        Some(longest) if claims.exp.saturating_sub(claims.iat) <= longest => Ok(()),
        _ => Err(Refused::Claim("exp")),
    }
}

/// The longest life of a type of token, seconds.
pub fn longest_life(typ: &str) -> Option<i64> {
    match typ {
        API_TYPE => Some(API_SECONDS),
        LEASE_TYPE => Some(LEASE_SECONDS),
        CONTROL_TYPE => Some(CONTROL_SECONDS),
        _ => None,
    }
}

fn part(encoded: &str) -> Result<Value, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Refused::Malformed)?;
    // Two readers of a field given twice may each see another value.
    match strict(&bytes) {
        Some(value) => Ok(value),
        None => Err(Refused::Malformed),
    }
}

fn strict(bytes: &[u8]) -> Option<Value> {
    let document = Document::json(bytes).ok().filter(|document| document.duplicates.is_empty())?;
    // `Document` makes whole floats integers; a token with a float where an integer belongs is not ours.
    let exact: Value = serde_json::from_slice(bytes).ok()?;
    (exact == document.value).then_some(exact)
}

fn reason(error: &jsonwebtoken::errors::Error) -> Refused {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        _ => Refused::Malformed,
    }
}

#[cfg(test)]
mod tests;
