//! The attack list on JWTs, over HTTP, by someone who holds the control plane's own signing key: every row is refused with 401.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::{Signer, SigningKey};
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use torch_remote::auth::seal::Place;
use torch_remote::auth::{Keys, Sealer};

use crate::harness::Api;

/// The key that signs, as only the tests get at it.
struct Forge {
    key: SigningKey,
    header: Value,
    claims: Value,
}

impl Forge {
    async fn of(api: &Api) -> Self {
        let (kid, sealed): (String, Vec<u8>) =
            sqlx::query_as("select kid, sealed from signing_key where stage = 'current'")
                .fetch_one(api.objects.pool())
                .await
                .unwrap();
        let sealer = Sealer::open(&api.folder.path().join("key")).unwrap();
        let place = Place { table: "signing_key", row: &kid, column: "sealed" };
        let private = sealer.unseal(place, &sealed).unwrap();
        let now = api.keys.clock().now();
        Self {
            key: SigningKey::from_bytes(&private.try_into().unwrap()),
            header: json!({"alg": "EdDSA", "typ": "api+jwt", "kid": kid}),
            claims: json!({
                "iss": "https://control.test", "sub": "ana", "aud": "torch-remote-api", "exp": now + 600, "nbf": now, "iat": now,
                "jti": "1", "groups": ["system:masters"],
            }),
        }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(body.as_bytes()).to_bytes()))
    }

    fn good(&self) -> String {
        self.sign(&self.header.to_string(), &self.claims.to_string())
    }

    fn header(&self, field: &str, value: Value) -> String {
        self.sign(&with(&self.header, field, value).to_string(), &self.claims.to_string())
    }

    fn claim(&self, field: &str, value: Value) -> String {
        self.sign(&self.header.to_string(), &with(&self.claims, field, value).to_string())
    }

    /// Signed in another way, with what an attacker knows as the key.
    fn other(&self, algorithm: Algorithm, key: &EncodingKey) -> String {
        let mut header = Header::new(algorithm);
        header.typ = Some("api+jwt".into());
        header.kid = self.header["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, &self.claims, key).unwrap()
    }
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    match value {
        Value::Null => drop(object.as_object_mut().unwrap().remove(field)),
        value => object[field] = value,
    }
    object
}

async fn code(api: &Api, token: &str) -> StatusCode {
    let authorization = format!("Bearer {token}");
    api.raw("GET", "/api/v1/namespaces", &[("authorization", &authorization)], Body::empty()).await.status()
}

#[tokio::test]
async fn every_attack_on_the_list_is_refused_by_the_api() {
    let api = Api::start().await;
    let forge = Forge::of(&api).await;
    assert_eq!(code(&api, &forge.good()).await, StatusCode::OK, "the token that all others differ from");
    let now = api.keys.clock().now();
    let mut attacks: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| attacks.push((what.to_owned(), token));

    for alg in ["none", "None", "nOnE", "HS256", "RS256", "ES256", "PS256"] {
        add(&format!("alg {alg}"), forge.header("alg", json!(alg)));
        let token = forge.header("alg", json!(alg));
        add(&format!("alg {alg} unsigned"), format!("{}.", token.rsplit_once('.').unwrap().0));
    }
    let public = forge.key.verifying_key();
    let pem = public.to_public_key_pem(Default::default()).unwrap().into_bytes();
    for secret in [pem, public.to_public_key_der().unwrap().into_vec(), public.to_bytes().to_vec()] {
        add("HS256 with the public key", forge.other(Algorithm::HS256, &EncodingKey::from_secret(&secret)));
    }
    let other = rcgen::KeyPair::generate().unwrap();
    add("ES256 by a stranger", forge.other(Algorithm::ES256, &EncodingKey::from_ec_der(&other.serialize_der())));
    let good = forge.good();
    let (body, signature) = good.rsplit_once('.').unwrap();
    for bad in ["", "AA", &URL_SAFE_NO_PAD.encode([0; 64]), &format!("{signature}AA"), &format!("{signature}=")] {
        add("signature", format!("{body}.{bad}"));
    }
    let long = "k".repeat(10_000);
    for kid in ["../../etc/passwd", "' or 1=1 --", "a\0b", &long, "", "unknown", &"A".repeat(43)] {
        add("kid", forge.header("kid", json!(kid)));
    }
    add("no kid", forge.header("kid", Value::Null));
    for name in ["jwk", "jku", "x5u", "x5c", "crit", "zip", "b64", "cty", "enc"] {
        add(name, forge.header(name, json!("https://evil.test/")));
    }
    for typ in [json!("lease+jwt"), json!("control+jwt"), json!("bootstrap+jwt"), json!("JWT"), Value::Null] {
        add("typ", forge.header("typ", typ));
    }
    for (claim, value) in [
        ("aud", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(["torch-remote-api"])),
        ("iss", json!("https://evil.test")),
        ("iss", json!(null)),
        ("exp", json!(now - 1)),
        ("exp", json!(null)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(now as f64 + 600.5)),
        ("exp", json!(-1)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!(now + 25 * 3600)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(now.to_string())),
        ("nbf", json!(null)),
        ("iat", json!(now + 60)),
        ("iat", json!(null)),
        ("sub", json!("")),
        ("sub", json!(null)),
        ("jti", json!(null)),
        ("groups", json!("system:masters")),
        ("account", json!("robot")),
        ("account", json!({"name": "robot"})),
        ("account", json!({"namespace": "default", "name": "robot", "uid": "none", "version": 0})),
    ] {
        add(&format!("{claim} {value}"), forge.claim(claim, value));
    }
    let twice = forge.claims.to_string().replacen('{', r#"{"sub":"root","#, 1);
    add("a claim given twice", forge.sign(&forge.header.to_string(), &twice));
    let twice = forge.header.to_string().replacen('{', r#"{"alg":"none","#, 1);
    add("a header given twice", forge.sign(&twice, &forge.claims.to_string()));
    add("nested", forge.sign(&forge.header.to_string(), &format!("\"{good}\"")));
    add("five parts, as encrypted ones have", format!("{good}.AA.AA"));
    add("two parts", body.to_owned());
    add("a megabyte", forge.header("typ", json!("x".repeat(1 << 20))));
    add("another token of ours", api.keys.sign("lease+jwt", &forge.claims).unwrap());

    for (what, token) in &attacks {
        assert_eq!(code(&api, token).await, StatusCode::UNAUTHORIZED, "{what}: {token}");
    }
    assert!(attacks.len() > 70, "{}", attacks.len());
    let two = [("authorization", good.as_str()), ("authorization", good.as_str())];
    let answer = api.raw("GET", "/api/v1/namespaces", &two, Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "two headers");
    assert_eq!(code(&api, &good).await, StatusCode::OK, "and the good one is still good");
    let rows = async {
        let told = "select count(*) from audit where code = 401 and decision = 'Deny' and who = '' and path = '/api/v1/namespaces'";
        while sqlx::query_scalar::<_, i64>(told).fetch_one(api.objects.pool()).await.unwrap() <= attacks.len() as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), rows).await.expect("each has left a row in the audit");
}

#[tokio::test]
async fn after_a_key_was_lost_nothing_that_it_signed_is_accepted() {
    let api = Api::start().await;
    let forge = Forge::of(&api).await;
    let sealer = Sealer::open(&api.folder.path().join("key")).unwrap();
    let replica = Keys::load(api.objects.pool().clone(), sealer, "https://control.test").await.unwrap();
    let known = api.keys.jwks();
    let database = api.objects.pool().connect_options().to_url_lossy().to_string();
    let replace = |key: &str| {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_torch-remote"));
        program.args(["replace-keys", "--key-file"]).arg(api.folder.path().join(key)).env("DATABASE_URL", &database);
        program.status()
    };
    Sealer::open_or_make(&api.folder.path().join("other")).unwrap();
    assert!(!replace("other").await.unwrap().success(), "another key file than the database's");
    api.keys.look().await.unwrap();
    assert_eq!(api.keys.jwks(), known);
    assert!(replace("key").await.unwrap().success());
    api.keys.look().await.unwrap();
    assert_eq!(code(&api, &forge.good()).await, StatusCode::UNAUTHORIZED);
    api.keys.changed(&known).await;
    let ids = |jwks: &Value| -> Vec<String> {
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let lost = forge.header["kid"].as_str().unwrap();
    assert!(!ids(&api.keys.jwks()).iter().any(|kid| kid == lost), "it is published no more");
    let signer = jsonwebtoken::decode_header(api.keys.api_token("ana", &[], 60).unwrap()).unwrap().kid.unwrap();
    assert!(ids(&known).contains(&signer), "agents know the one that signs now: they were told before");
    replica.look().await.unwrap();
    assert_eq!(replica.jwks(), api.keys.jwks(), "and on the others at their next look");
    let fresh = replica.api_token("ana", &["system:masters"], 600).unwrap();
    assert_eq!(code(&api, &fresh).await, StatusCode::OK);
}
