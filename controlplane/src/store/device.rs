//! The GPUs of machines, as their agents report them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgConnection, PgPool};
use torch_remote_proto::v1::DeviceState;
use uuid::Uuid;

use super::machine::{signed, unsigned};
use super::slot::SILENT_SECONDS;
use super::{Error, pool};

/// States of a machine's GPUs, in one statement.
pub(super) async fn report(connection: &mut PgConnection, machine: Uuid, devices: &[DeviceState]) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let gpus: Vec<i32> = devices.iter().map(|device| signed(device.index)).collect();
    let names: Vec<String> = devices.iter().map(|device| device.name.clone()).collect();
    let memory: Vec<i64> = devices.iter().map(|device| device.memory_bytes.cast_signed()).collect();
    let used: Vec<i64> = devices.iter().map(|device| device.memory_used_bytes.cast_signed()).collect();
    let done = sqlx::query!(
        "insert into device (machine_uid, gpu, name, memory_bytes, memory_used_bytes, seen_at)
         select $1, gpu, name, memory, used, clock_now() from unnest($2::integer[], $3::text[], $4::bigint[], $5::bigint[]) as d (gpu, name, memory, used)
         on conflict (machine_uid, gpu) do update set name = excluded.name, memory_bytes = excluded.memory_bytes,
            memory_used_bytes = excluded.memory_used_bytes, seen_at = excluded.seen_at",
        machine,
        &gpus,
        &names,
        &memory,
        &used
    );
    done.execute(connection).await.map_err(Error::database("record the state of GPUs")).map(drop)
}

/// A slot of a device, as it is now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SlotRow {
    /// Index of the slot.
    pub slot: u32,
    /// Its epoch.
    pub epoch: u64,
    /// As the agent says it, in upper case; empty if it has not.
    pub phase: String,
    /// Nothing is bound there.
    pub quarantined: bool,
    /// namespace/name of the lease that holds it.
    pub lease: Option<String>,
    /// Who holds the lease.
    pub holder: Option<String>,
    /// Storages that live in it.
    pub live_storages: u64,
    /// Their bytes.
    pub live_bytes: u64,
}

/// A GPU of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRow {
    /// Namespace and name of the machine.
    pub machine: (String, String),
    /// Its uid.
    pub machine_uid: Uuid,
    /// Type of its GPUs.
    pub gpu: String,
    /// Index of this one.
    pub index: u32,
    /// What its driver calls it.
    pub product: String,
    /// Bytes.
    pub memory_bytes: u64,
    /// Bytes.
    pub memory_used_bytes: u64,
    /// When its agent reported.
    pub seen_at: DateTime<Utc>,
    /// The agent is heard.
    pub heard: bool,
    /// In order.
    pub slots: Vec<SlotRow>,
}

/// Devices of one namespace or of all, by machine and index, and the version of the store they go with.
///
/// # Errors
/// The database failed.
pub async fn list(pool: &PgPool, namespace: Option<&str>) -> Result<(Vec<DeviceRow>, i64), Error> {
    let mut snapshot = pool::snapshot(pool).await?;
    let version = version(&mut snapshot).await?;
    let rows = sqlx::query!(
        r#"select o.ns, o.name as machine, o.uid, o.body#>>'{spec,gpu,type}' as "type!", d.gpu, d.name as product, d.memory_bytes, d.memory_used_bytes, d.seen_at,
                  coalesce(a.seen_at > clock_now() - $2 * interval '1 second', false) as "heard!",
                  coalesce((select jsonb_agg(jsonb_build_object('slot', s.slot, 'epoch', s.epoch, 'phase', s.phase, 'quarantined', s.quarantined_at is not null,
                                'lease', b.terms->>'lease', 'holder', b.terms->>'holder', 'live_storages', s.live_storages, 'live_bytes', s.live_bytes)
                                order by s.slot)
                            from slot s left join binding b on b.machine_uid = s.machine_uid and b.slot = s.slot and b.released_at is null
                            where s.machine_uid = d.machine_uid and s.gpu = d.gpu and s.offered), '[]') as "slots!"
           from device d join object o on o.uid = d.machine_uid left join agent_seen a on a.machine_uid = d.machine_uid
           where $1::text is null or o.ns = $1 order by o.ns, o.name, d.gpu"#,
        namespace,
        SILENT_SECONDS
    );
    let rows = rows.fetch_all(&mut *snapshot).await.map_err(Error::database("list the devices"))?;
    let device = rows.into_iter().map(|row| DeviceRow {
        machine: (row.ns, row.machine),
        machine_uid: row.uid,
        gpu: row.r#type,
        index: unsigned(row.gpu),
        product: row.product,
        memory_bytes: row.memory_bytes.cast_unsigned(),
        memory_used_bytes: row.memory_used_bytes.cast_unsigned(),
        seen_at: row.seen_at,
        heard: row.heard,
        slots: serde_json::from_value(row.slots).unwrap_or_default(),
    });
    Ok((device.collect(), version))
}

/// The store's version in it.
pub(super) async fn version(snapshot: &mut PgConnection) -> Result<i64, Error> {
    let version = sqlx::query_scalar!("select rv from cluster_rv");
    version.fetch_one(snapshot).await.map_err(Error::database("read the store's version"))
}
