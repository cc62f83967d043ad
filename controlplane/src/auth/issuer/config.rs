//! The file that `--oidc-config` names: a YAML list of issuers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::outbound;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named by the texts")]
pub enum Error {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a list of issuers", path.display())]
    Form {
        path: PathBuf,
        #[source]
        source: serde_yaml::Error,
    },
    #[error("issuer {issuer:?}: {problem}")]
    Setting { issuer: String, problem: String },
    #[error("issuer {issuer:?}: its caFile cannot be used")]
    Authority {
        issuer: String,
        #[source]
        source: outbound::Error,
    },
}

/// One issuer, as it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its URL, as in `iss`.
    pub issuer: String,
    /// One of them must be in `aud`.
    pub audiences: Vec<String>,
    /// Claim with the user's name.
    pub username_claim: String,
    /// Before the user's name.
    pub username_prefix: String,
    /// Claim with the user's groups; none: no groups.
    pub groups_claim: Option<String>,
    /// Before each group.
    pub groups_prefix: String,
    /// Certificates of its authority, PEM; none: those of the system.
    pub authority: Option<String>,
    /// Algorithms it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// How people log in with it; none: they do not.
    pub login: Option<Login>,
}

/// The client that `torch-remote login` is to the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// Its id there: a public client, without a secret.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// What is asked for.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email", "offline_access"].map(str::to_owned).to_vec()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    issuer: String,
    audiences: Vec<String>,
    #[serde(default = "subject")]
    username_claim: String,
    username_prefix: Option<String>,
    groups_claim: Option<String>,
    #[serde(default)]
    groups_prefix: String,
    ca_file: Option<PathBuf>,
    #[serde(default = "algorithms")]
    algorithms: Vec<String>,
    login: Option<Login>,
}

fn subject() -> String {
    "sub".to_owned()
}

fn algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

/// Reads the file. A `caFile` is looked for beside it.
///
/// # Errors
/// [`Error`].
pub fn read(path: &Path) -> Result<Vec<Settings>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let written: Vec<Written> =
        serde_yaml::from_str(&text).map_err(|source| Error::Form { path: path.to_owned(), source })?;
    let mut seen = HashSet::new();
    for one in &written {
        if !seen.insert(one.issuer.clone()) {
            return Err(setting(&one.issuer, "it is listed twice"));
        }
    }
    written.into_iter().map(|written| written.settings(path.parent().unwrap_or(Path::new(".")))).collect()
}

impl Written {
    fn settings(self, folder: &Path) -> Result<Settings, Error> {
        if let Err(error) = outbound::address(&self.issuer) {
            return Err(setting(&self.issuer, &error.to_string()));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(setting(
                &self.issuer,
                "audiences must name at least one: without, tokens for any other program were accepted",
            ));
        }
        if self.algorithms.is_empty() {
            return Err(setting(
                &self.issuer,
                "algorithms must name at least one, or be left out: with none, no token is good",
            ));
        }
        let algorithms = self.algorithms.iter().map(|name| match name.as_str() {
            "RS256" => Ok(Algorithm::RS256),
            "ES256" => Ok(Algorithm::ES256),
            "EdDSA" => Ok(Algorithm::EdDSA),
            other => Err(setting(
                &self.issuer,
                &format!("algorithm {other:?} is not one of \"RS256\", \"ES256\", \"EdDSA\""),
            )),
        });
        let algorithms = algorithms.collect::<Result<_, _>>()?;
        let authority = match &self.ca_file {
            None => None,
            Some(file) => {
                let path = folder.join(file);
                Some(std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?)
            }
        };
        // As Kubernetes does: an address is told apart from other users by itself.
        let prefix = match self.username_prefix {
            Some(prefix) => prefix,
            None if self.username_claim == "email" => String::new(),
            None => format!("{}#", self.issuer),
        };
        Ok(Settings {
            issuer: self.issuer,
            audiences: self.audiences,
            username_claim: self.username_claim,
            username_prefix: prefix,
            groups_claim: self.groups_claim,
            groups_prefix: self.groups_prefix,
            authority,
            algorithms,
            login: self.login,
        })
    }
}

fn setting(issuer: &str, problem: &str) -> Error {
    Error::Setting { issuer: issuer.to_owned(), problem: problem.to_owned() }
}

impl Settings {
    /// What a client must know to log in: public.
    pub(super) fn login_document(&self) -> Option<Value> {
        let login = self.login.as_ref()?;
        let mut document = json!({"issuer": self.issuer, "clientID": login.client_id, "scopes": login.scopes});
        if let Some(authority) = &self.authority {
            document["issuerAuthority"] = authority.as_str().into();
        }
        Some(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Settings>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oidc.yaml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("ca.pem"), "PEM").unwrap();
        read(&path)
    }

    #[test]
    fn an_issuer_needs_a_url_and_an_audience_and_the_rest_has_defaults() {
        let settings =
            of("- issuer: https://login.example.org\n  audiences: [torch-remote]\n  caFile: ca.pem\n").unwrap();
        assert_eq!(settings[0].username_claim, "sub");
        assert_eq!(settings[0].username_prefix, "https://login.example.org#");
        assert_eq!(settings[0].algorithms, [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        assert_eq!((settings[0].groups_claim.as_deref(), settings[0].authority.as_deref()), (None, Some("PEM")));
        assert!(settings[0].login_document().is_none());
        let with_login =
            "- {issuer: \"http://127.0.0.1:1\", audiences: [a], usernameClaim: email, login: {clientID: cli}}";
        let settings = of(with_login).unwrap();
        assert_eq!(settings[0].username_prefix, "");
        assert_eq!(settings[0].login_document().unwrap()["clientID"], "cli");
    }

    #[test]
    fn what_would_trust_too_much_is_refused_with_the_reason() {
        for (text, says) in [
            ("- {issuer: \"http://login.example.org\", audiences: [a]}", "https"),
            ("- {issuer: \"https://x\", audiences: []}", "audiences"),
            ("- {issuer: \"https://x\", audiences: [a], algorithms: [HS256]}", "HS256"),
            ("- {issuer: \"https://x\", audiences: [a], algorithms: [none]}", "\"none\" is not one of"),
            ("- {issuer: \"https://x\", audiences: [a], algorithms: [RS256, rs256]}", "\"rs256\" is not one of"),
            ("- {issuer: \"https://x\", audiences: [a], algorithms: []}", "algorithms must name at least one"),
            ("- {issuer: \"https://x\", audiences: [a]}\n- {issuer: \"https://x\", audiences: [b]}", "twice"),
            ("- {issuer: \"https://x\", audiences: [a], skipVerify: true}", "not a list of issuers"),
            ("issuer: https://x", "not a list of issuers"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
