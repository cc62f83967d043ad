//! What a provider tells an agent when it starts one. Written as JSON to a file (mode 0600) named by `torch-remote-agent supervise --config FILE`.

use serde::{Deserialize, Serialize};

/// Everything a supervisor knows before the first Control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// `metadata.uid` of the RemoteMachine: the audience of every token.
    pub machine_uid: String,
    /// `namespace/name`, for texts only.
    pub machine: String,
    /// The intent token of this attempt; also on the command line (`--token`), so that a provider can prove a process its own.
    pub token: String,
    /// Expected `iss` of every token.
    pub issuer: String,
    /// JSON Web Key Set to start with; each Control hello replaces it.
    pub jwks: serde_json::Value,
    /// Where the Control service listens.
    pub control: Listen,
    /// One per slot, in slot order.
    pub slots: Vec<SlotConfig>,
    /// Host name or IP address under which other hosts reach this one: each slot then has a second socket, TCP with pinned TLS, on a free port of that IP address
    /// (of all addresses where it is a name). None: only this host reaches the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<String>,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Intra-op threads of each executor; 0 = all cores.
    #[serde(default)]
    pub threads: u32,
    /// With no contact and no live lease for this long the supervisor exits. Milliseconds.
    pub dead_man_ms: u64,
    /// Between two reports. Milliseconds.
    pub heartbeat_ms: u64,
    /// OTLP endpoint, if traces are exported.
    #[serde(default)]
    pub otlp: Option<String>,
    /// Tests only: a file whose decimal content (milliseconds) is added to the boot-time clock.
    #[serde(default)]
    pub clock_offset_file: Option<String>,
}

/// A slot: a share of one GPU, with one listening socket for the machine's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlotConfig {
    /// Index of the GPU on the machine.
    pub gpu: u32,
    /// Its data socket.
    pub listen: Listen,
}

/// A socket to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Listen {
    /// Path of a Unix socket; access is by file mode.
    Unix(String),
    /// `address:port`. Plaintext only on loopback or behind a provider's TLS relay.
    Tcp(String),
}
