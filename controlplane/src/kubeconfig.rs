//! The kubeconfig that `up` writes: one cluster, and a user whose token lies in a file of its own, so that it can be replaced.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::explain::Explain;

/// First line of a file that may be written again.
const MARK: &str = "# Written by `torch-remote up` at each start; changes are lost.";
/// Name of cluster, user and context.
const NAME: &str = "torch-remote";

/// What a client needs to reach the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// `https://host:port`.
    pub server: String,
    /// Certificate authority, PEM; none where the system's are right.
    pub authority: Option<String>,
    /// File that holds the user's token; absolute.
    pub token_file: PathBuf,
}

/// A failure to write a file for clients.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is somebody else's.
    #[error("{} exists and was not written by `torch-remote up`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "KubeconfigExists",
            Self::Write { .. } => "DataDirectoryNotWritable",
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::Foreign { path } => format!(
                "Choose another file with --kubeconfig, and use both: `export KUBECONFIG={}:OTHER`.",
                path.display()
            ),
            Self::Write { .. } => "Choose a file you may write with --kubeconfig.".into(),
        }
    }
}

impl Kubeconfig {
    /// Writes the file, readable by its owner alone, in one step.
    ///
    /// # Errors
    /// [`Error::Foreign`] when it would replace a file that [`Kubeconfig::write`] did not write.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        refuse_foreign(path)?;
        write_secret(path, &self.render())
    }

    fn render(&self) -> String {
        let mut cluster = json!({"server": self.server});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = json!(STANDARD.encode(authority));
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NAME,
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": {"tokenFile": self.token_file}}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        });
        let yaml = serde_yaml::to_string(&config).expect("a tree of strings is YAML");
        format!("{MARK}\n{yaml}")
    }
}

/// Refuses a path that holds a file of another origin: nothing of a user's is overwritten.
///
/// # Errors
/// [`Error::Foreign`].
pub fn refuse_foreign(path: &Path) -> Result<(), Error> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() || text.starts_with(MARK) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(Error::Foreign { path: path.to_owned() }),
        Err(source) => Err(Error::Write { path: path.to_owned(), source }),
    }
}

/// Replaces a file in one step with one only its owner can read. A reader sees the old text or the new, never a part.
///
/// # Errors
/// [`Error::Write`].
pub fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn example() -> Kubeconfig {
        Kubeconfig {
            server: "https://127.0.0.1:6443".into(),
            authority: Some("PEM".into()),
            token_file: "/data/admin.token".into(),
        }
    }

    #[test]
    fn a_kube_client_reads_back_what_was_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("new/kubeconfig");
        example().write(&path).expect("it can be written");
        let read = kube::config::Kubeconfig::read_from(&path).expect("it can be read");
        assert_eq!(read.current_context.as_deref(), Some("torch-remote"));
        let cluster = read.clusters[0].cluster.as_ref().expect("a cluster");
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("UEVN"));
        let user = read.auth_infos[0].auth_info.as_ref().expect("a user");
        assert_eq!(user.token_file.as_deref(), Some("/data/admin.token"));
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn it_is_written_again_over_itself_but_never_over_a_file_of_another_origin() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kubeconfig");
        example().write(&path).expect("the first time");
        example().write(&path).expect("the second time");
        std::fs::write(&path, "apiVersion: v1\nkind: Config\nclusters: []\n").expect("another's file");
        let error = example().write(&path).expect_err("it is another's");
        assert!(matches!(error, Error::Foreign { .. }));
        let kept = std::fs::read_to_string(&path).expect("it is there");
        assert!(kept.starts_with("apiVersion: v1"), "the file is untouched");
    }
}
