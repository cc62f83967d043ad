//! `apply`: all documents are read, then all tried by the server in a dry run, then all written.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::connection::{Call, Connection};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::manifest::{self, Document};
use super::{ConnectionArgs, print};

/// Where kubectl keeps the manifest that was applied last; the same here, so that both can be used on one object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const QUERY: &str = "fieldManager=torch-remote&fieldValidation=Strict";

const EXAMPLES: &str = "\
Examples:
  torch-remote apply -f machines/                 every manifest of a folder
  torch-remote apply -f a.yaml -f b.yaml -n team
  torch-remote apply -f a.yaml --dry-run          only ask whether the control plane would accept it";

/// `torch-remote apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// File, folder, or `-` for standard input. Repeat for more.
    #[arg(long = "filename", short = 'f', required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Stop after the dry run.
    #[arg(long)]
    dry_run: bool,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: ApplyArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let documents = manifest::read(&args.files)?;
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let mut changes = Vec::new();
    for document in &documents {
        changes.push(Change::of(&connection, &kinds, document)?);
    }
    let mut outcomes = Vec::new();
    for change in &changes {
        let tried = change.send(&connection, Try::Dry).await;
        outcomes.push(match tried {
            Err(error) if change.waits_for_namespace(&error, &changes) => {
                change.send(&connection, Try::Elsewhere).await?
            }
            other => other?,
        });
    }
    for (written, change) in changes.iter().enumerate() {
        if !args.dry_run {
            let sent = change.send(&connection, Try::Write).await;
            outcomes[written] = sent.map_err(|source| match written {
                0 => source,
                _ => Error::Interrupted { written, all: changes.len(), source: Box::new(source) },
            })?;
        }
        let note = if args.dry_run { " (server dry run)" } else { "" };
        print(
            out,
            format_args!("{}/{} {}{note}\n", change.kind.title(), change.document.name, outcomes[written].text()),
        )?;
    }
    Ok(())
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    /// Ask only.
    Dry,
    /// Ask only, as if it were new in namespace `default`: its own is made by an earlier document, so it is new there too.
    Elsewhere,
    /// For real.
    Write,
}

/// A document on its way to the server.
struct Change<'a> {
    kind: &'a Kind,
    document: &'a Document,
    namespace: String,
}

impl<'a> Change<'a> {
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

    /// Creates the object or merges the difference into it.
    async fn send(&self, connection: &Connection, how: Try) -> Result<Outcome, Error> {
        let namespace = if how == Try::Elsewhere { "default" } else { &self.namespace };
        let wanted = self.wanted(namespace);
        let path = self.kind.object_path(namespace, &self.document.name);
        let dry = if how == Try::Write { "" } else { "&dryRun=All" };
        // Another object that has its name there is not the one this document is about.
        let live = match how {
            Try::Elsewhere => None,
            Try::Dry | Try::Write => match connection.call(Call::get(&path)).await {
                Ok(live) => Some(live),
                Err(error) if error.code() == Some(404) => None,
                Err(error) => return Err(error.about(&self.document.place)),
            },
        };
        let (call, outcome) = match live {
            None => {
                let path = self.kind.path(Some(namespace));
                (Call::post(format!("{path}?{QUERY}{dry}"), &wanted), Outcome::Created)
            }
            Some(live) => {
                let last = live["metadata"]["annotations"][LAST_APPLIED].as_str();
                let last = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
                let patch = merge_patch(&last, &live, &wanted);
                if patch.is_empty() {
                    return Ok(Outcome::Unchanged);
                }
                (Call::merge(format!("{path}?{QUERY}{dry}"), &Value::Object(patch)), Outcome::Configured)
            }
        };
        match connection.call(call).await {
            // Said only of a document that was judged and found good.
            Err(error) if how == Try::Elsewhere && error.code() == Some(409) => Ok(outcome),
            answer => answer.map(|_| outcome).map_err(|error| error.about(&self.document.place)),
        }
    }

    /// The document with its namespace and, as an annotation, itself.
    fn wanted(&self, namespace: &str) -> Value {
        let mut wanted = self.document.body.clone();
        if self.kind.namespaced {
            wanted["metadata"]["namespace"] = json!(namespace);
        }
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

    /// True when the refusal is only that the namespace is missing, and an earlier document makes it.
    fn waits_for_namespace(&self, error: &Error, all: &[Change<'_>]) -> bool {
        let makes = |change: &&Change<'_>| change.document.kind == "Namespace" && change.document.api_version == "v1";
        let mut earlier = all.iter().take_while(|change| !std::ptr::eq(*change, self)).filter(makes);
        error.code() == Some(404)
            && self.kind.namespaced
            && earlier.any(|change| change.document.name == self.namespace)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(last: Value, live: Value, wanted: Value) -> Value {
        Value::Object(merge_patch(&last, &live, &wanted))
    }

    #[test]
    fn what_others_set_stays_and_what_was_taken_out_goes() {
        let last = json!({"spec": {"gpu": {"type": "T4"}, "timeout": "1h"}});
        let live = json!({"spec": {"gpu": {"type": "T4", "count": 1}, "timeout": "1h", "cpu": "2"}, "status": {"phase": "Ready"}});
        let wanted = json!({"spec": {"gpu": {"type": "L4"}}});
        assert_eq!(patch(last, live, wanted), json!({"spec": {"gpu": {"type": "L4"}, "timeout": null}}));
    }

    #[test]
    fn a_document_carries_itself_for_the_next_apply() {
        let kinds =
            Kinds::of(&json!({"items": [{"metadata": {"name": "g"}, "versions": [{"version": "v1", "resources": [
            {"resource": "things", "scope": "Namespaced", "responseKind": {"kind": "Thing"}}]}]}]}));
        let kind = kinds.named("things").expect("known");
        for annotations in [Value::Null, json!({"mine": "kept"})] {
            let mut body = json!({"apiVersion": "g/v1", "kind": "Thing", "metadata": {"name": "x"}});
            if annotations.is_object() {
                body["metadata"]["annotations"] = annotations.clone();
            }
            let document = Document {
                place: "x.yaml: document 1".into(),
                api_version: "g/v1".into(),
                kind: "Thing".into(),
                name: "x".into(),
                namespace: None,
                body: body.clone(),
            };
            let wanted = Change { kind, document: &document, namespace: "default".into() }.wanted("default");
            let last = wanted["metadata"]["annotations"][LAST_APPLIED].as_str().expect("the annotation is there");
            body["metadata"]["namespace"] = json!("default");
            if annotations.is_null() {
                body["metadata"]["annotations"] = json!({});
            }
            assert_eq!(serde_json::from_str::<Value>(last).expect("JSON"), body);
        }
    }

    #[test]
    fn lists_are_replaced_whole() {
        let live = json!({"regions": ["a", "b"]});
        assert_eq!(patch(Value::Null, live.clone(), json!({"regions": ["a"]})), json!({"regions": ["a"]}));
        assert_eq!(patch(Value::Null, live, json!({"regions": ["a", "b"]})), json!({}));
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<u8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::hash_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_twice_changes_nothing_the_second_time(last in tree(), live in tree(), wanted in tree()) {
            let (mut live, wanted) = (json!({"x": live}), json!({"x": wanted}));
            let first = patch(json!({"x": last}), live.clone(), wanted.clone());
            json_patch::merge(&mut live, &first);
            prop_assert_eq!(patch(wanted.clone(), live, wanted), json!({}));
        }
    }
}
