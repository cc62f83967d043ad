//! Compare-and-set of one object, and of several that come together, on a real Postgres.

use serde_json::{Value, json};
use torch_remote::store::log::Tail;
use torch_remote::store::{Error, Key, Object, Objects, Preconditions, Resource, Retry};

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

async fn machines(objects: &Objects, count: usize) -> Vec<Object> {
    let mut write = objects.begin().await.unwrap();
    for number in 0..count {
        let metadata = json!({"namespace": "default", "name": format!("m-{number:02}")});
        let body = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "spec": {"provider": "local"}, "metadata": metadata});
        write.create(Resource::MACHINES, body).await.unwrap();
    }
    write.commit().await.unwrap().unwrap();
    objects.list(Resource::MACHINES, None).await.unwrap().items
}

/// All at once; the outcome of each, in order.
async fn swapped(
    objects: &Objects,
    before: &[Object],
    phase: impl Fn(usize) -> String,
) -> Vec<Result<Option<i64>, Error>> {
    let swaps = before.iter().enumerate().map(|(number, before)| {
        let after = before.clone().with_status(json!({"phase": phase(number)}));
        async move { objects.swap(&before.key(Resource::MACHINES), before, &after).await }
    });
    futures::future::join_all(swaps).await
}

#[tokio::test]
async fn swaps_that_come_together_each_get_a_version_of_their_own_and_a_watcher_sees_each_once() {
    let objects = Objects::new(database::fresh().await);
    let before = machines(&objects, 100).await;
    let tail = Tail::start(objects.clone()).await.unwrap();
    let start = tail.cache().version();
    let written = swapped(&objects, &before, |number| format!("Try{number}")).await;
    let mut versions: Vec<i64> = written.into_iter().map(|version| version.unwrap().unwrap()).collect();
    for (number, (before, version)) in before.iter().zip(&versions).enumerate() {
        let stored = objects.get(&before.key(Resource::MACHINES)).await.unwrap().unwrap();
        assert_eq!(
            (stored.resource_version(), &stored.body["status"]["phase"]),
            (*version, &json!(format!("Try{number}")))
        );
        assert_eq!(stored.uid(), before.uid());
    }
    versions.sort_unstable();
    assert_eq!(versions, (start + 1..=start + 100).collect::<Vec<_>>());
    tail.advance().await.unwrap();
    let seen = tail.cache().resume(&objects, Resource::MACHINES, start).await.unwrap();
    assert_eq!(seen.backlog.iter().map(|change| change.version).collect::<Vec<_>>(), versions);
}

#[tokio::test]
async fn of_swaps_that_come_together_the_late_ones_take_no_version_and_the_others_leave_no_gap() {
    let objects = Objects::new(database::fresh().await);
    let before = machines(&objects, 20).await;
    let late = [0, 7, 8, 13];
    for number in late {
        let key = before[number].key(Resource::MACHINES);
        objects
            .swap(&key, &before[number], &before[number].clone().with_status(json!({"phase": "Won"})))
            .await
            .unwrap();
    }
    let start = objects.version().await.unwrap();
    let written = swapped(&objects, &before, |_| "Ready".to_owned()).await;
    let mut versions = vec![];
    for (number, written) in written.iter().enumerate() {
        match written {
            Err(Error::Conflict { .. }) if late.contains(&number) => {}
            Ok(Some(version)) if !late.contains(&number) => {
                let stored = objects.get(&before[number].key(Resource::MACHINES)).await.unwrap().unwrap();
                assert_eq!((stored.resource_version(), &stored.body["status"]["phase"]), (*version, &json!("Ready")));
                versions.push(*version);
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    versions.sort_unstable();
    assert_eq!(versions, (start + 1..=start + 16).collect::<Vec<_>>());
    assert_eq!(objects.version().await.unwrap(), start + 16);
}

#[tokio::test]
async fn of_swaps_that_come_together_one_that_postgres_refuses_fails_alone() {
    let objects = Objects::new(database::fresh().await);
    let before = machines(&objects, 20).await;
    let start = objects.version().await.unwrap();
    // No jsonb holds a NUL.
    let written = swapped(&objects, &before, |number| if number == 11 { "\0" } else { "Ready" }.to_owned()).await;
    for (number, written) in written.iter().enumerate() {
        match written {
            Err(Error::Database { .. }) if number == 11 => {}
            Ok(Some(_)) if number != 11 => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(objects.version().await.unwrap(), start + 19, "the one that failed took no version");
}

#[tokio::test]
async fn of_swaps_that_come_together_and_lose_a_deadlock_each_may_be_tried_again_at_once() {
    let objects = Objects::new(database::fresh().await);
    let before = machines(&objects, 20).await;
    let loses = "create function loses() returns trigger language plpgsql as $$ begin raise sqlstate '40P01'; end $$;
                 create trigger loses before update on object for each row execute function loses()";
    sqlx::raw_sql(loses).execute(objects.pool()).await.unwrap();
    let written = swapped(&objects, &before, |_| "Ready".to_owned()).await;
    for written in written {
        assert_eq!(written.unwrap_err().retry(), Retry::Now);
    }
}

#[tokio::test]
async fn two_swaps_of_one_object_that_come_together_are_one_written_and_one_told() {
    let objects = Objects::new(database::fresh().await);
    let before = machines(&objects, 1).await.remove(0);
    let written = swapped(&objects, &[before.clone(), before.clone()], |number| format!("Try{number}")).await;
    let won = written.iter().filter(|written| matches!(written, Ok(Some(_)))).count();
    let lost = written.iter().filter(|written| matches!(written, Err(Error::Conflict { .. }))).count();
    assert_eq!((won, lost), (1, 1), "{written:?}");
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
