//! The attack list on JWTs, as rows: what is done to a good token, and that it is refused for the right reason.

use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;
use torch_remote_api::token::{API_AUDIENCE, ApiClaims};

use super::super::keys::thumbprint;
use super::*;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://control.test";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn kid() -> String {
    thumbprint(&key().verifying_key().to_bytes())
}

fn keys() -> HashMap<String, DecodingKey> {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().to_bytes());
    HashMap::from([(kid(), DecodingKey::from_ed_components(&x).unwrap())])
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": API_TYPE, "kid": kid()})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "ana", "aud": API_AUDIENCE, "exp": NOW + 600, "nbf": NOW, "iat": NOW, "jti": "1", "groups": ["team"]})
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(field).map(drop)
    } else {
        object[field] = value;
        Some(())
    };
    object
}

fn sign_text(header: &str, claims: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key().sign(body.as_bytes()).to_bytes();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_text(&header.to_string(), &claims.to_string())
}

fn judge_as(token: &str, typ: &str, audience: &str) -> Result<ApiClaims, Refused> {
    verify(token, Expected { typ, audience, issuer: ISSUER, now: NOW }, &keys())
}

fn judged(token: &str) -> Result<ApiClaims, Refused> {
    judge_as(token, API_TYPE, API_AUDIENCE)
}

#[track_caller]
fn refused(attack: &str, token: &str) -> Refused {
    match judged(token) {
        Ok(claims) => panic!("{attack}: accepted as {claims:?}"),
        Err(refused) => refused,
    }
}

#[test]
fn a_good_token_is_accepted() {
    let claims = judged(&sign(&header(), &claims())).unwrap();
    assert_eq!((claims.registered.sub.as_str(), &claims.groups[..]), ("ana", &["team".to_owned()][..]));
}

#[test]
fn other_algorithms_are_refused() {
    for alg in ["none", "None", "nOnE", "NONE", "", "HS256", "RS256", "ES256", "eddsa", "EdDSA "] {
        let token = sign(&with(header(), "alg", alg.into()), &claims());
        assert!(matches!(refused(alg, &token), Refused::Malformed));
        let body = token.rsplit_once('.').unwrap().0;
        assert!(matches!(refused(alg, &format!("{body}.")), Refused::Malformed));
    }
    // Signed with the public key as a shared secret, as PEM and as DER.
    let public = key().verifying_key();
    let pem = public.to_public_key_pem(Default::default()).unwrap().into_bytes();
    for secret in [pem, public.to_public_key_der().unwrap().into_vec(), public.to_bytes().to_vec()] {
        let mut confused = jsonwebtoken::Header::new(Algorithm::HS256);
        confused.typ = Some(API_TYPE.into());
        confused.kid = Some(kid());
        let token =
            jsonwebtoken::encode(&confused, &claims(), &jsonwebtoken::EncodingKey::from_secret(&secret)).unwrap();
        assert!(matches!(refused("HS256 with the public key", &token), Refused::Malformed));
    }
}

#[test]
fn signatures_that_do_not_sign_are_refused() {
    let good = sign(&header(), &claims());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let flipped = {
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[3] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    for signature in
        ["", "AA", &URL_SAFE_NO_PAD.encode([0; 64]), &flipped, &format!("{signature}AA"), &format!("{signature}=")]
    {
        refused(signature, &format!("{body}.{signature}"));
    }
    let other = SigningKey::from_bytes(&[8; 32]).to_pkcs8_der().unwrap();
    let mut forged = jsonwebtoken::Header::new(Algorithm::EdDSA);
    forged.typ = Some(API_TYPE.into());
    forged.kid = Some(kid());
    let token =
        jsonwebtoken::encode(&forged, &claims(), &jsonwebtoken::EncodingKey::from_ed_der(other.as_bytes())).unwrap();
    assert!(matches!(refused("another key", &token), Refused::Signature));
    // Claims of one token under the signature of another.
    let admin = URL_SAFE_NO_PAD.encode(with(claims(), "sub", "admin".into()).to_string());
    let head = good.split('.').next().unwrap();
    assert!(matches!(refused("tampered", &format!("{head}.{admin}.{signature}")), Refused::Signature));
}

#[test]
fn headers_that_could_choose_the_key_are_refused() {
    let long = "k".repeat(10_000);
    for kid in ["../../etc/passwd", "' or 1=1 --", "a\0b", &long, "", "unknown", &"A".repeat(43)] {
        refused(kid, &sign(&with(header(), "kid", kid.into()), &claims()));
    }
    refused("no kid", &sign(&with(header(), "kid", Value::Null), &claims()));
    refused("kid is a list", &sign(&with(header(), "kid", json!([kid()])), &claims()));
    for name in ["jwk", "jku", "x5u", "x5c", "crit", "zip", "b64", "cty", "enc"] {
        assert!(matches!(refused(name, &sign(&with(header(), name, json!("x")), &claims())), Refused::Malformed));
    }
    assert!(matches!(
        refused("rotated out", &sign(&with(header(), "kid", thumbprint(&[9; 32]).into()), &claims())),
        Refused::UnknownKey
    ));
}

#[test]
fn a_token_of_one_type_is_no_token_of_another() {
    for typ in [LEASE_TYPE, CONTROL_TYPE, "JWT", "bootstrap+jwt", "API+JWT", ""] {
        assert!(matches!(refused(typ, &sign(&with(header(), "typ", typ.into()), &claims())), Refused::Type));
    }
    refused("no typ", &sign(&with(header(), "typ", Value::Null), &claims()));
    let token = sign(&header(), &claims());
    assert!(matches!(judge_as(&token, LEASE_TYPE, API_AUDIENCE), Err(Refused::Type)));
    assert!(matches!(judge_as(&token, API_TYPE, "another machine"), Err(Refused::Audience)));
}

#[test]
fn claims_of_the_wrong_form_are_refused() {
    for (field, bad) in [
        ("aud", json!(null)),
        ("aud", json!("other")),
        ("aud", json!([API_AUDIENCE])),
        ("aud", json!([])),
        ("iss", json!(null)),
        ("iss", json!("https://evil.test")),
        ("iss", json!([ISSUER])),
        ("iss", json!("https://control.test/")),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("jti", json!(null)),
        ("jti", json!("")),
        ("exp", json!(null)),
        ("exp", json!((NOW + 600).to_string())),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(-1)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(true)),
        ("exp", json!([NOW + 600])),
        ("exp", json!(NOW)),
        ("exp", json!(NOW - 1)),
        ("exp", json!(0)),
        ("exp", json!(NOW + API_SECONDS + 1)),
        ("nbf", json!(null)),
        ("nbf", json!(NOW.to_string())),
        ("nbf", json!("tomorrow")),
        ("nbf", json!(NOW + SKEW + 1)),
        ("nbf", json!(NOW as f64 + 0.5)),
        ("iat", json!(null)),
        ("iat", json!(NOW.to_string())),
        ("iat", json!(NOW + SKEW + 1)),
        ("iat", json!(-5)),
        ("groups", json!("system:masters")),
        ("groups", json!([7])),
    ] {
        refused(&format!("{field}: {bad}"), &sign(&header(), &with(claims(), field, bad)));
    }
    refused(
        "float exp",
        &sign_text(&header().to_string(), &claims().to_string().replace(&(NOW + 600).to_string(), "1800000600.0")),
    );
}

#[test]
fn the_edges_of_time_are_where_they_should_be() {
    assert!(judged(&sign(&header(), &with(claims(), "exp", json!(NOW + 1)))).is_ok());
    assert!(judged(&sign(&header(), &with(claims(), "nbf", json!(NOW + SKEW)))).is_ok());
    assert!(matches!(refused("exp", &sign(&header(), &with(claims(), "exp", json!(NOW)))), Refused::Expired));
    assert!(matches!(refused("nbf", &sign(&header(), &with(claims(), "nbf", json!(NOW + SKEW + 1)))), Refused::Early));
}

#[test]
fn documents_that_two_readers_could_read_differently_are_refused() {
    let twice = claims().to_string().replacen('{', r#"{"sub":"admin","#, 1);
    refused("claim given twice", &sign_text(&header().to_string(), &twice));
    let twice = header().to_string().replacen('{', r#"{"alg":"none","#, 1);
    refused("header given twice", &sign_text(&twice, &claims().to_string()));
    let good = sign(&header(), &claims());
    refused("nested", &sign_text(&header().to_string(), &format!("\"{good}\"")));
    refused("five parts, encrypted", &format!("{good}.AA.AA"));
    refused("two parts", good.rsplit_once('.').unwrap().0);
    refused("padded", &good.replacen('.', "=.", 1));
    refused("a space", &format!(" {good}"));
    refused("a list", &sign_text(&header().to_string(), "[]"));
    refused("not JSON", &sign_text(&header().to_string(), "claims"));
    refused("not text", &sign_text(&header().to_string(), "{\"a\":\"\\u0000\"}"));
    refused("a megabyte", &sign(&with(header(), "typ", "x".repeat(1 << 20).into()), &claims()));
    refused("nothing", "");
    refused("dots", "..");
}
