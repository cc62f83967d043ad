//! Live storages of leases, as the agents report them: differences, and everything on a new stream.

use sqlx::{PgConnection, PgPool};
use torch_remote_proto::v1::{Report, StorageKey, StorageState};
use uuid::Uuid;

use super::device::version;
use super::machine::unsigned;
use super::{Error, pool};

/// One statement per report. A full one replaces what the machine had. What a lease that is over had is not taken up again.
pub(super) async fn report(connection: &mut PgConnection, machine: Uuid, report: &Report) -> Result<(), Error> {
    if report.appeared.is_empty() && report.vanished.is_empty() && !report.full {
        return Ok(());
    }
    let known = |key: &Option<StorageKey>| {
        key.as_ref().and_then(|key| Some((Uuid::parse_str(&key.lease_uid).ok()?, key.storage.cast_signed())))
    };
    let appeared: Vec<(&StorageState, (Uuid, i64))> =
        report.appeared.iter().filter_map(|state| Some((state, known(&state.key)?))).collect();
    let (leases, storages): (Vec<Uuid>, Vec<i64>) = appeared.iter().map(|(_, key)| *key).unzip();
    let vanished = report.vanished.iter().filter_map(|key| known(&Some(key.clone())));
    let (gone_leases, gone_storages): (Vec<Uuid>, Vec<i64>) = vanished.unzip();
    let bytes: Vec<i64> = appeared.iter().map(|(state, _)| state.bytes.cast_signed()).collect();
    let dtypes: Vec<i32> = appeared.iter().map(|(state, _)| super::machine::signed(state.dtype)).collect();
    // Arrays of arrays must be rectangular in Postgres, so sizes travel as texts.
    let sizes: Vec<String> = appeared
        .iter()
        .map(|(state, _)| format!("{{{}}}", state.sizes.iter().map(i64::to_string).collect::<Vec<_>>().join(",")))
        .collect();
    let labels: Vec<String> = appeared.iter().map(|(state, _)| state.label.replace('\0', "")).collect();
    let ages: Vec<i64> = appeared.iter().map(|(state, _)| i64::try_from(state.age_ms).unwrap_or(i64::MAX)).collect();
    let done = sqlx::query!(
        "with said as (select * from unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::integer[], $6::text[], $7::text[], $8::bigint[])
                       as s (lease, storage, bytes, dtype, sizes, label, age)),
              gone as (delete from tensor t where machine_uid = $1
                       and ($11 or (lease_uid, storage) in (select * from unnest($9::uuid[], $10::bigint[])))
                       and not exists (select from said where said.lease = t.lease_uid and said.storage = t.storage))
         insert into tensor (lease_uid, machine_uid, storage, bytes, dtype, sizes, label, first_seen)
         select lease, $1, storage, bytes, dtype, sizes::bigint[], label, clock_now() - least(age, 31536000000) * interval '1 millisecond' from said
         where exists (select from binding b where b.machine_uid = $1 and b.lease_uid = said.lease and b.released_at is null)
         on conflict (lease_uid, machine_uid, storage) do update set bytes = excluded.bytes, dtype = excluded.dtype, sizes = excluded.sizes,
            label = excluded.label",
        machine,
        &leases,
        &storages,
        &bytes,
        &dtypes,
        &sizes,
        &labels,
        &ages,
        &gone_leases,
        &gone_storages,
        report.full
    );
    done.execute(connection).await.map_err(Error::database("record the storages of a machine")).map(drop)
}

/// A live storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRow {
    /// Namespace and name of the lease.
    pub lease: (String, String),
    /// Its uid.
    pub lease_uid: Uuid,
    /// Who holds it.
    pub holder: Option<String>,
    /// namespace/name of the machine.
    pub machine: String,
    /// Slot it lives in; the first one of a lease that has several on the machine.
    pub slot: u32,
    /// Id within the session.
    pub storage: u64,
    /// Bytes.
    pub bytes: u64,
    /// Number of `c10::ScalarType`.
    pub dtype: u32,
    /// Shape of what the operator made.
    pub sizes: Vec<i64>,
    /// Operator, or the name given.
    pub label: String,
    /// Since when.
    pub first_seen: chrono::DateTime<chrono::Utc>,
}

/// Live storages of one namespace or of all, by lease and id, and the version of the store they go with.
///
/// # Errors
/// The database failed.
pub async fn list(pool: &PgPool, namespace: Option<&str>) -> Result<(Vec<TensorRow>, i64), Error> {
    let mut snapshot = pool::snapshot(pool).await?;
    let version = version(&mut snapshot).await?;
    let rows = sqlx::query!(
        r#"select o.ns, o.name, t.lease_uid, b.terms->>'holder' as holder, coalesce(b.terms->>'machine', '') as "machine!", coalesce(b.slot, 0) as "slot!",
                  t.storage, t.bytes, t.dtype, t.sizes, t.label, t.first_seen
           from tensor t join object o on o.uid = t.lease_uid
           left join lateral (select slot, terms from binding where lease_uid = t.lease_uid and machine_uid = t.machine_uid and released_at is null
                              order by slot limit 1) b on true
           where $1::text is null or o.ns = $1 order by o.ns, o.name, t.storage, t.machine_uid"#,
        namespace
    );
    let rows = rows.fetch_all(&mut *snapshot).await.map_err(Error::database("list the tensors"))?;
    let tensors = rows.into_iter().map(|row| TensorRow {
        lease: (row.ns, row.name),
        lease_uid: row.lease_uid,
        holder: row.holder,
        machine: row.machine,
        slot: unsigned(row.slot),
        storage: row.storage.cast_unsigned(),
        bytes: row.bytes.cast_unsigned(),
        dtype: unsigned(row.dtype),
        sizes: row.sizes,
        label: row.label,
        first_seen: row.first_seen,
    });
    Ok((tensors.collect(), version))
}
