//! The store, on a real Postgres.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use torch_remote::store::event::{self, Recorder};
use torch_remote::store::log;
use torch_remote::store::{Deletion, Error, Key, Object, Objects, Preconditions, Query, Resource, Version, namespace};

use crate::database;

pub fn machine(name: &str) -> Value {
    json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"namespace": "default", "name": name}, "spec": {"provider": "local"}})
}

pub fn key(name: &str) -> Key {
    Key::new(Resource::MACHINES, "default", name)
}

pub async fn create(objects: &Objects, body: Value) -> Object {
    let mut write = objects.begin().await.unwrap();
    let object = write.create(Resource::MACHINES, body).await.unwrap();
    write.commit().await.unwrap().unwrap();
    objects.get(&Key::new(Resource::MACHINES, object.namespace(), object.name())).await.unwrap().unwrap()
}

pub async fn edit(objects: &Objects, name: &str, change: impl FnOnce(&mut Value)) -> (Option<i64>, Object) {
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
    assert_eq!(second.items[0].body["spec"]["timeout"], "8h", "as it was then, with the default");
    log::compact_beyond(&objects, 0.0, 0).await.unwrap();
    assert!(matches!(objects.query(&rest).await, Err(Error::Expired { .. })));
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
    // Clients say in their own ways when it happened, or do not say.
    let later = json!({"series": {"count": 2, "lastObservedTime": "2100-01-01T00:00:00.000000Z"}, "eventTime": "2000-01-01T00:00:00.000000Z"});
    for (name, when) in
        [("unsaid", json!({})), ("old", json!({"eventTime": "2000-01-01T00:00:00.000000Z"})), ("new", later)]
    {
        let mut told = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "default", "name": name}, "involvedObject": {}});
        told.as_object_mut().unwrap().extend(when.as_object().unwrap().clone());
        let mut write = objects.begin().await.unwrap();
        write.create(Resource::EVENTS, told).await.unwrap();
        write.commit().await.unwrap();
    }
    assert_eq!(event::sweep(&objects).await.unwrap(), 0, "each was made just now");
    sqlx::query("update clock set offset_ms = 3600001").execute(objects.pool()).await.unwrap();
    assert_eq!(event::sweep(&objects).await.unwrap(), 4);
    let new = Key::new(Resource::EVENTS, "default", "new");
    let mut write = objects.begin().await.unwrap();
    write.delete(&new, &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(objects.list(Resource::EVENTS, None).await.unwrap().items, []);
}
