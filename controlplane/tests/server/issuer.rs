//! An issuer (OpenID Connect) in this process: real RSA and P-256 keys, the device flow, refresh tokens that are used once, and counts of what it was asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::extract::{Form, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use torch_remote::apiserver::Authentication;
use torch_remote::auth::issuer::Pace;
use torch_remote::auth::issuer::config::{Login, Settings};
use torch_remote::auth::{Clock, Issuers};
use uuid::Uuid;

/// The client that logs in, and the audience of its tokens.
pub const CLIENT: &str = "torch-remote-cli";

/// One, listening on this machine.
pub struct Issuer {
    /// As in `iss`.
    pub url: String,
    /// What it does and has done.
    pub state: Arc<Inside>,
}

/// A key that signs.
#[derive(Clone)]
struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

/// What it does and has done.
pub struct Inside {
    url: String,
    /// Its clock.
    pub clock: Clock,
    /// Life of its tokens, seconds.
    pub life: AtomicI64,
    /// How often its keys were read.
    pub key_reads: AtomicUsize,
    /// How often a refresh token was traded.
    pub refreshes: AtomicUsize,
    /// How often it was asked what it is.
    pub discoveries: AtomicUsize,
    /// Whoever writes here keeps it from saying what it is.
    pub gate: tokio::sync::RwLock<()>,
    /// It answers 503.
    pub away: AtomicBool,
    /// Answers to `token` before the usual ones, last first.
    pub odd_answers: Mutex<Vec<(u16, Value)>>,
    keys: Mutex<Vec<SigningKey>>,
    /// User by device code, once approved.
    devices: Mutex<HashMap<String, (String, Option<String>)>>,
    /// User by refresh token.
    sessions: Mutex<HashMap<String, String>>,
}

fn rs256() -> SigningKey {
    static KEY: LazyLock<(Vec<u8>, Value)> = LazyLock::new(|| {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let number = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let public =
            json!({"kty": "RSA", "use": "sig", "n": number(key.n().to_bytes_be()), "e": number(key.e().to_bytes_be())});
        (key.to_pkcs1_der().unwrap().as_bytes().to_vec(), public)
    });
    named(Algorithm::RS256, EncodingKey::from_rsa_der(&KEY.0), KEY.1.clone())
}

fn es256() -> SigningKey {
    let key = rcgen::KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let public = json!({"kty": "EC", "crv": "P-256", "x": half(1..33), "y": half(33..65)});
    named(Algorithm::ES256, EncodingKey::from_ec_der(&key.serialize_der()), public)
}

fn named(algorithm: Algorithm, private: EncodingKey, mut public: Value) -> SigningKey {
    let kid = Uuid::new_v4().to_string();
    public["kid"] = json!(kid);
    SigningKey { kid, algorithm, private, public }
}

impl Issuer {
    /// Starts one with a key of each algorithm.
    pub async fn start(clock: Clock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Inside {
            url: url.clone(),
            clock,
            life: AtomicI64::new(60),
            key_reads: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
            discoveries: AtomicUsize::new(0),
            gate: tokio::sync::RwLock::default(),
            away: AtomicBool::new(false),
            odd_answers: Mutex::default(),
            keys: Mutex::new(vec![rs256(), es256()]),
            devices: Mutex::default(),
            sessions: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/device", post(device))
            .route("/token", post(token))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// A control plane's trust in it.
    pub fn settings(&self) -> Settings {
        Settings {
            issuer: self.url.clone(),
            audiences: vec![CLIENT.into()],
            username_claim: "sub".into(),
            username_prefix: "oidc:".into(),
            groups_claim: Some("groups".into()),
            groups_prefix: String::new(),
            authority: None,
            algorithms: vec![Algorithm::RS256, Algorithm::ES256],
            login: Some(Login { client_id: CLIENT.into(), scopes: vec!["openid".into()] }),
        }
    }

    /// A control plane's authentication with it.
    pub fn trusted(&self, pace: Pace) -> Authentication {
        Authentication { issuers: Issuers::new(vec![self.settings()], pace).unwrap(), ..Authentication::default() }
    }

    /// A token of `sub`, signed by the newest key of that algorithm.
    pub fn token(&self, sub: &str, algorithm: Algorithm) -> String {
        self.state.sign(&self.state.claims(sub), algorithm)
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Value, algorithm: Algorithm) -> String {
        self.state.sign(claims, algorithm)
    }

    /// Claims of a good token.
    pub fn claims(&self, sub: &str) -> Value {
        self.state.claims(sub)
    }

    /// New keys in place of the old ones.
    pub fn rotate(&self) {
        *self.state.keys.lock().unwrap() = vec![rs256(), es256()];
    }

    /// It has no keys any more.
    pub fn withdraw(&self) {
        self.state.keys.lock().unwrap().clear();
    }

    /// A person enters the code.
    pub fn approve(&self, user_code: &str, user: &str) {
        let mut devices = self.state.devices.lock().unwrap();
        let (_, found) = devices.values_mut().find(|(code, _)| code == user_code).expect("a code that was given");
        *found = Some(user.to_owned());
    }

    /// All sessions end.
    pub fn forget(&self) {
        self.state.sessions.lock().unwrap().clear();
    }
}

impl Inside {
    fn claims(&self, sub: &str) -> Value {
        let now = self.clock.now();
        json!({
            "iss": self.url, "sub": sub, "aud": CLIENT, "iat": now, "exp": now + self.life.load(Ordering::Relaxed),
            "groups": ["vision"],
        })
    }

    fn sign(&self, claims: &Value, algorithm: Algorithm) -> String {
        let keys = self.keys.lock().unwrap();
        let key = keys.iter().find(|key| key.algorithm == algorithm).unwrap();
        let mut header = Header::new(algorithm);
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.private).unwrap()
    }

    fn tokens(&self, user: &str) -> (StatusCode, Json<Value>) {
        let refresh = Uuid::new_v4().to_string();
        self.sessions.lock().unwrap().insert(refresh.clone(), user.to_owned());
        let id_token = self.sign(&self.claims(user), Algorithm::ES256);
        (StatusCode::OK, Json(json!({"id_token": id_token, "refresh_token": refresh, "token_type": "Bearer"})))
    }
}

async fn discovery(State(inside): State<Arc<Inside>>) -> (StatusCode, Json<Value>) {
    inside.discoveries.fetch_add(1, Ordering::Relaxed);
    drop(inside.gate.read().await);
    if inside.away.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    let at = |path: &str| format!("{}{path}", inside.url);
    let document = json!({
        "issuer": inside.url, "jwks_uri": at("/keys"), "token_endpoint": at("/token"),
        "device_authorization_endpoint": at("/device"),
    });
    (StatusCode::OK, Json(document))
}

async fn keys(State(inside): State<Arc<Inside>>) -> Json<Value> {
    inside.key_reads.fetch_add(1, Ordering::Relaxed);
    let keys: Vec<Value> = inside.keys.lock().unwrap().iter().map(|key| key.public.clone()).collect();
    Json(json!({"keys": keys}))
}

async fn device(State(inside): State<Arc<Inside>>) -> Json<Value> {
    let (device_code, user_code) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string()[..8].to_uppercase());
    inside.devices.lock().unwrap().insert(device_code.clone(), (user_code.clone(), None));
    Json(json!({
        "device_code": device_code, "user_code": user_code, "verification_uri": format!("{}/enter", inside.url),
        "expires_in": 300, "interval": 1,
    }))
}

async fn token(
    State(inside): State<Arc<Inside>>,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error})));
    if let Some((code, body)) = inside.odd_answers.lock().unwrap().pop() {
        return (StatusCode::from_u16(code).unwrap(), Json(body));
    }
    let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if given("client_id") != CLIENT {
        return refused("invalid_client");
    }
    if given("grant_type") == "refresh_token" {
        inside.refreshes.fetch_add(1, Ordering::Relaxed);
        // Used once: two that trade the same one are a theft, as far as an issuer can tell.
        let user = inside.sessions.lock().unwrap().remove(given("refresh_token"));
        return user.map_or_else(|| refused("invalid_grant"), |user| inside.tokens(&user));
    }
    let device = inside.devices.lock().unwrap().get(given("device_code")).cloned();
    match device {
        Some((_, Some(user))) => inside.tokens(&user),
        Some((_, None)) => refused("authorization_pending"),
        None => refused("expired_token"),
    }
}
