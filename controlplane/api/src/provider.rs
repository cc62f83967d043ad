//! Provider: an account or a place where machines can be made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{self, Condition},
    duration::Duration,
    gpu::GpuType,
    machine::{Image, default_idle_timeout, default_startup_timeout, default_timeout},
    money::Money,
    object::{NamespaceOrStar, NamespacedRef, Object},
    time::Time,
};

/// A Provider with metadata, spec and status. Cluster-scoped.
pub type Provider = Object<ProviderSpec, ProviderStatus>;

/// The credentials were tried and work.
pub const VERIFIED: &str = "Verified";
/// Machines can be made.
pub const READY: &str = "Ready";

/// A place where machines can be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// What kind of place it is; cannot be changed.
    #[serde(rename = "type")]
    pub provider_type: ProviderType,
    /// What opens the account; not needed for Local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// URL of its API, when it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), extend("format" = "uri"))]
    pub endpoint: Option<String>,
    /// PEM certificates that `endpoint` is trusted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub ca_bundle: Option<String>,
    /// Regions machines may be made in; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub regions: Vec<String>,
    /// Bounds over all of its machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ProviderLimits>,
    /// Currency of its prices, three letters.
    #[serde(default = "usd")]
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    pub currency: String,
    /// Prices that replace the provider's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub prices: Vec<Price>,
    /// Machines that may be made for a waiting lease, and for whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_template: Option<MachineOffer>,
}

/// What kind of place a Provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// Agents are processes on the control plane's own host.
    Local,
    /// Agents are Modal sandboxes.
    Modal,
    /// Agents are Pods of a cluster.
    Kubernetes,
    /// Agents are started by people and join with a token.
    Static,
}

impl ProviderType {
    /// The name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::Modal => "Modal",
            Self::Kubernetes => "Kubernetes",
            Self::Static => "Static",
        }
    }
}

/// What opens an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret that holds them.
    pub secret_ref: NamespacedRef,
}

/// Bounds over all machines of a Provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderLimits {
    /// Most machines at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u32>,
    /// Most money per hour, in the Provider's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<Money>,
}

/// What one GPU of a type costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Type of GPU.
    #[serde(rename = "type")]
    pub gpu_type: GpuType,
    /// Price of one per hour, as decimal text such as "3.95".
    pub per_hour: Money,
}

/// Machines that may be made for a waiting lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineOffer {
    /// GPU types on offer.
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "set"))]
    pub gpus: Vec<GpuType>,
    /// Most GPUs in one machine.
    #[serde(default = "crate::gpu::one")]
    #[schemars(range(min = 1, max = 16))]
    pub max_count: u32,
    /// Namespaces whose leases it is for; ["*"] is all.
    #[schemars(length(min = 1, max = 256), with = "Vec<NamespaceOrStar>", extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,
    /// `spec.timeout` of machines made.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub timeout: Duration,
    /// `spec.idleTimeout` of machines made.
    #[serde(default = "default_idle_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "720h"]))]
    pub idle_timeout: Duration,
    /// `spec.startupTimeout` of machines made.
    #[serde(default = "default_startup_timeout")]
    #[schemars(extend("x-torchremote-range" = ["1s", "24h"]))]
    pub startup_timeout: Duration,
    /// `spec.slotsPerGPU` of machines made.
    #[serde(default = "crate::gpu::one", rename = "slotsPerGPU")]
    #[schemars(range(min = 1, max = 16))]
    pub slots_per_gpu: u32,
    /// `spec.image` of machines made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// `spec.maxPricePerHour` of machines made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price_per_hour: Option<Money>,
}

/// What was seen of a Provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// Derived from the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ProviderPhase>,
    /// The spec's generation that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Facts, such as Verified and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the credentials last worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Time>,
    /// Machines there are, from intent until gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u32>,
    /// What they cost per hour together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<Money>,
    /// The last comparison of the provider's list with ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sweep: Option<Sweep>,
}

/// A comparison of the provider's list with ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sweep {
    /// When it ended.
    pub time: Time,
    /// Instances found that nobody owned.
    pub orphans: u32,
}

/// A Provider in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProviderPhase {
    /// Not tried yet.
    Pending,
    /// Machines can be made.
    Ready,
    /// Machines cannot be made; the condition Ready says why.
    NotReady,
    /// It is being deleted.
    Terminating,
}

impl ProviderStatus {
    /// The phase its conditions amount to.
    pub fn derive_phase(&self, deleting: bool) -> ProviderPhase {
        if deleting {
            return ProviderPhase::Terminating;
        }
        match condition::find(&self.conditions, READY).map(|ready| ready.status) {
            None => ProviderPhase::Pending,
            Some(condition::Truth::True) => ProviderPhase::Ready,
            Some(_) => ProviderPhase::NotReady,
        }
    }
}

fn usd() -> String {
    "USD".to_owned()
}
