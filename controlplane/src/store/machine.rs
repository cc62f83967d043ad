//! Attempts of machines. Every write names the claim it follows from, and does nothing under an older one.

mod scene;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use torch_remote_plan::machine::{Asked, Attempt, AttemptState, End, Intent};
use uuid::Uuid;

pub use scene::{Scene, scene};

use super::claim::Claim;
use super::{Error, Key, Resource, pool, slot};

/// The latest attempt of a machine, with its name at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// For the planner.
    pub attempt: Attempt,
    /// Its token: its name, or tag, at the provider.
    pub token: String,
    /// Name of the Provider it was made with.
    pub provider: String,
}

/// A new attempt, and the slots it is to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New<'a> {
    /// From the planner.
    pub intent: &'a Intent,
    /// Its name at the provider.
    pub token: &'a str,
    /// Name of the Provider.
    pub provider: &'a str,
    /// GPU of each slot, in slot order.
    pub gpus: &'a [i32],
}

/// What the leases of a machine say about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// namespace/name of those that hold a slot, without repeats.
    pub leases: Vec<String>,
    /// When a slot was last released.
    pub last_release: Option<DateTime<Utc>>,
}

/// The latest attempt.
///
/// # Errors
/// The database failed.
pub async fn latest(executor: impl PgExecutor<'_>, machine: Uuid) -> Result<Option<Stored>, Error> {
    let row = sqlx::query!(
        "select number, token, run, run_at, failures, generation, launch_hash, state, provider, provider_id, intended_at, ready_at, ending_at,
                gone_at, end_reason, end_message, asks, case when asked_in = state then asked_at end as asked_at
         from machine_attempt where machine_uid = $1 order by number desc limit 1",
        machine
    );
    let Some(row) = row.fetch_optional(executor).await.map_err(Error::database("read a machine's attempt"))? else {
        return Ok(None);
    };
    let end = row.end_reason.as_deref().and_then(End::parse).unwrap_or(End::Lost);
    let message = row.end_message.unwrap_or_default();
    let state = match (row.state.as_str(), row.ending_at, row.gone_at) {
        ("Created", _, _) => AttemptState::Created { provider_id: row.provider_id.unwrap_or_default() },
        ("Ending", since, _) => AttemptState::Ending { since: since.unwrap_or(row.intended_at), end, message },
        ("Gone", _, Some(at)) => AttemptState::Gone { at, end, message },
        _ => AttemptState::Intent,
    };
    let attempt = Attempt {
        number: unsigned(row.number),
        run: unsigned(row.run),
        run_at: row.run_at,
        failures: unsigned(row.failures),
        generation: row.generation,
        launch: row.launch_hash,
        intended_at: row.intended_at,
        ready_at: row.ready_at,
        asked: row.asked_at.map(|last| Asked { times: unsigned(row.asks), last }),
        state,
    };
    Ok(Some(Stored { attempt, token: row.token, provider: row.provider }))
}

/// Commits the intent of a new attempt, and its slots; their epochs go on from where they were. False when it was there already.
///
/// # Errors
/// The database failed.
pub async fn record_intent(pool: &PgPool, claim: Claim, new: New<'_>) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    let made = sqlx::query!(
        "insert into machine_attempt (machine_uid, number, token, run, run_at, failures, generation, launch_hash, provider, intended_at)
         select $1, $2, $3, $4, coalesce($5, clock_now()), $6, $7, $8, $9, clock_now()
         where exists (select from claim where machine_uid = $1 and number = $10)
         on conflict do nothing",
        claim.machine,
        signed(new.intent.number),
        new.token,
        signed(new.intent.run),
        new.intent.run_at,
        signed(new.intent.failures),
        new.intent.generation,
        new.intent.launch,
        new.provider,
        claim.number
    );
    let made =
        made.execute(&mut *transaction).await.map_err(Error::database("record an attempt"))?.rows_affected() == 1;
    if made {
        let slots = sqlx::query!(
            "insert into slot (machine_uid, slot, gpu) select $1, (place - 1)::integer, gpu from unnest($2::integer[]) with ordinality as s (gpu, place)
             on conflict (machine_uid, slot) do update set gpu = excluded.gpu",
            claim.machine,
            new.gpus
        );
        slots.execute(&mut *transaction).await.map_err(Error::database("make a machine's slots"))?;
    }
    transaction.commit().await.map_err(Error::database("commit an attempt"))?;
    Ok(made)
}

/// The provider is about to be asked for what this state of the attempt wants of it: to make the instance (`Intent`), or to end it (`Ending`). False when the
/// attempt is not in that state any more, or the claim is not ours: then it must not be asked.
///
/// # Errors
/// The database failed.
pub async fn record_asked(pool: &PgPool, claim: Claim, number: u32, state: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update machine_attempt set asks = case when asked_in = state then asks + 1 else 1 end, asked_in = state, asked_at = clock_now()
         where machine_uid = $1 and number = $2 and state = $3 and exists (select from claim where machine_uid = $1 and number = $4)",
        claim.machine,
        signed(number),
        state,
        claim.number
    );
    done.execute(pool)
        .await
        .map_err(Error::database("record that a provider is asked"))
        .map(|done| done.rows_affected() == 1)
}

/// The provider has it.
///
/// # Errors
/// The database failed.
pub async fn record_created(pool: &PgPool, claim: Claim, number: u32, provider_id: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update machine_attempt set state = 'Created', provider_id = $3, created_at = clock_now() where machine_uid = $1 and number = $2 and state = 'Intent'
         and exists (select from claim where machine_uid = $1 and number = $4)",
        claim.machine,
        signed(number),
        provider_id,
        claim.number
    );
    done.execute(pool).await.map_err(Error::database("record an instance")).map(|done| done.rows_affected() == 1)
}

/// It was ready for the first time.
///
/// # Errors
/// The database failed.
pub async fn record_ready(pool: &PgPool, claim: Claim, number: u32) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update machine_attempt set ready_at = clock_now() where machine_uid = $1 and number = $2 and ready_at is null
         and exists (select from claim where machine_uid = $1 and number = $3)",
        claim.machine,
        signed(number),
        claim.number
    );
    done.execute(pool)
        .await
        .map_err(Error::database("record that a machine is ready"))
        .map(|done| done.rows_affected() == 1)
}

/// It is to end. False when it was already, or when its end would wait for leases and one has been bound since.
///
/// # Errors
/// The database failed.
pub async fn begin_end(pool: &PgPool, claim: Claim, number: u32, why: (End, &str)) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    // Two statements: the second one sees the bind that the first one waited for.
    let held = sqlx::query_scalar!(
        "select number from machine_attempt where machine_uid = $1 and number = $2 for update",
        claim.machine,
        signed(number)
    );
    held.fetch_optional(&mut *transaction).await.map_err(Error::database("hold an attempt"))?;
    let done = sqlx::query!(
        "update machine_attempt set state = 'Ending', ending_at = clock_now(), end_reason = $3, end_message = $4
         where machine_uid = $1 and number = $2 and state in ('Intent', 'Created') and exists (select from claim where machine_uid = $1 and number = $5)
         and not ($6 and exists (select from binding where machine_uid = $1 and released_at is null))",
        claim.machine,
        signed(number),
        why.0.as_str(),
        why.1,
        claim.number,
        why.0.waits_for_leases()
    );
    let done = done
        .execute(&mut *transaction)
        .await
        .map_err(Error::database("record that a machine is to end"))?
        .rows_affected()
        == 1;
    transaction.commit().await.map_err(Error::database("commit that a machine is to end"))?;
    Ok(done)
}

/// It is gone: in one transaction its slots are free, the leases on it lost or back in the queue, and its devices and tensors forgotten.
///
/// # Errors
/// The database failed.
pub async fn record_gone(pool: &PgPool, claim: Claim, number: u32, why: (End, &str)) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    let done = sqlx::query!(
        "update machine_attempt set state = 'Gone', gone_at = clock_now(), end_reason = $3, end_message = $4
         where machine_uid = $1 and number = $2 and state <> 'Gone' and exists (select from claim where machine_uid = $1 and number = $5)",
        claim.machine,
        signed(number),
        why.0.as_str(),
        why.1,
        claim.number
    );
    let done = done
        .execute(&mut *transaction)
        .await
        .map_err(Error::database("record that a machine is gone"))?
        .rows_affected()
        == 1;
    if done {
        let text = format!("its machine is gone ({}: {})", why.0.as_str(), why.1);
        slot::lose(&mut transaction, claim.machine, None, &text).await?;
        let lost = sqlx::query!(
            "with slots as (update slot set offered = false, warm = false, phase = '', endpoint = null, quarantined_at = null where machine_uid = $1),
                  agent as (delete from agent_seen where machine_uid = $1),
                  devices as (delete from device where machine_uid = $1)
             delete from tensor where machine_uid = $1",
            claim.machine
        );
        lost.execute(&mut *transaction).await.map_err(Error::database("free the slots of a machine that is gone"))?;
    }
    transaction.commit().await.map_err(Error::database("commit that a machine is gone"))?;
    Ok(done)
}

/// Machines that something may be left to do for: all but those that are suspended, say so, and have nothing that runs. The releases before 0026 said
/// of some that they had failed, and of all whether they were ready; that is looked at again.
///
/// # Errors
/// The database failed.
pub async fn restless(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"select ns, name from object o where grp = $1 and plural = $2 and (
           not at_rest
           or exists (select from machine_attempt a where a.machine_uid = o.uid and a.state <> 'Gone')
           or not exists (select from object p where p.grp = $3 and p.plural = $4 and p.ns = '' and p.name = o.provider and not p.deleting))"#,
        Resource::MACHINES.group,
        Resource::MACHINES.plural,
        Resource::PROVIDERS.group,
        Resource::PROVIDERS.plural
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for machines to look at"))?;
    Ok(rows.into_iter().map(|row| Key::new(Resource::MACHINES, row.ns, row.name)).collect())
}

/// What holds slots of the machine.
///
/// # Errors
/// The database failed.
pub async fn held(pool: &PgPool, machine: Uuid) -> Result<Held, Error> {
    let row = sqlx::query!(
        r#"select coalesce(array_agg(distinct terms->>'lease' order by terms->>'lease') filter (where released_at is null), '{}') as "leases!",
                  max(released_at) as last_release from binding where machine_uid = $1"#,
        machine
    );
    let row = row.fetch_one(pool).await.map_err(Error::database("read who holds a machine"))?;
    Ok(Held { leases: row.leases, last_release: row.last_release })
}

/// Of these machines those that a lease holds.
///
/// # Errors
/// The database failed.
pub async fn leased(connection: &mut PgConnection, machines: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    let held = sqlx::query_scalar!(
        "select distinct machine_uid from binding where released_at is null and machine_uid = any($1)",
        machines
    );
    let held = held.fetch_all(connection).await.map_err(Error::database("read which machines are leased"))?;
    Ok(held.into_iter().collect())
}

/// Lets no lease be bound to the machine from now on, inside the caller's transaction. False when one is: then nothing was done.
///
/// Needs no claim: an attempt that is to end by its owner's wish ends whoever works on it.
///
/// # Errors
/// The database failed.
pub async fn retire(connection: &mut PgConnection, machine: Uuid, why: &str) -> Result<bool, Error> {
    // Two statements: the second one sees the bind that the first one waited for.
    let held = sqlx::query_scalar!(
        "select number from machine_attempt where machine_uid = $1 and state <> 'Gone' for update",
        machine
    );
    held.fetch_optional(&mut *connection).await.map_err(Error::database("hold an attempt"))?;
    let free = sqlx::query_scalar!(
        r#"with free as (select not exists (select from binding where machine_uid = $1 and released_at is null) as free),
           ended as (update machine_attempt set state = 'Ending', ending_at = clock_now(), end_reason = 'Deleted', end_message = $2
                     from free where machine_uid = $1 and state = 'Created' and free.free)
           select free as "free!" from free"#,
        machine,
        why
    );
    free.fetch_one(&mut *connection).await.map_err(Error::database("record that a machine is to end"))
}

/// Machines with an attempt that is not gone and no object: (uid, name of the provider).
///
/// # Errors
/// The database failed.
pub async fn unowned(pool: &PgPool) -> Result<Vec<Uuid>, Error> {
    let rows = sqlx::query_scalar!(
        "select machine_uid from machine_attempt a where state <> 'Gone' and not exists (select from object o where o.uid = a.machine_uid)"
    );
    rows.fetch_all(pool).await.map_err(Error::database("look for machines without an object"))
}

/// Tokens of all attempts that are not gone at that Provider, with their machines: what the sweep compares with.
///
/// # Errors
/// The database failed.
pub async fn live_tokens(pool: &PgPool, provider: &str) -> Result<Vec<(String, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select token, machine_uid from machine_attempt where state <> 'Gone' and provider = $1",
        provider
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read the tokens of a provider"))?;
    Ok(rows.into_iter().map(|row| (row.token, row.machine_uid)).collect())
}

/// A machine whose object goes takes its claim with it. Attempts stay, as the log of what was asked of providers.
///
/// # Errors
/// The database failed.
pub async fn forget(pool: &PgPool, claim: Claim) -> Result<(), Error> {
    let gone = sqlx::query!("delete from claim where machine_uid = $1 and number = $2", claim.machine, claim.number);
    gone.execute(pool).await.map_err(Error::database("drop a claim")).map(drop)
}

pub(super) fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

pub(super) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
