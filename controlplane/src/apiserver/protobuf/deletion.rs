//! What a client says about a deletion.

use prost::{DecodeError, Message};
use serde_json::{Value, json};

use super::present;

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteOptions {
    #[prost(message, optional, tag = "2")]
    pub(super) preconditions: Option<Preconditions>,
    #[prost(string, tag = "4")]
    pub(super) propagation_policy: String,
    #[prost(string, repeated, tag = "5")]
    pub(super) dry_run: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Preconditions {
    #[prost(string, optional, tag = "1")]
    pub(super) uid: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) resource_version: Option<String>,
}

/// DeleteOptions in JSON.
pub(super) fn options(raw: &[u8]) -> Result<Value, DecodeError> {
    let options = DeleteOptions::decode(raw)?;
    let mut object = present([("propagationPolicy", options.propagation_policy)]);
    if let Some(require) = options.preconditions {
        object["preconditions"] = present([
            ("uid", require.uid.unwrap_or_default()),
            ("resourceVersion", require.resource_version.unwrap_or_default()),
        ]);
    }
    if !options.dry_run.is_empty() {
        object["dryRun"] = json!(options.dry_run);
    }
    Ok(object)
}
