//! Figures that cost nothing to keep. No label names a lease or a machine.

use torch_remote_api::condition::Truth;

use crate::store::lease;

/// Leases that are not over, by state.
pub(super) async fn leases(pool: &sqlx::PgPool) {
    let Ok(counts) = lease::count(pool).await else { return };
    for state in ["Waiting", "Bound"] {
        let count = counts.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
        metrics::gauge!("torchremote_leases", "phase" => state)
            .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }
}

/// A machine became ready, or is not any more.
pub(super) fn machine(before: Option<Truth>, after: Option<Truth>) {
    let ready = |truth: Option<Truth>| truth == Some(Truth::True);
    match (ready(before), ready(after)) {
        (false, true) => metrics::counter!("torchremote_machine_transitions_total", "to" => "Ready").increment(1),
        (true, false) => metrics::counter!("torchremote_machine_transitions_total", "to" => "NotReady").increment(1),
        _ => {}
    }
}
