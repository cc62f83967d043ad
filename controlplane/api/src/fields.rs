//! [`FieldSet`]: sets of fields of an object, as `managedFields` keeps them, and what is done with objects by field.
//!
//! Owns the notation (`FieldsV1`), set algebra, and which fields a value has under a kind's schema: objects are made of their fields, lists
//! of type `set` and `map` of their items; lists without a type, objects of map type `atomic` and all else are one field each. Leaves who
//! owns a field to [`crate::managed`]. Source of the rules: structured-merge-diff, which Kubernetes uses.

mod compare;
mod element;
mod merge;
mod remove;
mod shape;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use compare::{Comparison, compare};
pub use element::{Element, Scalar};
pub use merge::merge;
pub use remove::remove;
use shape::Shape;

/// Fields below each other that a set may have; objects are less deep.
const DEEPEST: usize = 64;

/// A set of fields. A field below another does not contain it, nor the other way round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(BTreeMap<Element, Node>);

/// Invariant: it is a member, or something below it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

/// Text that is no set of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a set of fields: {0}")]
pub struct Malformed(pub(crate) String);

impl FieldSet {
    /// The fields that a value sets.
    pub fn of(schema: &Value, value: &Value) -> Self {
        let mut set = Self::default();
        collect(schema, value, &mut Vec::new(), &mut set);
        set
    }

    /// Reads `FieldsV1`. Elements of kinds that nobody knows are dropped.
    ///
    /// # Errors
    /// It is not `FieldsV1`.
    pub fn decode(fields: &Value) -> Result<Self, Malformed> {
        Self::decode_at(fields, 0)
    }

    fn decode_at(fields: &Value, depth: usize) -> Result<Self, Malformed> {
        if depth > DEEPEST {
            return Err(Malformed(format!("it is more than {DEEPEST} fields deep")));
        }
        let map = match fields {
            Value::Object(map) => map,
            Value::Null => return Ok(Self::default()),
            other => return Err(Malformed(format!("{other} is not an object"))),
        };
        let mut nodes = BTreeMap::new();
        for (key, value) in map.iter().filter(|(key, _)| *key != ".") {
            let Some(element) = Element::parse(key)? else { continue };
            let below = Self::decode_at(value, depth + 1)?;
            let member = below.is_empty() || value.get(".").is_some();
            nodes.insert(element, Node { member, below });
        }
        Ok(Self(nodes))
    }

    /// Writes `FieldsV1`.
    pub fn encode(&self) -> Value {
        let mut map = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.below.encode();
            if node.member && !node.below.is_empty() {
                below["."] = json!({});
            }
            map.insert(element.encode(), below);
        }
        Value::Object(map)
    }

    /// A set of these fields.
    pub fn from_paths<'a>(paths: impl IntoIterator<Item = &'a [&'a str]>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|name| Element::Field((*name).to_owned())).collect::<Vec<_>>());
        }
        set
    }

    /// Adds a field. The empty path is the object itself, which nobody owns.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.0.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether the field is in it.
    pub fn contains(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.0.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.0.get(first).is_some_and(|node| node.below.contains(rest)),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        for (element, theirs) in &other.0 {
            let ours = self.0.entry(element.clone()).or_default();
            ours.member |= theirs.member;
            ours.below.add(&theirs.below);
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(|element, ours| {
            let theirs = other.0.get(element)?;
            Some(Node { member: ours.member && theirs.member, below: ours.below.intersection(&theirs.below) })
        })
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.combine(|element, ours| {
            Some(match other.0.get(element) {
                None => ours.clone(),
                Some(theirs) => Node { member: ours.member && !theirs.member, below: ours.below.minus(&theirs.below) },
            })
        })
    }

    /// What begins with this field of the object, or what does not.
    #[must_use]
    pub fn at(&self, field: &str, within: bool) -> Self {
        let field = Element::Field(field.to_owned());
        self.combine(|element, node| ((*element == field) == within).then(|| node.clone()))
    }

    fn combine(&self, node: impl Fn(&Element, &Node) -> Option<Node>) -> Self {
        let nodes = self.0.iter().filter_map(|(element, ours)| Some((element.clone(), node(element, ours)?)));
        Self(nodes.filter(|(_, node)| node.member || !node.below.is_empty()).collect())
    }

    /// The set with each field of the schema that holds something of it; `maps`: also those that hold lists and maps.
    pub(crate) fn with_parents(&self, schema: &Value, maps: bool) -> Self {
        let nodes = self.0.iter().map(|(element, node)| {
            let inner = shape::below(schema, element);
            let holds = shape::named(schema, element) && !node.below.is_empty() && (maps || shape::has_fields(inner));
            (element.clone(), Node { member: node.member || holds, below: node.below.with_parents(inner, maps) })
        });
        Self(nodes.collect())
    }

    /// Each field as text, such as `.spec.env[name="A"].value`; those of one level before those below them.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.list("", &mut paths);
        paths
    }

    fn list(&self, parent: &str, paths: &mut Vec<String>) {
        let members = self.0.iter().filter(|(_, node)| node.member);
        paths.extend(members.map(|(element, _)| format!("{parent}{element}")));
        for (element, node) in &self.0 {
            node.below.list(&format!("{parent}{element}"), paths);
        }
    }
}

fn collect(schema: &Value, value: &Value, path: &mut Vec<Element>, set: &mut FieldSet) {
    match shape::of(schema, &[value]) {
        Shape::Leaf => set.insert(path),
        Shape::Fields => {
            for (name, child) in value.as_object().into_iter().flatten() {
                let element = Element::Field(name.clone());
                let inner = shape::below(schema, &element);
                // A field of the schema is owned by what is in it, an entry of a map also by itself.
                let itself = !shape::named(schema, &element) || (shape::empty(child) && !child.is_array());
                path.push(element);
                collect(inner, child, path, set);
                if itself {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::Items(keys) => {
            for (element, item) in shape::items(&keys, value) {
                path.push(element);
                collect(&schema["items"], item, path, set);
                set.insert(path);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests;
