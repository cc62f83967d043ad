//! `diff`: what an apply would change, judged by the server in a dry run.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use similar::TextDiff;

use super::apply::{IN_FLIGHT, MannerArgs};
use super::change::{Change, LAST_APPLIED, Lives, Manner};
use super::connection::Connection;
use super::error::Error;
use super::kind::Kinds;
use super::paint::{Paint, Tone};
use super::{ConnectionArgs, StructuredOutput, manifest, print, source, structured};

/// Lines around a change.
const CONTEXT: usize = 3;

const EXAMPLES: &str = "\
Examples:
  torch-remote diff -f machines/
  torch-remote diff -f machines/ || torch-remote apply -f machines/
  cat a.yaml | torch-remote diff -f -

Exit code: 0 when nothing differs, 1 when something does, 2 when it cannot be said.";

/// `torch-remote diff`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// File, folder, https address, or `-` for standard input. Repeat for more.
    #[arg(long = "filename", short = 'f', required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folders with all folders in them.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Manner.
    #[command(flatten)]
    manner: MannerArgs,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: DiffArgs, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let differs = compare(args, paint, out).await.map_err(|source| Error::Undecided { source: Box::new(source) })?;
    if differs { Err(Error::Differs) } else { Ok(()) }
}

async fn compare(args: DiffArgs, paint: Paint, out: &mut (dyn Write + Send)) -> Result<bool, Error> {
    let documents = manifest::documents(&source::read(&args.files, args.recursive).await?)?;
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let changes = Change::all(&connection, &kinds, &documents)?;
    let manner = Manner::from(args.manner);
    let (connection, manner, changes) = (&connection, &manner, &changes);
    let found = changes.iter().map(|change| async move {
        let live = change.live(connection).await?;
        // Made from the object that is shown, so that the two sides are of one moment.
        let mut step = change.step(connection, manner, &Lives::of(change, live.as_ref())).await?;
        let merged = change.judge(connection, manner, &mut step, changes).await?;
        Ok::<_, Error>(merged.map(|merged| difference(change, live, merged, paint)).unwrap_or_default())
    });
    let mut differs = false;
    let mut found = stream::iter(found).buffered(IN_FLIGHT);
    while let Some(text) = found.try_next().await? {
        differs |= !text.is_empty();
        print(out, format_args!("{text}"))?;
    }
    Ok(differs)
}

/// As `diff -u` shows it; empty when nothing differs.
fn difference(change: &Change<'_>, live: Option<Value>, merged: Value, paint: Paint) -> String {
    let name = change.file_name();
    let (mut live, mut merged) = (live.unwrap_or(Value::Null), merged);
    hide_secrets(&mut live, &mut merged);
    let (old, new) = (document(live), document(merged));
    if old == new {
        return String::new();
    }
    let diff = TextDiff::from_lines(&old, &new);
    let (from, to) = (format!("LIVE/{name}"), format!("MERGED/{name}"));
    let hunks = diff.unified_diff().context_radius(CONTEXT).header(&from, &to).to_string();
    let mut text = format!("{}\n", paint.text(Tone::Strong, &format!("diff -u -N {from} {to}")));
    for line in hunks.lines() {
        let tone = match line.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => Tone::Strong,
            [b'-', ..] => Tone::Bad,
            [b'+', ..] => Tone::Good,
            [b'@', ..] => Tone::Place,
            _ => Tone::Plain,
        };
        text.push_str(&paint.text(tone, line));
        text.push('\n');
    }
    text
}

/// As YAML, without what every write changes or only tools read; empty where there is no object.
fn document(mut object: Value) -> String {
    if object.is_null() {
        return String::new();
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    structured(&object, StructuredOutput::Yaml)
}

/// Says of a secret only that it differs.
fn hide_secrets(live: &mut Value, merged: &mut Value) {
    for object in [&*live, &*merged] {
        if !object.is_null() && (object["kind"] != "Secret" || object["apiVersion"] != "v1") {
            return;
        }
    }
    for part in ["data", "stringData"] {
        let old = live[part].clone();
        let same = |name: &str, value: &Value| old.get(name) == Some(value);
        if let Some(fields) = merged.get_mut(part).and_then(Value::as_object_mut) {
            for (name, value) in fields.iter_mut() {
                *value = if same(name, value) { json!("***") } else { json!("*** (after)") };
            }
        }
        let new = merged[part].clone();
        if let Some(fields) = live.get_mut(part).and_then(Value::as_object_mut) {
            for (name, value) in fields.iter_mut() {
                *value = if new.get(name) == Some(&json!("***")) { json!("***") } else { json!("*** (before)") };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_that_it_differs() {
        let secret = |a: &str, b: &str| json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": a, "b": b}});
        let (mut live, mut merged) = (secret("x", "y"), secret("x", "z"));
        hide_secrets(&mut live, &mut merged);
        assert_eq!(live["data"], json!({"a": "***", "b": "*** (before)"}));
        assert_eq!(merged["data"], json!({"a": "***", "b": "*** (after)"}));
        let (mut none, mut new) = (Value::Null, secret("x", "y"));
        hide_secrets(&mut none, &mut new);
        assert_eq!(new["data"], json!({"a": "*** (after)", "b": "*** (after)"}));
    }

    #[test]
    fn what_only_tools_read_is_no_difference() {
        let object = json!({"metadata": {"name": "x", "managedFields": [{}], "annotations": {LAST_APPLIED: "{}"}}});
        assert_eq!(document(object), "metadata:\n  name: x\n");
        assert_eq!(document(Value::Null), "");
    }
}
