//! [`WatchCache`]: the present state and the recent history of every kind, in memory, for any number of watchers and no SQL for each.
//!
//! Owns the hand-over from state or history to live changes without a gap or a repeat: both are taken under one lock. Leaves selectors and
//! rendering to the watcher. Bounded: of each kind [`RING`] changes or [`RING_BYTES`] of history are kept; a watcher that falls behind by more than that, or by
//! [`LAG`] changes, is cut off and resumes by its last version.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{broadcast, watch};
use torch_remote_api::rbac::{self, Policy};

use super::{Error, Key, Objects, Resource, State, log};
use crate::auth::Policies;

/// Changes of a kind kept in memory for those who resume.
const RING: usize = 4096;
/// Bytes of their texts; beyond, the oldest go, and who resumes from there reads the log.
const RING_BYTES: usize = 64 << 20;
/// Changes of a kind a watcher may be behind.
pub const LAG: usize = 1024;
/// How long a reader waits for this replica to reach a version it has seen on another.
pub const CATCH_UP: Duration = Duration::from_secs(3);

/// One change of one object.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// The version it got.
    pub version: i64,
    /// The state before; `None` when it was made.
    pub before: Option<Arc<State>>,
    /// The state after; of a deleted object the last one, with the deletion's version.
    pub after: Arc<State>,
    /// Whether it is gone.
    pub deleted: bool,
}

/// What a row of the log says.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) version: i64,
    /// The state before, where it was asked for.
    pub(super) before: Option<State>,
    pub(super) after: Arc<State>,
    pub(super) deleted: bool,
}

impl From<Logged> for Change {
    fn from(logged: Logged) -> Self {
        let Logged { version, before, after, deleted } = logged;
        Self { version, before: before.map(Arc::new), after, deleted }
    }
}

/// How a change looks through a selector.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It came into view.
    Added(Arc<State>),
    /// It was and is in view.
    Modified(Arc<State>),
    /// It is gone, or out of view: the state last in view, with the version of the change.
    Deleted(Arc<State>),
}

impl Change {
    /// Of its texts. The one before is counted too: when it is no longer the newest, the ring alone keeps it.
    fn bytes(&self) -> usize {
        self.after.text().len() + self.before.as_ref().map_or(0, |before| before.text().len())
    }

    /// What changed.
    pub fn key(&self) -> &Key {
        self.after.key()
    }

    /// What one who sees only what `accepts` sees of this change.
    pub fn seen(&self, accepts: impl Fn(&State) -> bool) -> Option<Seen> {
        let before = self.before.as_ref().filter(|before| accepts(before));
        let after = !self.deleted && accepts(&self.after);
        match (before, after) {
            (None, true) => Some(Seen::Added(self.after.clone())),
            (Some(_), true) => Some(Seen::Modified(self.after.clone())),
            (Some(_), false) if self.deleted => Some(Seen::Deleted(self.after.clone())),
            (Some(before), false) => Some(Seen::Deleted(Arc::new(before.gone_at(self.version)))),
            (None, false) => None,
        }
    }
}

/// Live changes of one kind after a point, with what came between.
#[derive(Debug)]
pub struct Subscription {
    /// Objects as of [`Self::version`], when the state was asked for.
    pub state: Vec<Arc<State>>,
    /// Changes since the version resumed from, up to [`Self::version`].
    pub backlog: Vec<Arc<Change>>,
    /// Where the live changes begin.
    pub version: i64,
    live: broadcast::Receiver<Weak<Change>>,
    newest: watch::Receiver<i64>,
}

/// Why no more changes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The watcher was too slow.
    Lagged,
    /// The cache was rebuilt; history is broken.
    Reset,
}

impl Subscription {
    /// The next change.
    ///
    /// # Errors
    /// [`Ended`]: no more will come.
    ///
    /// # Cancel safety
    /// Safe: a change is taken or is not.
    pub async fn next(&mut self) -> Result<Arc<Change>, Ended> {
        let change = self.live.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(_) => Ended::Lagged,
            broadcast::error::RecvError::Closed => Ended::Reset,
        })?;
        self.take(&change)
    }

    /// The next change, if it is here already.
    ///
    /// # Errors
    /// [`Ended`]: no more will come.
    pub fn waiting(&mut self) -> Result<Option<Arc<Change>>, Ended> {
        match self.live.try_recv() {
            Ok(change) => self.take(&change).map(Some),
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Err(Ended::Lagged),
            Err(broadcast::error::TryRecvError::Closed) => Err(Ended::Reset),
        }
    }

    fn take(&mut self, change: &Weak<Change>) -> Result<Arc<Change>, Ended> {
        let change = change.upgrade().ok_or(Ended::Lagged)?;
        self.version = change.version;
        Ok(change)
    }

    /// A version this watcher has seen everything up to, when no change of its kind waits and history was not broken; for bookmarks.
    pub fn progress(&mut self) -> Option<i64> {
        // Read before looking at the queue: changes are queued before the version that covers them is published.
        let newest = *self.newest.borrow();
        if !self.live.is_empty() || self.live.is_closed() {
            return None;
        }
        self.version = self.version.max(newest);
        Some(self.version)
    }
}

/// State and recent history of every kind.
#[derive(Debug)]
pub struct WatchCache {
    kinds: RwLock<Kinds>,
    newest: watch::Sender<i64>,
    policies: Policies,
}

#[derive(Debug, Default)]
struct Kinds {
    version: i64,
    kinds: HashMap<Resource, Kind>,
}

#[derive(Debug)]
struct Kind {
    current: BTreeMap<(String, String), Arc<State>>,
    ring: VecDeque<Arc<Change>>,
    /// Of the texts in the ring.
    bytes: usize,
    /// No object of the kind has changed after this version.
    changed: i64,
    /// Every change after this version is in the ring.
    floor: i64,
    /// The ring alone keeps changes: a watcher that is so slow that its next one is gone from there is cut off.
    live: broadcast::Sender<Weak<Change>>,
}

impl Kind {
    fn at(version: i64) -> Self {
        Self {
            current: BTreeMap::new(),
            ring: VecDeque::new(),
            bytes: 0,
            changed: version,
            floor: version,
            live: broadcast::Sender::new(LAG),
        }
    }

    fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.bytes();
        self.ring.push_back(change.clone());
        while self.ring.len() > RING || (self.bytes > RING_BYTES && self.ring.len() > 1) {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.floor = oldest.version;
        }
        // An error means that nobody watches.
        drop(self.live.send(Arc::downgrade(&change)));
    }
}

impl Default for WatchCache {
    fn default() -> Self {
        Self::new()
    }
}

impl WatchCache {
    /// An empty cache at version 0.
    pub fn new() -> Self {
        Self { kinds: RwLock::default(), newest: watch::Sender::new(0), policies: Policies::default() }
    }

    /// The version this replica has reached.
    pub fn version(&self) -> i64 {
        *self.newest.borrow()
    }

    /// Who may do what, as of the version this replica has reached, or a later one.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// States of a kind and the version they show.
    pub fn states(&self, resource: Resource) -> (Vec<Arc<State>>, i64) {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let state = kinds.kinds.get(&resource).map(|kind| kind.current.values().cloned().collect());
        (state.unwrap_or_default(), kinds.version)
    }

    /// States of a kind as they were at a version, if none has changed since.
    pub fn states_unchanged_since(&self, resource: Resource, version: i64) -> Option<Vec<Arc<State>>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.kinds.get(&resource).filter(|kind| kind.changed <= version && version <= kinds.version)?;
        Some(kind.current.values().cloned().collect())
    }

    /// One state, as this replica has seen it last.
    pub fn state(&self, key: &Key) -> Option<Arc<State>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.kinds.get(&key.resource)?.current.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// Objects of a kind and the version they show.
    pub fn list(&self, resource: Resource) -> (Vec<Value>, i64) {
        let (states, version) = self.states(resource);
        (states.iter().map(|state| state.body()).collect(), version)
    }

    /// One object, as this replica has seen it last.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.state(key).map(|state| state.body())
    }

    /// Waits until this replica has reached a version.
    ///
    /// # Errors
    /// [`Error::Future`] when it has not within [`CATCH_UP`].
    pub async fn reach(&self, version: i64) -> Result<(), Error> {
        let mut newest = self.newest.subscribe();
        let reached = tokio::time::timeout(CATCH_UP, newest.wait_for(|newest| *newest >= version)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Future { version, newest: self.version() }),
        }
    }

    /// Everything there is now, then changes.
    pub fn subscribe(&self, resource: Resource) -> Subscription {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let version = kinds.version;
        let kind = kinds.kinds.entry(resource).or_insert_with(|| Kind::at(version));
        let state = kind.current.values().cloned().collect();
        Subscription {
            state,
            backlog: Vec::new(),
            version,
            live: kind.live.subscribe(),
            newest: self.newest.subscribe(),
        }
    }

    /// All changes after a version: from memory, or below that from the log.
    ///
    /// # Errors
    /// [`Error::Future`] for a version this replica does not reach in time, [`Error::Expired`] for one whose history is gone, or is more than [`RING_BYTES`]: the
    /// present state is shared by all who ask for it; the database failed.
    pub async fn resume(&self, objects: &Objects, resource: Resource, from: i64) -> Result<Subscription, Error> {
        self.reach(from).await?;
        let (mut subscription, floor) = self.resume_from_ring(resource, from);
        if from >= floor {
            return Ok(subscription);
        }
        let (mut older, mut bytes) = (Vec::<Arc<Change>>::new(), 0);
        let mut at = Some(from);
        let mut connection = objects.pool().acquire().await.map_err(Error::database("reach the database"))?;
        // Few at first: how large they are is not known before they are here.
        let mut rows_at_once = 16;
        while let Some(after) = at {
            let (rows, seen) = (log::Rows { resource: Some(resource), before: true }, older.len());
            let page = log::read(objects, &mut connection, rows, (after, floor), rows_at_once).await?;
            older.extend(page.logged.into_iter().map(|logged| Arc::new(logged.into())));
            let more: usize = older[seen..].iter().map(|change| change.bytes()).sum();
            rows_at_once = if more < RING_BYTES / 64 { (2 * rows_at_once).min(1000) } else { 16 };
            bytes += more;
            if bytes > RING_BYTES {
                return Err(Error::Expired { version: from, compacted: floor });
            }
            at = page.next;
        }
        // Looked at after reading: what was compacted by then may be missing above.
        let compacted = sqlx::query_scalar!("select compacted from cluster_rv");
        let compacted = compacted.fetch_one(&mut *connection).await.map_err(Error::database("read the version"))?;
        if from < compacted {
            return Err(Error::Expired { version: from, compacted });
        }
        older.append(&mut subscription.backlog);
        subscription.backlog = older;
        Ok(subscription)
    }

    fn resume_from_ring(&self, resource: Resource, from: i64) -> (Subscription, i64) {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let version = kinds.version;
        let kind = kinds.kinds.entry(resource).or_insert_with(|| Kind::at(version));
        let backlog = kind.ring.iter().filter(|change| change.version > from).cloned().collect();
        let subscription = Subscription {
            state: Vec::new(),
            backlog,
            version,
            live: kind.live.subscribe(),
            newest: self.newest.subscribe(),
        };
        (subscription, kind.floor)
    }

    /// For the tail: what was logged, in order, after which this replica is at `to`.
    pub(super) fn apply(&self, logged: Vec<Logged>, to: i64) {
        let deciding = logged.iter().filter(|logged| logged.after.key().resource.decides());
        let deciding: Vec<_> = deciding.map(|logged| (logged.deleted, logged.after.body())).collect();
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let before = kinds.version;
        for Logged { version, after, deleted, .. } in logged {
            let kind = kinds.kinds.entry(after.key().resource).or_insert_with(|| Kind::at(before));
            let place = (after.key().namespace.clone(), after.key().name.clone());
            let before = match deleted {
                true => kind.current.remove(&place),
                false => kind.current.insert(place, after.clone()),
            };
            kind.changed = version;
            kind.push(Arc::new(Change { version, before, after, deleted }));
        }
        kinds.version = to;
        drop(kinds);
        if !deciding.is_empty() {
            self.policies.change(deciding.iter().map(|(gone, object)| match gone {
                true => rbac::Change::Gone(object),
                false => rbac::Change::Is(object),
            }));
        }
        self.newest.send_replace(to);
    }

    /// For the tail: starts over from a state. Whoever watches is cut off.
    pub(super) fn reset(&self, states: Vec<State>, version: i64) {
        let deciding = states.iter().filter(|state| state.key().resource.decides()).map(State::body);
        let policy = Policy::new(&deciding.collect::<Vec<_>>());
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        kinds.kinds = Resource::ALL.into_iter().map(|resource| (resource, Kind::at(version))).collect();
        for state in states {
            if let Some(kind) = kinds.kinds.get_mut(&state.key().resource) {
                let place = (state.key().namespace.clone(), state.key().name.clone());
                kind.current.insert(place, Arc::new(state));
            }
        }
        kinds.version = version;
        drop(kinds);
        self.policies.reset(policy);
        self.newest.send_replace(version);
    }
}

#[cfg(test)]
mod tests;
