//! A fleet of suspended machines, in a hundred namespaces: nothing is made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Api, MACHINES};

/// Namespaces of the fleet.
pub const NAMESPACES: u32 = 100;
const WRITERS: u32 = 8;

/// The path of a machine of the fleet.
pub fn path(number: u32) -> String {
    format!("{}/{}", collection(number), name(number))
}

/// The path of its namespace's machines.
pub fn collection(number: u32) -> String {
    format!("{MACHINES}/namespaces/{}/remotemachines", namespace(number))
}

fn namespace(number: u32) -> String {
    format!("fleet-{}", number % NAMESPACES)
}

fn name(number: u32) -> String {
    format!("box-{number:06}")
}

/// A machine of the fleet.
pub fn machine(number: u32) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine",
        "metadata": {"name": name(number), "namespace": namespace(number), "labels": {"team": namespace(number), "tier": "batch"}},
        "spec": {"provider": "local", "gpu": {"type": "CPU"}, "timeout": "2h", "suspend": true},
    })
}

/// Makes `count` machines, and says how many a second.
pub async fn run(api: &Api, count: u32) -> Value {
    let mut connection = api.connect().await;
    for number in 0..NAMESPACES {
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}});
        // Its answer is no matter: it may be there.
        connection.send(Method::POST, "/api/v1/namespaces", "application/json", space.to_string().into()).await;
    }
    let next = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|_| {
        let (api, next) = (api.clone(), next.clone());
        tokio::spawn(async move {
            let mut connection = api.connect().await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                connection.post(&collection(number), &machine(number)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    json!({"count": count, "seconds": begun.elapsed().as_secs_f64()})
}
