//! `up`: a whole control plane on this machine, in the foreground, with a Postgres of its own; started again, it goes on where it was.
//!
//! Owns the data directory, the order of start and end, and what the terminal shows. Leaves the control plane itself to [`crate::serve`].
//! Invariant: whatever way `up` ends short of a kill, nothing it started is left running.

mod data_dir;
pub mod port;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Sealer;
use crate::config::UpArgs;
use crate::explain::Explain;
use crate::kubeconfig;
use crate::postgres::{self, Postgres};
use crate::provider::Local;
use crate::serve::{self, ControlPlane, Setup};
use crate::store::{self, Objects, Resource};
use crate::telemetry::Telemetry;

pub use data_dir::DataDir;

/// Connections to the embedded database at once.
const CONNECTIONS: u32 = 30;
/// Between two looks whether the database still runs.
const WATCH: Duration = Duration::from_secs(1);

/// A failure of `up`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no folder to keep anything in.
    #[error("no data directory: neither --data-dir nor a home folder")]
    NoHome,
    /// The data directory cannot be written.
    #[error("cannot write {}", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another `up` uses the directory.
    #[error("another `torch-remote up` (pid {pid}) uses {}{}", path.display(), at(address))]
    Running {
        /// The data directory.
        path: PathBuf,
        /// Its process.
        pid: String,
        /// Where it listens; empty if it has not come that far.
        address: String,
    },
    /// The embedded Postgres.
    #[error(transparent)]
    Postgres(postgres::Error),
    /// The control plane.
    #[error(transparent)]
    Serve(serve::Error),
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoHome | Self::Directory { .. } => "DataDirectoryNotWritable",
            Self::Running { .. } => "AlreadyRunning",
            Self::Postgres(error) => error.reason(),
            Self::Serve(error) => error.reason(),
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::NoHome | Self::Directory { .. } => "Choose a folder you may write with --data-dir DIR.".into(),
            Self::Running { path, .. } => format!(
                "Use it: `export KUBECONFIG={}`. Or end it, or start a second one with another --data-dir.",
                path.join("kubeconfig").display()
            ),
            Self::Postgres(error) => error.fix(),
            Self::Serve(error) => error.fix(),
        }
    }
}

/// Runs `up` until `stop`, printing progress to `out`.
///
/// # Errors
/// See [`Error`]. What was started by then has been ended.
pub async fn run(args: UpArgs, out: &mut (dyn Write + Send), stop: CancellationToken) -> Result<(), Error> {
    let began = Instant::now();
    let path = args.data_dir.clone().or_else(|| args.home.data_dir()).ok_or(Error::NoHome)?;
    let dir = DataDir::open(&path)?;
    let kubeconfig = args.kubeconfig.clone().unwrap_or_else(|| dir.kubeconfig());
    let kubeconfig = std::path::absolute(&kubeconfig).unwrap_or(kubeconfig);
    kubeconfig::refuse_foreign(&kubeconfig).map_err(serve::Error::Kubeconfig).map_err(Error::Serve)?;
    let telemetry = Telemetry::start(&args.telemetry).map_err(serve::Error::Telemetry).map_err(Error::Serve)?;
    if let Some(file) = &args.ready_file {
        // One that a killed process left says nothing of this one.
        remove(file)?;
    }
    let mut screen = Screen { out };
    screen.line(format_args!("torch-remote {}", env!("CARGO_PKG_VERSION")));
    screen.line(format_args!("  data      {}", dir.path().display()));
    let listener = listen(&dir, args.listen).await?;
    let mut postgres = start_postgres(&args, &dir, &mut screen).await?;
    let run = Run { args: &args, dir: &dir, kubeconfig: &kubeconfig, telemetry: &telemetry, began };
    let ended = run.until(&mut postgres, listener, &mut screen, &stop).await;
    let stopped = tokio::task::spawn_blocking(move || postgres.stop()).await.expect("stopping Postgres does not panic");
    telemetry.shutdown();
    if let (Some(file), Ok(())) = (&args.ready_file, &ended) {
        remove(file)?;
    }
    ended?;
    stopped.map_err(Error::Postgres)?;
    screen.line(format_args!("Stopped. The data is kept in {}.", dir.path().display()));
    Ok(())
}

struct Run<'a> {
    args: &'a UpArgs,
    dir: &'a DataDir,
    kubeconfig: &'a Path,
    telemetry: &'a Telemetry,
    began: Instant,
}

impl Run<'_> {
    /// Everything between the start of Postgres and its stop.
    async fn until(
        &self,
        postgres: &mut Postgres,
        listener: TcpListener,
        screen: &mut Screen<'_>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let address = listener.local_addr().map_err(|source| self.cannot_write("address", source))?;
        let pool = postgres.pool(CONNECTIONS).await.map_err(Error::Postgres)?;
        let sealer = Sealer::open_or_make(&self.dir.key_file()).map_err(serve::Error::Key).map_err(Error::Serve)?;
        let public = serve::local::public_address(address.ip(), &self.args.listener.tls_name);
        let setup = Setup {
            pool,
            sealer,
            listener,
            identity: None,
            authentication: serve::authentication(&self.args.authentication).map_err(Error::Serve)?,
            limits: self.args.listener.clone(),
            // One process at a time has the data directory; the next takes over what this one held at once.
            replica: "up".into(),
            metrics: self.telemetry.metrics.clone(),
            local: Local::new(serve::local::settings(&self.args.local, self.dir.path(), public)),
            otlp: self.args.telemetry.otlp_endpoint.clone(),
        };
        let control_plane = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            started = ControlPlane::start(setup) => started.map_err(Error::Serve)?,
        };
        let ready = self.announce(&control_plane, address, screen).await;
        let ended = match ready {
            Ok(()) => self.keep_postgres(postgres, screen, stop).await,
            Err(error) => Err(error),
        };
        screen.line(format_args!("Stopping"));
        control_plane.stop_with_agents().await;
        ended
    }

    /// Starts Postgres again when it ends by itself (killed for want of memory, say), until `stop`.
    async fn keep_postgres(
        &self,
        postgres: &mut Postgres,
        screen: &mut Screen<'_>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = ended(postgres) => {}
            }
            tracing::error!("the embedded Postgres ended by itself; starting it again");
            *postgres = start_postgres(self.args, self.dir, screen).await?;
        }
    }

    async fn announce(
        &self,
        control_plane: &ControlPlane,
        address: SocketAddr,
        screen: &mut Screen<'_>,
    ) -> Result<(), Error> {
        ensure_provider(control_plane.objects()).await.map_err(serve::Error::Store).map_err(Error::Serve)?;
        self.dir.keep_address(address)?;
        let server = format!("https://{}", reachable(address));
        control_plane.keep_admin(server.clone(), self.kubeconfig, &self.dir.token_file()).map_err(Error::Serve)?;
        screen.line(format_args!("  api       {server}"));
        screen.line(format_args!("Ready in {:.1} s. Ctrl-C ends everything.\n", self.began.elapsed().as_secs_f32()));
        screen.line(format_args!("  export KUBECONFIG={}", self.kubeconfig.display()));
        screen.line(format_args!("  torch-remote apply -f manifests/examples/local-cpu.yaml    (or kubectl apply)\n"));
        if let Some(file) = &self.args.ready_file {
            let text = format!("{}\n", self.kubeconfig.display());
            kubeconfig::write_secret(file, &text).map_err(serve::Error::Kubeconfig).map_err(Error::Serve)?;
        }
        Ok(())
    }

    fn cannot_write(&self, name: &str, source: std::io::Error) -> Error {
        Error::Directory { path: self.dir.path().join(name), source }
    }
}

/// The address that was asked for, or that of last time, or a free one.
async fn listen(dir: &DataDir, asked: Option<SocketAddr>) -> Result<TcpListener, Error> {
    let known = match asked {
        Some(address) => Some(address),
        None => dir.address()?,
    };
    let listener = match known {
        Some(address) => port::listen(address).await,
        None => port::choose().await,
    };
    listener.map_err(serve::Error::Listen).map_err(Error::Serve)
}

async fn start_postgres(args: &UpArgs, dir: &DataDir, screen: &mut Screen<'_>) -> Result<Postgres, Error> {
    let began = Instant::now();
    let settings = postgres::Settings {
        dir: dir.postgres(),
        binaries: args.pg_bin.clone(),
        python: args.local.interpreter(),
        volatile: false,
    };
    let start = move || Postgres::start(&settings);
    let started = tokio::task::spawn_blocking(start).await.expect("starting Postgres does not panic");
    let postgres = started.map_err(Error::Postgres)?;
    let how = if postgres.adopted() { "was running" } else { "started" };
    let binaries = postgres.binaries();
    screen.line(format_args!(
        "  postgres  {} of {}, {how} ({:.1} s)",
        binaries.major(),
        binaries.folder().display(),
        began.elapsed().as_secs_f32()
    ));
    Ok(postgres)
}

/// Returns when the database is gone.
async fn ended(postgres: &Postgres) {
    let mut looks = tokio::time::interval(WATCH);
    loop {
        looks.tick().await;
        if !postgres.alive() {
            return;
        }
    }
}

/// Makes the Provider `local` unless there is one: the owner may have changed or replaced it.
async fn ensure_provider(objects: &Objects) -> Result<(), store::Error> {
    let provider = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "Provider",
        "metadata": {"name": "local"}, "spec": {"type": "Local", "currency": "USD"},
    });
    let mut write = objects.begin().await?;
    match write.create(Resource::PROVIDERS, provider).await {
        Ok(_) => write.commit().await.map(|_| ()),
        Err(store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// How a client on this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address }
}

fn remove(file: &Path) -> Result<(), Error> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Directory { path: file.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn at(address: &str) -> String {
    if address.is_empty() { String::new() } else { format!(" and listens on {address}") }
}

/// What the terminal shows. A terminal that is gone ends nothing.
struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
}

impl Screen<'_> {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        if let Err(error) = writeln!(self.out, "{text}").and_then(|()| self.out.flush()) {
            tracing::debug!(%error, "cannot show progress");
        }
    }
}
