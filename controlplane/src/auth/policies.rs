//! [`Policies`]: the roles and bindings as this replica knows them now, ready to decide.
//!
//! Read from the watch cache when a role or a binding has changed since, and else not: no statement, and no wait, for a call. A cache that is not loaded
//! holds no role, so that nobody but administrators may do anything.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use torch_remote_api::rbac::{Action, Decision, Policy, User};

use crate::store::Resource;
use crate::store::watch_cache::WatchCache;

const DECIDING: [Resource; 4] =
    [Resource::CLUSTER_ROLES, Resource::CLUSTER_ROLE_BINDINGS, Resource::ROLES, Resource::ROLE_BINDINGS];

/// Decides by the newest policy. Cheap to share.
#[derive(Debug)]
pub struct Policies {
    cache: Arc<WatchCache>,
    /// With the number of the cache's change it shows.
    current: RwLock<(u64, Arc<Policy>)>,
    reading: Mutex<()>,
}

impl Policies {
    /// Over this cache.
    pub fn new(cache: Arc<WatchCache>) -> Self {
        Self { current: RwLock::new(read(&cache)), cache, reading: Mutex::new(()) }
    }

    /// The policy of now.
    pub fn current(&self) -> Arc<Policy> {
        let (seen, policy) = self.known();
        if seen == self.cache.deciding() {
            return policy;
        }
        // One call reads for all; the others go by what it has read when it has.
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, policy) = self.known();
        if seen == self.cache.deciding() {
            return policy;
        }
        let newer = read(&self.cache);
        let policy = newer.1.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = newer;
        policy
    }

    /// Whether the user may.
    pub fn decide(&self, user: User<'_>, action: &Action<'_>) -> Decision {
        self.current().decide(user, action)
    }

    fn known(&self) -> (u64, Arc<Policy>) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(cache: &WatchCache) -> (u64, Arc<Policy>) {
    // Asked before the objects: what changes meanwhile is read again.
    let seen = cache.deciding();
    let objects: Vec<_> = DECIDING.into_iter().flat_map(|resource| cache.list(resource).0).collect();
    (seen, Arc::new(Policy::new(&objects)))
}
