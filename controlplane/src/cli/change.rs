//! A document on its way to the server: what must be sent so that the object becomes as the document says.

mod sound;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

pub use sound::Sound;

use super::connection::{Call, Connection};
use super::error::Error;
use super::get::with_type;
use super::kind::{Kind, Kinds};
use super::manifest::Document;
use super::target::encode;

/// Where kubectl keeps the manifest that was applied last; the same here, so that both can be used on one object.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// So many documents of one kind and namespace are looked up by one list instead of one request each.
const MANY: usize = 8;
/// Attempts at an object that others write at the same time.
const ATTEMPTS: usize = 8;

/// How objects are made as the documents say.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The server merges, by the fields each manager owns.
    pub server_side: bool,
    /// Take over fields that others own.
    pub force: bool,
    /// The name under which fields are owned.
    pub manager: String,
}

impl Manner {
    fn query(&self, dry: bool) -> String {
        let manager = encode(&self.manager);
        let dry = if dry { "&dryRun=All" } else { "" };
        format!("fieldManager={manager}&fieldValidation=Strict{dry}")
    }
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is an object now.
    Created,
    /// It was changed.
    Configured,
    /// It was so already.
    Unchanged,
    /// The server merged it.
    ServerSide,
}

impl Outcome {
    /// As kubectl says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::ServerSide => "serverside-applied",
        }
    }
}

/// What must be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// There is no such object.
    Create,
    /// The difference, against the version it was made from.
    Merge(Value),
    /// The whole document: the server finds the difference.
    ServerSide,
    /// Nothing.
    Nothing,
}

impl Step {
    /// What is said when it was taken.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Create => Outcome::Created,
            Self::Merge(_) => Outcome::Configured,
            Self::ServerSide => Outcome::ServerSide,
            Self::Nothing => Outcome::Unchanged,
        }
    }
}

/// Objects as they were before anything was written.
#[derive(Debug, Default)]
pub struct Lives {
    found: HashMap<String, Value>,
    complete: HashSet<String>,
}

impl Lives {
    /// Lists what many documents are about.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn list(connection: &Connection, changes: &[Change<'_>]) -> Result<Self, Error> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for change in changes {
            *counts.entry(change.collection()).or_default() += 1;
        }
        let mut lives = Self::default();
        for (path, count) in counts.into_iter().filter(|(_, count)| *count > MANY) {
            let list = connection.call(Call::get(format!("{path}?limit={}", count.max(250) * 2))).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                lives.found.insert(format!("{path}/{}", encode(name)), with_type(item, &list));
            }
            if list["metadata"]["continue"].as_str().unwrap_or_default().is_empty() {
                lives.complete.insert(path);
            }
        }
        Ok(lives)
    }

    /// The object that a document is about, if it was among them.
    fn of_change(&self, change: &Change<'_>) -> Option<&Value> {
        let path = change.collection();
        self.found.get(&format!("{path}/{}", encode(&change.document.name)))
    }

    /// Of one document, whose object was read already.
    pub fn of(change: &Change<'_>, live: Option<&Value>) -> Self {
        let path = change.collection();
        let found = live.map(|live| (format!("{path}/{}", encode(&change.document.name)), live.clone()));
        Self { found: found.into_iter().collect(), complete: HashSet::from([path]) }
    }
}

/// A document on its way to the server.
#[derive(Debug)]
pub struct Change<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// The document.
    pub document: &'a Document,
    /// Where its object lies; of no meaning for kinds without namespaces.
    pub namespace: String,
}

impl<'a> Change<'a> {
    /// Of each document.
    ///
    /// # Errors
    /// A kind that is not served, or a namespace against the one that was given.
    pub fn all(connection: &Connection, kinds: &'a Kinds, documents: &'a [Document]) -> Result<Vec<Self>, Error> {
        documents.iter().map(|document| Self::of(connection, kinds, document)).collect()
    }

    fn of(connection: &Connection, kinds: &'a Kinds, document: &'a Document) -> Result<Self, Error> {
        let kind = kinds.of_document(&document.api_version, &document.kind, &document.place)?;
        let ours = &connection.namespace;
        let namespace = match &document.namespace {
            Some(theirs) if connection.namespace_given && theirs != ours && kind.namespaced => {
                let (place, theirs, ours) = (document.place.clone(), theirs.clone(), ours.clone());
                return Err(Error::Namespace { place, theirs, ours });
            }
            Some(theirs) => theirs.clone(),
            None => ours.clone(),
        };
        Ok(Self { kind, document, namespace })
    }

    /// Path of the collection that its object lies in.
    fn collection(&self) -> String {
        self.kind.path(Some(&self.namespace))
    }

    /// What goes first: namespaces, then what machines are made of, then the rest.
    pub fn rank(&self) -> usize {
        match (self.document.api_version.as_str(), self.document.kind.as_str()) {
            ("v1", "Namespace") => 0,
            ("v1", "Secret" | "ServiceAccount") | (_, "Provider" | "ClusterRole" | "Role") => 1,
            _ => 2,
        }
    }

    /// As kubectl names it where objects are compared.
    pub fn file_name(&self) -> String {
        let version = self.document.api_version.replace('/', ".");
        let namespace = if self.kind.namespaced { self.namespace.as_str() } else { "" };
        format!("{version}.{}.{namespace}.{}", self.document.kind, self.document.name)
    }

    /// The object as it is.
    ///
    /// # Errors
    /// As [`Connection::call`], but that there is none.
    pub async fn live(&self, connection: &Connection) -> Result<Option<Value>, Error> {
        let path = self.kind.object_path(&self.namespace, &self.document.name);
        match connection.call(Call::get(path)).await {
            Ok(live) => Ok(Some(live)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error.about(&self.document.place)),
        }
    }

    /// What must be sent, the object being as it was when `lives` were listed.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn step(&self, connection: &Connection, manner: &Manner, lives: &Lives) -> Result<Step, Error> {
        if manner.server_side {
            return Ok(Step::ServerSide);
        }
        match lives.of_change(self) {
            Some(live) => Ok(self.difference(live)),
            None if lives.complete.contains(&self.collection()) => Ok(Step::Create),
            None => self.step_now(connection).await,
        }
    }

    async fn step_now(&self, connection: &Connection) -> Result<Step, Error> {
        Ok(self.live(connection).await?.map_or(Step::Create, |live| self.difference(&live)))
    }

    fn difference(&self, live: &Value) -> Step {
        let last = live["metadata"]["annotations"][LAST_APPLIED].as_str();
        let last = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        let mut patch = Value::Object(merge_patch(&last, live, &self.wanted(&self.namespace)));
        if patch == json!({}) {
            return Step::Nothing;
        }
        // Made from this version: where others have written since, it is made anew.
        patch["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        Step::Merge(patch)
    }

    /// What the server would make of it; nothing is written. None when there is nothing to change.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn judge(
        &self,
        connection: &Connection,
        manner: &Manner,
        step: &mut Step,
        all: &[Change<'_>],
    ) -> Result<Option<Value>, Error> {
        match self.insist(connection, manner, step, true).await {
            Err(error) if error.code() == Some(404) && self.waits_for_namespace(all) => {
                self.judge_elsewhere(connection, manner, step).await.map(Some)
            }
            answer => answer,
        }
    }

    /// As if it were new in namespace `default`: its own is made by another document, so it is new there too.
    async fn judge_elsewhere(&self, connection: &Connection, manner: &Manner, step: &mut Step) -> Result<Value, Error> {
        let path = self.kind.path(Some("default"));
        let mut wanted = self.wanted("default");
        let answer = connection.call(Call::post(format!("{path}?{}", manner.query(true)), &wanted)).await;
        if *step != Step::ServerSide {
            *step = Step::Create;
        }
        match answer {
            Ok(mut body) => {
                body["metadata"]["namespace"] = json!(self.namespace);
                Ok(body)
            }
            // Another object has its name there. Said only of a document that was judged and found good.
            Err(error) if error.code() == Some(409) => {
                wanted["metadata"]["namespace"] = json!(self.namespace);
                Ok(wanted)
            }
            Err(error) => Err(error.about(&self.document.place)),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn write(&self, connection: &Connection, manner: &Manner, step: &mut Step) -> Result<Outcome, Error> {
        let answer = self.insist(connection, manner, step, false).await?;
        // A list of the document that the server has filled in looks different and is not: the object is as it was.
        let same = |patch: &Value| {
            answer.is_some_and(|new| new["metadata"]["resourceVersion"] == patch["metadata"]["resourceVersion"])
        };
        Ok(match step {
            Step::Merge(patch) if same(patch) => Outcome::Unchanged,
            step => step.outcome(),
        })
    }

    /// Sends the step; where others were faster, the step is made anew from what they wrote.
    async fn insist(
        &self,
        connection: &Connection,
        manner: &Manner,
        step: &mut Step,
        dry: bool,
    ) -> Result<Option<Value>, Error> {
        for _ in 1..ATTEMPTS {
            match self.send(connection, manner, step, dry).await {
                Err(error) if self.overtaken(step, &error) => *step = self.step_now(connection).await?,
                answer => return answer.map_err(|error| error.about(&self.document.place)),
            }
        }
        self.send(connection, manner, step, dry).await.map_err(|error| error.about(&self.document.place))
    }

    fn overtaken(&self, step: &Step, error: &Error) -> bool {
        match (step, error.code()) {
            (Step::Create | Step::Merge(_), Some(409)) => true,
            // Deleted since, unless it is its namespace that is not there.
            (Step::Merge(_), Some(404)) => true,
            _ => false,
        }
    }

    async fn send(
        &self,
        connection: &Connection,
        manner: &Manner,
        step: &Step,
        dry: bool,
    ) -> Result<Option<Value>, Error> {
        let (many, one) = (self.collection(), self.kind.object_path(&self.namespace, &self.document.name));
        let query = manner.query(dry);
        let call = match step {
            Step::Nothing => return Ok(None),
            Step::Create => Call::post(format!("{many}?{query}"), &self.wanted(&self.namespace)),
            Step::Merge(patch) => Call::merge(format!("{one}?{query}"), patch),
            Step::ServerSide => {
                Call::apply(format!("{one}?{query}&force={}", manner.force), &self.placed(&self.namespace))
            }
        };
        connection.call(call).await.map(Some)
    }

    /// The document with its namespace.
    fn placed(&self, namespace: &str) -> Value {
        let mut placed = self.document.body.clone();
        if self.kind.namespaced {
            placed["metadata"]["namespace"] = json!(namespace);
        }
        placed
    }

    /// The document with its namespace and, as an annotation, itself.
    fn wanted(&self, namespace: &str) -> Value {
        let mut wanted = self.placed(namespace);
        let metadata = wanted["metadata"].as_object_mut().expect("a document has metadata");
        // To the letter as kubectl writes it, empty annotations too: else each of the two would see a change in what the other applied.
        if let Value::Object(annotations) = metadata.entry("annotations").or_insert_with(|| json!({})) {
            annotations.remove(LAST_APPLIED);
        }
        let last = format!("{wanted}\n");
        if let Some(Value::Object(annotations)) = wanted.pointer_mut("/metadata/annotations") {
            annotations.insert(LAST_APPLIED.into(), Value::String(last));
        }
        wanted
    }

    /// True when another document makes its namespace: those are written first.
    fn waits_for_namespace(&self, all: &[Change<'_>]) -> bool {
        let makes = |change: &Change<'_>| change.rank() == 0 && change.document.name == self.namespace;
        self.kind.namespaced && all.iter().any(makes)
    }
}

/// The merge patch that makes `live` as `wanted`: what differs is set, what `last` had and `wanted` has no more is removed, what others set stays.
fn merge_patch(last: &Value, live: &Value, wanted: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    let empty = Map::new();
    let fields = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (last, live, wanted) = (fields(last), fields(live), fields(wanted));
    for (name, want) in &wanted {
        match live.get(name) {
            Some(have) if have.is_object() && want.is_object() => {
                let inner = merge_patch(last.get(name).unwrap_or(&Value::Null), have, want);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            Some(have) if have == want => {}
            _ => {
                patch.insert(name.clone(), want.clone());
            }
        }
    }
    for name in last.keys().filter(|name| !wanted.contains_key(*name) && live.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    patch
}

#[cfg(test)]
mod tests;
