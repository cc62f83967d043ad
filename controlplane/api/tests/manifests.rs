//! Manifests through defaulting, pruning and validation, as the server does it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde::Deserialize;
use serde_json::{Value, json};
use torch_remote_api::{by_kind, by_plural, field::aggregate, machine::RemoteMachine};

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// What the server says to the object when it is created: unknown fields, or the text of what is invalid; `ok` if it is stored.
fn created(object: &Value) -> String {
    let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
    let kind = by_kind(group, object["kind"].as_str().unwrap()).unwrap();
    let mut object = object.clone();
    kind.default(&mut object);
    let unknown = kind.prune(&mut object);
    if !unknown.is_empty() {
        return format!("unknown: {}", unknown.join(", "));
    }
    match kind.validate(&object, None) {
        errors if errors.is_empty() => "ok".to_owned(),
        errors => aggregate(&errors),
    }
}

fn machine(spec: Value) -> Value {
    json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": "m", "namespace": "default"}, "spec": spec})
}

#[test]
fn the_examples_are_valid_and_become_types() {
    for yaml in [
        include_str!("../../../manifests/examples/local-cpu.yaml"),
        include_str!("../../../manifests/examples/two-machines.yaml"),
    ] {
        for mut document in documents(yaml) {
            assert_eq!(created(&document), "ok", "{document}");
            by_plural("torchremote.dev", "remotemachines").unwrap().default(&mut document);
            let machine: RemoteMachine = serde_json::from_value(document).unwrap();
            assert_eq!(machine.spec.provider, "local");
            assert_eq!(machine.metadata.namespace(), "default");
            assert_eq!(machine.spec.retry.limit, if machine.metadata.name() == "local-shared" { 3 } else { 5 });
        }
    }
}

#[test]
fn defaults_are_those_of_the_design() {
    let mut object = machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "timeout": null}));
    by_plural("torchremote.dev", "remotemachines").unwrap().default(&mut object);
    assert_eq!(
        object["spec"],
        json!({
            "provider": "local", "gpu": {"type": "CPU", "count": 1}, "timeout": "8h", "idleTimeout": "15m", "startupTimeout": "10m",
            "slotsPerGPU": 1, "suspend": false, "retry": {"limit": 5},
        })
    );
    let mut lease = json!({"spec": {"gpu": [{"type": "CPU"}]}, "status": {}});
    by_plural("torchremote.dev", "deviceleases").unwrap().default(&mut lease);
    assert_eq!(
        lease,
        json!({"spec": {
            "gpu": [{"type": "CPU", "count": 1}], "mode": "Exclusive", "duration": "8h", "idleTimeout": "1h", "waitTimeout": "1h",
            "reconnectWindow": "30m", "priority": 0, "resumable": false,
        }, "status": {}})
    );
}
