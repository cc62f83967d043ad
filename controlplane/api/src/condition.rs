//! Conditions: typed facts in status, from which phases are derived.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// What was asked for is there, and works. Absent where nothing is wanted: such tools read `False` and `Unknown` as still to come.
pub const READY: &str = "Ready";
/// What was asked for is still coming about; as tools that follow Kubernetes' status conventions read it.
pub const RECONCILING: &str = "Reconciling";
/// What was asked for does not come about without somebody's doing; as such tools read it.
pub const STALLED: &str = "Stalled";

/// Whether a condition holds. `Unknown` is a fact of its own: it could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It could not be observed.
    Unknown,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// One fact about an object, at one generation of its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the fact in CamelCase, such as `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub condition_type: String,
    /// Whether it holds.
    pub status: Truth,
    /// Why, as one CamelCase word for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, as a sentence for people.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub message: String,
    /// The spec's generation this was seen at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
}

/// A fact to record: a condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Name of the condition.
    pub condition_type: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// CamelCase word.
    pub reason: String,
    /// Sentence.
    pub message: String,
}

impl Fact {
    /// A fact from its parts.
    pub fn new(
        condition_type: &'static str,
        status: Truth,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { condition_type, status, reason: reason.into(), message: message.into() }
    }
}

/// The condition of that type, if it was recorded.
pub fn find<'a>(conditions: &'a [Condition], condition_type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.condition_type == condition_type)
}

/// Whether the condition is recorded and `True`.
pub fn holds(conditions: &[Condition], condition_type: &str) -> bool {
    find(conditions, condition_type).is_some_and(|condition| condition.status == Truth::True)
}

/// Records a fact. Its transition time moves only when `status` changes. Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, fact: Fact, generation: i64, now: Time) -> bool {
    let next = |since: Time| Condition {
        condition_type: fact.condition_type.to_owned(),
        status: fact.status,
        reason: fact.reason.clone(),
        message: fact.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|condition| condition.condition_type == fact.condition_type) {
        Some(old) => {
            let since = if old.status == fact.status { old.last_transition_time } else { now };
            let new = next(since);
            let changed = *old != new;
            *old = new;
            changed
        }
        None => {
            conditions.push(next(now));
            true
        }
    }
}

/// Takes a fact back: it is neither true nor false any more.
pub fn clear(conditions: &mut Vec<Condition>, condition_type: &str) {
    conditions.retain(|condition| condition.condition_type != condition_type);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        chrono::DateTime::from_timestamp(second, 0).expect("a valid second").into()
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_changes() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, Fact::new("Ready", Truth::False, "Starting", ""), 1, at(1)));
        assert!(!set(&mut conditions, Fact::new("Ready", Truth::False, "Starting", ""), 1, at(2)));
        assert!(set(&mut conditions, Fact::new("Ready", Truth::False, "Warming", ""), 1, at(3)));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert!(set(&mut conditions, Fact::new("Ready", Truth::True, "Warm", ""), 1, at(4)));
        assert_eq!(conditions[0].last_transition_time, at(4));
        assert!(holds(&conditions, "Ready"));
        assert_eq!(conditions.len(), 1);
        clear(&mut conditions, "Ready");
        assert_eq!(conditions, []);
    }
}
