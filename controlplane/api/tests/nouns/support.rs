//! Objects to test with, and what the server would say to them.

use serde_json::{Value, json};
use torch_remote_api::{Kind, by_plural, field::aggregate, kinds};

/// The kind with that plural.
pub fn kind(plural: &str) -> &'static Kind {
    let group = kinds().iter().find(|kind| kind.plural == plural).unwrap().group;
    by_plural(group, plural).unwrap()
}

/// A good object of a kind, with little more than what is required.
pub fn good(plural: &str) -> Value {
    let kind = kind(plural);
    let rest = match plural {
        "namespaces" => json!({}),
        "events" => json!({"involvedObject": {"namespace": "default"}}),
        "secrets" => json!({"type": "Opaque", "data": {"password": "aHVudGVyMg=="}}),
        "serviceaccounts" => json!({}),
        "providers" => json!({"spec": {"type": "Local"}}),
        "remotemachines" => json!({"spec": {"provider": "local", "gpu": {"type": "CPU"}}}),
        "machinepools" => {
            json!({"spec": {"template": {"spec": {"provider": "local", "gpu": {"type": "CPU"}}}, "replicas": {"max": 2}}})
        }
        "deviceleases" => json!({"spec": {"gpu": [{"type": "CPU"}]}}),
        "gpuquotas" | "customresourcedefinitions" => json!({"spec": {}}),
        "devices" => json!({"status": {"machine": "m", "machineUID": "u", "index": 0, "gpu": "CPU", "phase": "Free"}}),
        "tensors" => {
            let status = json!({
                "storage": 7, "lease": "l", "leaseUID": "u", "machine": "default/m", "slot": 0, "label": "mm", "dtype": "float32", "bytes": 4096,
            });
            json!({"status": status})
        }
        "roles" | "clusterroles" => {
            json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["events"]}]})
        }
        "rolebindings" | "clusterrolebindings" => {
            let subject = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "amy"});
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "viewer"}, "subjects": [subject]})
        }
        "auditevents" => json!({"user": "amy", "verb": "get", "decision": "Deny", "code": 403}),
        other => panic!("no good {other}"),
    };
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x"}});
    if kind.namespaced {
        object["metadata"]["namespace"] = "default".into();
    }
    merge(&mut object, &rest);
    object
}

/// An object with what a table shows.
pub fn full(plural: &str) -> Value {
    let change = match plural {
        "events" => json!({
            "involvedObject": {"kind": "RemoteMachine", "name": "m"}, "type": "Normal", "reason": "Ready", "message": "slots can be leased",
            "source": {"component": "machine-reconciler"}, "count": 3, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T23:59:00Z",
        }),
        "namespaces" => json!({"status": {"phase": "Active"}}),
        "secrets" => json!({"data": {"username": "YW15"}}),
        "serviceaccounts" => json!({"secrets": [{"name": "keys"}]}),
        "providers" => json!({"status": {"phase": "Ready", "machines": 2, "perHour": "7.90", "conditions": [ready()]}}),
        "remotemachines" => json!({"spec": {"gpu": {"type": "H100", "count": 2}, "slotsPerGPU": 1}, "status": {
            "phase": "Ready", "conditions": [ready()], "expiresAt": "2026-01-02T07:59:00Z", "keptAliveBy": ["default/a", "team/b"],
            "region": "us-east", "accrued": "1.50", "providerID": "sb-1", "agentVersion": "0.1.0",
        }}),
        "machinepools" => json!({"spec": {"replicas": {"min": 1}}, "status": {"ready": 1, "warm": 0, "leased": 1}}),
        "deviceleases" => {
            json!({"spec": {"gpu": [{"type": "A100-80GB", "count": 2}, {"type": "H100"}], "mode": "Exclusive", "priority": 0}, "status": {
                "holder": "amy", "phase": "Bound", "devices": [{"machine": "default/m"}], "expiresAt": "2026-01-02T00:10:05Z", "notice": "ends soon",
                "queue": {"position": 2, "reason": "Busy"},
            }})
        }
        "gpuquotas" => json!({"spec": {"cohort": "lab", "hold": "None"}, "status": {"remaining": "120.00"}}),
        "devices" => json!({"status": {
            "phase": "Leased", "holder": "amy", "lease": "default/a", "memoryBytes": 85_899_345_920_u64, "memoryUsedBytes": 1_610_612_736,
        }}),
        "tensors" => json!({"status": {"shape": [32, 32], "holder": "amy"}}),
        "roles" | "clusterroles" => json!({}),
        "rolebindings" | "clusterrolebindings" => json!({"subjects": [
            {"kind": "User", "name": "amy"}, {"kind": "User", "name": "bob"}, {"kind": "Group", "name": "vision"},
            {"kind": "ServiceAccount", "name": "bot", "namespace": "team"},
        ]}),
        "auditevents" => json!({
            "object": {"group": "torchremote.dev", "resource": "deviceleases", "namespace": "team", "name": "a", "subresource": "token"},
            "impersonatedBy": "root", "from": "10.0.0.7", "traceID": "4bf92f3577b34da6a3ce929d0e0e4736", "reason": "not the holder",
        }),
        "customresourcedefinitions" => json!({}),
        other => panic!("no full {other}"),
    };
    let mut object = good(plural);
    object["metadata"]["creationTimestamp"] = "2026-01-01T21:00:00Z".into();
    merge(&mut object, &change);
    object
}

fn ready() -> Value {
    json!({"type": "Ready", "status": "True", "reason": "SlotsWarm", "message": "all slots are warm", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// Puts a change into an object, field by field; null stays null.
pub fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (field, value) in change {
                merge(object.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

/// What the server says to a good object with that change: `ok`, unknown fields, or what is invalid.
pub fn said(plural: &str, change: &Value) -> String {
    let mut object = good(plural);
    merge(&mut object, change);
    judged(kind(plural), object, None)
}

/// What the server says when a good object with `before` in it is updated with `change`.
pub fn said_on_update(plural: &str, before: &Value, change: &Value) -> String {
    let kind = kind(plural);
    let mut old = good(plural);
    merge(&mut old, before);
    kind.default(&mut old);
    let mut new = old.clone();
    merge(&mut new, change);
    judged(kind, new, Some(&old))
}

/// What the server says to an object: defaults, unknown fields, validation.
pub fn judged(kind: &Kind, mut object: Value, old: Option<&Value>) -> String {
    kind.default(&mut object);
    let unknown = kind.prune(&mut object);
    if !unknown.is_empty() {
        return format!("unknown: {}", unknown.join(", "));
    }
    match kind.validate(&object, old) {
        errors if errors.is_empty() => "ok".to_owned(),
        errors => aggregate(&errors),
    }
}
