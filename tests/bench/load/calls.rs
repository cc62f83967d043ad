//! Single calls under a steady load: 50 writes a second, half of them creates and half patches, beside 100 gets and two list pages a second.
//!
//! Each kind of call has its own clock: a call is due when it is due, however long the one before took, and its time counts from then.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Api, Connection};
use crate::fill;
use crate::times::Times;

/// Connections of one kind of call.
const CONNECTIONS: u32 = 4;

#[derive(Debug, Clone, Copy)]
enum Call {
    Get,
    List,
    Create,
    Patch,
}

impl Call {
    /// How often a second.
    fn rate(self) -> u32 {
        match self {
            Self::Get => 100,
            Self::List => 2,
            Self::Create | Self::Patch => 25,
        }
    }

    async fn make(self, connection: &mut Connection, number: u32) {
        // Any of the fleet, not one after the other.
        let other = number.wrapping_mul(7919) % 1000;
        match self {
            Self::Get => drop(connection.get(&fill::path(other)).await),
            Self::List => {
                drop(connection.get("/apis/torchremote.dev/v1alpha1/remotemachines?limit=500").await);
            }
            Self::Create => {
                let number = 1_000_000 + number;
                connection.post(&fill::collection(number), &fill::machine(number)).await;
            }
            Self::Patch => {
                let patch = json!({"metadata": {"annotations": {"bench": number.to_string()}}});
                connection.patch(&fill::path(other), &patch).await;
            }
        }
    }
}

/// How long the calls take. The machines that were made are deleted afterwards.
pub async fn run(api: &Api, time: Duration) -> Value {
    let begin = Instant::now() + Duration::from_millis(500);
    let calls =
        [("get", Call::Get), ("list page of 500", Call::List), ("create", Call::Create), ("patch", Call::Patch)];
    let running: Vec<_> = calls.map(|(name, call)| (name, tokio::spawn(paced(api.clone(), call, begin, time)))).into();
    let mut measured = serde_json::Map::new();
    for (name, running) in running {
        measured.insert(name.to_owned(), running.await.expect("calls").summary());
    }
    let made = Call::Create.rate() * u32::try_from(time.as_secs()).expect("not for ever");
    let mut connection = api.connect().await;
    for number in 1_000_000..1_000_000 + made {
        connection.send(Method::DELETE, &fill::path(number), "application/json", vec![]).await;
    }
    measured.into()
}

async fn paced(api: Api, call: Call, begin: Instant, time: Duration) -> Times {
    let all = call.rate() * u32::try_from(time.as_secs()).expect("not for ever");
    let between = Duration::from_secs(1) / call.rate();
    let each = (0..CONNECTIONS).map(|first| {
        let api = Arc::new(api.clone());
        tokio::spawn(async move {
            let (mut connection, mut times) = (api.connect().await, Times::default());
            for number in (first..all).step_by(CONNECTIONS as usize) {
                let due = begin + between * number;
                tokio::time::sleep_until(due).await;
                call.make(&mut connection, number).await;
                times.add(due.elapsed());
            }
            times
        })
    });
    let mut times = Times::default();
    for some in each.collect::<Vec<_>>() {
        times.append(some.await.expect("calls"));
    }
    times
}
