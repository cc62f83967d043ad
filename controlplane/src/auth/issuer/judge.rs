//! Judges an issuer's token: pure, like [`verify`](super::super::verify). Looser where others' tokens differ from ours, strict where it counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::config::Settings;
use crate::auth::{Caller, Refused};
use crate::document::Document;

/// A token longer than this is not looked at.
const LONGEST: usize = 16 * 1024;
/// How far an issuer's clock may be ahead, in seconds.
const SKEW: i64 = 60;
/// Most groups taken from a token.
const GROUPS: usize = 500;
/// Headers that change what is verified, or how.
const REFUSED_HEADERS: [&str; 4] = ["crit", "b64", "zip", "enc"];
/// Types of tokens that say who someone is; ours have others.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// What the header says.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: String,
}

/// Reads the header, if it is one that this issuer may write.
pub(super) fn header(token: &str, settings: &Settings) -> Result<Header, Refused> {
    if token.len() > LONGEST || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(Refused::Malformed);
    }
    let header = part(token, 0)?;
    let fields = header.as_object().ok_or(Refused::Malformed)?;
    if REFUSED_HEADERS.iter().any(|name| fields.contains_key(*name)) {
        return Err(Refused::Malformed);
    }
    match &header["typ"] {
        Value::Null => {}
        Value::String(typ) if TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ)) => {}
        _ => return Err(Refused::Type),
    }
    let algorithm = match header["alg"].as_str() {
        Some("RS256") => Algorithm::RS256,
        Some("ES256") => Algorithm::ES256,
        Some("EdDSA") => Algorithm::EdDSA,
        _ => return Err(Refused::Malformed),
    };
    if !settings.algorithms.contains(&algorithm) {
        return Err(Refused::Malformed);
    }
    match header["kid"].as_str() {
        Some(kid) if (1..=256).contains(&kid.len()) => Ok(Header { algorithm, kid: kid.to_owned() }),
        _ => Err(Refused::IssuersKey),
    }
}

/// Judges the signature alone.
pub(super) fn signature(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<(), Refused> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, key, &validation).map(drop).map_err(|_| Refused::Signature)
}

/// Judges the claims: who it is.
pub(super) fn claims(token: &str, settings: &Settings, now: i64) -> Result<Caller, Refused> {
    let claims = part(token, 1)?;
    if claims["iss"] != settings.issuer.as_str() {
        return Err(Refused::Issuer);
    }
    if !audiences(&claims["aud"]).any(|given| settings.audiences.iter().any(|known| known == given)) {
        return Err(Refused::Audience);
    }
    let time = |name: &'static str| claims[name].as_i64().filter(|time| *time >= 0).ok_or(Refused::Claim(name));
    let (expires, issued) = (time("exp")?, time("iat")?);
    let begins = if claims["nbf"].is_null() { issued } else { time("nbf")? };
    if expires <= now {
        return Err(Refused::Expired);
    }
    if begins > now + SKEW || issued > now + SKEW {
        return Err(Refused::Early);
    }
    Ok(Caller { name: user(&claims, settings)?, groups: groups(&claims, settings)?, ..Caller::default() })
}

fn user(claims: &Value, settings: &Settings) -> Result<String, Refused> {
    if claims["sub"].as_str().is_none_or(str::is_empty) {
        return Err(Refused::Claim("sub"));
    }
    let given = claims[&settings.username_claim].as_str().filter(|name| !name.is_empty());
    let given = given.ok_or(Refused::UserClaim)?;
    // Who has not shown that an address is theirs may have written anyone's.
    if settings.username_claim == "email" && !claims["email_verified"].is_null() && claims["email_verified"] != true {
        return Err(Refused::Claim("email_verified"));
    }
    let name = format!("{}{given}", settings.username_prefix);
    if reserved(&name) || name.chars().any(char::is_control) { Err(Refused::UserClaim) } else { Ok(name) }
}

/// Groups that would be ours are left out: an issuer makes nobody an administrator by a name.
fn groups(claims: &Value, settings: &Settings) -> Result<Vec<String>, Refused> {
    let Some(claim) = &settings.groups_claim else { return Ok(Vec::new()) };
    let given = match &claims[claim] {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Refused::GroupsClaim)?,
        _ => return Err(Refused::GroupsClaim),
    };
    if given.len() > GROUPS {
        return Err(Refused::GroupsClaim);
    }
    let named = given.into_iter().map(|group| format!("{}{group}", settings.groups_prefix));
    Ok(named.filter(|group| !reserved(group) && !group.is_empty()).collect())
}

fn reserved(name: &str) -> bool {
    name.starts_with("system:")
}

fn audiences(claim: &Value) -> impl Iterator<Item = &str> {
    let one = claim.as_str();
    one.into_iter().chain(claim.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn part(token: &str, index: usize) -> Result<Value, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap_or("")).map_err(|_| Refused::Malformed)?;
    // Two readers of a field given twice may each see another value.
    let document = Document::json(&bytes).ok().filter(|document| document.duplicates.is_empty());
    document.ok_or(Refused::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests;
