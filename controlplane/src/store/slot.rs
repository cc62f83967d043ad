//! Slots and the bindings of leases to them.
//!
//! Invariants: a slot has at most one binding that is not released (an index says so); its epoch grows with each bind and each quarantine (a trigger says
//! that it never falls); a binding is released only on an agent's word, when its machine is gone, or into quarantine.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use torch_remote_plan::{Epoch, SlotAt, Uid, queue};
use uuid::Uuid;

use super::machine::{signed, unsigned};
use super::{Error, pool};

/// An agent that was not heard for this long is given nothing new, and is called silent; seconds.
pub const SILENT_SECONDS: f64 = 15.0;

/// Attempts of a machine that are remembered longer than a day.
const ATTEMPTS: i32 = 10;

/// The parameters of the agent's Bind, and what texts need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// namespace/name of the lease.
    pub lease: String,
    /// namespace/name of the machine.
    pub machine: String,
    /// Type of its GPUs.
    pub gpu: String,
    /// Who holds it.
    pub holder: String,
    /// From the first session on.
    pub duration_ms: u64,
    /// Silence that ends it.
    pub reconnect_window_ms: u64,
    /// A process that died is kept so long.
    pub orphan_ms: u64,
    /// The window above applies instead.
    pub resumable: bool,
    /// No operator for so long ends it.
    pub idle_timeout_ms: u64,
    /// No session for so long after the bind ends it.
    pub open_timeout_ms: u64,
    /// Memory of a shared lease; 0: the whole device.
    pub memory_bytes: u64,
    /// Trace of the request for the lease.
    pub traceparent: String,
}

/// What became of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is recorded; the agents are to be told.
    Yes,
    /// The lease does not wait any more, or its waiter is gone.
    NotWaiting,
    /// A slot is not free any more, or not at the epoch that was planned.
    Taken,
}

/// What an agent is still to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The machine.
    pub machine: Uuid,
    /// Index of the slot.
    pub slot: u32,
    /// Its epoch.
    pub epoch: u64,
    /// What.
    pub order: Order,
}

/// An order for an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Give the slot to this lease.
    Bind {
        /// Uid of the lease.
        lease: Uuid,
        /// How.
        terms: Box<Terms>,
    },
    /// End what is there.
    Revoke {
        /// Stable reason.
        reason: String,
        /// In words.
        message: String,
    },
}

/// Slots of every machine, for the queue, by machine. Free are those of a running attempt only, not of one that is to end.
///
/// # Errors
/// The database failed.
pub async fn all(pool: &PgPool) -> Result<BTreeMap<Uuid, Vec<queue::Slot>>, Error> {
    let rows = sqlx::query!(
        r#"select s.machine_uid, s.slot, s.gpu, s.epoch, s.phase in ('FREE', 'BOUND') as "warm!",
                  (s.quarantined_at is null and b.lease_uid is null and a.seen_at > clock_now() - $1 * interval '1 second'
                   and exists (select from machine_attempt m where m.machine_uid = s.machine_uid and m.number = a.attempt and m.state = 'Created')) as "free!"
           from slot s join agent_seen a using (machine_uid) left join binding b on b.machine_uid = s.machine_uid and b.slot = s.slot and b.released_at is null
           where s.offered order by s.machine_uid, s.slot"#,
        SILENT_SECONDS
    );
    let mut slots: BTreeMap<Uuid, Vec<queue::Slot>> = BTreeMap::new();
    for row in rows.fetch_all(pool).await.map_err(Error::database("read the slots"))? {
        let epoch = Epoch(row.epoch.cast_unsigned());
        let slot =
            queue::Slot { slot: unsigned(row.slot), gpu: unsigned(row.gpu), epoch, free: row.free, warm: row.warm };
        slots.entry(row.machine_uid).or_default().push(slot);
    }
    Ok(slots)
}

/// Binds a waiting lease to slots, in one transaction: the waiter is alive, each slot is of an attempt that is not to end, offered, not in quarantine and at
/// its planned epoch; epoch + 1 each. `serving_since`: no waiter is called gone for a silence before it.
///
/// # Errors
/// The database failed.
pub async fn bind(
    pool: &PgPool,
    lease: Uuid,
    slots: &[SlotAt],
    terms: &Terms,
    serving_since: DateTime<Utc>,
) -> Result<Bound, Error> {
    let mut transaction = pool::begin(pool).await?;
    let round = sqlx::query_scalar!(
        "update lease_live set state = 'Bound', round = round + 1, bound_at = clock_now() where lease_uid = $1 and state = 'Waiting'
         and (renewed_at is null or greatest(renewed_at, $2) > clock_now() - interval '30 seconds') returning round",
        lease,
        serving_since
    );
    let Some(round) = round.fetch_optional(&mut *transaction).await.map_err(Error::database("take a waiting lease"))?
    else {
        return Ok(Bound::NotWaiting);
    };
    let places = Places::of(slots);
    // Held until the commit, so that no end begins beside it; `machine::begin_end` takes the same row.
    let running = sqlx::query_scalar!(
        "select machine_uid from machine_attempt where machine_uid = any($1) and state = 'Created' order by machine_uid for share",
        &places.machines
    );
    let running = running.fetch_all(&mut *transaction).await.map_err(Error::database("hold the attempts of a bind"))?;
    let terms = serde_json::to_value(terms).unwrap_or(Value::Null);
    let bound = sqlx::query!(
        "with wanted as (select * from unnest($2::uuid[], $3::integer[], $4::bigint[]) as w (machine, slot, epoch)),
              taken as (update slot set epoch = slot.epoch + 1 from wanted, agent_seen
                        where slot.machine_uid = wanted.machine and slot.slot = wanted.slot and slot.epoch = wanted.epoch and slot.offered
                        and slot.quarantined_at is null and agent_seen.machine_uid = wanted.machine
                        and agent_seen.seen_at > clock_now() - $7 * interval '1 second'
                        and slot.machine_uid = any($8)
                        and agent_seen.attempt = (select max(m.number) from machine_attempt m where m.machine_uid = slot.machine_uid)
                        returning slot.machine_uid, slot.slot, slot.epoch, agent_seen.boot_id)
         insert into binding (machine_uid, slot, epoch, lease_uid, round, boot_id, terms, bound_at)
         select machine_uid, slot, epoch, $1, $5, boot_id, $6, clock_now() from taken",
        lease,
        &places.machines,
        &places.slots,
        &places.epochs,
        round,
        terms,
        SILENT_SECONDS,
        &running
    );
    match bound.execute(&mut *transaction).await {
        Ok(done) if done.rows_affected() == slots.len() as u64 => {}
        Ok(_) => return Ok(Bound::Taken),
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) => {
            return Ok(Bound::Taken);
        }
        Err(error) => return Err(Error::database("bind slots")(error)),
    }
    transaction.commit().await.map_err(Error::database("commit a bind"))?;
    Ok(Bound::Yes)
}

/// What a lease that is put back leaves behind.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// Released, and fenced with epoch + 1 until an agent says that the slot is empty.
    pub quarantine: &'a [SlotAt],
    /// Revoked.
    pub revoke: &'a [SlotAt],
}

/// Puts a bound lease back at the head of its queue, not to be bound again for `rest`. False when it is not bound.
///
/// # Errors
/// The database failed.
pub async fn put_back(pool: &PgPool, lease: Uuid, left: Left<'_>, rest: Duration) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    let done = sqlx::query!(
        "update lease_live set state = 'Waiting', put_back = put_back + 1, waiting_since = clock_now(),
                not_before = clock_now() + $2 * interval '1 second' where lease_uid = $1 and state = 'Bound'",
        lease,
        rest.as_secs_f64()
    );
    if done.execute(&mut *transaction).await.map_err(Error::database("put a lease back"))?.rows_affected() == 0 {
        return Ok(false);
    }
    let places = Places::of(left.quarantine);
    let fenced = sqlx::query!(
        "with fenced as (select * from unnest($1::uuid[], $2::integer[], $3::bigint[]) as f (machine, slot, epoch)),
              released as (update binding set released_at = clock_now(), release_reason = 'Revoked', release_message = coalesce(refused, 'the agent did not acknowledge the bind')
                           from fenced where machine_uid = fenced.machine and binding.slot = fenced.slot and binding.epoch = fenced.epoch and released_at is null)
         update slot set epoch = greatest(slot.epoch, fenced.epoch + 1), quarantined_at = case when exists (
                select from machine_attempt m where m.machine_uid = slot.machine_uid and m.state <> 'Gone') then clock_now() end from fenced
         where machine_uid = fenced.machine and slot.slot = fenced.slot",
        &places.machines,
        &places.slots,
        &places.epochs
    );
    fenced.execute(&mut *transaction).await.map_err(Error::database("quarantine slots"))?;
    let places = Places::of(left.revoke);
    revoked(&places, "Revoked", "another slot of the lease could not be bound")
        .execute(&mut *transaction)
        .await
        .map_err(Error::database("revoke slots"))?;
    transaction.commit().await.map_err(Error::database("commit that a lease waits again"))?;
    Ok(true)
}

/// The processes on a machine are gone: of its agent of boot `unless`, if one is named, they are not. Leases that had all of their slots acknowledged have lost
/// them. Those still on the way have lost nothing: their binds count as refused, so they go back to the head of their queue.
pub(super) async fn lose(
    connection: &mut PgConnection,
    machine: Uuid,
    unless: Option<&str>,
    why: &str,
) -> Result<(), Error> {
    let lost = sqlx::query!(
        "with lost as (select b.slot, b.epoch, b.revoked_at is null and exists (
                              select from binding other join lease_live l using (lease_uid) where other.lease_uid = b.lease_uid and other.round = b.round
                              and l.round = b.round and l.state = 'Bound' and other.acked_at is null and other.released_at is null) as on_the_way
                       from binding b where b.machine_uid = $1 and b.released_at is null and ($2::text is null or b.boot_id <> $2))
         update binding b set released_at = case when on_the_way then null else clock_now() end,
                release_reason = case when on_the_way then null else 'Lost' end,
                release_message = case when on_the_way then null else $3 end,
                acked_at = case when on_the_way then null else acked_at end,
                refused = case when on_the_way then $3 else refused end
         from lost where b.machine_uid = $1 and b.slot = lost.slot and b.epoch = lost.epoch",
        machine,
        unless,
        why
    );
    lost.execute(connection).await.map_err(Error::database("record that processes are gone")).map(drop)
}

/// Asks the agents to end these.
///
/// # Errors
/// The database failed.
pub async fn revoke(pool: &PgPool, slots: &[SlotAt], reason: &str, message: &str) -> Result<(), Error> {
    let places = Places::of(slots);
    revoked(&places, reason, message).execute(pool).await.map_err(Error::database("revoke slots")).map(drop)
}

fn revoked<'a>(
    places: &'a Places,
    reason: &'a str,
    message: &'a str,
) -> sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query!(
        "update binding set revoked_at = clock_now(), revoke_reason = $4, revoke_message = $5
         from unnest($1::uuid[], $2::integer[], $3::bigint[]) as r (machine, slot, epoch)
         where machine_uid = r.machine and binding.slot = r.slot and binding.epoch = r.epoch and revoked_at is null and released_at is null",
        &places.machines,
        &places.slots,
        &places.epochs,
        reason,
        message
    )
}

/// What the agents of these machines are still to be told: binds without an answer, revocations without a release, quarantines.
///
/// # Errors
/// The database failed.
pub async fn pending(pool: &PgPool, machines: &[Uuid]) -> Result<Vec<Pending>, Error> {
    let rows = sqlx::query!(
        r#"select machine_uid as "machine!", slot as "slot!", epoch as "epoch!", lease_uid, terms, revoked_at is not null as "revoked!", revoke_reason, revoke_message
           from binding where machine_uid = any($1) and released_at is null and (revoked_at is not null or (acked_at is null and refused is null))
           union all
           select machine_uid, slot, epoch, null, null, true, 'Revoked', 'a bind was not acknowledged' from slot
           where machine_uid = any($1) and quarantined_at is not null"#,
        machines
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read what agents are to be told"))?;
    let pending = rows.into_iter().filter_map(|row| {
        let terms = row.terms.and_then(|terms| serde_json::from_value(terms).ok());
        let order = match (row.revoked, row.lease_uid, terms) {
            (false, Some(lease), Some(terms)) => Order::Bind { lease, terms: Box::new(terms) },
            (false, _, _) => return None,
            (true, _, _) => Order::Revoke {
                reason: row.revoke_reason.unwrap_or_default(),
                message: row.revoke_message.unwrap_or_default(),
            },
        };
        Some(Pending { machine: row.machine, slot: unsigned(row.slot), epoch: row.epoch.cast_unsigned(), order })
    });
    Ok(pending.collect())
}

/// Forgets what nobody can ask about any more, a day after its end: released bindings, save the last of each slot of a machine that is there; rows of leases
/// and machines without an object; and of each machine all attempts but the newest [`ATTEMPTS`].
///
/// # Errors
/// The database failed.
pub async fn forget_old(pool: &PgPool) -> Result<(), Error> {
    let done = sqlx::query!(
        "with old as (delete from binding b where released_at < clock_now() - interval '1 day'
                      and (exists (select from binding later where later.machine_uid = b.machine_uid and later.slot = b.slot and later.epoch > b.epoch)
                           or not exists (select from object o where o.uid = b.machine_uid))),
              attempts as (delete from machine_attempt a where state = 'Gone' and gone_at < clock_now() - interval '1 day'
                           and (not exists (select from object o where o.uid = a.machine_uid)
                                or number <= (select max(number) from machine_attempt newest where newest.machine_uid = a.machine_uid) - $1)),
              -- What is held, or has an attempt, stays until a later call.
              slots as (delete from slot s where not exists (select from object o where o.uid = s.machine_uid)
                        and not exists (select from binding b where b.machine_uid = s.machine_uid)
                        and not exists (select from machine_attempt a where a.machine_uid = s.machine_uid)),
              agents as (delete from agent_seen s where not exists (select from object o where o.uid = s.machine_uid)
                         and not exists (select from machine_attempt a where a.machine_uid = s.machine_uid)),
              devices as (delete from device d where not exists (select from object o where o.uid = d.machine_uid)
                          and not exists (select from machine_attempt a where a.machine_uid = d.machine_uid))
         delete from lease_live l where ended_at < clock_now() - interval '1 day' and not exists (select from object o where o.uid = l.lease_uid)",
        ATTEMPTS
    );
    done.execute(pool).await.map_err(Error::database("forget old bindings")).map(drop)
}

/// Slots as the arrays a statement takes.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) machines: Vec<Uuid>,
    pub(super) slots: Vec<i32>,
    pub(super) epochs: Vec<i64>,
}

impl Places {
    pub(super) fn of(slots: &[SlotAt]) -> Self {
        let mut places = Places::default();
        for slot in slots {
            // A uid that is none names no machine, so its statement finds no row.
            places.machines.push(Uuid::parse_str(&slot.machine.0).unwrap_or_default());
            places.slots.push(signed(slot.slot));
            places.epochs.push(slot.epoch.0.cast_signed());
        }
        places
    }
}

/// A slot at an epoch from a row.
pub(super) fn place(machine: Uuid, slot: i32, epoch: i64) -> SlotAt {
    SlotAt { machine: Uid(machine.to_string()), slot: unsigned(slot), epoch: Epoch(epoch.cast_unsigned()) }
}
