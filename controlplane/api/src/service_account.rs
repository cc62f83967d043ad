//! ServiceAccount (core/v1): who programs are. Its tokens are asked for one by one, and end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::ObjectReference,
    object::{LocalRef, ObjectMeta},
};

/// A ServiceAccount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// `v1`.
    #[serde(default)]
    #[schemars(skip)]
    pub api_version: String,
    /// `ServiceAccount`.
    #[serde(default)]
    #[schemars(skip)]
    pub kind: String,
    /// Name, labels and what the server keeps about it.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// Secrets that go with it; kept for other programs, not used here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ObjectReference>,
    /// Kept for other programs, not used here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Kept for other programs, not used here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
}

/// Group of all service accounts.
pub const GROUP: &str = "system:serviceaccounts";

/// User name of an account.
pub fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Groups of the accounts of a namespace.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![GROUP.to_owned(), format!("{GROUP}:{namespace}")]
}
