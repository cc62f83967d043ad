//! What the client tells a person when something went wrong.

use std::fmt::Write;
use std::path::PathBuf;

use kube::core::Status;

use crate::explain::Explain;

/// A failure of a client command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig anywhere.
    #[error("no kubeconfig: neither --kubeconfig nor $KUBECONFIG nor a file of `torch-remote up` or kubectl")]
    NoKubeconfig,
    /// A kubeconfig cannot be read.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// The file or files.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The client cannot be built from the kubeconfig.
    #[error("cannot use the credentials in the kubeconfig {path}")]
    Credentials {
        /// The file or files.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The kubeconfig's user has no token.
    #[error("the user of the kubeconfig {path} has no token")]
    NoToken {
        /// The file or files.
        path: String,
    },
    /// Nobody answers.
    #[error("no control plane answers at {server}: {why}")]
    NoControlPlane {
        /// Its address.
        server: String,
        /// The first cause.
        why: String,
    },
    /// Someone answers whose certificate is not signed by the kubeconfig's authority.
    #[error("the certificate presented at {server} is not signed by the authority in the kubeconfig: {why}")]
    Untrusted {
        /// Its address.
        server: String,
        /// What TLS makes of it.
        why: String,
    },
    /// The token is refused.
    #[error("the control plane at {server} does not accept the token{}", from(file.as_ref()))]
    Unauthorized {
        /// Its address.
        server: String,
        /// Where the token was read from.
        file: Option<PathBuf>,
    },
    /// The server refused a request.
    #[error("{}{}", context.as_ref().map(|context| format!("{context}: ")).unwrap_or_default(), status.message)]
    Server {
        /// Which document, if it was one of several.
        context: Option<String>,
        /// The answer.
        status: Box<Status>,
    },
    /// The answer makes no sense.
    #[error("cannot understand the answer of the control plane at {server}")]
    Answer {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address cannot be read.
    #[error("cannot fetch {address}: {problem}")]
    Fetch {
        /// The address.
        address: String,
        /// Why.
        problem: String,
    },
    /// Text that is not YAML.
    #[error("{file}: document {number} is not YAML")]
    Syntax {
        /// The file.
        file: String,
        /// Counted from 1.
        number: usize,
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
    /// YAML that is not an object.
    #[error("{place}: {problem}")]
    NotAnObject {
        /// File and number of the document.
        place: String,
        /// What is missing.
        problem: String,
    },
    /// No documents at all.
    #[error("no objects in {files}")]
    Nothing {
        /// The files.
        files: String,
    },
    /// A kind the server does not serve.
    #[error("{}the control plane serves no kind {kind:?}{}", prefix(place.as_deref()), suggestion(near))]
    UnknownKind {
        /// Which document, if it came from a file.
        place: Option<String>,
        /// What was asked for.
        kind: String,
        /// What may have been meant.
        near: Vec<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// The same object twice.
    #[error("{first} and {second} are both {object}")]
    Twice {
        /// A document.
        first: String,
        /// Another.
        second: String,
        /// The object.
        object: String,
    },
    /// `-n` and the document differ.
    #[error("{place} is of namespace {theirs:?}, and --namespace says {ours:?}")]
    Namespace {
        /// The document.
        place: String,
        /// Its namespace.
        theirs: String,
        /// The option's.
        ours: String,
    },
    /// Some documents were written before one failed: the server changed its mind between dry run and write.
    #[error("{written} of {all} objects were written before one was refused: {source}")]
    Interrupted {
        /// Objects written.
        written: usize,
        /// Objects in all.
        all: usize,
        /// Why.
        source: Box<Error>,
    },
    /// Arguments that fit no form.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// An example.
        example: &'static str,
    },
    /// The time is over.
    #[error("timed out waiting for {what} on {object}{}", state.as_ref().map(|state| format!("; {state}")).unwrap_or_default())]
    TimedOut {
        /// Condition or deletion.
        what: String,
        /// The object.
        object: String,
        /// How it was last seen.
        state: Option<String>,
    },
    /// What is waited for cannot come.
    #[error("{object} will not reach {what}: {why}")]
    Hopeless {
        /// Condition.
        what: String,
        /// The object.
        object: String,
        /// Its condition Failed.
        why: String,
    },
    /// Documents and objects differ: the answer of `diff`, no failure.
    #[error("the objects differ from the documents")]
    Differs,
    /// Whether they differ cannot be said.
    #[error("{source}")]
    Undecided {
        /// Why.
        source: Box<Error>,
    },
    /// The program that the kubeconfig names for tokens.
    #[error("{program:?}, which the kubeconfig's user gets its token from, failed: {why}")]
    Exec {
        /// The program.
        program: String,
        /// What it said, or how it ended.
        why: String,
    },
    /// Logging in, or staying so.
    #[error(transparent)]
    Login(super::login::Error),
    /// Standard output is gone.
    #[error("cannot write the output")]
    Output {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl From<super::login::Error> for Error {
    fn from(error: super::login::Error) -> Self {
        Self::Login(error)
    }
}

impl Error {
    /// Says which document a refusal is about.
    pub(super) fn about(self, place: &str) -> Self {
        match self {
            Self::Server { context: None, status } => Self::Server { context: Some(place.to_owned()), status },
            other => other,
        }
    }

    /// HTTP code of a refusal.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Server { status, .. } => Some(status.code),
            _ => None,
        }
    }
}

impl Explain for Error {
    /// Whoever read our output has read enough: `torch-remote get machines | head -1`.
    fn quiet(&self) -> bool {
        match self {
            Self::Differs => true,
            Self::Undecided { source } => source.quiet(),
            Self::Output { source } => source.kind() == std::io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    fn exit_code(&self) -> u8 {
        // 1 says that `diff` found differences.
        if matches!(self, Self::Undecided { .. }) { 2 } else { 1 }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NoKubeconfig | Self::NoControlPlane { .. } => "NoControlPlane",
            Self::Kubeconfig { .. } | Self::Credentials { .. } | Self::NoToken { .. } => "InvalidKubeconfig",
            Self::Untrusted { .. } => "UntrustedCertificate",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::Server { status, .. } => server_reason(status),
            Self::Answer { .. } => "UnexpectedAnswer",
            Self::Read { .. } => "CannotRead",
            Self::Fetch { .. } => "CannotFetch",
            Self::Syntax { .. } => "InvalidYAML",
            Self::NotAnObject { .. } | Self::Nothing { .. } => "InvalidManifest",
            Self::UnknownKind { .. } => "UnknownKind",
            Self::Twice { .. } => "DuplicateObject",
            Self::Namespace { .. } => "NamespaceMismatch",
            Self::Interrupted { .. } => "PartlyApplied",
            Self::Usage { .. } => "InvalidArguments",
            Self::TimedOut { .. } => "TimedOut",
            Self::Hopeless { .. } => "Failed",
            Self::Differs => "Differs",
            Self::Undecided { source } => source.reason(),
            Self::Exec { .. } => "NotLoggedIn",
            Self::Login(error) => error.reason(),
            Self::Output { .. } => "CannotWrite",
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::NoKubeconfig => "Start one on this machine with `torch-remote up`, or name the kubeconfig of one with --kubeconfig FILE.".into(),
            Self::NoControlPlane { .. } => {
                "Start it with `torch-remote up`, or name another with --kubeconfig FILE (KUBECONFIG) or --context NAME.".into()
            }
            Self::Kubeconfig { .. } => "`torch-remote up` writes one at each start; `kubectl config view` shows what kubectl makes of it.".into(),
            Self::Credentials { .. } | Self::NoToken { .. } | Self::Unauthorized { .. } => {
                "`torch-remote up` replaces its token file while it runs: is the kubeconfig that of the control plane now running? Else ask its owner for a new token.".into()
            }
            Self::Untrusted { .. } => "Use the kubeconfig that this control plane wrote: another one may have taken the port since.".into(),
            Self::Server { context, status } => advice(context.is_some(), status),
            Self::Answer { .. } => "Is something else than a torch-remote control plane at this address?".into(),
            Self::Read { .. } | Self::Output { .. } | Self::Differs => String::new(),
            Self::Undecided { source } => source.fix(),
            Self::Fetch { address, .. } => {
                format!("Nothing was written. Fetch it by other means and give it on: `curl -fsSL {address} | torch-remote apply -f -`.")
            }
            Self::Syntax { .. } | Self::NotAnObject { .. } => "Nothing was written. `torch-remote get machine -o yaml` shows how an object looks; manifests/examples has some to copy.".into(),
            Self::Nothing { .. } => "Give -f files with at least one document (of a folder, its *.yaml, *.yml and *.json are read).".into(),
            Self::UnknownKind { place, known, .. } => {
                let nothing = if place.is_some() { "Nothing was written. " } else { "" };
                format!("{nothing}It serves: {}.", known.join(", "))
            }
            Self::Twice { .. } => "Nothing was written. Remove one, or give it another name.".into(),
            Self::Namespace { .. } => "Nothing was written. Leave out --namespace, or change the document.".into(),
            Self::Interrupted { .. } => "Apply again when the reason is gone: what is as it should be stays unchanged.".into(),
            Self::Usage { example, .. } => format!("Example: {example}"),
            Self::Exec { .. } => "Log in again: `torch-remote login URL`; or is the program not on PATH?".into(),
            Self::Login(error) => error.fix(),
            Self::Hopeless { object, .. } => {
                format!("Change its spec and apply it, or delete it; `torch-remote describe {object}` shows what happened.")
            }
            Self::TimedOut { .. } => "Wait longer with --timeout, or look at its events with `torch-remote describe`.".into(),
        }
    }
}

/// The server's reason, of those this client knows by name.
fn server_reason(status: &Status) -> &'static str {
    const KNOWN: [&str; 14] = [
        "AlreadyExists",
        "BadRequest",
        "Conflict",
        "Expired",
        "Forbidden",
        "Gone",
        "InternalError",
        "Invalid",
        "MethodNotAllowed",
        "NotFound",
        "ServiceUnavailable",
        "Timeout",
        "TooManyRequests",
        "UnsupportedMediaType",
    ];
    KNOWN.into_iter().find(|known| *known == status.reason).unwrap_or("Refused")
}

/// What was not written, what makes a namespace, and one line per field where the message does not hold them already.
fn advice(of_document: bool, status: &Status) -> String {
    let mut text = String::from(if of_document { "Nothing was written.\n" } else { "" });
    let details = status.details.as_ref();
    if let Some(missing) = details.filter(|details| status.code == 404 && details.kind == "namespaces") {
        let name = &missing.name;
        writeln!(text, "Make it with `kubectl create namespace {name}`, or as a document beside this one.")
            .expect(INFALLIBLE);
    }
    if details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "FieldManagerConflict")) {
        text.push_str(
            "Leave these fields out, give them the values they have, or take them over with --force-conflicts.\n",
        );
    }
    let causes = details.into_iter().flat_map(|details| &details.causes);
    for cause in causes.filter(|cause| !status.message.contains(&cause.message)) {
        writeln!(text, "{}: {}", cause.field, cause.message).expect(INFALLIBLE);
    }
    text.trim_end().to_owned()
}

const INFALLIBLE: &str = "writing to a string cannot fail";

fn from(file: Option<&PathBuf>) -> String {
    file.map(|file| format!(" from {}", file.display())).unwrap_or_default()
}

fn prefix(place: Option<&str>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

fn suggestion(near: &[String]) -> String {
    let near: Vec<&str> = near.iter().map(String::as_str).collect();
    if near.is_empty() {
        return String::new();
    }
    format!("; did you mean {}?", torch_remote_api::suggest::either(&near))
}
