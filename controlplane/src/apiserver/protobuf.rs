//! Reads the few request bodies that kubectl sends as protobuf: an envelope of Kubernetes' own around typed kinds of core, authorization and
//! authentication, and roles. Answers are always JSON. Own kinds never come this way.

mod core;
mod deletion;
mod metadata;
mod rbac;
mod review;

use prost::Message;
use serde_json::{Value, json};

const MAGIC: &[u8] = b"k8s\0";

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as Kubernetes' envelope does.
    #[error("the body is not in Kubernetes' protobuf envelope")]
    Envelope,
    /// A message in it is broken.
    #[error("the protobuf body is broken: {0}")]
    Broken(prost::DecodeError),
    /// Nobody sends this kind as protobuf to this server.
    #[error("{0} is not taken as protobuf; send JSON")]
    Kind(String),
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// The body as the JSON that would have said the same.
///
/// # Errors
/// [`Error`].
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Envelope)?;
    let envelope = Unknown::decode(envelope).map_err(Error::Broken)?;
    let meta = envelope.type_meta.unwrap_or_default();
    let raw = &envelope.raw[..];
    let object = match meta.kind.as_str() {
        "Namespace" => core::namespace(raw),
        "Secret" => core::secret(raw),
        "ServiceAccount" => core::account(raw),
        "Role" | "ClusterRole" => rbac::role(raw),
        "RoleBinding" | "ClusterRoleBinding" => rbac::binding(raw),
        "SelfSubjectAccessReview" => review::access(raw),
        "SelfSubjectRulesReview" => review::rules(raw),
        "SelfSubjectReview" => Ok(json!({})),
        "TokenRequest" => review::token_request(raw),
        "TokenReview" => review::token(raw),
        "DeleteOptions" => deletion::options(raw),
        other => return Err(Error::Kind(other.to_owned())),
    };
    let mut object = object.map_err(Error::Broken)?;
    object["apiVersion"] = meta.api_version.into();
    object["kind"] = meta.kind.into();
    Ok(object)
}

fn present<const N: usize>(fields: [(&str, String); N]) -> Value {
    let there = fields.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(there.map(|(name, text)| (name.to_owned(), Value::String(text))).collect())
}

#[cfg(test)]
mod tests;
