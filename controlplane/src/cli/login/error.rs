//! What can go wrong while logging in, and while staying logged in.

use std::path::PathBuf;

use crate::explain::Explain;
use crate::{kubeconfig, outbound};

/// A failure of `login`, or of `token` after it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named by the texts")]
pub enum Error {
    #[error("{server} cannot be asked")]
    Unreachable {
        server: String,
        #[source]
        source: outbound::Error,
    },
    #[error("{server} answered with {what}")]
    Answer { server: String, what: String },
    #[error("nobody logs in to the control plane at {server}: it has no issuer with a login")]
    NoIssuer { server: String },
    #[error("the issuer {issuer} has no device flow")]
    NoDeviceFlow { issuer: String },
    #[error("the issuer {issuer} refused: {why}")]
    Refused { issuer: String, why: String },
    #[error("the login was denied")]
    Denied,
    #[error("the code was not entered in time")]
    CodeExpired,
    #[error("the control plane at {server} does not accept the issuer's token: {why}")]
    NotAccepted { server: String, why: String },
    #[error("the login has ended: the issuer {issuer} gives no new token for it")]
    Over { issuer: String },
    #[error("there is no login in {}", path.display())]
    NotLoggedIn { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: Box<kubeconfig::Error>,
    },
    #[error("cannot make {}, by which programs write the kubeconfig one at a time", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another program writes {}, for {} is there", path.display(), lock.display())]
    Locked { path: PathBuf, lock: PathBuf },
    #[error("{} is no kubeconfig", path.display())]
    Kubeconfig { path: PathBuf },
    #[error("{} is written anew by `torch-remote up` at each start", path.display())]
    OfUp { path: PathBuf },
    #[error("there is no home folder to keep the login in")]
    NoHome,
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { source: outbound::Error::Address { .. }, .. } => "InvalidArguments",
            Self::Unreachable { .. } => "Unreachable",
            Self::Answer { .. } => "UnexpectedAnswer",
            Self::NoIssuer { .. } | Self::NoDeviceFlow { .. } => "NoLogin",
            Self::Refused { .. } | Self::Denied => "LoginRefused",
            Self::CodeExpired => "TimedOut",
            Self::NotAccepted { .. } => "Unauthorized",
            Self::Over { .. } | Self::NotLoggedIn { .. } => "NotLoggedIn",
            Self::Read { .. } => "CannotRead",
            Self::Write { .. } | Self::Lock { .. } => "CannotWrite",
            Self::Locked { .. } => "KubeconfigLocked",
            Self::Kubeconfig { .. } | Self::OfUp { .. } => "InvalidKubeconfig",
            Self::NoHome => "NoHome",
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::Unreachable { source: outbound::Error::Address { .. }, .. } => {
                "Example: torch-remote login https://torch-remote.example.org".into()
            }
            Self::Unreachable { .. } => {
                "Is the address right, and its certificate signed by an authority of this system? Another one is named with --certificate-authority FILE.".into()
            }
            Self::Answer { .. } => "Is it a torch-remote control plane, or its issuer, that answers there?".into(),
            Self::NoIssuer { .. } => {
                "Its owner gives you a kubeconfig, or starts it with --oidc-config FILE and `login` in it (docs/login.md).".into()
            }
            Self::NoDeviceFlow { .. } | Self::Refused { .. } => {
                "Its administrator must allow the device flow (RFC 8628) for the client that the control plane's configuration names.".into()
            }
            Self::Denied | Self::CodeExpired => "Run `torch-remote login` again.".into(),
            Self::NotAccepted { .. } => {
                "The control plane's --oidc-config must name the client's id among the issuer's audiences.".into()
            }
            Self::Over { .. } | Self::NotLoggedIn { .. } => "Log in again: `torch-remote login URL`.".into(),
            Self::Read { .. } | Self::Write { .. } => String::new(),
            Self::Lock { .. } => "Name a file in a folder you may write to with --kubeconfig FILE.".into(),
            Self::Locked { lock, .. } => {
                format!("If none does, one was killed while it did: delete {} and log in again.", lock.display())
            }
            Self::Kubeconfig { .. } => "Mend it, or name another file with --kubeconfig FILE.".into(),
            Self::OfUp { .. } => {
                "Name another file with --kubeconfig FILE, such as ~/.kube/config, and use both: `export KUBECONFIG=FILE:OTHER`.".into()
            }
            Self::NoHome => "Set HOME.".into(),
        }
    }
}
