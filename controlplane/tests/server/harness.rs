//! A control plane's API without reconcilers: store, keys and router on a fresh database, in this process; over TLS for real clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use torch_remote::apiserver::audit::{self, Trail};
use torch_remote::apiserver::readings::readings;
use torch_remote::apiserver::{Authentication, Parts, Server, VirtualKind, limit};
use torch_remote::auth::{Keys, Sealer};
use torch_remote::provider::Providers;
use torch_remote::provider::local::{Local, Settings};
use torch_remote::reconcile::garbage;
use torch_remote::store::event::Recorder;
use torch_remote::store::log::Tail;
use torch_remote::store::{List, Objects, namespace};
use torch_remote_api::provider::ProviderType;
use tower::ServiceExt;

use crate::database;

/// The API, and what tests need beside it. Everything ends with it.
pub struct Api {
    /// To ask without a network.
    pub router: Router,
    /// What the router is of.
    pub server: Server,
    /// The store beneath.
    pub objects: Objects,
    /// Of an administrator.
    pub token: String,
    /// To make tokens of others.
    pub keys: Keys,
    /// For files.
    pub folder: TempDir,
    /// Ends watches.
    pub stop: CancellationToken,
    /// Kept from running: what waits for it is lost.
    _idle: Option<audit::Writer>,
}

/// How one is started.
#[derive(Default)]
struct Setup {
    limits: limit::Settings,
    authentication: Authentication,
    /// Nothing writes the rows that wait in the audit's queue.
    idle_audit: bool,
}

/// No rows at all, as of now.
pub struct Nothing(pub Objects);

impl VirtualKind for Nothing {
    fn list<'a>(
        &'a self,
        _: Option<&'a str>,
    ) -> futures::future::BoxFuture<'a, Result<List, torch_remote::store::Error>> {
        Box::pin(async {
            Ok(List { items: Vec::new(), resource_version: self.0.version().await?, more: false, remaining: None })
        })
    }
}

impl Api {
    /// Starts one, for tokens of its own keys.
    pub async fn start() -> Self {
        Self::start_as(Setup::default()).await
    }

    /// Starts one that will be killed before it writes any row of the audit that waits in the queue.
    pub async fn doomed() -> Self {
        Self::start_as(Setup { idle_audit: true, ..Setup::default() }).await
    }

    /// Starts one with limits.
    pub async fn limited(limits: limit::Settings) -> Self {
        Self::start_as(Setup { limits, ..Setup::default() }).await
    }

    /// Starts one that knows more callers.
    pub async fn start_with(authentication: Authentication) -> Self {
        let any = limit::Rate { per_second: 1e6, burst: 1e6 };
        Self::limited_with(limit::Settings { failures: any, ..limit::Settings::default() }, authentication).await
    }

    /// Starts one with limits that knows more callers.
    pub async fn limited_with(limits: limit::Settings, authentication: Authentication) -> Self {
        Self::start_as(Setup { limits, authentication, ..Setup::default() }).await
    }

    /// Starts one over what another release left in a database, sealed with this key.
    pub async fn over(pool: sqlx::PgPool, key: &str) -> Self {
        torch_remote::store::migrate(&pool).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, key).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self::start_in(pool, folder, Setup::default()).await
    }

    async fn start_as(setup: Setup) -> Self {
        Self::start_in(database::fresh().await, tempfile::tempdir().unwrap(), setup).await
    }

    async fn start_in(pool: sqlx::PgPool, folder: TempDir, setup: Setup) -> Self {
        let Setup { limits, authentication, idle_audit } = setup;
        let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
        let keys = Keys::load(pool.clone(), sealer.clone(), "https://control.test").await.unwrap();
        let objects = Objects::new(pool).sealed_by(sealer);
        let tail = Tail::start(objects.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let nothing: Arc<dyn VirtualKind> = Arc::new(Nothing(objects.clone()));
        let (trail, writer) = Trail::new(objects.pool().clone(), 90);
        let mut idle = Some(writer);
        if let Some(writer) = idle.take_if(|_| !idle_audit) {
            tokio::spawn(writer.run(stop.clone()));
        }
        let mut virtual_kinds = audit::events(objects.pool());
        virtual_kinds.extend([("devices", nothing.clone()), ("tensors", nothing)]);
        let definitions =
            readings(objects.pool()).into_iter().filter(|(plural, _)| *plural == "customresourcedefinitions");
        virtual_kinds.extend(definitions);
        let parts = Parts {
            objects: objects.clone(),
            cache: tail.cache(),
            keys: keys.clone(),
            virtual_kinds,
            limits,
            trail,
            metrics: None,
            stop: stop.clone(),
        };
        tokio::spawn(tail.run(stop.clone()));
        tokio::spawn(namespace::collect(objects.clone(), stop.clone()));
        let (recorder, writer) = Recorder::new(objects.clone(), "garbage-collector");
        tokio::spawn(writer.run(stop.clone()));
        tokio::spawn(garbage::collect(objects.clone(), recorder, stop.clone()));
        let token = keys.api_token("admin", &["system:masters"], 3600).unwrap();
        let server = Server::with_authentication(parts, authentication).with_providers(providers(folder.path()));
        Self { router: server.clone().router(), server, objects, token, keys, folder, stop, _idle: idle }
    }

    /// Gives a user a ClusterRole: in a namespace, or, if that is empty, everywhere.
    pub async fn grant(&self, user: &str, role: &str, namespace: &str) {
        let subjects = json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
        self.bind(&format!("{user}-{role}"), role, namespace, subjects).await;
    }

    /// Gives subjects a ClusterRole: in a namespace, or, if that is empty, everywhere.
    pub async fn bind(&self, name: &str, role: &str, namespace: &str, subjects: Value) {
        let (kind, uri) = match namespace {
            "" => ("ClusterRoleBinding", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned()),
            _ => ("RoleBinding", format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings")),
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        });
        let (code, body) = self.send("POST", &uri, binding).await;
        assert_eq!(code, StatusCode::CREATED, "{body}");
    }

    /// A token of a user.
    pub fn token_of(&self, user: &str) -> String {
        self.keys.api_token(user, &[], 600).unwrap()
    }

    /// Sends a request as this user.
    pub async fn send_as(&self, user: &str, method: &str, uri: &str, body: Value) -> (StatusCode, Value) {
        let patch = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let (code, _, body) =
            self.ask_with(&self.token_of(user), method, uri, &[("content-type", patch)], body.to_string()).await;
        (code, body)
    }

    /// Sends a request as the administrator.
    pub async fn send(&self, method: &str, uri: &str, body: Value) -> (StatusCode, Value) {
        let patch = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let (code, _, body) = self.ask(method, uri, &[("content-type", patch)], body.to_string()).await;
        (code, body)
    }

    /// Reads as the administrator.
    pub async fn get(&self, uri: &str) -> (StatusCode, Value) {
        let (code, _, body) = self.ask("GET", uri, &[], String::new()).await;
        (code, body)
    }

    /// Sends a request as the administrator, with headers and any body.
    pub async fn ask(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, http::HeaderMap, Value) {
        self.ask_with(&self.token, method, uri, headers, body).await
    }

    /// Sends a request with this token.
    pub async fn ask_with(
        &self,
        token: &str,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, http::HeaderMap, Value) {
        let authorization = format!("Bearer {token}");
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", authorization.as_str())]).collect();
        let response = self.raw(method, uri, &headers, body.into()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        (parts.status, parts.headers, body)
    }

    /// Sends a request just so.
    pub async fn raw(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: Body) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    /// Opens a watch; its events come from [`Events::next`].
    pub async fn watch(&self, uri: &str, accept: &str) -> Events {
        let authorization = format!("Bearer {}", self.token);
        let response =
            self.raw("GET", uri, &[("authorization", &authorization), ("accept", accept)], Body::empty()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events { body: response.into_body(), line: Vec::new() }
    }

    /// Serves over TLS with a CA and a leaf; returns a kubeconfig's path.
    pub async fn serve(&self) -> PathBuf {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&leaf_key, &authority).unwrap();
        let private = rustls::pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), self.router.clone()));
        self.kubeconfig(address, &authority.pem())
    }

    fn kubeconfig(&self, address: SocketAddr, authority: &str) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let cluster =
            json!({"server": format!("https://{address}"), "certificate-authority-data": STANDARD.encode(authority)});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}

/// Providers that nobody asks for anything: they only say what they would make machines from.
fn providers(folder: &std::path::Path) -> Providers {
    let settings = Settings {
        // A program that is there: more is not asked of it.
        agent: std::env::current_exe().unwrap(),
        data_dir: folder.to_owned(),
        short_dir: folder.to_owned(),
        environment: Vec::new(),
        threads: 0,
        public_address: None,
    };
    Providers::default().with(ProviderType::Local, Arc::new(Local::new(settings)))
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper_util::service::TowerToHyperService::new(router);
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no failure of the test.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// The lines of a watch.
pub struct Events {
    body: Body,
    line: Vec<u8>,
}

impl Events {
    /// The events of an answer.
    pub fn of(response: Response<Body>) -> Self {
        Self { body: response.into_body(), line: Vec::new() }
    }

    /// The next event; `None` when the watch has ended. Waits 30 s at most.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), self.body.frame()).await;
            let frame = frame.expect("an event within 30 s")?.unwrap();
            self.line.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
