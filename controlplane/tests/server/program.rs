//! `torch-remote` for a user whose token a program gives: when it is run, and how often.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::Api;

/// A kubeconfig whose user is a program that notes each run, and gives what is good from that run on.
struct User {
    home: PathBuf,
}

impl User {
    async fn new(api: &Api, good_from: usize) -> Self {
        let home = api.folder.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let mut config: Value = serde_yaml::from_str(&std::fs::read_to_string(api.serve().await).unwrap()).unwrap();
        let (program, runs) = (home.join("program"), home.join("runs"));
        let script = format!(
            "#!/bin/sh\necho run >> {runs}\nif [ $(wc -l < {runs}) -ge {good_from} ]; then token={token}; else token=bad; fi\nprintf '{{\"status\": {{\"token\": \"%s\"}}}}' $token\n",
            runs = runs.display(),
            token = api.token,
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(&runs, "").unwrap();
        config["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": program, "interactiveMode": "IfAvailable",
        }});
        std::fs::write(home.join("config"), config.to_string()).unwrap();
        Self { home }
    }

    /// Runs `torch-remote`: whether it ended well, its standard error, and how often the program was run.
    async fn run(&self, arguments: &[&str]) -> (bool, String, usize) {
        std::fs::write(self.home.join("runs"), "").unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_torch-remote"));
        command.env_clear().env("HOME", &self.home).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("KUBECONFIG", self.home.join("config")).args(arguments).stdin(std::process::Stdio::null());
        let output = command.output().await.unwrap();
        let runs = std::fs::read_to_string(self.home.join("runs")).unwrap().lines().count();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned(), runs)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_for_tokens_is_run_when_something_is_sent_and_not_before() {
    let api = Api::start().await;
    let user = User::new(&api, 1).await;
    let broken = user.file("broken.yaml", "kind: [");
    for (arguments, fine) in [
        (&["get", "--help"][..], true),
        (&["get", "ns", "--no-such-flag"], false),
        (&["apply", "-f", &broken], false),
        (&["kubeconfig"], true),
    ] {
        let (ended, err, runs) = user.run(arguments).await;
        assert_eq!((ended, runs), (fine, 0), "{arguments:?}: {err}");
    }
    let many: Vec<String> = (0..8).map(|number| format!("{{\"apiVersion\": \"torchremote.dev/v1alpha1\", \"kind\": \"RemoteMachine\", \"metadata\": {{\"name\": \"m{number}\"}}, \"spec\": {{\"provider\": \"local\", \"gpu\": {{\"type\": \"CPU\"}}}}}}")).collect();
    let many = user.file("many.yaml", &many.join("\n---\n"));
    for arguments in [&["get", "ns"][..], &["apply", "-f", &many], &["token"]] {
        let (ended, err, runs) = user.run(arguments).await;
        assert_eq!((ended, runs), (true, 1), "{arguments:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_is_asked_for_once_more_and_no_third_time() {
    let api = Api::start().await;
    let (ended, err, runs) = User::new(&api, 2).await.run(&["get", "ns"]).await;
    assert_eq!((ended, runs), (true, 2), "{err}");
    let (ended, err, runs) = User::new(&api, 99).await.run(&["get", "ns"]).await;
    assert_eq!((ended, runs), (false, 2), "{err}");
    assert!(err.contains("error: Unauthorized: "), "{err}");
}
