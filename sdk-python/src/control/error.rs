//! What can go wrong between the SDK and the control plane, and the Python exception each becomes.

use std::error::Error as StdError;

use kube::core::Status;
use pyo3::prelude::*;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no control plane is configured")]
    NotConfigured,
    #[error("the settings in {origin} cannot be used: {why}")]
    Unusable { origin: String, why: String },
    #[error("{program:?}, which the kubeconfig's user gets its token from, failed: {why}")]
    Exec { program: String, why: String, slow: bool },
    #[error("no control plane answers at {server} (from {origin}): {why}")]
    Unreachable { server: String, origin: String, why: String },
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    #[error("the control plane at {server} answered with what is no answer: {why}")]
    Malformed { server: String, why: String },
}

impl Error {
    pub(super) fn unusable(origin: &str, error: &dyn StdError) -> Self {
        Self::Unusable { origin: origin.to_owned(), why: chain(error) }
    }

    /// Whether the same call may succeed soon: the server is away or overloaded.
    pub(super) fn passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // It may wait for its issuer. One that is not there, or says no, says so again.
            Self::Exec { slow, .. } => *slow,
            Self::Refused(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
            Self::NotConfigured | Self::Unusable { .. } | Self::Malformed { .. } => false,
        }
    }

    /// HTTP status of a refusal, 0 for all else.
    pub(super) fn code(&self) -> u16 {
        if let Self::Refused(status) = self { status.code } else { 0 }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Exec { .. } => "Unauthorized",
            Self::NotConfigured | Self::Unusable { .. } | Self::Unreachable { .. } => "NoControlPlane",
            Self::Refused(status) if !status.reason.is_empty() => &status.reason,
            Self::Refused(status) if status.code == 401 => "Unauthorized",
            Self::Refused(_) => "Refused",
            Self::Malformed { .. } => "Malformed",
        }
    }

    fn fix(&self) -> &'static str {
        match self {
            Self::NotConfigured => {
                "start one with `torch-remote up`, or name one by KUBECONFIG, ~/.kube/config, or TORCH_REMOTE_SERVER with TORCH_REMOTE_TOKEN_FILE and TORCH_REMOTE_CA_FILE"
            }
            Self::Exec { .. } => "log in again: `torch-remote login URL`; or is the program not on PATH?",
            Self::Unusable { .. } => "mend it, or name the control plane by TORCH_REMOTE_SERVER",
            Self::Unreachable { .. } => {
                "check that it runs (`torch-remote up`, `kubectl get --raw /readyz`) and that the address is right"
            }
            Self::Refused(status) if status.code == 401 => {
                "the token is wrong or has expired: log in again, or let `torch-remote up` write a new one"
            }
            Self::Refused(status) if status.code == 403 => {
                "ask the owner of the namespace for the right, or choose another namespace"
            }
            Self::Refused(_) => "",
            Self::Malformed { .. } => "check that the address is torch-remote's and no other server's",
        }
    }

    /// The Python exception; needs `torch_remote.errors`, which imports nothing of ours.
    pub(super) fn raise(&self, py: Python<'_>) -> PyErr {
        let made = py
            .import("torch_remote.errors")
            .and_then(|errors| errors.call_method1("from_reason", (self.reason(), self.to_string(), "", self.fix())));
        match made {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    }
}

/// An error and all its sources, outermost first.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
