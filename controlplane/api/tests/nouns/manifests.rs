//! The example manifests, and the defaults they rely on.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};
use torch_remote_api::{by_any_name, by_kind, kinds, machine::RemoteMachine};

use crate::support::{full, judged, kind};

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

#[test]
fn every_example_is_valid_and_commented() {
    let folder =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).join("../../manifests/examples");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2);
    for file in files {
        let yaml = fs::read_to_string(&file).unwrap();
        assert!(yaml.contains('#'), "{}: an example teaches by comments", file.display());
        for document in documents(&yaml) {
            let (group, _) = document["apiVersion"].as_str().unwrap().split_once('/').unwrap_or_default();
            let kind = by_kind(group, document["kind"].as_str().unwrap()).unwrap();
            assert_eq!(judged(kind, document, None), "ok", "{}", file.display());
        }
    }
}

#[test]
fn the_machines_of_the_examples_become_types() {
    let examples = [
        include_str!("../../../../manifests/examples/local-cpu.yaml"),
        include_str!("../../../../manifests/examples/two-machines.yaml"),
    ];
    for mut document in examples.into_iter().flat_map(documents) {
        kind("remotemachines").default(&mut document);
        let machine: RemoteMachine = serde_json::from_value(document).unwrap();
        let shared = machine.metadata.name() == "local-shared";
        assert_eq!(machine.spec.provider, "local");
        assert_eq!(machine.metadata.namespace(), "default");
        assert_eq!(machine.spec.retry.limit, if shared { 3 } else { 5 });
        assert_eq!(machine.spec.slots(), if shared { 2 } else { 1 });
        assert_eq!(machine.spec.allows("default", "team"), shared);
    }
}

#[test]
fn defaults_are_those_of_the_design() {
    let mut machine = json!({"spec": {"provider": "local", "gpu": {"type": "CPU"}, "timeout": null}});
    kind("remotemachines").default(&mut machine);
    let spec = json!({
        "provider": "local", "gpu": {"type": "CPU", "count": 1}, "timeout": "8h", "idleTimeout": "15m", "startupTimeout": "10m",
        "slotsPerGPU": 1, "suspend": false, "retry": {"limit": 5},
    });
    assert_eq!(machine["spec"], spec);
    let mut lease = json!({"spec": {"gpu": [{"type": "CPU"}]}, "status": {}});
    kind("deviceleases").default(&mut lease);
    let spec = json!({
        "gpu": [{"type": "CPU", "count": 1}], "mode": "Exclusive", "duration": "8h", "idleTimeout": "1h", "waitTimeout": "1h",
        "reconnectWindow": "30m", "priority": 0, "resumable": false,
    });
    assert_eq!(lease, json!({"spec": spec, "status": {}}));
}

#[test]
fn every_name_of_a_kind_finds_it_and_no_name_means_two() {
    let mut names: Vec<String> = Vec::new();
    // Events have two notations under the same names: the older one is meant.
    for kind in kinds().iter().filter(|kind| kind.group != "events.k8s.io") {
        let own = [kind.plural, kind.singular, kind.kind].into_iter().chain(kind.short_names.iter().copied());
        for name in own {
            assert_eq!(by_any_name(name).unwrap().kind, kind.kind, "{name}");
        }
        names.extend(
            [kind.plural, kind.singular].into_iter().chain(kind.short_names.iter().copied()).map(str::to_owned),
        );
    }
    assert_eq!(by_any_name("machines.torchremote.dev").unwrap().kind, "RemoteMachine");
    assert!(by_any_name("pods").is_none());
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn numbers_beyond_what_a_float_holds_are_still_integers() {
    let largest = i64::MAX;
    let mut device = full("devices");
    device["status"]["memoryBytes"] = json!(largest);
    assert_eq!(judged(kind("devices"), device.clone(), None), "ok");
    kind("devices").default(&mut device);
    assert_eq!(device["status"]["memoryBytes"], json!(largest));
}
