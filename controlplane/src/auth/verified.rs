//! [`Verified`]: tokens whose signature was found right. A signature stays right; what else a token is judged by is looked at each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Tokens remembered; with more, all are verified anew. Only who has a good token gets a place.
const REMEMBERED: usize = 4096;

type Digest = [u8; 32];

/// Claims by the SHA-256 of the whole token, header and signature with it. No token is kept.
#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<Digest, Arc<Value>>>);

impl Verified {
    /// The claims of this token, if its signature was right before. Whether its key is still one is the caller's to ask.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest(token)).cloned()
    }

    /// The signature is right.
    pub(super) fn note(&self, token: &str, claims: Arc<Value>) {
        let digest = digest(token);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, claims);
    }
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_all_of_it_and_no_more_than_so_many_are() {
        let verified = Verified::default();
        verified.note("header.claims.signature", Arc::new(Value::Bool(true)));
        assert!(verified.find("header.claims.signature").is_some());
        assert!(verified.find("header.claims.signaturf").is_none() && verified.find("header.claims").is_none());
        for number in 0..=2 * REMEMBERED {
            verified.note(&number.to_string(), Arc::default());
        }
        assert!(verified.0.lock().unwrap().len() <= REMEMBERED);
    }
}
