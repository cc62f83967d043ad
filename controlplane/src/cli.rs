//! The kubectl-like client: `apply diff get describe watch wait delete version token kubeconfig completion`, over the kube client and the same kubeconfig that kubectl reads.
//!
//! Owns the command line of the client, what it prints and how it exits. Leaves every rule about objects to the server.
//! Invariant: `apply` writes nothing before the server has accepted every document in a dry run.

mod apply;
mod change;
mod completion;
mod connection;
mod count;
mod delete;
mod describe;
mod diff;
mod error;
mod exec;
mod get;
mod kind;
pub mod login;
mod manifest;
mod paint;
mod sheet;
mod source;
mod table;
mod target;
mod token;
mod wait;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::HomeArgs;

pub use error::Error;
pub use paint::{ColorArgs, Paint, Tone};

use connection::Connection;

/// Commands of the client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or change objects to be as the files say. Either every document is acceptable, or nothing is written.
    Apply(apply::ApplyArgs),
    /// Show what an apply would change.
    Diff(diff::DiffArgs),
    /// List objects, or show one.
    Get(get::GetArgs),
    /// Show everything about an object, and what happened to it.
    Describe(describe::DescribeArgs),
    /// List objects, and go on with every change.
    Watch(get::WatchArgs),
    /// Wait until objects have a condition, or are gone.
    Wait(wait::WaitArgs),
    /// Delete objects, and wait until they are gone.
    Delete(delete::DeleteArgs),
    /// Print the version of this program and of the control plane.
    Version(VersionArgs),
    /// Log in to a control plane with its issuer, and write the kubeconfig for it.
    Login(login::LoginArgs),
    /// Print the current token of the kubeconfig's user.
    Token(token::TokenArgs),
    /// Print the kubeconfig in use, whole in one file.
    Kubeconfig(ConnectionArgs),
    /// Print a script with which a shell completes commands and options.
    Completion(completion::CompletionArgs),
}

/// Which control plane, as whom, in which namespace.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Kubeconfig file, or several joined by `:`. [default: ~/.kube/config, else the one `torch-remote up` writes]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// Context of the kubeconfig. [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace. [default: the context's]
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Where data lies by convention.
    #[command(flatten)]
    pub home: HomeArgs,
}

/// `torch-remote version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Do not ask the control plane.
    #[arg(long)]
    pub client: bool,
    /// `yaml` or `json`.
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<StructuredOutput>,
    /// Connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Output that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StructuredOutput {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Runs a command, printing to `out` with `paint`.
///
/// # Errors
/// What a person reads, with the exit code.
pub async fn run(command: Command, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    match command {
        Command::Apply(args) => apply::run(args, out).await,
        Command::Diff(args) => diff::run(args, paint, out).await,
        Command::Get(args) => get::run(args, paint, out).await,
        Command::Describe(args) => describe::run(args, paint, out).await,
        Command::Watch(args) => get::watch(args, paint, out).await,
        Command::Wait(args) => wait::run(args, out).await,
        Command::Delete(args) => delete::run(args, out).await,
        Command::Version(args) => version(args, out).await,
        Command::Login(args) => login::run(args, out).await,
        Command::Token(args) => token::run(args, out).await,
        Command::Kubeconfig(args) => {
            let text = Connection::open(&args).await?.kubeconfig()?;
            print(out, format_args!("{text}"))
        }
        Command::Completion(args) => completion::run(&args, out),
    }
}

async fn version(args: VersionArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let mut versions = json!({"clientVersion": env!("CARGO_PKG_VERSION")});
    if !args.client {
        let connection = Connection::open(&args.connection).await?;
        versions["serverVersion"] = connection.call(connection::Call::get("/version")).await?;
    }
    if let Some(format) = args.output {
        return print(out, format_args!("{}", structured(&versions, format)));
    }
    print(out, format_args!("Client Version: {}\n", env!("CARGO_PKG_VERSION")))?;
    match versions["serverVersion"]["gitVersion"].as_str() {
        Some(server) => print(out, format_args!("Server Version: {server}\n")),
        None => Ok(()),
    }
}

/// Writes a tree as text.
fn structured(value: &Value, format: StructuredOutput) -> String {
    match format {
        StructuredOutput::Json => {
            format!("{}\n", serde_json::to_string_pretty(value).expect("a JSON tree can be written"))
        }
        StructuredOutput::Yaml => serde_yaml::to_string(value).expect("a JSON tree can be written as YAML"),
    }
}

/// Prints at once: a reader at the other end of a pipe sees each line when it happens.
fn print(out: &mut (dyn Write + Send), text: std::fmt::Arguments<'_>) -> Result<(), Error> {
    out.write_fmt(text).and_then(|()| out.flush()).map_err(|source| Error::Output { source })
}

/// The kubeconfig files to read, by the order of the documentation of [`ConnectionArgs::kubeconfig`].
fn kubeconfig_files(args: &ConnectionArgs) -> Vec<PathBuf> {
    if let Some(list) = args.kubeconfig.as_deref().filter(|list| !list.is_empty()) {
        return list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    }
    let kubectl = args.home.home.as_ref().map(|home| home.join(".kube/config"));
    let ours = args.home.data_dir().map(|data| data.join("kubeconfig"));
    kubectl.into_iter().chain(ours).find(|path| path.exists()).into_iter().collect()
}
