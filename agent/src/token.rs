//! Checks tokens against a key set. The rules are those of `torch_remote_api::token`: EdDSA only, a `typ` per use, every claim required, no leniency in types.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use torch_remote_api::token::{
    CONTROL_SECONDS, CONTROL_TYPE, ControlClaims, LEASE_SECONDS, LEASE_TYPE, LeaseClaims, Registered, SlotEpoch,
};

/// Longest token looked at, bytes.
const LONGEST: usize = 16 << 10;
/// Clocks of control plane and machine may differ by this much, seconds.
const LEEWAY: i64 = 30;

/// A token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not three base64url parts with a JSON header, or too long.
    #[error("the token is not a JWT of at most {LONGEST} bytes")]
    Malformed,
    /// Another algorithm than EdDSA.
    #[error("the token's algorithm is not EdDSA")]
    Algorithm,
    /// Made for another use.
    #[error("the token's type is not {0}")]
    Type(&'static str),
    /// Signed by no known key.
    #[error("the token's key is not one of the control plane's: ask for a new token")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    Signature,
    /// A claim is missing, of a wrong type, or not as it must be.
    #[error("the token's claims are refused: {0}")]
    Claims(String),
    /// Its time is over, or has not come.
    #[error("the token is expired or not valid yet: ask for a new one (and check both clocks)")]
    Expired,
    /// For another machine.
    #[error("the token is for another machine")]
    Audience,
    /// By another control plane.
    #[error("the token was issued by another control plane")]
    Issuer,
    /// For another lease.
    #[error("the token is for another lease than the one this slot serves")]
    Lease,
    /// The slot at another epoch, or another slot.
    #[error("the token does not open slot {slot} at epoch {epoch}: its lease has ended, or it is for other slots")]
    Epoch {
        /// This slot.
        slot: u32,
        /// Its epoch.
        epoch: u64,
    },
}

/// Who signs, and for whom.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Vec<(String, DecodingKey)>,
    issuer: String,
    machine_uid: String,
}

/// The key set is no key set.
#[derive(Debug, thiserror::Error)]
#[error("the key set is not a JSON Web Key Set: send one with OKP keys of Ed25519")]
pub struct KeySetError(#[source] Option<serde_json::Error>);

impl Error {
    /// Stable name for `Refused.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Malformed => "TokenMalformed",
            Error::Algorithm => "TokenAlgorithm",
            Error::Type(_) => "TokenType",
            Error::UnknownKey => "TokenKeyUnknown",
            Error::Signature => "TokenSignature",
            Error::Claims(_) => "TokenClaims",
            Error::Expired => "TokenExpired",
            Error::Audience => "TokenAudience",
            Error::Issuer => "TokenIssuer",
            Error::Lease => "TokenLease",
            Error::Epoch { .. } => "TokenEpoch",
        }
    }
}

impl Verifier {
    /// Takes the Ed25519 keys of a set; others are left out.
    ///
    /// # Errors
    /// [`KeySetError`]: it is none, or has no such key.
    pub fn new(jwks: &serde_json::Value, issuer: &str, machine_uid: &str) -> Result<Verifier, KeySetError> {
        let set: JwkSet = serde_json::from_value(jwks.clone()).map_err(|source| KeySetError(Some(source)))?;
        let keys: Vec<_> = set.keys.iter().filter_map(ed25519).collect();
        if keys.is_empty() {
            return Err(KeySetError(None));
        }
        Ok(Verifier { keys, issuer: issuer.to_owned(), machine_uid: machine_uid.to_owned() })
    }

    /// Checks a `lease+jwt` against what the slot is bound to.
    ///
    /// # Errors
    /// [`Error`].
    pub fn lease(&self, token: &str, lease_uid: &str, bound: SlotEpoch) -> Result<LeaseClaims, Error> {
        let claims: LeaseClaims = self.verify(token, LEASE_TYPE)?;
        lifetime(&claims.registered, LEASE_SECONDS)?;
        if claims.lease != lease_uid {
            return Err(Error::Lease);
        }
        if !claims.slots.contains(&bound) {
            return Err(Error::Epoch { slot: bound.slot, epoch: bound.epoch });
        }
        Ok(claims)
    }

    /// Checks a `control+jwt`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn control(&self, token: &str) -> Result<ControlClaims, Error> {
        let claims: ControlClaims = self.verify(token, CONTROL_TYPE)?;
        lifetime(&claims.registered, CONTROL_SECONDS)?;
        Ok(claims)
    }

    fn verify<T: DeserializeOwned>(&self, token: &str, expected: &'static str) -> Result<T, Error> {
        use jsonwebtoken::errors::ErrorKind;
        if token.len() > LONGEST {
            return Err(Error::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // An unknown algorithm (`none` above all) does not parse as one.
            ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName => Error::Algorithm,
            _ => Error::Malformed,
        })?;
        if header.alg != Algorithm::EdDSA {
            return Err(Error::Algorithm);
        }
        if header.typ.as_deref() != Some(expected) {
            return Err(Error::Type(expected));
        }
        // An extension that must be understood, and is not.
        if header.crit.is_some() {
            return Err(Error::Malformed);
        }
        let kid = header.kid.ok_or(Error::UnknownKey)?;
        let (_, key) = self.keys.iter().find(|(known, _)| *known == kid).ok_or(Error::UnknownKey)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY.unsigned_abs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation.set_audience(&[&self.machine_uid]);
        validation.set_issuer(&[&self.issuer]);
        let decoded = jsonwebtoken::decode::<T>(token, key, &validation).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Error::Signature,
            ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => Error::Expired,
            ErrorKind::InvalidAudience => Error::Audience,
            ErrorKind::InvalidIssuer => Error::Issuer,
            ErrorKind::InvalidToken | ErrorKind::Base64(_) => Error::Malformed,
            _ => Error::Claims(error.to_string()),
        })?;
        Ok(decoded.claims)
    }
}

fn ed25519(jwk: &Jwk) -> Option<(String, DecodingKey)> {
    let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm else { return None };
    if pair.curve != EllipticCurve::Ed25519 {
        return None;
    }
    let kid = jwk.common.key_id.clone()?;
    DecodingKey::from_jwk(jwk).ok().map(|key| (kid, key))
}

/// A token may not live longer than its kind, nor come from the future.
fn lifetime(claims: &Registered, longest: i64) -> Result<(), Error> {
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap_or(i64::MAX);
    if claims.iat > now.saturating_add(LEEWAY) {
        return Err(Error::Expired);
    }
    if claims.exp.saturating_sub(claims.iat) > longest || claims.exp < claims.nbf {
        return Err(Error::Claims(format!("it lives longer than {longest} s")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
