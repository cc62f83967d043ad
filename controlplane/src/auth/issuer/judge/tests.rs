//! Rows: what is changed in a good token of an issuer, and why it is refused.

use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn settings() -> Settings {
    Settings {
        issuer: "https://login.test".into(),
        audiences: vec!["torch-remote".into()],
        username_claim: "sub".into(),
        username_prefix: "oidc:".into(),
        groups_claim: Some("groups".into()),
        groups_prefix: String::new(),
        authority: None,
        algorithms: vec![Algorithm::EdDSA],
        login: None,
    }
}

fn good() -> Value {
    json!({"iss": "https://login.test", "sub": "ana", "aud": "torch-remote", "exp": NOW + 60, "iat": NOW, "groups": ["vision"]})
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn token(header: &Value, claims: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature = SigningKey::from_bytes(&[7; 32]).sign(body.as_bytes()).to_bytes();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn judged(claims: &Value) -> Result<Caller, Refused> {
    super::claims(&token(&json!({}), &claims.to_string()), &settings(), NOW)
}

#[test]
fn a_good_token_says_who_it_is() {
    let caller = judged(&good()).unwrap();
    assert_eq!((caller.name.as_str(), caller.groups), ("oidc:ana", vec!["vision".to_owned()]));
    assert!(judged(&with(good(), "aud", json!(["other", "torch-remote"]))).is_ok());
    assert!(judged(&with(good(), "auth_time", json!(1.0))).is_ok(), "claims that do not concern us may be anything");
}

#[test]
fn claims_of_the_wrong_form_are_refused() {
    for (field, bad) in [
        ("iss", json!("https://evil.test")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("exp", json!(null)),
        ("exp", json!(NOW)),
        ("exp", json!((NOW + 60).to_string())),
        ("exp", json!(NOW as f64 + 60.5)),
        ("exp", json!(-1)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("iat", json!(null)),
        ("iat", json!(NOW + SKEW + 1)),
        ("nbf", json!(NOW + SKEW + 1)),
        ("nbf", json!(NOW.to_string())),
        ("groups", json!(7)),
        ("groups", json!(["vision", 7])),
        ("groups", json!(vec!["g"; GROUPS + 1])),
    ] {
        assert!(judged(&with(good(), field, bad.clone())).is_err(), "{field}: {bad}");
    }
    let twice = good().to_string().replacen('{', r#"{"sub":"root","#, 1);
    assert!(super::claims(&token(&json!({}), &twice), &settings(), NOW).is_err());
}

#[test]
fn nobody_becomes_one_of_ours_by_a_name() {
    let caller =
        judged(&with(good(), "groups", json!(["system:masters", "vision", "system:serviceaccounts"]))).unwrap();
    assert_eq!(caller.groups, ["vision"]);
    let unprefixed = Settings { username_prefix: String::new(), ..settings() };
    let claims = with(good(), "sub", json!("system:serviceaccount:default:robot"));
    let refused = super::claims(&token(&json!({}), &claims.to_string()), &unprefixed, NOW);
    assert!(matches!(refused, Err(Refused::UserClaim)));
    let by_address = Settings { username_claim: "email".into(), ..settings() };
    for (verified, fine) in [(json!(true), true), (json!(null), true), (json!(false), false), (json!("true"), false)] {
        let claims = with(with(good(), "email", json!("a@b.c")), "email_verified", verified.clone());
        let judged = super::claims(&token(&json!({}), &claims.to_string()), &by_address, NOW);
        assert_eq!(judged.is_ok(), fine, "{verified}");
    }
}

#[test]
fn headers_that_change_what_is_verified_are_refused() {
    let good = json!({"alg": "EdDSA", "kid": "k", "typ": "JWT", "x5t": "ignored"});
    let read = |header: &Value| header_of(header).map(|header| header.kid);
    assert_eq!(read(&good).ok().as_deref(), Some("k"));
    for alg in ["none", "None", "HS256", "RS256", "ES256", "PS256", ""] {
        assert!(read(&with(good.clone(), "alg", json!(alg))).is_err(), "{alg}: not of the configuration");
    }
    for name in REFUSED_HEADERS {
        assert!(read(&with(good.clone(), name, json!(["x"]))).is_err(), "{name}");
    }
    for typ in ["api+jwt", "lease+jwt", "control+jwt", "logout+jwt"] {
        assert!(matches!(read(&with(good.clone(), "typ", json!(typ))), Err(Refused::Type)), "{typ}");
    }
    for kid in [json!(null), json!(""), json!("k".repeat(257)), json!(7)] {
        assert!(read(&with(good.clone(), "kid", kid.clone())).is_err(), "{kid}");
    }
}

fn header_of(header: &Value) -> Result<Header, Refused> {
    super::header(&token(header, "{}"), &settings())
}

#[test]
fn the_signature_must_be_by_the_key_and_of_its_algorithm() {
    let public = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
    let key = DecodingKey::from_ed_components(&public).unwrap();
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let good = token(&header, &good().to_string());
    assert!(signature(&good, Algorithm::EdDSA, &key).is_ok());
    let (body, _) = good.rsplit_once('.').unwrap();
    for bad in ["", "AA", &URL_SAFE_NO_PAD.encode([0; 64])] {
        assert!(signature(&format!("{body}.{bad}"), Algorithm::EdDSA, &key).is_err());
    }
    assert!(signature(&good, Algorithm::RS256, &key).is_err());
}
