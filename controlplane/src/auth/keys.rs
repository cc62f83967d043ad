//! [`Keys`]: the signing keys, in three stages. Next is published before it signs, current signs, previous still verifies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use torch_remote_api::token::{API_AUDIENCE, API_TYPE, ApiClaims, Registered};
use uuid::Uuid;

use super::clock::Clock;
use super::seal::{self, Place, Sealer};
use super::verified::Verified;
use super::verify::{self, API_SECONDS, Expected, Refused};
use crate::store::{self, pool, signing_key};

/// Between two looks at the keys other replicas may have changed.
const REFRESH: Duration = Duration::from_secs(30);
/// An unknown key id makes us look sooner, but not more often than this.
const SOONEST: Duration = Duration::from_secs(5);
/// A key signs for this long, by the database's clock.
const ROTATE_SECONDS: f64 = 30.0 * 24.0 * 3600.0;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Error {
    #[error(transparent)]
    Store(store::Error),
    #[error(transparent)]
    Seal(seal::Error),
    #[error("a stored signing key is not an Ed25519 key; restore the database")]
    Malformed,
    #[error("could not sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Signs and verifies tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    sealer: Sealer,
    issuer: String,
    clock: Clock,
    ring: watch::Sender<Arc<Ring>>,
    refreshed: Mutex<Instant>,
    verified: Verified,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

struct Ring {
    kid: String,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    jwks: Value,
}

impl Keys {
    /// Reads the keys; makes them first if there are none.
    ///
    /// # Errors
    /// The database failed, or its keys were sealed with another key file.
    pub async fn load(pool: PgPool, sealer: Sealer, issuer: impl Into<String>) -> Result<Self, Error> {
        complete(&pool, &sealer).await?;
        let ring = read(&pool, &sealer).await?;
        let (ring, refreshed) = (watch::Sender::new(Arc::new(ring)), Mutex::new(Instant::now()));
        let (issuer, clock) = (issuer.into(), Clock::default());
        let verified = Verified::default();
        Ok(Self { shared: Arc::new(Shared { pool, sealer, issuer, clock, ring, refreshed, verified }) })
    }

    /// The clock that tokens are made and judged by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The `iss` of every token made here.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// The public keys as a JSON Web Key Set: previous, current and next.
    pub fn jwks(&self) -> Value {
        self.ring().jwks.clone()
    }

    /// Returns when the public keys are others than `known`, a [`jwks`](Self::jwks) read before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn changed(&self, known: &Value) {
        let mut rings = self.shared.ring.subscribe();
        // Fails only when the sender is gone, and `self` holds it.
        drop(rings.wait_for(|ring| ring.jwks != *known).await);
    }

    /// Claims common to all tokens, from now on for `seconds`, with an id of their own.
    pub fn registered(&self, subject: impl Into<String>, audience: impl Into<String>, seconds: i64) -> Registered {
        let now = self.shared.clock.now();
        Registered {
            iss: self.shared.issuer.clone(),
            sub: subject.into(),
            aud: audience.into(),
            exp: now + seconds,
            nbf: now,
            iat: now,
            jti: Uuid::new_v4().to_string(),
        }
    }

    /// A token of this type with these claims.
    ///
    /// # Errors
    /// The claims are not JSON.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Error> {
        let ring = self.ring();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(ring.kid.clone());
        jsonwebtoken::encode(&header, claims, &ring.signing).map_err(Error::Sign)
    }

    /// A token for the API server. `seconds` is at most [`API_SECONDS`].
    ///
    /// # Errors
    /// Signing failed.
    pub fn api_token(&self, user: &str, groups: &[&str], seconds: i64) -> Result<String, Error> {
        let registered = self.registered(user, API_AUDIENCE, seconds.min(API_SECONDS));
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.sign(API_TYPE, &ApiClaims { registered, groups, account: None })
    }

    /// Judges a token. A key id not known here makes this replica look for new keys, at most every five seconds.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn verify<C: DeserializeOwned>(&self, typ: &str, audience: &str, token: &str) -> Result<C, Refused> {
        let kid = verify::key_id(token, typ)?;
        if !self.ring().verifying.contains_key(&kid) && self.may_refresh() {
            self.refresh().await.map_err(|error| match error {
                Error::Store(error) => Refused::Keys(error),
                _ => Refused::UnknownKey,
            })?;
        }
        let expected = Expected { typ, audience, issuer: &self.shared.issuer, now: self.shared.clock.now() };
        let ring = self.ring();
        let known = self.shared.verified.find(token).filter(|_| ring.verifying.contains_key(&kid));
        let new = known.is_none();
        let claims = known.map_or_else(|| verify::signed(token, expected, &ring.verifying).map(Arc::new), Ok)?;
        verify::judge(&claims, expected)?;
        if new {
            self.shared.verified.note(token, claims.clone());
        }
        C::deserialize(&*claims).map_err(|_| Refused::Malformed)
    }

    /// Looks for keys other replicas made, and rotates when the current one has signed for its time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look(&self) -> Result<(), Error> {
        if signing_key::signing_seconds(&self.shared.pool).await.map_err(Error::Store)? >= ROTATE_SECONDS {
            self.rotate().await?;
        }
        self.refresh().await
    }

    /// Next signs from now on, current becomes previous, unless another replica did that first.
    async fn rotate(&self) -> Result<(), Error> {
        let mut transaction = pool::begin(&self.shared.pool).await.map_err(Error::Store)?;
        signing_key::lock(&mut transaction).await.map_err(Error::Store)?;
        if signing_key::signing_seconds(&mut *transaction).await.map_err(Error::Store)? < ROTATE_SECONDS {
            return Ok(());
        }
        // By then the last token that it signed is over.
        let keep = ROTATE_SECONDS + API_SECONDS as f64;
        signing_key::advance(&mut transaction, keep).await.map_err(Error::Store)?;
        fill(&mut transaction, &self.shared.sealer).await?;
        transaction.commit().await.map_err(store::Error::database("commit")).map_err(Error::Store)?;
        tracing::info!("the next signing key signs from now on");
        Ok(())
    }

    /// [`look`](Self::look)s now and then, until told to stop.
    pub async fn keep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look at the signing keys; those known stay in use"
                );
            }
        }
    }

    async fn refresh(&self) -> Result<(), Error> {
        let ring = read(&self.shared.pool, &self.shared.sealer).await?;
        self.shared.ring.send_if_modified(|known| {
            let news = known.jwks != ring.jwks || known.kid != ring.kid;
            *known = Arc::new(ring);
            news
        });
        Ok(())
    }

    fn may_refresh(&self) -> bool {
        let mut refreshed = self.shared.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = refreshed.elapsed() >= SOONEST;
        if may {
            *refreshed = Instant::now();
        }
        may
    }

    fn ring(&self) -> Arc<Ring> {
        self.shared.ring.borrow().clone()
    }
}

/// Makes the keys that are missing, on one replica only.
async fn complete(pool: &PgPool, sealer: &Sealer) -> Result<(), Error> {
    let mut transaction = pool::begin(pool).await.map_err(Error::Store)?;
    signing_key::lock(&mut transaction).await.map_err(Error::Store)?;
    fill(&mut transaction, sealer).await?;
    transaction.commit().await.map_err(store::Error::database("commit")).map_err(Error::Store)
}

/// After the key that signs was lost to a stranger: it and the previous ones go, and the next one signs. What they signed is refused by each replica within
/// [`REFRESH`]. Agents know the next one: it was published to them before, and a key that they do not know could tell them of no other.
///
/// # Errors
/// The database failed.
pub async fn replace(pool: &PgPool, sealer: &Sealer) -> Result<(), Error> {
    let mut transaction = pool::begin(pool).await.map_err(Error::Store)?;
    signing_key::lock(&mut transaction).await.map_err(Error::Store)?;
    signing_key::discard(&mut transaction).await.map_err(Error::Store)?;
    fill(&mut transaction, sealer).await?;
    transaction.commit().await.map_err(store::Error::database("commit")).map_err(Error::Store)
}

async fn fill(connection: &mut PgConnection, sealer: &Sealer) -> Result<(), Error> {
    for stage in ["current", "next"] {
        if signing_key::at(connection, stage).await.map_err(Error::Store)?.is_none() {
            let key = make(stage, sealer)?;
            signing_key::insert(connection, &key).await.map_err(Error::Store)?;
        }
    }
    Ok(())
}

fn make(stage: &str, sealer: &Sealer) -> Result<signing_key::SigningKey, Error> {
    let private = ed25519_dalek::SigningKey::from_bytes(&seal::random::<32>().map_err(Error::Seal)?);
    let public = private.verifying_key().to_bytes();
    let kid = thumbprint(&public);
    let sealed = sealer.seal(place(&kid), private.as_bytes()).map_err(Error::Seal)?;
    Ok(signing_key::SigningKey { kid, stage: stage.to_owned(), public: public.to_vec(), sealed })
}

async fn read(pool: &PgPool, sealer: &Sealer) -> Result<Ring, Error> {
    let rows = signing_key::all(pool).await.map_err(Error::Store)?;
    let mut signing = None;
    let mut verifying = HashMap::new();
    let mut published = Vec::new();
    for row in &rows {
        // Public keys come from the sealed half: one written into the table by someone without the key file must verify nothing.
        let private = sealer.unseal(place(&row.kid), &row.sealed).map_err(Error::Seal)?;
        let private = ed25519_dalek::SigningKey::from_bytes(&private.try_into().map_err(|_| Error::Malformed)?);
        let x = URL_SAFE_NO_PAD.encode(private.verifying_key().to_bytes());
        verifying.insert(row.kid.clone(), DecodingKey::from_ed_components(&x).map_err(|_| Error::Malformed)?);
        published.push(json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": row.kid, "x": x}));
        if row.stage == "current" {
            let der = private.to_pkcs8_der().map_err(|_| Error::Malformed)?;
            signing = Some((row, EncodingKey::from_ed_der(der.as_bytes())));
        }
    }
    let (current, signing) = signing.ok_or(Error::Malformed)?;
    Ok(Ring { kid: current.kid.clone(), signing, verifying, jwks: json!({"keys": published}) })
}

/// RFC 7638.
pub fn thumbprint(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn place(kid: &str) -> Place<'_> {
    Place { table: "signing_key", row: kid, column: "sealed" }
}
