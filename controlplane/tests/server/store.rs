//! The store, on a real Postgres.

use crate::database;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use torch_remote::store::event::{self, Recorder};
use torch_remote::store::log::{self, Tail};
use torch_remote::store::watch_cache::{self, Ended, Seen};
use torch_remote::store::{
    Deletion, Error, Key, Object, Objects, Preconditions, Query, Resource, State, Version, namespace,
};

fn machine(name: &str) -> Value {
    json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"namespace": "default", "name": name}, "spec": {"provider": "local"}})
}

fn key(name: &str) -> Key {
    Key::new(Resource::MACHINES, "default", name)
}

async fn create(objects: &Objects, body: Value) -> Object {
    let mut write = objects.begin().await.unwrap();
    let object = write.create(Resource::MACHINES, body).await.unwrap();
    write.commit().await.unwrap().unwrap();
    objects.get(&Key::new(Resource::MACHINES, object.namespace(), object.name())).await.unwrap().unwrap()
}

async fn edit(objects: &Objects, name: &str, change: impl FnOnce(&mut Value)) -> (Option<i64>, Object) {
    let mut write = objects.begin().await.unwrap();
    let mut body = write.lock(&key(name)).await.unwrap().unwrap().body;
    change(&mut body);
    write.update(&key(name), body, &Preconditions::default()).await.unwrap();
    let version = write.commit().await.unwrap();
    (version, objects.get(&key(name)).await.unwrap().unwrap())
}

#[tokio::test]
async fn a_new_object_has_what_the_server_owns() {
    let objects = Objects::new(database::fresh().await);
    let mut body = machine("a");
    body["metadata"]["generation"] = json!(7);
    body["metadata"]["uid"] = json!("mine");
    let object = create(&objects, body).await;
    assert_eq!(object.generation(), 1);
    assert_eq!(object.uid().len(), 36);
    assert!(object.resource_version() > 0 && object.body["metadata"]["creationTimestamp"].is_string());
    assert_eq!(object.body["status"], json!({"observedGeneration": 0}), "seen by nobody yet");
}

#[tokio::test]
async fn generation_counts_specs_and_the_wish_to_delete_and_nothing_else() {
    let objects = Objects::new(database::fresh().await);
    create(&objects, machine("a")).await;
    let (_, object) = edit(&objects, "a", |body| body["metadata"]["labels"] = json!({"x": "y"})).await;
    assert_eq!(object.generation(), 1);
    let (_, object) = edit(&objects, "a", |body| body["spec"]["timeout"] = json!("1h")).await;
    assert_eq!(object.generation(), 2);
    let mut write = objects.begin().await.unwrap();
    write.update_status(&key("a"), json!({"phase": "Ready"}), &Preconditions::default()).await.unwrap();
    write.add_finalizer(&key("a"), "torchremote.dev/provider").await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(objects.get(&key("a")).await.unwrap().unwrap().generation(), 2);
    let mut write = objects.begin().await.unwrap();
    let Deletion::Marked(marked) = write.delete(&key("a"), &Preconditions::default()).await.unwrap() else {
        panic!("finalizers hold it")
    };
    assert_eq!(marked.generation(), 3);
}

#[tokio::test]
async fn a_write_that_changes_nothing_has_no_version() {
    let objects = Objects::new(database::fresh().await);
    let before = create(&objects, machine("a")).await;
    let (version, after) = edit(&objects, "a", |body| body["spec"]["provider"] = json!("local")).await;
    assert_eq!(version, None);
    assert_eq!(before, after);
}

#[tokio::test]
async fn the_main_endpoint_leaves_status_and_the_status_endpoint_leaves_the_spec() {
    let objects = Objects::new(database::fresh().await);
    create(&objects, machine("a")).await;
    let mut write = objects.begin().await.unwrap();
    write.update_status(&key("a"), json!({"phase": "Ready"}), &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
    let (_, object) = edit(&objects, "a", |body| {
        body["status"] = json!({"phase": "Lies"});
        body["spec"]["timeout"] = json!("1h");
    })
    .await;
    assert_eq!(object.body["status"], json!({"phase": "Ready"}));
    assert_eq!(object.body["spec"]["timeout"], json!("1h"));
}

#[tokio::test]
async fn a_stale_version_conflicts() {
    let objects = Objects::new(database::fresh().await);
    let first = create(&objects, machine("a")).await;
    edit(&objects, "a", |body| body["spec"]["timeout"] = json!("1h")).await;
    let mut write = objects.begin().await.unwrap();
    let refused = write.update(&key("a"), first.body.clone(), &Preconditions::unchanged(&first)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_last_finalizer_takes_a_deleted_object_with_it() {
    let objects = Objects::new(database::fresh().await);
    let mut body = machine("a");
    body["metadata"]["finalizers"] = json!(["torchremote.dev/provider"]);
    create(&objects, body).await;
    let mut write = objects.begin().await.unwrap();
    assert!(matches!(write.delete(&key("a"), &Preconditions::default()).await.unwrap(), Deletion::Marked(_)));
    write.commit().await.unwrap();
    let mut write = objects.begin().await.unwrap();
    let refused = write.add_finalizer(&key("a"), "late").await;
    assert!(matches!(refused, Err(Error::FinalizerAdded { .. })));
    write.remove_finalizer(&key("a"), "torchremote.dev/provider").await.unwrap();
    write.commit().await.unwrap().unwrap();
    assert_eq!(objects.get(&key("a")).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_is_not_there_or_is_going() {
    let objects = Objects::new(database::fresh().await);
    let mut body = machine("a");
    body["metadata"]["namespace"] = json!("vision");
    let mut write = objects.begin().await.unwrap();
    let refused = write.create(Resource::MACHINES, body.clone()).await;
    assert!(matches!(refused, Err(Error::NamespaceMissing { .. })));
    drop(write);
    namespace::ensure(&objects, &["vision"]).await.unwrap();
    body["metadata"]["finalizers"] = json!(["torchremote.dev/provider"]);
    create(&objects, body.clone()).await;
    let mut write = objects.begin().await.unwrap();
    let team = Key::cluster(Resource::NAMESPACES, "vision");
    write.delete(&team, &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
    body["metadata"]["name"] = json!("b");
    let mut write = objects.begin().await.unwrap();
    let refused = write.create(Resource::MACHINES, body).await;
    assert!(matches!(refused, Err(Error::NamespaceTerminating { .. })));
    drop(write);
    namespace::finish(&objects, "vision").await.unwrap();
    let inside = Key::new(Resource::MACHINES, "vision", "a");
    assert!(objects.get(&inside).await.unwrap().unwrap().deleting());
    assert!(objects.get(&team).await.unwrap().is_some(), "it waits for what is in it");
    let mut write = objects.begin().await.unwrap();
    write.remove_finalizer(&inside, "torchremote.dev/provider").await.unwrap();
    write.commit().await.unwrap();
    namespace::finish(&objects, "vision").await.unwrap();
    assert_eq!(objects.get(&team).await.unwrap(), None);
}

#[tokio::test]
async fn all_pages_of_a_listing_show_one_version() {
    let objects = Objects::new(database::fresh().await);
    for name in ["a", "b", "c", "d"] {
        create(&objects, machine(name)).await;
    }
    let first = objects.query(&Query { limit: Some(2), ..Query::all(Resource::MACHINES) }).await.unwrap();
    assert_eq!((first.items.len(), first.more, first.remaining), (2, true, Some(2)));
    edit(&objects, "c", |body| body["spec"]["timeout"] = json!("1h")).await;
    let mut write = objects.begin().await.unwrap();
    write.delete(&key("d"), &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
    create(&objects, machine("bb")).await;
    let rest = Query {
        after: Some(("default".into(), "b".into())),
        version: Version::Exactly(first.resource_version),
        ..Query::all(Resource::MACHINES)
    };
    let second = objects.query(&rest).await.unwrap();
    assert_eq!(second.items.iter().map(Object::name).collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!(second.items[0].body["spec"], json!({"provider": "local"}));
    log::compact_beyond(&objects, 0.0, 0).await.unwrap();
    assert!(matches!(objects.query(&rest).await, Err(Error::Expired { .. })));
}

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

#[tokio::test]
async fn a_restored_database_sends_every_watcher_back_to_list() {
    let objects = Objects::new(database::fresh().await);
    create(&objects, machine("a")).await;
    let tail = Tail::start(objects.clone()).await.unwrap();
    let mut watcher = tail.cache().subscribe(Resource::MACHINES);
    // What a restore does: the counter leaps, and nothing before it is history.
    sqlx::query("update cluster_rv set rv = rv + 1000000, compacted = rv + 1000000")
        .execute(objects.pool())
        .await
        .unwrap();
    tail.advance().await.unwrap();
    assert_eq!(watcher.next().await.unwrap_err(), Ended::Reset);
    let refused = tail.cache().resume(&objects, Resource::MACHINES, watcher.version).await;
    assert!(matches!(refused, Err(Error::Expired { .. })));
    assert_eq!(tail.cache().list(Resource::MACHINES).0.len(), 1);
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

#[tokio::test]
async fn an_event_that_happens_again_is_counted_and_goes_after_an_hour() {
    let objects = Objects::new(database::fresh().await);
    let (recorder, writer) = Recorder::new(objects.clone(), "machine-reconciler");
    let subject = create(&objects, machine("a")).await;
    for _ in 0..3 {
        recorder.warning(&subject, "AgentLost", "no heartbeat for 30 s");
    }
    recorder.named("lease-reconciler").normal(&subject, "Leased", "to ana");
    drop(recorder);
    // With no recorder left the writer writes what is queued and ends.
    writer.run(CancellationToken::new()).await;
    let events = objects.list(Resource::EVENTS, Some("default")).await.unwrap().items;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.body["reason"].as_str().unwrap(), event.body["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&("AgentLost", 3)) && told.contains(&("Leased", 1)), "{told:?}");
    assert_eq!(events[0].body["involvedObject"]["uid"], subject.uid());
    assert_eq!(event::sweep(&objects).await.unwrap(), 0);
    sqlx::query("update clock set offset_ms = 3600001").execute(objects.pool()).await.unwrap();
    assert_eq!(event::sweep(&objects).await.unwrap(), 2);
    assert_eq!(objects.list(Resource::EVENTS, None).await.unwrap().items, []);
}

mod history {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    /// What can be done to one of a few machines.
    #[derive(Debug, Clone)]
    enum Step {
        Create(usize),
        Label(usize, u8),
        Status(usize, u8),
        Delete(usize),
        /// Several at once, in one transaction.
        LabelAll(u8),
    }

    type Everything = BTreeMap<String, Value>;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..4_usize).prop_map(Step::Create),
            3 => (0..4_usize, 0..3_u8).prop_map(|(which, label)| Step::Label(which, label)),
            2 => (0..4_usize, 0..3_u8).prop_map(|(which, phase)| Step::Status(which, phase)),
            2 => (0..4_usize).prop_map(Step::Delete),
            1 => (0..3_u8).prop_map(Step::LabelAll),
        ];
        prop::collection::vec(step, 1..25)
    }

    async fn label(write: &mut torch_remote::store::Write, name: &str, label: u8) {
        if let Some(object) = write.lock(&key(name)).await.unwrap() {
            let mut body = object.body;
            body["metadata"]["labels"] = json!({"l": label.to_string()});
            write.update(&key(name), body, &Preconditions::default()).await.unwrap();
        }
    }

    async fn take(objects: &Objects, step: &Step) {
        let name = |which: &usize| format!("m{which}");
        let mut write = objects.begin().await.unwrap();
        let done = match step {
            Step::Create(which) => write.create(Resource::MACHINES, machine(&name(which))).await.map(drop),
            Step::Label(which, value) => {
                label(&mut write, &name(which), *value).await;
                Ok(())
            }
            Step::Status(which, phase) => {
                let status = json!({"phase": phase.to_string()});
                write.update_status(&key(&name(which)), status, &Preconditions::default()).await.map(drop)
            }
            Step::Delete(which) => write.delete(&key(&name(which)), &Preconditions::default()).await.map(drop),
            Step::LabelAll(value) => {
                for which in 0..4 {
                    label(&mut write, &name(&which), *value).await;
                }
                Ok(())
            }
        };
        match done {
            Ok(()) => drop(write.commit().await.unwrap()),
            Err(Error::AlreadyExists { .. } | Error::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn state(objects: &Objects, version: Version) -> (i64, Everything) {
        let list = objects.query(&Query { version, ..Query::all(Resource::MACHINES) }).await.unwrap();
        (list.resource_version, list.items.into_iter().map(|object| (object.name().to_owned(), object.body)).collect())
    }

    fn replay(state: &mut Everything, change: &watch_cache::Change, accepts: &dyn Fn(&Value) -> bool) {
        let name = change.key().name.clone();
        match change.seen(|state| accepts(&state.body())) {
            None => {}
            Some(Seen::Added(body)) => assert!(state.insert(name, body.body()).is_none(), "added twice"),
            Some(Seen::Modified(body)) => {
                assert!(state.insert(name, body.body()).is_some(), "changed before it was added")
            }
            Some(Seen::Deleted(_)) => assert!(state.remove(&name).is_some(), "deleted before it was added"),
        }
    }

    /// From any version on, the changes a watcher sees lead to the newest state, whole or through a selector; and every version can still be listed.
    #[test]
    fn leads_from_any_version_to_the_newest() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
        let check = async |steps: Vec<Step>| {
            let objects = Objects::new(database::fresh().await);
            let tail = Tail::start(objects.clone()).await.unwrap();
            let mut states = vec![state(&objects, Version::Latest).await];
            for step in &steps {
                take(&objects, step).await;
                states.push(state(&objects, Version::Latest).await);
            }
            tail.advance().await.unwrap();
            let later = Tail::start(objects.clone()).await.unwrap();
            let (_, newest) = states.last().unwrap().clone();
            for (version, then) in &states {
                let (_, listed) = state(&objects, Version::Exactly(*version)).await;
                assert_eq!(&listed, then, "as of {version}");
                // From memory, and, by a replica that has just started, from the log.
                for cache in [tail.cache(), later.cache()] {
                    let resumed = cache.resume(&objects, Resource::MACHINES, *version).await.unwrap();
                    let selected = |body: &Value| body["metadata"]["labels"]["l"] == "1";
                    for accepts in [&(|_: &Value| true) as &dyn Fn(&Value) -> bool, &selected] {
                        let through = |state: &Everything| -> Everything {
                            state
                                .iter()
                                .filter(|(_, body)| accepts(body))
                                .map(|(name, body)| (name.clone(), body.clone()))
                                .collect()
                        };
                        let mut watched = through(then);
                        resumed.backlog.iter().for_each(|change| replay(&mut watched, change, accepts));
                        assert_eq!(watched, through(&newest));
                    }
                }
            }
        };
        runner
            .run(&steps(), |steps| {
                runtime.block_on(check(steps));
                Ok(())
            })
            .unwrap();
    }
}
