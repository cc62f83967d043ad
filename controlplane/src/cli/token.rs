//! `torch-remote token`: the current token of the kubeconfig's user, for scripts; with `--exec`, of a login, for kubectl and everything that reads a kubeconfig.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::connection::Connection;
use super::login::Credentials;
use super::login::credentials::Fresh;
use super::{ConnectionArgs, Error, print};
use crate::store::object::seconds;

/// `torch-remote token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Print an ExecCredential, as the entry that `torch-remote login` made in the kubeconfig asks for.
    #[arg(long, requires = "login_file")]
    pub exec: bool,
    /// File of the login.
    #[arg(long, value_name = "FILE")]
    pub login_file: Option<PathBuf>,
    /// Connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Prints it.
///
/// # Errors
/// What a person reads: there is no token, or no new one.
pub async fn run(args: TokenArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let Some(file) = &args.login_file else {
        let token = Connection::open(&args.connection).await?.token().await?;
        return print(out, format_args!("{token}\n"));
    };
    let fresh = Credentials::token(file, || chrono::Utc::now().timestamp()).await?;
    if args.exec {
        print(out, format_args!("{}\n", credential(&fresh)))
    } else {
        print(out, format_args!("{}\n", fresh.token))
    }
}

/// What client-go's plugins answer.
fn credential(fresh: &Fresh) -> serde_json::Value {
    let until = chrono::DateTime::from_timestamp(fresh.until, 0).unwrap_or_default();
    json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": fresh.token, "expirationTimestamp": seconds(until)},
    })
}
