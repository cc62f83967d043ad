//! What a crash of the database could still take back is told to nobody.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use sqlx::PgPool;

use crate::harness::folder;
use crate::replica::Shared;
use crate::storm::watcher::{client, machines, now};
use crate::storm::writer::machine;

/// A commit that waits for the disk waits for a copy too, and there is none: it does not end. One that does not wait goes on.
async fn hold_back(pool: &PgPool, held: bool) {
    let copy = if held { "'none'" } else { "''" };
    let set = format!("alter system set synchronous_standby_names = {copy}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(pool).await.unwrap();
    sqlx::raw_sql("select pg_reload_conf()").execute(pool).await.unwrap();
}

async fn becomes(pool: &PgPool, what: &str, condition: &'static str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(pool).await.unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_committed_is_told_to_nobody_before_it_is_on_disk() {
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), false);
    let options = postgres.options().database("postgres");
    let pool = PgPool::connect_with(options.clone()).await.unwrap();
    for setting in ["wal_level = 'replica'", "max_wal_senders = 1"] {
        let set = format!("alter system set {setting}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
    }
    pool.close().await;
    postgres.stop().unwrap();
    let postgres = shared.postgres();
    let pool = PgPool::connect_with(options).await.unwrap();
    let (first, second) = (shared.replica("a"), shared.replica("b"));
    let (one, other) = (client(&first).await, client(&second).await);
    machines(&one).create(&PostParams::default(), &machine("m")).await.unwrap();
    becomes(&pool, "the machine rests", "select body #>> '{status,phase}' is not null from object where name = 'm'")
        .await;
    let from = now(&other).await.to_string();
    let mut watches = vec![];
    for client in [&one, &other] {
        watches.push(Box::pin(machines(client).watch(&WatchParams::default(), &from).await.unwrap()));
    }
    hold_back(&pool, true).await;
    let write = tokio::spawn({
        let (one, patch) = (one.clone(), json!({"metadata": {"annotations": {"count": "1"}}}));
        async move { machines(&one).patch("m", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap() }
    });
    becomes(
        &pool,
        "the write waits for the disk",
        "select count(*) > 0 from pg_stat_activity where wait_event = 'SyncRep' and query ilike 'commit%'",
    )
    .await;
    for client in [&one, &other] {
        let read = machines(client).get("m").await.unwrap();
        assert_eq!(read.metadata.annotations.unwrap()["count"], "0", "a reader was told");
        assert_eq!(now(client).await.to_string(), from, "a list was told");
    }
    for watch in &mut watches {
        assert!(tokio::time::timeout(Duration::from_millis(300), watch.next()).await.is_err(), "a watcher was told");
    }
    assert!(!write.is_finished(), "the write was acknowledged");
    hold_back(&pool, false).await;
    let written = write.await.unwrap();
    let version = written.metadata.resource_version;
    for watch in &mut watches {
        let event = watch.next().await.unwrap().unwrap();
        let WatchEvent::Modified(seen) = event else { panic!("{event:?}") };
        assert_eq!(seen.metadata.resource_version, version);
    }
    pool.close().await;
    first.end();
    second.end();
    postgres.stop().unwrap();
}
