//! Attempts to have an instance, and what is seen of the latest one.

use crate::Time;

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The object is being deleted.
    Deleted,
    /// `spec.suspend`.
    Suspended,
    /// No lease for `spec.idleTimeout`.
    Idle,
    /// `spec.timeout` is over.
    Expired,
    /// The control plane it belongs to was stopped by its user.
    Stopped,
    /// Another image, GPU or environment is asked for.
    SpecChanged,
    /// Not ready in `spec.startupTimeout`.
    StartupTimeout,
    /// The provider refused to make it.
    CreateFailed,
    /// It was there, and the provider says it is gone.
    Lost,
}

impl End {
    /// Counts against `retry.limit`.
    pub fn is_failure(self) -> bool {
        matches!(self, End::StartupTimeout | End::CreateFailed | End::Lost)
    }
    /// Begins only while no lease holds a slot.
    pub fn waits_for_leases(self) -> bool {
        matches!(self, End::Idle | End::SpecChanged)
    }
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            End::Deleted => "Deleted",
            End::Suspended => "Suspended",
            End::Idle => "Idle",
            End::Expired => "Expired",
            End::Stopped => "Stopped",
            End::SpecChanged => "SpecChanged",
            End::StartupTimeout => "StartupTimeout",
            End::CreateFailed => "CreateFailed",
            End::Lost => "Lost",
        }
    }
    /// The end of that name.
    pub fn parse(name: &str) -> Option<End> {
        use End::{CreateFailed, Deleted, Expired, Idle, Lost, SpecChanged, StartupTimeout, Stopped, Suspended};
        [Deleted, Suspended, Idle, Expired, Stopped, SpecChanged, StartupTimeout, CreateFailed, Lost]
            .into_iter()
            .find(|end| end.as_str() == name)
    }
}

/// Where an attempt stands, by our own rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// Recorded; the provider may or may not have been asked.
    Intent,
    /// The provider has made it.
    Created {
        /// Its name there.
        provider_id: String,
    },
    /// It is to end.
    Ending {
        /// Since when.
        since: Time,
        /// Why.
        end: End,
        /// In words.
        message: String,
    },
    /// The provider says there is none.
    Gone {
        /// Since when.
        at: Time,
        /// Why.
        end: End,
        /// In words.
        message: String,
    },
}

/// How often the provider was asked for what the attempt's state wants of it: to make the instance, or to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// One at least.
    pub times: u32,
    /// When last.
    pub last: Time,
}

/// The latest attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Which run it belongs to, from 1.
    pub run: u32,
    /// When the run began.
    pub run_at: Time,
    /// Failures in a row before it.
    pub failures: u32,
    /// Generation it was planned at.
    pub generation: i64,
    /// Hash of what it was made from.
    pub launch: String,
    /// When it was recorded.
    pub intended_at: Time,
    /// When it was first ready.
    pub ready_at: Option<Time>,
    /// What was asked of the provider since the attempt is in this state.
    pub asked: Option<Asked>,
    /// Where it stands.
    pub state: AttemptState,
}

/// An instance as its provider reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instance {
    /// It runs.
    Running {
        /// Its name at the provider.
        provider_id: String,
    },
    /// There is none of that token.
    Absent {
        /// What the provider says of its end; empty where it says nothing.
        why: String,
    },
}

/// The agent of the latest attempt as the control plane hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// Nobody has listened long enough to say.
    Unknown,
    /// Listened since then, and never heard this attempt.
    Unheard {
        /// Listening since.
        since: Time,
    },
    /// Heard now.
    Heard {
        /// Its boot.
        boot_id: String,
        /// Its version.
        version: String,
        /// Version of the torch it runs.
        torch: String,
        /// Slots that were warm once.
        warm: u32,
    },
    /// Heard once, not now.
    Silent {
        /// Its boot.
        boot_id: String,
        /// Last heard.
        since: Time,
        /// Listening since; a control plane that has just started has heard nobody yet.
        listening: Time,
    },
}
