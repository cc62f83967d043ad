//! [`Policies`]: the roles and bindings as this replica knows them now, ready to decide.
//!
//! Part of the watch cache, which tells it of each change of a role or a binding as it takes it up: a change costs what it changes, a question no statement.
//! Questions do not wait for each other. They and changes do, so each is short: a question looks at the bindings of who asks; what takes longer (comparing
//! the rights of two, rendering them) is done with what was taken out, after the policy was let go.
//!
//! What it guarantees:
//! - It shows the objects of the four kinds as of one version of the store, never some of before a transaction and some of after it.
//! - A change, also one that takes rights away, holds for every call that is judged after this replica has answered who made it: the answer waits until the cache
//!   has reached the change's version. Should the cache be more than [`CATCH_UP`](crate::store::watch_cache::CATCH_UP) behind, the answer is given all the same,
//!   and logged.
//! - On another replica it holds when that one's cache has it: a fraction of a second later.
//! - A cache that is not loaded holds no role, so that nobody but administrators may do anything.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use torch_remote_api::rbac::{Action, Change, Decision, Policy, User};

/// The newest policy.
#[derive(Debug, Default)]
pub struct Policies(RwLock<Policy>);

impl Policies {
    /// The policy of now, and until the answer is dropped: to take something out or to decide, no longer, since changes wait and all questions behind them.
    pub fn current(&self) -> RwLockReadGuard<'_, Policy> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the user may.
    pub fn decide(&self, user: User<'_>, action: &Action<'_>) -> Decision {
        self.current().decide(user, action)
    }

    /// For the cache: what changed, in order, at once.
    pub(crate) fn change<'a>(&self, changes: impl IntoIterator<Item = Change<'a>>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).change(changes);
    }

    /// For the cache: starts over.
    pub(crate) fn reset(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}
