//! Documents that need no dry run of their own: this program and a server of the same release judge by the same code.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use torch_remote_api::{by_kind, openapi};

use super::{Change, Lives, Step};
use crate::apiserver::admission::{admit, judge};
use crate::apiserver::parameters::FieldValidation;
use crate::cli::connection::{Call, Connection};
use crate::document::Document;

/// The group whose objects are judged by what they say alone; who may grant what, for one, only the server knows.
const GROUP: &str = "torchremote.dev";
/// Of its kinds that whose objects not everyone may change who may patch some.
const OWNED: &str = "DeviceLease";
/// Fewer documents are asked about one by one.
const MANY: usize = 8;
/// Bytes of an object that is not asked about.
const LARGEST: usize = 64 << 10;

/// Which of many documents the server is asked about.
#[derive(Debug)]
pub struct Sound {
    alike: bool,
    /// Where the caller may change objects of any name.
    open: HashSet<String>,
    /// Where the server was asked already, and whether about a new object.
    asked: Mutex<HashSet<(String, bool)>>,
}

impl Sound {
    /// Of these documents. The server says whether it judges as this program does, and what the caller may do.
    pub async fn of(connection: &Connection, changes: &[Change<'_>], lives: &Lives) -> Self {
        let places: HashSet<String> = changes.iter().map(Change::collection).collect();
        let alike = changes.len() > places.len() + MANY && alike(connection).await;
        let mut open = HashSet::new();
        let mut asked = HashSet::new();
        for change in changes.iter().filter(|change| alike && lives.of_change(change).is_some()) {
            if asked.insert(change.collection()) && may_change_any(connection, change).await {
                open.insert(change.collection());
            }
        }
        Self { alike, open, asked: Mutex::default() }
    }

    /// Whether the server would take this step. It is asked about the first new object and the first changed one of each kind in each namespace: it is there,
    /// and the caller may. The others are right if nothing in them is wrong. Where it is not certain, the server is asked, and its words are those the user reads.
    pub fn is(&self, change: &Change<'_>, step: &Step, lives: &Lives) -> bool {
        if !self.alike {
            return false;
        }
        match step {
            Step::Create => self.asked_before(change, true) && valid(change.wanted(&change.namespace), None),
            Step::Merge(patch) => {
                let Some(live) = lives.of_change(change) else { return false };
                let mut merged = live.clone();
                json_patch::merge(&mut merged, patch);
                self.open.contains(&change.collection())
                    && self.asked_before(change, false)
                    && valid(merged, Some(live))
            }
            Step::ServerSide | Step::Nothing => false,
        }
    }

    /// Whether the like was asked before. If not, this one is the first, and is asked now.
    fn asked_before(&self, change: &Change<'_>, new: bool) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        !asked.insert((change.collection(), new))
    }
}

/// That the caller may patch one object does not say that it may patch another: a role may name them.
async fn may_change_any(connection: &Connection, change: &Change<'_>) -> bool {
    let namespace = if change.kind.namespaced { change.namespace.as_str() } else { "" };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "patch", "group": GROUP, "resource": change.kind.plural(), "namespace": namespace}},
    });
    let call = Call::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review);
    connection.call(call).await.is_ok_and(|answer| answer["status"]["allowed"] == true)
}

/// Whether the object is certainly right; in the place of `old`, if that is there.
fn valid(wanted: Value, old: Option<&Value>) -> bool {
    let version = wanted["apiVersion"].as_str().unwrap_or_default();
    let ours = version.split_once('/').is_some_and(|(group, _)| group == GROUP);
    let Some(kind) = by_kind(GROUP, wanted["kind"].as_str().unwrap_or_default()) else { return false };
    let named = match old {
        None => wanted["metadata"]["resourceVersion"].is_null(),
        Some(old) => {
            kind.kind != OWNED
                && ["name", "namespace", "uid"].iter().all(|at| wanted["metadata"][at] == old["metadata"][at])
        }
    };
    let text = wanted.to_string();
    if !ours || text.len() > LARGEST || !named {
        return false;
    }
    let Ok(document) = Document::json(text.as_bytes()) else { return false };
    let namespace = wanted["metadata"]["namespace"].as_str().filter(|_| kind.namespaced);
    let Ok(mut admitted) = admit(kind, namespace, document, FieldValidation::Strict) else { return false };
    if let Some(old) = old {
        // What a patch of the object does not change.
        admitted.body["status"] = old["status"].clone();
    }
    judge(kind, &admitted.body, old).is_ok()
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
        let new = |wanted: Value| valid(wanted, None);
        assert!(new(machine(right.clone())));
        assert!(
            !new(machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "tiemout": "2h"}))),
            "an unknown field"
        );
        assert!(!new(machine(json!({"provider": "local", "gpu": {"type": "CPUs"}}))), "no such GPU");
        assert!(!new(machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "timeout": "2 h"}))), "no duration");
        let mut other = machine(right.clone());
        other["apiVersion"] = json!("torchremote.dev/v1");
        assert!(!new(other), "a version that is not served");
        let mut stored = machine(right);
        stored["metadata"]["resourceVersion"] = json!("7");
        assert!(!new(stored), "it says that it is stored");
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "default"}, "rules": []});
        assert!(!new(role), "whether it may be granted only the server knows");
    }

    #[test]
    fn only_a_change_that_is_certainly_right_is_not_asked_about() {
        let mut live = machine(json!({"provider": "local", "gpu": {"type": "CPU"}, "timeout": "2h"}));
        live["metadata"]["resourceVersion"] = json!("7");
        live["metadata"]["uid"] = json!("0b2a4c55-5c35-4f5c-a5c2-0c0e8e0d6f0a");
        live["status"] = json!({"phase": "Suspended"});
        let changed = |patch: Value| {
            let mut merged = live.clone();
            json_patch::merge(&mut merged, &patch);
            valid(merged, Some(&live))
        };
        assert!(changed(json!({"spec": {"timeout": "3h"}})));
        assert!(!changed(json!({"spec": {"timeout": "3 h"}})), "no duration");
        assert!(!changed(json!({"spec": {"tiemout": "3h"}})), "an unknown field");
        assert!(!changed(json!({"status": {"bogus": 1}})), "an unknown field of what it may not write");
        assert!(!changed(json!({"metadata": {"name": "other"}})), "another name");
        assert!(!changed(json!({"metadata": {"uid": "1b2a4c55-5c35-4f5c-a5c2-0c0e8e0d6f0a"}})), "another object");
        let mut lease = live.clone();
        (lease["kind"], lease["spec"]) = (json!("DeviceLease"), json!({"gpu": [{"type": "CPU"}]}));
        lease["status"] = Value::Null;
        let mut fresh = lease.clone();
        fresh["metadata"]["resourceVersion"] = Value::Null;
        assert!(valid(fresh, None), "a new one is right");
        assert!(!valid(lease.clone(), Some(&lease)), "whether it is the caller's only the server knows");
    }
}
