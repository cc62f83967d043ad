//! Namespace (core/v1): a team.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, object::Object};

/// A Namespace with metadata, spec and status.
pub type Namespace = Object<NamespaceSpec, NamespaceStatus>;

/// What keeps a namespace from being gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceSpec {
    /// `kubernetes` until the namespace is empty; set by the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// What was seen of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceStatus {
    /// Active, or Terminating while it is emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<NamespacePhase>,
    /// What keeps a namespace that is being emptied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A namespace in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NamespacePhase {
    /// In use.
    Active,
    /// It is being emptied.
    Terminating,
}
