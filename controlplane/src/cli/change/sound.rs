//! Documents that need no dry run of their own: this program and a server of the same release judge by the same code.

use std::collections::HashSet;

use serde_json::Value;
use torch_remote_api::{by_kind, openapi};

use super::{Change, Step};
use crate::apiserver::admission::{admit, judge};
use crate::apiserver::parameters::FieldValidation;
use crate::cli::connection::{Call, Connection};
use crate::document::Document;

/// The group whose objects are judged by what they say alone; who may grant what, for one, only the server knows.
const GROUP: &str = "torchremote.dev";
/// Fewer documents are asked about one by one.
const MANY: usize = 8;
/// Bytes of a document that is not asked about.
const LARGEST: usize = 64 << 10;

/// Which of many documents the server is asked about.
#[derive(Debug)]
pub struct Sound {
    alike: bool,
    firsts: HashSet<usize>,
}

impl Sound {
    /// Of these documents. The server says whether it judges as this program does.
    pub async fn of(connection: &Connection, changes: &[Change<'_>]) -> Self {
        let mut seen = HashSet::new();
        let firsts = changes.iter().enumerate();
        let firsts = firsts.filter(|(_, change)| seen.insert(change.kind.path(Some(&change.namespace))));
        let firsts: HashSet<usize> = firsts.map(|(index, _)| index).collect();
        Self { alike: changes.len() > firsts.len() + MANY && alike(connection).await, firsts }
    }

    /// Whether the server would accept a new object as this document makes it: it has accepted the first of the kind in the namespace (it is there, and the
    /// caller may), and nothing in this one is wrong. Where it is not certain, the server is asked, and its words are those the user reads.
    pub fn is(&self, index: usize, change: &Change<'_>, step: &Step) -> bool {
        self.alike && *step == Step::Create && !self.firsts.contains(&index) && valid(&change.wanted(&change.namespace))
    }
}

fn valid(wanted: &Value) -> bool {
    let version = wanted["apiVersion"].as_str().unwrap_or_default();
    let (group, _) = version.split_once('/').unwrap_or_default();
    let Some(kind) = by_kind(group, wanted["kind"].as_str().unwrap_or_default()) else { return false };
    let text = wanted.to_string();
    if group != GROUP || text.len() > LARGEST || !wanted["metadata"]["resourceVersion"].is_null() {
        return false;
    }
    let Ok(document) = Document::json(text.as_bytes()) else { return false };
    let namespace = wanted["metadata"]["namespace"].as_str().filter(|_| kind.namespaced);
    admit(kind, namespace, document, FieldValidation::Strict)
        .is_ok_and(|admitted| judge(kind, &admitted.body, None).is_ok())
}

/// The hash is of the group's schemas and of the release.
async fn alike(connection: &Connection) -> bool {
    let ours = openapi::documents().into_iter().find(|document| document.path.contains(GROUP));
    let Ok(theirs) = connection.call(Call::get("/openapi/v3")).await else { return false };
    ours.is_some_and(|ours| {
        theirs["paths"][&ours.path] == openapi::index(std::slice::from_ref(&ours))["paths"][&ours.path]
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(spec: Value) -> Value {
        json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": "m", "namespace": "default"}, "spec": spec})
    }

    #[test]
    fn only_a_document_that_is_certainly_right_is_not_asked_about() {
        let right = json!({"provider": "local", "gpu": {"type": "CPU"}});
        assert!(valid(&machine(right.clone())));
        assert!(
            !valid(&machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "tiemout": "2h"}))),
            "an unknown field"
        );
        assert!(!valid(&machine(json!({"provider": "local", "gpu": {"type": "CPUs"}}))), "no such GPU");
        assert!(
            !valid(&machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "timeout": "2 h"}))),
            "no duration"
        );
        let mut other = machine(right.clone());
        other["apiVersion"] = json!("torchremote.dev/v1");
        assert!(!valid(&other), "a version that is not served");
        let mut stored = machine(right);
        stored["metadata"]["resourceVersion"] = json!("7");
        assert!(!valid(&stored), "it says that it is stored");
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "default"}, "rules": []});
        assert!(!valid(&role), "whether it may be granted only the server knows");
    }
}
