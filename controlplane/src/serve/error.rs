//! [`Error`]: why a control plane does not start, and what to do.

use crate::auth::{issuer, keys, seal};
use crate::explain::Explain;
use crate::up::port;
use crate::{kubeconfig, store, telemetry, tls};

/// Why a control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `serve` without a key file.
    #[error("no key file: --key-file (TORCH_REMOTE_KEY_FILE) names the key that seals secrets in the database")]
    NoKeyFile,
    /// The key file.
    #[error(transparent)]
    Key(seal::Error),
    /// The signing keys.
    #[error("cannot open the signing keys in the database")]
    Keys(#[source] keys::Error),
    /// The database cannot be reached.
    #[error("cannot connect to the database of DATABASE_URL")]
    Database {
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database's schema or content.
    #[error("cannot prepare the database")]
    Store(#[source] store::Error),
    /// Certificates.
    #[error(transparent)]
    Tls(tls::Error),
    /// The authority in the database is not what was put there.
    #[error("the certificate authority in the database cannot be understood")]
    Authority(#[source] serde_json::Error),
    /// The listener.
    #[error(transparent)]
    Listen(port::Error),
    /// The issuers of the configuration.
    #[error("cannot use the issuers of --oidc-config")]
    Issuers(#[source] issuer::config::Error),
    /// Files for the administrator.
    #[error(transparent)]
    Kubeconfig(kubeconfig::Error),
    /// Logs and traces.
    #[error(transparent)]
    Telemetry(telemetry::Error),
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoKeyFile => "NoKeyFile",
            Self::Key(_) | Self::Keys(_) => "KeyFileUnusable",
            Self::Database { .. } => "DatabaseUnreachable",
            Self::Store(store::Error::Outgrown { .. }) => "DatabaseOfNewerRelease",
            Self::Store(_) | Self::Authority(_) => "DatabaseUnusable",
            Self::Tls(error) => error.reason(),
            Self::Listen(error) => error.reason(),
            Self::Issuers(_) => "InvalidOIDCConfig",
            Self::Kubeconfig(error) => error.reason(),
            Self::Telemetry(error) => error.reason(),
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::NoKeyFile => {
                "Make one, keep it, and give it to every replica: `openssl rand -hex 32 > key && chmod 600 key`".into()
            }
            Self::Key(_) => String::new(),
            Self::Keys(_) => "A database opens with the key file it was made with, and no other.".into(),
            Self::Database { .. } => {
                "Is Postgres up, and is DATABASE_URL of the form postgres://USER:PASSWORD@HOST/DATABASE?".into()
            }
            Self::Store(store::Error::Outgrown { .. }) => {
                "Start the newer release; to go back to this one, restore a copy of the database from before the upgrade.".into()
            }
            Self::Store(_) | Self::Authority(_) => "Is this the database of this release of torch-remote?".into(),
            Self::Tls(error) => error.fix(),
            Self::Listen(error) => error.fix(),
            Self::Issuers(_) => {
                "It is a YAML list such as `- {issuer: https://login.example.org, audiences: [torch-remote]}`; docs/login.md says the rest.".into()
            }
            Self::Kubeconfig(error) => error.fix(),
            Self::Telemetry(error) => error.fix(),
        }
    }
}
