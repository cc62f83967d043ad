//! Compare-and-set of one object: what reconcilers write, of which there is the most. Those that come at the same time are one statement: each statement that
//! takes versions has the counter's row until its commit is on disk, and all others wait for that.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::commit::bounded;
use crate::store::{Error, Key, Object, Objects, Resource};

/// Swaps of one statement.
const BATCH: usize = 32;
/// Longest statement, with the wait for a connection and for the turn. A server that is there ends it sooner; one that is gone without a word never would.
const LONGEST: Duration = Duration::from_secs(60);

/// Swaps that wait for the statement before to be done.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Swaps(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    swaps: VecDeque<Swap>,
    /// A task is writing, and writes these next.
    led: bool,
}

#[derive(Debug)]
struct Swap {
    key: Key,
    rv: i64,
    before: Value,
    after: Value,
    /// Takes the new version; none: the object was not as it was read.
    done: oneshot::Sender<Result<Option<i64>, Error>>,
}

impl Swap {
    fn tell(self, written: Result<Option<i64>, Error>) {
        // An error means that nobody waits for it any more.
        drop(self.done.send(written));
    }
}

impl Swaps {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The swaps of the next statement, each of another object. None: nobody waits, and whoever comes next leads.
    fn next(&self) -> Option<Vec<Swap>> {
        let mut waiting = self.waiting();
        let (mut batch, mut keys, mut later) = (Vec::new(), HashSet::new(), VecDeque::new());
        while batch.len() < BATCH
            && let Some(swap) = waiting.swaps.pop_front()
        {
            if swap.done.is_closed() {
                continue;
            }
            match keys.insert(swap.key.clone()) {
                true => batch.push(swap),
                false => later.push_back(swap),
            }
        }
        later.append(&mut waiting.swaps);
        waiting.swaps = later;
        waiting.led = !batch.is_empty();
        waiting.led.then_some(batch)
    }
}

impl Objects {
    /// Puts `after` in the place of `before`, which must still be there as it was read, and not be worked on by another. Returns its version, or `None` when they do not differ.
    ///
    /// For an object's status and its finalizers: labels, spec, owners and the request to delete are as before. Secrets, which are sealed, are not written so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::TooLarge`]; the database failed: whether it was written is not known.
    ///
    /// # Cancel safety
    /// Dropped while it waits, it may be written all the same.
    pub async fn swap(&self, key: &Key, before: &Object, after: &Object) -> Result<Option<i64>, Error> {
        debug_assert!(key.resource != Resource::SECRETS && kept(&before.body) == kept(&after.body));
        if before == after {
            return Ok(None);
        }
        bounded(key, &after.body)?;
        let (done, written) = oneshot::channel();
        let rv = before.resource_version();
        let swap = Swap { key: key.clone(), rv, before: before.body.clone(), after: after.body.clone(), done };
        let leads = {
            let mut waiting = self.swaps.waiting();
            waiting.swaps.push_back(swap);
            !std::mem::replace(&mut waiting.led, true)
        };
        if leads {
            // A task of its own: whoever is told to stop does not stop the others.
            tokio::spawn(Leader { objects: self.clone(), rests: false }.lead());
        }
        let version = written.await.map_err(|_| unknown("the task that writes has ended"))??;
        if version.is_some() {
            return Ok(version);
        }
        Err(match self.version_of(key).await? {
            Some(found) => Error::Conflict { key: key.clone(), expected: rv, found },
            None => Error::NotFound { key: key.clone() },
        })
    }

    /// [`swap_together`](Self::swap_together), and no longer than it may take.
    async fn swap_all(&self, swaps: &[Swap]) -> Result<Vec<Option<i64>>, Error> {
        let written = tokio::time::timeout(LONGEST, self.swap_together(swaps)).await;
        written.unwrap_or_else(|_| Err(unknown("no answer in time")))
    }

    /// One statement. The version of each, in their order; none: the object was not as it was read.
    async fn swap_together(&self, swaps: &[Swap]) -> Result<Vec<Option<i64>>, Error> {
        // First the connection: those who wait for their turn hold theirs, so that there may be none left for whoever has it.
        let mut connection = self.pool().acquire().await.map_err(Error::database("reach the database"))?;
        let turn = self.turn.lock().await;
        let column = |of: fn(&Key) -> &str| swaps.iter().map(|swap| of(&swap.key).to_owned()).collect::<Vec<String>>();
        let (after, before): (Vec<&Value>, Vec<&Value>) = swaps.iter().map(|swap| (&swap.after, &swap.before)).unzip();
        let seen: Vec<i64> = swaps.iter().map(|swap| swap.rv).collect();
        // The rows are locked before the counter, as by every write; and not waited for, as whoever has one may wait for its turn.
        let written = sqlx::query!(
            r#"with old as (select o.uid, i.* from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::jsonb[], $7::jsonb[])
                            with ordinality as i (grp, plural, ns, name, seen, after, before, place)
                          join object o on o.grp = i.grp and o.plural = i.plural and o.ns = i.ns and o.name = i.name and o.rv = i.seen
                          for no key update of o skip locked),
             counter as (update cluster_rv set rv = rv + (select count(*) from old) where exists (select from old) returning rv),
             numbered as (select old.*, counter.rv - count(*) over () + row_number() over (order by place) as version from old, counter),
             stamped as (select *, jsonb_set(after, '{metadata,resourceVersion}', to_jsonb(version::text)) as body from numbered),
             written as (update object o set rv = stamped.version, body = stamped.body from stamped where o.uid = stamped.uid),
             logged as (insert into object_log (rv, grp, plural, ns, name, kind, body, prev)
                        select version, grp, plural, ns, name, 'M', body, before from stamped)
             select place as "place!", version as "version!" from stamped"#,
            &column(|key| key.resource.group),
            &column(|key| key.resource.plural),
            &column(|key| &key.namespace),
            &column(|key| &key.name),
            &seen,
            &after as &[&Value],
            &before as &[&Value]
        );
        let written = written.fetch_all(&mut *connection).await.map_err(Error::database("write an object"))?;
        drop((turn, connection));
        if !written.is_empty() {
            self.committed.notify_one();
        }
        let mut versions = vec![None; swaps.len()];
        for row in written {
            if let Some(version) = usize::try_from(row.place - 1).ok().and_then(|place| versions.get_mut(place)) {
                *version = Some(row.version);
            }
        }
        Ok(versions)
    }
}

fn unknown(why: &str) -> Error {
    Error::database("write an object")(sqlx::Error::Protocol(why.to_owned()))
}

/// The error of a statement, for one more of those whose statement it was: what may be tried again, and when, is the same for all.
fn same(error: &Error) -> Error {
    match error {
        Error::Database { operation, source } => Error::Database { operation, source: source.clone() },
        other => unknown(&other.to_string()),
    }
}

/// Writes those that wait until nobody does.
struct Leader {
    objects: Objects,
    rests: bool,
}

impl Leader {
    async fn lead(mut self) {
        while let Some(batch) = self.objects.swaps.next() {
            let error = match self.objects.swap_all(&batch).await {
                Ok(versions) => {
                    batch.into_iter().zip(versions).for_each(|(swap, version)| swap.tell(Ok(version)));
                    continue;
                }
                Err(error) => error,
            };
            let of_one = error.is_of_the_data();
            for swap in batch {
                // It may be of one object alone; another error is one of all.
                if of_one {
                    let alone = self.objects.swap_all(std::slice::from_ref(&swap)).await;
                    swap.tell(alone.map(|versions| versions.into_iter().flatten().next()));
                } else {
                    swap.tell(Err(same(&error)));
                }
            }
        }
        self.rests = true;
    }
}

impl Drop for Leader {
    /// It ended before its time: those who wait hear that nobody knows, and the next one leads.
    fn drop(&mut self) {
        if !self.rests {
            let mut waiting = self.objects.swaps.waiting();
            waiting.led = false;
            waiting.swaps.clear();
        }
    }
}

/// What a swap leaves alone.
fn kept(body: &Value) -> [&Value; 5] {
    let metadata = &body["metadata"];
    [&metadata["labels"], &metadata["ownerReferences"], &metadata["deletionTimestamp"], &metadata["uid"], &body["spec"]]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Over a database that never answers.
    fn nowhere(port: u16) -> Objects {
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        Objects::new(crate::store::pool::options().connect_lazy_with(options))
    }

    async fn swap(objects: Objects, name: &'static str) -> Result<Option<i64>, Error> {
        let before = Object { body: json!({"metadata": {"name": name, "resourceVersion": "7"}}) };
        let after = before.clone().with_status(json!({"phase": "Ready"}));
        objects.swap(&Key::new(Resource::MACHINES, "default", name), &before, &after).await
    }

    #[test]
    fn when_the_task_that_writes_ends_before_its_time_those_who_wait_are_told_and_the_next_one_leads() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = silent.local_addr().expect("its address").port();
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (leaders, others) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
        let objects = leaders.block_on(async { nowhere(port) });
        let leads = leaders.spawn(swap(objects.clone(), "a"));
        let until = |there: &dyn Fn(&Waiting) -> bool| {
            while !there(&objects.swaps.waiting()) {
                std::thread::yield_now();
            }
        };
        // It has taken its own and waits for the database.
        until(&|waiting| waiting.led && waiting.swaps.is_empty());
        let follows = others.spawn(swap(objects.clone(), "b"));
        until(&|waiting| waiting.swaps.len() == 1);
        leaders.shutdown_background();
        let told = others.block_on(follows).expect("it does not panic");
        assert!(matches!(told, Err(Error::Database { .. })), "{told:?}");
        assert!(!objects.swaps.waiting().led, "whoever comes next leads");
        drop(leads);
    }

    #[tokio::test]
    async fn a_swap_whose_caller_is_gone_is_not_written_any_more() {
        let swaps = Swaps::default();
        let swap = |name: &str| {
            let (done, written) = oneshot::channel();
            let key = Key::new(Resource::MACHINES, "default", name);
            (Swap { key, rv: 7, before: json!({}), after: json!({}), done }, written)
        };
        let ((gone, caller), (there, _waits)) = (swap("a"), swap("b"));
        drop(caller);
        swaps.waiting().swaps.extend([gone, there]);
        let batch = swaps.next().expect("one waits");
        assert_eq!(batch.iter().map(|swap| swap.key.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(swaps.next().is_none());
    }
}
