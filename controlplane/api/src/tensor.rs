//! Tensor: one live storage of a lease. Read-only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::Reading;

/// A Tensor: named `<lease>-<storage>`, in its lease's namespace.
pub type Tensor = Reading<TensorStatus>;

/// One live storage of a lease that is older than a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TensorStatus {
    /// Its id within the session.
    pub storage: u64,
    /// Name of the DeviceLease, of the same namespace.
    pub lease: String,
    /// Uid of the lease.
    #[serde(rename = "leaseUID")]
    pub lease_uid: String,
    /// namespace/name of the machine it lives on.
    pub machine: String,
    /// Slot it lives in.
    pub slot: u32,
    /// The operator that made it, or the name given by `keep`.
    pub label: String,
    /// Shape of what the operator made.
    #[serde(default)]
    pub shape: Vec<i64>,
    /// Element type, such as float32.
    pub dtype: String,
    /// Bytes it takes on the device.
    pub bytes: u64,
    /// User who holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}
