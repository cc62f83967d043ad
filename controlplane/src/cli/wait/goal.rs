//! [`Goal`]: what `wait` waits for, as kubectl writes it, and how far an object is from it.

use std::str::FromStr;

use serde_json::Value;
use torch_remote_api::path;

/// The condition of an object that will not become ready until its spec is changed.
const FAILED: &str = "Failed";

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
    pub(super) fn reached(&self, object: Option<&Value>) -> bool {
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
    pub(super) fn hopeless(&self, object: &Value) -> Option<String> {
        let waits = matches!(self, Self::Condition { kind, .. } if !kind.eq_ignore_ascii_case(FAILED));
        (waits && holds(object, FAILED, "True")).then(|| describe(condition(object, FAILED), FAILED))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Condition { kind, .. } => format!("condition {kind}"),
            Self::Field { path, .. } => format!("{{{path}}}"),
            Self::There => "creation".into(),
            Self::Gone => "deletion".into(),
        }
    }

    /// How the object stands, for texts.
    pub(super) fn state(&self, object: &Value) -> Option<String> {
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
