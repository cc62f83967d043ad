//! MachinePool: machines of one template, kept warm between bounds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{condition::Condition, machine::RemoteMachineSpec, object::Object};

/// Label of a pool's machines: the pool's name, as [`label`] makes it one.
pub const POOL_LABEL: &str = "torchremote.dev/pool";
/// Annotation of a pool's machines: hash of the template they were made from.
pub const TEMPLATE_ANNOTATION: &str = "torchremote.dev/template-hash";

/// A pool's name as the value of a label, which has room for 63 characters: a longer one is cut, and told apart by a hash.
pub fn label(pool: &str) -> String {
    if pool.len() <= 63 {
        return pool.to_owned();
    }
    let hash: String = Sha256::digest(pool)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", pool.get(..54).unwrap_or_default())
}

/// A MachinePool with metadata, spec and status.
pub type MachinePool = Object<MachinePoolSpec, MachinePoolStatus>;

/// Machines of one template, kept between bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachinePoolSpec {
    /// What its machines are like.
    pub template: MachineTemplate,
    /// Bounds on their number.
    pub replicas: Replicas,
    /// Free machines to keep ready, within the bounds.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub warm: u32,
}

/// What a pool's machines are like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineTemplate {
    /// Labels and annotations of its machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Their spec.
    pub spec: RemoteMachineSpec,
}

/// Labels and annotations of machines made from a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateMeta {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Bounds on the number of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replicas {
    /// At least so many; what `kubectl scale` sets.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub min: u32,
    /// At most so many.
    #[schemars(range(max = 1000))]
    pub max: u32,
}

/// What was seen of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePoolStatus {
    /// The spec's generation that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Facts, such as Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Machines there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Those that are Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// Those that are Ready and free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<u32>,
    /// Those that a lease holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased: Option<u32>,
}
