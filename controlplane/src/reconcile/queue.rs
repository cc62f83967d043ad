//! The queue: who is bound to what next.

mod offer;

use std::collections::{BTreeMap, HashMap};

use torch_remote_api::condition::{self, Truth};
use torch_remote_api::lease::{DeviceLease, Mode, ORPHAN_TIME, TRACEPARENT};
use torch_remote_api::machine::{EXPIRED, FAILED, MachinePhase, RemoteMachine};
use torch_remote_api::pool::MachinePool;
use torch_remote_plan::lease::Fit;
use torch_remote_plan::queue::{self, Ask, Machine, Offer, Placement, Waiting};
use torch_remote_plan::{Uid, queue::Plan};
use tracing::Instrument;
use uuid::Uuid;

use super::{Again, Error, Shared, Verdict, Work, until};
use crate::store::slot::{self, Bound, Terms};
use crate::store::{Key, Resource, lease as rows, owner};
use crate::telemetry;

/// A session must be opened this long after the bind: for a waiter that renews, and for one that does not.
const OPEN_RENEWING_MS: u64 = 60_000;
const OPEN_OTHERS_MS: u64 = 600_000;

struct Scene {
    leases: HashMap<Uid, (Key, DeviceLease, bool)>,
    waiting: Vec<Waiting>,
    machines: Vec<Machine>,
    keys: HashMap<Uid, Key>,
    offers: Vec<Offer>,
    pools: Pools,
}

/// Pools that waiting leases name; `None`: there is no such pool.
type Pools = HashMap<(String, String), Option<Pool>>;

struct Pool {
    /// A machine as its template makes them.
    model: Machine,
    /// It keeps such machines, whether they are there yet or not.
    keeps: bool,
}

pub(super) async fn reconcile(shared: &Shared) -> Result<Again, Error> {
    let scene = observe(shared).await?;
    let now = shared.parts.objects.now().await?;
    let plan = queue::plan(&scene.waiting, &scene.machines, &scene.offers, now);
    let mut again = false;
    for placement in &plan.placements {
        again |= bind(shared, &scene, placement).await?;
    }
    for make in &plan.makes {
        offer::make(shared, &scene, make).await?;
    }
    tell(shared, &scene, &plan);
    super::metrics::leases(shared.pool()).await;
    if again {
        return Ok(Some(std::time::Duration::ZERO));
    }
    Ok(until(scene.waiting.iter().filter_map(|waiting| waiting.not_before.filter(|at| *at > now)).min(), now))
}

async fn observe(shared: &Shared) -> Result<Scene, Error> {
    rows::enqueue_all(shared.pool()).await?;
    let queued = rows::waiting(shared.pool()).await?;
    let mut slots = if queued.is_empty() { BTreeMap::new() } else { slot::all(shared.pool()).await? };
    let (mut machines, mut keys) = (vec![], HashMap::new());
    let mut by_provider: HashMap<String, u32> = HashMap::new();
    if !queued.is_empty() {
        for object in shared.parts.objects.list(Resource::MACHINES, None).await?.items {
            let Some(machine) = parsed::<RemoteMachine>(&object) else { continue };
            let uid = Uid(object.uid().to_owned());
            *by_provider.entry(machine.spec.provider.clone()).or_default() += 1;
            keys.insert(uid.clone(), Key::new(Resource::MACHINES, object.namespace(), object.name()));
            let own = Uuid::parse_str(&uid.0).ok().and_then(|uid| slots.remove(&uid)).unwrap_or_default();
            machines.push(seen(uid, &object, &machine, own));
        }
    }
    let (mut leases, mut waiting, mut pools) = (HashMap::new(), vec![], Pools::new());
    for row in queued {
        let object = crate::store::Object { body: row.body };
        let Some(lease) = parsed::<DeviceLease>(&object) else { continue };
        let uid = Uid(object.uid().to_owned());
        let key = Key::new(Resource::LEASES, object.namespace(), object.name());
        if let Some(named) = pool_of(&lease).filter(|named| !pools.contains_key(named)) {
            let found = pool(shared, &named).await?;
            pools.insert(named, found);
        }
        waiting.push(Waiting {
            head: row.head,
            not_before: row.not_before,
            created_at: row.created_at,
            ..wish(uid.clone(), &lease, &machines, &pools)
        });
        leases.insert(uid, (key, lease, row.renewing));
    }
    let offers = if waiting.is_empty() { vec![] } else { offer::offers(shared, &by_provider).await? };
    Ok(Scene { leases, waiting, machines, keys, offers, pools })
}

async fn pool(shared: &Shared, (namespace, name): &(String, String)) -> Result<Option<Pool>, Error> {
    let found = shared.parts.objects.get(&Key::new(Resource::POOLS, namespace.as_str(), name.as_str())).await?;
    let Some(pool) = found.as_ref().and_then(parsed::<MachinePool>) else { return Ok(None) };
    let spec = &pool.spec.template.spec;
    let model = Machine {
        uid: Uid(String::new()),
        namespace: namespace.clone(),
        name: name.clone(),
        gpu: spec.gpu.gpu_type,
        count: spec.gpu.count,
        slots_per_gpu: spec.slots_per_gpu,
        memory: spec.gpu.gpu_type.memory_gib().map(|gib| gib << 30),
        allowed: spec.allowed_namespaces.clone(),
        pool: Some(name.clone()),
        made_for: None,
        never: None,
        ready: false,
        slots: vec![],
    };
    Ok(Some(Pool { model, keeps: pool.spec.replicas.min > 0 && !pool.metadata.deleting() }))
}

fn pool_of(lease: &DeviceLease) -> Option<(String, String)> {
    let pool = lease.spec.pool_ref.as_ref()?;
    let own = || lease.metadata.namespace().to_owned();
    Some((pool.namespace.clone().unwrap_or_else(own), pool.name.clone()))
}

/// An object that is not of its kind's form is left out, so that it holds up nobody else.
fn parsed<T: serde::de::DeserializeOwned>(object: &crate::store::Object) -> Option<T> {
    object
        .parse()
        .inspect_err(|error| tracing::warn!(error = error as &dyn std::error::Error, "left out of the queue"))
        .ok()
}

fn seen(uid: Uid, object: &crate::store::Object, machine: &RemoteMachine, slots: Vec<queue::Slot>) -> Machine {
    let spec = &machine.spec;
    let over = |kind: &str| condition::find(&machine.status.conditions, kind).filter(|fact| fact.status == Truth::True);
    let never = match (over(FAILED), over(EXPIRED)) {
        _ if machine.metadata.deleting() => Some("it is being deleted".to_owned()),
        (Some(failed), _) => Some(failed.message.clone()),
        (None, Some(expired)) if expired.reason == "Expired" => Some(expired.message.clone()),
        _ => None,
    };
    let serves = never.is_none() && !spec.suspend;
    Machine {
        uid,
        namespace: machine.metadata.namespace().to_owned(),
        name: machine.metadata.name().to_owned(),
        gpu: spec.gpu.gpu_type,
        count: spec.gpu.count,
        slots_per_gpu: spec.slots_per_gpu,
        memory: spec.gpu.gpu_type.memory_gib().map(|gib| gib << 30),
        allowed: spec.allowed_namespaces.clone(),
        pool: owner::controller_name(&object.body, super::pool::KIND).map(str::to_owned),
        made_for: machine.metadata.annotations.get(offer::MADE_FOR).map(|uid| Uid(uid.clone())),
        never,
        // One that is not heard now is not one that starts: what waits for it waits as for any that is busy.
        ready: matches!(machine.status.phase, Some(MachinePhase::Ready | MachinePhase::Unreachable)),
        slots: if serves { slots } else { vec![] },
    }
}

fn wish(uid: Uid, lease: &DeviceLease, machines: &[Machine], pools: &Pools) -> Waiting {
    let spec = &lease.spec;
    let own = lease.metadata.namespace();
    let machine = spec
        .machine_ref
        .as_ref()
        .map(|machine| (machine.namespace.clone().unwrap_or_else(|| own.to_owned()), machine.name.clone()));
    let mut alternatives: Vec<Ask> = spec
        .gpu
        .iter()
        .map(|ask| Ask {
            gpu: ask.gpu_type,
            count: ask.count,
            memory: ask.memory.as_ref().map(|memory| memory.units()),
        })
        .collect();
    if let (Some((namespace, name)), true) = (&machine, alternatives.is_empty()) {
        let named = machines.iter().find(|machine| machine.namespace == *namespace && machine.name == *name);
        alternatives.extend(named.map(|machine| Ask { gpu: machine.gpu, count: 1, memory: None }));
    }
    let pool = pool_of(lease);
    if let (Some(Some(pool)), true) = (pool.as_ref().and_then(|pool| pools.get(pool)), alternatives.is_empty()) {
        alternatives.push(Ask { gpu: pool.model.gpu, count: 1, memory: None });
    }
    Waiting {
        lease: uid,
        namespace: own.to_owned(),
        head: false,
        not_before: None,
        priority: spec.priority,
        created_at: chrono::DateTime::UNIX_EPOCH,
        alternatives,
        exclusive: spec.mode == Mode::Exclusive,
        machine,
        pool,
    }
}

/// Returns whether the queue must be looked at again.
async fn bind(shared: &Shared, scene: &Scene, placement: &Placement) -> Result<bool, Error> {
    let Some((key, lease, renewing)) = scene.leases.get(&placement.lease) else { return Ok(false) };
    let Some(machine) =
        placement.slots.first().and_then(|slot| scene.machines.iter().find(|machine| machine.uid == slot.machine))
    else {
        return Ok(false);
    };
    let Ok(uid) = Uuid::parse_str(&placement.lease.0) else { return Ok(false) };
    let spec = &lease.spec;
    // Goes on in the trace of the call that made the lease, and hands it to the agent.
    let span = tracing::info_span!("bind", lease = %key);
    telemetry::continue_from(&span, lease.metadata.annotations.get(TRACEPARENT).map_or("", String::as_str));
    let terms = Terms {
        lease: format!("{}/{}", key.namespace, key.name),
        machine: format!("{}/{}", machine.namespace, machine.name),
        gpu: machine.gpu.as_str().to_owned(),
        holder: lease.status.holder.clone().unwrap_or_default(),
        duration_ms: spec.duration.as_millis(),
        reconnect_window_ms: spec.reconnect_window.as_millis(),
        orphan_ms: ORPHAN_TIME.as_millis(),
        resumable: spec.resumable,
        idle_timeout_ms: spec.idle_timeout.as_millis(),
        open_timeout_ms: if *renewing { OPEN_RENEWING_MS } else { OPEN_OTHERS_MS },
        memory_bytes: spec.gpu_memory.as_ref().map_or(0, |memory| memory.units()),
        traceparent: span.in_scope(telemetry::traceparent).unwrap_or_default(),
    };
    let bound = slot::bind(shared.pool(), uid, &placement.slots, &terms, shared.serving_since);
    let bound = bound.instrument(span).await?;
    if bound == Bound::Yes {
        tracing::info!(lease = %terms.lease, machine = %terms.machine, slots = placement.slots.len(), "bound a lease");
        shared.agents.poke();
    }
    shared.wake.wake(Work::Lease(key.clone()));
    shared.wake.wake(Work::Machine(Key::new(Resource::MACHINES, machine.namespace.clone(), machine.name.clone())));
    Ok(bound == Bound::Taken)
}

/// Leaves to each waiting lease what became of it, and to machines who wants them; wakes those for whom that is news.
fn tell(shared: &Shared, scene: &Scene, plan: &Plan) {
    let mut news = vec![];
    {
        let mut verdicts = shared.verdicts();
        for waiting in &scene.waiting {
            let Ok(uid) = Uuid::parse_str(&waiting.lease.0) else { continue };
            let place = plan
                .places
                .iter()
                .find(|(lease, ..)| *lease == waiting.lease)
                .map(|(_, queue, message)| (queue.clone(), message.clone()));
            let verdict = Verdict { fit: fit(scene, waiting), place };
            if verdicts.get(&uid) != Some(&verdict) {
                verdicts.insert(uid, verdict);
                news.extend(scene.leases.get(&waiting.lease).map(|(key, ..)| Work::Lease(key.clone())));
            }
        }
    }
    {
        let mut wanted = shared.wanted();
        let now_wanted: std::collections::BTreeSet<String> = plan.wanted.iter().map(|uid| uid.0.clone()).collect();
        for uid in now_wanted.difference(&wanted) {
            news.extend(scene.keys.get(&Uid(uid.clone())).map(|key| Work::Machine(key.clone())));
        }
        *wanted = now_wanted;
    }
    for work in news {
        shared.wake.wake(work);
    }
}

fn fit(scene: &Scene, waiting: &Waiting) -> Fit {
    let now = queue::fit(waiting, &scene.machines, &scene.offers);
    let Some(named) = waiting.pool.as_ref().filter(|_| now != Fit::Possible) else { return now };
    match scene.pools.get(named) {
        Some(Some(pool)) if pool.keeps => queue::fit(waiting, std::slice::from_ref(&pool.model), &[]),
        Some(Some(_)) => now,
        _ => {
            let (namespace, name) = named;
            let exists = format!("machine pool {namespace}/{name} does not exist; apply one, or ask by GPU type");
            Fit::Never { exists }
        }
    }
}
