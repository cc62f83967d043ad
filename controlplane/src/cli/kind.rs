//! Which kinds the control plane serves, by any of their names, and where their objects lie.

use std::collections::HashSet;

use serde_json::Value;
use torch_remote_api::suggest;

use super::connection::{Call, Connection};
use super::error::Error;
use super::target::encode;

/// Discovery of all groups and versions in one answer.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// A kind the control plane serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    group: String,
    version: String,
    kind: String,
    plural: String,
    singular: String,
    short_names: Vec<String>,
    /// Objects lie in namespaces.
    pub namespaced: bool,
    /// Single objects can be read: it is no mere question to the server, and no mere list.
    readable: bool,
}

/// All kinds the control plane serves.
#[derive(Debug)]
pub struct Kinds(Vec<Kind>);

impl Kind {
    /// `remotemachine.torchremote.dev`: how kubectl names a kind in front of an object's name.
    pub fn title(&self) -> String {
        if self.group.is_empty() { self.singular.clone() } else { format!("{}.{}", self.singular, self.group) }
    }

    /// Lower-case plural.
    pub fn plural(&self) -> &str {
        &self.plural
    }

    /// Path of the collection; of all namespaces without one.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{}/namespaces/{}/{}", self.version, encode(namespace), self.plural),
            None => format!("{root}/{}/{}", self.version, self.plural),
        }
    }

    /// Path of one object.
    pub fn object_path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.path(Some(namespace)), encode(name))
    }

    fn answers_to(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let (name, group) = name.split_once('.').map_or((name.as_str(), None), |(name, group)| (name, Some(group)));
        let names = [&self.plural, &self.singular].into_iter().chain(&self.short_names);
        let known = self.kind.eq_ignore_ascii_case(name) || names.into_iter().any(|known| known == name);
        // "machines.torchremote.dev" and "machines.v1alpha1.torchremote.dev" are both ways kubectl takes.
        let versioned = format!("{}.{}", self.version, self.group);
        known && group.is_none_or(|group| group == self.group || group == versioned)
    }
}

impl Kinds {
    /// Asks the control plane.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn discover(connection: &Connection) -> Result<Self, Error> {
        let mut kinds = Vec::new();
        // Core kinds first: of two with one name, such as events, theirs is meant, as with kubectl.
        for path in ["/api", "/apis"] {
            let answer = connection.call(Call::get(path).accept(AGGREGATED)).await?;
            answer["items"].as_array().into_iter().flatten().for_each(|group| read_group(group, &mut kinds));
        }
        Ok(Self(kinds))
    }

    /// The kind of this name: plural, singular, short, or as manifests write it; with or without its group.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] with what may have been meant.
    pub fn named(&self, name: &str) -> Result<&Kind, Error> {
        self.0.iter().find(|kind| kind.answers_to(name)).ok_or_else(|| self.unknown(name, None))
    }

    /// The kind that a document of `place` says it is.
    ///
    /// # Errors
    /// [`Error::UnknownKind`].
    pub fn of_document(&self, api_version: &str, kind: &str, place: &str) -> Result<&Kind, Error> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let found = self.0.iter().find(|known| known.group == group && known.version == version && known.kind == kind);
        found.ok_or_else(|| {
            let error = self.unknown(kind, Some(place));
            let elsewhere = self.0.iter().find(|known| known.kind == kind);
            match (error, elsewhere) {
                (Error::UnknownKind { place, known, .. }, Some(elsewhere)) => {
                    let right = elsewhere.path(None);
                    let right = right.trim_start_matches("/apis/").trim_start_matches("/api/");
                    let right = right.rsplit_once('/').map_or(right, |(version, _)| version);
                    let kind = format!("{api_version}, {kind}");
                    Error::UnknownKind { place, kind, near: vec![format!("{right}, {}", elsewhere.kind)], known }
                }
                (error, _) => error,
            }
        })
    }

    fn unknown(&self, name: &str, place: Option<&str>) -> Error {
        let mut known: Vec<String> = self.0.iter().filter(|kind| kind.readable).map(|kind| kind.kind.clone()).collect();
        let mut seen = HashSet::new();
        known.retain(|kind| seen.insert(kind.clone()));
        let names = self.0.iter().flat_map(|kind| {
            let own =
                if place.is_some() { vec![kind.kind.as_str()] } else { vec![kind.plural.as_str(), &kind.singular] };
            own.into_iter().chain(kind.short_names.iter().map(String::as_str).filter(|_| place.is_none()))
        });
        let near = suggest::nearest(name, names).into_iter().map(str::to_owned).collect();
        Error::UnknownKind { place: place.map(str::to_owned), kind: name.to_owned(), near, known }
    }
}

fn read_group(group: &Value, kinds: &mut Vec<Kind>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for version in group["versions"].as_array().into_iter().flatten() {
        for resource in version["resources"].as_array().into_iter().flatten() {
            let kind = text(&resource["responseKind"]["kind"]);
            let singular = resource["singularResource"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
            kinds.push(Kind {
                group: text(&group["metadata"]["name"]),
                version: text(&version["version"]),
                singular: singular.unwrap_or_else(|| kind.to_ascii_lowercase()),
                kind,
                plural: text(&resource["resource"]),
                short_names: resource["shortNames"].as_array().into_iter().flatten().map(text).collect(),
                namespaced: resource["scope"] == "Namespaced",
                readable: resource["verbs"].as_array().is_none_or(|verbs| verbs.iter().any(|verb| verb == "get")),
            });
        }
    }
}

#[cfg(test)]
impl Kinds {
    /// The kinds of a discovery answer.
    pub fn of(answer: &Value) -> Self {
        let mut kinds = Vec::new();
        answer["items"].as_array().into_iter().flatten().for_each(|group| read_group(group, &mut kinds));
        Self(kinds)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds() -> Kinds {
        Kinds::of(&json!({"items": [
            {"metadata": {"name": "torchremote.dev"}, "versions": [{"version": "v1alpha1", "resources": [
                {"resource": "remotemachines", "singularResource": "remotemachine", "scope": "Namespaced", "shortNames": ["machine", "machines", "rm"],
                 "responseKind": {"kind": "RemoteMachine"}},
                {"resource": "providers", "singularResource": "provider", "scope": "Cluster", "responseKind": {"kind": "Provider"}},
            ]}]},
            {"metadata": {}, "versions": [{"version": "v1", "resources": [
                {"resource": "namespaces", "singularResource": "namespace", "scope": "Cluster", "shortNames": ["ns"], "responseKind": {"kind": "Namespace"}},
            ]}]},
        ]}))
    }

    #[test]
    fn a_kind_is_found_under_each_of_its_names() {
        let kinds = kinds();
        for name in [
            "remotemachines",
            "RemoteMachine",
            "machine",
            "rm",
            "machines.torchremote.dev",
            "rm.v1alpha1.torchremote.dev",
        ] {
            assert_eq!(kinds.named(name).expect(name).title(), "remotemachine.torchremote.dev");
        }
        assert_eq!(kinds.named("ns").expect("a core kind").title(), "namespace");
    }

    #[test]
    fn objects_lie_where_their_scope_says() {
        let kinds = kinds();
        let machine = kinds.named("machine").expect("known");
        assert_eq!(
            machine.object_path("team a", "x"),
            "/apis/torchremote.dev/v1alpha1/namespaces/team%20a/remotemachines/x"
        );
        assert_eq!(machine.path(None), "/apis/torchremote.dev/v1alpha1/remotemachines");
        let namespace = kinds.named("ns").expect("known");
        assert_eq!(namespace.object_path("ignored", "x"), "/api/v1/namespaces/x");
    }

    #[test]
    fn a_wrong_kind_says_what_may_have_been_meant() {
        let kinds = kinds();
        let error = kinds.named("machnie").expect_err("misspelt");
        assert_eq!(error.to_string(), "the control plane serves no kind \"machnie\"; did you mean \"machine\"?");
        let error = kinds
            .of_document("torchremote.dev/v1", "RemoteMachine", "a.yaml: document 1")
            .expect_err("no such version");
        assert_eq!(
            error.to_string(),
            "a.yaml: document 1: the control plane serves no kind \"torchremote.dev/v1, RemoteMachine\"; did you mean \"torchremote.dev/v1alpha1, RemoteMachine\"?"
        );
    }
}
