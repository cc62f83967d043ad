//! [`Element`]: one step from an object to a field in it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::Malformed;

/// One step. The order is that in which Kubernetes lists fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object, or an entry of a map.
    Field(String),
    /// The item of a list with these fields.
    Key(BTreeMap<String, Scalar>),
    /// The item of a set that is this.
    Item(Scalar),
    /// The item of a list at this place.
    Index(usize),
}

/// A value that tells items apart, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scalar(String);

impl From<&Value> for Scalar {
    fn from(value: &Value) -> Self {
        Self(value.to_string())
    }
}

impl Scalar {
    fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("made of a JSON value")
    }
}

impl Element {
    /// Reads `f:name`, `k:{"name":"x"}`, `v:"x"` or `i:0`; `None`: of a kind that nobody knows.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Malformed> {
        let wrong = || Malformed(format!("{text:?} is no element of a path"));
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "v" => Self::Item(Scalar::from(&serde_json::from_str::<Value>(rest).map_err(|_| wrong())?)),
            "k" => {
                let fields: Map<String, Value> = serde_json::from_str(rest).map_err(|_| wrong())?;
                Self::Key(fields.iter().map(|(name, value)| (name.clone(), Scalar::from(value))).collect())
            }
            "i" => Self::Index(rest.parse().map_err(|_| wrong())?),
            _ if kind.len() == 1 => return Ok(None),
            _ => return Err(wrong()),
        }))
    }

    /// Writes what [`Self::parse`] reads.
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields: Map<String, Value> =
                    fields.iter().map(|(name, scalar)| (name.clone(), scalar.value())).collect();
                format!("k:{}", as_go_writes(&Value::Object(fields).to_string()))
            }
            Self::Item(scalar) => format!("v:{}", as_go_writes(&scalar.0)),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// Go's encoder escapes what HTML would read; such characters stand only inside strings.
fn as_go_writes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => text.push(other),
        }
    }
    text
}

/// As errors name it: `.name`, `[name="x"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, scalar)| format!("{name}={}", scalar.0)).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Item(scalar) => write!(f, "[={}]", scalar.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}
