//! Compare-and-set of one object in one statement, on a real Postgres.

use serde_json::{Value, json};
use torch_remote::store::log::Tail;
use torch_remote::store::{Error, Key, Object, Objects, Preconditions, Resource};

use crate::database;

fn key() -> Key {
    Key::new(Resource::MACHINES, "default", "a")
}

async fn made(objects: &Objects) -> Object {
    let body: Value = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "spec": {"provider": "local"},
        "metadata": {"namespace": "default", "name": "a", "labels": {"team": "vision"}},
    });
    let mut write = objects.begin().await.unwrap();
    write.create(Resource::MACHINES, body).await.unwrap();
    write.commit().await.unwrap().unwrap();
    objects.get(&key()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_swap_writes_status_and_finalizers_with_the_next_version_and_a_watcher_sees_it_once() {
    let objects = Objects::new(database::fresh().await);
    let before = made(&objects).await;
    let tail = Tail::start(objects.clone()).await.unwrap();
    let start = tail.cache().version();
    let after = before.clone().with_status(json!({"phase": "Ready"})).with_finalizer("torchremote.dev/machine");
    let version = objects.swap(&key(), &before, &after).await.unwrap().unwrap();
    assert_eq!(version, before.resource_version() + 1);
    let stored = objects.get(&key()).await.unwrap().unwrap();
    let mut wanted = after.body.clone();
    wanted["metadata"]["resourceVersion"] = json!(version.to_string());
    assert_eq!(stored.body, wanted);
    tail.advance().await.unwrap();
    let seen = tail.cache().resume(&objects, Resource::MACHINES, start).await.unwrap();
    let [change] = &seen.backlog[..] else { panic!("one change: {:?}", seen.backlog) };
    assert_eq!((change.version, change.deleted, change.before.is_some()), (version, false, true));
    assert_eq!(
        objects.swap(&key(), &stored, &stored.clone().with_status(json!({"phase": "Ready"}))).await.unwrap(),
        None
    );
    assert_eq!(objects.version().await.unwrap(), version, "what does not differ is not written");
}

#[tokio::test]
async fn of_many_who_have_read_the_same_one_writes_and_the_others_are_told() {
    let objects = Objects::new(database::fresh().await);
    let before = made(&objects).await;
    // As on eight replicas: no two wait for each other before the database.
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (objects, before) = (Objects::new(objects.pool().clone()), before.clone());
            let after = before.clone().with_status(json!({"phase": format!("Try{number}")}));
            tokio::spawn(async move { objects.swap(&key(), &before, &after).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(Some(_)) => won += 1,
            Err(Error::Conflict { expected, found, .. }) => {
                assert_eq!((expected, found), (before.resource_version(), before.resource_version() + 1));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(objects.version().await.unwrap(), before.resource_version() + 1, "those who lost took no version");
}

#[tokio::test]
async fn a_swap_does_not_wait_for_a_transaction_under_way_for_that_may_wait_for_it() {
    let objects = Objects::new(database::fresh().await);
    let before = made(&objects).await;
    let mut write = objects.begin().await.unwrap();
    write.update_status(&key(), json!({"phase": "Bound"}), &Preconditions::default()).await.unwrap();
    let swap = objects.swap(&key(), &before, &before.clone().with_status(json!({"phase": "Ready"}))).await;
    assert!(matches!(swap, Err(Error::Conflict { .. })), "{swap:?}");
    write.commit().await.unwrap().unwrap();
    assert_eq!(objects.get(&key()).await.unwrap().unwrap().body["status"]["phase"], "Bound");
}

#[tokio::test]
async fn a_swap_needs_no_connection_that_those_behind_it_hold() {
    let scratch = torch_remote::postgres::Postgres::scratch().await.unwrap();
    let pool = torch_remote::store::pool::options().max_connections(2).connect_with(scratch.options()).await.unwrap();
    torch_remote::store::migrate(&pool).await.unwrap();
    let objects = Objects::new(pool);
    made(&objects).await;
    // Far more than there are connections: whoever took its turn first and its connection then would wait for those who do it the other way round.
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let objects = objects.clone();
            tokio::spawn(async move {
                if number % 2 == 0 {
                    let mut write = objects.begin().await.unwrap();
                    let status = json!({"phase": format!("Try{number}")});
                    write.update_status(&key(), status, &Preconditions::default()).await.unwrap();
                    write.commit().await.unwrap();
                    return;
                }
                let before = objects.get(&key()).await.unwrap().unwrap();
                let after = before.clone().with_status(json!({"phase": format!("Try{number}")}));
                match objects.swap(&key(), &before, &after).await {
                    Ok(_) | Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_swap_of_what_is_gone_says_so_and_one_that_is_too_large_is_refused() {
    let objects = Objects::new(database::fresh().await);
    let before = made(&objects).await;
    let large = before.clone().with_status(json!({"phase": "x".repeat(4 << 20)}));
    assert!(matches!(objects.swap(&key(), &before, &large).await, Err(Error::TooLarge { .. })));
    let mut write = objects.begin().await.unwrap();
    write.delete(&key(), &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
    let after = before.clone().with_status(json!({"phase": "Ready"}));
    assert!(matches!(objects.swap(&key(), &before, &after).await, Err(Error::NotFound { .. })));
}
