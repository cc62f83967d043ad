//! The log of changes and those who watch it: one order, nothing missed and nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;
use torch_remote::store::log::{self, Tail};
use torch_remote::store::watch_cache::{self, Ended, Seen};
use torch_remote::store::{Error, Objects, Preconditions, Resource, State, claim};

use crate::database;
use crate::store::{create, edit, key, machine};

#[tokio::test]
async fn through_a_selector_objects_come_into_view_and_leave_it() {
    let objects = Objects::new(database::fresh().await);
    let tail = Tail::start(objects.clone()).await.unwrap();
    let start = tail.cache().version();
    create(&objects, machine("a")).await;
    let (entered, _) = edit(&objects, "a", |body| body["metadata"]["labels"] = json!({"team": "vision"})).await;
    edit(&objects, "a", |body| body["spec"]["timeout"] = json!("1h")).await;
    let (left, _) = edit(&objects, "a", |body| body["metadata"]["labels"] = json!({})).await;
    tail.advance().await.unwrap();
    let seen = tail.cache().resume(&objects, Resource::MACHINES, start).await.unwrap();
    let accepts = |state: &State| state.label("team") == Some("vision");
    let seen: Vec<Seen> = seen.backlog.iter().filter_map(|change| change.seen(accepts)).collect();
    let [Seen::Added(added), Seen::Modified(_), Seen::Deleted(gone)] = &seen[..] else { panic!("{seen:?}") };
    let (added, gone) = (added.body(), gone.body());
    assert_eq!(added["metadata"]["resourceVersion"], json!(entered.unwrap().to_string()));
    assert_eq!(gone["metadata"]["resourceVersion"], json!(left.unwrap().to_string()));
    assert_eq!(gone["spec"]["timeout"], json!("1h"));
}

#[tokio::test]
async fn a_resume_below_the_ring_reads_the_log_and_below_the_log_must_list_again() {
    let objects = Objects::new(database::fresh().await);
    let first = create(&objects, machine("a")).await.resource_version();
    edit(&objects, "a", |body| body["spec"]["timeout"] = json!("1h")).await;
    // Starts after both: its ring is empty.
    let tail = Tail::start(objects.clone()).await.unwrap();
    let resumed = tail.cache().resume(&objects, Resource::MACHINES, first).await.unwrap();
    assert_eq!(resumed.backlog.len(), 1);
    log::compact_beyond(&objects, 0.0, 0).await.unwrap();
    let refused = tail.cache().resume(&objects, Resource::MACHINES, first).await;
    assert!(matches!(refused, Err(Error::Expired { .. })));
}

#[tokio::test]
async fn eight_writers_and_a_watcher_that_resumes_misses_nothing_and_sees_nothing_twice() {
    let objects = Objects::new(database::fresh().await);
    let tail = Tail::start(objects.clone()).await.unwrap();
    let cache = tail.cache();
    let start = cache.version();
    let stop = CancellationToken::new();
    let tail = tokio::spawn(tail.run(stop.clone()));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let objects = objects.clone();
            tokio::spawn(async move {
                let name = format!("m{writer}");
                create(&objects, machine(&name)).await;
                for step in 0..25 {
                    edit(&objects, &name, |body| body["spec"]["timeout"] = json!(format!("{}m", step + 1))).await;
                }
            })
        })
        .collect();
    // Watches in turns of a few changes, and resumes by the last version seen, as a client with a bad connection does.
    let mut at = start;
    let mut versions = Vec::new();
    let mut states: BTreeMap<String, Arc<State>> = BTreeMap::new();
    while versions.len() < 8 * 26 {
        let mut watch = cache.resume(&objects, Resource::MACHINES, at).await.unwrap();
        let mut turn = std::mem::take(&mut watch.backlog);
        if turn.is_empty() {
            turn.push(
                tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("changes come").unwrap(),
            );
        }
        turn.truncate(7);
        for change in turn {
            at = change.version;
            versions.push(change.version);
            states.insert(change.key().name.clone(), change.after.clone());
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(versions, (start + 1..=start + 8 * 26).collect::<Vec<_>>(), "every version once, in order");
    for object in objects.list(Resource::MACHINES, None).await.unwrap().items {
        assert_eq!(states[object.name()].body(), object.body);
    }
    stop.cancel();
    tail.await.unwrap();
}

#[tokio::test]
async fn a_caller_s_own_rows_and_its_objects_commit_together_or_not_at_all() {
    let objects = Objects::new(database::fresh().await);
    create(&objects, machine("a")).await;
    let mut write = objects.begin().await.unwrap();
    write.update_status(&key("a"), json!({"phase": "Bound"}), &Preconditions::default()).await.unwrap();
    sqlx::query("update clock set offset_ms = 5000").execute(write.sql()).await.unwrap();
    drop(write);
    assert_eq!(objects.get(&key("a")).await.unwrap().unwrap().body["status"], json!({"observedGeneration": 0}));
    let offset: i64 = sqlx::query_scalar("select offset_ms from clock").fetch_one(objects.pool()).await.unwrap();
    assert_eq!(offset, 0);
}

/// Waits until a session of this database waits for a lock in a statement on `cluster_rv`.
async fn someone_waits_for_the_counter(objects: &Objects) {
    let waiting = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%cluster_rv%')";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let waits: bool = sqlx::query_scalar(waiting).fetch_one(objects.pool()).await.unwrap();
        if waits {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody waits");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_writer_waits_for_the_version_of_the_writer_before_it() {
    let objects = Objects::new(database::fresh().await);
    let mut first = objects.pool().begin().await.unwrap();
    let taken: i64 =
        sqlx::query_scalar("update cluster_rv set rv = rv + 1 returning rv").fetch_one(&mut *first).await.unwrap();
    let second = tokio::spawn({
        let objects = objects.clone();
        async move { create(&objects, machine("second")).await }
    });
    someone_waits_for_the_counter(&objects).await;
    assert!(!second.is_finished());
    assert_eq!(objects.get(&key("second")).await.unwrap(), None);
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap().resource_version(), taken + 1);
}

/// What the counter row is for: the same two writers, with numbers as a sequence would give them.
#[tokio::test]
async fn with_numbers_from_a_sequence_a_watcher_would_miss_a_change() {
    let objects = Objects::new(database::fresh().await);
    let tail = Tail::start(objects.clone()).await.unwrap();
    let start = tail.cache().version();
    let log = "insert into object_log (rv, grp, plural, ns, name, kind, body) values ($1, 'torchremote.dev', 'remotemachines', 'default', 'm', 'M', '{}')";
    let mut slow = objects.pool().begin().await.unwrap();
    sqlx::query(log).bind(start + 1).execute(&mut *slow).await.unwrap();
    let mut fast = objects.pool().begin().await.unwrap();
    sqlx::query(log).bind(start + 2).execute(&mut *fast).await.unwrap();
    sqlx::query("update cluster_rv set rv = $1").bind(start + 2).execute(&mut *fast).await.unwrap();
    fast.commit().await.unwrap();
    tail.advance().await.unwrap();
    slow.commit().await.unwrap();
    tail.advance().await.unwrap();
    let seen = tail.cache().resume(&objects, Resource::MACHINES, start).await.unwrap();
    let seen: Vec<i64> = seen.backlog.iter().map(|change| change.version).collect();
    assert_eq!(seen, [start + 2], "the first was lost, as this design must not");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_cut_off_and_resumes_where_it_was() {
    let objects = Objects::new(database::fresh().await);
    let tail = Tail::start(objects.clone()).await.unwrap();
    create(&objects, machine("a")).await;
    tail.advance().await.unwrap();
    let cache = tail.cache();
    let mut slow = cache.subscribe(Resource::MACHINES);
    let at = slow.version;
    for step in 0..=watch_cache::LAG {
        edit(&objects, "a", |body| body["metadata"]["labels"] = json!({"step": step.to_string()})).await;
    }
    tail.advance().await.unwrap();
    assert_eq!(slow.next().await.unwrap_err(), Ended::Lagged);
    let resumed = cache.resume(&objects, Resource::MACHINES, at).await.unwrap();
    assert_eq!(resumed.backlog.len(), watch_cache::LAG + 1);
}

/// Connections to a database, as a control plane makes them.
async fn connect(options: &sqlx::postgres::PgConnectOptions) -> sqlx::PgPool {
    torch_remote::store::pool::options().connect_with(options.clone()).await.unwrap()
}

/// A copy of the database, made while nobody is connected.
async fn copy(original: &sqlx::postgres::PgConnectOptions) -> sqlx::PgPool {
    let name = format!("copy_{}", uuid::Uuid::new_v4().simple());
    let mut connection = sqlx::PgConnection::connect_with(&original.clone().database("postgres")).await.unwrap();
    let make = format!("create database {name} template {}", original.get_database().unwrap());
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
    connect(&original.clone().database(&name)).await
}

#[tokio::test]
async fn a_restored_copy_goes_on_beyond_every_version_that_was_told_and_sends_who_had_one_back_to_list() {
    let pool = database::fresh().await;
    let options = (*pool.connect_options()).clone();
    let claim = "insert into claim values (gen_random_uuid(), 'a', 7, clock_now(), clock_now() + interval '1 hour')";
    sqlx::query(claim).execute(&pool).await.unwrap();
    let original = Objects::new(pool.clone());
    Tail::start(original.clone()).await.unwrap().advance().await.unwrap();
    create(&original, machine("a")).await;
    pool.close().await;
    // As far as the original may have got.
    let mut told = 1000;
    // Each restored twice: what the first told is told by no other either, also where they come soon after another leap.
    let mut sources = vec![options.clone(), options.clone()];
    for turn in 0..4 {
        let copy = Objects::new(copy(&sources[turn]).await);
        let its = (*copy.pool().connect_options()).clone();
        sources.push(sources.get(2).cloned().unwrap_or(its.clone()));
        let first = create(&copy, machine(&format!("b{turn}"))).await.resource_version();
        assert!(first > told, "{first} was told already, before anybody read the log");
        let tail = Tail::start(copy.clone()).await.unwrap();
        let refused = tail.cache().resume(&copy, Resource::MACHINES, told).await;
        assert!(matches!(refused, Err(Error::Expired { .. })), "{refused:?}");
        assert_eq!(tail.cache().resume(&copy, Resource::MACHINES, first - 1).await.unwrap().backlog.len(), 1);
        let (number, held): (i64, bool) =
            sqlx::query_as("select min(number), bool_or(expires_at > clock_now()) from claim")
                .fetch_one(copy.pool())
                .await
                .unwrap();
        assert!(number > told && !held, "agents may have seen a higher claim than {number}");
        let other = connect(&its).await;
        let again = Tail::start(Objects::new(other.clone())).await.unwrap();
        assert_eq!(again.cache().version(), first, "a replica that starts on the same database leaps no more");
        let new = claim::acquire(&other, "a", &[uuid::Uuid::new_v4()]).await.unwrap()[0];
        assert!(new.number > told, "also of a machine that had none in the copy");
        told = create(&copy, machine(&format!("c{turn}"))).await.resource_version().max(new.number);
        other.close().await;
        copy.pool().close().await;
    }
    // The original goes on for a while after the copy was made, and leaps no more than the next replica over it.
    let original = Objects::new(connect(&options).await);
    assert!(create(&original, machine("b")).await.resource_version() < 1000);
}

#[tokio::test]
async fn a_counter_that_is_behind_what_was_told_leaps_beyond_it() {
    let objects = Objects::new(database::fresh().await);
    let told = create(&objects, machine("a")).await.resource_version();
    let tail = Tail::start(objects.clone()).await.unwrap();
    sqlx::query("update cluster_rv set rv = rv - 1").execute(objects.pool()).await.unwrap();
    tail.advance().await.unwrap();
    assert!(tail.cache().version() > told);
    let refused = tail.cache().resume(&objects, Resource::MACHINES, told).await;
    assert!(matches!(refused, Err(Error::Expired { .. })), "{refused:?}");
}

#[tokio::test]
async fn who_would_need_too_much_of_the_log_lists_again() {
    let objects = Objects::new(database::fresh().await);
    let start = create(&objects, machine("a")).await.resource_version();
    for turn in 0..14 {
        let filler = format!("{turn}{}", "x".repeat(5 << 19));
        edit(&objects, "a", |body| body["metadata"]["annotations"] = json!({"filler": filler})).await;
    }
    // One that has just started has nothing in memory.
    let tail = Tail::start(objects.clone()).await.unwrap();
    let refused = tail.cache().resume(&objects, Resource::MACHINES, start).await;
    assert!(matches!(refused, Err(Error::Expired { .. })));
    let newest = objects.version().await.unwrap();
    assert_eq!(tail.cache().resume(&objects, Resource::MACHINES, newest - 2).await.unwrap().backlog.len(), 2);
}

#[tokio::test]
async fn a_database_that_another_server_has_taken_over_sends_every_watcher_back_to_list() {
    let objects = Objects::new(database::fresh().await);
    create(&objects, machine("a")).await;
    let tail = Tail::start(objects.clone()).await.unwrap();
    let mut watcher = tail.cache().subscribe(Resource::MACHINES);
    // As it lies in a database that was written by a server of another timeline.
    let elsewhere = "update cluster_rv set lineage = regexp_replace(lineage, '[^/]*$', '0000002A')";
    sqlx::query(elsewhere).execute(objects.pool()).await.unwrap();
    tail.advance().await.unwrap();
    assert_eq!(watcher.next().await.unwrap_err(), Ended::Reset);
    let refused = tail.cache().resume(&objects, Resource::MACHINES, watcher.version).await;
    assert!(matches!(refused, Err(Error::Expired { .. })));
    assert_eq!(tail.cache().list(Resource::MACHINES).0.len(), 1);
    tail.advance().await.unwrap();
    assert_eq!(objects.version().await.unwrap(), tail.cache().version(), "it leaps once");
}

#[tokio::test]
async fn a_replica_that_lags_makes_its_watcher_wait_and_skips_nothing() {
    let objects = Objects::new(database::fresh().await);
    let tail = Tail::start(objects.clone()).await.unwrap();
    let cache = tail.cache();
    let seen_elsewhere = create(&objects, machine("a")).await.resource_version();
    let opening = tokio::spawn({
        let (cache, objects) = (cache.clone(), objects.clone());
        async move { cache.resume(&objects, Resource::MACHINES, seen_elsewhere).await }
    });
    edit(&objects, "a", |body| body["spec"]["timeout"] = json!("1h")).await;
    tail.advance().await.unwrap();
    let opened = opening.await.unwrap().unwrap();
    assert_eq!(opened.backlog.iter().map(|change| change.version).collect::<Vec<_>>(), [seen_elsewhere + 1]);
    let ahead = cache.resume(&objects, Resource::MACHINES, seen_elsewhere + 1_000).await;
    assert!(matches!(ahead, Err(Error::Future { .. })));
}
