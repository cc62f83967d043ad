//! What a peer can do wrong, and why a hello is refused: stable reasons, as they stand in `Refused.reason` and `Ended.reason`.

use crate::codec::Malformed;

/// A breach of the protocol. It ends the session of the peer that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A stream began with something else.
    #[error("the first frame of a stream must be Hello")]
    HelloExpected,
    /// A second Hello on one stream.
    #[error("Hello came twice on one stream")]
    HelloTwice,
    /// A frame without content, or of a newer protocol.
    #[error("a frame is empty or unknown")]
    UnknownFrame,
    /// Batch numbers have a hole.
    #[error("batch {got} came where {expected} was due")]
    BatchGap {
        /// Next number.
        expected: u64,
        /// Number received.
        got: u64,
    },
    /// A batch above [`crate::codec::MAX_BATCH_BYTES`].
    #[error("a batch of {0} bytes is too long")]
    BatchTooLong(u64),
    /// More bytes unacknowledged than Welcome allowed.
    #[error("{held} bytes of batches wait, {allowed} are allowed")]
    WindowExceeded {
        /// Waiting.
        held: u64,
        /// Allowed by Welcome.
        allowed: u64,
    },
    /// RepliesSeen above what was sent.
    #[error("reply {got} is said to be seen, the last one sent is {sent}")]
    RepliesSeenAhead {
        /// Last sent.
        sent: u64,
        /// Claimed.
        got: u64,
    },
    /// More replies kept than allowed.
    #[error("{0} replies wait to be seen")]
    RepliesNotSeen(usize),
    /// Reply numbers have a hole.
    #[error("reply {got} came where {expected} was due")]
    ReplyGap {
        /// Next number.
        expected: u64,
        /// Number received.
        got: u64,
    },
    /// Received or Welcome names a batch that was never sent.
    #[error("batch {got} is acknowledged, the last one made is {made}")]
    ReceivedAhead {
        /// Last one made.
        made: u64,
        /// Claimed.
        got: u64,
    },
    /// The executor has fewer batches than it acknowledged before.
    #[error("the executor forgot batches: it has {got}, and acknowledged {acknowledged}")]
    BatchesForgotten {
        /// Acknowledged before.
        acknowledged: u64,
        /// Claimed now.
        got: u64,
    },
    /// Welcome names another lease, or carries no usable secret.
    #[error("the Welcome does not fit: {0}")]
    BadWelcome(&'static str),
    /// A frame that is not allowed now.
    #[error("{0} came out of turn")]
    OutOfTurn(&'static str),
    /// Bytes that are not commands.
    #[error("a batch is malformed")]
    Malformed(#[source] Malformed),
    /// A command names a storage that does not exist.
    #[error("storage {0} does not exist")]
    UnknownStorage(u64),
    /// A storage id was used twice.
    #[error("storage {0} exists already")]
    StorageTwice(u64),
    /// A storage id at or above [`crate::command::STORAGE_IDS`].
    #[error("storage id {0} is too large")]
    StorageRange(u64),
    /// Bulk bytes that do not fit their announcement.
    #[error("transfer {0} carries bytes that were not announced")]
    BadTransfer(u64),
}

impl Violation {
    /// Stable name for `Ended.reason` and `Refused.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Violation::HelloExpected => "HelloExpected",
            Violation::HelloTwice => "HelloTwice",
            Violation::UnknownFrame => "UnknownFrame",
            Violation::BatchGap { .. } => "BatchGap",
            Violation::BatchTooLong(_) => "BatchTooLong",
            Violation::WindowExceeded { .. } => "WindowExceeded",
            Violation::RepliesSeenAhead { .. } => "RepliesSeenAhead",
            Violation::RepliesNotSeen(_) => "RepliesNotSeen",
            Violation::ReplyGap { .. } => "ReplyGap",
            Violation::ReceivedAhead { .. } => "ReceivedAhead",
            Violation::BatchesForgotten { .. } => "BatchesForgotten",
            Violation::BadWelcome(_) => "BadWelcome",
            Violation::OutOfTurn(_) => "OutOfTurn",
            Violation::Malformed(_) => "Malformed",
            Violation::UnknownStorage(_) => "UnknownStorage",
            Violation::StorageTwice(_) => "StorageTwice",
            Violation::StorageRange(_) => "StorageRange",
            Violation::BadTransfer(_) => "BadTransfer",
        }
    }
}

impl From<Malformed> for Violation {
    fn from(source: Malformed) -> Self {
        Violation::Malformed(source)
    }
}

/// Why a Hello is answered with Refused. Nothing changes by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another protocol number.
    #[error("this SDK speaks protocol {theirs}, the executor {ours}: install torch-remote of the executor's version")]
    ProtocolMismatch {
        /// The client's.
        theirs: u32,
        /// The executor's.
        ours: u32,
    },
    /// Another minor version of torch.
    #[error("torch {theirs} here and {ours} on the machine differ in more than the patch: install torch {ours}")]
    TorchVersionMismatch {
        /// The client's.
        theirs: String,
        /// The executor's.
        ours: String,
    },
    /// No credential in the Hello.
    #[error("the Hello carries no credential")]
    NoCredential,
    /// The token check's own words.
    #[error("{message}")]
    Token {
        /// CamelCase reason of the token check.
        reason: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The lease's one session was opened before.
    #[error("the lease's session was opened already: a token opens it once")]
    SessionOpened,
    /// Opened by the same token a moment ago, and its stream is not lost yet.
    #[error("the session of this token is connected: it can be opened again only when that connection is lost")]
    SessionConnected,
    /// Attach while the other process is there.
    #[error("another process uses the lease's session: stop it, or release the lease there")]
    SessionInUse,
    /// Attach with a token that does not say so.
    #[error("the token does not allow to take the session over")]
    AttachNotAllowed,
    /// Resume of another lease, or with a wrong or replaced secret.
    #[error("the session to resume does not exist here: its lease has ended, or another process took it over")]
    SessionLost,
    /// The lease is over.
    #[error("the lease has ended ({reason}): {message}")]
    LeaseEnded {
        /// As in `Ended`.
        reason: String,
        /// As in `Ended`.
        message: String,
    },
}

impl Refusal {
    /// Stable name for `Refused.reason`.
    pub fn reason(&self) -> &str {
        match self {
            Refusal::ProtocolMismatch { .. } => "ProtocolMismatch",
            Refusal::TorchVersionMismatch { .. } => "TorchVersionMismatch",
            Refusal::NoCredential => "NoCredential",
            Refusal::Token { reason, .. } => reason,
            Refusal::SessionOpened => "SessionOpened",
            Refusal::SessionConnected => "SessionConnected",
            Refusal::SessionInUse => "SessionInUse",
            Refusal::AttachNotAllowed => "AttachNotAllowed",
            Refusal::SessionLost => "SessionLost",
            Refusal::LeaseEnded { .. } => "LeaseEnded",
        }
    }

    /// When asking again may help; 0 = never. Milliseconds.
    pub fn retry_after_ms(&self) -> u64 {
        match self {
            Refusal::SessionConnected | Refusal::SessionInUse => 500,
            Refusal::ProtocolMismatch { .. }
            | Refusal::TorchVersionMismatch { .. }
            | Refusal::NoCredential
            | Refusal::Token { .. }
            | Refusal::SessionOpened
            | Refusal::AttachNotAllowed
            | Refusal::SessionLost
            | Refusal::LeaseEnded { .. } => 0,
        }
    }

    /// Whether it is the credential that opens nothing: whoever guards the machine wants to know. A client of another version is no such matter.
    pub fn denies(&self) -> bool {
        match self {
            Refusal::ProtocolMismatch { .. } | Refusal::TorchVersionMismatch { .. } => false,
            Refusal::NoCredential
            | Refusal::Token { .. }
            | Refusal::SessionOpened
            | Refusal::SessionConnected
            | Refusal::SessionInUse
            | Refusal::AttachNotAllowed
            | Refusal::SessionLost
            | Refusal::LeaseEnded { .. } => true,
        }
    }

    /// The frame that says so.
    pub fn frame(&self) -> crate::v1::Refused {
        crate::v1::Refused {
            reason: self.reason().to_owned(),
            message: self.to_string(),
            retry_after_ms: self.retry_after_ms(),
        }
    }
}
