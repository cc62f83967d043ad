//! Namespaces: those every installation has, and the end of one that was deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::object::seconds;
use super::{Error, Key, Object, Objects, Preconditions, Query, Resource};

/// Between two looks at every namespace, in case a change was not heard of.
const SCAN: Duration = Duration::from_secs(30);
/// Until the next look after one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes within so long of the first are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// Label of a namespace that holds its name, so that selectors can choose by it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Sets an entry of a map in metadata. A map that is something else is left to validation.
pub fn put(metadata: &mut Value, map: &str, key: &str, value: Value) {
    if matches!(metadata[map], Value::Null | Value::Object(_)) {
        metadata[map][key] = value;
    }
}

/// A namespace's object, as the server completes it.
pub fn object(name: &str, mut body: Value) -> Value {
    body["apiVersion"] = json!("v1");
    body["kind"] = json!("Namespace");
    body["metadata"]["name"] = json!(name);
    put(&mut body["metadata"], "labels", NAME_LABEL, json!(name));
    body["spec"] = json!({"finalizers": ["kubernetes"]});
    body["status"] = json!({"phase": "Active"});
    body
}

/// Makes namespaces that are not there.
///
/// # Errors
/// The database failed.
pub async fn ensure(objects: &Objects, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let mut write = objects.begin().await?;
        match write.create(Resource::NAMESPACES, object(name, json!({"metadata": {}}))).await {
            Ok(_) => {
                write.commit().await?;
            }
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Empties and then removes namespaces that were deleted, until told to stop. Replicas may all do it.
pub async fn collect(objects: Objects, stop: CancellationToken) {
    let mut changes = objects.changes();
    let mut scans = tokio::time::interval(SCAN);
    loop {
        let (mut changed, mut missed) = (BTreeSet::new(), false);
        tokio::select! {
            () = stop.cancelled() => return,
            _ = scans.tick() => missed = true,
            change = changes.recv() => match change {
                Ok(key) => changed.extend(concerned(key)),
                Err(RecvError::Lagged(_)) => missed = true,
                Err(RecvError::Closed) => return,
            },
        }
        // Many changes, one look.
        tokio::time::sleep(GATHER).await;
        loop {
            match changes.try_recv() {
                Ok(key) => changed.extend(concerned(key)),
                Err(TryRecvError::Lagged(_)) => missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Err(error) = finish_some(&objects, |name| missed || changed.contains(name)).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "not every deleted namespace could be ended; looking again soon"
            );
            scans.reset_at(Instant::now() + AGAIN);
        }
    }
}

/// The namespace that a change may have something to do with.
fn concerned(key: Key) -> Option<String> {
    match key.resource {
        Resource::NAMESPACES => Some(key.name),
        resource => resource.namespaced().then_some(key.namespace),
    }
}

async fn finish_some(objects: &Objects, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
    let deleting = sqlx::query_scalar!("select name from object where grp = '' and plural = 'namespaces' and deleting");
    let deleting = deleting.fetch_all(objects.pool()).await.map_err(Error::database("look for deleted namespaces"))?;
    let mut failed = Ok(());
    for name in deleting.iter().filter(|name| wanted(name)) {
        // One that cannot end does not keep the others.
        if let Err(error) = finish(objects, name).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                namespace = name,
                "could not end a deleted namespace"
            );
            failed = Err(error);
        }
    }
    failed
}

/// What is in a namespace, in the order in which it goes: the next begins when nothing of the one before is left. Leases and machines go together, since
/// either may wait for the other; what they may need on their way out goes after them, and what tells of it last.
fn stages() -> [Vec<Resource>; 3] {
    let first = vec![Resource::LEASES, Resource::POOLS, Resource::MACHINES];
    let last = vec![Resource::EVENTS];
    let between = Resource::ALL.into_iter().filter(|resource| resource.namespaced());
    let between = between.filter(|resource| !first.contains(resource) && !last.contains(resource)).collect();
    [first, between, last]
}

/// What is left in a namespace, by kind and by finalizer.
#[derive(Debug, Default)]
struct Left {
    kinds: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

/// Asks for the deletion of all that is in a deleted namespace, and says what is left; with nothing left removes it.
///
/// # Errors
/// The database failed.
pub async fn finish(objects: &Objects, name: &str) -> Result<(), Error> {
    let mut left = Left::default();
    for stage in stages() {
        for resource in stage {
            empty(objects, name, resource, &mut left).await?;
        }
        if !left.kinds.is_empty() {
            break;
        }
    }
    let namespace = Key::cluster(Resource::NAMESPACES, name);
    let mut write = objects.begin().await?;
    let Some(object) = write.lock(&namespace).await?.filter(Object::deleting) else { return Ok(()) };
    let mut status = object.body["status"].clone();
    report(&mut status, &left, write.now().await?);
    write.update_status(&namespace, status, &Preconditions::default()).await?;
    if left.kinds.is_empty() {
        // Ours was the last word but for finalizers of others in its metadata: with none it is gone.
        let mut body = object.body;
        body["spec"]["finalizers"] = json!([]);
        write.update(&namespace, body, &Preconditions::default()).await?;
    }
    write.commit().await.map(drop)
}

async fn empty(objects: &Objects, name: &str, resource: Resource, left: &mut Left) -> Result<(), Error> {
    let query = Query { namespace: Some(name.to_owned()), to_delete: true, ..Query::all(resource) };
    let list = objects.query(&query).await?;
    for object in list.items {
        let mut held = object.deleting().then(|| object.clone());
        if held.is_none() {
            let mut write = objects.begin().await?;
            match write.delete(&Key::new(resource, name, object.name()), &Preconditions::default()).await {
                Ok(super::Deletion::Marked(object)) => held = Some(object),
                Ok(super::Deletion::Removed(_)) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            write.commit().await?;
        }
        if let Some(held) = held {
            *left.kinds.entry(resource.to_string()).or_default() += 1;
            for finalizer in held.finalizers() {
                *left.finalizers.entry(finalizer.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(())
}

/// The conditions by which Kubernetes says what keeps a namespace.
fn report(status: &mut Value, left: &Left, now: DateTime<Utc>) {
    let listed = |map: &BTreeMap<String, usize>, words: &str| {
        let parts: Vec<String> =
            map.iter().map(|(what, count)| format!("{what} {words} {count} resource instances")).collect();
        parts.join(", ")
    };
    let remaining =
        (!left.kinds.is_empty()).then(|| format!("Some resources are remaining: {}", listed(&left.kinds, "has")));
    let finalizers = (!left.finalizers.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", listed(&left.finalizers, "in")));
    let fine = |kind, reason, message: &str| (kind, "False", reason, message.to_owned());
    let facts = [
        fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        match remaining {
            Some(message) => ("NamespaceContentRemaining", "True", "SomeResourcesRemain", message),
            None => fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
        },
        match finalizers {
            Some(message) => ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message),
            None => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        },
    ];
    let before = status["conditions"].as_array().cloned().unwrap_or_default();
    let conditions = facts.into_iter().map(|(kind, truth, reason, message)| {
        let old = before.iter().find(|old| old["type"] == kind && old["status"] == truth);
        let since = old.map_or_else(|| json!(seconds(now)), |old| old["lastTransitionTime"].clone());
        json!({"type": kind, "status": truth, "reason": reason, "message": message, "lastTransitionTime": since})
    });
    status["conditions"] = conditions.collect();
}
