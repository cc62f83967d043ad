//! What lives without an object: instances of machines, and slots of leases, whose object was removed by force. And what has lived too long: leases that
//! were over a day ago, and rows that nobody can ask about any more.

use std::time::Duration;

use torch_remote_api::lease::EndReason;
use torch_remote_api::provider::Provider as ProviderObject;
use torch_remote_plan::machine::{AttemptState, End, TERMINATE_GRACE};
use uuid::Uuid;

use super::{Again, Error, Shared, Work};
use crate::provider::{Local, Provider, Sighting};
use crate::store::claim;
use crate::store::machine as rows;
use crate::store::{self, Key, Objects, Preconditions, Resource, lease, slot};

/// While something is on its way out.
const SOON: Duration = Duration::from_secs(1);

pub(super) async fn reconcile(shared: &Shared) -> Result<Again, Error> {
    let mut left = false;
    for machine in rows::unowned(shared.pool()).await? {
        left |= end_machine(shared, machine).await?;
    }
    for uid in lease::unowned(shared.pool()).await? {
        left |= end_lease(shared, uid).await?;
    }
    for (key, uid) in lease::long_over(shared.pool()).await? {
        let mut write = shared.parts.objects.begin().await?;
        let that = Preconditions { version: None, uid: Some(uid.to_string()) };
        match write.delete(&key, &that).await {
            Ok(_) => write.commit().await.map(drop)?,
            // Its owner came first.
            Err(store::Error::NotFound { .. } | store::Error::OtherUid { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    slot::forget_old(shared.pool()).await?;
    Ok(left.then_some(SOON))
}

async fn end_machine(shared: &Shared, machine: Uuid) -> Result<bool, Error> {
    let Some(claim) = shared.claims.hold(machine).await? else { return Ok(false) };
    let Some(stored) = rows::latest(shared.pool(), machine).await? else { return Ok(false) };
    let number = stored.attempt.number;
    shared.agents.leave(machine);
    let Some(object) = shared.parts.objects.get(&Key::cluster(Resource::PROVIDERS, stored.provider.as_str())).await?
    else {
        return Ok(false);
    };
    let Some(provider) = shared.parts.providers.get(object.parse::<ProviderObject>()?.spec.provider_type) else {
        return Ok(false);
    };
    let Ok(Ok(sighting)) = tokio::time::timeout(shared.parts.timing.provider, provider.find(&stored.token)).await
    else {
        return Ok(true);
    };
    let why = "its object was removed by force";
    if matches!(sighting, Sighting::Absent { .. }) {
        rows::record_gone(shared.pool(), claim, number, (End::Deleted, why)).await?;
        super::machine::forget(shared, machine).await;
        rows::forget(shared.pool(), claim).await?;
        shared.claims.forget(machine);
        shared.wake.wake(Work::Queue);
        return Ok(false);
    }
    rows::begin_end(shared.pool(), claim, number, (End::Deleted, why)).await?;
    let now = shared.parts.objects.now().await?;
    let force = matches!(stored.attempt.state, AttemptState::Ending { since, .. } if now >= since + TERMINATE_GRACE);
    super::machine::terminate(shared, &*provider, &stored.token, force).await;
    Ok(true)
}

async fn end_lease(shared: &Shared, uid: Uuid) -> Result<bool, Error> {
    let (bindings, older) = lease::bindings(shared.pool(), uid).await?;
    let held: Vec<_> =
        bindings.iter().filter(|binding| binding.released.is_none()).map(|binding| binding.at.clone()).collect();
    if held.is_empty() && older == 0 {
        lease::end(shared.pool(), uid, EndReason::Revoked, "its object was removed by force").await?;
        return Ok(false);
    }
    // Where its machine is gone too, nobody is left to revoke these.
    let refused: Vec<_> = bindings
        .iter()
        .filter(|binding| binding.released.is_none() && binding.refused.is_some())
        .map(|binding| binding.at.clone())
        .collect();
    if !refused.is_empty() {
        let left = slot::Left { quarantine: &refused, revoke: &[] };
        slot::put_back(shared.pool(), uid, left, Duration::ZERO).await?;
        return Ok(true);
    }
    slot::revoke(shared.pool(), &held, EndReason::Revoked.as_str(), "its object was removed by force").await?;
    shared.agents.poke();
    Ok(true)
}

/// Ends all agents of the provider `Local`, for a control plane that is stopped for good by its user: those that do not end within `grace` are killed.
/// Their machines start again, without a failure counted, when a control plane does. Call it when the driver has stopped.
///
/// # Errors
/// The database failed, or processes could not be looked at; then some agents may be left, and end by their dead-man switch.
pub async fn stop_local(objects: &Objects, local: &Local, replica: &str, grace: Duration) -> anyhow::Result<usize> {
    use anyhow::Context as _;
    let tokens = local.end_all(grace).await.context("could not end the local agents")?;
    let mut ended = 0;
    for object in objects.list(Resource::PROVIDERS, None).await?.items {
        if object.parse::<ProviderObject>()?.spec.provider_type != torch_remote_api::provider::ProviderType::Local {
            continue;
        }
        for (token, machine) in rows::live_tokens(objects.pool(), object.name()).await? {
            if !matches!(local.find(&token).await?, Sighting::Absent { .. }) {
                continue;
            }
            for claim in claim::acquire(objects.pool(), replica, &[machine]).await? {
                let Some(stored) = rows::latest(objects.pool(), machine).await? else { continue };
                let why = "the control plane was stopped, and its local machines with it";
                rows::record_gone(objects.pool(), claim, stored.attempt.number, (End::Stopped, why)).await?;
                claim::release(objects.pool(), replica, &[claim]).await?;
                ended += 1;
            }
        }
    }
    tracing::debug!(agents = tokens.len(), machines = ended, "local machines are stopped");
    Ok(ended)
}
