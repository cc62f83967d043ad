//! `torch-remote login URL`: who I am, shown to the control plane's issuer once and kept fresh from then on.
//!
//! Owns the device flow (RFC 8628), the file with what it brought, and the entry in the kubeconfig that asks [`token`](super::token) for it. Invariants: the
//! refresh token lies in one file, mode 0600, and is used by one process at a time; the kubeconfig holds no secret; what others wrote into it stays.

pub mod credentials;
mod device;
mod entry;
mod error;
mod kubeconfig_lock;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::print;
use crate::config::HomeArgs;
use crate::explain::plain;
use crate::outbound::{self, Outbound};

pub use credentials::Credentials;
pub use error::Error;

use entry::Entry;

const EXAMPLES: &str = "\
Examples:
  torch-remote login https://torch-remote.example.org
  torch-remote login https://10.0.0.7:6443 --certificate-authority ca.pem
  kubectl auth whoami                         kubectl, the SDK and this program are logged in now";

/// `torch-remote login`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LoginArgs {
    /// The control plane.
    #[arg(value_name = "URL")]
    pub server: String,
    /// Certificate of the authority that the control plane's certificate is signed by, PEM. [default: the system's authorities]
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Kubeconfig file to write to; of several joined by `:` the first. [default: ~/.kube/config]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// Name of the context in it. [default: the control plane's host]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of commands that name none.
    #[arg(long, short, default_value = "default", value_name = "NAME")]
    pub namespace: String,
    /// Where data lies by convention.
    #[command(flatten)]
    pub home: HomeArgs,
}

/// What the control plane says of its issuer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    issuer: String,
    #[serde(rename = "clientID")]
    client_id: String,
    scopes: Vec<String>,
    issuer_authority: Option<String>,
}

/// Logs in.
///
/// # Errors
/// [`Error`]; [`super::Error::Output`].
pub async fn run(args: LoginArgs, out: &mut (dyn Write + Send)) -> Result<(), super::Error> {
    let server = args.server.trim_end_matches('/').to_owned();
    let authority = args.certificate_authority.as_deref().map(read).transpose()?;
    let kubeconfig = entry::file(args.kubeconfig.as_deref(), &args.home)?;
    let folder = args.home.data_dir().ok_or(Error::NoHome)?.join("logins");
    let control_plane = ControlPlane { server: server.clone(), outbound: outbound(&server, authority.as_deref())? };
    let offer = control_plane.offer().await?;
    let issuer = outbound(&offer.issuer, offer.issuer_authority.as_deref())?;
    let endpoints = device::Endpoints::find(&issuer, &offer.issuer).await?;
    let started = device::start(&issuer, &endpoints, &offer.client_id, &offer.scopes).await?;
    print(out, format_args!("{}\n", started.instructions()))?;
    let tokens = device::wait(&issuer, &endpoints, &offer.client_id, &started).await?;
    let user = control_plane.whoami(&tokens.id_token).await?;
    let path = credentials::path(&folder, &server, &user);
    let credentials =
        Credentials::new(server.clone(), &offer, endpoints.token, user, tokens, chrono::Utc::now().timestamp())?;
    credentials.keep(&path).await?;
    let entry = Entry {
        server: &server,
        authority: authority.as_deref(),
        context: args.context.as_deref(),
        namespace: &args.namespace,
        login: &path,
    };
    let context = entry.write(&kubeconfig).await?;
    let user = plain(&credentials.user);
    print(out, format_args!("Logged in as {user}. Context {context:?} of {} is in use.\n", kubeconfig.display()))
}

fn read(path: &std::path::Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn outbound(server: &str, authority: Option<&str>) -> Result<Outbound, Error> {
    Outbound::new(authority).map_err(|source| Error::Unreachable { server: server.to_owned(), source })
}

/// The control plane, before one is logged in.
struct ControlPlane {
    server: String,
    outbound: Outbound,
}

impl ControlPlane {
    async fn offer(&self) -> Result<Offer, Error> {
        let answer = self.outbound.get(&format!("{}/.well-known/torch-remote-login", self.server)).await;
        let answer = answer.map_err(|source| self.unreachable(source))?;
        match answer.code {
            200 => serde_json::from_slice(&answer.body).map_err(|_| self.odd("what it says of its issuer")),
            404 => Err(Error::NoIssuer { server: self.server.clone() }),
            code => Err(self.odd(&format!("code {code}"))),
        }
    }

    /// The name that the control plane knows the token's user by: asked now, so that a token it refuses is never kept.
    async fn whoami(&self, token: &str) -> Result<String, Error> {
        let url = format!("{}/apis/authentication.k8s.io/v1/selfsubjectreviews", self.server);
        let question = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let answer = self.outbound.ask(&url, token, &question).await.map_err(|source| self.unreachable(source))?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.code == 401 {
            let why = body["message"].as_str().unwrap_or("Unauthorized").to_owned();
            return Err(Error::NotAccepted { server: self.server.clone(), why });
        }
        let name = body["status"]["userInfo"]["username"].as_str().filter(|name| !name.is_empty());
        name.map(str::to_owned).ok_or_else(|| self.odd(&format!("code {} to the question who one is", answer.code)))
    }

    fn unreachable(&self, source: outbound::Error) -> Error {
        Error::Unreachable { server: self.server.clone(), source }
    }

    fn odd(&self, what: &str) -> Error {
        Error::Answer { server: self.server.clone(), what: what.to_owned() }
    }
}
