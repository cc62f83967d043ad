//! The attack list: each token is one change away from one that is accepted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use torch_remote_api::token::SlotEpoch;

use super::*;

const BOUND: SlotEpoch = SlotEpoch { slot: 1, epoch: 7 };

struct Keys {
    private: EncodingKey,
    public: Value,
}

fn keys(seed: u8) -> Keys {
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend([seed; 32]);
    let private = EncodingKey::from_ed_der(&der);
    let jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).unwrap();
    let mut public = serde_json::to_value(jwk).unwrap();
    public["kid"] = json!("k1");
    Keys { private, public }
}

fn verifier() -> Verifier {
    Verifier::new(&json!({"keys": [keys(1).public]}), "https://cp", "machine-1").unwrap()
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "lease+jwt", "kid": "k1"})
}

fn claims() -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({
        "iss": "https://cp", "sub": "ann", "aud": "machine-1", "exp": now + 200, "nbf": now, "iat": now, "jti": "j",
        "lease": "lease-1", "slots": [{"slot": 1, "epoch": 7}], "attach": false,
    })
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, claims: &Value, keys: &Keys) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &keys.private, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn reason(token: &str) -> &'static str {
    verifier().lease(token, "lease-1", BOUND).map_or_else(|error| error.reason(), |_| "accepted")
}

fn with(mut value: Value, key: &str, changed: Value) -> Value {
    value[key] = changed;
    value
}

fn without(mut value: Value, key: &str) -> Value {
    value.as_object_mut().unwrap().remove(key);
    value
}

#[test]
fn the_token_that_all_others_differ_from_is_accepted() {
    assert_eq!(reason(&signed(&header(), &claims(), &keys(1))), "accepted");
    let now = jsonwebtoken::get_current_timestamp();
    let old = with(with(claims(), "nbf", json!(now - 100)), "iat", json!(now - 100));
    let leeway = with(old, "exp", json!(now - 10));
    assert_eq!(reason(&signed(&header(), &leeway, &keys(1))), "accepted", "clocks differ by seconds");
}

#[test]
fn no_algorithm_but_eddsa_is_accepted_whatever_signs() {
    for algorithm in ["none", "None", "nOnE", "NONE", "", "HS256", "HS512", "RS256", "ES256", "PS256"] {
        let header = with(header(), "alg", json!(algorithm));
        let message = format!("{}.{}", part(&header), part(&claims()));
        for token in [format!("{message}."), signed(&header, &claims(), &keys(1))] {
            assert_eq!(reason(&token), "TokenAlgorithm", "{algorithm}");
        }
    }
    // The public key as the secret of a symmetric algorithm, in each form an attacker has it.
    let x = keys(1).public["x"].as_str().unwrap().to_owned();
    for secret in [x.clone().into_bytes(), URL_SAFE_NO_PAD.decode(&x).unwrap(), keys(1).public.to_string().into_bytes()]
    {
        let header = with(header(), "alg", json!("HS256"));
        let message = format!("{}.{}", part(&header), part(&claims()));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256)
                .unwrap();
        assert_eq!(reason(&format!("{message}.{signature}")), "TokenAlgorithm");
    }
    assert_eq!(reason(&signed(&without(header(), "alg"), &claims(), &keys(1))), "TokenAlgorithm");
}

#[test]
fn a_token_of_another_use_or_key_is_refused() {
    for typ in [json!("api+jwt"), json!("control+jwt"), json!("JWT"), json!("LEASE+JWT"), Value::Null] {
        assert_eq!(reason(&signed(&with(header(), "typ", typ), &claims(), &keys(1))), "TokenType");
    }
    assert_eq!(reason(&signed(&header(), &claims(), &keys(2))), "TokenSignature");
    for kid in ["", "k2", "../k1", "k1\u{0}", "' or 1=1", &"k".repeat(9000)] {
        assert_eq!(reason(&signed(&with(header(), "kid", json!(kid)), &claims(), &keys(1))), "TokenKeyUnknown");
    }
    assert_eq!(reason(&signed(&without(header(), "kid"), &claims(), &keys(1))), "TokenKeyUnknown");
    let critical = with(with(header(), "crit", json!(["new"])), "new", json!(1));
    assert_eq!(reason(&signed(&critical, &claims(), &keys(1))), "TokenMalformed");
    // A key in the token is looked at by nobody.
    let own = with(header(), "jwk", keys(2).public);
    assert_eq!(reason(&signed(&own, &claims(), &keys(2))), "TokenSignature");
    let url = with(header(), "jku", json!("https://evil/keys"));
    assert_eq!(reason(&signed(&url, &claims(), &keys(2))), "TokenSignature");
}

#[test]
fn a_token_that_was_tampered_with_or_cut_is_refused() {
    let token = signed(&header(), &claims(), &keys(1));
    let parts: Vec<&str> = token.split('.').collect();
    let grown = with(claims(), "slots", json!([{"slot": 1, "epoch": 7}, {"slot": 2, "epoch": 7}]));
    assert_eq!(reason(&format!("{}.{}.{}", parts[0], part(&grown), parts[2])), "TokenSignature");
    for signature in ["", "AA", &URL_SAFE_NO_PAD.encode([0; 64])] {
        assert_eq!(reason(&format!("{}.{}.{signature}", parts[0], parts[1])), "TokenSignature");
    }
    for token in ["", ".", "..", "a.b", "a.b.c.d", parts[0], &token.replace('.', " "), &"a".repeat(1 << 20)] {
        let reason = reason(token);
        assert!(["TokenMalformed", "TokenAlgorithm"].contains(&reason), "{reason}");
    }
}

#[test]
fn each_claim_is_required_and_of_its_type() {
    for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "lease", "slots"] {
        assert_eq!(reason(&signed(&header(), &without(claims(), claim), &keys(1))), "TokenClaims", "{claim}");
        let null = with(claims(), claim, Value::Null);
        assert_eq!(reason(&signed(&header(), &null, &keys(1))), "TokenClaims", "{claim}");
    }
    let now = jsonwebtoken::get_current_timestamp();
    for (claim, value) in [
        ("exp", json!(format!("{}", now + 200))),
        ("nbf", json!(format!("{now}"))),
        ("iat", json!(format!("{now}"))),
        ("exp", json!(now as f64 + 200.5)),
        ("nbf", json!(now as f64 - 0.5)),
        ("exp", json!(-1)),
        ("exp", json!(1u64 << 63)),
        ("exp", json!(1e300)),
        ("nbf", json!([now])),
        ("aud", json!(["machine-1"])),
        ("slots", json!({"slot": 1, "epoch": 7})),
        ("slots", json!([{"slot": 1, "epoch": "7"}])),
        ("slots", json!([{"slot": 1, "epoch": 7.0}])),
        ("attach", json!("true")),
    ] {
        let refused = reason(&signed(&header(), &with(claims(), claim, value.clone()), &keys(1)));
        assert!(["TokenClaims", "TokenExpired"].contains(&refused), "{claim} = {value}: {refused}");
    }
}

#[test]
fn documents_that_two_readers_could_read_differently_are_refused() {
    let sign = |header: &str, claims: &str| {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &keys(1).private, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    };
    let (header, claims) = (header().to_string(), claims().to_string());
    assert_eq!(reason(&sign(&header, &claims)), "accepted");
    for given in [r#""sub":"root""#, r#""lease":"lease-2""#, r#""exp":9999999999"#, r#""aud":"machine-2""#] {
        let twice = claims.replacen('{', &format!("{{{given},"), 1);
        assert_ne!(reason(&sign(&header, &twice)), "accepted", "{given}");
    }
    for given in [r#""alg":"none""#, r#""kid":"k2""#, r#""typ":"api+jwt""#] {
        let twice = header.replacen('{', &format!("{{{given},"), 1);
        assert_ne!(reason(&sign(&twice, &claims)), "accepted", "{given}");
    }
    let good = sign(&header, &claims);
    for token in [
        format!("{good}.AA.AA"),
        sign(&header, &format!("\"{good}\"")),
        sign(&header, "[]"),
        sign(&header, "claims"),
        format!(" {good}"),
        good.replacen('.', "=.", 1),
    ] {
        assert_ne!(reason(&token), "accepted", "{token}");
    }
}

#[test]
fn a_token_is_bound_to_its_time_machine_issuer_lease_slot_and_epoch() {
    let now = jsonwebtoken::get_current_timestamp();
    for (claim, value, expected) in [
        ("exp", json!(now - 31), "TokenExpired"),
        ("nbf", json!(now + 60), "TokenExpired"),
        ("iat", json!(now + 60), "TokenExpired"),
        ("exp", json!(now + 301), "TokenClaims"),
        ("iat", json!(now - 200), "TokenClaims"),
        ("aud", json!("machine-2"), "TokenAudience"),
        ("aud", json!("torch-remote-api"), "TokenAudience"),
        ("iss", json!("https://other"), "TokenIssuer"),
        ("lease", json!("lease-2"), "TokenLease"),
        ("slots", json!([]), "TokenEpoch"),
        ("slots", json!([{"slot": 1, "epoch": 6}]), "TokenEpoch"),
        ("slots", json!([{"slot": 1, "epoch": 8}]), "TokenEpoch"),
        ("slots", json!([{"slot": 0, "epoch": 7}]), "TokenEpoch"),
    ] {
        let changed = with(claims(), claim, value.clone());
        assert_eq!(reason(&signed(&header(), &changed, &keys(1))), expected, "{claim} = {value}");
    }
}

#[test]
fn a_control_token_lives_a_minute_and_carries_its_claim() {
    let now = jsonwebtoken::get_current_timestamp();
    let header = with(header(), "typ", json!("control+jwt"));
    let control = json!({
        "iss": "https://cp", "sub": "control-plane", "aud": "machine-1", "exp": now + 60, "nbf": now, "iat": now, "jti": "j", "claim": 4,
    });
    let refused = |header: &Value, claims: &Value| {
        verifier()
            .control(&signed(header, claims, &keys(1)))
            .map_or_else(|error| error.reason().to_owned(), |claims| claims.claim.to_string())
    };
    assert_eq!(refused(&header, &control), "4");
    assert_eq!(refused(&header, &with(control.clone(), "exp", json!(now + 61))), "TokenClaims");
    assert_eq!(refused(&header, &without(control.clone(), "claim")), "TokenClaims");
    assert_eq!(refused(&header, &with(control.clone(), "claim", json!(-1))), "TokenClaims");
    assert_eq!(refused(&super::tests::header(), &control), "TokenType");
}

#[test]
fn a_key_set_without_ed25519_keys_is_none() {
    for set in [
        json!({}),
        json!({"keys": []}),
        json!({"keys": [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}]}),
        json!({"keys": [without(keys(1).public, "kid")]}),
        json!([keys(1).public]),
    ] {
        assert!(Verifier::new(&set, "https://cp", "machine-1").is_err(), "{set}");
    }
}
