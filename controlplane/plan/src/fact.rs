//! A condition as a planner states it: without times, which belong to whoever stores it.

use std::borrow::Cow;

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Could not look.
    Unknown,
}

impl Truth {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Type of the condition, for example `Ready`.
    pub kind: Cow<'static, str>,
    /// Whether it holds.
    pub truth: Truth,
    /// Stable CamelCase reason.
    pub reason: Cow<'static, str>,
    /// What it means and what to do; empty where the reason says all.
    pub message: String,
}

impl Fact {
    /// A fact with a reason of ours.
    pub fn new(kind: &'static str, truth: Truth, reason: &'static str, message: impl Into<String>) -> Self {
        Fact { kind: Cow::Borrowed(kind), truth, reason: Cow::Borrowed(reason), message: message.into() }
    }
}
