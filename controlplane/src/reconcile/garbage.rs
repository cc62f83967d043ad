//! The collector: what an object's end means for those that it owns, as Kubernetes' own garbage collector has it.
//!
//! An object with owners goes when the last of them is gone; one whose owner is being deleted in the foreground goes before it; one that is orphaned loses
//! its reference. An owner is the object of that uid at that place: one made again under the same name is another. Any replica may do it: each step is
//! compare-and-set, and a step that another took first is no step.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use torch_remote_api::by_kind;
use uuid::Uuid;

use crate::store::event::Recorder;
use crate::store::write::{FOREGROUND, ORPHAN};
use crate::store::{Error, Key, Object, Objects, Preconditions, Propagation, Resource, owner};

/// Between two looks at everything, in case a change was not heard of.
const SCAN: Duration = Duration::from_secs(30);
/// Until the next look after one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes within so long of the first are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// Collects until told to stop.
pub async fn collect(objects: Objects, recorder: Recorder, stop: CancellationToken) {
    let collector = Collector { objects, recorder };
    let mut changes = collector.objects.changes();
    let mut scans = tokio::time::interval(SCAN);
    loop {
        let mut changed = BTreeSet::new();
        let mut missed = false;
        tokio::select! {
            () = stop.cancelled() => return,
            _ = scans.tick() => missed = true,
            change = changes.recv() => match change {
                Ok(key) => drop(changed.insert(key)),
                Err(RecvError::Lagged(_)) => missed = true,
                Err(RecvError::Closed) => return,
            },
        }
        // Many changes, one look.
        tokio::time::sleep(GATHER).await;
        loop {
            match changes.try_recv() {
                Ok(key) => drop(changed.insert(key)),
                Err(TryRecvError::Lagged(_)) => missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        changed.retain(|key| key.resource != Resource::EVENTS);
        if let Err(error) = collector.look(changed.into_iter().collect(), missed).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not collect what has lost its owners; looking again soon"
            );
            scans.reset_at(Instant::now() + AGAIN);
        }
    }
}

struct Collector {
    objects: Objects,
    recorder: Recorder,
}

/// What a reference to an owner comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is there, or nobody can say.
    Solid,
    /// It is being deleted, after those it owns.
    Waiting,
    /// It is no more.
    Gone,
}

impl Collector {
    async fn look(&self, changed: Vec<Key>, everything: bool) -> Result<(), Error> {
        let pool = self.objects.pool();
        let found = match everything {
            true => owner::all_concerned(pool).await?,
            false if changed.is_empty() => return Ok(()),
            false => {
                let (mut concerned, gone) = owner::concerned(pool, &changed).await?;
                if gone {
                    concerned.extend(owner::left_behind(pool).await?);
                }
                concerned
            }
        };
        let mut work: VecDeque<Key> = found.into();
        let mut seen = BTreeSet::new();
        while let Some(key) = work.pop_front() {
            if !seen.insert(key.clone()) {
                continue;
            }
            match self.judge(&key, !everything).await {
                Ok(more) => work.extend(more),
                // Another came first; the change it made is looked at in its turn.
                Err(Error::NotFound { .. } | Error::Conflict { .. } | Error::OtherUid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does what is to be done about one object; returns others to look at now.
    async fn judge(&self, key: &Key, fresh: bool) -> Result<Vec<Key>, Error> {
        let Some(object) = self.objects.get(key).await? else { return Ok(vec![]) };
        if object.deleting() {
            return match object.finalizers() {
                held if held.contains(&ORPHAN) => self.orphan(key, &object).await.map(|()| vec![]),
                held if held.contains(&FOREGROUND) => self.foreground(key, &object).await,
                _ => Ok(vec![]),
            };
        }
        let owners = references(&object);
        let mut standings = Vec::with_capacity(owners.len());
        for owner in &owners {
            standings.push(self.standing(&object, owner, fresh).await?);
        }
        if standings.is_empty() || standings.iter().all(|standing| *standing == Owner::Solid) {
            return Ok(vec![]);
        }
        let mut write = self.objects.begin().await?;
        let unchanged = Preconditions::unchanged(&object);
        if standings.contains(&Owner::Solid) {
            let kept = owners.into_iter().zip(standings).filter(|(_, standing)| *standing == Owner::Solid);
            let mut body = object.body.clone();
            body["metadata"]["ownerReferences"] = kept.map(|(owner, _)| owner).collect();
            write.update(key, body, &unchanged).await?;
        } else {
            let waited_for = standings.contains(&Owner::Waiting) && !self.dependents(&object).await?.is_empty();
            let propagation = if waited_for { Propagation::Foreground } else { Propagation::Unsaid };
            write.delete_as(key, &unchanged, propagation).await?;
            tracing::debug!(%key, "collected: its owners are gone or wait for it");
        }
        write.commit().await.map(|_| vec![])
    }

    async fn standing(&self, object: &Object, reference: &Value, fresh: bool) -> Result<Owner, Error> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        // Of a kind that is not known here nobody can say whether it is there.
        let Some(resource) = by_kind(group, text("kind")).and_then(|kind| Resource::find(kind.group, kind.plural))
        else {
            return Ok(Owner::Solid);
        };
        if resource.namespaced() && object.namespace().is_empty() {
            if fresh {
                self.invalid(object, reference);
            }
            return Ok(Owner::Solid);
        }
        let namespace = if resource.namespaced() { object.namespace() } else { "" };
        let there = self.objects.get(&Key::new(resource, namespace, text("name"))).await?;
        if let Some(owner) = there.filter(|owner| owner.uid() == text("uid")) {
            let waits = owner.deleting() && owner.finalizers().contains(&FOREGROUND);
            return Ok(if waits { Owner::Waiting } else { Owner::Solid });
        }
        if let Ok(uid) = Uuid::parse_str(text("uid"))
            && let Some((elsewhere, _)) = owner::by_uid(self.objects.pool(), uid).await?
            && elsewhere.namespace != namespace
        {
            self.invalid(object, reference);
        }
        Ok(Owner::Gone)
    }

    fn invalid(&self, object: &Object, reference: &Value) {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let namespace = object.namespace();
        let message = format!(
            "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {namespace:?}",
            text("apiVersion"),
            text("kind"),
            text("name"),
            text("uid")
        );
        self.recorder.warning(object, "OwnerRefInvalidNamespace", message);
    }

    /// Those that end with the object: not those that only say so from another namespace.
    async fn dependents(&self, object: &Object) -> Result<Vec<(Key, Object)>, Error> {
        let Ok(uid) = Uuid::parse_str(object.uid()) else { return Ok(vec![]) };
        let mut connection = self.objects.pool().acquire().await.map_err(Error::database("connect"))?;
        let mut found = owner::dependents(&mut connection, uid).await?;
        found.retain(|(key, _)| object.namespace().is_empty() || key.namespace == object.namespace());
        Ok(found)
    }

    /// An object that goes after its dependents: all are looked at; with none left that blocks it, it may go.
    async fn foreground(&self, key: &Key, object: &Object) -> Result<Vec<Key>, Error> {
        let blocks = |dependent: &Object| {
            references(dependent)
                .iter()
                .any(|owner| owner["uid"] == object.uid() && owner["blockOwnerDeletion"] == true)
        };
        let dependents = self.dependents(object).await?;
        if !dependents.iter().any(|(_, dependent)| blocks(dependent)) {
            let mut write = self.objects.begin().await?;
            write.remove_finalizer(key, FOREGROUND).await?;
            write.commit().await?;
        }
        Ok(dependents.into_iter().map(|(key, _)| key).collect())
    }

    /// An object that goes without its dependents: they forget it, then it may go.
    async fn orphan(&self, key: &Key, object: &Object) -> Result<(), Error> {
        for (key, _) in self.dependents(object).await? {
            let mut write = self.objects.begin().await?;
            let Some(dependent) = write.lock(&key).await? else { continue };
            let mut body = dependent.body.clone();
            let mut owners = references(&dependent);
            owners.retain(|owner| owner["uid"] != object.uid());
            match body["metadata"].as_object_mut() {
                Some(metadata) if owners.is_empty() => drop(metadata.remove("ownerReferences")),
                Some(metadata) => drop(metadata.insert("ownerReferences".to_owned(), owners.into())),
                None => {}
            }
            write.update(&key, body, &Preconditions::default()).await?;
            write.commit().await?;
        }
        let mut write = self.objects.begin().await?;
        write.remove_finalizer(key, ORPHAN).await?;
        write.commit().await.map(drop)
    }
}

fn references(object: &Object) -> Vec<Value> {
    object.body["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default()
}
