//! A Postgres for tests: one cluster per process, one empty database per call, gone when the process is gone.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use sqlx::postgres::PgConnectOptions;

use super::{Error, Postgres, Settings, connect_options, make_database, pool};

/// Ends the postmaster (SIGQUIT is its immediate stop) and removes its files once the input ends. The write end is held by the test process alone, so that
/// this runs also after a kill.
const GUARD: &str = r#"cat >/dev/null; kill -QUIT "$0"; n=0; while kill -0 "$0" 2>/dev/null && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done; rm -rf "$1""#;

/// An empty database of a cluster without durability.
#[derive(Debug, Clone)]
pub struct Scratch {
    options: PgConnectOptions,
}

impl Scratch {
    /// How to connect.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// A pool of up to eight connections. Pools belong to the runtime they were made in: one per test.
    ///
    /// # Errors
    /// [`Error::Connect`] when the first connection fails.
    pub async fn pool(&self) -> Result<sqlx::PgPool, Error> {
        pool(self.options(), 8).await
    }
}

struct Cluster {
    postgres: Postgres,
    // Held, never written: its end tells the guard that this process is gone.
    _alive: ChildStdin,
}

static CLUSTER: OnceLock<Result<Cluster, Error>> = OnceLock::new();

pub(super) async fn create() -> Result<Scratch, Error> {
    let cluster =
        tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start)).await.expect("starting Postgres does not panic");
    let postgres = match cluster {
        Ok(cluster) => &cluster.postgres,
        Err(error) => return Err(Error::Command { what: "start the tests' Postgres", output: error.to_string() }),
    };
    let name = format!("scratch_{}", uuid::Uuid::new_v4().simple());
    make_database(&postgres.socket_dir, &name).await?;
    Ok(Scratch { options: connect_options(&postgres.socket_dir).database(&name) })
}

fn start() -> Result<Cluster, Error> {
    // Not below TMPDIR: as root the database runs under another user, who must be able to enter every parent folder.
    let dir = Path::new("/tmp").join(format!("torch-remote-test-{}", uuid::Uuid::new_v4().simple()));
    let postgres = Postgres::start(&Settings { dir: dir.clone(), volatile: true, ..Settings::default() })?;
    let pid = postgres.pid().ok_or_else(|| Error::Undecided { path: postgres.data.join("postmaster.pid") })?;
    let mut guard = Command::new("sh");
    guard.args(["-c", GUARD, &pid.to_string()]).arg(&dir).current_dir("/").process_group(0);
    let spawned = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|source| Error::Spawn { program: "sh".into(), source })?;
    let alive = child.stdin.take().expect("stdin was asked for");
    Ok(Cluster { postgres, _alive: alive })
}
