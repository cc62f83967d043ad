//! [`KeySet`]: the public keys of an issuer by their ids.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// Keys looked at in one set.
const MOST: usize = 100;
/// A shorter modulus than 2048 bits is no longer safe.
const SHORTEST_MODULUS: usize = 256;

/// Keys that may verify signatures, each for one algorithm.
pub(super) struct KeySet {
    keys: HashMap<String, (Algorithm, DecodingKey)>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set; keys of other types and uses are left out. It may be empty: so an issuer takes back its last key. None when it is no key set.
    pub(super) fn read(document: &Value) -> Option<Self> {
        let all = document["keys"].as_array()?;
        Some(Self { keys: all.iter().take(MOST).filter_map(key).collect() })
    }

    /// Whether there is a key of that id.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// The key of that id, if it is for this algorithm.
    pub(super) fn get(&self, kid: &str, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.keys.get(kid).filter(|(of, _)| *of == algorithm).map(|(_, key)| key)
    }
}

fn key(jwk: &Value) -> Option<(String, (Algorithm, DecodingKey))> {
    let text = |field: &str| jwk[field].as_str();
    let kid = text("kid").filter(|kid| !kid.is_empty())?;
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let long = |field: &str, bytes: usize| {
        let decoded = URL_SAFE_NO_PAD.decode(text(field)?).ok()?;
        (decoded.len() == bytes).then_some(())
    };
    let (algorithm, name, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            // An exponent of 1 makes every message its own signature.
            let exponent = URL_SAFE_NO_PAD.decode(text("e")?).ok()?;
            if significant < SHORTEST_MODULUS || exponent.iter().all(|byte| *byte == 0) || exponent == [1] {
                return None;
            }
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?)
        }
        ("EC", Some("P-256")) => {
            long("x", 32).and(long("y", 32))?;
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            long("x", 32)?;
            (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(text("x")?).ok()?)
        }
        _ => return None,
    };
    if text("alg").is_some_and(|given| given != name) {
        return None;
    }
    Some((kid.to_owned(), (algorithm, key)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_that_may_verify_are_taken() {
        let x = URL_SAFE_NO_PAD.encode(ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes());
        let weak = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let strong = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let keys = KeySet::read(&json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "good", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "kid": "other use", "use": "enc", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "kid": "other algorithm", "alg": "RS256", "x": x},
            {"kty": "OKP", "crv": "X25519", "kid": "other curve", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "x": x},
            {"kty": "oct", "kid": "secret", "k": x},
            {"kty": "RSA", "kid": "weak", "n": weak, "e": "AQAB"},
            {"kty": "RSA", "kid": "one", "n": strong, "e": "AQ"},
            {"kty": "RSA", "kid": "strong", "n": strong, "e": "AQAB"},
        ]}))
        .unwrap();
        let mut known: Vec<_> = keys.keys.keys().map(String::as_str).collect();
        known.sort_unstable();
        assert_eq!(known, ["good", "strong"]);
        assert!(keys.get("good", Algorithm::EdDSA).is_some());
        assert!(keys.get("good", Algorithm::RS256).is_none(), "a key serves one algorithm");
        assert!(KeySet::read(&json!({"keys": []})).unwrap().keys.is_empty(), "all are taken back");
        assert!(KeySet::read(&json!({})).is_none() && KeySet::read(&json!({"keys": {}})).is_none());
    }
}
