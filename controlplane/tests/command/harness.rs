//! A control plane as `torch-remote up` runs it, in a folder of its own; and the programs that talk to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub const DEADLINE: Duration = Duration::from_secs(120);
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_torch-remote");

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Says which test is skipped, and why.
#[expect(clippy::explicit_write, reason = "what a test that passes says by a macro is seen by nobody")]
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    writeln!(std::io::stderr(), "skipped: {test}: {why}").unwrap();
}

/// A folder everyone may enter: as root, Postgres runs under another user.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("torch-remote-cmd-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A command with nothing of our environment but what it needs.
pub fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    command.stdin(Stdio::null()).current_dir(Path::new(&here).join(".."));
    command
}

pub fn run(mut command: Command) -> Said {
    let output: Output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A running `torch-remote up`. Dropped, it is ended.
pub struct Up {
    child: Child,
    pub folder: PathBuf,
    pub kubeconfig: PathBuf,
    pub log: PathBuf,
    crashed: bool,
}

impl Up {
    /// Starts it over `folder/data`, and waits until it is ready.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, |_| {})
    }

    pub fn start_with(folder: &Path, adjust: impl FnOnce(&mut Command)) -> Self {
        let (ready, log) = (folder.join("ready"), folder.join("log"));
        if ready.exists() {
            fs::remove_file(&ready).unwrap();
        }
        let output = fs::File::create(&log).unwrap();
        let mut up = command(PROGRAM, folder);
        up.arg("up").arg("--data-dir").arg(folder.join("data")).arg("--ready-file").arg(&ready);
        up.stdout(output.try_clone().unwrap()).stderr(output);
        adjust(&mut up);
        let mut child = up.spawn().unwrap();
        let start = Instant::now();
        while !ready.exists() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "up ended: {ended:?}\n{}", fs::read_to_string(&log).unwrap());
            assert!(start.elapsed() < DEADLINE, "up is not ready\n{}", fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        let kubeconfig = PathBuf::from(fs::read_to_string(&ready).unwrap().trim());
        Self { child, folder: folder.to_owned(), kubeconfig, log, crashed: false }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, as a user or an init system does it.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGINT to its process group, as a terminal does it.
    pub fn interrupt_group(mut self) -> ExitStatus {
        let group = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process_group(group, Signal::INT).unwrap();
        self.wait()
    }

    /// SIGKILL, as a crash.
    pub fn kill(mut self) {
        self.crashed = true;
        self.signal(Signal::KILL);
        self.wait();
    }

    pub fn torch_remote(&self, arguments: &[&str]) -> Said {
        run(self.client(PROGRAM, arguments))
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        run(self.client("kubectl", arguments))
    }

    pub fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command(program, &self.folder);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs the client with `text` as its standard input.
    pub fn with_input(&self, arguments: &[&str], text: &str) -> Said {
        let mut child = self.client(PROGRAM, arguments);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "up does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            self.wait();
        }
        // What a failed test left behind; after a crash on purpose, the next one takes it.
        if !self.crashed && self.folder.join("data/postgres/data/postmaster.pid").exists() {
            for pid in processes_of(&self.folder) {
                if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                    kill_process(pid, Signal::QUIT).ok();
                }
            }
        }
    }
}

/// Waits until it is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes with the folder on their command line.
pub fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(folder)
    };
    numbers.filter(ours).collect()
}
