//! Namespaces, Secrets and ServiceAccounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::{DecodeError, Message};
use serde_json::{Map, Value, json};

use super::metadata::{ObjectMeta, metadata};
use super::present;

/// Namespace, of which only metadata can be sent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Secret {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(super) data: std::collections::BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    pub(super) of_type: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) string_data: std::collections::BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    pub(super) immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceAccount {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    pub(super) secrets: Vec<Reference>,
    #[prost(message, repeated, tag = "3")]
    pub(super) pull_secrets: Vec<LocalReference>,
    #[prost(bool, optional, tag = "4")]
    pub(super) automount: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reference {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) uid: String,
    #[prost(string, tag = "5")]
    pub(super) api_version: String,
    #[prost(string, tag = "6")]
    pub(super) resource_version: String,
    #[prost(string, tag = "7")]
    pub(super) field_path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LocalReference {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// A Namespace in JSON.
pub(super) fn namespace(raw: &[u8]) -> Result<Value, DecodeError> {
    Ok(json!({"metadata": metadata(Named::decode(raw)?.metadata)}))
}

/// A ServiceAccount in JSON.
pub(super) fn account(raw: &[u8]) -> Result<Value, DecodeError> {
    let account = ServiceAccount::decode(raw)?;
    let mut object = json!({"metadata": metadata(account.metadata)});
    let reference = |of: Reference| {
        present([
            ("kind", of.kind),
            ("namespace", of.namespace),
            ("name", of.name),
            ("uid", of.uid),
            ("apiVersion", of.api_version),
            ("resourceVersion", of.resource_version),
            ("fieldPath", of.field_path),
        ])
    };
    if !account.secrets.is_empty() {
        object["secrets"] = account.secrets.into_iter().map(reference).collect();
    }
    if !account.pull_secrets.is_empty() {
        object["imagePullSecrets"] = account.pull_secrets.into_iter().map(|of| present([("name", of.name)])).collect();
    }
    if let Some(automount) = account.automount {
        object["automountServiceAccountToken"] = automount.into();
    }
    Ok(object)
}

/// A Secret in JSON.
pub(super) fn secret(raw: &[u8]) -> Result<Value, DecodeError> {
    let secret = Secret::decode(raw)?;
    let mut object = present([("type", secret.of_type)]);
    object["metadata"] = metadata(secret.metadata);
    if !secret.data.is_empty() {
        let data = secret.data.into_iter().map(|(name, value)| (name, Value::String(STANDARD.encode(value))));
        object["data"] = data.collect::<Map<_, _>>().into();
    }
    if !secret.string_data.is_empty() {
        object["stringData"] = json!(secret.string_data);
    }
    if let Some(immutable) = secret.immutable {
        object["immutable"] = immutable.into();
    }
    Ok(object)
}
