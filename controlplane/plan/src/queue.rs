//! All that waits, and all there is: who is bound to what next.
//!
//! By head of queue, priority, age. A lease that can be served but does not fit now holds back every GPU it could use from those behind it, so a big
//! one is not starved by small ones. Exclusive takes all slots of each of its GPUs, shared takes one slot. All GPUs of a lease are on one machine.
//! Invariants: a slot is given at most once in one plan, and only when it is free; a placement names the epoch that it expects.

mod fit;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use torch_remote_api::gpu::GpuType;
use torch_remote_api::lease::{Queue, reason};

use crate::{Epoch, SlotAt, Time, Uid, lease};

pub use fit::fit;

/// One alternative of `spec.gpu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// GPU type.
    pub gpu: GpuType,
    /// How many, on one machine.
    pub count: u32,
    /// Least memory of each, bytes.
    pub memory: Option<u64>,
}

/// A lease that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The lease.
    pub lease: Uid,
    /// Its namespace.
    pub namespace: String,
    /// Was bound once and put back.
    pub head: bool,
    /// Not to be bound before; a lease that was put back waits a little.
    pub not_before: Option<Time>,
    /// Higher first.
    pub priority: i32,
    /// Older first.
    pub created_at: Time,
    /// In order of preference.
    pub alternatives: Vec<Ask>,
    /// All slots of each GPU, or one.
    pub exclusive: bool,
    /// Only this machine: (namespace, name). Without alternatives: one GPU of it, of whatever type.
    pub machine: Option<(String, String)>,
    /// Only machines of this pool: (namespace, name). Without alternatives: one GPU of such a machine, of whatever type.
    pub pool: Option<(String, String)>,
}

/// A slot as the queue sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its index.
    pub slot: u32,
    /// Its GPU.
    pub gpu: u32,
    /// Its epoch now.
    pub epoch: Epoch,
    /// Offered by an agent that is heard now, not bound, not quarantined.
    pub free: bool,
    /// Its executor is ready to serve at once.
    pub warm: bool,
}

/// A machine as the queue sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its uid.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Type of its GPUs.
    pub gpu: GpuType,
    /// How many.
    pub count: u32,
    /// Slots per GPU.
    pub slots_per_gpu: u32,
    /// Memory of each GPU, once its agent has told, bytes.
    pub memory: Option<u64>,
    /// `spec.allowedNamespaces`.
    pub allowed: Vec<String>,
    /// Why it will never serve again by itself, in words; `None`: it serves or may.
    pub never: Option<String>,
    /// Name of the pool it is of, in its own namespace.
    pub pool: Option<String>,
    /// It was made for this lease.
    pub made_for: Option<Uid>,
    /// It has started; it may be busy, or not heard for now.
    pub ready: bool,
    /// Its slots; empty before it is registered.
    pub slots: Vec<Slot>,
}

/// What a Provider's `spec.machineTemplate` offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Name of the Provider.
    pub provider: String,
    /// Types it makes.
    pub gpus: Vec<GpuType>,
    /// Most GPUs of one machine.
    pub max_count: u32,
    /// For whom; `*`: all.
    pub namespaces: Vec<String>,
    /// Its `spec.limits` leave room for one more.
    pub room: bool,
}

/// A machine to make for a lease; its name follows from the lease, so that it is made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Make {
    /// For this lease, in its namespace.
    pub lease: Uid,
    /// By this Provider.
    pub provider: String,
    /// Type of its GPUs.
    pub gpu: GpuType,
    /// How many.
    pub count: u32,
}

/// Slots to bind, each at the epoch it must still have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// For this lease.
    pub lease: Uid,
    /// All on one machine.
    pub slots: Vec<SlotAt>,
}

/// What comes of the queue now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// To bind, in order.
    pub placements: Vec<Placement>,
    /// Those left, with their place, and why in words.
    pub places: Vec<(Uid, Queue, String)>,
    /// Machines a waiting lease could use.
    pub wanted: BTreeSet<Uid>,
    /// Machines to make.
    pub makes: Vec<Make>,
}

/// Orders the queue and places what fits.
pub fn plan(waiting: &[Waiting], machines: &[Machine], offers: &[Offer], now: Time) -> Plan {
    let mut order: Vec<&Waiting> =
        waiting.iter().filter(|lease| fit(lease, machines, offers) == lease::Fit::Possible).collect();
    order.sort_by(|a, b| {
        (b.head, b.priority, a.created_at, &a.lease).cmp(&(a.head, a.priority, b.created_at, &b.lease))
    });
    let mut taken: BTreeSet<(Uid, u32)> = BTreeSet::new();
    let mut held: BTreeSet<(Uid, u32)> = BTreeSet::new();
    let mut awaited: BTreeSet<Uid> = BTreeSet::new();
    let mut plan = Plan::default();
    for lease in order {
        let rested = lease.not_before.is_none_or(|at| now >= at);
        let placed = rested
            .then(|| lease.alternatives.iter().find_map(|ask| place(lease, ask, machines, (&taken, &held))))
            .flatten();
        match placed {
            Some(placement) => {
                taken.extend(placement.slots.iter().map(|slot| (slot.machine.clone(), slot.slot)));
                plan.placements.push(placement);
            }
            None => {
                let position = u32::try_from(plan.places.len() + 1).unwrap_or(u32::MAX);
                // Each lease waits for a start of its own: one that is under way, or a new one.
                let starting =
                    candidates(lease, machines).find(|machine| !machine.ready && !awaited.contains(&machine.uid));
                awaited.extend(starting.map(|machine| machine.uid.clone()));
                let offered = fit::offered(lease, machines, offers).filter(|_| starting.is_none() && rested);
                plan.makes.extend(offered.filter(|(offer, _)| offer.room).map(|(offer, ask)| Make {
                    lease: lease.lease.clone(),
                    provider: offer.provider.clone(),
                    gpu: ask.gpu,
                    count: ask.count,
                }));
                let (queue, message) = why(lease, machines, offered.map(|(offer, _)| offer), position);
                plan.places.push((lease.lease.clone(), queue, message));
                for machine in candidates(lease, machines) {
                    plan.wanted.insert(machine.uid.clone());
                    held.extend((0..machine.count).map(|gpu| (machine.uid.clone(), gpu)));
                }
            }
        }
    }
    plan
}

fn candidates<'a>(lease: &'a Waiting, machines: &'a [Machine]) -> impl Iterator<Item = &'a Machine> {
    machines.iter().filter(|machine| lease.alternatives.iter().any(|ask| fit::can_serve(lease, ask, machine)))
}

type Used<'a> = (&'a BTreeSet<(Uid, u32)>, &'a BTreeSet<(Uid, u32)>);

/// The tightest fit: the machine that keeps the fewest GPUs whole beside it; on it the GPUs that are most in use, warm ones first.
fn place(lease: &Waiting, ask: &Ask, machines: &[Machine], used: Used<'_>) -> Option<Placement> {
    let fits = machines.iter().filter(|machine| fit::can_serve(lease, ask, machine)).filter_map(|machine| {
        let (slots, spare) = on_machine(lease, ask, machine, used)?;
        Some((spare, machine.uid.clone(), slots))
    });
    fits.min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)))
        .map(|(_, _, slots)| Placement { lease: lease.lease.clone(), slots })
}

fn on_machine(lease: &Waiting, ask: &Ask, machine: &Machine, (taken, held): Used<'_>) -> Option<(Vec<SlotAt>, usize)> {
    let free = |slot: &&Slot| {
        slot.free
            && !taken.contains(&(machine.uid.clone(), slot.slot))
            && !held.contains(&(machine.uid.clone(), slot.gpu))
    };
    let mut gpus: Vec<(usize, usize, u32, Vec<&Slot>)> = (0..machine.count)
        .map(|gpu| {
            let all = machine.slots.iter().filter(|slot| slot.gpu == gpu).count();
            let mut open: Vec<&Slot> = machine.slots.iter().filter(|slot| slot.gpu == gpu).filter(free).collect();
            open.sort_by_key(|slot| (!slot.warm, slot.slot));
            (all, open.iter().filter(|slot| !slot.warm).count(), gpu, open)
        })
        .filter(|(all, _, _, open)| {
            *all > 0
                && if lease.exclusive {
                    open.len() == *all && *all == machine.slots_per_gpu as usize
                } else {
                    !open.is_empty()
                }
        })
        .collect();
    let whole = gpus.iter().filter(|(all, _, _, open)| open.len() == *all).count();
    // Shared: the fullest GPU first, so that whole ones stay whole. Exclusive: warm ones first.
    gpus.sort_by_key(|(_, cold, gpu, open)| if lease.exclusive { (*cold, *gpu) } else { (open.len(), *gpu) });
    let count = ask.count as usize;
    if gpus.len() < count {
        return None;
    }
    let take = |slot: &Slot| SlotAt { machine: machine.uid.clone(), slot: slot.slot, epoch: slot.epoch };
    let slots = gpus[..count]
        .iter()
        .flat_map(|(_, _, _, open)| if lease.exclusive { &open[..] } else { &open[..1] })
        .map(|slot| take(slot))
        .collect();
    Some((slots, whole.saturating_sub(count)))
}

fn why(lease: &Waiting, machines: &[Machine], offer: Option<&Offer>, position: u32) -> (Queue, String) {
    let all: Vec<&Machine> = candidates(lease, machines).collect();
    let ready = all.iter().any(|machine| machine.ready);
    let (reason, why) = match offer {
        Some(offer) if offer.room => (reason::LAUNCHING, format!("Provider {} makes a machine for it", offer.provider)),
        Some(offer) => {
            (reason::WAITING, format!("Provider {} has as many machines as spec.limits allows", offer.provider))
        }
        None if ready => (
            reason::WAITING,
            format!(
                "every matching slot is leased, kept for a lease ahead, or of a machine that is not heard: {}",
                fit::names(&all)
            ),
        ),
        None => (reason::LAUNCHING, format!("no matching machine is ready yet: {}", fit::names(&all))),
    };
    (Queue { position, reason: reason.to_owned(), eta: None }, format!("position {position}; {why}"))
}
