//! One pool: how many machines of its template there are, and which of them go.
//!
//! Invariants: a machine that a lease holds is never deleted, nor one of which that is not known; there are never more machines than `max`, those on
//! their way out counted; while a template is replaced, machines that stand do not fall below `min`, unless `max` leaves no room to make one first.

mod report;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use torch_remote_api::pool::MachinePoolStatus;

use crate::{Observed, Time, Uid};

/// Bytes of a pool's name in the names of its machines: what is left of a name's 253 holds a number.
const STEM: usize = 240;

/// Most machines that one plan makes and deletes: what is written for them is written at once.
pub const MOST: usize = 50;

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Name of the pool: its machines are named after it.
    pub name: String,
    /// Revision of the spec.
    pub generation: i64,
    /// Deletion was asked for: its machines go with it, or stay without it, as whoever deletes it asks.
    pub deleting: bool,
    /// At least so many machines.
    pub min: u32,
    /// At most so many.
    pub max: u32,
    /// Hash of what they are to be like.
    pub template: String,
}

/// Where a machine of the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is given up.
    Failed,
    /// Its time is over, and it does not start again.
    Over,
    /// On its way.
    Starting,
    /// It is off, and starts again when a lease asks for it.
    Resting,
    /// Its slots can be leased.
    Ready,
}

/// A machine of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// Hash of the template it was made from.
    pub template: String,
    /// Deletion was asked for.
    pub deleting: bool,
    /// Where it stands.
    pub standing: Standing,
    /// Whether a lease holds it.
    pub leased: Observed<bool>,
    /// When it was made.
    pub created_at: Time,
}

impl Member {
    fn idle(&self) -> bool {
        self.leased == Observed::Known(false)
    }

    fn outdated(&self, desired: &Desired) -> bool {
        self.template != desired.template || self.standing == Standing::Over
    }
}

/// All that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Its machines.
    pub members: Vec<Member>,
    /// Names of machines in its namespace that begin as its own do.
    pub taken: BTreeSet<String>,
    /// What the object's status says.
    pub status: MachinePoolStatus,
}

/// Why a machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There are more than the pool wants.
    Surplus,
    /// The template is another by now.
    Outdated,
    /// Its time is over.
    Over,
}

/// One step. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes a machine of the template, unless one of that name is there.
    Create {
        /// Its name.
        name: String,
    },
    /// Deletes a machine, unless a lease holds it by then.
    Delete {
        /// Its name.
        name: String,
        /// The machine must still be this one.
        uid: Uid,
        /// Why.
        cause: Cause,
    },
    /// Writes the status.
    Report(Box<MachinePoolStatus>),
}

/// What to do for one pool.
pub fn plan(desired: &Desired, observed: &Observation, now: Time) -> Vec<Action> {
    let mut actions = Vec::new();
    let (gone, missing) = if desired.deleting { (Vec::new(), 0) } else { change(desired, observed) };
    for (member, cause) in gone.iter().take(MOST) {
        actions.push(Action::Delete { name: member.name.clone(), uid: member.uid.clone(), cause: *cause });
    }
    actions.extend(
        names(desired, observed).take(missing.min(MOST.saturating_sub(gone.len()))).map(|name| Action::Create { name }),
    );
    let status = report::status(desired, observed, now);
    if status != observed.status {
        actions.push(Action::Report(Box::new(status)));
    }
    actions
}

/// The machines that go, and how many are to be made.
fn change<'a>(desired: &Desired, observed: &'a Observation) -> (Vec<(&'a Member, Cause)>, usize) {
    let (min, max) = (desired.min as usize, desired.max.max(desired.min) as usize);
    let mut left: Vec<&Member> = observed.members.iter().filter(|member| !member.deleting).collect();
    let (mut gone, cause) = (Vec::new(), |member: &Member| match member.standing {
        Standing::Over => Cause::Over,
        _ => Cause::Outdated,
    });
    // Nobody loses anything by these.
    left.retain(|member| {
        let useless = member.idle() && member.outdated(desired) && member.standing < Standing::Resting;
        gone.extend(useless.then(|| (*member, cause(member))));
        !useless
    });
    // These may go while others stand in for them; where there is no room for one more, each goes before its successor is made.
    let stands = left.iter().filter(|member| member.standing >= Standing::Resting).count();
    let all_stand = left.iter().all(|member| member.standing >= Standing::Resting || member.outdated(desired));
    let full = left.len() >= max && left.len() == observed.members.len();
    let spare = stands.saturating_sub(min).max(usize::from(full && gone.is_empty() && all_stand));
    for _ in 0..spare {
        let Some(place) = left.iter().position(|member| member.idle() && member.outdated(desired)) else { break };
        let member = left.remove(place);
        gone.push((member, cause(member)));
    }
    // One whose time is over serves nobody new, whatever holds it still.
    let count = |left: &[&Member]| left.iter().filter(|member| member.standing != Standing::Over).count();
    // One after the other: with the last old one that can go, the reason to have more than `min` is gone too.
    while count(&left) > min + surge(desired, &left) {
        let idle = left.iter().enumerate().filter(|(_, member)| member.idle());
        let first = idle.min_by_key(|(_, member)| {
            (member.standing == Standing::Ready, !member.outdated(desired), member.standing, Reverse(member.created_at))
        });
        let Some((place, _)) = first else { break };
        gone.push((left.remove(place), Cause::Surplus));
    }
    let (count, target) = (count(&left), min + surge(desired, &left));
    let room = max.saturating_sub(observed.members.len());
    (gone, target.saturating_sub(count).min(room))
}

/// Machines made beyond `min` while old ones are replaced.
fn surge(desired: &Desired, left: &[&Member]) -> usize {
    let rolling = left.iter().any(|member| member.idle() && member.outdated(desired));
    let room = desired.max.saturating_sub(desired.min);
    if rolling { desired.min.div_ceil(4).min(room) as usize } else { 0 }
}

/// Names for new machines: the pool's with the lowest numbers that are free.
fn names<'a>(desired: &'a Desired, observed: &'a Observation) -> impl Iterator<Item = String> + 'a {
    let stem = stem(&desired.name);
    (0..).map(move |number: u64| format!("{stem}-{number}")).filter(|name| !observed.taken.contains(name))
}

/// How the names of a pool's machines begin.
pub fn stem(pool: &str) -> &str {
    pool.get(..STEM).unwrap_or(pool).trim_end_matches(['-', '.'])
}
