//! The cluster, user and context of a login in a kubeconfig that others write to as well.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Error;
use super::kubeconfig_lock::KubeconfigLock;
use crate::config::HomeArgs;
use crate::kubeconfig::{self, write_secret};

/// Name that programs find this one by.
const PROGRAM: &str = "torch-remote";

/// What is written.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) server: &'a str,
    pub(super) authority: Option<&'a str>,
    pub(super) context: Option<&'a str>,
    pub(super) namespace: &'a str,
    /// File with the credentials.
    pub(super) login: &'a Path,
}

/// The kubeconfig to write to: the first that is named, or kubectl's own.
pub(super) fn file(named: Option<&str>, home: &HomeArgs) -> Result<PathBuf, Error> {
    let first = named.and_then(|list| list.split(':').find(|path| !path.is_empty())).map(PathBuf::from);
    let path = first.or_else(|| home.home.as_ref().map(|home| home.join(".kube/config"))).ok_or(Error::NoHome)?;
    if kubeconfig::refuse_foreign(&path).is_ok() && path.exists() && !empty(&path) {
        return Err(Error::OfUp { path });
    }
    Ok(path)
}

fn empty(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim().is_empty())
}

impl Entry<'_> {
    /// Adds it to the file, in place of one of the same name, and makes it the current context, whose name is returned.
    pub(super) async fn write(&self, path: &Path) -> Result<String, Error> {
        let _lock = KubeconfigLock::take(path).await?;
        // One that leads elsewhere stays a link.
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let malformed = || Error::Kubeconfig { path: path.to_owned() };
        let mut config: Value = serde_yaml::from_str(&text).map_err(|_| malformed())?;
        if config.is_null() {
            config = json!({"apiVersion": "v1", "kind": "Config"});
        }
        if !config.is_object() {
            return Err(malformed());
        }
        let host = self.server.split("://").nth(1).unwrap_or(self.server);
        let name = self.context.unwrap_or(host.split('/').next().unwrap_or(host)).to_owned();
        for (list, field, value) in [
            ("clusters", "cluster", self.cluster()),
            ("users", "user", self.user()),
            ("contexts", "context", json!({"cluster": name, "user": name, "namespace": self.namespace})),
        ] {
            if config[list].is_null() {
                config[list] = json!([]);
            }
            let entries = config[list].as_array_mut().ok_or_else(malformed)?;
            entries.retain(|entry| entry["name"] != name.as_str());
            let mut entry = json!({"name": name});
            entry[field] = value;
            entries.push(entry);
        }
        config["current-context"] = name.as_str().into();
        let text = serde_yaml::to_string(&config).expect("a tree that was read can be written");
        write_secret(path, &text).map_err(|source| Error::Write { path: path.to_owned(), source: Box::new(source) })?;
        Ok(name)
    }

    fn cluster(&self) -> Value {
        let mut cluster = json!({"server": self.server});
        if let Some(authority) = self.authority {
            cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
        }
        cluster
    }

    fn user(&self) -> Value {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": program(),
            "args": ["token", "--exec", "--login-file", self.login], "interactiveMode": "IfAvailable",
            "installHint": "This user logs in with `torch-remote`; put it on your PATH, or log in again with it.",
        }})
    }
}

/// Its bare name where programs find it by that, else where it is.
fn program() -> String {
    let own = std::env::current_exe().ok();
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut found = on_path.map(|folder| folder.join(PROGRAM)).filter(|file| file.is_file());
    match (own, found.next()) {
        (Some(own), Some(found)) if std::fs::canonicalize(&found).ok() == std::fs::canonicalize(&own).ok() => {
            PROGRAM.to_owned()
        }
        (Some(own), _) => own.display().to_string(),
        (None, _) => PROGRAM.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_wrote_stays_and_a_second_login_replaces_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let theirs = "apiVersion: v1\nkind: Config\npreferences: {colors: true}\ncurrent-context: work\nclusters:\n- {name: work, cluster: {server: https://work}}\nusers:\n- {name: work, user: {token: t}}\ncontexts:\n- {name: work, context: {cluster: work, user: work}}\n";
        std::fs::write(&path, theirs).unwrap();
        let login = folder.path().join("login.json");
        let entry = Entry {
            server: "https://cp.test:6443",
            authority: Some("PEM"),
            context: None,
            namespace: "vision",
            login: &login,
        };
        for _ in 0..2 {
            assert_eq!(entry.write(&path).await.unwrap(), "cp.test:6443");
        }
        let config = kube::config::Kubeconfig::read_from(&path).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("cp.test:6443"));
        let names: Vec<_> = config.contexts.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["work", "cp.test:6443"]);
        let exec = config.auth_infos[1].auth_info.as_ref().unwrap().exec.as_ref().unwrap();
        assert_eq!(exec.args.as_ref().unwrap()[..3], ["token", "--exec", "--login-file"]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("colors: true"));
    }

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let login = folder.path().join("login.json");
        let entry = Entry { server: "https://cp", authority: None, context: None, namespace: "default", login: &login };
        for text in ["- a list", "clusters: 7", "{unclosed"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(entry.write(&path).await, Err(Error::Kubeconfig { .. })), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
