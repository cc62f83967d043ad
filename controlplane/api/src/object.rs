//! What every object has: type, metadata, spec and status.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Time;

/// The API group.
pub const GROUP: &str = "torchremote.dev";
/// Its one version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of the group's objects.
pub const API_VERSION: &str = "torchremote.dev/v1alpha1";

/// A RemoteMachine is gone only when its provider says so.
pub const MACHINE_FINALIZER: &str = "torchremote.dev/machine";
/// A DeviceLease is gone only when its slots are free.
pub const LEASE_FINALIZER: &str = "torchremote.dev/lease";
/// A Provider is gone only when no machine of it is left.
pub const PROVIDER_FINALIZER: &str = "torchremote.dev/provider";
/// In `spec.finalizers` of a Namespace: it is gone only when it is empty.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";

/// An object with spec and status. A status that was never written is the default one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<S, T> {
    /// `torchremote.dev/v1alpha1`, or `v1` for core kinds.
    #[serde(default)]
    pub api_version: String,
    /// The kind, such as `RemoteMachine`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels and what the server keeps about the object.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the owner asks.
    pub spec: S,
    /// What its one reconciler saw.
    #[serde(default = "T::default", bound(deserialize = "T: Default + Deserialize<'de>"))]
    pub status: T,
}

/// A read-only object: the server makes it from what it knows, there is nothing to ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading<T> {
    /// `torchremote.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// The kind, such as `Device`.
    #[serde(default)]
    pub kind: String,
    /// Name and namespace.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What was seen.
    pub status: T,
}

/// Name, labels and what the server keeps about an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Unique among objects of its kind in its namespace; cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A prefix: without a name, the server makes one from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// The team it belongs to; empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Set by the server; an object made again under the same name has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Set by the server at each write; given back, it guards against overwriting what others wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Set by the server; grows by one when spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// Set by the server when deletion was asked and finalizers are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Set by the server with `deletionTimestamp`; always 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Names and values to select objects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Names and values that are not for selecting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Objects this one ends with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub owner_references: Vec<OwnerReference>,
    /// Who must clean up before the object is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub finalizers: Vec<String>,
    /// Who set which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub managed_fields: Vec<Value>,
    /// Not used; accepted because old clients send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_link: Option<String>,
}

impl ObjectMeta {
    /// The name, empty before the server has made one.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The namespace, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The uid, empty before the server has made one.
    pub fn uid(&self) -> &str {
        self.uid.as_deref().unwrap_or_default()
    }

    /// The spec's generation, 0 before the server has counted.
    pub fn generation(&self) -> i64 {
        self.generation.unwrap_or_default()
    }

    /// Deletion was asked for.
    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Whether this finalizer is still there.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|present| present == finalizer)
    }
}

/// An object that this one ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// Uid of the owner.
    pub uid: String,
    /// It is the owner that controls this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// A foreground deletion of the owner waits for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// The name of an object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(extend("format" = "name"))]
    pub name: String,
}

/// The name of an object, maybe in another namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct NamespacedRef {
    /// Namespace of the object; without one, that of the object that refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "namespace"))]
    pub namespace: Option<String>,
    /// Name of the object.
    #[schemars(extend("format" = "name"))]
    pub name: String,
}

/// Schema of the name of a namespace, or `*` for all.
pub(crate) struct NamespaceOrStar;

impl JsonSchema for NamespaceOrStar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamespaceOrStar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "namespace-or-star"})
    }
}
