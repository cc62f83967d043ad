use super::core::{LocalReference, Named, Reference, Secret, ServiceAccount};
use super::deletion::{DeleteOptions, Preconditions};
use super::metadata::{ObjectMeta, Owner};
use super::review::{BoundObject, TokenRequest, TokenRequestSpec};
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
