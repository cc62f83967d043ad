//! What to do for a machine.

use torch_remote_api::machine::RemoteMachineStatus;

use super::End;
use crate::Time;

/// A new attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its number: one above the latest; a row of that number must not exist.
    pub number: u32,
    /// Its run.
    pub run: u32,
    /// When the run began; `None`: with this attempt.
    pub run_at: Option<Time>,
    /// Failures in a row before it.
    pub failures: u32,
    /// Generation of the spec.
    pub generation: i64,
    /// Hash of what it is made from.
    pub launch: String,
}

/// What to do. Each names the attempt it is for and is safe to repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Commit the row of a new attempt.
    RecordIntent(Intent),
    /// Ask the provider, by the attempt's token.
    Create {
        /// The attempt.
        number: u32,
    },
    /// The provider has it: record its name.
    RecordCreated {
        /// The attempt.
        number: u32,
        /// Its name there.
        provider_id: String,
    },
    /// It was ready for the first time.
    RecordReady {
        /// The attempt.
        number: u32,
    },
    /// Record that it is to end.
    BeginEnd {
        /// The attempt.
        number: u32,
        /// Why.
        end: End,
        /// In words.
        message: String,
    },
    /// Ask the provider to end it.
    Terminate {
        /// The attempt.
        number: u32,
        /// Without waiting for it to agree.
        force: bool,
    },
    /// It is gone: record it, and free what it held.
    RecordGone {
        /// The attempt.
        number: u32,
        /// Why.
        end: End,
        /// In words.
        message: String,
    },
    /// Nothing is left: let the object go.
    RemoveFinalizer,
    /// Write the status.
    Report(Box<RemoteMachineStatus>),
}

/// Actions, and when to look again without being woken.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// The next moment at which time alone changes the plan.
    pub wake: Option<Time>,
}
