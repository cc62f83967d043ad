//! The API server: Kubernetes' protocol over the store, for kubectl, the SDK and the CLI.
//!
//! Owns routes, verbs and forms of answers. Leaves what objects may say to `torch_remote_api`, what is stored to [`crate::store`], who calls to
//! [`crate::auth`]. Invariants: every answer to a refused call is a Status object, also from authentication, routing and panics; handlers never
//! call a provider; a watcher costs no statement while it waits.

mod accepted;
pub mod admission;
pub mod advice;
pub mod apply;
pub mod asks;
pub mod audit;
pub mod body;
mod delete_options;
pub mod discovery;
pub mod failure;
mod grant;
mod guard;
pub mod health;
pub mod impersonate;
pub mod lease;
pub mod limit;
pub mod negotiate;
pub mod objects;
pub mod parameters;
pub mod patch;
mod preconditions;
pub mod protobuf;
mod read;
pub mod readings;
pub mod render;
pub mod review;
pub mod routes;
pub mod scale;
pub mod selection;
pub mod service_account;
pub mod token_review;
pub mod virtual_kind;
pub mod watch;

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::Method;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use torch_remote_api::Kind;
use torch_remote_api::status::Status;
use torch_remote_api::token::ACCOUNT_SECONDS;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::auth::{Authenticator, Caller, Issuers, Keys, Policies};
use crate::provider::Providers;
use crate::store::Objects;
use crate::store::watch_cache::WatchCache;
use crate::telemetry;

use accepted::Accepted;
use advice::Advisor;
use audit::Trail;
use discovery::Documents;
use failure::Failure;
use guard::{Gate, guard};
use limit::{Held, Limits};
use routes::Access;
pub use virtual_kind::VirtualKind;

/// Requests at once; more are told to come back.
const REQUESTS: usize = 512;
/// Renewals and calls for tokens at once: beside the others, so that no leases end because people are busy.
const RENEWALS: usize = 256;
/// Watches at once; more are told to come back.
const WATCHERS: usize = 10_000;
/// Longest time until a request is answered; of a watch, until its first byte.
const LONGEST: Duration = Duration::from_secs(60);

/// What an API server is made of.
pub struct Parts {
    /// The store.
    pub objects: Objects,
    /// Fed by the store's tail.
    pub cache: Arc<WatchCache>,
    /// Judge tokens.
    pub keys: Keys,
    /// Kinds without storage, by plural.
    pub virtual_kinds: HashMap<&'static str, Arc<dyn VirtualKind>>,
    /// What a caller may ask for.
    pub limits: limit::Settings,
    /// Takes the audit.
    pub trail: Trail,
    /// What `/metrics` shows.
    pub metrics: Option<PrometheusHandle>,
    /// Ends watches, so that clients go to another replica.
    pub stop: CancellationToken,
}

/// How callers are told apart beside the tokens of our own keys.
#[derive(Debug, Clone)]
pub struct Authentication {
    /// Others whose tokens are accepted.
    pub issuers: Issuers,
    /// Longest life of a service account's token, seconds.
    pub account_seconds: i64,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { issuers: Issuers::default(), account_seconds: ACCOUNT_SECONDS }
    }
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    parts: Parts,
    authentication: Authentication,
    documents: Documents,
    limits: Arc<Limits>,
    accepted: Accepted,
    requests: Arc<Semaphore>,
    renewals: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    began: i64,
    providers: Providers,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    /// A server of these parts, for callers with tokens of our own.
    pub fn new(parts: Parts) -> Self {
        Self::with_authentication(parts, Authentication::default())
    }

    /// A server of these parts.
    pub fn with_authentication(parts: Parts, authentication: Authentication) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let began = parts.cache.version();
        Self(Arc::new(Shared {
            authentication,
            documents: Documents::new(),
            limits: Arc::new(Limits::new(parts.limits)),
            accepted: Accepted::default(),
            requests: places(REQUESTS),
            renewals: places(RENEWALS),
            watchers: places(WATCHERS),
            parts,
            began,
            providers: Providers::default(),
        }))
    }

    /// Knows what makes machines, to tell what a change replaces. To be called before the server is shared.
    #[must_use]
    pub fn with_providers(mut self, providers: Providers) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.providers = providers;
        }
        self
    }

    fn advisor(&self) -> Advisor<'_> {
        Advisor { cache: self.cache(), objects: self.objects(), providers: &self.0.providers }
    }

    /// All routes, with what stands before them.
    pub fn router(self) -> Router {
        let (mut public, mut guarded, mut asks) = (Router::new(), Router::new(), HashMap::new());
        for route in routes::routes(&self) {
            match route.access {
                Access::Public => public = public.route(&route.path, route.handler),
                Access::Guarded(about) => {
                    guarded = guarded.route(&route.path, route.handler);
                    asks.insert(route.path, about);
                }
            }
        }
        let gate = Gate { server: self.clone(), asks: Arc::new(asks) };
        let guarded = guarded.fallback(no_such_path).layer(from_fn_with_state(gate, guard));
        let all = public.merge(guarded).layer(CatchPanicLayer::custom(panicked));
        all.layer(from_fn_with_state(self.clone(), bound)).layer(from_fn(observe)).with_state(self)
    }

    /// The store.
    pub fn objects(&self) -> &Objects {
        &self.0.parts.objects
    }

    /// The store's cache.
    pub fn cache(&self) -> &WatchCache {
        &self.0.parts.cache
    }

    /// The signing keys.
    pub fn keys(&self) -> &Keys {
        &self.0.parts.keys
    }

    /// Who may do what.
    pub fn policies(&self) -> &Policies {
        self.cache().policies()
    }

    fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    fn accepted(&self) -> &Accepted {
        &self.0.accepted
    }

    fn trail(&self) -> &Trail {
        &self.0.parts.trail
    }

    /// The version of the store when this server began.
    fn began(&self) -> i64 {
        self.0.began
    }

    /// How callers are told apart beside the tokens of our own keys.
    pub fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    /// Finds out who calls.
    pub fn authenticator(&self) -> Authenticator<'_> {
        Authenticator { keys: self.keys(), cache: self.cache(), issuers: &self.0.authentication.issuers }
    }

    fn documents(&self) -> &Documents {
        &self.0.documents
    }

    fn metrics(&self) -> Option<String> {
        self.0.parts.metrics.as_ref().map(PrometheusHandle::render)
    }

    fn virtual_kind(&self, kind: &Kind) -> Option<Arc<dyn VirtualKind>> {
        self.0.parts.virtual_kinds.get(kind.plural).cloned()
    }

    fn stopping(&self) -> bool {
        self.0.parts.stop.is_cancelled()
    }

    /// Lets one more watch in.
    fn admit_watcher(&self, caller: &Caller) -> Result<Watcher, Failure> {
        let actor = caller.actor();
        let own = self.0.limits.hold(Held::Watch, &actor.name, actor.administrator());
        let own = own.ok_or_else(|| Status::too_many_requests(5))?;
        let permit = self.0.watchers.clone().try_acquire_owned().map_err(|_| Status::too_many_requests(5))?;
        metrics::gauge!("torchremote_watchers").increment(1.0);
        Ok(Watcher { stop: self.0.parts.stop.clone(), _permit: permit, _own: own })
    }
}

/// A watch's place among the watches.
struct Watcher {
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
    _own: limit::Place,
}

impl Watcher {
    /// When it is cancelled, all watches end.
    fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        metrics::gauge!("torchremote_watchers").decrement(1.0);
    }
}

/// Bounds on how many and how long.
async fn bound(State(server): State<Server>, request: Request, next: Next) -> Result<Response, Failure> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let keeps_alive = path.ends_with("/{name}/renew") || path.ends_with("/{name}/token");
    let places = if keeps_alive { &server.0.renewals } else { &server.0.requests };
    let Ok(_permit) = places.clone().try_acquire_owned() else {
        return Err(Status::too_many_requests(1).into());
    };
    tokio::time::timeout(LONGEST, next.run(request))
        .await
        .map_err(|_| Status::timeout(&format!("the request was not answered within {} s", LONGEST.as_secs()), 1).into())
}

/// One span and one measurement for each request.
async fn observe(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = known(request.method());
    let span = tracing::info_span!("request", otel.kind = "server", http.request.method = %method, url.path = request.uri().path(), user = tracing::field::Empty);
    telemetry::adopt(&span, request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).instrument(span.clone()).await;
    let code = response.status().as_u16();
    let labels = [("method", method.to_string()), ("route", route.unwrap_or_default()), ("code", code.to_string())];
    metrics::histogram!("torchremote_api_request_duration_seconds", &labels).record(start.elapsed().as_secs_f64());
    span.in_scope(|| tracing::debug!(code, milliseconds = start.elapsed().as_millis() as u64, "answered"));
    response
}

/// The method, of those that HTTP has. A caller may invent others: each as a label would be a series that stays.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    methods.into_iter().find(|known| method == *known).unwrap_or("OTHER")
}

async fn no_such_path() -> Failure {
    Status::no_such_path().into()
}

fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let what = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("of unknown cause"), "a handler panicked");
    Failure::from(Status::internal("the server made a mistake; its log says which")).into_response()
}
