//! `describe`: one object for a person, with what matters first and its events last.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;
use torch_remote_api::age;

use super::change::LAST_APPLIED;
use super::connection::{Call, Connection, TABLE};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::paint::{Paint, Tone};
use super::sheet::{Sheet, label};
use super::target::{TargetArgs, encode};
use super::{ConnectionArgs, print};
use crate::explain::plain;

const EXAMPLE: &str = "torch-remote describe machine trainer";
const EXAMPLES: &str = "\
Examples:
  torch-remote describe machine trainer
  torch-remote describe lease/mine
  torch-remote describe machine train         all whose names begin so, when none has this name
  torch-remote describe machines -l team=vision";

/// `torch-remote describe`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DescribeArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// All namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Whether its events are shown: `true` or `false`.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_default_value = true, hide_possible_values = true)]
    show_events: bool,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: DescribeArgs, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let mut described = 0;
    for target in args.target.resolve(&kinds, EXAMPLE)? {
        let tables = find(&args, &connection, target.kind, &target.names).await?;
        for table in &tables {
            for row in table["rows"].as_array().into_iter().flatten() {
                let events = if args.show_events { Some(events(&connection, &row["object"]).await?) } else { None };
                let events = events.map(|events| events.iter().map(plain_tree).collect::<Vec<_>>());
                let row = &plain_tree(row);
                let description = Description { kind: target.kind, columns: &table["columnDefinitions"], row, paint };
                let gap = if described > 0 { "\n\n" } else { "" };
                print(out, format_args!("{gap}{}", description.text(events.as_deref(), Utc::now())))?;
                described += 1;
            }
        }
    }
    if described == 0 {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", connection.namespace) };
        eprintln!("No resources found{place}.");
    }
    Ok(())
}

/// Tables with the whole objects: by names, by the beginning of a name where there is none of that name, or all.
async fn find(
    args: &DescribeArgs,
    connection: &Connection,
    kind: &Kind,
    names: &[String],
) -> Result<Vec<Value>, Error> {
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let all = format!("{}?includeObject=Object{}", kind.path(namespace), args.target.query());
    if names.is_empty() {
        return Ok(vec![connection.call(Call::get(all).accept(TABLE)).await?]);
    }
    let mut tables = Vec::new();
    for name in names {
        let path = format!("{}?includeObject=Object", kind.object_path(&connection.namespace, name));
        tables.push(match connection.call(Call::get(path).accept(TABLE)).await {
            Err(error) if error.code() == Some(404) => {
                let mut table = connection.call(Call::get(all.as_str()).accept(TABLE)).await?;
                let begins =
                    |row: &Value| row["object"]["metadata"]["name"].as_str().is_some_and(|full| full.starts_with(name));
                let rows = table["rows"].as_array_mut().filter(|rows| rows.iter().any(begins)).ok_or(error)?;
                rows.retain(begins);
                table
            }
            other => other?,
        });
    }
    Ok(tables)
}

async fn events(connection: &Connection, object: &Value) -> Result<Vec<Value>, Error> {
    let metadata = &object["metadata"];
    let selector: Vec<String> = [
        ("involvedObject.name", &metadata["name"]),
        ("involvedObject.namespace", &metadata["namespace"]),
        ("involvedObject.kind", &object["kind"]),
        ("involvedObject.uid", &metadata["uid"]),
    ]
    .into_iter()
    .filter_map(|(field, value)| value.as_str().map(|value| format!("{field}={value}")))
    .collect();
    let place = metadata["namespace"].as_str().map(|name| format!("/namespaces/{}", encode(name))).unwrap_or_default();
    let path = format!("/api/v1{place}/events?fieldSelector={}", encode(&selector.join(",")));
    match connection.call(Call::get(path)).await {
        Ok(list) => Ok(list["items"].as_array().cloned().unwrap_or_default()),
        // Whoever may see the object may not see its events everywhere.
        Err(error) if error.code() == Some(403) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// An object, and the columns its kind is listed with.
struct Description<'a> {
    kind: &'a Kind,
    columns: &'a Value,
    row: &'a Value,
    paint: Paint,
}

impl Description<'_> {
    fn text(&self, events: Option<&[Value]>, now: DateTime<Utc>) -> String {
        let object = &self.row["object"];
        let mut sheet = Sheet::default();
        self.head(&mut sheet, object, now);
        self.summary(&mut sheet);
        conditions(&mut sheet, object, now, self.paint);
        for (name, value) in object.as_object().into_iter().flatten() {
            match name.as_str() {
                "apiVersion" | "kind" | "metadata" => {}
                "data" if self.is_secret() => sizes(&mut sheet, value),
                "status" => sheet.tree(0, "Status", &without(value, &["conditions"])),
                _ => sheet.tree(0, &label(name), value),
            }
        }
        if let Some(events) = events {
            happened(&mut sheet, events, now, self.paint);
        }
        sheet.text()
    }

    fn is_secret(&self) -> bool {
        self.kind.title() == "secret"
    }

    fn head(&self, sheet: &mut Sheet, object: &Value, now: DateTime<Utc>) {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        sheet.pair(0, "Name", &self.paint.text(Tone::Strong, &text(&metadata["name"])));
        if self.kind.namespaced {
            sheet.pair(0, "Namespace", &text(&metadata["namespace"]));
        }
        sheet.pairs("Labels", &metadata["labels"], "=", &[]);
        sheet.pairs("Annotations", &metadata["annotations"], ": ", &[LAST_APPLIED]);
        sheet.pair(0, "API Version", &text(&object["apiVersion"]));
        sheet.pair(0, "Kind", &text(&object["kind"]));
        let made = &metadata["creationTimestamp"];
        sheet.pair(0, "Created", &format!("{} ({} ago)", text(made), age::since(instant(made), now)));
        if let Some(since) = instant(&metadata["deletionTimestamp"]) {
            let kept = metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let kept = kept.collect::<Vec<_>>().join(", ");
            let text = format!("Terminating (lasts {}), kept by {kept}", age::since(Some(since), now));
            sheet.pair(0, "Status", &self.paint.text(Tone::Pending, &text));
        }
        sheet.pair(0, "Generation", &metadata["generation"].to_string().replace("null", "0"));
        sheet.pair(0, "UID", &text(&metadata["uid"]));
        for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
            let key = if index == 0 { "Owned By" } else { "" };
            sheet.pair(0, key, &format!("{}/{}", text(&owner["kind"]), text(&owner["name"])));
        }
    }

    /// The cells of its row in a wide table: what its kind is about.
    fn summary(&self, sheet: &mut Sheet) {
        let cells =
            self.columns.as_array().into_iter().flatten().zip(self.row["cells"].as_array().into_iter().flatten());
        for (column, cell) in cells {
            let name = column["name"].as_str().unwrap_or_default();
            let shown = match cell {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            if !shown.is_empty() && !["Name", "Age"].contains(&name) {
                sheet.pair(0, &name.replace('-', " "), &self.paint.text(Tone::of(name, &shown), &shown));
            }
        }
    }
}

/// The conditions as a table: nested, nobody could read them.
fn conditions(sheet: &mut Sheet, object: &Value, now: DateTime<Utc>, paint: Paint) {
    let Some(conditions) = object["status"]["conditions"].as_array().filter(|found| !found.is_empty()) else { return };
    let generation = object["metadata"]["generation"].as_i64();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let rows = conditions.iter().map(|condition| {
        let old = condition["observedGeneration"].as_i64().is_some_and(|seen| Some(seen) < generation);
        let status = text(condition, "status");
        let tone = match (text(condition, "type").as_str(), status.as_str()) {
            ("Ready" | "Bound", "True") => Tone::Good,
            ("Failed", "True") => Tone::Bad,
            ("Ready" | "Bound", _) => Tone::Pending,
            _ => Tone::Plain,
        };
        vec![
            text(condition, "type"),
            paint.text(tone, &status),
            text(condition, "reason"),
            age::since(instant(&condition["lastTransitionTime"]), now),
            format!("{}{}", text(condition, "message"), if old { " (of an older spec)" } else { "" }),
        ]
    });
    sheet.table("Conditions", &["Type", "Status", "Reason", "Age", "Message"], rows.collect());
}

/// How long each value of a secret is.
fn sizes(sheet: &mut Sheet, data: &Value) {
    use base64::Engine as _;
    sheet.line(0, "Data:");
    for (name, value) in data.as_object().into_iter().flatten() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
        sheet.pair(1, name, &format!("{} bytes", bytes.map_or(0, |bytes| bytes.len())));
    }
}

/// The events as kubectl shows them.
fn happened(sheet: &mut Sheet, events: &[Value], now: DateTime<Utc>, paint: Paint) {
    if events.is_empty() {
        return sheet.pair(0, "Events", "<none>");
    }
    let last = |event: &Value| {
        let times = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
        times.into_iter().find_map(instant).or_else(|| instant(&event["metadata"]["creationTimestamp"]))
    };
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| last(event));
    let rows = events.into_iter().map(|event| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let count = event["series"]["count"].as_i64().or_else(|| event["count"].as_i64()).unwrap_or(1);
        let first = instant(&event["firstTimestamp"]).or_else(|| instant(&event["eventTime"]));
        let ago = age::since(last(event), now);
        let ago = if count > 1 { format!("{ago} (x{count} over {})", age::since(first, now)) } else { ago };
        let from = Some(text(&event["source"]["component"])).filter(|from| !from.is_empty());
        let severity = text(&event["type"]);
        vec![
            paint.text(Tone::of("TYPE", &severity), &severity),
            text(&event["reason"]),
            ago,
            from.unwrap_or_else(|| text(&event["reportingComponent"])),
            text(&event["message"]).trim().to_owned(),
        ]
    });
    sheet.table("Events", &["Type", "Reason", "Age", "From", "Message"], rows.collect());
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|instant| instant.to_utc())
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut left = value.clone();
    if let Some(fields) = left.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    left
}

/// A tree whose texts a terminal may show: what is painted comes later.
fn plain_tree(value: &Value) -> Value {
    match value {
        Value::String(text) => plain(text).into(),
        Value::Array(items) => items.iter().map(plain_tree).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (plain(name).into_owned(), plain_tree(value))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds() -> Kinds {
        Kinds::of(
            &json!({"items": [{"metadata": {"name": "torchremote.dev"}, "versions": [{"version": "v1alpha1", "resources": [
            {"resource": "remotemachines", "singularResource": "remotemachine", "scope": "Namespaced", "responseKind": {"kind": "RemoteMachine"}}]}]},
            {"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "secrets", "singularResource": "secret", "scope": "Namespaced", "responseKind": {"kind": "Secret"}}]}]}]}),
        )
    }

    #[test]
    fn what_matters_comes_first_and_events_last() {
        let kinds = kinds();
        let now = "2026-01-01T00:10:00Z".parse().expect("an instant");
        let object = json!({
            "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine",
            "metadata": {"name": "box", "namespace": "default", "uid": "u-1", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"team": "vision", "tier": "gold"}, "annotations": {LAST_APPLIED: "{}"}},
            "spec": {"provider": "local", "gpu": {"type": "CPU", "count": 1}, "env": [{"name": "A", "value": "b"}], "tags": ["x", "y"]},
            "status": {"phase": "Ready", "conditions": [{"type": "Ready", "status": "True", "reason": "AgentReady", "message": "1 of 1 slots warm",
                "lastTransitionTime": "2026-01-01T00:05:00Z", "observedGeneration": 1}]},
        });
        let columns = json!([{"name": "Name"}, {"name": "Provider"}, {"name": "Phase"}, {"name": "Per-Hour", "priority": 1}, {"name": "Age"}]);
        let row = json!({"cells": ["box", "local", "Ready", "1.50", "10m"], "object": object});
        let event = json!({"type": "Normal", "reason": "Launched", "message": "agent started\n", "count": 3,
            "firstTimestamp": "2026-01-01T00:01:00Z", "lastTimestamp": "2026-01-01T00:02:00Z", "source": {"component": "machine-reconciler"}});
        let kind = kinds.named("remotemachine").expect("known");
        let description = Description { kind, columns: &columns, row: &row, paint: Paint::default() };
        let expected = "\
Name:         box
Namespace:    default
Labels:       team=vision
              tier=gold
Annotations:  <none>
API Version:  torchremote.dev/v1alpha1
Kind:         RemoteMachine
Created:      2026-01-01T00:00:00Z (10m ago)
Generation:   2
UID:          u-1
Provider:     local
Phase:        Ready
Per Hour:     1.50
Conditions:
  Type   Status  Reason      Age  Message
  ----   ------  ------      ---  -------
  Ready  True    AgentReady  5m   1 of 1 slots warm (of an older spec)
Spec:
  Env:
    Name:   A
    Value:  b
  Gpu:
    Count:   1
    Type:    CPU
  Provider:  local
  Tags:
    x
    y
Status:
  Phase:  Ready
Events:
  Type    Reason    Age              From                Message
  ----    ------    ---              ----                -------
  Normal  Launched  8m (x3 over 9m)  machine-reconciler  agent started
";
        assert_eq!(description.text(Some(&[event]), now), expected);
        assert!(description.text(Some(&[]), now).ends_with("Events:   <none>\n"));
        assert!(!description.text(None, now).contains("Events"));
    }

    #[test]
    fn a_secret_shows_how_long_its_values_are_and_no_more() {
        let kinds = kinds();
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"token": "aGVsbG8="}});
        let row = json!({"cells": ["s"], "object": object});
        let kind = kinds.named("secret").expect("known");
        let description = Description { kind, columns: &json!([{"name": "Name"}]), row: &row, paint: Paint::default() };
        let text = description.text(None, Utc::now());
        assert!(text.ends_with("Data:\n  token:  5 bytes\n") && !text.contains("aGVsbG8"), "{text}");
    }
}
