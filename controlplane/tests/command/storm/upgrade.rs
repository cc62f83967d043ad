//! A release is rolled out under load: the previous migration's server and this one's side by side on one database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::watcher::{differences, log, machines, now};
use super::writer::Tally;
use super::{clients, end, finish, watch, write};
use crate::harness::{PROGRAM, folder, skipped};
use crate::replica::{Replica, Shared};

/// Names the server of the previous migration, which bootstrap.py builds from the history.
const PREVIOUS: &str = "TORCH_REMOTE_PREVIOUS_SERVER";

async fn newest_migration(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(pool).await.unwrap()
}

/// A step of the rollout, beside the load.
async fn step<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_exchanged_for_a_newer_release_under_load_and_nobody_misses_a_change() {
    let Some(previous) = std::env::var_os(PREVIOUS).map(PathBuf::from) else {
        return skipped(&format!("{PREVIOUS} names no server; `make test` builds one where the git history is"));
    };
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), true);
    let [mut a, mut b]: [Replica; 2] = ["a", "b"].map(|name| shared.replica_of(&previous, name));
    let pool = sqlx::PgPool::connect_with(postgres.options().database("postgres")).await.unwrap();
    let old = newest_migration(&pool).await;
    let clients = clients(&[&a, &b]).await;
    let from = now(&clients[0]).await;
    let watchers = watch(&clients, 50, from, 60);
    let tally = Arc::new(Tally::default());
    let writers = write(&clients, 16, 4, &tally);

    // The first of the new release migrates while the other old one serves.
    tally.reaches(40).await;
    let (shared, b) = step(move || {
        b.exchange(&shared, Path::new(PROGRAM));
        (shared, b)
    })
    .await;
    assert!(newest_migration(&pool).await > old, "a release without a migration: nothing is shown");
    // An old one that crashes meanwhile comes back as an old one, over the new schema.
    tally.reaches(tally.count() + 40).await;
    let (shared, mut a) = step(move || {
        a.crash_and_start(&shared);
        (shared, a)
    })
    .await;
    tally.reaches(tally.count() + 40).await;
    assert!(writers.iter().any(|writer| !writer.is_finished()), "the load ended before the last of the old release");
    let a = step(move || {
        a.exchange(&shared, Path::new(PROGRAM));
        a
    })
    .await;

    let writers = end(writers).await;
    let notes = finish(&clients, watchers).await;
    let log = log(&pool, from).await;
    let wrong: Vec<String> = writers.iter().flat_map(|writer| writer.wrong.clone()).collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(differences(&log, &notes), Vec::<String>::new());
    for (turn, round) in (0..16).flat_map(|turn| [(turn, 1), (turn, 3)]) {
        let kept = machines(&clients[0]).get(&format!("w{turn}-{round}")).await.unwrap();
        assert_eq!(kept.metadata.annotations.unwrap()["count"], "3");
    }
    let passing = ["Conflict", "AlreadyExists", "NotFound"];
    let refusals = writers.iter().flat_map(|writer| &writer.refusals);
    let refused: Vec<_> = refusals.filter(|refusal| !passing.contains(&&*refusal.reason)).collect();
    assert!(refused.is_empty(), "clients were refused: {refused:?}");
    pool.close().await;
    a.end();
    b.end();
    postgres.stop().unwrap();
}
