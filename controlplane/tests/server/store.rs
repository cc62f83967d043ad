//! The store, on a real Postgres.

use crate::database;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use torch_remote::store::log::{self, Tail};
use torch_remote::store::watch_cache::Seen;
use torch_remote::store::{Deletion, Error, Key, Object, Objects, Preconditions, Query, Resource, Version, namespace};

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
    assert!(object.resource_version() > 0 && object.created().is_some());
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
    let accepts = |body: &Value| body["metadata"]["labels"]["team"] == "vision";
    let seen: Vec<Seen> = seen.backlog.iter().filter_map(|change| change.seen(accepts)).collect();
    let [Seen::Added(added), Seen::Modified(_), Seen::Deleted(gone)] = &seen[..] else { panic!("{seen:?}") };
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
    let mut states: BTreeMap<String, Arc<Value>> = BTreeMap::new();
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
            states.insert(change.key.name.clone(), change.body.clone());
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(versions, (start + 1..=start + 8 * 26).collect::<Vec<_>>(), "every version once, in order");
    for object in objects.list(Resource::MACHINES, None).await.unwrap().items {
        assert_eq!(*states[object.name()], object.body);
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
    assert_eq!(objects.get(&key("a")).await.unwrap().unwrap().body["status"], Value::Null);
    let offset: i64 = sqlx::query_scalar("select offset_ms from clock").fetch_one(objects.pool()).await.unwrap();
    assert_eq!(offset, 0);
}
