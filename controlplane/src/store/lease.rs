//! The hot half of leases: their wait, their rounds of binding, their end.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use torch_remote_api::lease::{ENDED_KEPT, EndReason, Endpoint, RENEWS, WAITER};
use torch_remote_api::object::LEASE_FINALIZER;
use torch_remote_plan::lease::{Binding, Live, Phase, Release, State};
use uuid::Uuid;

use super::slot::{SILENT_SECONDS, Terms, place};
use super::{Error, Key, Resource};

/// A lease in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct InQueue {
    /// The object: its spec says what is asked for.
    pub body: Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// It was put back.
    pub head: bool,
    /// Not to be bound before.
    pub not_before: Option<DateTime<Utc>>,
    /// Its waiter renews: it was made by the SDK.
    pub renewing: bool,
}

/// Its row.
///
/// # Errors
/// The database failed.
pub async fn live(pool: &PgPool, lease: Uuid) -> Result<Option<Live>, Error> {
    let row = sqlx::query!(
        "select state, waiting_since, put_back, renewed_at, end_reason, end_message from lease_live where lease_uid = $1",
        lease
    );
    let Some(row) = row.fetch_optional(pool).await.map_err(Error::database("read a lease"))? else { return Ok(None) };
    let state = match row.state.as_str() {
        "Waiting" => State::Waiting,
        "Bound" => State::Bound,
        _ => State::Ended {
            reason: row.end_reason.as_deref().and_then(EndReason::parse).unwrap_or(EndReason::Revoked),
            message: row.end_message.unwrap_or_default(),
        },
    };
    let put_back = super::machine::unsigned(row.put_back);
    Ok(Some(Live { state, waiting_since: row.waiting_since, put_back, renewed_at: row.renewed_at }))
}

/// The bindings of its latest round, and how many of earlier rounds are not released.
///
/// # Errors
/// The database failed.
pub async fn bindings(pool: &PgPool, lease: Uuid) -> Result<(Vec<Binding>, u32), Error> {
    let rows = sqlx::query!(
        r#"select b.machine_uid, b.slot, b.epoch, b.terms, b.bound_at, b.acked_at is not null as "acked!", b.endpoints, b.refused, b.session_at,
                  b.revoked_at is not null as "revoked!", b.released_at is not null as "released!", b.release_reason, b.release_message, s.gpu, s.phase, s.silent_ms, s.idle_ms,
                  coalesce(a.seen_at > clock_now() - $2 * interval '1 second' and a.boot_id = b.boot_id, false) as "heard!",
                  b.round = l.round as "current!"
           from binding b join lease_live l using (lease_uid) join slot s on s.machine_uid = b.machine_uid and s.slot = b.slot
           left join agent_seen a on a.machine_uid = b.machine_uid where b.lease_uid = $1 order by b.machine_uid, b.slot"#,
        lease,
        SILENT_SECONDS
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read the bindings of a lease"))?;
    let older = rows.iter().filter(|row| !row.current && !row.released).count();
    let mut bindings = vec![];
    for row in rows.into_iter().filter(|row| row.current) {
        let terms: Option<Terms> = serde_json::from_value(row.terms).ok();
        let endpoints: Option<Vec<Endpoint>> =
            row.endpoints.and_then(|endpoints| serde_json::from_value(endpoints).ok());
        let release = || Release {
            reason: row.release_reason.as_deref().and_then(EndReason::parse).unwrap_or(EndReason::Crashed),
            message: row.release_message.clone().unwrap_or_default(),
        };
        bindings.push(Binding {
            at: place(row.machine_uid, row.slot, row.epoch),
            machine: terms.as_ref().map(|terms| terms.machine.clone()).unwrap_or_default(),
            gpu: super::machine::unsigned(row.gpu),
            gpu_type: terms.as_ref().and_then(|terms| terms.gpu.parse().ok()),
            bound_at: row.bound_at,
            duration: terms.as_ref().map(|terms| std::time::Duration::from_millis(terms.duration_ms)),
            acked: row.acked.then(|| endpoints.unwrap_or_default()),
            refused: row.refused,
            session_at: row.session_at,
            revoked: row.revoked,
            released: row.released.then(release),
            phase: if row.heard { phase(&row.phase) } else { Phase::Unknown },
            silent: std::time::Duration::from_millis(row.silent_ms.cast_unsigned()),
            idle: std::time::Duration::from_millis(row.idle_ms.cast_unsigned()),
        });
    }
    Ok((bindings, u32::try_from(older).unwrap_or(u32::MAX)))
}

fn phase(name: &str) -> Phase {
    match name {
        "WARMING" => Phase::Warming,
        "FREE" | "BOUND" => Phase::Idle,
        "ACTIVE" => Phase::Active,
        "DISCONNECTED" => Phase::Disconnected,
        "RELEASING" => Phase::Releasing,
        _ => Phase::Unknown,
    }
}

/// Puts it into the queue, by the time its object was made. `renews`: its waiter says that it renews, and is gone when it does not. Safe to repeat.
///
/// # Errors
/// The database failed.
pub async fn enqueue(pool: &PgPool, lease: Uuid, renews: bool) -> Result<(), Error> {
    let made = sqlx::query!(
        "insert into lease_live (lease_uid, created_at, waiting_since, renewed_at)
         values ($1, coalesce((select o.created_at from object o where o.uid = $1), clock_now()), clock_now(), case when $2 then clock_now() end)
         on conflict do nothing",
        lease,
        renews
    );
    made.execute(pool).await.map_err(Error::database("put a lease into the queue")).map(drop)
}

/// Puts every lease into the queue that was made and is in none, so that none goes before an elder one whose turn to be looked at has not come.
///
/// # Errors
/// The database failed.
pub async fn enqueue_all(pool: &PgPool) -> Result<(), Error> {
    let made = sqlx::query!(
        "insert into lease_live (lease_uid, created_at, waiting_since, renewed_at)
         select uid, created_at, clock_now(), case when body #>> array['metadata', 'annotations', $3] = $4 then clock_now() end
         from object where grp = $1 and plural = $2 and not deleting and body #> '{metadata,finalizers}' ? $5
         and not exists (select from lease_live l where l.lease_uid = uid) on conflict do nothing",
        Resource::LEASES.group,
        Resource::LEASES.plural,
        WAITER,
        RENEWS,
        LEASE_FINALIZER
    );
    made.execute(pool).await.map_err(Error::database("put new leases into the queue")).map(drop)
}

/// Its waiter is alive. True while it waits or is bound; false when it is over or was never seen.
///
/// # Errors
/// The database failed.
pub async fn renew(pool: &PgPool, lease: Uuid) -> Result<bool, Error> {
    // The first renewal may come before the first reconcile, so it makes the row as that would.
    let done = sqlx::query_scalar!(
        "insert into lease_live (lease_uid, created_at, waiting_since, renewed_at)
         values ($1, coalesce((select o.created_at from object o where o.uid = $1), clock_now()), clock_now(), clock_now())
         on conflict (lease_uid) do update set renewed_at = clock_now() where lease_live.state <> 'Ended' returning lease_uid",
        lease
    );
    done.fetch_optional(pool).await.map_err(Error::database("renew a wait")).map(|row| row.is_some())
}

/// It is over. False when it was already, or when a slot of it is not released.
///
/// # Errors
/// The database failed.
pub async fn end(pool: &PgPool, lease: Uuid, reason: EndReason, message: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update lease_live l set state = 'Ended', ended_at = clock_now(), end_reason = $2, end_message = $3 where lease_uid = $1 and state <> 'Ended'
         and (state = 'Waiting' or not exists (select from binding b where b.lease_uid = l.lease_uid and b.round = l.round and b.released_at is null))",
        lease,
        reason.as_str(),
        message
    );
    done.execute(pool).await.map_err(Error::database("end a lease")).map(|done| done.rows_affected() == 1)
}

/// All that wait.
///
/// # Errors
/// The database failed.
pub async fn waiting(pool: &PgPool) -> Result<Vec<InQueue>, Error> {
    let rows = sqlx::query!(
        "select o.body, l.created_at, l.put_back > 0 as \"head!\", l.not_before, l.renewed_at is not null as \"renewing!\" from lease_live l join object o on o.uid = l.lease_uid
         where l.state = 'Waiting' and not o.deleting"
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read the queue"))?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|row| InQueue {
            body: row.body,
            created_at: row.created_at,
            head: row.head,
            not_before: row.not_before,
            renewing: row.renewing,
        })
        .collect())
}

/// Leases whose object is gone (removed by force) and that are not over, with slots to revoke.
///
/// # Errors
/// The database failed.
pub async fn unowned(pool: &PgPool) -> Result<Vec<Uuid>, Error> {
    let rows = sqlx::query_scalar!(
        "select lease_uid from lease_live l where state <> 'Ended' and not exists (select from object o where o.uid = l.lease_uid)"
    );
    rows.fetch_all(pool).await.map_err(Error::database("look for leases without an object"))
}

/// Leases that a scan looks at: all but those that are over and say so, which change no more.
///
/// # Errors
/// The database failed.
pub async fn open(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"select o.ns, o.name from object o left join lease_live l on l.lease_uid = o.uid where o.grp = $1 and o.plural = $2
           and not (coalesce(l.state = 'Ended', false) and not o.deleting and coalesce(o.body #> '{status,conditions}' @> '[{"type": "Released", "status": "True"}]', false))"#,
        Resource::LEASES.group,
        Resource::LEASES.plural
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for open leases"))?;
    Ok(rows.into_iter().map(|row| Key::new(Resource::LEASES, row.ns, row.name)).collect())
}

/// Objects of leases that were over [`ENDED_KEPT`] ago, with their uids; some of them, if they are many.
///
/// # Errors
/// The database failed.
pub async fn long_over(pool: &PgPool) -> Result<Vec<(Key, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select o.ns, o.name, o.uid from lease_live l join object o on o.uid = l.lease_uid
         where l.ended_at < clock_now() - $1 * interval '1 second' and not o.deleting order by l.ended_at limit 100",
        ENDED_KEPT.get().as_secs_f64()
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for leases that are long over"))?;
    Ok(rows.into_iter().map(|row| (Key::new(Resource::LEASES, row.ns, row.name), row.uid)).collect())
}

/// Leases by phase, for the metrics.
///
/// # Errors
/// The database failed.
pub async fn count(pool: &PgPool) -> Result<Vec<(String, i64)>, Error> {
    let rows =
        sqlx::query!(r#"select state, count(*) as "count!" from lease_live where state <> 'Ended' group by state"#);
    let rows = rows.fetch_all(pool).await.map_err(Error::database("count leases"))?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}
