//! Claims: which replica works on a machine. A claim lasts 15 s, is renewed every 5 s, and its number grows with each change of hands, so that whoever
//! works under an older one is refused.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::Error;

/// Life of a claim that is not renewed, seconds.
pub const LIFE_SECONDS: f64 = 15.0;

/// A machine this replica works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The machine.
    pub machine: Uuid,
    /// Names this claim in each write and each Control call.
    pub number: i64,
    /// When it was taken.
    pub acquired_at: DateTime<Utc>,
}

/// Takes the machines that nobody holds, or that an earlier life of this replica held. The first number is none that an agent may have seen before the database
/// was restored: a leap is the end of history.
///
/// # Errors
/// The database failed.
pub async fn acquire(pool: &PgPool, replica: &str, machines: &[Uuid]) -> Result<Vec<Claim>, Error> {
    let taken = sqlx::query!(
        "insert into claim (machine_uid, replica, number, acquired_at, expires_at)
         select machine, $1, greatest(1, compacted), clock_now(), clock_now() + $3 * interval '1 second' from unnest($2::uuid[]) machine, cluster_rv
         on conflict (machine_uid) do update set replica = $1, number = claim.number + 1, acquired_at = clock_now(),
            expires_at = clock_now() + $3 * interval '1 second'
         where claim.expires_at <= clock_now() or claim.replica = $1
         returning machine_uid, number, acquired_at",
        replica,
        machines,
        LIFE_SECONDS
    );
    let taken = taken.fetch_all(pool).await.map_err(Error::database("take claims"))?;
    Ok(taken
        .into_iter()
        .map(|row| Claim { machine: row.machine_uid, number: row.number, acquired_at: row.acquired_at })
        .collect())
}

/// Renews what is held, in one statement. What is not returned was lost to another replica.
///
/// # Errors
/// The database failed.
pub async fn renew(pool: &PgPool, replica: &str, held: &[Claim]) -> Result<Vec<Uuid>, Error> {
    let (machines, numbers): (Vec<Uuid>, Vec<i64>) = held.iter().map(|claim| (claim.machine, claim.number)).unzip();
    let renewed = sqlx::query_scalar!(
        "update claim set expires_at = clock_now() + $3 * interval '1 second'
         from unnest($1::uuid[], $2::bigint[]) as held (machine, number)
         where claim.machine_uid = held.machine and claim.number = held.number and claim.replica = $4 returning claim.machine_uid",
        &machines,
        &numbers,
        LIFE_SECONDS,
        replica
    );
    renewed.fetch_all(pool).await.map_err(Error::database("renew claims"))
}

/// Gives claims back, so that another replica need not wait.
///
/// # Errors
/// The database failed.
pub async fn release(pool: &PgPool, replica: &str, held: &[Claim]) -> Result<(), Error> {
    let (machines, numbers): (Vec<Uuid>, Vec<i64>) = held.iter().map(|claim| (claim.machine, claim.number)).unzip();
    let released = sqlx::query!(
        "update claim set expires_at = clock_now() from unnest($1::uuid[], $2::bigint[]) as held (machine, number)
         where claim.machine_uid = held.machine and claim.number = held.number and claim.replica = $3",
        &machines,
        &numbers,
        replica
    );
    released.execute(pool).await.map_err(Error::database("give claims back")).map(drop)
}
