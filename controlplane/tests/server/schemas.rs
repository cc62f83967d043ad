//! Databases that older releases left: all that lies in them is read, listed, watched and written again; and who may work with which schema.
//!
//! `schemas/NNNN.sql` has rows as a release with migration NNNN wrote them, over those of the releases before.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use torch_remote::postgres::Postgres;
use torch_remote::store::{Error, migrate, schema};
use torch_remote_api::by_plural;

use crate::harness::Api;

/// What sealed the values of all of them.
const KEY: &str = "9d148c2f03a989556b356b722e5483e162b0dbdcf52f768e81e2559d25570690";

async fn empty() -> PgPool {
    Postgres::scratch().await.unwrap().pool().await.unwrap()
}

fn versions() -> Vec<i64> {
    schema::migrations().iter().map(|migration| migration.version).collect()
}

/// A database as the release with this newest migration left it.
async fn left_at(version: i64) -> PgPool {
    let pool = empty().await;
    for step in versions().into_iter().filter(|step| *step <= version) {
        schema::migrations().run_to(step, &pool).await.unwrap();
        let file = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"))
            .join(format!("tests/server/schemas/{step:04}.sql"));
        let rows = std::fs::read_to_string(&file);
        let rows = rows.unwrap_or_else(|error| {
            panic!("{}: {error}; it needs rows as a release with migration {step} writes them, of every table and kind that the migration is about", file.display())
        });
        sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&pool).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    // As of then: events, for one, are gone after an hour.
    let then = "update clock set offset_ms = 1000 * extract(epoch from timestamptz '2026-11-28 19:30:00+00' - now())";
    sqlx::query(then).execute(&pool).await.unwrap();
    pool
}

/// A row of `object` or `object_log`.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    rv: i64,
    grp: String,
    plural: String,
    ns: String,
    name: String,
    kind: String,
    body: Value,
}

impl Row {
    fn collection(&self) -> String {
        let kind = by_plural(&self.grp, &self.plural).unwrap();
        let group = if self.grp.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.grp) };
        let namespace = if self.ns.is_empty() { String::new() } else { format!("/namespaces/{}", self.ns) };
        format!("{group}/{}{namespace}/{}", kind.version, self.plural)
    }

    fn secret(&self) -> bool {
        self.plural == "secrets"
    }

    /// What is expected of it: what was written, and for a Secret what was sealed.
    fn written(&self) -> Value {
        let mut body = self.body.clone();
        if self.secret() {
            body.as_object_mut().unwrap().remove("sealed").expect("it lies sealed");
            body["type"] = "Opaque".into();
            body["data"] = json!({"token": "c3dvcmRmaXNo"});
        }
        body
    }
}

async fn rows(pool: &PgPool, query: &'static str) -> Vec<Row> {
    sqlx::query_as(query).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn what_lies_in_a_database_of_every_older_schema_is_read_and_written_again() {
    for version in versions() {
        let pool = left_at(version).await;
        let objects = rows(&pool, "select *, '' as kind from object where rv > 0 order by rv").await;
        let log = rows(&pool, "select * from object_log order by rv").await;
        assert!(!objects.is_empty());
        let api = Api::over(pool, KEY).await;
        for object in &objects {
            read_and_written_again(&api, object, &log).await;
        }
    }
}

/// An object of the API without what the database does not hold.
fn bare(mut object: Value, like: &Value) -> Value {
    // Annotations of a Secret are sealed with its data.
    if like["metadata"]["annotations"].is_null() && like["kind"] == "Secret" {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    object
}

async fn read_and_written_again(api: &Api, object: &Row, log: &[Row]) {
    let (collection, mut written) = (object.collection(), object.written());
    // A field that is null is one that is not there.
    written.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let uri = format!("{collection}/{}", object.name);
    let (code, found) = api.get(&uri).await;
    assert_eq!((code, &bare(found.clone(), &written)), (StatusCode::OK, &written), "{uri}");
    let (code, list) = api.get(&collection).await;
    assert_eq!(code, StatusCode::OK, "{list}");
    let mut listed = list["items"].as_array().unwrap().iter();
    let listed = listed.find(|item| item["metadata"]["uid"] == found["metadata"]["uid"]).expect("it is listed");
    assert_eq!(listed["metadata"], found["metadata"], "{uri}");

    let mut watch = api.watch(&format!("{collection}?watch=1&resourceVersion=1"), "application/json").await;
    let theirs = |row: &&Row| (&row.grp, &row.plural, &row.ns) == (&object.grp, &object.plural, &object.ns);
    for line in log.iter().filter(theirs) {
        let event = watch.next().await.expect("the history is there");
        let change = match &*line.kind {
            "A" => "ADDED",
            "M" => "MODIFIED",
            _ => "DELETED",
        };
        let seen = (&event["type"], &event["object"]["metadata"]["resourceVersion"]);
        assert_eq!(seen, (&json!(change), &json!(line.rv.to_string())), "{uri}: {event}");
        assert_eq!(event["object"]["metadata"]["name"], json!(line.name), "{uri}");
    }

    if object.plural == "events" {
        // Told once, and applied by nobody.
        return;
    }
    let (code, same) = api.send("PUT", &uri, found.clone()).await;
    assert_eq!(
        (code, &same["metadata"]),
        (StatusCode::OK, &found["metadata"]),
        "a write of what is there is none: {same}"
    );
    let mut manifest = found.clone();
    let fields = manifest.as_object_mut().unwrap();
    fields.remove("status");
    fields["metadata"] = json!({"name": object.name});
    let apply = format!("{uri}?fieldManager=git&force=true");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let (code, _, once) = api.ask("PATCH", &apply, &headers, manifest.to_string()).await;
    assert_eq!(code, StatusCode::OK, "{once}");
    for (field, value) in found.as_object().unwrap().iter().filter(|(field, _)| *field != "metadata") {
        assert_eq!(&once[field], value, "{uri}");
    }
    let (_, _, again) = api.ask("PATCH", &apply, &headers, manifest.to_string()).await;
    assert_eq!(again, once, "applied once more, nothing is written");
}

/// An object of before a field with a default was known: whoever reads, lists or watches it sees the default, so that it differs in nothing from what git has.
#[tokio::test]
async fn an_object_without_a_newer_field_is_read_with_its_default_and_whoever_applies_it_changes_nothing() {
    let pool = left_at(1).await;
    Api::over(pool.clone(), KEY).await;
    let older =
        "update object set body = body #- '{spec,retry}' #- '{spec,startupTimeout}' where plural = 'remotemachines'";
    sqlx::query(older).execute(&pool).await.unwrap();
    let api = Api::over(pool, KEY).await;
    let whole = |machine: &Value| {
        machine["spec"]["retry"] == json!({"limit": 5}) && machine["spec"]["startupTimeout"].is_string()
    };
    let all = "/apis/torchremote.dev/v1alpha1/remotemachines";
    let (_, cached) = api.get(&format!("{all}?resourceVersion=0")).await;
    let (_, listed) = api.get(all).await;
    let mut watch = api.watch(&format!("{all}?watch=1"), "application/json").await;
    let machines = listed["items"].as_array().unwrap();
    assert!(!machines.is_empty() && machines.iter().all(whole), "{listed}");
    assert_eq!(cached["items"], listed["items"]);
    for machine in machines {
        let seen = watch.next().await.unwrap();
        assert!(whole(&seen["object"]), "{seen}");
        let metadata = &machine["metadata"];
        let uri = format!(
            "/apis/torchremote.dev/v1alpha1/namespaces/{}/remotemachines/{}",
            metadata["namespace"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        );
        assert_eq!(api.get(&uri).await, (StatusCode::OK, machine.clone()));
        let (code, put) = api.send("PUT", &uri, machine.clone()).await;
        assert_eq!((code, &put), (StatusCode::OK, machine), "what is put back as it was read is not written");
        let manifest = json!({
            "apiVersion": machine["apiVersion"], "kind": machine["kind"], "metadata": {"name": metadata["name"]},
            "spec": {"provider": machine["spec"]["provider"], "gpu": machine["spec"]["gpu"]},
        });
        let headers = [("content-type", "application/apply-patch+yaml")];
        let apply = |query: &str| {
            let uri = format!("{uri}?fieldManager=git&force=true{query}");
            let (api, manifest) = (&api, manifest.to_string());
            async move { api.ask("PATCH", &uri, &headers, manifest).await.2 }
        };
        let applied = apply("").await;
        assert_eq!((&applied["spec"], &applied["metadata"]["generation"]), (&machine["spec"], &metadata["generation"]));
        assert_eq!(apply("&dryRun=All").await, applied, "a difference after that is none");
        assert_eq!(apply("").await, applied);
    }
}

#[tokio::test]
async fn a_program_starts_over_the_schema_of_the_next_release_but_not_over_one_that_took_away_what_it_needs() {
    let pool = empty().await;
    migrate(&pool).await.unwrap();
    let next = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9000, 'of the next release', true, '', 0)";
    sqlx::query(next).execute(&pool).await.unwrap();
    migrate(&pool).await.expect("a replica of this release may start while others are of the next one");
    let newest = versions().into_iter().max().unwrap();
    sqlx::query("update schema_floor set version = $1").bind(newest).execute(&pool).await.unwrap();
    migrate(&pool).await.expect("it is the oldest that may");
    sqlx::query("update schema_floor set version = 9000").execute(&pool).await.unwrap();
    let refused = migrate(&pool).await.unwrap_err();
    assert!(matches!(refused, Error::Outgrown { floor: 9000, newest: own } if own == newest), "{refused}");
}

#[tokio::test]
async fn a_migration_that_must_wait_for_a_long_transaction_lets_writes_go_on_meanwhile() {
    let pool = left_at(6).await;
    let mut long = pool.begin().await.unwrap();
    sqlx::query("lock table object in row exclusive mode").execute(&mut *long).await.unwrap();
    let migration = migrate(&pool);
    tokio::pin!(migration);
    let meanwhile = async {
        let waiting = "select count(*) from pg_locks where not granted and relation = 'object'::regclass";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Behind it in the queue for the table: without an end to its wait, for as long as the long transaction lasts.
        sqlx::query("update object set deleting = deleting").execute(&pool).await.unwrap();
    };
    tokio::select! {
        ended = &mut migration => panic!("it did not wait: {ended:?}"),
        met = tokio::time::timeout(Duration::from_secs(20), meanwhile) => met.expect("writes go on"),
    }
    long.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), migration).await.expect("it ends").unwrap();
}
