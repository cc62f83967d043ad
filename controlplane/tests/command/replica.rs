//! `serve` processes over one database of the operator's, and the Postgres beneath.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use torch_remote::postgres::{Postgres, Settings};

use crate::harness::{PROGRAM, Said, command, eventually, run};

/// A database, and the key file that its replicas share.
pub struct Shared {
    pub dir: PathBuf,
    pub url: String,
    settings: Settings,
}

impl Shared {
    /// Starts a Postgres below `dir`. `volatile`: it keeps nothing through a crash, and is faster.
    pub fn start(dir: &Path, volatile: bool) -> (Self, Postgres) {
        let settings = Settings { dir: dir.join("postgres"), volatile, ..Settings::default() };
        let postgres = Postgres::start(&settings).unwrap();
        let socket = dir.join("postgres/socket");
        let url = format!("postgres://torch_remote@localhost/postgres?host={}", socket.display());
        torch_remote::auth::Sealer::open_or_make(&dir.join("key")).unwrap();
        (Self { dir: dir.to_owned(), url, settings }, postgres)
    }

    /// Starts the Postgres again.
    pub fn postgres(&self) -> Postgres {
        Postgres::start(&self.settings).unwrap()
    }

    pub fn replica(&self, name: &str) -> Replica {
        self.replica_of(PROGRAM.as_ref(), name)
    }

    /// One of another release.
    pub fn replica_of(&self, program: &Path, name: &str) -> Replica {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Replica::start(self, program, name, port)
    }
}

pub struct Replica {
    child: Child,
    program: PathBuf,
    name: String,
    port: u16,
    pub kubeconfig: PathBuf,
}

impl Replica {
    fn start(Shared { dir, url, .. }: &Shared, program: &Path, name: &str, port: u16) -> Self {
        let kubeconfig = dir.join(format!("{name}.kubeconfig"));
        let mut serve = command(program.to_str().unwrap(), dir);
        serve.args(["serve", "--replica", name, "--listen", &format!("127.0.0.1:{port}"), "--log-format", "json"]);
        serve.arg("--key-file").arg(dir.join("key")).arg("--admin-kubeconfig").arg(&kubeconfig);
        serve.arg("--state-dir").arg(dir.join(name)).env("DATABASE_URL", url);
        let log = fs::File::options().create(true).append(true).open(dir.join(format!("{name}.log"))).unwrap();
        if kubeconfig.exists() {
            fs::remove_file(&kubeconfig).unwrap();
        }
        let mut child = serve.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        eventually("the replica serves", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(dir.join(format!("{name}.log"))).unwrap());
            kubeconfig.exists()
        });
        Self { child, program: program.to_owned(), name: name.to_owned(), port, kubeconfig }
    }

    /// SIGKILL, as a crash; then another process in its place, at the same address.
    pub fn crash_and_start(&mut self, shared: &Shared) {
        self.crash();
        let program = self.program.clone();
        self.start_again(shared, &program);
    }

    /// SIGTERM; then a process of another release in its place.
    pub fn exchange(&mut self, shared: &Shared, program: &Path) {
        self.terminate();
        self.start_again(shared, program);
    }

    fn start_again(&mut self, shared: &Shared, program: &Path) {
        let (name, port) = (self.name.clone(), self.port);
        *self = Self::start(shared, program, &name, port);
    }

    /// SIGKILL.
    pub fn crash(&mut self) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }

    pub fn client(&self, dir: &Path, arguments: &[&str]) -> Said {
        let mut client: Command = command(PROGRAM, dir);
        client.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        run(client)
    }

    /// SIGTERM, as an init system does it.
    pub fn end(mut self) {
        self.terminate();
    }

    fn terminate(&mut self) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // What a failed test left running.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
