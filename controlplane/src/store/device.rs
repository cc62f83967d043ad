//! The GPUs of machines, as their agents report them.

use sqlx::PgConnection;
use torch_remote_proto::v1::DeviceState;
use uuid::Uuid;

use super::Error;
use super::machine::signed;

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
