//! Clients that follow all machines through whatever happens to the replicas, and what their notes must say.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};

use crate::replica::Replica;

/// One change as a watcher saw it, or as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub version: i64,
    pub change: &'static str,
    pub name: String,
}

/// Ends what every watcher waits for.
pub const MARKER: &str = "zz-marker";

/// A client of a replica as kube-rs makes it.
pub async fn client(replica: &Replica) -> Client {
    let kubeconfig = Kubeconfig::read_from(&replica.kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).unwrap()
}

/// All machines.
pub fn machines(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("torchremote.dev", "v1alpha1", "RemoteMachine");
    Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind))
}

/// The version of a list as of now.
pub async fn now(client: &Client) -> i64 {
    let list = machines(client).list(&ListParams::default()).await.unwrap();
    list.metadata.resource_version.unwrap().parse().unwrap()
}

/// Notes each change after `from` until the marker is made, from the replicas in turn: when a watch breaks, the next one goes on from the last version seen.
/// What it must never be told is an error; without news for `patience` it gives up.
pub async fn follow(clients: Vec<Client>, mut turn: usize, from: i64, patience: Duration) -> (Vec<Line>, Vec<String>) {
    let (mut seen, mut wrong, mut at) = (Vec::new(), Vec::new(), from);
    let mut quiet_since = tokio::time::Instant::now();
    while quiet_since.elapsed() < patience {
        let api = machines(&clients[turn % clients.len()]);
        turn += 1;
        let opened = api.watch(&WatchParams::default(), &at.to_string()).await;
        let Ok(stream) = opened else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut stream = std::pin::pin!(stream.into_stream());
        while let Ok(Some(Ok(event))) = tokio::time::timeout(patience, stream.next()).await {
            let (change, object) = match event {
                WatchEvent::Added(object) => ("A", object),
                WatchEvent::Modified(object) => ("M", object),
                WatchEvent::Deleted(object) => ("D", object),
                WatchEvent::Bookmark(bookmark) => {
                    at = bookmark.metadata.resource_version.parse().unwrap();
                    continue;
                }
                WatchEvent::Error(status) => {
                    wrong.push(format!("after version {at} the watch said {status:?}"));
                    return (seen, wrong);
                }
            };
            quiet_since = tokio::time::Instant::now();
            let version: i64 = object.metadata.resource_version.as_deref().unwrap().parse().unwrap();
            let name = object.metadata.name.unwrap();
            if version <= at {
                wrong.push(format!("version {version} of {name} came after {at}"));
            }
            at = at.max(version);
            let marker = name == MARKER && change == "A";
            seen.push(Line { version, change, name });
            if marker {
                return (seen, wrong);
            }
        }
    }
    wrong.push(format!("nothing new after version {at} for {} s", patience.as_secs()));
    (seen, wrong)
}

/// What the log has of machines after `from`, up to the marker's making.
pub async fn log(pool: &sqlx::PgPool, from: i64) -> Vec<Line> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "select rv, kind, name from object_log where plural = 'remotemachines' and rv > $1 and rv <= (select min(rv) from object_log where name = $2) order by rv",
    )
    .bind(from)
    .bind(MARKER)
    .fetch_all(pool)
    .await
    .unwrap();
    let change = |kind: &str| ["A", "M", "D"].into_iter().find(|known| *known == kind).unwrap();
    rows.into_iter().map(|(version, kind, name)| Line { version, change: change(&kind), name }).collect()
}

/// Every way in which notes differ from the log.
pub fn differences(log: &[Line], notes: &[(Vec<Line>, Vec<String>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (watcher, (seen, said)) in notes.iter().enumerate() {
        wrong.extend(said.iter().map(|said| format!("watcher {watcher}: {said}")));
        wrong.extend(
            log.iter().filter(|line| !seen.contains(line)).map(|line| format!("watcher {watcher} missed {line:?}")),
        );
        wrong.extend(
            seen.iter().filter(|line| !log.contains(line)).map(|line| format!("watcher {watcher} made up {line:?}")),
        );
        if seen.len() != log.len() {
            wrong.push(format!("watcher {watcher} saw {} changes of {}", seen.len(), log.len()));
        }
    }
    wrong
}
