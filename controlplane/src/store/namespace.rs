//! Namespaces: those every installation has, and the end of one that was deleted.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::object::seconds;
use super::{Error, Key, Object, Objects, Preconditions, Resource};

/// Between two looks at every namespace, in case a change was not heard of.
const SCAN: Duration = Duration::from_secs(30);
/// Until the next look after one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes within so long of the first are looked at together.
const GATHER: Duration = Duration::from_millis(20);
/// Between two looks at one namespace, however much changes in it.
const PACE: Duration = Duration::from_secs(1);

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
    scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut agenda = Agenda::default();
    loop {
        let (mut changed, mut missed) = (BTreeSet::new(), false);
        let next = agenda.next();
        tokio::select! {
            () = stop.cancelled() => return,
            _ = scans.tick() => missed = true,
            change = changes.recv() => match change {
                Ok(key) => changed.extend(concerned(key)),
                Err(RecvError::Lagged(_)) => missed = true,
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
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
        if let Err(error) = finish_some(&objects, &mut agenda, |name| missed || changed.contains(name)).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not end a deleted namespace; looking again soon"
            );
            scans.reset_at(Instant::now() + AGAIN);
        }
    }
}

/// Which deleted namespaces are to be looked at, and which were just now.
#[derive(Debug, Default)]
struct Agenda {
    asked: BTreeSet<String>,
    looked: HashMap<String, Instant>,
}

impl Agenda {
    /// Those whose turn it is; the others' comes.
    fn take(&mut self, now: Instant) -> BTreeSet<String> {
        self.looked.retain(|_, at| *at + PACE > now);
        let (due, later) =
            std::mem::take(&mut self.asked).into_iter().partition(|name| !self.looked.contains_key(name));
        self.asked = later;
        self.looked.extend(BTreeSet::iter(&due).map(|name| (name.clone(), now)));
        due
    }

    fn next(&self) -> Option<Instant> {
        self.asked.iter().filter_map(|name| self.looked.get(name)).min().map(|at| *at + PACE)
    }
}

/// The namespace that a change may have something to do with.
fn concerned(key: Key) -> Option<String> {
    match key.resource {
        Resource::NAMESPACES => Some(key.name),
        resource => resource.namespaced().then_some(key.namespace),
    }
}

async fn finish_some(objects: &Objects, agenda: &mut Agenda, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
    let deleting = sqlx::query_scalar!("select name from object where grp = '' and plural = 'namespaces' and deleting");
    let deleting = deleting.fetch_all(objects.pool()).await.map_err(Error::database("look for deleted namespaces"))?;
    agenda.asked.extend(deleting.into_iter().filter(|name| wanted(name)));
    let mut failed = None;
    for name in agenda.take(Instant::now()) {
        if let Err(error) = finish(objects, &name).await {
            tracing::warn!(error = &error as &dyn std::error::Error, name, "a deleted namespace is not at its end");
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
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

/// What is left in a namespace, by kind and by finalizer; and why something could not even be asked to go.
#[derive(Debug, Default)]
struct Left {
    kinds: BTreeMap<String, i64>,
    finalizers: BTreeMap<String, i64>,
    failed: Option<Error>,
}

/// Asks for the deletion of all that is in a deleted namespace, and says what is left; with nothing left removes it.
///
/// # Errors
/// The database failed; what else could be done is done.
pub async fn finish(objects: &Objects, name: &str) -> Result<(), Error> {
    let mut left = Left::default();
    for stage in stages() {
        for resource in &stage {
            empty(objects, name, *resource, &mut left).await?;
        }
        count(objects, name, &stage, &mut left).await?;
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
    write.commit().await?;
    left.failed.map_or(Ok(()), Err)
}

async fn empty(objects: &Objects, name: &str, resource: Resource, left: &mut Left) -> Result<(), Error> {
    // In one look with the namespace: another of that name may have come, and what is in it is not to go.
    let standing = sqlx::query!(
        "select name, uid from object o where grp = $1 and plural = $2 and ns = $3 and not deleting
         and exists (select from object n where n.grp = '' and n.plural = 'namespaces' and n.ns = '' and n.name = $3 and n.deleting)",
        resource.group,
        resource.plural,
        name
    );
    let standing =
        standing.fetch_all(objects.pool()).await.map_err(Error::database("look at what is in a namespace"))?;
    for row in standing {
        let key = Key::new(resource, name, row.name);
        let same = Preconditions { version: None, uid: Some(row.uid.to_string()) };
        match delete(objects, &key, &same).await {
            Ok(()) | Err(Error::NotFound { .. } | Error::OtherUid { .. }) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, %key, "could not delete what is in a deleted namespace");
                left.failed.get_or_insert(error);
            }
        }
    }
    Ok(())
}

async fn delete(objects: &Objects, key: &Key, require: &Preconditions) -> Result<(), Error> {
    let mut write = objects.begin().await?;
    write.delete(key, require).await?;
    write.commit().await.map(drop)
}

async fn count(objects: &Objects, name: &str, stage: &[Resource], left: &mut Left) -> Result<(), Error> {
    let (groups, plurals): (Vec<String>, Vec<String>) =
        stage.iter().map(|resource| (resource.group.to_owned(), resource.plural.to_owned())).unzip();
    let kinds = sqlx::query!(
        r#"select grp, plural, count(*) as "count!" from object join unnest($2::text[], $3::text[]) k (grp, plural) using (grp, plural)
           where ns = $1 group by grp, plural"#,
        name,
        &groups,
        &plurals
    );
    let kinds = kinds.fetch_all(objects.pool()).await.map_err(Error::database("count what is in a namespace"))?;
    if kinds.is_empty() {
        return Ok(());
    }
    // As Kubernetes says it, with the dot also of the group without a name.
    left.kinds.extend(kinds.into_iter().map(|row| (format!("{}.{}", row.plural, row.grp), row.count)));
    let finalizers = sqlx::query!(
        r#"select f.name as "name!", count(*) as "count!" from object join unnest($2::text[], $3::text[]) k (grp, plural) using (grp, plural),
           jsonb_array_elements_text(case jsonb_typeof(body #> '{metadata,finalizers}') when 'array' then body #> '{metadata,finalizers}' else '[]' end)
           as f (name) where ns = $1 group by f.name"#,
        name,
        &groups,
        &plurals
    );
    let finalizers =
        finalizers.fetch_all(objects.pool()).await.map_err(Error::database("count what is in a namespace"))?;
    left.finalizers.extend(finalizers.into_iter().map(|row| (row.name, row.count)));
    Ok(())
}

/// The conditions by which Kubernetes says what keeps a namespace.
fn report(status: &mut Value, left: &Left, now: DateTime<Utc>) {
    let listed = |map: &BTreeMap<String, i64>, words: &str| {
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
        match &left.failed {
            Some(error) => {
                let message = format!("Failed to delete all resource types, 1 remaining: {error}");
                ("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message)
            }
            None => fine(
                "NamespaceDeletionContentFailure",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        },
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
