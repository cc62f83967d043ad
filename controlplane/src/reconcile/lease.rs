//! Leases: what is observed, and how a plan is applied.

use serde_json::to_value;
use torch_remote_api::condition;
use torch_remote_api::lease::{BOUND, DeviceLease, DeviceLeaseStatus, ENDED, EndReason, RENEWS, WAITER};
use torch_remote_api::object::LEASE_FINALIZER;
use torch_remote_plan::lease::{self, Action, Desired, Fit, Observation};
use uuid::Uuid;

use super::{Again, Error, Shared, Work, until};
use crate::store::{Key, Object, lease as rows, slot};

pub(super) async fn reconcile(shared: &Shared, key: &Key) -> Result<Again, Error> {
    let Some(object) = shared.parts.objects.get(key).await? else { return Ok(None) };
    let lease: DeviceLease = object.parse()?;
    let Ok(uid) = Uuid::parse_str(object.uid()) else { return Ok(None) };
    let desired = Desired {
        generation: lease.metadata.generation(),
        deleting: lease.metadata.deleting(),
        wait_timeout: Some(lease.spec.wait_timeout.get()),
    };
    let live = rows::live(shared.pool(), uid).await?;
    let (bindings, older) = if live.is_some() { rows::bindings(shared.pool(), uid).await? } else { (vec![], 0) };
    let verdict = shared.verdicts().get(&uid).cloned();
    let wanted = bindings.iter().any(|binding| shared.wanted().contains(&binding.at.machine.0));
    let observed = Observation {
        finalizer: lease.metadata.has_finalizer(LEASE_FINALIZER),
        live,
        bindings,
        older,
        wanted,
        fit: verdict.as_ref().map_or(Fit::Possible, |verdict| verdict.fit.clone()),
        queue: verdict.and_then(|verdict| verdict.place),
        serving_since: shared.serving_since,
        jitter: rand::random(),
        status: lease.status.clone(),
    };
    let now = shared.parts.objects.now().await?;
    let plan = lease::plan(&desired, &observed, now);
    let more = plan.actions.iter().any(|action| !matches!(action, Action::Report(_)));
    for action in &plan.actions {
        apply(shared, (key, &object, uid), &lease.status, action).await?;
    }
    Ok(if more { Some(std::time::Duration::ZERO) } else { until(plan.wake, now) })
}

type Named<'a> = (&'a Key, &'a Object, Uuid);

async fn apply(shared: &Shared, named: Named<'_>, before: &DeviceLeaseStatus, action: &Action) -> Result<(), Error> {
    let (key, object, uid) = named;
    let pool = shared.pool();
    match action {
        Action::AddFinalizer => {
            let mut write = shared.parts.objects.begin().await?;
            write.add_finalizer(key, LEASE_FINALIZER).await?;
            write.commit().await?;
        }
        Action::Enqueue => {
            let renews = object.body["metadata"]["annotations"][WAITER] == RENEWS;
            rows::enqueue(pool, uid, renews).await?;
            shared.wake.wake(Work::Queue);
        }
        Action::PutBack { quarantine, revoke, rest } => {
            if slot::put_back(pool, uid, slot::Left { quarantine, revoke }, *rest).await? {
                let message = "the agent did not acknowledge the bind; the slot is fenced, and the lease is first in its queue again";
                shared.parts.recorder.warning(object, "BindFailed", message);
                metrics::counter!("torchremote_binds_failed_total").increment(1);
            }
            shared.agents.poke();
            shared.wake.wake(Work::Queue);
        }
        Action::Revoke { slots, reason, message } => {
            slot::revoke(pool, slots, reason.as_str(), message).await?;
            shared.agents.poke();
        }
        Action::End { reason, message } => {
            if rows::end(pool, uid, *reason, message).await? {
                ended(shared, object, *reason, message);
            }
            shared.verdicts().remove(&uid);
            shared.wake.wake(Work::Queue);
        }
        Action::RemoveFinalizer => {
            let mut write = shared.parts.objects.begin().await?;
            write.remove_finalizer(key, LEASE_FINALIZER).await?;
            write.commit().await?;
            shared.verdicts().remove(&uid);
        }
        Action::Report(status) => report(shared, named, before, status).await?,
    }
    Ok(())
}

fn ended(shared: &Shared, object: &Object, reason: EndReason, message: &str) {
    let recorder = &shared.parts.recorder;
    metrics::counter!("torchremote_lease_terminations_total", "reason" => reason.as_str()).increment(1);
    match reason {
        EndReason::Goodbye | EndReason::Expired | EndReason::Idle | EndReason::Revoked => {
            recorder.normal(object, "Released", format!("{}: {message}", reason.as_str()))
        }
        _ => recorder.warning(object, reason.as_str(), message),
    }
}

async fn report(
    shared: &Shared,
    (key, object, _): Named<'_>,
    before: &DeviceLeaseStatus,
    status: &DeviceLeaseStatus,
) -> Result<(), Error> {
    let body = to_value(status).map_err(Error::Json)?;
    shared.parts.objects.swap(key, object, &object.clone().with_status(body)).await?;
    let turned = |kind| condition::holds(&status.conditions, kind) && !condition::holds(&before.conditions, kind);
    if turned(BOUND) {
        let slots: Vec<String> =
            status.devices.iter().map(|device| format!("{} slot {}", device.machine, device.slot)).collect();
        shared.parts.recorder.normal(object, "Bound", format!("bound to {}", slots.join(", ")));
    }
    if turned(ENDED) {
        let held = condition::holds(&before.conditions, BOUND);
        tracing::info!(lease = %key, held, phase = ?status.phase, "a lease has ended");
    }
    Ok(())
}
