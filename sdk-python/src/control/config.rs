//! Where the control plane is and who we are there: `TORCH_REMOTE_*`, else the kubeconfig as kubectl reads it.

use std::time::Instant;

use kube::Config;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};

use super::error::Error;
use super::exec;

/// Settings read at one moment; read again when the server says 401, because token files are replaced.
pub(super) struct Settings {
    pub(super) config: Config,
    /// For texts: the variable or file that named the server.
    pub(super) source: String,
    /// When they are to be read again although nothing was refused: a program's token ends then.
    pub(super) until: Option<Instant>,
}

/// Reads the settings.
///
/// # Errors
/// `NotConfigured` when nothing names a server, `Unusable` when what names one cannot be read.
pub(super) async fn load() -> Result<Settings, Error> {
    let (kubeconfig, source) = match variable("TORCH_REMOTE_SERVER") {
        Some(server) => (from_variables(&server)?, "TORCH_REMOTE_SERVER".to_owned()),
        None => from_files()?,
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| Error::unusable(&source, &error))?;
    let mut until = None;
    if let Some(program) = exec::of(&config.auth_info) {
        let credential = exec::run(program).await?;
        until = credential.life.map(|life| Instant::now() + life);
        let user = serde_json::json!({"token": credential.token});
        let with: AuthInfo = serde_json::from_value(user).map_err(|error| Error::unusable(&source, &error))?;
        // The rest of the user stays, such as whom it acts as.
        let user = &mut config.auth_info;
        (user.token, user.token_file, user.exec) = (with.token, None, None);
    }
    if let Some(namespace) = variable("TORCH_REMOTE_NAMESPACE") {
        config.default_namespace = namespace;
    }
    config.connect_timeout = Some(std::time::Duration::from_secs(5));
    // The build has no proxy support; a control plane behind one is not reached by pretending.
    config.proxy_url = None;
    // Waiting and repeating is `connection`'s.
    config.default_retry = false;
    Ok(Settings { config, source, until })
}

fn from_variables(server: &str) -> Result<Kubeconfig, Error> {
    let optional = |name: &str| variable(name).map_or(serde_json::Value::Null, serde_json::Value::String);
    let text = serde_json::json!({
        "current-context": "env",
        "contexts": [{"name": "env", "context": {"cluster": "env", "user": "env"}}],
        "clusters": [{"name": "env", "cluster": {"server": server, "certificate-authority": optional("TORCH_REMOTE_CA_FILE")}}],
        "users": [{"name": "env", "user": {"token": optional("TORCH_REMOTE_TOKEN"), "tokenFile": optional("TORCH_REMOTE_TOKEN_FILE")}}],
    });
    serde_json::from_value(text).map_err(|error| Error::unusable("TORCH_REMOTE_SERVER", &error))
}

fn from_files() -> Result<(Kubeconfig, String), Error> {
    let named = variable("KUBECONFIG");
    let source = named.clone().map_or_else(|| "~/.kube/config".to_owned(), |files| format!("KUBECONFIG={files}"));
    let found = match &named {
        Some(_) => Kubeconfig::from_env().map_err(|error| Error::unusable(&source, &error))?,
        None if default_file().is_some_and(|file| file.exists()) => {
            Some(Kubeconfig::read().map_err(|error| Error::unusable(&source, &error))?)
        }
        None => None,
    };
    found.map(|kubeconfig| (kubeconfig, source)).ok_or(Error::NotConfigured)
}

fn default_file() -> Option<std::path::PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube").join("config"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
