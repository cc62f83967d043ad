//! RemoteMachine: a machine with GPUs at a Provider, from the wish to its end.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{self, Condition, Truth},
    duration::Duration,
    gpu::Gpu,
    money::Money,
    object::{LocalRef, NamespaceOrStar, Object},
    quantity::Quantity,
    time::Time,
};

/// A RemoteMachine with metadata, spec and status.
pub type RemoteMachine = Object<RemoteMachineSpec, RemoteMachineStatus>;

/// The provider has an instance for it.
pub const LAUNCHED: &str = "Launched";
/// The instance's agent said hello.
pub const REGISTERED: &str = "Registered";
/// Slots can be leased. `Unknown` when the agent is not heard; absent while there is no instance and, as the spec asks, none is wanted.
pub const READY: &str = "Ready";
/// `spec.suspend` is in force: no instance is wanted and there is none.
pub const SUSPENDED: &str = "Suspended";
/// Its time, or its idle time, is over; no instance is wanted any more.
pub const EXPIRED: &str = "Expired";
/// It is given up after `spec.retry.limit` attempts, or cannot be made at all.
pub const FAILED: &str = "Failed";

/// Minor version of torch that the agent is built for; `spec.image.torch` must be of it.
pub const AGENT_TORCH: &str = "2.13";

/// A machine with GPUs at a Provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteMachineSpec {
    /// Name of the Provider that makes it.
    #[schemars(extend("format" = "name"))]
    pub provider: String,
    /// Its GPUs.
    pub gpu: Gpu,
    /// Longest life of an instance, whatever it is doing.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub timeout: Duration,
    /// It ends when no lease has held any of it for so long.
    #[serde(default = "default_idle_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub idle_timeout: Duration,
    /// An instance whose agent is not ready after so long is given up.
    #[serde(default = "default_startup_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "24h"]))]
    pub startup_timeout: Duration,
    /// Leases that can share one GPU.
    #[serde(default = "crate::gpu::one", rename = "slotsPerGPU")]
    #[schemars(range(min = 1, max = 16))]
    pub slots_per_gpu: u32,
    /// What is installed on it; without one, what the agent needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Environment of the agent. Not for secrets: use secretRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Secrets of its namespace whose entries become environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secret_refs: Vec<LocalRef>,
    /// Storage of the provider to mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volumes: Vec<Volume>,
    /// Regions it may be made in; none: the Provider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub regions: Vec<String>,
    /// Processors, such as 4 or "500m"; without it, what the provider gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Main memory, such as "32Gi"; without it, what the provider gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Keep the object, end the instance.
    #[serde(default)]
    pub suspend: bool,
    /// What to do when an instance cannot be made or is lost.
    #[serde(default)]
    pub retry: Retry,
    /// What to take instead, in order, when the first choice is not to be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub fallback: Vec<Fallback>,
    /// Nothing dearer is made; in the Provider's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price_per_hour: Option<Money>,
    /// Other namespaces whose leases may take it; ["*"] is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), with = "Vec<NamespaceOrStar>", extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<String>,
}

impl RemoteMachineSpec {
    /// Slots there are: each GPU has `slotsPerGPU`, in order of GPU.
    pub fn slots(&self) -> u32 {
        self.gpu.count * self.slots_per_gpu
    }

    /// Whether leases of `namespace` may take a machine of `own` namespace.
    pub fn allows(&self, own: &str, namespace: &str) -> bool {
        own == namespace || self.allowed_namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace)
    }
}

/// What is installed on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Version of Python, such as "3.11".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^3\.[0-9]{1,2}$"))]
    pub python: Option<String>,
    /// Version of torch, of the agent's own minor, such as "2.13.0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+(\.[0-9]+)?$"))]
    pub torch: Option<String>,
    /// Python packages with versions, such as "numpy==2.1.0".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub packages: Vec<String>,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvVar {
    /// Name: letters, digits and `_`.
    #[schemars(length(max = 256), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Value.
    #[serde(default)]
    pub value: String,
}

/// Storage of the provider to mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The provider's name for it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where it appears on the machine.
    #[schemars(length(max = 4096), regex(pattern = "^/"))]
    pub mount_path: String,
    /// It cannot be written to.
    #[serde(default)]
    pub read_only: bool,
}

/// What to do when an instance cannot be made or is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// Attempts in a row that may fail before the machine has Failed.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(max = 1000))]
    pub limit: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { limit: default_retry_limit() }
    }
}

/// What to take when the choice before is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fallback {
    /// Another Provider; without one, the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "name"))]
    pub provider: Option<String>,
    /// Other GPUs.
    pub gpu: Gpu,
    /// A region; without one, the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
}

/// What was seen of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteMachineStatus {
    /// Derived from the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<MachinePhase>,
    /// The spec's generation that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Facts: Launched, Registered, Ready, Suspended, Expired, Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The provider's name for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "providerID")]
    pub provider_id: Option<String>,
    /// New with each start of the agent: leases of an older one are lost.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "bootID")]
    pub boot_id: Option<String>,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Version of torch on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torch_version: Option<String>,
    /// The GPUs it has, when they came from `spec.fallback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Number of the attempt the instance belongs to, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// When the provider was asked to make the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Time>,
    /// When the instance ends at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Since when no lease has held any of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Time>,
    /// Leases (namespace/name) that hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub kept_alive_by: Vec<String>,
    /// What an hour of it costs, in the Provider's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<Money>,
    /// What it has cost so far, in the Provider's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accrued: Option<Money>,
}

/// A machine in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MachinePhase {
    /// No instance was asked for yet, or the next attempt waits.
    Pending,
    /// The provider has been asked; the agent is not ready.
    Starting,
    /// Slots can be leased.
    Ready,
    /// The agent is not heard; nothing is known.
    Unreachable,
    /// `spec.suspend`: there is no instance.
    Suspended,
    /// Its time or its idle time is over.
    Expired,
    /// It is given up.
    Failed,
    /// It is being deleted.
    Terminating,
}

impl MachinePhase {
    /// The name in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Ready => "Ready",
            Self::Unreachable => "Unreachable",
            Self::Suspended => "Suspended",
            Self::Expired => "Expired",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
        }
    }
}

impl fmt::Display for MachinePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl RemoteMachineStatus {
    /// The phase its conditions amount to; the first that holds in the order deleting, Failed, Expired, Suspended, Ready, Launched.
    pub fn derive_phase(&self, deleting: bool) -> MachinePhase {
        let holds = |condition| condition::holds(&self.conditions, condition);
        let ready = condition::find(&self.conditions, READY).map(|ready| ready.status);
        if deleting {
            MachinePhase::Terminating
        } else if holds(FAILED) {
            MachinePhase::Failed
        } else if holds(EXPIRED) {
            MachinePhase::Expired
        } else if holds(SUSPENDED) {
            MachinePhase::Suspended
        } else if ready == Some(Truth::True) {
            MachinePhase::Ready
        } else if ready == Some(Truth::Unknown) && holds(REGISTERED) {
            MachinePhase::Unreachable
        } else if holds(LAUNCHED) {
            MachinePhase::Starting
        } else {
            MachinePhase::Pending
        }
    }
}

/// `spec.timeout` when it is not given.
pub fn default_timeout() -> Duration {
    Duration::from_hours(8)
}

/// `spec.idleTimeout` when it is not given.
pub fn default_idle_timeout() -> Duration {
    Duration::from_mins(15)
}

/// `spec.startupTimeout` when it is not given.
pub fn default_startup_timeout() -> Duration {
    Duration::from_mins(10)
}

fn default_retry_limit() -> u32 {
    5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Fact;

    fn phase(deleting: bool, facts: &[(&'static str, Truth)]) -> MachinePhase {
        let now = chrono::DateTime::from_timestamp(0, 0).expect("the epoch").into();
        let mut status = RemoteMachineStatus::default();
        for (condition, truth) in facts {
            condition::set(&mut status.conditions, Fact::new(condition, *truth, "Test", ""), 1, now);
        }
        status.derive_phase(deleting)
    }

    #[test]
    fn the_phase_follows_from_the_conditions() {
        use Truth::{False, True, Unknown};
        assert_eq!(phase(false, &[]), MachinePhase::Pending);
        assert_eq!(phase(false, &[(READY, Unknown)]), MachinePhase::Pending);
        assert_eq!(phase(false, &[(LAUNCHED, True), (READY, False)]), MachinePhase::Starting);
        assert_eq!(phase(false, &[(LAUNCHED, True), (REGISTERED, True), (READY, True)]), MachinePhase::Ready);
        assert_eq!(phase(false, &[(LAUNCHED, True), (REGISTERED, True), (READY, Unknown)]), MachinePhase::Unreachable);
        assert_eq!(phase(false, &[(SUSPENDED, True)]), MachinePhase::Suspended);
        assert_eq!(phase(false, &[(EXPIRED, True)]), MachinePhase::Expired);
        assert_eq!(phase(false, &[(EXPIRED, True), (FAILED, True)]), MachinePhase::Failed);
        assert_eq!(phase(true, &[(READY, True)]), MachinePhase::Terminating);
    }
}
