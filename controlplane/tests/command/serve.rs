//! `serve`: replicas over one database of the operator's.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PROGRAM, command, folder, run};
use crate::replica::{Replica, Shared};

#[test]
fn two_replicas_share_objects_keys_and_authority() {
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), true);
    let (first, second) = (shared.replica("a"), shared.replica("b"));
    let said = first.client(dir.path(), &["apply", "-f", "manifests/examples/local-cpu.yaml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = second.client(dir.path(), &["get", "machines", "-o", "name"]);
    assert_eq!(said.out, "remotemachine.torchremote.dev/local-cpu\n", "{}", said.err);
    // The token and the authority that one made are good with the other.
    let server = |replica: &Replica| {
        let text = fs::read_to_string(&replica.kubeconfig).unwrap();
        text.lines().find(|line| line.contains("server:")).unwrap().to_owned()
    };
    let mixed = fs::read_to_string(&first.kubeconfig).unwrap().replace(&server(&first), &server(&second));
    fs::write(&first.kubeconfig, mixed).unwrap();
    let said = first.client(dir.path(), &["get", "ns", "default", "-o", "name"]);
    assert_eq!(said.out, "namespace/default\n", "{}", said.err);
    first.end();
    second.end();
    let log = fs::read_to_string(dir.path().join("a.log")).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "logs are JSON: {log}");
    postgres.stop().unwrap();
}

#[test]
fn a_replica_whose_database_is_gone_still_ends_when_told_to() {
    let dir = folder();
    let (shared, postgres) = Shared::start(dir.path(), true);
    let replica = shared.replica("a");
    let said = replica.client(dir.path(), &["apply", "-f", "manifests/examples/local-cpu.yaml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    postgres.stop().unwrap();
    let asked = std::time::Instant::now();
    replica.end();
    assert!(asked.elapsed() < std::time::Duration::from_secs(30), "it took {:?}", asked.elapsed());
}

#[test]
fn what_serve_cannot_do_without_is_named() {
    let dir = folder();
    let serve = |arguments: &[&str]| {
        let mut serve = command(PROGRAM, dir.path());
        serve.arg("serve").args(arguments);
        run(serve)
    };
    let said = serve(&["--database-url", "postgres://localhost:1/x"]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: NoKeyFile: ") && said.err.contains("openssl rand -hex 32"), "{}", said.err);
    let key = dir.path().join("key");
    torch_remote::auth::Sealer::open_or_make(&key).unwrap();
    let key = key.to_str().unwrap();
    let said = serve(&["--database-url", "postgres://127.0.0.1:1/x", "--key-file", key, "--listen", "127.0.0.1:0"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("error: DatabaseUnreachable: "), "{}", said.err);
    let said = serve(&["--key-file", key]);
    assert!(said.err.contains("--database-url"), "{}", said.err);
}

#[test]
fn what_would_weaken_who_may_call_is_refused_before_anything_is_served() {
    let dir = folder();
    let key = dir.path().join("key");
    torch_remote::auth::Sealer::open_or_make(&key).unwrap();
    let issuers = dir.path().join("issuers.yaml");
    let serve = |arguments: &[&str]| {
        let mut serve = command(PROGRAM, dir.path());
        serve.args(["serve", "--database-url", "postgres://127.0.0.1:1/x", "--listen", "127.0.0.1:0", "--key-file"]);
        serve.arg(&key).args(arguments);
        run(serve)
    };
    // Its tokens would be taken for our own.
    fs::write(&issuers, "- {issuer: \"https://torch-remote\", audiences: [a]}").unwrap();
    let said = serve(&["--oidc-config", issuers.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: InvalidOIDCConfig: "), "{}", said.err);
    assert!(said.err.contains("the name that the control plane's own tokens have"), "{}", said.err);
    for (life, fits) in [("9m", false), ("24h", true), ("25h", false), ("0", false)] {
        let said = serve(&["--account-token-life", life]);
        assert_eq!(said.err.contains("it must be from 10m to 24h"), !fits, "{life}: {}", said.err);
        assert_eq!(said.err.contains("DatabaseUnreachable"), fits, "{life}: {}", said.err);
    }
}

#[test]
fn a_signal_while_the_database_does_not_answer_ends_serve_without_waiting_for_it() {
    let dir = folder();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("postgres://torch_remote@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let key = dir.path().join("key");
    torch_remote::auth::Sealer::open_or_make(&key).unwrap();
    let mut serve = command(PROGRAM, dir.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &database]).arg("--key-file").arg(&key);
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _connection = silent.accept().unwrap();
    let asked = std::time::Instant::now();
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(asked.elapsed() < torch_remote::store::pool::ACQUIRE / 2, "it took {:?}", asked.elapsed());
}
