//! Providers: whether this control plane can use them, and how many machines they have.

use torch_remote_api::condition::{self, Fact, RECONCILING, STALLED, Truth};
use torch_remote_api::object::PROVIDER_FINALIZER;
use torch_remote_api::provider::{Provider, READY, Sweep, VERIFIED};

use super::{Again, Error, Shared};
use crate::store::{Key, Preconditions, machine};

/// Between two looks at what the provider has.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(120);

pub(super) async fn reconcile(shared: &Shared, key: &Key) -> Result<Again, Error> {
    let Some(object) = shared.parts.objects.get(key).await? else { return Ok(None) };
    let provider: Provider = object.parse()?;
    let live = machine::live_tokens(shared.pool(), &key.name).await?;
    if object.deleting() {
        if live.is_empty() {
            let mut write = shared.parts.objects.begin().await?;
            write.remove_finalizer(key, PROVIDER_FINALIZER).await?;
            write.commit().await?;
        }
        return Ok(None);
    }
    let now = shared.parts.objects.now().await?;
    let mut status = provider.status.clone();
    let served = shared.parts.providers.get(provider.spec.provider_type);
    let (truth, reason, message) = match &served {
        Some(_) => (Truth::True, "Verified", String::new()),
        None => (
            Truth::False,
            "NotServed",
            format!("this control plane can not make machines of type {}", provider.spec.provider_type.as_str()),
        ),
    };
    condition::set(
        &mut status.conditions,
        Fact::new(VERIFIED, truth, reason, message.clone()),
        object.generation(),
        now.into(),
    );
    condition::set(
        &mut status.conditions,
        Fact::new(READY, truth, if truth == Truth::True { "Ready" } else { reason }, message.clone()),
        object.generation(),
        now.into(),
    );
    let (stalled, why) = match truth {
        Truth::True => (Truth::False, "NotStalled"),
        _ => (Truth::True, reason),
    };
    for fact in [Fact::new(RECONCILING, Truth::False, "AsAsked", ""), Fact::new(STALLED, stalled, why, message)] {
        condition::set(&mut status.conditions, fact, object.generation(), now.into());
    }
    status.observed_generation = Some(object.generation());
    status.machines = u32::try_from(live.len()).ok();
    if truth == Truth::True && status.verified.is_none() {
        status.verified = Some(now.into());
    }
    let due = status.last_sweep.as_ref().is_none_or(|last| {
        now - last.time.get() >= chrono::TimeDelta::from_std(SWEEP).unwrap_or(chrono::TimeDelta::MAX)
    });
    if let (Some(served), true) = (served, due)
        && let Ok(Ok(tokens)) = tokio::time::timeout(shared.parts.timing.provider, served.list()).await
    {
        // What is not in our log, or gone in it, may belong to a database that was restored: it is counted and said, and its own dead-man switch ends it.
        let orphans = tokens.iter().filter(|token| live.iter().all(|(ours, _)| ours != *token)).count();
        if orphans > 0 {
            let message = format!(
                "{orphans} instances carry our name and belong to no machine; they end by themselves without contact"
            );
            shared.parts.recorder.warning(&object, "Orphans", message);
        }
        status.last_sweep = Some(Sweep { time: now.into(), orphans: u32::try_from(orphans).unwrap_or(u32::MAX) });
    }
    status.phase = Some(status.derive_phase(false));
    let body = serde_json::to_value(&status).map_err(Error::Json)?;
    let mut write = shared.parts.objects.begin().await?;
    write.add_finalizer(key, PROVIDER_FINALIZER).await?;
    write.update_status(key, body, &Preconditions { version: None, uid: Some(object.uid().to_owned()) }).await?;
    write.commit().await?;
    Ok(Some(SWEEP))
}
