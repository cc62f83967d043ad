//! GPUQuota: how many GPUs a team may hold, and how much it may spend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, duration::Duration, gpu::GpuType, money::Money, object::Object, time::Time};

/// What it asks is in force.
pub const ENFORCED: &str = "Enforced";

/// A GPUQuota with metadata, spec and status.
pub type GpuQuota = Object<GpuQuotaSpec, GpuQuotaStatus>;

/// How many GPUs the namespace may hold, and how much it may spend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuQuotaSpec {
    /// GPUs that leases of the namespace may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub gpus: Vec<Nominal>,
    /// GPUs that machines of the namespace may have, from intent until gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "machineGPUs")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub machine_gpus: Vec<Nominal>,
    /// Quotas of one cohort lend each other what they do not use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "name"))]
    pub cohort: Option<String>,
    /// Share of what is lent when several want it.
    #[serde(default = "crate::gpu::one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Bound on what is spent in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Most GPUs one user may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user: Option<u32>,
    /// Longest `duration` of a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lease: Option<Duration>,
    /// Longest `idleTimeout` of a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<Duration>,
    /// Stops grants.
    #[serde(default)]
    pub hold: Hold,
}

/// A number of GPUs of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nominal {
    /// Type of GPU.
    #[serde(rename = "type")]
    pub gpu_type: GpuType,
    /// How many are the namespace's own.
    pub nominal: u32,
    /// How many more it may borrow from its cohort; none: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrowing_limit: Option<u32>,
    /// How many of its own it lends; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lending_limit: Option<u32>,
}

/// A bound on what is spent in a window: GPU hours or an amount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// What it is counted over.
    pub window: Window,
    /// GPU hours, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_hours: Option<Money>,
    /// Money, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What happens when it is used up.
    #[serde(default)]
    pub action: BudgetAction,
}

/// What a budget is counted over, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are their own description")]
pub enum Window {
    Day,
    Week,
    Month,
}

/// What happens when a budget is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BudgetAction {
    /// It is said, nothing is stopped.
    Warn,
    /// No more grants.
    #[default]
    Hold,
    /// No more grants, and running leases are ended.
    HoldAndDrain,
}

/// Whether grants are stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Hold {
    /// They are not.
    #[default]
    None,
    /// No more grants.
    Hold,
    /// No more grants, and running leases are ended.
    HoldAndDrain,
}

/// What was seen of a quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuQuotaStatus {
    /// The spec's generation that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Leased GPUs by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub gpus: Vec<Usage>,
    /// Machines' GPUs by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "machineGPUs")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub machine_gpus: Vec<Usage>,
    /// What is left of the budget, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Money>,
    /// What an hour takes of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate: Option<Money>,
    /// When it is used up at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausts_at: Option<Time>,
}

/// How much of one GPU type is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Type of GPU.
    #[serde(rename = "type")]
    pub gpu_type: GpuType,
    /// Bound.
    pub used: u32,
    /// Kept for a lease that is not bound yet.
    pub reserved: u32,
    /// Of used and reserved, more than nominal.
    pub borrowed: u32,
    /// Of nominal, in use by others of the cohort.
    pub lent: u32,
}
