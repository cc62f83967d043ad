//! Many writers and watchers, over replicas and a database that die under them: nothing acknowledged is lost, and every watcher sees the same.

#[path = "storm/disk.rs"]
mod disk;
#[path = "storm/upgrade.rs"]
mod upgrade;
#[path = "storm/watcher.rs"]
pub mod watcher;
#[path = "storm/writer.rs"]
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{eventually, folder, skipped};
use crate::replica::{Replica, Shared};
use disk::{Disk, Where};
use serde_json::json;
use watcher::{MARKER, client, differences, follow, log, machines, now};
use writer::{Tally, Writer, machine};

async fn clients(replicas: &[&Replica]) -> Vec<Client> {
    join_all(replicas.iter().map(|replica| client(replica))).await
}

/// Starts `count` watchers, half of them at each replica.
fn watch(
    clients: &[Client],
    count: usize,
    from: i64,
    patience: u64,
) -> Vec<tokio::task::JoinHandle<(Vec<watcher::Line>, Vec<String>)>> {
    let patience = Duration::from_secs(patience);
    (0..count).map(|turn| tokio::spawn(follow(clients.to_vec(), turn, from, patience))).collect()
}

/// Starts writers that each make, count and delete machines.
fn write(clients: &[Client], count: usize, rounds: usize, tally: &Arc<Tally>) -> Vec<tokio::task::JoinHandle<Writer>> {
    let start = |turn: usize| {
        let mut writer = Writer::new(clients, &format!("writer {turn}"), turn, tally);
        tokio::spawn(async move {
            for round in 0..rounds {
                let name = format!("w{turn}-{round}");
                writer.count(&name, 3).await;
                if round % 2 == 0 {
                    writer.delete(&name).await;
                }
            }
            writer
        })
    };
    (0..count).map(start).collect()
}

async fn end(writers: Vec<tokio::task::JoinHandle<Writer>>) -> Vec<Writer> {
    join_all(writers).await.into_iter().map(Result::unwrap).collect()
}

async fn finish(
    clients: &[Client],
    watchers: Vec<tokio::task::JoinHandle<(Vec<watcher::Line>, Vec<String>)>>,
) -> Vec<(Vec<watcher::Line>, Vec<String>)> {
    machines(&clients[0]).create(&PostParams::default(), &machine(MARKER)).await.unwrap();
    join_all(watchers).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_watchers_see_the_same_while_sixteen_write_and_a_replica_is_killed() {
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), true);
    let (first, mut second) = (shared.replica("a"), shared.replica("b"));
    let clients = clients(&[&first, &second]).await;
    let from = now(&clients[0]).await;
    let watchers = watch(&clients, 50, from, 60);
    let tally = Arc::new(Tally::default());
    let writers = write(&clients, 16, 3, &tally);
    tally.reaches(60).await;
    second = tokio::task::spawn_blocking(move || {
        second.crash_and_start(&shared);
        second
    })
    .await
    .unwrap();
    let wrong: Vec<String> = end(writers).await.into_iter().flat_map(|writer| writer.wrong).collect();
    let notes = finish(&clients, watchers).await;
    let pool = sqlx::PgPool::connect_with(postgres.options().database("postgres")).await.unwrap();
    let log = log(&pool, from).await;
    assert!(log.len() >= 16 * 3 * 4, "{}", log.len());
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(differences(&log, &notes), Vec::<String>::new());
    pool.close().await;
    first.end();
    second.end();
    postgres.stop().unwrap();
}

/// A plain sequence in the place of the counter row: versions are taken in one order and committed in another.
const SEQUENCE: &str = "
    alter table cluster_rv rename to counter_row;
    create sequence version start 1000;
    create view cluster_rv as select one, (select last_value from version) as rv, compacted, lineage_now() as lineage from counter_row;
    create function take_version() returns trigger language plpgsql as $$
    begin
        new.rv := nextval('version');
        perform pg_sleep(random() * 0.02);
        return new;
    end $$;
    create trigger take_version instead of update on cluster_rv for each row execute function take_version();";

/// Negative control: the same storm over a store that orders its versions wrongly is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_plain_sequence_for_the_counter_row_watchers_miss_changes() {
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), true);
    let first = shared.replica("a");
    first.end();
    let pool = sqlx::PgPool::connect_with(postgres.options().database("postgres")).await.unwrap();
    sqlx::raw_sql(SEQUENCE).execute(&pool).await.unwrap();
    let first = shared.replica("a");
    let clients = clients(&[&first]).await;
    let from = now(&clients[0]).await;
    let watchers = watch(&clients, 3, from, 10);
    let tally = Arc::new(Tally::default());
    end(write(&clients, 16, 2, &tally)).await;
    let notes = finish(&clients, watchers).await;
    let log = log(&pool, from).await;
    let wrong = differences(&log, &notes);
    assert!(wrong.iter().any(|wrong| wrong.contains("missed")), "{} changes and nothing missed", log.len());
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_there_though_replicas_and_postgres_are_killed() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), false);
    let (first, second) = (shared.replica("a"), shared.replica("b"));
    let clients = clients(&[&first, &second]).await;
    let from = now(&clients[0]).await;
    let watchers = watch(&clients, 10, from, 60);
    let tally = Arc::new(Tally::default());
    let writers = write(&clients, 8, 6, &tally);
    let (mut replicas, mut postgres, mut shared) = ([first, second], postgres, shared);
    for blow in 0..6 {
        // Where in the load the blow falls is the seed's; a load that has ended early takes the rest of them idle.
        let at = (tally.count() + random.random_range(4..24)).min(8 * 6 * 4);
        tally.reaches(at).await;
        (replicas, postgres, shared) = tokio::task::spawn_blocking(move || {
            match blow {
                2 => {
                    postgres.stop().unwrap();
                    postgres = shared.postgres();
                }
                4 => {
                    let pid = postgres.pid().unwrap();
                    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
                    eventually("the postmaster is gone", || !postgres.alive());
                    postgres = shared.postgres();
                }
                _ => replicas[blow % 2].crash_and_start(&shared),
            }
            (replicas, postgres, shared)
        })
        .await
        .unwrap();
    }
    let writers = end(writers).await;
    let notes = finish(&clients, watchers).await;
    let pool = sqlx::PgPool::connect_with(postgres.options().database("postgres")).await.unwrap();
    let log = log(&pool, from).await;
    let wrong: Vec<String> = writers.iter().flat_map(|writer| writer.wrong.clone()).collect();
    assert_eq!(wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(differences(&log, &notes), Vec::<String>::new(), "seed {seed}");
    let rows = "select verb, name, code, count(*) from audit where resource = 'remotemachines' and code in (200, 201) group by 1, 2, 3";
    let rows: Vec<(String, String, i32, i64)> = sqlx::query_as(rows).fetch_all(&pool).await.unwrap();
    let audited = |verb: &str, name: &str, code: i32| {
        let of = rows.iter().find(|row| (row.0.as_str(), row.1.as_str(), row.2) == (verb, name, code));
        of.map_or(0, |row| row.3)
    };
    for (turn, round) in (0..8).flat_map(|turn| (0..6).map(move |round| (turn, round))) {
        let name = format!("w{turn}-{round}");
        let seen = (audited("create", &name, 201), audited("patch", &name, 200));
        assert_eq!(seen, (1, 3), "seed {seed}: a row for each write of {name}");
        assert!(round % 2 == 1 || audited("delete", &name, 200) >= 1, "seed {seed}: a row for the end of {name}");
    }
    for refusal in writers.iter().flat_map(|writer| &writer.refusals) {
        assert!(!refusal.reason.is_empty() && refusal.message.len() > 10 && refusal.code >= 409, "{refusal:?}");
    }
    for turn in 0..8 {
        for round in [1, 3, 5] {
            let kept = machines(&clients[0]).get(&format!("w{turn}-{round}")).await.unwrap();
            assert_eq!(kept.metadata.annotations.unwrap()["count"], "3", "seed {seed}");
        }
    }
    pool.close().await;
    drop(shared);
    for replica in replicas {
        replica.end();
    }
    postgres.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_all_that_was_acknowledged_is_there_when_there_is_room_again() {
    let dir = folder();
    let test = "storm::a_full_disk_is_said_and_all_that_was_acknowledged_is_there_when_there_is_room_again";
    let disk = match Disk::mount(&dir.path().join("postgres"), 192, test) {
        Where::Here(disk) => disk,
        Where::Done => return,
        Where::Nowhere => return skipped("a small disk needs root or a user namespace, and here is neither"),
    };
    let (shared, mut postgres) = Shared::start(dir.path(), false);
    let replica = shared.replica("a");
    let clients = clients(&[&replica]).await;
    let from = now(&clients[0]).await;
    let watchers = watch(&clients, 3, from, 60);
    let tally = Arc::new(Tally::default());
    let mut writer = Writer::new(&clients, "writer", 0, &tally);
    writer.count("before", 5).await;
    disk.fill();
    // Each writes some hundred KiB, of which nothing is free.
    let mut refused = None;
    for count in 0..400 {
        let text = format!("{count}").repeat(60_000);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"ballast": text}}}));
        match machines(&clients[0]).patch("before", &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) => {
                refused = Some(*status);
                break;
            }
            Err(error) => panic!("not a Status: {error}"),
        }
    }
    let refused = refused.expect("a disk without room takes no more");
    assert!(refused.code >= 500 && !refused.reason.is_empty(), "{refused:?}");
    assert!(refused.message.contains("disk is full") || refused.message.contains("does not answer"), "{refused:?}");
    disk.free();
    if !postgres.alive() {
        postgres = tokio::task::spawn_blocking(move || shared.postgres()).await.unwrap();
    }
    writer.count("after", 5).await;
    let wrong = std::mem::take(&mut writer.wrong);
    let notes = finish(&clients, watchers).await;
    let pool = sqlx::PgPool::connect_with(postgres.options().database("postgres")).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(differences(&log(&pool, from).await, &notes), Vec::<String>::new());
    let before = machines(&clients[0]).get("before").await.unwrap();
    assert_eq!(before.metadata.annotations.unwrap()["count"], "5");
    pool.close().await;
    replica.end();
    postgres.stop().unwrap();
}
