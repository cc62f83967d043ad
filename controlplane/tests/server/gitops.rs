//! What lies in git and is applied again and again: one document of each kind, as a person writes it, with everything left out that has a default.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;
use torch_remote_api::{Kind, by_kind, kinds};

use crate::harness::Api;
use crate::kubectl::with_each_kubectl;

/// Who applies nothing but a name owns nothing, and as in Kubernetes that is noted the next time: so each says more than that.
const EVERY_KIND: &str = "---
{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {a: b}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: team}, stringData: {a: b}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: team, labels: {a: b}}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reads, namespace: team}, rules: [{apiGroups: [torchremote.dev], resources: ['*'], verbs: [get]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}
subjects: [{kind: User, name: ana}, {kind: Group, name: vision}, {kind: ServiceAccount, name: robot, namespace: team}]
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: of-team}, rules: [{nonResourceURLs: [/metrics], verbs: [get]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: of-team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: of-team}
subjects: [{kind: User, name: bob}]
---
{apiVersion: torchremote.dev/v1alpha1, kind: Provider, metadata: {name: shelf}, spec: {type: Local}}
---
{apiVersion: torchremote.dev/v1alpha1, kind: RemoteMachine, metadata: {name: box, namespace: team}, spec: {provider: shelf, gpu: {type: T4}}}
---
apiVersion: torchremote.dev/v1alpha1
kind: MachinePool
metadata: {name: pool, namespace: team}
spec: {replicas: {max: 2}, template: {spec: {provider: shelf, gpu: {type: T4}}}}
---
{apiVersion: torchremote.dev/v1alpha1, kind: DeviceLease, metadata: {name: lease, namespace: team}, spec: {gpu: [{type: T4}]}}
---
{apiVersion: torchremote.dev/v1alpha1, kind: GPUQuota, metadata: {name: quota, namespace: team}, spec: {gpus: [{type: T4, nominal: 2}]}}
";

fn documents() -> Vec<(&'static Kind, Value)> {
    let documents = EVERY_KIND.split("---\n").skip(1).map(|text| serde_yaml::from_str::<Value>(text).unwrap());
    documents
        .map(|document| {
            let group = document["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
            (by_kind(group, document["kind"].as_str().unwrap()).unwrap(), document)
        })
        .collect()
}

/// Where the object lies.
fn place(kind: &Kind, document: &Value) -> String {
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let name = document["metadata"]["name"].as_str().unwrap();
    let space =
        document["metadata"]["namespace"].as_str().map_or(String::new(), |space| format!("/namespaces/{space}"));
    format!("{root}/{}{space}/{}/{name}", document["apiVersion"].as_str().unwrap(), kind.plural)
}

#[test]
fn there_is_a_document_of_every_kind_that_can_be_written() {
    let written = documents().iter().map(|(kind, _)| (kind.group, kind.kind)).collect::<BTreeSet<_>>();
    // Events are told, not applied.
    let all = kinds().iter().filter(|kind| !kind.read_only && kind.kind != "Event");
    assert_eq!(written, all.map(|kind| (kind.group, kind.kind)).collect());
}

#[tokio::test]
async fn every_kind_can_be_applied_twice_and_put_back_as_it_was_read_for_one_write() {
    let api = Api::start().await;
    for (kind, document) in documents() {
        let uri = place(kind, &document);
        let apply = async || {
            let headers = [("content-type", "application/apply-patch+yaml")];
            let (code, _, object) =
                api.ask("PATCH", &format!("{uri}?fieldManager=git"), &headers, document.to_string()).await;
            (code, object)
        };
        let (code, object) = apply().await;
        assert_eq!(code, StatusCode::CREATED, "{object}");
        assert_eq!(apply().await, (StatusCode::OK, object.clone()));
        assert_eq!(api.get(&uri).await, (StatusCode::OK, object.clone()));
        assert_eq!(api.send("PUT", &uri, object.clone()).await, (StatusCode::OK, object));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_apply_nothing_differs_defaults_included() {
    with_each_kubectl(async |_, kubectl| {
        let file = kubectl.file("team.yaml", EVERY_KIND);
        for (apply, diff) in [
            (&["apply", "-f", &file][..], &["diff", "-f", &file][..]),
            (
                &["apply", "--server-side", "--force-conflicts", "-f", &file],
                &["diff", "--server-side", "--force-conflicts", "-f", &file],
            ),
        ] {
            let said = kubectl.ok(apply).await;
            assert_eq!(said.lines().count(), documents().len(), "{said}");
            assert_eq!(kubectl.ok(diff).await, "");
            assert_eq!(kubectl.ok(&["diff", "-f", &file]).await, "");
            let versions = ["get", "-f", &file, "-o", "jsonpath={.items[*].metadata.resourceVersion}"];
            let before = kubectl.ok(&versions).await;
            kubectl.ok(apply).await;
            assert_eq!(kubectl.ok(&versions).await, before, "what is applied again is not written");
        }
    })
    .await;
}
