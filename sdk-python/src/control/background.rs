//! A task of the control path's runtime that ends with its owner.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::runtime;

/// Runs until it is stopped or dropped.
pub(super) struct Background {
    task: JoinHandle<()>,
}

impl Background {
    pub(super) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { task: super::wait::runtime().spawn(work) }
    }

    /// Ends it. Safe to repeat. In a forked child it does nothing: the task lives in the parent, and the runtime's locks are as the parent's threads left them.
    pub(super) fn stop(&self) {
        if !runtime::forked() {
            self.task.abort();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}
