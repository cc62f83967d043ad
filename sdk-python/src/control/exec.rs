//! Tokens that a program gives: `exec` of a kubeconfig's user, as `torch-remote login` writes it and client-go defines it.
//!
//! The kube client would run it as well, but with no deadline and on the thread that drives all calls.

use std::process::Stdio;
use std::time::Duration;

use kube::config::{AuthInfo, ExecConfig};
use serde_json::{Value, json};
use tokio::process::Command;
use torch_remote_api::time::Time;

use super::error::Error;

/// Longest time that the program may take; it may have to ask an issuer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A token, and for how long it need not be asked for again.
pub(super) struct Credential {
    pub(super) token: String,
    pub(super) life: Option<Duration>,
}

/// The program of a user who has one, unless it gives more than a token or must be told more than we know.
pub(super) fn of(user: &AuthInfo) -> Option<&ExecConfig> {
    let other = user.token.is_some() || user.token_file.is_some() || user.client_certificate_data.is_some();
    user.exec.as_ref().filter(|exec| !other && !exec.provide_cluster_info)
}

/// Runs the program.
///
/// # Errors
/// `Error::Exec`: it cannot be started, failed, took too long, or gave no token.
pub(super) async fn run(exec: &ExecConfig) -> Result<Credential, Error> {
    let program = exec.command.clone().unwrap_or_default();
    let failed = |why: String| Error::Exec { program: program.clone(), why, slow: false };
    let info = json!({
        "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": {"interactive": false},
    });
    let mut command = Command::new(&program);
    command.args(exec.args.clone().unwrap_or_default()).env("KUBERNETES_EXEC_INFO", info.to_string());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let output = output.map_err(|_| Error::Exec {
        program: program.clone(),
        why: format!("no answer within {} s", DEADLINE.as_secs()),
        slow: true,
    })?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(if said.is_empty() { output.status.to_string() } else { said }));
    }
    let credential: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let token = credential["status"]["token"].as_str().filter(|token| !token.is_empty());
    let token = token.map(str::to_owned).ok_or_else(|| failed("its answer has no token".to_owned()))?;
    let until: Option<Time> = serde_json::from_value(credential["status"]["expirationTimestamp"].clone()).ok();
    let left = |until: Time| {
        let now = std::time::SystemTime::now();
        std::time::SystemTime::from(until.get()).duration_since(now).unwrap_or_default()
    };
    Ok(Credential { token, life: until.map(left) })
}
