//! Quotas: stored and judged; what they ask is not in force yet, and their status says so.

use serde_json::to_value;
use torch_remote_api::condition::{self, Fact, READY, RECONCILING, STALLED, Truth};
use torch_remote_api::quota::{ENFORCED, GpuQuota};

use super::{Again, Error, Shared};
use crate::store::Key;

pub(super) async fn reconcile(shared: &Shared, key: &Key) -> Result<Again, Error> {
    let Some(object) = shared.parts.objects.get(key).await? else { return Ok(None) };
    let quota: GpuQuota = object.parse()?;
    let now = shared.parts.objects.now().await?;
    let mut status = quota.status.clone();
    let message = "this release keeps and judges quotas, and does not enforce them: leases and machines are granted without regard to it";
    for fact in [
        Fact::new(ENFORCED, Truth::False, "NotYetEnforced", message),
        Fact::new(READY, Truth::True, "Accepted", "kept; see the condition Enforced"),
        Fact::new(RECONCILING, Truth::False, "AsAsked", ""),
        Fact::new(STALLED, Truth::False, "NotStalled", ""),
    ] {
        condition::set(&mut status.conditions, fact, object.generation(), now.into());
    }
    status.observed_generation = Some(object.generation());
    if status == quota.status {
        return Ok(None);
    }
    let body = to_value(&status).map_err(Error::Json)?;
    shared.parts.objects.swap(key, &object, &object.clone().with_status(body)).await?;
    Ok(None)
}
