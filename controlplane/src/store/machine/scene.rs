//! [`Scene`]: what a look at a machine begins with, in one statement where nothing was ever launched.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Held, Stored, latest};
use crate::store::{Error, Key, Object, Objects, Resource};

/// A machine, and what was stored about it at one moment.
#[derive(Debug)]
pub struct Scene {
    /// The RemoteMachine.
    pub object: Object,
    /// Its uid.
    pub uid: Uuid,
    /// The Provider that its spec names, if there is one of that name.
    pub provider: Option<Object>,
    /// Its latest attempt, read after the rest.
    pub stored: Option<Stored>,
    /// What its leases say of it.
    pub held: Held,
    /// The database's clock at that moment.
    pub now: DateTime<Utc>,
}

/// The scene of this machine; `None` when it is gone.
///
/// # Errors
/// The database failed.
pub async fn scene(objects: &Objects, key: &Key) -> Result<Option<Scene>, Error> {
    let mut connection = objects.pool().acquire().await.map_err(Error::database("reach the database"))?;
    let row = sqlx::query!(
        r#"select o.uid, o.body, p.body as "provider?", now() + clock.offset_ms * interval '1 millisecond' as "now!",
                  exists (select from machine_attempt where machine_uid = o.uid) as "launched!",
                  (select coalesce(array_agg(distinct terms->>'lease' order by terms->>'lease') filter (where released_at is null), '{}')
                   from binding where machine_uid = o.uid) as "leases!",
                  (select max(released_at) from binding where machine_uid = o.uid) as last_release
           from clock cross join object o
           left join object p on p.grp = $5 and p.plural = $6 and p.ns = '' and p.name = o.body #>> '{spec,provider}'
           where o.grp = $1 and o.plural = $2 and o.ns = $3 and o.name = $4"#,
        Resource::MACHINES.group,
        Resource::MACHINES.plural,
        key.namespace,
        key.name,
        Resource::PROVIDERS.group,
        Resource::PROVIDERS.plural
    );
    let row = row.fetch_optional(&mut *connection).await.map_err(Error::database("look at a machine"))?;
    let Some(row) = row else { return Ok(None) };
    let stored = if row.launched { latest(&mut *connection, row.uid).await? } else { None };
    Ok(Some(Scene {
        object: Object { body: row.body },
        uid: row.uid,
        provider: row.provider.map(|body| Object { body }),
        stored,
        held: Held { leases: row.leases, last_release: row.last_release },
        now: row.now,
    }))
}
