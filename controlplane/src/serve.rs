//! The wiring of a control plane over a database: keys, certificates, API, reconcilers; and their end, in order.
//!
//! `serve` runs it against a Postgres of the operator's, [`crate::up`] against one of its own. Leaves what each part does to its module.

mod authority;
mod error;
pub mod https;
pub mod local;
mod stage;
mod token_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use torch_remote_api::provider::ProviderType;
use torch_remote_api::token::ACCOUNT_SECONDS;

use crate::apiserver::{self, Authentication, limit};
use crate::auth::issuer::Pace;
use crate::auth::seal::Sealer;
use crate::auth::{ADMINISTRATORS, Issuers, Keys, issuer, keys};
use crate::config::{AuthenticationArgs, ListenerArgs, ReplaceKeysArgs, ServeArgs};
use crate::kubeconfig::{self, Kubeconfig};
use crate::provider::{Local, Providers};
use crate::reconcile::{self, Reconcilers};
use crate::store::{self, Objects, event};
use crate::telemetry::Telemetry;
use crate::tls::{Identity, Leaf};
use crate::up::port;

pub use error::Error;
pub use token_file::TokenFile;

use https::Https;
use stage::Stage;

/// `iss` of every token: the name of an installation's keys, the same for all its replicas.
const ISSUER: &str = "https://torch-remote";
/// How long running requests may take to finish at the end. Watches end at once.
const DRAIN: Duration = Duration::from_secs(5);
/// How long agents may take to end when asked to.
const AGENTS: Duration = Duration::from_secs(5);
/// For the requests to be drained and dropped.
const SERVING: Duration = Duration::from_secs(8);
/// For reconciles under way to end, and claims to be given back.
const RECONCILING: Duration = Duration::from_secs(15);
/// For the ends of local agents to be written down, after the agents have ended.
const RECORDED: Duration = Duration::from_secs(15);
/// For what is written behind, and for the connections to the database.
const BACKGROUND: Duration = Duration::from_secs(5);
/// Between two rounds of the metrics' upkeep.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a control plane is made of.
pub struct Setup {
    /// The database; its schema is brought up to date.
    pub pool: PgPool,
    /// Opens secrets in the database.
    pub sealer: Sealer,
    /// Where to serve.
    pub listener: TcpListener,
    /// Certificate and key the operator brought; none: a leaf of our own authority.
    pub identity: Option<Identity>,
    /// How callers are told apart beside the tokens of our own keys.
    pub authentication: Authentication,
    /// Limits.
    pub limits: ListenerArgs,
    /// Name of this replica.
    pub replica: String,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// How the provider `Local` starts agents.
    pub local: Local,
    /// Where agents send traces.
    pub otlp: Option<String>,
}

/// A running control plane.
pub struct ControlPlane {
    keys: Keys,
    objects: Objects,
    authority: Option<String>,
    replica: String,
    local: Local,
    serving: Stage,
    reconciling: Stage,
    background: Stage,
}

impl ControlPlane {
    /// Brings the database up to date and starts everything; serves when it returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        store::migrate(&setup.pool).await.map_err(Error::Store)?;
        let keys = Keys::load(setup.pool.clone(), setup.sealer.clone(), ISSUER).await.map_err(Error::Keys)?;
        let objects = Objects::new(setup.pool.clone()).sealed_by(setup.sealer.clone());
        let (serving, reconciling, background) = (Stage::default(), Stage::default(), Stage::default());
        let (tls, authority) = match setup.identity {
            Some(identity) => (identity.server_config().map_err(Error::Tls)?, None),
            None => {
                let authority = authority::open(&setup.pool, &setup.sealer).await?;
                let certificate = authority.certificate.clone();
                let names = authority::names(&setup.listener, &setup.limits);
                let leaf = Arc::new(Leaf::sign(authority, names).map_err(Error::Tls)?);
                background.run(|stop| leaf.clone().keep(stop));
                (leaf.server_config().map_err(Error::Tls)?, Some(certificate))
            }
        };

        let tail = store::log::Tail::start(objects.clone()).await.map_err(Error::Store)?;
        let cache = tail.cache();
        let (recorder, writer) = event::Recorder::new(objects.clone(), "torch-remote");
        background.run(|stop| tail.run(stop));
        background.run(|stop| writer.run(stop));
        background.run(|stop| store::log::keep_compact(objects.clone(), stop));
        background.run(|stop| store::namespace::collect(objects.clone(), stop));
        background.run(|stop| reconcile::garbage::collect(objects.clone(), recorder.named("garbage-collector"), stop));
        background.run(|stop| keys.clone().keep(stop));
        background.run(|stop| setup.authentication.issuers.clone().keep(stop));
        background.run(|stop| upkeep(setup.metrics.clone(), stop));

        let (trail, audit) = apiserver::audit::Trail::new(setup.pool.clone(), setup.limits.audit_days);
        background.run(|stop| audit.run(stop));
        let providers = Providers::default().with(ProviderType::Local, Arc::new(setup.local.clone()));
        let reconcilers = reconcile::Parts {
            objects: objects.clone(),
            recorder,
            trail: trail.clone(),
            keys: keys.clone(),
            providers: providers.clone(),
            replica: setup.replica.clone(),
            otlp: setup.otlp,
            timing: reconcile::Timing::default(),
        };
        reconciling.run(|stop| reconcile_until(reconcilers, stop));

        let mut virtual_kinds = apiserver::readings::readings(objects.pool());
        virtual_kinds.extend(apiserver::audit::events(objects.pool()));
        let parts = apiserver::Parts {
            objects: objects.clone(),
            cache,
            keys: keys.clone(),
            virtual_kinds,
            limits: request_limits(&setup.limits),
            trail,
            metrics: Some(setup.metrics),
            stop: serving.stop.clone(),
        };
        let server = apiserver::Server::with_authentication(parts, setup.authentication);
        let router = server.with_providers(providers).router();
        let https = Https { tls, router, connections: setup.limits.max_connections, drain: DRAIN };
        serving.run(|stop| https.serve(setup.listener, stop));
        tracing::info!(replica = setup.replica, "control plane started");
        let (replica, local) = (setup.replica, setup.local);
        Ok(Self { keys, objects, authority, replica, local, serving, reconciling, background })
    }

    /// The store's front.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Writes a kubeconfig for the administrator and keeps its token fresh.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when a file cannot be written; [`Error::Keys`] when no token can be made.
    pub fn keep_admin(&self, server: String, path: &Path, token: &Path) -> Result<(), Error> {
        let file = TokenFile::new(self.keys.clone(), "admin", &[ADMINISTRATORS], token.to_owned());
        file.write()?;
        let kubeconfig = Kubeconfig { server, authority: self.authority.clone(), token_file: token.to_owned() };
        kubeconfig.write(path).map_err(Error::Kubeconfig)?;
        self.background.run(|stop| file.keep(stop));
        Ok(())
    }

    /// Ends everything, in order: requests, reconcilers, and then what is written behind them. Machines and leases go on without. Ends in time although the
    /// database is down.
    pub async fn stop(self) {
        self.serving.end(SERVING).await;
        self.reconciling.end(RECONCILING).await;
        self.end_background().await;
    }

    /// As [`ControlPlane::stop`], and ends the agents that the provider `Local` started.
    pub async fn stop_with_agents(self) {
        self.serving.end(SERVING).await;
        self.reconciling.end(RECONCILING).await;
        let stopped = reconcile::stop_local(&self.objects, &self.local, &self.replica, AGENTS);
        match tokio::time::timeout(2 * AGENTS + RECORDED, stopped).await {
            Ok(Ok(ended)) => tracing::debug!(ended, "local agents ended"),
            Ok(Err(error)) => tracing::error!(
                error = format!("{error:#}"),
                "some local agents may still run; they end by themselves within minutes"
            ),
            Err(_) => tracing::error!("the end of the local agents could not be written down; the next start sees it"),
        }
        self.end_background().await;
    }

    async fn end_background(&self) {
        self.background.end(BACKGROUND).await;
        if tokio::time::timeout(BACKGROUND, self.objects.pool().close()).await.is_err() {
            tracing::warn!("the connections to the database did not close in time");
        }
    }
}

fn request_limits(args: &ListenerArgs) -> limit::Settings {
    let requests = limit::Rate { per_second: args.user_rate.into(), burst: args.user_burst.into() };
    limit::Settings { requests, watches: args.user_watches, ..limit::Settings::default() }
}

/// Runs the reconcilers. What ends them before their time is tried again: the API goes on meanwhile.
async fn reconcile_until(parts: reconcile::Parts, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = Reconcilers::run(parts.clone(), stop.clone()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the reconcilers ended; starting them again");
            stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await;
        }
    }
}

/// What the command line says of who may log in.
///
/// # Errors
/// [`Error::Issuers`].
pub fn authentication(args: &AuthenticationArgs) -> Result<Authentication, Error> {
    let settings = args.oidc_config.as_deref().map(issuer::config::read).transpose().map_err(Error::Issuers)?;
    let settings = settings.unwrap_or_default();
    if settings.iter().any(|settings| settings.issuer == ISSUER) {
        let problem = "this is the name that the control plane's own tokens have".to_owned();
        return Err(Error::Issuers(issuer::config::Error::Setting { issuer: ISSUER.to_owned(), problem }));
    }
    let issuers = Issuers::new(settings, Pace::default()).map_err(Error::Issuers)?;
    let longest = args.account_token_life.map(|life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    Ok(Authentication { issuers, account_seconds: longest.unwrap_or(ACCOUNT_SECONDS) })
}

/// Runs `serve` until `stop`.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: ServeArgs, stop: CancellationToken) -> Result<(), Error> {
    let key_file = args.key_file.as_deref().ok_or(Error::NoKeyFile)?;
    let sealer = Sealer::open(key_file).map_err(Error::Key)?;
    let identity = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Identity::read(certificate, key).map_err(Error::Tls)?),
        _ => None,
    };
    if let Some(path) = &args.admin_kubeconfig {
        kubeconfig::refuse_foreign(path).map_err(Error::Kubeconfig)?;
    }
    let telemetry = Telemetry::start(&args.telemetry).map_err(Error::Telemetry)?;
    let started = start(&args, (sealer, identity), &telemetry);
    // The database may be slow to answer, or never do: a signal is heard meanwhile.
    let ended = match stop.run_until_cancelled(started).await {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(control_plane)) => {
            stop.cancelled().await;
            control_plane.stop().await;
            Ok(())
        }
    };
    telemetry.shutdown();
    ended
}

/// Runs `replace-keys`.
///
/// # Errors
/// See [`Error`].
pub async fn replace_keys(args: &ReplaceKeysArgs) -> Result<(), Error> {
    let sealer = Sealer::open(&args.key_file).map_err(Error::Key)?;
    let options = crate::store::pool::options().max_connections(1);
    let pool = options.connect(&args.database_url).await.map_err(|source| Error::Database { source })?;
    // Read first: with another key file than the database's, nothing is replaced.
    Keys::load(pool.clone(), sealer.clone(), ISSUER).await.map_err(Error::Keys)?;
    keys::replace(&pool, &sealer).await.map_err(Error::Keys)?;
    pool.close().await;
    Ok(())
}

async fn start(
    args: &ServeArgs,
    (sealer, identity): (Sealer, Option<Identity>),
    telemetry: &Telemetry,
) -> Result<ControlPlane, Error> {
    let authentication = authentication(&args.authentication)?;
    let listener = port::listen(args.listen).await.map_err(Error::Listen)?;
    let options = crate::store::pool::options().max_connections(args.database_connections);
    let pool = options.connect(&args.database_url).await.map_err(|source| Error::Database { source })?;
    let setup = Setup {
        pool,
        sealer,
        listener,
        identity,
        authentication,
        limits: args.listener.clone(),
        replica: args.replica.clone().unwrap_or_else(replica),
        metrics: telemetry.metrics.clone(),
        // The name of `serve` is often that of a balancer before it, not of this host: its local machines stay this host's own.
        local: Local::new(local::settings(&args.local, &args.state_dir, None)),
        otlp: args.telemetry.otlp_endpoint.clone(),
    };
    let control_plane = ControlPlane::start(setup).await?;
    if let Some(path) = &args.admin_kubeconfig {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let name = args.listener.tls_name.first().cloned().unwrap_or_else(|| "localhost".into());
        let server = format!("https://{name}:{}", args.listen.port());
        control_plane.keep_admin(server, &path, &token_path(&path))?;
    }
    Ok(control_plane)
}

/// The host's name and a random part: two replicas never share one.
pub fn replica() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{:08x}", rand::random::<u32>())
}

fn token_path(kubeconfig: &Path) -> PathBuf {
    let mut name = kubeconfig.as_os_str().to_owned();
    name.push(".token");
    PathBuf::from(name)
}

async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => metrics.run_upkeep(),
        }
    }
}
