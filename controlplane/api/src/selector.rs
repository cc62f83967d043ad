//! Label and field selectors, as in `kubectl get -l` and `--field-selector`.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;

use crate::{format, kind::Kind};

/// Requirements on labels; all must hold. Empty: everything matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A requirement on labels cannot be read.
    #[error(
        "unable to parse requirement: {part:?}: use key=value, key!=value, key in (a,b), key notin (a,b), key, !key, key>1 or key<1, separated by commas"
    )]
    Labels {
        /// The requirement.
        part: String,
    },
    /// A key or a value cannot be that of a label.
    #[error("unable to parse requirement: {part:?}: {why}")]
    Label {
        /// The key or the value.
        part: String,
        /// What is wrong with it.
        why: String,
    },
    /// A requirement on fields cannot be read.
    #[error(
        "invalid selector: '{selector}'; can't understand '{part}': use field=value or field!=value, separated by commas"
    )]
    Fields {
        /// All of it.
        selector: String,
        /// The requirement.
        part: String,
    },
}

impl FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        split_outside_brackets(text)
            .into_iter()
            .map(|part| requirement(part.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl LabelSelector {
    /// Whether an object with this metadata is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.matches_by(|key| labels[key].as_str())
    }

    /// Whether an object with these labels is selected.
    pub fn matches_by<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }

    /// Everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    fn holds(&self, label: Option<&str>) -> bool {
        let number = || label.and_then(|text| text.parse::<i64>().ok());
        match &self.test {
            Test::Exists => label.is_some(),
            Test::Absent => label.is_none(),
            Test::In(values) => label.is_some_and(|label| values.iter().any(|value| value == label)),
            Test::NotIn(values) => label.is_none_or(|label| values.iter().all(|value| value != label)),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Result<Requirement, Error> {
    let unreadable = || Error::Labels { part: part.to_owned() };
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement { key: label_key(key.trim())?, test: Test::Absent });
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let values = vec![label_value(value.trim())?];
            let test = if negative { Test::NotIn(values) } else { Test::In(values) };
            return Ok(Requirement { key: label_key(key.trim())?, test });
        }
    }
    for (operator, test) in [('>', Test::Greater as fn(i64) -> Test), ('<', Test::Less)] {
        if let Some((key, bound)) = part.split_once(operator) {
            let bound = bound.trim().parse().map_err(|_| unreadable())?;
            return Ok(Requirement { key: label_key(key.trim())?, test: test(bound) });
        }
    }
    if let Some((before, inside)) = part.split_once('(') {
        let inside = inside.strip_suffix(')').ok_or_else(unreadable)?;
        let values = inside.split(',').map(|value| label_value(value.trim())).collect::<Result<_, _>>()?;
        let (key, test) = match before.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Test::In(values)),
            Some((key, "notin")) => (key, Test::NotIn(values)),
            _ => return Err(unreadable()),
        };
        return Ok(Requirement { key: label_key(key.trim())?, test });
    }
    if part.is_empty() || part.contains([' ', ')']) {
        return Err(unreadable());
    }
    Ok(Requirement { key: label_key(part)?, test: Test::Exists })
}

fn label_key(key: &str) -> Result<String, Error> {
    judged(key, format::qualified_name(key))
}

fn label_value(value: &str) -> Result<String, Error> {
    judged(value, format::label_value(value))
}

fn judged(part: &str, wrong: Vec<String>) -> Result<String, Error> {
    if wrong.is_empty() {
        Ok(part.to_owned())
    } else {
        Err(Error::Label { part: part.to_owned(), why: wrong.join("; ") })
    }
}

/// Requirements on fields; all must hold. Empty: everything matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldTest>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTest {
    field: String,
    value: String,
    equal: bool,
}

impl FromStr for FieldSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = split_unescaped(text).into_iter().filter(|part| !part.is_empty());
        let tests =
            parts.map(|part| field_test(&part).ok_or_else(|| Error::Fields { selector: text.to_owned(), part }));
        tests.collect::<Result<_, _>>().map(Self)
    }
}

impl FieldSelector {
    /// Whether an object is selected. A field that is not there counts as empty text.
    pub fn matches(&self, kind: &Kind, object: &Value) -> bool {
        self.matches_by(|field| kind.field_text(object, field).into())
    }

    /// Whether an object whose fields have these texts is selected.
    pub fn matches_by<'a>(&self, text: impl Fn(&str) -> Cow<'a, str>) -> bool {
        self.0.iter().all(|test| (text(&test.field) == test.value) == test.equal)
    }

    /// The first field that objects of the kind cannot be selected by.
    pub fn not_selectable(&self, kind: &Kind) -> Option<&str> {
        self.0.iter().map(|test| test.field.as_str()).find(|field| !kind.selectable(field))
    }

    /// Its requirements: the field, the value, and whether it must have it or must not.
    pub fn tests(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.0.iter().map(|test| (test.field.as_str(), test.value.as_str(), test.equal))
    }

    /// The value that `field` must have, when it is asked for exactly: a server may look it up by that.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|test| test.equal && test.field == field).map(|test| test.value.as_str())
    }

    /// Everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at commas that have no backslash before them.
fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = parts.len() - 1;
        if c == ',' && !escaped {
            parts.push(String::new());
        } else {
            parts[last].push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
}

fn field_test(part: &str) -> Option<FieldTest> {
    let at = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else {
        (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
    };
    Some(FieldTest { field: field.trim().to_owned(), value: unescape(value)?, equal })
}

/// `\\`, `\,` and `\=` are the characters themselves; others may not be escaped, and a bare `=` may not stand in a value.
fn unescape(value: &str) -> Option<String> {
    let mut plain = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.push(characters.next().filter(|next| matches!(next, '\\' | ',' | '='))?),
            '=' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::by_plural;

    fn selected(selector: &str) -> bool {
        let object = json!({"metadata": {"labels": {"tier": "gold", "size": "5", "a.b/c": ""}}});
        selector.parse::<LabelSelector>().expect("a selector").matches(&object)
    }

    #[test]
    fn each_operator_on_labels_works() {
        for yes in [
            "",
            "tier=gold",
            "tier==gold",
            "tier!=iron",
            "other!=x",
            "tier in (iron, gold)",
            "tier notin (iron)",
            "other notin (x)",
            "tier",
            "!other",
            "size>4",
            "size<6",
            "a.b/c=",
            "tier=gold,size=5",
            "tier in (gold),!other",
        ] {
            assert!(selected(yes), "{yes}");
        }
        for no in [
            "tier=iron",
            "other=x",
            "tier!=gold",
            "tier in (iron)",
            "tier notin (gold,iron)",
            "other",
            "!tier",
            "size>5",
            "size<5",
            "tier>1",
            "tier=gold,size=6",
        ] {
            assert!(!selected(no), "{no}");
        }
    }

    #[test]
    fn other_texts_say_what_is_allowed() {
        for text in ["tier in gold", "tier in (gold", "a b", ",", "size>x", "tier of (a)", "tier=gold,,size=5"] {
            let error = text.parse::<LabelSelector>().expect_err(text).to_string();
            assert!(error.starts_with("unable to parse requirement"), "{error}");
        }
        let error = "tier=go ld".parse::<LabelSelector>().expect_err("a space").to_string();
        assert!(error.contains("a valid label must be"), "{error}");
        let error = "status.phase".parse::<FieldSelector>().expect_err("no operator").to_string();
        assert_eq!(
            error,
            "invalid selector: 'status.phase'; can't understand 'status.phase': use field=value or field!=value, separated by commas"
        );
        assert!(r"a=b\c".parse::<FieldSelector>().is_err());
    }

    #[test]
    fn fields_are_compared_as_text() {
        let machines = by_plural("torchremote.dev", "remotemachines").expect("a kind");
        let machine = json!({"metadata": {"name": "m", "namespace": "n"}, "spec": {"provider": "a,b"}, "status": {"phase": "Ready"}});
        let matches = |text: &str| text.parse::<FieldSelector>().expect("a selector").matches(machines, &machine);
        assert!(matches("metadata.name=m,status.phase==Ready"));
        assert!(matches(r"spec.provider=a\,b"));
        assert!(matches("spec.gpu.type="));
        assert!(!matches("status.phase!=Ready"));
        let selector: FieldSelector = "metadata.name=m,spec.timeout=8h".parse().expect("a selector");
        assert_eq!(selector.not_selectable(machines), Some("spec.timeout"));
        assert_eq!(selector.exact("metadata.name"), Some("m"));
    }

    #[test]
    fn the_source_of_an_event_is_its_component() {
        let events = by_plural("", "events").expect("a kind");
        let event = json!({"source": {"component": "machine-reconciler"}});
        assert!("source=machine-reconciler".parse::<FieldSelector>().expect("a selector").matches(events, &event));
    }
}
