//! What others see: OpenAPI, discovery, refusals, tables.

use serde_json::{Value, json};

use torch_remote_api::{
    discovery::{AGGREGATED, Discovery, self_reviews, services},
    field::FieldError,
    kinds,
    openapi::{documents, index},
    rbac::{Action, Target},
    status::{Reason, Status},
    table::{Include, table},
};

use crate::{
    golden,
    support::{self, kind, said, said_on_update},
};

#[test]
fn openapi_documents_are_as_reviewed() {
    let documents = documents();
    let paths: Vec<&str> = documents.iter().map(|document| document.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "api/v1",
            "apis/apiextensions.k8s.io/v1",
            "apis/events.k8s.io/v1",
            "apis/rbac.authorization.k8s.io/v1",
            "apis/torchremote.dev/v1alpha1",
        ]
    );
    for document in &documents {
        golden::compare_json(&format!("openapi-{}.json", document.path.replace('/', "-")), &document.body);
    }
    golden::compare_json("openapi-index.json", &index(&documents));
}

#[test]
fn schemas_that_are_not_served_yet_are_as_reviewed() {
    for kind in kinds().iter().filter(|kind| !kind.served) {
        golden::compare_json(&format!("schema-{}.json", kind.plural), &kind.schema);
    }
}

/// Who applies part of an object shares its lists item by item only where the schema says how items are told apart.
#[test]
fn lists_are_merged_as_reviewed() {
    fn list(schema: &Value, path: &str, lines: &mut String) {
        if schema["type"] == "array" {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
            let how = match schema["x-kubernetes-list-type"].as_str().unwrap_or("atomic") {
                "map" => format!("by {}", keys.join(", ")),
                "set" => "by value".to_owned(),
                _ => "as a whole".to_owned(),
            };
            lines.push_str(&format!("{path}: {how}\n"));
            list(&schema["items"], &format!("{path}[]"), lines);
        }
        if schema["x-kubernetes-map-type"] == "atomic" {
            lines.push_str(&format!("{path}: as a whole\n"));
        }
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            list(child, &format!("{path}.{name}"), lines);
        }
    }
    let mut lines = String::new();
    for kind in kinds() {
        list(&kind.schema["properties"]["spec"], &format!("{} spec", kind.plural), &mut lines);
        list(&kind.schema["properties"]["status"], &format!("{} status", kind.plural), &mut lines);
    }
    list(&kinds()[0].schema["properties"]["metadata"], "metadata", &mut lines);
    golden::compare("lists.txt", &lines);
}

#[test]
fn discovery_is_as_reviewed() {
    let discovery = Discovery::new(self_reviews().into_iter().chain([services()]));
    let versions = AGGREGATED.map(|(_, version)| {
        json!({"version": version, "/api": discovery.aggregated_core(version), "/apis": discovery.aggregated_groups(version)})
    });
    golden::compare_json("discovery-aggregated.json", &versions[0]);
    assert_eq!(versions[1]["/apis"]["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(versions[1]["/apis"]["items"], versions[0]["/apis"]["items"]);
    let legacy = json!({
        "/api": discovery.api_versions(),
        "/apis": discovery.group_list(),
        "/api/v1": discovery.resource_list("", "v1"),
        "/apis/torchremote.dev": discovery.group("torchremote.dev"),
        "/apis/authorization.k8s.io/v1": discovery.resource_list("authorization.k8s.io", "v1"),
        "/apis/rbac.authorization.k8s.io/v1": discovery.resource_list("rbac.authorization.k8s.io", "v1"),
        "/apis/torchremote.dev/v1alpha1": discovery.resource_list("torchremote.dev", "v1alpha1"),
        "/apis/none": discovery.group("none"),
        "/apis/none/v1": discovery.resource_list("none", "v1"),
    });
    golden::compare_json("discovery-legacy.json", &legacy);
}

#[test]
fn each_refusal_has_the_text_of_kubernetes() {
    let machine = kind("remotemachines");
    let namespace = torch_remote_api::by_plural("", "namespaces").unwrap();
    let wrong = FieldError::required("spec.provider", "");
    let owner = |name: &str| format!("{name:?}");
    let all = [
        Status::not_found(machine, "x"),
        Status::not_found(namespace, "x"),
        Status::no_such_path(),
        Status::already_exists(machine, "x"),
        Status::modified(machine, "x"),
        Status::other_uid(machine, "x", "a", "b"),
        Status::invalid(machine, "x", std::slice::from_ref(&wrong)),
        Status::invalid(machine, "x", &[wrong, FieldError::forbidden("spec.y", "not now")]),
        Status::invalid(machine, "x", &[FieldError::no_resource_version()]),
        Status::bad_request("the name of the object (a) does not match the name on the URL (b)"),
        Status::strict(machine, &["spec.x".to_owned()], &["spec.y".to_owned()]),
        Status::field_not_selectable(machine, "", "spec.x=1", "spec.x"),
        Status::field_not_selectable(namespace, "a=b", "spec.x=1", "spec.x"),
        Status::unauthorized(),
        Status::not_allowed(machine, "x", "me", "get", "remotemachines", Some("team")),
        Status::not_allowed(machine, "", "me", "list", "remotemachines", None),
        Status::denied("me", &Action::on("get", ("torchremote.dev", "deviceleases"), "team", "x"), ""),
        Status::denied(
            "me",
            &Action::on("create", ("", "namespaces"), "", ""),
            "RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found",
        ),
        Status::denied("me", &Action { verb: "get", target: Target::Path("/metrics") }, ""),
        Status::namespace_terminating(machine, "x", "team"),
        Status::method_not_allowed(machine, "watch"),
        Status::method_not_allowed_here(),
        Status::not_acceptable(&["application/json"]),
        Status::unsupported_media_type(&torch_remote_api::status::PATCH_TYPES),
        Status::too_old(3, 7),
        Status::continue_expired(),
        Status::timeout("request did not complete within the allotted timeout", 1),
        Status::too_new(9, 5),
        Status::too_large(3_145_728),
        Status::too_many_requests(2),
        Status::internal("the database cannot be reached: is Postgres running?"),
        Status::unavailable("the control plane is starting", 1),
        Status::apply_conflict(&[(owner("bob"), ".spec.x".to_owned())]),
        Status::apply_conflict(&[
            (owner("amy"), ".spec.z".to_owned()),
            (owner("bob"), ".spec.x".to_owned()),
            (owner("bob"), ".spec.y".to_owned()),
        ]),
        Status::deleted(machine, "x", "11111111-2222-4333-8444-555555555555"),
    ];
    for reason in Reason::ALL {
        let example = all.iter().find(|status| status.reason == Some(reason));
        assert_eq!(example.map(Status::http_code), Some(reason.code()), "{reason:?} has no example here");
    }
    golden::compare_json("status.json", &serde_json::to_value(all.as_slice()).unwrap());
}

/// What is changed in a good object, and so wrong with it.
fn wrong_objects() -> Vec<(&'static str, Value)> {
    let long = "a".repeat(64);
    vec![
        ("remotemachines", json!({"spec": {"gpu": {"type": "A1000"}}})),
        ("remotemachines", json!({"spec": {"gpu": {"type": "A100"}}})),
        ("remotemachines", json!({"spec": {"gpu": {"type": "h100"}}})),
        ("remotemachines", json!({"spec": {"gpu": {"type": "TPU-v5"}}})),
        ("remotemachines", json!({"spec": {"gpu": {"type": 100}}})),
        ("remotemachines", json!({"spec": {"gpu": {"type": null}}})),
        ("remotemachines", json!({"spec": {"gpu": "H100"}})),
        ("remotemachines", json!({"spec": {"gpu": {"count": 0}}})),
        ("remotemachines", json!({"spec": {"gpu": {"count": 17}}})),
        ("remotemachines", json!({"spec": {"gpu": {"count": 1.5}}})),
        ("remotemachines", json!({"spec": {"gpu": {"count": "two"}}})),
        ("remotemachines", json!({"spec": {"timeout": "soon"}})),
        ("remotemachines", json!({"spec": {"timeout": 3600}})),
        ("remotemachines", json!({"spec": {"timeout": "30m1h"}})),
        ("remotemachines", json!({"spec": {"timeout": "721h"}})),
        ("remotemachines", json!({"spec": {"idleTimeout": "0s"}})),
        ("remotemachines", json!({"spec": {"startupTimeout": "25h"}})),
        ("remotemachines", json!({"spec": {"provider": null}})),
        ("remotemachines", json!({"spec": {"provider": "My Cloud"}})),
        ("remotemachines", json!({"spec": null})),
        ("remotemachines", json!({"spec": []})),
        ("remotemachines", json!({"spec": {"image": {"torch": "2.5.1"}}})),
        ("remotemachines", json!({"spec": {"image": {"torch": "latest", "python": "2.7"}}})),
        ("remotemachines", json!({"spec": {"cpu": "many", "memory": true}})),
        ("remotemachines", json!({"spec": {"maxPricePerHour": "$4"}})),
        ("remotemachines", json!({"spec": {"maxPricePerHour": 4}})),
        ("remotemachines", json!({"spec": {"env": [{"name": "A"}, {"name": "A"}, {"name": "1B"}]}})),
        ("remotemachines", json!({"spec": {"volumes": [{"name": "v", "mountPath": "data"}]}})),
        ("remotemachines", json!({"spec": {"regions": ["us", "us"]}})),
        ("remotemachines", json!({"spec": {"allowedNamespaces": ["*", "team"]}})),
        ("remotemachines", json!({"spec": {"allowedNamespaces": ["Team A"]}})),
        ("remotemachines", json!({"spec": {"fallback": [{"gpu": {}}]}})),
        ("remotemachines", json!({"spec": {"suspend": "yes"}})),
        ("remotemachines", json!({"spec": {"idleTimeOut": "1h", "gpu": {"kind": "H100"}}, "extra": 1})),
        ("remotemachines", json!({"metadata": {"name": null}})),
        ("remotemachines", json!({"metadata": {"name": "My_Machine"}})),
        ("remotemachines", json!({"metadata": {"name": null, "generateName": "Bad_"}})),
        ("remotemachines", json!({"metadata": {"namespace": null}})),
        ("remotemachines", json!({"metadata": {"namespace": "Team"}})),
        ("remotemachines", json!({"metadata": {"labels": {"a b": "c", "long": long, "bad": "x y"}}})),
        ("remotemachines", json!({"metadata": {"labels": {"n": 1}}})),
        ("remotemachines", json!({"metadata": {"annotations": {"big": "x".repeat(262_144)}}})),
        ("remotemachines", json!({"metadata": {"finalizers": ["not a name"]}})),
        (
            "remotemachines",
            json!({"metadata": {"ownerReferences": [{"apiVersion": "", "kind": "K", "name": "n", "uid": "u"}]}}),
        ),
        (
            "remotemachines",
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "K", "name": "n", "uid": "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "controller": true},
                {"apiVersion": "v1", "kind": "K", "name": "m", "uid": "6ba7b810-9dad-41d1-80b4-00c04fd430c9", "controller": true},
            ]}}),
        ),
        ("remotemachines", json!({"metadata": {"creationTimestamp": "yesterday"}})),
        ("providers", json!({"spec": {"type": "modal"}})),
        ("providers", json!({"spec": {"type": "Modal"}})),
        ("providers", json!({"spec": {"type": "Modal", "credentials": {"secretRef": {"name": "modal"}}}})),
        ("providers", json!({"spec": {"credentials": {"secretRef": {"name": "s", "namespace": "n"}}}})),
        ("providers", json!({"spec": {"currency": "euro", "endpoint": "modal.example"}})),
        (
            "providers",
            json!({"spec": {"prices": [{"type": "H100", "perHour": "3.95"}, {"type": "H100", "perHour": "4"}]}}),
        ),
        ("providers", json!({"spec": {"machineTemplate": {"gpus": [], "namespaces": ["*", "a"]}}})),
        ("providers", json!({"metadata": {"namespace": "default"}})),
        ("deviceleases", json!({"spec": {"gpu": null}})),
        ("deviceleases", json!({"spec": {"gpu": [{"type": "H100"}, {"type": "H100"}]}})),
        ("deviceleases", json!({"spec": {"gpu": {"type": "H100"}}})),
        ("deviceleases", json!({"spec": {"machineRef": {"name": "m"}, "poolRef": {"name": "p"}}})),
        ("deviceleases", json!({"spec": {"mode": "shared"}})),
        ("deviceleases", json!({"spec": {"mode": "Shared", "gpu": [{"type": "H100", "count": 2}]}})),
        ("deviceleases", json!({"spec": {"gpuMemory": "8Gi"}})),
        ("deviceleases", json!({"spec": {"priority": 1001}})),
        ("machinepools", json!({"spec": {"replicas": {"min": 3, "max": 2}, "warm": 4}})),
        (
            "machinepools",
            json!({"spec": {"template": {"metadata": {"labels": {"a b": "c"}, "annotations": {"": "x"}}}}}),
        ),
        ("gpuquotas", json!({"spec": {"budget": {"window": "Month"}}})),
        ("gpuquotas", json!({"spec": {"budget": {"window": "Year", "amount": "1", "gpuHours": "1"}}})),
        ("gpuquotas", json!({"spec": {"budget": {"window": "Month", "amount": "1", "gpuHours": "1"}}})),
        ("roles", json!({"rules": [{"verbs": []}]})),
        ("roles", json!({"rules": [{"verbs": ["get"]}]})),
        ("roles", json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]})),
        (
            "clusterroles",
            json!({"rules": [{"verbs": ["get"], "resources": ["events"], "nonResourceURLs": ["/metrics"]}]}),
        ),
        ("clusterroles", json!({"rules": [{"resources": "events"}]})),
        ("clusterroles", json!({"aggregationRule": {}})),
        ("clusterroles", json!({"metadata": {"name": "a/b"}})),
        (
            "clusterroles",
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "", "operator": "Like"}]}]}}),
        ),
        ("rolebindings", json!({"roleRef": {"apiGroup": "other", "kind": "User", "name": ""}})),
        ("rolebindings", json!({"roleRef": null})),
        (
            "rolebindings",
            json!({"subjects": [{"kind": "User", "name": ""}, {"kind": "Robot", "name": "r"}, {"kind": "ServiceAccount", "apiGroup": "x", "name": "A b"}]}),
        ),
        ("clusterrolebindings", json!({"subjects": [{"kind": "ServiceAccount", "name": "bot"}]})),
        ("clusterrolebindings", json!({"roleRef": {"kind": "Role"}})),
        ("namespaces", json!({"metadata": {"name": "team.a"}})),
        ("namespaces", json!({"spec": {"finalizers": ["mine"]}})),
        ("events", json!({"involvedObject": {"namespace": "other"}})),
        ("events", json!({"involvedObject": null})),
    ]
}

#[test]
fn each_bad_object_is_refused_with_a_text_that_helps() {
    let mut text = String::new();
    for (plural, change) in wrong_objects() {
        let said = said(plural, &change);
        assert_ne!(said, "ok", "{plural} {change}");
        let mut change = change.to_string();
        change.truncate(200);
        text.push_str(&format!("{plural} {change}\n    {said}\n"));
    }
    golden::compare("validation.txt", &text);
}

#[test]
fn each_forbidden_change_is_refused_with_a_text_that_helps() {
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c"]}});
    let held = json!({"status": {"holder": "amy"}});
    let changes = [
        ("deviceleases", json!({}), json!({"spec": {"gpu": [{"type": "T4"}]}})),
        ("deviceleases", json!({}), json!({"spec": {"mode": "Shared", "gpuMemory": "8Gi"}})),
        (
            "deviceleases",
            json!({}),
            json!({"spec": {"machineRef": {"name": "m"}, "waitTimeout": "1m", "reconnectWindow": "1m"}}),
        ),
        ("deviceleases", json!({}), json!({"spec": {"resumable": true}})),
        ("deviceleases", held.clone(), json!({"status": {"holder": "bob"}})),
        ("deviceleases", held, json!({"status": {"holder": null}})),
        ("providers", json!({}), json!({"spec": {"type": "Static"}})),
        ("rolebindings", json!({}), json!({"roleRef": {"name": "user"}})),
        ("remotemachines", deleting, json!({"metadata": {"finalizers": ["a.b/c", "a.b/d"]}})),
    ];
    let mut text = String::new();
    for (plural, before, change) in changes {
        let said = said_on_update(plural, &before, &change);
        assert_ne!(said, "ok", "{plural} {change}");
        text.push_str(&format!("{plural} {before} -> {change}\n    {said}\n"));
    }
    golden::compare("changes.txt", &text);
    let allowed = json!({"spec": {"duration": "2h", "idleTimeout": "5m", "priority": 3}});
    assert_eq!(said_on_update("deviceleases", &json!({}), &allowed), "ok");
    let first = json!({"status": {"holder": "amy"}});
    assert_eq!(said_on_update("deviceleases", &json!({}), &first), "ok", "the server sets the holder once");
    assert_eq!(said_on_update("remotemachines", &json!({}), &json!({"spec": {"gpu": {"type": "H100"}}})), "ok");
}

#[test]
fn tables_show_what_matters() {
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    let mut text = String::new();
    for kind in kinds() {
        let object = kind.shown(&support::full(kind.plural)).into_owned();
        let definitions: Vec<String> = kind.columns.iter().map(|column| column.name.to_uppercase()).collect();
        text.push_str(&format!("{}\n", kind.resource()));
        for (index, (header, cell)) in definitions.iter().zip(kind.row(&object, now)).enumerate() {
            let wide = if kind.columns[index].priority > 0 { " (wide)" } else { "" };
            text.push_str(&format!("    {header}{wide} = {cell}\n"));
        }
        assert!(kind.row(&json!({"metadata": {}}), now).len() == kind.columns.len(), "an empty object has a row too");
    }
    golden::compare("rows.txt", &text);
}

#[test]
fn a_table_is_one_kubectl_reads() {
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    let machine = support::full("remotemachines");
    let whole =
        table(kind("remotemachines"), [&machine], json!({"resourceVersion": "7"}), Include::Metadata, true, now);
    golden::compare_json("table.json", &whole);
    let next = table(kind("remotemachines"), [&machine], json!({}), Include::Object, false, now);
    assert_eq!(next["columnDefinitions"], Value::Null);
    assert_eq!(next["rows"][0]["object"], machine);
    let bare = table(kind("remotemachines"), [&machine], json!({}), Include::None, false, now);
    assert_eq!(bare["rows"][0]["object"], Value::Null);
}
