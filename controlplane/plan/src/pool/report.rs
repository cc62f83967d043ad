//! What the status of a pool says.

use torch_remote_api::condition::{self, Fact, READY, RECONCILING, STALLED, Truth};
use torch_remote_api::pool::MachinePoolStatus;

use super::{Desired, Member, Observation, Standing, change};
use crate::{Observed, Time};

pub(super) fn status(desired: &Desired, observed: &Observation, now: Time) -> MachinePoolStatus {
    let mut status = observed.status.clone();
    let live: Vec<&Member> = observed.members.iter().filter(|member| !member.deleting).collect();
    let count = |so: &dyn Fn(&Member) -> bool| {
        Some(u32::try_from(live.iter().filter(|member| so(member)).count()).unwrap_or(u32::MAX))
    };
    status.replicas = count(&|_| true);
    status.ready = count(&|member| member.standing == Standing::Ready);
    status.warm = count(&|member| member.standing == Standing::Ready && member.idle());
    status.leased = count(&|member| member.leased == Observed::Known(true));
    for fact in facts(desired, observed, &live) {
        condition::set(&mut status.conditions, fact, desired.generation, now.into());
    }
    status.observed_generation = Some(desired.generation);
    status
}

fn facts(desired: &Desired, observed: &Observation, live: &[&Member]) -> [Fact; 3] {
    let failed: Vec<&str> =
        live.iter().filter(|member| member.standing == Standing::Failed).map(|member| member.name.as_str()).collect();
    let stands = live.iter().filter(|member| member.standing >= Standing::Resting).count();
    let under_way = under_way(desired, observed, live);
    let ready = match stands >= desired.min as usize {
        true => Fact::new(READY, Truth::True, "MachinesReady", kept(desired, live)),
        false => {
            let message = format!("{stands} of {} machines are ready", desired.min);
            Fact::new(READY, Truth::False, if failed.is_empty() { "Starting" } else { "MachinesFailed" }, message)
        }
    };
    let stalled = match failed.is_empty() {
        true => Fact::new(STALLED, Truth::False, "NotStalled", ""),
        false => {
            let message = format!(
                "given up: {}; look at their conditions, and change spec.template or delete them to start anew",
                failed.join(", ")
            );
            Fact::new(STALLED, Truth::True, "MachinesFailed", message)
        }
    };
    let reconciling = match under_way {
        Some((reason, message)) => Fact::new(RECONCILING, Truth::True, reason, message),
        None => Fact::new(RECONCILING, Truth::False, "AsAsked", ""),
    };
    [ready, reconciling, stalled]
}

/// What is still to come without anybody's doing.
fn under_way(desired: &Desired, observed: &Observation, live: &[&Member]) -> Option<(&'static str, String)> {
    if desired.deleting {
        return Some(("Deleting", "the pool is being deleted".to_owned()));
    }
    let (gone, missing) = change(desired, observed);
    let outdated = live.iter().filter(|member| member.idle() && member.outdated(desired)).count();
    let starting = live.iter().filter(|member| member.standing == Standing::Starting).count();
    let going = observed.members.len() - live.len() + gone.len();
    match () {
        () if outdated > 0 => {
            Some(("Replacing", format!("{outdated} machines are of an older template, or their time is over")))
        }
        () if missing > 0 || live.len() < desired.min as usize => {
            Some(("Creating", format!("{} of {} machines are there", live.len(), desired.min)))
        }
        () if starting > 0 => Some(("Starting", format!("{starting} machines are starting"))),
        () if going > 0 => Some(("Deleting", format!("{going} machines are on their way out"))),
        () => None,
    }
}

/// What leases keep as it is.
fn kept(desired: &Desired, live: &[&Member]) -> String {
    let busy = live.iter().filter(|member| !member.idle());
    let old = busy.filter(|member| member.outdated(desired)).count();
    match old {
        0 => String::new(),
        old => format!("{old} machines of an older template are kept until no lease holds them"),
    }
}
