//! Objects that tests write, and where they lie.

use crate::harness::Api;
use http::StatusCode;
use serde_json::{Value, json};

pub const MACHINES: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/remotemachines";
pub const LEASES: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/deviceleases";
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub fn machine(name: &str) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": name},
        "spec": {"provider": "local", "gpu": {"type": "CPU", "count": 1}},
    })
}

pub fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": {"name": name},
        "spec": {"gpu": [{"type": "CPU"}]},
    })
}

pub async fn created(api: &Api, uri: &str, body: Value) -> Value {
    let (code, body) = api.send("POST", uri, body).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    body
}

/// A pool of CPUs with so many machines at least and at most.
pub fn pool(name: &str, min: u32, max: u32) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "MachinePool", "metadata": {"name": name},
        "spec": {"template": {"spec": {"provider": "local", "gpu": {"type": "CPU"}}}, "replicas": {"min": min, "max": max}},
    })
}
