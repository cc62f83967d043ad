//! Any history leads a watcher from any version to the newest.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use torch_remote::store::log::Tail;
use torch_remote::store::watch_cache::{self, Seen};
use torch_remote::store::{Error, Objects, Preconditions, Query, Resource, Version};

use crate::database;
use crate::store::{key, machine};

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
