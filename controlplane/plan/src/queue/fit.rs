//! Whether a lease can ever be served by what there is.

use super::{Ask, Machine, Offer, Waiting};
use crate::lease::Fit;

/// Whether anything there is, now or later, can serve the lease; else what there is.
pub fn fit(lease: &Waiting, machines: &[Machine], offers: &[Offer]) -> Fit {
    if offered(lease, machines, offers).is_some() {
        return Fit::Possible;
    }
    if machines.iter().any(|machine| lease.alternatives.iter().any(|ask| can_serve(lease, ask, machine))) {
        return Fit::Possible;
    }
    Fit::Never { exists: refusal(lease, machines) }
}

/// What could be made for the lease, if none was made for it yet: the first of its alternatives that anybody offers.
pub(super) fn offered<'a>(
    lease: &'a Waiting,
    machines: &[Machine],
    offers: &'a [Offer],
) -> Option<(&'a Offer, &'a Ask)> {
    if lease.machine.is_some()
        || lease.pool.is_some()
        || machines.iter().any(|machine| machine.made_for.as_ref() == Some(&lease.lease))
    {
        return None;
    }
    let fits = |offer: &Offer, ask: &Ask| {
        offer.gpus.contains(&ask.gpu)
            && offer.max_count >= ask.count
            && ask.memory.is_none_or(|least| ask.gpu.memory_gib().is_none_or(|gib| gib << 30 >= least))
            && offer.namespaces.iter().any(|name| name == "*" || *name == lease.namespace)
    };
    lease.alternatives.iter().find_map(|ask| Some((offers.iter().find(|offer| fits(offer, ask))?, ask)))
}

pub(super) fn can_serve(lease: &Waiting, ask: &Ask, machine: &Machine) -> bool {
    machine.never.is_none()
        && machine.gpu == ask.gpu
        && machine.count >= ask.count
        && ask.memory.is_none_or(|least| machine.memory.is_none_or(|memory| memory >= least))
        && allowed(lease, machine)
        && lease
            .machine
            .as_ref()
            .is_none_or(|(namespace, name)| *namespace == machine.namespace && *name == machine.name)
        && lease.pool.as_ref().is_none_or(|pool| of_pool(pool, machine))
}

fn of_pool((namespace, name): &(String, String), machine: &Machine) -> bool {
    *namespace == machine.namespace && machine.pool.as_ref() == Some(name)
}

fn allowed(lease: &Waiting, machine: &Machine) -> bool {
    machine.namespace == lease.namespace || machine.allowed.iter().any(|name| name == "*" || *name == lease.namespace)
}

pub(super) fn names(machines: &[&Machine]) -> String {
    let mut names: Vec<String> = machines
        .iter()
        .map(|machine| format!("{}/{} ({} {})", machine.namespace, machine.name, machine.count, machine.gpu))
        .collect();
    names.sort();
    let more = names.len().saturating_sub(8);
    names.truncate(8);
    let list = names.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

fn refusal(lease: &Waiting, machines: &[Machine]) -> String {
    let asks: Vec<String> = lease.alternatives.iter().map(|ask| format!("{} {}", ask.count, ask.gpu)).collect();
    let asked = asks.join(" or ");
    if let Some((namespace, name)) = &lease.machine {
        let Some(machine) = machines.iter().find(|machine| machine.namespace == *namespace && machine.name == *name)
        else {
            return format!("machine {namespace}/{name} does not exist; {}", visible(lease, machines));
        };
        if !allowed(lease, machine) {
            return format!(
                "machine {namespace}/{name} is not for namespace {}; its owner can add it to spec.allowedNamespaces",
                lease.namespace
            );
        }
        if let Some(why) = &machine.never {
            return format!("machine {namespace}/{name} does not serve any more: {why}");
        }
        return format!(
            "machine {namespace}/{name} has {} {}, and the lease asks for {asked}; ask for what it has, or name another machine",
            machine.count, machine.gpu
        );
    }
    if let Some((namespace, name)) = &lease.pool {
        return match machines.iter().find(|machine| of_pool(&(namespace.clone(), name.clone()), machine)) {
            None => format!(
                "machine pool {namespace}/{name} has no machines; raise its spec.replicas.min, name a machine, or ask by GPU type"
            ),
            Some(machine) if !allowed(lease, machine) => format!(
                "machine pool {namespace}/{name} is not for namespace {}; its owner can add it to spec.template.spec.allowedNamespaces",
                lease.namespace
            ),
            Some(machine) => format!(
                "the machines of pool {namespace}/{name} have {} {}, and the lease asks for {asked}; ask for what they have",
                machine.count, machine.gpu
            ),
        };
    }
    format!("nothing offers {asked} to namespace {}; {}", lease.namespace, visible(lease, machines))
}

fn visible(lease: &Waiting, machines: &[Machine]) -> String {
    let serving: Vec<&Machine> =
        machines.iter().filter(|machine| allowed(lease, machine) && machine.never.is_none()).collect();
    let over: Vec<&Machine> =
        machines.iter().filter(|machine| allowed(lease, machine) && machine.never.is_some()).collect();
    let mut text = if serving.is_empty() {
        "there are no machines for it; apply a RemoteMachine first".to_owned()
    } else {
        format!("there are {}; ask for one of these, or apply another RemoteMachine", names(&serving))
    };
    if let Some(machine) = over.first() {
        let why = machine.never.as_deref().unwrap_or_default();
        text.push_str(&format!(" ({}/{} does not serve any more: {why})", machine.namespace, machine.name));
    }
    text
}
