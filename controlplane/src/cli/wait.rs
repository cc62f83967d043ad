//! `wait`: until objects have a condition or are gone, with a word on the way when a person watches.

use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::Instant;
use torch_remote_api::path;

use super::connection::{Call, Connection};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::target::{TargetArgs, encode};
use super::{ConnectionArgs, print};
use crate::config::parse_duration;
use crate::explain::plain;

const EXAMPLE: &str = "torch-remote wait machine/trainer --for=condition=Ready --timeout=5m";
const EXAMPLES: &str = "\
Examples:
  torch-remote wait machine/trainer --for=condition=Ready --timeout=5m
  torch-remote wait lease/mine --for=condition=Bound=True
  torch-remote wait machine/trainer --for=jsonpath='{.status.phase}'=Ready
  torch-remote wait machine/trainer --for=delete";

/// The condition of an object that will not become ready until its spec is changed.
const FAILED: &str = "Failed";
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(3);
/// Between two watches: before the next one when the server has ended one, and between two attempts when the connection is lost on the way.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// `torch-remote wait`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// `condition=TYPE[=STATUS]`, `jsonpath={.PATH}[=VALUE]`, `create` or `delete`.
    #[arg(long = "for", value_name = "WHAT")]
    goal: Goal,
    /// All objects of the kind in the namespace.
    #[arg(long)]
    all: bool,
    /// Longest wait for each object, such as 90s or 15m.
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "DURATION")]
    timeout: Duration,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A condition has a status.
    Condition {
        /// Its type.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// A field has a value; without one, any.
    Field {
        /// Its path, as `.status.phase`.
        path: String,
        /// The value as text.
        value: Option<String>,
    },
    /// The object is there.
    There,
    /// The object is gone.
    Gone,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("delete") {
            return Ok(Self::Gone);
        }
        if text.eq_ignore_ascii_case("create") {
            return Ok(Self::There);
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            return field(rest);
        }
        let condition = text.strip_prefix("condition=").filter(|rest| !rest.is_empty() && !rest.starts_with('='));
        let condition = condition.ok_or(
            "expected `condition=TYPE`, `condition=TYPE=STATUS`, `jsonpath={.PATH}=VALUE`, `create` or `delete`",
        )?;
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        Ok(Self::Condition { kind: kind.to_owned(), status: status.to_owned() })
    }
}

/// `{.status.phase}=Ready`.
fn field(text: &str) -> Result<Goal, String> {
    let (path, rest) = match text.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        Some((path, rest)) => (path, rest),
        None => text.split_once('=').map_or((text, ""), |(path, _)| (path, &text[path.len()..])),
    };
    let simple =
        |path: &str| path.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-[]?()@=\"".contains(letter));
    if !path.starts_with('.') || path.len() < 2 || !simple(path) {
        return Err(format!("{path:?} is not a path such as `.status.phase`; for any other: kubectl wait"));
    }
    let value = match rest.strip_prefix('=') {
        Some("") => return Err("a value is missing after the last `=`".into()),
        Some(value) => Some(value.to_owned()),
        None if rest.is_empty() => None,
        None => return Err(format!("unexpected {rest:?} after the path")),
    };
    Ok(Goal::Field { path: path.to_owned(), value })
}

/// The field as text; none where there is no such field.
fn value_at(object: &Value, at: &str) -> Option<String> {
    match path::get(object, at)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl Goal {
    fn reached(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Gone, object) => object.is_none(),
            (Self::There, object) => object.is_some(),
            (Self::Condition { .. } | Self::Field { .. }, None) => false,
            (Self::Field { path, value }, Some(object)) => {
                let have = value_at(object, path);
                have.is_some() && (value.is_none() || have == *value)
            }
            (Self::Condition { kind, status }, Some(object)) => holds(object, kind, status),
        }
    }

    /// Why the goal is out of reach: the object has failed for good, and that is not what is waited for.
    fn hopeless(&self, object: &Value) -> Option<String> {
        let waits = matches!(self, Self::Condition { kind, .. } if !kind.eq_ignore_ascii_case(FAILED));
        (waits && holds(object, FAILED, "True")).then(|| describe(condition(object, FAILED), FAILED))
    }

    fn text(&self) -> String {
        match self {
            Self::Condition { kind, .. } => format!("condition {kind}"),
            Self::Field { path, .. } => format!("{{{path}}}"),
            Self::There => "creation".into(),
            Self::Gone => "deletion".into(),
        }
    }

    /// How the object stands, for texts.
    fn state(&self, object: &Value) -> Option<String> {
        match self {
            Self::Condition { kind, .. } => Some(match (condition(object, kind), object["status"]["phase"].as_str()) {
                (None, Some(phase)) => format!("it has no condition {kind} (phase {phase})"),
                (found, _) => describe(found, kind),
            }),
            Self::Field { path, .. } => {
                let value = value_at(object, path);
                Some(value.map_or_else(|| "it has no such field yet".into(), |value| format!("it is {value:?}")))
            }
            Self::There => None,
            Self::Gone => {
                let finalizers: Vec<&str> =
                    object["metadata"]["finalizers"].as_array()?.iter().filter_map(Value::as_str).collect();
                Some(format!("kept by {}", finalizers.join(", ")))
            }
        }
    }
}

/// True when the condition has that status, and says so of the spec as it is now: what was said of an older one is no answer.
fn holds(object: &Value, kind: &str, status: &str) -> bool {
    let generation = object["metadata"]["generation"].as_i64();
    condition(object, kind).is_some_and(|found| {
        let current = found["observedGeneration"].as_i64().is_none_or(|seen| Some(seen) >= generation);
        current && found["status"].as_str().is_some_and(|have| have.eq_ignore_ascii_case(status))
    })
}

/// `Ready is False (Starting: the agent warms its slots)`.
fn describe(condition: Option<&Value>, kind: &str) -> String {
    let Some(found) = condition else { return format!("it has no condition {kind} yet") };
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    let (status, reason, message) = (text("status"), text("reason"), text("message"));
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{kind} is {status} ({reason}{colon}{message})")
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|found| found["type"].as_str().is_some_and(|have| have.eq_ignore_ascii_case(kind)))
}

/// An object that is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

pub(super) async fn run(args: WaitArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let namespace = connection.namespace.as_str();
    for target in args.target.resolve(&kinds, EXAMPLE)? {
        let mut names = target.names;
        if names.is_empty() {
            if !args.all && args.target.selector.is_none() {
                let problem = "give names, a selector with -l, or --all".to_owned();
                return Err(Error::Usage { problem, example: EXAMPLE });
            }
            let path = format!("{}?limit=0{}", target.kind.path(Some(namespace)), args.target.query());
            let answer = connection.call(Call::get(path)).await?;
            let items = answer["items"].as_array().into_iter().flatten();
            names = items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect();
            if names.is_empty() && args.goal != Goal::Gone {
                let problem = format!("there are no {} in namespace {namespace}", target.kind.plural());
                return Err(Error::Usage { problem, example: EXAMPLE });
            }
        }
        for name in &names {
            let object = Watched { kind: target.kind, namespace, name };
            if !until(&connection, &object, &args.goal, args.timeout).await? {
                let path = target.kind.object_path(namespace, name);
                // Not there and never was: the server's own words.
                connection.call(Call::get(path)).await?;
            }
            print(out, format_args!("{}/{name} condition met\n", target.kind.title()))?;
        }
    }
    Ok(())
}

/// Waits for `goal`. False when the object does not exist, and that is not the goal. A connection lost on the way is made anew until the time is over.
///
/// # Errors
/// The first request failed, the server refuses, or the time is over.
pub(super) async fn until(
    connection: &Connection,
    object: &Watched<'_>,
    goal: &Goal,
    timeout: Duration,
) -> Result<bool, Error> {
    let deadline = Instant::now() + timeout;
    let mut watch = Watch { connection, object, goal, last: None, progress: Progress::new(object, goal) };
    let mut first = true;
    loop {
        let attempt = tokio::time::timeout_at(deadline, watch.attempt()).await;
        match attempt {
            Ok(Ok(Some(reached))) => return Ok(reached),
            Ok(Ok(None)) => first = false,
            Ok(Err(Error::NoControlPlane { .. })) if !first => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let what = goal.text();
                let name = format!("{}/{}", object.kind.plural(), object.name);
                let state = watch.last.as_ref().and_then(|last| goal.state(last));
                return Err(Error::TimedOut { what, object: name, state });
            }
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + RETRY)).await;
    }
}

struct Watch<'a> {
    connection: &'a Connection,
    object: &'a Watched<'a>,
    goal: &'a Goal,
    last: Option<Value>,
    progress: Progress<'a>,
}

impl Watch<'_> {
    /// One list and the watch after it. None when the server ended the watch: then the state is read anew.
    async fn attempt(&mut self) -> Result<Option<bool>, Error> {
        let path = self.object.kind.path(Some(self.object.namespace));
        let selector = format!("fieldSelector=metadata.name%3D{}", encode(self.object.name));
        let list = self.connection.call(Call::get(format!("{path}?{selector}"))).await?;
        self.last = list["items"].as_array().and_then(|items| items.first()).cloned();
        if let Some(decided) = self.judge()? {
            return Ok(Some(decided));
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let path = format!("{path}?watch=true&resourceVersion={version}&{selector}");
        let events = self.connection.watch(Call::get(path)).await?;
        self.follow(events).await
    }

    /// True when the goal is reached, false when there is no object, none when it is worth waiting.
    fn judge(&self) -> Result<Option<bool>, Error> {
        if self.goal.reached(self.last.as_ref()) {
            return Ok(Some(true));
        }
        let Some(object) = &self.last else {
            return Ok((*self.goal != Goal::There).then_some(false));
        };
        match self.goal.hopeless(object) {
            Some(why) => {
                let object = format!("{}/{}", self.object.kind.plural(), self.object.name);
                Err(Error::Hopeless { what: self.goal.text(), object, why })
            }
            None => Ok(None),
        }
    }

    async fn follow(
        &mut self,
        mut events: impl Stream<Item = Result<Value, Error>> + Unpin,
    ) -> Result<Option<bool>, Error> {
        let mut tick = tokio::time::interval(PROGRESS);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = tick.tick() => {
                    self.progress.show(self.last.as_ref());
                    continue;
                }
            };
            let Some(Ok(event)) = event else { return Ok(None) };
            match event["type"].as_str() {
                Some("ERROR") => return Ok(None),
                Some("DELETED") => self.last = None,
                _ => self.last = Some(event["object"].clone()),
            }
            if let Some(decided) = self.judge()? {
                return Ok(Some(decided));
            }
        }
    }
}

/// Lines on standard error while a person waits.
struct Progress<'a> {
    object: &'a Watched<'a>,
    goal: &'a Goal,
    began: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    fn new(object: &'a Watched<'a>, goal: &'a Goal) -> Self {
        Self { object, goal, began: Instant::now(), shown: std::io::stderr().is_terminal() }
    }

    fn show(&self, object: Option<&Value>) {
        let Some(state) = object.and_then(|object| self.goal.state(object)).filter(|_| self.shown) else { return };
        let state = plain(&state);
        eprintln!("{}/{}: {state}, {} s", self.object.kind.plural(), self.object.name, self.began.elapsed().as_secs());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(status: &str, observed: i64) -> Value {
        json!({"metadata": {"generation": 2}, "status": {"conditions": [
            {"type": "Ready", "status": status, "reason": "Starting", "message": "the agent warms its slots", "observedGeneration": observed}]}})
    }

    #[test]
    fn goals_are_written_as_for_kubectl() {
        let ready = Goal::Condition { kind: "Ready".into(), status: "True".into() };
        assert_eq!("condition=Ready".parse(), Ok(ready));
        assert_eq!(
            "condition=Bound=False".parse(),
            Ok(Goal::Condition { kind: "Bound".into(), status: "False".into() })
        );
        assert_eq!("delete".parse(), Ok(Goal::Gone));
        let phase = |value: Option<&str>| Goal::Field { path: ".status.phase".into(), value: value.map(str::to_owned) };
        assert_eq!("jsonpath={.status.phase}=Ready".parse(), Ok(phase(Some("Ready"))));
        assert_eq!("jsonpath=.status.phase=Ready".parse(), Ok(phase(Some("Ready"))));
        assert_eq!("jsonpath={.status.phase}".parse(), Ok(phase(None)));
        assert_eq!("create".parse(), Ok(Goal::There));
        for wrong in ["jsonpath={.status.phase}=", "jsonpath={status}=x", "jsonpath={.a}x", "jsonpath={range .a}"] {
            wrong.parse::<Goal>().expect_err(wrong);
        }
        "ready".parse::<Goal>().expect_err("no such form");
        "condition=".parse::<Goal>().expect_err("no type");
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        let ready: Goal = "condition=ready".parse().expect("a goal");
        assert!(ready.reached(Some(&machine("True", 2))));
        assert!(!ready.reached(Some(&machine("True", 1))), "it speaks of the spec before this one");
        assert!(!ready.reached(Some(&machine("False", 2))));
        assert!(!ready.reached(None));
    }

    #[test]
    fn a_field_counts_when_it_has_the_value_or_any() {
        let object = json!({"status": {"phase": "Ready", "slots": [2]}});
        for (goal, reached) in [
            ("jsonpath={.status.phase}=Ready", true),
            ("jsonpath={.status.phase}=Failed", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.slots[0]}=2", true),
            ("jsonpath={.status.nothing}", false),
        ] {
            let goal: Goal = goal.parse().expect("a goal");
            assert_eq!(goal.reached(Some(&object)), reached, "{goal:?}");
        }
    }

    #[test]
    fn an_object_that_has_failed_for_good_is_not_waited_for() {
        let failed = |observed: i64| {
            json!({"metadata": {"generation": 2}, "status": {"conditions": [
            {"type": "Failed", "status": "True", "reason": "NoSuchGPU", "message": "there is none", "observedGeneration": observed}]}})
        };
        let ready: Goal = "condition=Ready".parse().expect("a goal");
        assert_eq!(ready.hopeless(&failed(2)).as_deref(), Some("Failed is True (NoSuchGPU: there is none)"));
        assert_eq!(ready.hopeless(&failed(1)), None, "the spec was changed since");
        let itself: Goal = "condition=Failed".parse().expect("a goal");
        assert_eq!(itself.hopeless(&failed(2)), None);
        assert_eq!(Goal::Gone.hopeless(&failed(2)), None);
    }

    #[test]
    fn the_state_says_why_it_is_not_there_yet() {
        let ready: Goal = "condition=Ready".parse().expect("a goal");
        let state = ready.state(&machine("False", 2));
        assert_eq!(state.as_deref(), Some("Ready is False (Starting: the agent warms its slots)"));
        let off = ready.state(&json!({"status": {"phase": "Suspended", "conditions": []}}));
        assert_eq!(off.as_deref(), Some("it has no condition Ready (phase Suspended)"));
        assert_eq!(ready.state(&json!({})).as_deref(), Some("it has no condition Ready yet"));
        let gone = Goal::Gone.state(&json!({"metadata": {"finalizers": ["torchremote.dev/machine"]}}));
        assert_eq!(gone.as_deref(), Some("kept by torchremote.dev/machine"));
    }
}
