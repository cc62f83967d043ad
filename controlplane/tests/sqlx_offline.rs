//! The folder `.sqlx` lets everybody build without a database. It must say of each statement what the migrated database says. `make sqlx` makes it anew.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Either, Executor, PgPool, SqlSafeStr, Statement, TypeInfo};
use torch_remote::postgres::Postgres;

const TO_DO: &str = "run `make sqlx` and commit the folder .sqlx";

fn workspace() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).parent().unwrap().to_owned()
}

fn saved(folder: &Path) -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect()
}

/// Lets the compiler ask the database about each statement, and takes what it was told.
fn bless(pool: &PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let fresh = tempfile::tempdir().unwrap();
    // The macros run only when the crate is compiled.
    let root = workspace().join("controlplane/src/lib.rs");
    fs::File::options().append(true).open(root).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let cargo = std::env::var_os("CARGO").expect("cargo runs this");
    let mut check = Command::new(cargo);
    check.args(["check", "--locked", "-p", "torch-remote", "--lib"]).current_dir(workspace());
    check.env("DATABASE_URL", url).env("SQLX_OFFLINE_DIR", fresh.path()).env("SQLX_OFFLINE", "false");
    assert!(check.status().unwrap().success(), "a statement does not fit the schema: see above");
    let folder = workspace().join(".sqlx");
    for name in saved(&folder).into_keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for name in saved(fresh.path()).into_keys() {
        fs::copy(fresh.path().join(&name), folder.join(&name)).unwrap();
    }
}

/// A database with the schema of the folder `migrations` as it is now: this program may be older than a migration that has just been written.
async fn migrated() -> PgPool {
    let pool = Postgres::scratch().await.unwrap().pool().await.unwrap();
    let migrations = Migrator::new(workspace().join("migrations")).await.unwrap();
    migrations.run(&pool).await.unwrap();
    pool
}

#[tokio::test]
async fn what_is_saved_of_each_statement_is_what_the_database_says() {
    let pool = migrated().await;
    if std::env::var_os("BLESS").is_some() {
        bless(&pool);
    }
    let statements = saved(&workspace().join(".sqlx"));
    assert!(statements.len() > 20, "{TO_DO}");
    for (file, statement) in statements {
        let text = statement["query"].as_str().unwrap();
        let prepared = (&pool).prepare(AssertSqlSafe(text).into_sql_str()).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{file}: {error}: {text}; {TO_DO}"));
        let columns = prepared
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), column.type_info().name().to_lowercase()));
        let expected = statement["describe"]["columns"].as_array().unwrap().iter();
        let expected =
            expected.map(|column| (column["name"].as_str().unwrap().to_owned(), type_name(&column["type_info"])));
        assert_eq!(columns.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{file}: {text}; {TO_DO}");
        let parameters: Vec<String> = match prepared.parameters() {
            Some(Either::Left(types)) => types.iter().map(|kind| kind.name().to_lowercase()).collect(),
            _ => Vec::new(),
        };
        let expected = statement["describe"]["parameters"]["Left"].as_array().unwrap().iter().map(type_name);
        assert_eq!(parameters, expected.collect::<Vec<_>>(), "{file}: {text}; {TO_DO}");
    }
}

/// A type's name in SQL from that in the saved files: `TextArray` is `text[]`.
fn type_name(saved: &Value) -> String {
    let name = saved.as_str().unwrap_or_else(|| panic!("a type of our own: {saved}"));
    match name.strip_suffix("Array") {
        Some(element) => format!("{}[]", element.to_lowercase()),
        None => name.to_lowercase(),
    }
}
