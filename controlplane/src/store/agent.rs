//! What agents say, written in one statement per report. Each names its claim, and an older claim's words are not written.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use torch_remote_plan::machine;
use torch_remote_proto::v1::{AgentHello, BindRefused, Bound, Released, Report, SlotPhase, SlotState};
use uuid::Uuid;

use super::claim::Claim;
use super::machine::signed;
use super::slot::SILENT_SECONDS;
use super::{Error, device, pool, slot, tensor};

/// The agent of attempt `number`, as the claim's holder hears it.
///
/// # Errors
/// The database failed.
pub async fn sight(pool: &PgPool, claim: Claim, number: u32, expected_slots: u32) -> Result<machine::Agent, Error> {
    let row = sqlx::query!(
        r#"select a.boot_id, a.agent_version, a.torch_version, a.seen_at, a.seen_at > clock_now() - $3 * interval '1 second' as "heard!",
                  (select count(*) from slot s where s.machine_uid = a.machine_uid and s.offered and s.warm and s.slot < $4) as "warm!"
           from agent_seen a where a.machine_uid = $1 and a.attempt = $2"#,
        claim.machine,
        signed(number),
        SILENT_SECONDS,
        signed(expected_slots)
    );
    let row = row.fetch_optional(pool).await.map_err(Error::database("read what an agent said"))?;
    Ok(match row {
        None => machine::Agent::Unheard { since: claim.acquired_at },
        Some(row) if row.heard => machine::Agent::Heard {
            boot_id: row.boot_id,
            version: row.agent_version,
            torch: row.torch_version,
            warm: u32::try_from(row.warm).unwrap_or(0),
        },
        Some(row) => machine::Agent::Silent { boot_id: row.boot_id, since: row.seen_at, listening: claim.acquired_at },
    })
}

/// First words of a stream. A new boot means that the processes of older leases are gone: bindings they had are lost, those not acknowledged are refused.
/// False when the claim is not ours any more.
///
/// # Errors
/// The database failed.
pub async fn hello(pool: &PgPool, claim: Claim, number: u32, hello: &AgentHello) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    let ours = sqlx::query_scalar!(
        "select number from claim where machine_uid = $1 and number = $2 for share",
        claim.machine,
        claim.number
    );
    if ours.fetch_optional(&mut *transaction).await.map_err(Error::database("check a claim"))?.is_none() {
        return Ok(false);
    }
    let before = sqlx::query_scalar!("select boot_id from agent_seen where machine_uid = $1 for update", claim.machine);
    let before = before.fetch_optional(&mut *transaction).await.map_err(Error::database("read an agent's boot"))?;
    if before.as_ref() != Some(&hello.boot_id) {
        let why = "the agent of its machine started anew";
        slot::lose(&mut transaction, claim.machine, Some(&hello.boot_id), why).await?;
        let lost = sqlx::query!(
            "with slots as (update slot set offered = false, warm = false, phase = '' where machine_uid = $1)
             delete from tensor where machine_uid = $1",
            claim.machine
        );
        lost.execute(&mut *transaction).await.map_err(Error::database("record that an agent started anew"))?;
    }
    let seen = sqlx::query!(
        "insert into agent_seen (machine_uid, attempt, boot_id, agent_version, torch_version, device, hello_at, seen_at)
         values ($1, $2, $3, $4, $5, $6, clock_now(), clock_now())
         on conflict (machine_uid) do update set attempt = excluded.attempt, boot_id = excluded.boot_id, agent_version = excluded.agent_version,
            torch_version = excluded.torch_version, device = excluded.device, hello_at = excluded.hello_at, seen_at = excluded.seen_at",
        claim.machine,
        signed(number),
        hello.boot_id,
        hello.agent_version,
        hello.torch_version,
        hello.device
    );
    seen.execute(&mut *transaction).await.map_err(Error::database("record an agent's hello"))?;
    slots(&mut transaction, claim.machine, &hello.slots).await?;
    device::report(&mut transaction, claim.machine, &hello.devices).await?;
    transaction.commit().await.map_err(Error::database("commit an agent's hello"))?;
    Ok(true)
}

/// A heartbeat. False when the claim is not ours any more.
///
/// # Errors
/// The database failed.
pub async fn report(pool: &PgPool, claim: Claim, report: &Report) -> Result<bool, Error> {
    let mut transaction = pool::begin(pool).await?;
    let seen = sqlx::query!(
        "update agent_seen set seen_at = clock_now() where machine_uid = $1 and exists (select from claim where machine_uid = $1 and number = $2)",
        claim.machine,
        claim.number
    );
    if seen.execute(&mut *transaction).await.map_err(Error::database("record a heartbeat"))?.rows_affected() == 0 {
        return Ok(false);
    }
    slots(&mut transaction, claim.machine, &report.slots).await?;
    device::report(&mut transaction, claim.machine, &report.devices).await?;
    tensor::report(&mut transaction, claim.machine, report).await?;
    transaction.commit().await.map_err(Error::database("commit a heartbeat"))?;
    Ok(true)
}

/// A bind is acknowledged. Returns namespace/name of its lease and the time since it was recorded, once.
///
/// # Errors
/// The database failed.
pub async fn bound(pool: &PgPool, claim: Claim, bound: &Bound) -> Result<Option<(String, Duration)>, Error> {
    let endpoints: Vec<Value> = bound.endpoints.iter().map(endpoint).collect();
    let waited = sqlx::query!(
        r#"update binding set acked_at = clock_now(), endpoints = $4 where machine_uid = $1 and slot = $2 and epoch = $3 and acked_at is null
           and released_at is null and exists (select from claim where machine_uid = $1 and number = $5)
           returning terms->>'lease' as "lease!", (extract(epoch from clock_now() - bound_at) * 1000)::bigint as "waited_ms!""#,
        claim.machine,
        signed(bound.slot),
        bound.epoch.cast_signed(),
        Value::Array(endpoints),
        claim.number
    );
    let waited = waited.fetch_optional(pool).await.map_err(Error::database("record an acknowledged bind"))?;
    Ok(waited.map(|row| (row.lease, Duration::from_millis(u64::try_from(row.waited_ms).unwrap_or(0)))))
}

/// A bind is refused. Returns namespace/name of its lease.
///
/// # Errors
/// The database failed.
pub async fn refused(pool: &PgPool, claim: Claim, refused: &BindRefused) -> Result<Vec<String>, Error> {
    let done = sqlx::query_scalar!(
        r#"update binding set refused = $4 where machine_uid = $1 and slot = $2 and epoch = $3 and acked_at is null and released_at is null
         and exists (select from claim where machine_uid = $1 and number = $5) returning terms->>'lease' as "lease!""#,
        claim.machine,
        signed(refused.slot),
        refused.epoch.cast_signed(),
        format!("{}: {}", refused.reason, refused.message),
        claim.number
    );
    done.fetch_all(pool).await.map_err(Error::database("record a refused bind"))
}

/// The process of (slot, epoch) is reaped: the slot is free, and a quarantine up to that epoch is over. Returns namespace/name of the lease that held it.
///
/// # Errors
/// The database failed.
pub async fn released(pool: &PgPool, claim: Claim, released: &Released) -> Result<Vec<String>, Error> {
    let done = sqlx::query_scalar!(
        r#"with ours as (select number from claim where machine_uid = $1 and number = $6),
                cleared as (update slot set quarantined_at = null where machine_uid = $1 and slot = $2 and epoch <= $3 and quarantined_at is not null
                            and exists (select from ours)),
                done as (update binding set released_at = clock_now(),
                                release_reason = case when $4 = 'Revoked' then coalesce(revoke_reason, $4) else $4 end,
                                release_message = case when $4 = 'Revoked' then coalesce(revoke_message, $5) else $5 end
                         where machine_uid = $1 and slot = $2 and epoch <= $3 and released_at is null and exists (select from ours) returning lease_uid, terms->>'lease' as lease),
                gone as (delete from tensor where machine_uid = $1 and lease_uid in (select lease_uid from done))
           select lease as "lease!" from done"#,
        claim.machine,
        signed(released.slot),
        released.epoch.cast_signed(),
        released.reason,
        released.message,
        claim.number
    );
    done.fetch_all(pool).await.map_err(Error::database("record a release"))
}

/// States of slots, in one statement. A slot that the agent says is empty, at an epoch that it was bound at, has lost its release: it is released.
async fn slots(connection: &mut PgConnection, machine: Uuid, slots: &[SlotState]) -> Result<(), Error> {
    let number = |of: fn(&SlotState) -> u64| {
        slots.iter().map(of).map(|value| i64::try_from(value).unwrap_or(i64::MAX)).collect::<Vec<i64>>()
    };
    let indexes: Vec<i32> = slots.iter().map(|slot| signed(slot.slot)).collect();
    let phases: Vec<String> = slots.iter().map(|slot| slot.phase().as_str_name().to_owned()).collect();
    let empty: Vec<bool> = slots
        .iter()
        .map(|slot| slot.lease_uid.is_empty() && matches!(slot.phase(), SlotPhase::Free | SlotPhase::Warming))
        .collect();
    let endpoints: Vec<Value> = slots.iter().map(|slot| slot.endpoint.as_ref().map_or(Value::Null, endpoint)).collect();
    let leases: Vec<Option<Uuid>> = slots.iter().map(|slot| Uuid::parse_str(&slot.lease_uid).ok()).collect();
    let done = sqlx::query!(
        "with said as (select * from unnest($2::integer[], $3::text[], $4::bool[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                                            $10::bigint[], $11::jsonb[], $12::bigint[], $13::uuid[])
                       as s (slot, phase, empty, epoch, silent_ms, idle_ms, live_storages, live_bytes, operators, endpoint, started_ms, lease)),
              over as (update binding b set released_at = clock_now(), release_reason = coalesce(b.revoke_reason, 'Revoked'),
                              release_message = coalesce(b.revoke_message, 'it ended while its agent was not heard')
                       from said where b.machine_uid = $1 and b.slot = said.slot and said.empty and said.epoch >= b.epoch and b.released_at is null),
              begun as (update binding b set session_at = clock_now() - said.started_ms * interval '1 millisecond'
                        from said where b.machine_uid = $1 and b.slot = said.slot and b.epoch = said.epoch and b.lease_uid = said.lease and said.started_ms > 0
                        and b.session_at is null)
         update slot set offered = true, warm = slot.warm or said.phase in ('FREE', 'BOUND', 'ACTIVE', 'DISCONNECTED'), phase = said.phase,
                endpoint = nullif(said.endpoint, 'null'), epoch = greatest(slot.epoch, said.epoch), silent_ms = said.silent_ms, idle_ms = said.idle_ms,
                live_storages = said.live_storages, live_bytes = said.live_bytes, operators = said.operators, seen_at = clock_now(),
                quarantined_at = case when said.empty and said.epoch >= slot.epoch then null else slot.quarantined_at end
         from said where slot.machine_uid = $1 and slot.slot = said.slot",
        machine,
        &indexes,
        &phases,
        &empty,
        &number(|slot| slot.epoch),
        &number(|slot| slot.silent_ms),
        &number(|slot| slot.idle_ms),
        &number(|slot| slot.live_storages),
        &number(|slot| slot.live_bytes),
        &number(|slot| slot.operators),
        &endpoints,
        &number(|slot| slot.session_started_ms),
        &leases as &[Option<Uuid>]
    );
    done.execute(connection).await.map_err(Error::database("record the state of slots")).map(drop)
}

fn endpoint(endpoint: &torch_remote_proto::v1::Endpoint) -> Value {
    serde_json::json!({"kind": endpoint.kind, "address": endpoint.address, "tls": endpoint.tls})
}
