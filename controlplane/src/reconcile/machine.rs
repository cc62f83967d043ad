//! Machines: what is observed, and how a plan is applied.

mod desired;

use sha2::{Digest, Sha256};
use torch_remote_api::condition::{self, Truth};
use torch_remote_api::machine::{EXPIRED, FAILED, READY, RemoteMachine, RemoteMachineStatus};
use torch_remote_api::object::MACHINE_FINALIZER;
use torch_remote_plan::Observed;
use torch_remote_plan::machine::{self, Action, Agent, AttemptState, Desired, End, Instance, Observation};
use uuid::Uuid;

use desired::{desired, named, provider_for};

use super::{Again, Error, Shared, Work, until};
use crate::agents::Target;
use crate::provider::{self, AgentTerms, Provider, Request, Sighting};
use crate::store::claim::Claim;
use crate::store::machine::{self as rows, Held, New, Scene, Stored};
use crate::store::{Key, Object, Resource, agent, owner};

/// While another replica has the machine.
const ELSEWHERE: std::time::Duration = std::time::Duration::from_secs(5);

/// When an action's precondition was gone: another replica has the machine, and the claim says so at its next renewal.
const OVERTAKEN: std::time::Duration = std::time::Duration::from_secs(1);

/// What one look has found, for applying.
struct Look {
    key: Key,
    object: Object,
    machine: RemoteMachine,
    uid: Uuid,
    /// None on a machine at rest: what is done for it is compare-and-set on its object.
    claim: Option<Claim>,
    stored: Option<Stored>,
    desired: Desired,
    provider: Option<std::sync::Arc<dyn Provider>>,
}

pub(super) async fn reconcile(shared: &Shared, key: &Key) -> Result<Again, Error> {
    let Some(scene) = rows::scene(&shared.parts.objects, key).await? else { return Ok(None) };
    let Scene { object, uid, provider, stored, held, now } = scene;
    let machine: RemoteMachine = object.parse()?;
    let claim = if at_rest(&machine, stored.as_ref()) {
        shared.claims.give_back(uid).await?;
        None
    } else {
        let Some(claim) = shared.claims.hold(uid).await? else { return Ok(Some(ELSEWHERE)) };
        Some(claim)
    };
    let (wished, accepted, prices) = provider_for(shared, &machine, provider).await?;
    let desired = Desired { prices, ..desired(&machine, wished.as_deref(), accepted) };
    let provider = match &stored {
        Some(stored) if stored.provider != machine.spec.provider && !gone(stored) => {
            named(shared, &stored.provider).await?
        }
        _ => wished,
    };
    let mut look = Look { key: key.clone(), object, machine, uid, claim, stored, desired, provider };
    // Under a claim: what its leases say counts from then on, and the time when the provider has answered.
    let held = if claim.is_some() { rows::held(shared.pool(), uid).await? } else { held };
    let observed = observe(shared, &mut look, held).await?;
    let now = if claim.is_some() { shared.parts.objects.now().await? } else { now };
    let plan = machine::plan(&look.desired, &observed, now);
    let mut next = until(plan.wake, now);
    let (mut finalizer, mut status) = (false, None);
    for action in &plan.actions {
        match action {
            Action::AddFinalizer => finalizer = true,
            Action::Report(fresh) => status = Some(&**fresh),
            action => {
                let done = apply(shared, &look, action).await?;
                next = Some(if done { std::time::Duration::ZERO } else { OVERTAKEN });
            }
        }
    }
    if finalizer || status.is_some() {
        write(shared, &look, finalizer, status).await?;
    }
    // What else is to be done waits for the finalizer; for a machine at rest there is nothing.
    Ok(if finalizer && look.claim.is_some() { Some(std::time::Duration::ZERO) } else { next })
}

/// Suspended, with nothing to end: there may be thousands, and none of them costs a claim, its renewals, or a look at each scan.
fn at_rest(machine: &RemoteMachine, stored: Option<&Stored>) -> bool {
    machine.spec.suspend && !machine.metadata.deleting() && stored.is_none_or(gone)
}

fn gone(stored: &Stored) -> bool {
    matches!(stored.attempt.state, AttemptState::Gone { .. })
}

async fn observe(shared: &Shared, look: &mut Look, held: Held) -> Result<Observation, Error> {
    let pool = shared.pool();
    let mut instance = Observed::Known(Instance::Absent { why: String::new() });
    let mut agent = Agent::Unknown;
    match (&look.stored, look.claim) {
        (Some(stored), Some(claim)) if !gone(stored) => {
            let sighting = sight(shared, look.provider.as_deref(), &stored.token).await;
            if let (Observed::Known(Sighting::Running(running)), AttemptState::Created { .. }) =
                (&sighting, &stored.attempt.state)
            {
                let target = Target {
                    claim,
                    attempt: stored.attempt.number,
                    machine: look.key.clone(),
                    control: running.control.clone(),
                };
                shared.agents.join(target);
                agent = agent::sight(pool, claim, stored.attempt.number, look.desired.slots).await?;
            } else if !matches!(sighting, Observed::Unknown) {
                shared.agents.leave(look.uid);
            }
            instance = match sighting {
                Observed::Known(Sighting::Running(running)) => {
                    Observed::Known(Instance::Running { provider_id: running.provider_id })
                }
                Observed::Known(Sighting::Absent { why }) => Observed::Known(Instance::Absent { why }),
                Observed::Unknown => Observed::Unknown,
            };
        }
        _ => shared.agents.leave(look.uid),
    }
    Ok(Observation {
        finalizer: look.machine.metadata.has_finalizer(MACHINE_FINALIZER),
        attempt: look.stored.as_ref().map(|stored| stored.attempt.clone()),
        instance,
        agent,
        leases: held.leases,
        last_release: held.last_release,
        wanted: shared.wanted().contains(&look.uid.to_string()),
        jitter: jitter(look.uid, look.stored.as_ref()),
        status: look.machine.status.clone(),
    })
}

async fn sight(shared: &Shared, provider: Option<&dyn Provider>, token: &str) -> Observed<Sighting> {
    let Some(provider) = provider else { return Observed::Unknown };
    match tokio::time::timeout(shared.parts.timing.provider, provider.find(token)).await {
        Ok(Ok(sighting)) => Observed::Known(sighting),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, token, "the provider could not look");
            Observed::Unknown
        }
        Err(_) => Observed::Unknown,
    }
}

/// The same for the same attempt, so that a plan is repeatable; another for each machine and attempt.
fn jitter(machine: Uuid, stored: Option<&Stored>) -> f64 {
    let number = stored.map_or(0, |stored| stored.attempt.number);
    let digest = Sha256::digest(format!("{machine}/{number}"));
    f64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])) / f64::from(u32::MAX)
}

/// Deterministic: whoever plans the same attempt names it the same.
fn token(machine: Uuid, number: u32) -> String {
    format!("tr-{}-{number}", machine.simple())
}

/// False when the action's precondition did not hold any more: then nothing was done.
async fn apply(shared: &Shared, look: &Look, action: &Action) -> Result<bool, Error> {
    let Some(claim) = look.claim else { return Ok(false) };
    let (pool, recorder) = (shared.pool(), &shared.parts.recorder);
    match action {
        // Of the object alone: `write` does them.
        Action::AddFinalizer | Action::Report(_) => {}
        Action::RecordIntent(intent) => {
            let token = token(claim.machine, intent.number);
            let spec = &look.machine.spec;
            let gpus: Vec<i32> =
                (0..spec.slots()).map(|slot| i32::try_from(slot / spec.slots_per_gpu.max(1)).unwrap_or(0)).collect();
            let new = New { intent, token: &token, provider: &spec.provider, gpus: &gpus };
            let made = rows::record_intent(pool, claim, new).await?;
            wake_provider(shared, &spec.provider);
            return Ok(made);
        }
        Action::Create { number } => return create(shared, look, claim, *number).await,
        Action::RecordCreated { number, provider_id } => {
            if !rows::record_created(pool, claim, *number, provider_id).await? {
                return Ok(false);
            }
            let text = format!("attempt {number}: the provider has started {provider_id}");
            recorder.normal(&look.object, "Launched", text);
        }
        Action::RecordReady { number } => {
            if !rows::record_ready(pool, claim, *number).await? {
                return Ok(false);
            }
            let text = format!("attempt {number}: all slots are warm and can be leased");
            recorder.normal(&look.object, "Ready", text);
            shared.wake.wake(Work::Queue);
        }
        Action::BeginEnd { number, end, message } => {
            if !rows::begin_end(pool, claim, *number, (*end, message)).await? {
                return Ok(false);
            }
            recorder.normal(&look.object, end.as_str(), format!("attempt {number} is to end: {message}"));
        }
        Action::Terminate { number, force } => {
            let (Some(stored), Some(provider)) = (&look.stored, &look.provider) else { return Ok(false) };
            if !rows::record_asked(pool, claim, *number, "Ending").await? {
                return Ok(false);
            }
            terminate(shared, &**provider, &stored.token, *force).await;
            tracing::debug!(machine = %look.key, number, force, "asked the provider to end an instance");
        }
        Action::RecordGone { number, end, message } => {
            return record_gone(shared, look, claim, (*number, *end, message)).await;
        }
        Action::RemoveFinalizer => {
            forget(shared, claim.machine).await;
            let mut write = shared.parts.objects.begin().await?;
            write.remove_finalizer(&look.key, MACHINE_FINALIZER).await?;
            write.commit().await?;
            rows::forget(pool, claim).await?;
            shared.claims.forget(claim.machine);
            shared.wake.wake(Work::Queue);
            wake_pool(shared, &look.object);
        }
    }
    Ok(true)
}

async fn create(shared: &Shared, look: &Look, claim: Claim, number: u32) -> Result<bool, Error> {
    let (Some(stored), Some(provider)) = (&look.stored, &look.provider) else { return Ok(false) };
    if !rows::record_asked(shared.pool(), claim, number, "Intent").await? {
        return Ok(false);
    }
    let terms = AgentTerms {
        issuer: shared.parts.keys.issuer().to_owned(),
        jwks: shared.parts.keys.jwks(),
        dead_man_ms: u64::try_from(shared.parts.timing.dead_man.as_millis()).unwrap_or(u64::MAX),
        heartbeat_ms: u64::try_from(shared.parts.timing.heartbeat.as_millis()).unwrap_or(u64::MAX),
        otlp: shared.parts.otlp.clone(),
    };
    let request = Request {
        token: stored.token.clone(),
        machine_uid: look.uid.to_string(),
        machine: format!("{}/{}", look.key.namespace, look.key.name),
        spec: look.machine.spec.clone(),
        agent: terms,
    };
    match tokio::time::timeout(shared.parts.timing.provider, provider.create(&request)).await {
        Ok(Ok(())) => {}
        Ok(Err(provider::Error::Refused { message, .. })) => {
            shared.parts.recorder.warning(&look.object, "CreateFailed", format!("attempt {number}: {message}"));
            rows::record_gone(shared.pool(), claim, number, (End::CreateFailed, &message)).await?;
        }
        // Whether it was made is not known: the next look at the provider says.
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, token = request.token, "no answer to a create")
        }
        Err(_) => tracing::warn!(token = request.token, "no answer to a create in time"),
    }
    Ok(true)
}

pub(super) async fn terminate(shared: &Shared, provider: &dyn Provider, token: &str, force: bool) {
    match tokio::time::timeout(shared.parts.timing.provider, provider.terminate(token, force)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            token,
            "the provider could not end an instance; asked again"
        ),
        Err(_) => {
            tracing::warn!(token, "the provider did not answer in time when asked to end an instance; asked again")
        }
    }
}

/// Lets the providers drop what they kept of a machine that is gone, before it is forgotten here; its attempts may have had several.
pub(super) async fn forget(shared: &Shared, machine: Uuid) {
    let uid = machine.to_string();
    for provider in shared.parts.providers.all() {
        match tokio::time::timeout(shared.parts.timing.provider, provider.forget(&uid)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, uid, "what was kept of a machine stays");
            }
            Err(_) => tracing::warn!(uid, "what was kept of a machine may stay: no answer in time"),
        }
    }
}

/// The pool that the machine is of, if any, counts it anew.
fn wake_pool(shared: &Shared, machine: &Object) {
    if let Some(name) = owner::controller_name(&machine.body, super::pool::KIND) {
        shared.wake.wake(Work::Pool(Key::new(Resource::POOLS, machine.namespace(), name)));
    }
}

/// Its count of machines has changed.
fn wake_provider(shared: &Shared, name: &str) {
    shared.wake.wake(Work::Provider(Key::cluster(Resource::PROVIDERS, name)));
}

async fn record_gone(
    shared: &Shared,
    look: &Look,
    claim: Claim,
    (number, end, message): (u32, End, &String),
) -> Result<bool, Error> {
    let held = rows::held(shared.pool(), look.uid).await?;
    if !rows::record_gone(shared.pool(), claim, number, (end, message)).await? {
        return Ok(false);
    }
    let text = format!("attempt {number} is gone: {message}");
    match end.is_failure() {
        true => shared.parts.recorder.warning(&look.object, end.as_str(), text),
        false => shared.parts.recorder.normal(&look.object, "Gone", text),
    }
    if let Some(stored) = &look.stored {
        wake_provider(shared, &stored.provider);
    }
    shared.agents.leave(look.uid);
    for lease in held.leases.iter().filter_map(|lease| super::key(Resource::LEASES, lease)) {
        shared.wake.wake(Work::Lease(lease));
    }
    shared.wake.wake(Work::Queue);
    Ok(true)
}

/// What is to change of the object itself, in one write.
async fn write(
    shared: &Shared,
    look: &Look,
    finalizer: bool,
    status: Option<&RemoteMachineStatus>,
) -> Result<(), Error> {
    let mut after = look.object.clone();
    if let Some(status) = status {
        after = after.with_status(serde_json::to_value(status).map_err(Error::Json)?);
    }
    if finalizer {
        after = after.with_finalizer(MACHINE_FINALIZER);
    }
    let version = shared.parts.objects.swap(&look.key, &look.object, &after).await?;
    if let Some(version) = version.filter(|_| look.claim.is_none()) {
        // At rest, and now it says so.
        shared.parts.objects.settled(version);
        if status.is_some_and(|status| barred(status) != barred(&look.machine.status)) {
            shared.wake.wake(Work::Queue);
        }
    }
    if let Some(status) = status {
        tell(shared, look, status);
    }
    Ok(())
}

/// What the queue tells those who wait for the machine: that it has ended for good.
fn barred(status: &RemoteMachineStatus) -> [bool; 2] {
    let over = |kind| condition::find(&status.conditions, kind).is_some_and(|fact| fact.status == Truth::True);
    [over(EXPIRED), over(FAILED)]
}

/// Whoever waits for a status like this one hears of it.
fn tell(shared: &Shared, look: &Look, status: &RemoteMachineStatus) {
    wake_pool(shared, &look.object);
    let ready = |status: &RemoteMachineStatus| {
        condition::find(&status.conditions, READY).map(|ready| (ready.status, ready.reason.clone()))
    };
    let (before, after) = (ready(&look.machine.status), ready(status));
    if before == after {
        return;
    }
    if let Some(fact) = condition::find(&status.conditions, READY).filter(|fact| fact.status != Truth::True) {
        let worth = [
            "BackOff",
            "RetriesExhausted",
            "AgentSilent",
            "NoSuchProvider",
            "ProviderNotServed",
            "NoSuchGPU",
            "NoAgent",
            "NotOffered",
        ];
        if worth.contains(&fact.reason.as_str()) {
            let launched = condition::find(&status.conditions, torch_remote_api::machine::LAUNCHED);
            let message =
                [fact.message.as_str(), launched.map(|launched| launched.message.as_str()).unwrap_or_default()];
            let message = message.into_iter().find(|message| !message.is_empty()).unwrap_or_default();
            shared.parts.recorder.warning(&look.object, &fact.reason, message);
        }
    }
    super::metrics::machine(before.map(|before| before.0), after.map(|after| after.0));
    shared.wake.wake(Work::Queue);
}
