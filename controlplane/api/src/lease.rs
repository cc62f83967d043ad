//! DeviceLease: the right of one holder to GPUs, until it ends.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{self, Condition, Truth},
    duration::Duration,
    gpu::GpuType,
    object::{NamespacedRef, Object},
    quantity::Quantity,
    time::Time,
};

/// A DeviceLease with metadata, spec and status.
pub type DeviceLease = Object<DeviceLeaseSpec, DeviceLeaseStatus>;

/// Quota and a place are kept for it. `False` while it queues (reasons [`reason::WAITING`] and the planners' own).
pub const RESERVED: &str = "Reserved";
/// Its slots are bound and an agent has acknowledged them: it can be opened.
/// `False` with [`reason::LAUNCHING`] (a machine starts for it) or [`reason::BINDING`] (an agent was told) on the way.
pub const BOUND: &str = "Bound";
/// It is over: no slot will execute for it. The reason is one of [`EndReason`].
pub const ENDED: &str = "Ended";
/// After its end: the processes are reaped, the slots are free, quota is given back.
pub const RELEASED: &str = "Released";

/// Reasons of conditions that decide the phase.
pub mod reason {
    /// RESERVED is False: it waits its turn.
    pub const WAITING: &str = "Waiting";
    /// BOUND is False: a machine starts for it.
    pub const LAUNCHING: &str = "Launching";
    /// BOUND is False: an agent was told to bind.
    pub const BINDING: &str = "Binding";
}

/// Annotation: the trace of the call that made the lease, as a `traceparent`. Set by the server.
pub const TRACEPARENT: &str = "torchremote.dev/traceparent";
/// Annotation that says how its waiter shows that it is alive: [`RENEWS`]. Set by the SDK when it makes the lease; kept to from then on.
pub const WAITER: &str = "torchremote.dev/waiter";
/// Of [`WAITER`]: it renews the lease until its first session is open.
pub const RENEWS: &str = "Renews";

/// A waiter that is not renewed for so long ends. Renewed every 10 s by the SDK.
pub const WAITER_TTL: Duration = Duration::from_secs(30);
/// How long a process that died and cannot come back keeps its lease.
pub const ORPHAN_TIME: Duration = Duration::from_secs(60);
/// How long a silent client keeps its lease when someone waits.
pub const SILENT_RECLAIM: Duration = Duration::from_mins(2);
/// An agent that does not acknowledge a bind for so long has its slot quarantined.
pub const BIND_ACK: Duration = Duration::from_secs(10);

/// The object of a lease that is over is kept for so long, to be looked at; then the control plane deletes it.
pub const ENDED_KEPT: Duration = Duration::from_hours(24);

/// The right of one holder to GPUs. Once it is made, only priority can be changed, and until it is bound duration and idleTimeout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLeaseSpec {
    /// GPUs asked for: alternatives, the best first. May be left out when a machine is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub gpu: Vec<GpuAlternative>,
    /// Only this RemoteMachine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_ref: Option<NamespacedRef>,
    /// Only machines of this MachinePool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<NamespacedRef>,
    /// Whole GPUs, or a share of one.
    #[serde(default)]
    pub mode: Mode,
    /// Memory of a share, such as "8Gi"; needed when mode is Shared.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "gpuMemory")]
    pub gpu_memory: Option<Quantity>,
    /// It ends so long after its first session opened.
    #[serde(default = "default_duration")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub duration: Duration,
    /// It ends when no operator was queued or running for so long.
    #[serde(default = "default_idle_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub idle_timeout: Duration,
    /// A lease that nobody renews (made without the SDK) waits so long for its GPUs.
    #[serde(default = "default_wait_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub wait_timeout: Duration,
    /// A client that is not heard (a sleeping laptop) keeps the lease for so long.
    #[serde(default = "default_reconnect_window")]
    #[schemars(extend("x-torchremote-range" = ["1s", "24h"]))]
    pub reconnect_window: Duration,
    /// Higher goes first; among equals the older.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// A new process can take it over: it has a name or belongs to a notebook. Set by the SDK.
    #[serde(default)]
    pub resumable: bool,
}

/// GPUs of one type that would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuAlternative {
    /// Type of GPU.
    #[serde(rename = "type")]
    pub gpu_type: GpuType,
    /// How many, on one machine.
    #[serde(default = "crate::gpu::one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
    /// At least so much memory on each, such as "40Gi".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// Whole GPUs, or a share of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// All slots of each GPU.
    #[default]
    Exclusive,
    /// One slot of one GPU, and gpuMemory.
    Shared,
}

/// What was seen of a lease.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLeaseStatus {
    /// The user who made it; only they get its token. Set by the server, cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Derived from the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<LeasePhase>,
    /// The spec's generation that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Facts: Reserved, Bound, Ended, Released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// While it waits: where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Once Bound: one per executor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<LeasedDevice>,
    /// When it was bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_at: Option<Time>,
    /// When its first session opened, as its agent reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Time>,
    /// When its duration is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Since when no operator has run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Time>,
    /// Something the holder should know, such as that it will end soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// Where a waiting lease stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// From 1, the head of its queue.
    pub position: u32,
    /// What it waits for, as one CamelCase word.
    pub reason: String,
    /// When it may be its turn, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Time>,
}

/// One executor of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeasedDevice {
    /// namespace/name of the RemoteMachine.
    pub machine: String,
    /// Its uid: the audience of the lease's token.
    #[serde(rename = "machineUID")]
    pub machine_uid: String,
    /// Index of the GPU on the machine.
    pub index: u32,
    /// Slot on the machine.
    pub slot: u32,
    /// Fencing number of the slot for this lease.
    pub epoch: u64,
    /// Type of GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuType>,
    /// How to reach it, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// How to reach a slot, and how to trust what answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// `unix` or `tcp`.
    pub kind: EndpointKind,
    /// A path, or host:port.
    pub address: String,
    /// `none`, `system`, `spkiSHA256:<base64>` or `caBundle:<pem>`.
    #[serde(default = "no_tls")]
    #[schemars(regex(pattern = r"^(none|system|spkiSHA256:.+|caBundle:[\s\S]+)$"))]
    pub tls: String,
}

/// Kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EndpointKind {
    /// A Unix socket on the same host.
    Unix,
    /// TCP.
    Tcp,
}

/// Why a lease ended: the reason of its condition Ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// Its holder said goodbye or deleted it.
    Goodbye,
    /// Its duration is over.
    Expired,
    /// No operator ran for idleTimeout.
    Idle,
    /// Its client was not heard for reconnectWindow, or for two minutes while others waited.
    Silent,
    /// Its process died and could not come back.
    Orphaned,
    /// No session was opened in time.
    NeverOpened,
    /// Its executor died.
    Crashed,
    /// Someone with the right to do so ended it.
    Revoked,
    /// Its waiter was not renewed.
    Abandoned,
    /// It waited for waitTimeout.
    WaitTimeout,
    /// Nothing there is, or can be made, will ever satisfy it.
    Unsatisfiable,
    /// Its machine is gone, or its agent started anew.
    Lost,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Goodbye,
        Self::Expired,
        Self::Idle,
        Self::Silent,
        Self::Orphaned,
        Self::NeverOpened,
        Self::Crashed,
        Self::Revoked,
        Self::Abandoned,
        Self::WaitTimeout,
        Self::Unsatisfiable,
        Self::Lost,
    ];

    /// The word in the condition, and in the agent's `Released.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "Goodbye",
            Self::Expired => "Expired",
            Self::Idle => "Idle",
            Self::Silent => "Silent",
            Self::Orphaned => "Orphaned",
            Self::NeverOpened => "NeverOpened",
            Self::Crashed => "Crashed",
            Self::Revoked => "Revoked",
            Self::Abandoned => "Abandoned",
            Self::WaitTimeout => "WaitTimeout",
            Self::Unsatisfiable => "Unsatisfiable",
            Self::Lost => "Lost",
        }
    }

    /// The reason of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A lease in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LeasePhase {
    /// Not looked at yet.
    Pending,
    /// It waits its turn.
    Queued,
    /// A machine starts for it.
    Launching,
    /// An agent was told to bind it.
    Binding,
    /// It can be opened, or is.
    Bound,
    /// It is over, and its processes are not yet reaped.
    Releasing,
    /// It is over.
    Ended,
    /// It is over because its machine or executor is gone.
    Lost,
    /// It could not be had: Unsatisfiable, WaitTimeout or Abandoned.
    Failed,
}

impl LeasePhase {
    /// The name in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Queued => "Queued",
            Self::Launching => "Launching",
            Self::Binding => "Binding",
            Self::Bound => "Bound",
            Self::Releasing => "Releasing",
            Self::Ended => "Ended",
            Self::Lost => "Lost",
            Self::Failed => "Failed",
        }
    }

    /// It will not be Bound any more.
    pub const fn over(self) -> bool {
        matches!(self, Self::Releasing | Self::Ended | Self::Lost | Self::Failed)
    }
}

impl fmt::Display for LeasePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl DeviceLeaseStatus {
    /// The phase its conditions amount to.
    pub fn derive_phase(&self) -> LeasePhase {
        let find = |condition| condition::find(&self.conditions, condition);
        if let Some(ended) = find(ENDED).filter(|ended| ended.status == Truth::True) {
            return match EndReason::parse(&ended.reason) {
                Some(EndReason::Lost | EndReason::Crashed) => LeasePhase::Lost,
                Some(EndReason::Unsatisfiable | EndReason::WaitTimeout | EndReason::Abandoned) => LeasePhase::Failed,
                _ if find(RELEASED).is_some_and(|released| released.status != Truth::True) => LeasePhase::Releasing,
                _ => LeasePhase::Ended,
            };
        }
        match find(BOUND) {
            Some(bound) if bound.status == Truth::True => return LeasePhase::Bound,
            Some(bound) if bound.reason == reason::BINDING => return LeasePhase::Binding,
            Some(bound) if bound.reason == reason::LAUNCHING => return LeasePhase::Launching,
            _ => {}
        }
        if find(RESERVED).is_some() { LeasePhase::Queued } else { LeasePhase::Pending }
    }
}

/// `spec.duration` when it is not given.
pub fn default_duration() -> Duration {
    Duration::from_hours(8)
}

/// `spec.idleTimeout` when it is not given.
pub fn default_idle_timeout() -> Duration {
    Duration::from_hours(1)
}

/// `spec.waitTimeout` when it is not given.
pub fn default_wait_timeout() -> Duration {
    Duration::from_hours(1)
}

/// `spec.reconnectWindow` when it is not given.
pub fn default_reconnect_window() -> Duration {
    Duration::from_mins(30)
}

fn no_tls() -> String {
    "none".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Fact;

    fn phase(facts: &[(&'static str, Truth, &str)]) -> LeasePhase {
        let now = chrono::DateTime::from_timestamp(0, 0).expect("the epoch").into();
        let mut status = DeviceLeaseStatus::default();
        for (condition, truth, reason) in facts {
            condition::set(&mut status.conditions, Fact::new(condition, *truth, *reason, ""), 1, now);
        }
        status.derive_phase()
    }

    #[test]
    fn the_phase_follows_from_the_conditions() {
        use Truth::{False, True};
        assert_eq!(phase(&[]), LeasePhase::Pending);
        assert_eq!(phase(&[(RESERVED, False, "Waiting")]), LeasePhase::Queued);
        assert_eq!(phase(&[(RESERVED, True, "Reserved"), (BOUND, False, "Launching")]), LeasePhase::Launching);
        assert_eq!(phase(&[(RESERVED, True, "Reserved"), (BOUND, False, "Binding")]), LeasePhase::Binding);
        assert_eq!(phase(&[(BOUND, True, "Bound")]), LeasePhase::Bound);
        assert_eq!(
            phase(&[(BOUND, True, "Bound"), (ENDED, True, "Idle"), (RELEASED, False, "Reaping")]),
            LeasePhase::Releasing
        );
        assert_eq!(phase(&[(ENDED, True, "Idle"), (RELEASED, True, "Reaped")]), LeasePhase::Ended);
        assert_eq!(phase(&[(ENDED, True, "Lost")]), LeasePhase::Lost);
        assert_eq!(phase(&[(ENDED, True, "Unsatisfiable")]), LeasePhase::Failed);
    }

    #[test]
    fn each_end_reason_has_one_word() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).ok(), Some(reason.as_str().into()));
        }
    }
}
