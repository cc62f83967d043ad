use std::fs;

use super::*;

async fn one(pool: &sqlx::PgPool) -> i32 {
    sqlx::query_scalar("select 1").fetch_one(pool).await.expect("the database answers")
}

/// A folder everyone may enter: as root the database runs under another user.
fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("torch-remote-pg-").tempdir_in("/tmp").expect("a folder in /tmp");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    dir
}

#[tokio::test]
async fn a_cluster_keeps_its_data_over_stop_and_start() {
    let dir = open_folder();
    let settings = Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() };
    let first = Postgres::start(&settings).expect("a fresh cluster starts");
    assert!(!first.adopted());
    let pool = first.pool(2).await.expect("it takes connections");
    sqlx::query("create table kept as select 7 as n").execute(&pool).await.expect("a table can be made");
    pool.close().await;
    let pid = first.pid().expect("it has a pid");
    first.stop().expect("it stops");
    assert!(!serves(pid, &settings.dir.join("data")), "the postmaster is gone after stop");

    let second = Postgres::start(&settings).expect("it starts again");
    let pool = second.pool(2).await.expect("it takes connections");
    let n: i32 = sqlx::query_scalar("select n from kept").fetch_one(&pool).await.expect("the row is there");
    assert_eq!(n, 7);
    pool.close().await;
    second.stop().expect("it stops");
}

#[tokio::test]
async fn a_cluster_whose_parent_died_is_adopted_and_not_started_twice() {
    let dir = open_folder();
    let settings = Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() };
    let first = Postgres::start(&settings).expect("a fresh cluster starts");
    let pid = first.pid();
    std::mem::forget(first);
    let second = Postgres::start(&settings).expect("the running one is found");
    assert!(second.adopted());
    assert_eq!(second.pid(), pid);
    let pool = second.pool(2).await.expect("it takes connections");
    assert_eq!(one(&pool).await, 1);
    pool.close().await;
    second.stop().expect("it stops");
}

#[tokio::test]
async fn a_killed_cluster_recovers_at_the_next_start() {
    let dir = open_folder();
    let settings = Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() };
    let first = Postgres::start(&settings).expect("a fresh cluster starts");
    let pid = first.pid().expect("it has a pid");
    kill(pid, &settings.dir.join("data"));
    let second = Postgres::start(&settings).expect("it starts over what the killed one left");
    assert!(!second.adopted());
    second.stop().expect("it stops");
}

#[tokio::test]
async fn a_data_directory_with_a_long_path_still_has_a_socket() {
    let dir = open_folder();
    let settings =
        Settings { dir: dir.path().join("long".repeat(30)).join("postgres"), volatile: true, ..Settings::default() };
    let postgres = Postgres::start(&settings).expect("it starts");
    let pool = postgres.pool(1).await.expect("it takes connections");
    assert_eq!(one(&pool).await, 1);
    pool.close().await;
    let socket_dir = postgres.socket_dir.clone();
    postgres.stop().expect("it stops");
    fs::remove_dir_all(socket_dir).expect("its socket folder can go");
}

#[tokio::test]
async fn scratch_databases_do_not_see_each_other() {
    let (first, second) = (Postgres::scratch().await.expect("one"), Postgres::scratch().await.expect("two"));
    let (first, second) = (first.pool().await.expect("a pool"), second.pool().await.expect("a pool"));
    sqlx::query("create table mine (n int)").execute(&first).await.expect("a table can be made");
    let seen: Option<String> =
        sqlx::query_scalar("select to_regclass('mine')::text").fetch_one(&second).await.expect("the other answers");
    assert_eq!(seen, None);
}

#[test]
fn nobody_but_its_owner_can_enter_the_socket_folder() {
    let dir = open_folder();
    let postgres =
        Postgres::start(&Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() })
            .expect("it starts");
    let mode = fs::metadata(&postgres.socket_dir).expect("the folder is there").permissions().mode() & 0o777;
    postgres.stop().expect("it stops");
    assert_eq!(mode, 0o700);
}

#[test]
fn a_folder_without_postgres_is_refused_by_name() {
    let dir = open_folder();
    let settings =
        Settings { dir: dir.path().join("postgres"), binaries: Some("/nonexistent/bin".into()), ..Settings::default() };
    let error = Postgres::start(&settings).expect_err("there is nothing to run");
    assert!(matches!(error, Error::NotBinaries { .. }), "{error}");
}

#[test]
fn data_of_another_major_version_is_refused_with_what_there_is() {
    let dir = open_folder();
    let data = dir.path().join("postgres/data");
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("PG_VERSION"), "9\n").expect("a file");
    let error = Postgres::start(&Settings { dir: dir.path().join("postgres"), ..Settings::default() })
        .expect_err("no Postgres 9 here");
    assert!(matches!(error, Error::Version { data: 9, .. }), "{error}");
}

#[test]
fn a_data_directory_under_a_file_is_not_writable() {
    let dir = open_folder();
    fs::write(dir.path().join("file"), "").expect("a file");
    let error = Postgres::start(&Settings { dir: dir.path().join("file/postgres"), ..Settings::default() })
        .expect_err("a file is no folder");
    assert!(matches!(error, Error::Directory { .. }), "{error}");
}

#[test]
fn root_runs_a_cluster_under_a_closed_parent_in_a_user_namespace_or_says_which_folder_is_closed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = open_folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    match Postgres::start(&Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() }) {
        Ok(postgres) => {
            assert!(matches!(postgres.account, Account::Namespace { .. }));
            postgres.stop().expect("it stops");
        }
        Err(Error::Unreachable { folder, .. }) => assert_eq!(folder, dir.path()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn root_starts_a_cluster_of_another_user_as_that_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = open_folder();
    let settings = Settings { dir: dir.path().join("postgres"), volatile: true, ..Settings::default() };
    let first = Postgres::start(&settings).expect("a fresh cluster starts");
    first.stop().expect("it stops");
    let daemon = ["chown", "-R", "daemon:daemon"];
    let status = Command::new(daemon[0]).args(&daemon[1..]).arg(&settings.dir).status().expect("chown runs");
    assert!(status.success());
    let second = Postgres::start(&settings).expect("it starts under its new owner");
    assert!(matches!(&second.account, Account::Other { name, .. } if name == "daemon"), "{:?}", second.account);
    second.stop().expect("it stops");
}

fn kill(pid: u32, data: &Path) {
    let process = rustix::process::Pid::from_raw(pid.cast_signed()).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it can be killed");
    let deadline = Instant::now() + Duration::from_secs(30);
    while serves(pid, data) {
        assert!(Instant::now() < deadline, "a killed process is gone");
        std::thread::sleep(Duration::from_millis(20));
    }
}
