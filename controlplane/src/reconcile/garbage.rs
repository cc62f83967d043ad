//! The collector: what an object's end means for those that it owns, as Kubernetes' own garbage collector has it.
//!
//! An object with owners goes when the last of them is gone; one whose owner is being deleted in the foreground goes before it; one that is orphaned loses
//! its reference. An owner is the object of that uid at that place: one made again under the same name is another. Any replica may do it: each step is
//! compare-and-set, and a step that another took first is no step.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use torch_remote_api::by_kind;
use uuid::Uuid;

use crate::store::event::Recorder;
use crate::store::owner::{self, Owned};
use crate::store::write::{FOREGROUND, ORPHAN};
use crate::store::{Error, Key, Object, Objects, Preconditions, Propagation, Resource};

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
    scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        let (mut seen, mut failed) = (BTreeSet::new(), None);
        while let Some(key) = work.pop_front() {
            if !seen.insert(key.clone()) {
                continue;
            }
            match self.judge(&key, !everything).await {
                Ok(more) => work.extend(more),
                // Another came first; the change it made is looked at in its turn.
                Err(Error::NotFound { .. } | Error::Conflict { .. } | Error::OtherUid { .. }) => {}
                Err(error) => fail(&mut failed, &key, error),
            }
        }
        failed.map_or(Ok(()), Err)
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
            let (any, circle) = Owned::by(&object, self.objects.pool())?.any().await?;
            let waited_for = standings.contains(&Owner::Waiting) && any;
            if waited_for && circle {
                // In a circle each would wait for the next.
                let freed = owners.into_iter().map(unblocked);
                let mut body = object.body.clone();
                body["metadata"]["ownerReferences"] = freed.collect();
                write.update(key, body, &unchanged).await?;
            }
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

    /// An object that goes after its dependents: those that stand are looked at; with none left that blocks it, it may go.
    async fn foreground(&self, key: &Key, object: &Object) -> Result<Vec<Key>, Error> {
        let owned = Owned::by(object, self.objects.pool())?;
        if !owned.block().await? {
            self.let_go(key, object, FOREGROUND).await?;
        }
        owned.keys(false).await
    }

    /// An object that goes without its dependents: they forget it, then it may go.
    async fn orphan(&self, key: &Key, object: &Object) -> Result<(), Error> {
        let (owned, mut failed) = (Owned::by(object, self.objects.pool())?, None);
        for dependent in owned.keys(true).await? {
            if let Err(error) = self.forget(&dependent, object).await {
                fail(&mut failed, &dependent, error);
            }
        }
        match failed {
            Some(error) => Err(error),
            // One that came meanwhile, or of a kind that only a newer release knows, is not forgotten.
            None if owned.any().await?.0 => Ok(()),
            None => self.let_go(key, object, ORPHAN).await,
        }
    }

    async fn forget(&self, key: &Key, owner: &Object) -> Result<(), Error> {
        let mut write = self.objects.begin().await?;
        let Some(dependent) = write.lock(key).await? else { return Ok(()) };
        let mut body = dependent.body.clone();
        let mut owners = references(&dependent);
        owners.retain(|reference| reference["uid"] != owner.uid());
        match body["metadata"].as_object_mut() {
            Some(metadata) if owners.is_empty() => drop(metadata.remove("ownerReferences")),
            Some(metadata) => drop(metadata.insert("ownerReferences".to_owned(), owners.into())),
            None => {}
        }
        write.update(key, body, &Preconditions::default()).await?;
        write.commit().await.map(drop)
    }

    async fn let_go(&self, key: &Key, object: &Object, finalizer: &str) -> Result<(), Error> {
        let mut write = self.objects.begin().await?;
        write.remove_finalizer_of(key, finalizer, &Preconditions::same(object)).await?;
        write.commit().await.map(drop)
    }
}

/// One that fails holds up nobody else.
fn fail(failed: &mut Option<Error>, key: &Key, error: Error) {
    tracing::warn!(error = &error as &dyn std::error::Error, %key, "could not collect an object; going on with the others");
    failed.get_or_insert(error);
}

fn references(object: &Object) -> Vec<Value> {
    object.body["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default()
}

fn unblocked(mut reference: Value) -> Value {
    if reference["blockOwnerDeletion"] == true {
        reference["blockOwnerDeletion"] = false.into();
    }
    reference
}
