//! What a supervisor and its executor say to each other, over the socket pair an executor inherits.
//!
//! One JSON object per line. The supervisor speaks first (`Configure`, then `Bind`), the executor answers `Ready`, reports pulses, and says when its session is
//! over. Either end closing its side ends the executor.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::pinned::Identity;
use crate::refusal::Refusal;

/// Descriptor of the slot's listening socket in an executor.
pub const LISTENER_FD: i32 = 3;
/// Descriptor of the link in an executor.
pub const LINK_FD: i32 = 4;
/// Descriptor of the socket that other hosts reach, in an executor whose configuration has an identity.
pub const PUBLIC_FD: i32 = 5;

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToExecutor {
    /// First, once.
    Configure(Configuration),
    /// The slot is leased: accept.
    Bind(Lease),
    /// The key set was replaced.
    Keys(Keys),
    /// Show this to the user.
    Notice {
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
        /// From now; 0 = none.
        deadline_ms: u64,
    },
    /// The lease is over: tell the client, then exit.
    End {
        /// As in Released.
        reason: String,
        /// For people.
        message: String,
    },
}

/// From the executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromExecutor {
    /// torch is loaded, the device initialised.
    Ready {
        /// Version of torch.
        torch: String,
        /// Of the device, bytes.
        memory_bytes: u64,
        /// Name of the device.
        name: String,
    },
    /// How the session stands: at each change, and twice a second.
    Pulse(Pulse),
    /// Storages older than a second that appeared or vanished.
    Storages {
        /// New or renamed.
        appeared: Vec<StorageReport>,
        /// Ids.
        vanished: Vec<u64>,
    },
    /// Credentials that the session refused since this was said last: with a pulse, so that a flood of them is none on the link.
    Refused(Refusal),
    /// The session is over; the executor exits within a second.
    Finished {
        /// `Goodbye`, `Crashed`, the name of the violation that ended it, or the reason of `End`.
        reason: String,
        /// For people.
        message: String,
    },
}

/// What does not change while an executor lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// The supervisor knows [`FromExecutor::Refused`]: where a program was exchanged under a running agent, it is of another release than its executors.
    #[serde(default)]
    pub hears_refusals: bool,
    /// Index of the slot.
    pub slot: u32,
    /// `metadata.uid` of the machine.
    pub machine_uid: String,
    /// Uses CUDA.
    pub cuda: bool,
    /// Intra-op threads; 0 = all cores.
    pub threads: u32,
    /// What it proves itself by to other hosts; none: they do not reach it.
    pub identity: Option<Identity>,
}

/// Who signs tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    /// JSON Web Key Set.
    pub jwks: serde_json::Value,
    /// Expected `iss`.
    pub issuer: String,
}

/// What an executor must know of its lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// `metadata.uid`.
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
    /// Fencing number.
    pub epoch: u64,
    /// Limit of device memory, 0 = the device's.
    pub memory_bytes: u64,
    /// Who signs its tokens.
    pub keys: Keys,
    /// W3C trace context of the Bind.
    pub traceparent: String,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Where it is.
    pub standing: Standing,
    /// When the pulse was made. All times are of the executor's boot-time clock, milliseconds.
    pub now_ms: u64,
    /// When the client was last heard.
    pub heard_ms: u64,
    /// When the connection was lost, if it is.
    pub lost_ms: u64,
    /// When an operator was last queued or ran.
    pub active_ms: u64,
    /// One is queued or runs now.
    pub busy: bool,
    /// When the first session opened.
    pub opened_ms: u64,
    /// How many.
    pub live_storages: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Operators run.
    pub operators: u64,
    /// Memory of the device in use, bytes.
    pub memory_used: u64,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// No session opened yet.
    #[default]
    Waiting,
    /// A stream carries it.
    Connected,
    /// No stream carries it.
    Disconnected,
}

/// A live storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReport {
    /// Id.
    pub storage: u64,
    /// Size.
    pub bytes: u64,
    /// `c10::ScalarType`.
    pub dtype: u32,
    /// Shape of what made it.
    pub sizes: Vec<i64>,
    /// What made it, or its name.
    pub label: String,
    /// Since it was made.
    pub age_ms: u64,
}

/// The reading side.
#[derive(Debug)]
pub struct Listener(Lines<BufReader<OwnedReadHalf>>);

/// The writing side.
#[derive(Debug)]
pub struct Speaker(OwnedWriteHalf);

/// Both sides of a connected link.
pub fn split(stream: UnixStream) -> (Listener, Speaker) {
    let (read, write) = stream.into_split();
    (Listener(BufReader::new(read).lines()), Speaker(write))
}

impl Listener {
    /// The next message; `None` when the other side is gone.
    ///
    /// # Errors
    /// The socket's, or a line that is no message.
    ///
    /// # Cancel safety
    /// Safe: a partial line is kept.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(line) = self.0.next_line().await? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).map_err(io::Error::other)
    }
}

impl Speaker {
    /// Sends a message.
    ///
    /// # Errors
    /// The socket's: the other side is gone.
    ///
    /// # Cancel safety
    /// Unsafe: a cancelled send leaves half a line. Await it to its end.
    pub async fn say<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}
