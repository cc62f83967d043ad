//! What every provider keeps, run against each of them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use torch_remote_api::agent::Listen;

use super::fake::Fault;
use super::{AgentTerms, Error, Fake, Local, Provider, Request, Sighting, local};

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
    provider.forget(&request("t-2").machine_uid).await.expect("its machine is gone");
    provider.forget(&request("t-2").machine_uid).await.expect("forgetting twice is once");
    let Sighting::Absent { why } = provider.find("t-2").await.expect("it can look") else { panic!("it is back") };
    assert_eq!(why, "", "nothing is known of it any more");
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
    // It may be seen before it ends.
    drop(local.create(&request("t-1")).await);
    let ended = async {
        loop {
            let why = until_absent(&local, "t-1").await;
            if why.contains("exit status") {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let why = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("its end is seen");
    assert!(why.contains("exit status: 3") && why.contains("no libtorch here"), "{why}");
    let again = local.create(&request("t-1")).await.expect_err("an instance of that token was made already");
    assert!(matches!(&again, Error::Refused { message, .. } if message.contains("exit status: 3")), "{again}");
    let log = std::fs::read_to_string(
        dir.path().join("data/machines").join(request("t-1").machine_uid).join("t-1/agent.log"),
    );
    assert_eq!(log.expect("its log").lines().count(), 1, "it was started once");
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

#[tokio::test]
async fn local_keeps_the_files_of_a_few_attempts_and_none_of_a_machine_that_is_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let local =
        Local::new(settings(dir.path(), program(dir.path(), "trap 'exit 0' TERM; while :; do sleep 0.05; done")));
    let _ends = Ends(local.clone());
    let uid = request("").machine_uid;
    let (machine, sockets) = (dir.path().join("data/machines").join(&uid), dir.path().join("data/sockets"));
    let entries = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
    for attempt in 1..=6 {
        let token = format!("t-{attempt}");
        local.create(&request(&token)).await.expect("a create");
        assert!(entries(&machine) <= 3 && entries(&sockets) <= 3, "after attempt {attempt}");
        if attempt < 6 {
            local.terminate(&token, true).await.expect("a termination");
            until_absent(&local, &token).await;
        }
    }
    assert!(machine.join("t-5/agent.log").exists(), "the last failure can be read");
    local.forget(&uid).await.expect("nothing to do");
    assert!(machine.join("t-6/agent.json").exists(), "it still runs");
    local.terminate("t-6", true).await.expect("a termination");
    until_absent(&local, "t-6").await;
    local.forget(&uid).await.expect("forgotten");
    assert!(!machine.exists() && entries(&sockets) == 0);
    local.forget(&uid).await.expect("twice is once");
}

#[test]
fn local_refuses_what_a_process_of_this_computer_can_not_have_and_takes_it_for_another_instance_than_the_one_that_runs()
{
    let dir = tempfile::tempdir().expect("a folder");
    let local = Local::new(settings(dir.path(), program(dir.path(), "exit 0")));
    let spec = |more: serde_json::Value| {
        let mut whole = serde_json::json!({"provider": "p", "gpu": {"type": "CPU"}});
        whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value::<torch_remote_api::machine::RemoteMachineSpec>(whole).expect("a valid spec")
    };
    let plain = spec(serde_json::json!({}));
    local.check(&plain).expect("it can be made");
    for (field, more) in [
        ("spec.image", serde_json::json!({"image": {"packages": ["numpy==2.1.0"]}})),
        ("spec.env", serde_json::json!({"env": [{"name": "A", "value": "b"}]})),
        ("spec.secretRefs", serde_json::json!({"secretRefs": [{"name": "s"}]})),
        ("spec.volumes", serde_json::json!({"volumes": [{"name": "v", "mountPath": "/data"}]})),
        ("spec.regions", serde_json::json!({"regions": ["eu"]})),
        ("spec.memory", serde_json::json!({"memory": "32Gi"})),
    ] {
        let asked = spec(more);
        let refusal = local.check(&asked).expect_err(field);
        assert_eq!(refusal.reason, "NotOffered");
        assert!(refusal.message.contains(&format!(": {field} can not be given; leave it out")), "{}", refusal.message);
        assert_ne!(local.made_from(&asked), local.made_from(&plain), "{field}");
    }
    for more in [serde_json::json!({"cpu": "2"}), serde_json::json!({"slotsPerGPU": 2})] {
        assert_ne!(local.made_from(&spec(more)), local.made_from(&plain));
    }
}
