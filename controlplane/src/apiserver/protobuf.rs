//! Reads the few request bodies that kubectl sends as protobuf: an envelope of Kubernetes' own around typed kinds of core, authorization and
//! authentication, and roles. Answers are always JSON. Own kinds never come this way.

mod rbac;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: std::collections::BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: std::collections::BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    owners: Vec<Owner>,
    #[prost(string, repeated, tag = "14")]
    finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Owner {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
    #[prost(string, tag = "5")]
    api_version: String,
    #[prost(bool, optional, tag = "6")]
    controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    blocks: Option<bool>,
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
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    data: std::collections::BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    of_type: String,
    #[prost(btree_map = "string, string", tag = "4")]
    string_data: std::collections::BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceAccount {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    secrets: Vec<Reference>,
    #[prost(message, repeated, tag = "3")]
    pull_secrets: Vec<LocalReference>,
    #[prost(bool, optional, tag = "4")]
    automount: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
    #[prost(string, tag = "5")]
    api_version: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(string, tag = "7")]
    field_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct LocalReference {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct TokenRequest {
    #[prost(message, optional, tag = "2")]
    spec: Option<TokenRequestSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenRequestSpec {
    #[prost(string, repeated, tag = "1")]
    audiences: Vec<String>,
    #[prost(message, optional, tag = "3")]
    bound: Option<BoundObject>,
    #[prost(int64, optional, tag = "4")]
    seconds: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct BoundObject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    api_version: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct TokenReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<TokenReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenReviewSpec {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, repeated, tag = "2")]
    audiences: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteOptions {
    #[prost(message, optional, tag = "2")]
    preconditions: Option<Preconditions>,
    #[prost(string, tag = "4")]
    propagation_policy: String,
    #[prost(string, repeated, tag = "5")]
    dry_run: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Preconditions {
    #[prost(string, optional, tag = "1")]
    uid: Option<String>,
    #[prost(string, optional, tag = "2")]
    resource_version: Option<String>,
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
        "Secret" => secret(Secret::decode(raw).map_err(Error::Broken)?),
        "ServiceAccount" => account(ServiceAccount::decode(raw).map_err(Error::Broken)?),
        "TokenRequest" => token_request(TokenRequest::decode(raw).map_err(Error::Broken)?),
        "TokenReview" => {
            let spec = TokenReview::decode(raw).map_err(Error::Broken)?.spec.unwrap_or_default();
            json!({"spec": {"token": spec.token, "audiences": spec.audiences}})
        }
        "DeleteOptions" => {
            let options = DeleteOptions::decode(raw).map_err(Error::Broken)?;
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
            object
        }
        other => return Err(Error::Kind(other.to_owned())),
    };
    object["apiVersion"] = meta.api_version.into();
    object["kind"] = meta.kind.into();
    Ok(object)
}

fn metadata(meta: Option<ObjectMeta>) -> Value {
    let meta = meta.unwrap_or_default();
    let mut metadata = present([
        ("name", meta.name),
        ("generateName", meta.generate_name),
        ("namespace", meta.namespace),
        ("uid", meta.uid),
        ("resourceVersion", meta.resource_version),
    ]);
    if !meta.owners.is_empty() {
        metadata["ownerReferences"] = meta.owners.into_iter().map(owner).collect();
    }
    if !meta.finalizers.is_empty() {
        metadata["finalizers"] = json!(meta.finalizers);
    }
    for (field, map) in [("labels", meta.labels), ("annotations", meta.annotations)] {
        if !map.is_empty() {
            metadata[field] = json!(map);
        }
    }
    metadata
}

fn owner(owner: Owner) -> Value {
    let mut object =
        present([("apiVersion", owner.api_version), ("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)]);
    for (field, given) in [("controller", owner.controller), ("blockOwnerDeletion", owner.blocks)] {
        if let Some(given) = given {
            object[field] = given.into();
        }
    }
    object
}

fn account(account: ServiceAccount) -> Value {
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
    object
}

fn secret(secret: Secret) -> Value {
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
    object
}

fn token_request(request: TokenRequest) -> Value {
    let spec = request.spec.unwrap_or_default();
    let mut fields = json!({"audiences": spec.audiences});
    if let Some(seconds) = spec.seconds {
        fields["expirationSeconds"] = seconds.into();
    }
    if let Some(bound) = spec.bound {
        fields["boundObjectRef"] = present([
            ("kind", bound.kind),
            ("apiVersion", bound.api_version),
            ("name", bound.name),
            ("uid", bound.uid),
        ]);
    }
    json!({"spec": fields})
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
    fn a_secret_and_a_token_request_say_in_protobuf_what_they_say_in_json() {
        let secret = Secret {
            metadata: Some(ObjectMeta { name: "db".into(), ..ObjectMeta::default() }),
            data: [("password".to_owned(), b"hunter2".to_vec())].into(),
            of_type: "Opaque".into(),
            ..Secret::default()
        };
        assert_eq!(
            decode(&envelope("v1", "Secret", secret.encode_to_vec())).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}})
        );
        let bound = BoundObject { kind: "Secret".into(), api_version: "v1".into(), name: "db".into(), uid: "".into() };
        let spec = TokenRequestSpec { audiences: vec!["a".into()], bound: Some(bound), seconds: Some(600) };
        let request = TokenRequest { spec: Some(spec) };
        assert_eq!(
            decode(&envelope("authentication.k8s.io/v1", "TokenRequest", request.encode_to_vec())).unwrap()["spec"],
            json!({"audiences": ["a"], "expirationSeconds": 600, "boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "db"}})
        );
    }

    #[test]
    fn what_a_client_replaces_keeps_its_version_owners_and_references() {
        let owner = Owner {
            kind: "Namespace".into(),
            name: "vision".into(),
            uid: "7".into(),
            api_version: "v1".into(),
            controller: Some(true),
            blocks: None,
        };
        let metadata = ObjectMeta {
            name: "robot".into(),
            uid: "8".into(),
            resource_version: "9".into(),
            owners: vec![owner],
            finalizers: vec!["example.org/x".into()],
            ..ObjectMeta::default()
        };
        let account = ServiceAccount {
            metadata: Some(metadata),
            secrets: vec![Reference { name: "a".into(), ..Reference::default() }],
            pull_secrets: vec![LocalReference { name: "b".into() }],
            automount: Some(false),
        };
        assert_eq!(
            decode(&envelope("v1", "ServiceAccount", account.encode_to_vec())).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {
                    "name": "robot", "uid": "8", "resourceVersion": "9", "finalizers": ["example.org/x"],
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "vision", "uid": "7", "controller": true}],
                },
                "secrets": [{"name": "a"}], "imagePullSecrets": [{"name": "b"}], "automountServiceAccountToken": false,
            })
        );
        let require = Preconditions { uid: Some("8".into()), resource_version: Some("9".into()) };
        let options = DeleteOptions {
            preconditions: Some(require),
            propagation_policy: "Orphan".into(),
            dry_run: vec!["All".into()],
        };
        let options = decode(&envelope("v1", "DeleteOptions", options.encode_to_vec())).unwrap();
        assert_eq!(options["preconditions"], json!({"uid": "8", "resourceVersion": "9"}));
        assert_eq!((&options["propagationPolicy"], &options["dryRun"]), (&json!("Orphan"), &json!(["All"])));
    }

    #[test]
    fn other_kinds_and_broken_bodies_are_refused() {
        assert!(matches!(decode(b"{}"), Err(Error::Envelope)));
        assert!(matches!(decode(b"k8s\0\xff\xff"), Err(Error::Broken(_))));
        assert!(matches!(decode(&envelope("v1", "Pod", Vec::new())), Err(Error::Kind(_))));
    }
}
