//! Reads the few request bodies that kubectl sends as protobuf: an envelope of Kubernetes' own around typed kinds of core, authorization and
//! authentication, and roles. Answers are always JSON. Own kinds never come this way.

mod rbac;

use prost::Message;
use serde_json::{Map, Value, json};

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

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    generate_name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: std::collections::BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Namespace, of which only metadata can be sent.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<AccessReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessReviewSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    non_resource: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<RulesReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReviewSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteOptions {
    #[prost(string, tag = "4")]
    propagation_policy: String,
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
    let mut object = match meta.kind.as_str() {
        "Namespace" => json!({"metadata": metadata(Named::decode(raw).map_err(Error::Broken)?.metadata)}),
        "SelfSubjectAccessReview" => access_review(AccessReview::decode(raw).map_err(Error::Broken)?),
        "SelfSubjectRulesReview" => {
            let review = RulesReview::decode(raw).map_err(Error::Broken)?;
            json!({"spec": {"namespace": review.spec.unwrap_or_default().namespace}})
        }
        "SelfSubjectReview" => json!({}),
        "Role" | "ClusterRole" => rbac::role(raw).map_err(Error::Broken)?,
        "RoleBinding" | "ClusterRoleBinding" => rbac::binding(raw).map_err(Error::Broken)?,
        "DeleteOptions" => {
            let options = DeleteOptions::decode(raw).map_err(Error::Broken)?;
            present([("propagationPolicy", options.propagation_policy)])
        }
        other => return Err(Error::Kind(other.to_owned())),
    };
    object["apiVersion"] = meta.api_version.into();
    object["kind"] = meta.kind.into();
    Ok(object)
}

fn metadata(meta: Option<ObjectMeta>) -> Value {
    let meta = meta.unwrap_or_default();
    let mut metadata =
        present([("name", meta.name), ("generateName", meta.generate_name), ("namespace", meta.namespace)]);
    for (field, map) in [("labels", meta.labels), ("annotations", meta.annotations)] {
        if !map.is_empty() {
            metadata[field] = json!(map);
        }
    }
    metadata
}

fn access_review(review: AccessReview) -> Value {
    let spec = review.spec.unwrap_or_default();
    let mut fields = Map::new();
    if let Some(resource) = spec.resource {
        let attributes = present([
            ("namespace", resource.namespace),
            ("verb", resource.verb),
            ("group", resource.group),
            ("version", resource.version),
            ("resource", resource.resource),
            ("subresource", resource.subresource),
            ("name", resource.name),
        ]);
        fields.insert("resourceAttributes".to_owned(), attributes);
    }
    if let Some(other) = spec.non_resource {
        fields.insert("nonResourceAttributes".to_owned(), present([("path", other.path), ("verb", other.verb)]));
    }
    json!({"spec": fields})
}

fn present<const N: usize>(fields: [(&str, String); N]) -> Value {
    let there = fields.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(there.map(|(name, text)| (name.to_owned(), Value::String(text))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
        let type_meta = Some(TypeMeta { api_version: api_version.into(), kind: kind.into() });
        [MAGIC, &Unknown { type_meta, raw }.encode_to_vec()].concat()
    }

    #[test]
    fn a_namespace_says_in_protobuf_what_it_says_in_json() {
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let named = Named { metadata: Some(ObjectMeta { name: "vision".into(), labels, ..ObjectMeta::default() }) };
        let body = envelope("v1", "Namespace", named.encode_to_vec());
        assert_eq!(
            decode(&body).unwrap(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vision", "labels": {"a": "b"}}})
        );
    }

    #[test]
    fn other_kinds_and_broken_bodies_are_refused() {
        assert!(matches!(decode(b"{}"), Err(Error::Envelope)));
        assert!(matches!(decode(b"k8s\0\xff\xff"), Err(Error::Broken(_))));
        assert!(matches!(decode(&envelope("v1", "Secret", Vec::new())), Err(Error::Kind(_))));
    }
}
