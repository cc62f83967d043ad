//! Device: one GPU of a machine, and who holds it. Read-only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{gpu::GpuType, object::Reading, time::Time};

/// A Device: named `<machine>-<index>`, in its machine's namespace.
pub type Device = Reading<DeviceStatus>;

/// One GPU of a machine, and who holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Name of its RemoteMachine, of the same namespace.
    pub machine: String,
    /// Uid of the machine.
    #[serde(rename = "machineUID")]
    pub machine_uid: String,
    /// Index on the machine.
    pub index: u32,
    /// Type of GPU, or CPU.
    pub gpu: GpuType,
    /// What the driver calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Free, Leased, Draining or Unknown: the sum of its slots.
    pub phase: DevicePhase,
    /// Holders of its slots, in order of slot, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Leases (namespace/name) of its slots, in order of slot, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// Memory it has, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory in use, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Its slots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<SlotStatus>,
    /// When its agent last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Time>,
}

/// One slot of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// Index of the slot on the machine.
    pub slot: u32,
    /// Its fencing number.
    pub epoch: u64,
    /// As its agent reported: Warming, Free, Bound, Active, Disconnected, Releasing; Unknown or Quarantined.
    pub phase: String,
    /// namespace/name of the lease that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// User who holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Storages that live in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_storages: Option<u64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_bytes: Option<u64>,
}

/// A device in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DevicePhase {
    /// No slot is held.
    Free,
    /// A slot is held.
    Leased,
    /// A slot's old process is not yet reaped.
    Draining,
    /// The agent is not heard.
    Unknown,
}
