//! What every provider keeps, run against each of them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use torch_remote_api::agent::Listen;

use super::fake::Fault;
use super::{AgentTerms, Fake, Local, Provider, Request, Sighting, local};

fn request(token: &str) -> Request {
    let spec = serde_json::json!({"provider": "p", "gpu": {"type": "CPU"}, "slotsPerGPU": 2});
    Request {
        token: token.to_owned(),
        machine_uid: "9e7d7b0a-31cd-4c6b-a3f5-1d9b60b0a1aa".to_owned(),
        machine: "default/m".to_owned(),
        spec: serde_json::from_value(spec).expect("a valid spec"),
        agent: AgentTerms {
            issuer: "https://cp".to_owned(),
            jwks: serde_json::json!({"keys": []}),
            dead_man_ms: 600_000,
            heartbeat_ms: 1000,
            otlp: None,
        },
    }
}

async fn until_absent(provider: &dyn Provider, token: &str) -> String {
    let look = async {
        loop {
            if let Sighting::Absent { why } = provider.find(token).await.expect("it can look") {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("it goes within 20 s")
}

/// The contract.
async fn kept(provider: Arc<dyn Provider>) {
    assert!(
        matches!(provider.find("t-1").await.expect("it can look"), Sighting::Absent { .. }),
        "nothing before a create"
    );
    provider.create(&request("t-1")).await.expect("a create");
    let Sighting::Running(first) = provider.find("t-1").await.expect("it can look") else {
        panic!("created, and not found")
    };
    provider.create(&request("t-1")).await.expect("the same create again");
    let Sighting::Running(second) = provider.find("t-1").await.expect("it can look") else {
        panic!("created, and not found")
    };
    assert_eq!(first, second, "a second create of a token makes no second instance");
    provider.create(&request("t-2")).await.expect("another create");
    let mut tokens = provider.list().await.expect("a complete list");
    tokens.sort();
    assert_eq!(tokens, ["t-1", "t-2"]);
    provider.terminate("t-1", false).await.expect("a termination");
    until_absent(&*provider, "t-1").await;
    provider.terminate("t-1", true).await.expect("ending what is gone is no error");
    assert_eq!(provider.list().await.expect("a complete list"), ["t-2"]);
    provider.terminate("t-2", true).await.expect("a forced termination");
    until_absent(&*provider, "t-2").await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    kept(Arc::new(Fake::new(Box::new(|_| Listen::Unix("/dev/null".to_owned())), Box::new(|_| {})))).await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found_by_its_token() {
    let fake = Fake::new(Box::new(|_| Listen::Unix("/dev/null".to_owned())), Box::new(|_| {}));
    fake.inject(Fault::LoseCreateAnswer);
    fake.create(&request("t-1")).await.expect_err("lost");
    assert!(matches!(fake.find("t-1").await, Ok(Sighting::Running(_))));
    fake.create(&request("t-1")).await.expect("again");
    assert_eq!(fake.created(), ["t-1"]);
}

/// An agent's program that does what `body` says.
fn program(dir: &Path, body: &str) -> std::path::PathBuf {
    let path = dir.join("torch-remote-agent");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

fn settings(dir: &Path, agent: std::path::PathBuf) -> local::Settings {
    local::Settings {
        agent,
        data_dir: dir.join("data"),
        short_dir: dir.to_owned(),
        environment: vec![],
        threads: 1,
        public_address: None,
    }
}

/// Ends the agents of a test that failed.
struct Ends(Local);

impl Drop for Ends {
    fn drop(&mut self) {
        // Processes are looked at without waiting, so any executor does.
        futures::executor::block_on(async {
            for token in self.0.list().await.unwrap_or_default() {
                drop(self.0.terminate(&token, true).await);
            }
        });
    }
}

#[tokio::test]
async fn local_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("a folder");
    let local = Local::new(settings(dir.path(), program(dir.path(), "while :; do sleep 0.05; done")));
    let _ends = Ends(local.clone());
    kept(Arc::new(local)).await;
}

#[tokio::test]
async fn local_tells_an_agent_the_address_of_other_hosts_only_if_there_is_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let agent = program(dir.path(), "while :; do sleep 0.05; done");
    for (token, public) in [("t-1", None), ("t-2", Some("gpu.example.org"))] {
        let settings = settings(dir.path(), agent.clone());
        let local = Local::new(local::Settings { public_address: public.map(str::to_owned), ..settings });
        let _ends = Ends(local.clone());
        let request = request(token);
        local.create(&request).await.expect("a create");
        let path = dir.path().join("data/machines").join(&request.machine_uid).join(token).join("agent.json");
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
        assert_eq!(config.get("publicAddress").and_then(serde_json::Value::as_str), public, "{config}");
    }
}

#[tokio::test]
async fn local_adopts_what_an_earlier_life_started_and_touches_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let agent = program(dir.path(), "trap '' TERM; while :; do sleep 0.05; done");
    let before = Local::new(settings(dir.path(), agent.clone()));
    let _ends = Ends(before.clone());
    before.create(&request("t-1")).await.expect("a create");
    let after = Local::new(settings(dir.path(), agent.clone()));
    let Sighting::Running(found) = after.find("t-1").await.expect("it can look") else { panic!("not adopted") };
    let elsewhere = Local::new(local::Settings { data_dir: dir.path().join("other"), ..settings(dir.path(), agent) });
    assert!(elsewhere.list().await.expect("a list").is_empty(), "another data directory's agent is not ours");
    elsewhere.terminate("t-1", true).await.expect("nothing to end");
    assert_eq!(after.find("t-1").await.expect("it can look"), Sighting::Running(found), "still the same process");
    after.terminate("t-1", false).await.expect("asked");
    assert!(matches!(after.find("t-1").await, Ok(Sighting::Running(_))), "it ignores SIGTERM");
    assert_eq!(after.end_all(Duration::from_millis(50)).await.expect("all ended"), ["t-1"]);
    assert!(matches!(before.find("t-1").await, Ok(Sighting::Absent { .. })));
}

#[tokio::test]
async fn local_quotes_the_log_of_an_agent_that_failed() {
    let dir = tempfile::tempdir().expect("a folder");
    let local = Local::new(settings(dir.path(), program(dir.path(), "echo no libtorch here >&2; exit 3")));
    local.create(&request("t-1")).await.expect("a create");
    let why = until_absent(&local, "t-1").await;
    let why = if why.contains("exit status") {
        why
    } else {
        tokio::time::sleep(Duration::from_millis(200)).await;
        until_absent(&local, "t-1").await
    };
    assert!(why.contains("exit status: 3") && why.contains("no libtorch here"), "{why}");
}

#[tokio::test]
async fn local_gives_the_agent_a_private_configuration_and_sockets_whose_paths_fit() {
    let dir = tempfile::tempdir().expect("a folder");
    let deep = dir.path().join("d".repeat(120));
    let agent = program(dir.path(), "while :; do sleep 0.05; done");
    let local = Local::new(local::Settings { data_dir: deep.clone(), ..settings(dir.path(), agent) });
    local.create(&request("t-1")).await.expect("a create");
    let path = deep.join("machines").join(request("t-1").machine_uid).join("t-1/agent.json");
    assert_eq!(std::fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read(&path).expect("readable");
    let config: torch_remote_api::agent::AgentConfig = serde_json::from_slice(&text).expect("an agent's configuration");
    assert_eq!((config.token.as_str(), config.device.as_str(), config.slots.len()), ("t-1", "cpu", 2));
    let Listen::Unix(socket) = &config.slots[1].listen else { panic!("a Unix socket") };
    assert!(socket.len() <= 107, "{socket}");
    let folder = Path::new(socket).parent().expect("a folder");
    assert_eq!(std::fs::metadata(folder).expect("made").permissions().mode() & 0o777, 0o700);
    local.end_all(Duration::ZERO).await.expect("ended");
}
