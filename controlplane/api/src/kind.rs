//! The registry: every kind there is, with its names, columns and the one schema behind everything.

mod audit;
mod core;
mod product;
mod rbac;
mod view;

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    column::Column,
    event,
    field::FieldError,
    object::GROUP,
    path, schema,
    status::{PATCH_TYPES, STRATEGIC_PATCH},
    validate::{self, Rule},
};

/// A kind of object.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// CamelCase name, such as `RemoteMachine`.
    pub kind: &'static str,
    /// Name in URLs, such as `remotemachines`.
    pub plural: &'static str,
    /// Name of one in command lines.
    pub singular: &'static str,
    /// Short names in command lines.
    pub short_names: &'static [&'static str],
    /// Categories, such as `all`.
    pub categories: &'static [&'static str],
    /// Lives in a namespace.
    pub namespaced: bool,
    /// Only get and list, and watch where it is [`watchable`](Self::watchable).
    pub read_only: bool,
    /// In discovery; a kind that is not is only described.
    pub served: bool,
    /// Has a `/status` subresource, and `status` is ignored elsewhere.
    pub has_status: bool,
    /// Other subresources.
    pub subresources: &'static [Subresource],
    /// Fields that field selectors may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [&'static str],
    /// Columns of its table, NAME first.
    pub columns: Vec<Column>,
    /// Structural schema of the whole object.
    pub schema: Value,
    /// Rules over several fields.
    pub(crate) rule: Rule,
}

/// A part of an object with its own URL.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// Last part of the URL.
    pub name: &'static str,
    /// Kind of what is sent and answered.
    pub kind: &'static str,
    /// Group of that kind, empty: the same.
    pub group: &'static str,
    /// Version of that kind, empty: the same.
    pub version: &'static str,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
}

/// Verbs of kinds that can be written.
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of read-only kinds.
const READ_VERBS: &[&str] = &["get", "list"];
/// Verbs of read-only kinds that can be watched.
const WATCH_VERBS: &[&str] = &["get", "list", "watch"];

/// Every kind, served or not, in a fixed order.
pub fn kinds() -> &'static [Kind] {
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
        let mut kinds = core::kinds();
        kinds.extend(product::kinds());
        kinds.extend(rbac::kinds());
        kinds.push(audit::kind());
        kinds.extend(view::kinds());
        kinds
    });
    &KINDS
}

/// The kind with that name in URLs.
pub fn by_plural(group: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|kind| kind.group == group && kind.plural == plural)
}

/// The kind with that CamelCase name.
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|candidate| candidate.group == group && candidate.kind == kind)
}

/// The kind that a person means by a plural, singular or short name, or its CamelCase name; case does not matter.
pub fn by_any_name(name: &str) -> Option<&'static Kind> {
    let name = name.to_lowercase();
    let (name, group) = name.split_once('.').map_or((name.as_str(), None), |(name, group)| (name, Some(group)));
    kinds().iter().filter(|kind| group.is_none_or(|group| kind.group == group)).find(|kind| {
        kind.plural == name
            || kind.singular == name
            || kind.kind.to_lowercase() == name
            || kind.short_names.contains(&name)
    })
}

impl Kind {
    /// What most kinds have in common; each says what is otherwise.
    fn base(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            singular: plural.strip_suffix('s').unwrap_or(plural),
            short_names: &[],
            categories: &[],
            namespaced: true,
            read_only: false,
            served: true,
            has_status: false,
            subresources: &[],
            selectable_fields: &[],
            columns: Vec::new(),
            schema: Value::Null,
            rule: validate::none,
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `remotemachines.torchremote.dev`; the plural alone for core kinds.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `RemoteMachine.torchremote.dev`; the kind alone for core kinds.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// A kind of Kubernetes itself: clients have types for it, and patch it strategically.
    pub fn built_in(&self) -> bool {
        self.group != GROUP
    }

    /// Media types that a PATCH of its objects is read in.
    pub fn patch_types(&self) -> Vec<&'static str> {
        let mut types = PATCH_TYPES.to_vec();
        if self.built_in() {
            types.insert(2, STRATEGIC_PATCH);
        }
        types
    }

    /// Kind of its lists.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// What can be done with its objects.
    pub fn verbs(&self) -> &'static [&'static str] {
        match (self.read_only, self.watchable()) {
            (false, _) => ALL_VERBS,
            (true, false) => READ_VERBS,
            (true, true) => WATCH_VERBS,
        }
    }

    /// Whether its objects can be watched: not those that are made from what agents report.
    pub fn watchable(&self) -> bool {
        !self.read_only || [view::EVENTS, view::DEFINITIONS].contains(&self.group)
    }

    /// Whether it shows stored objects in another notation: events have two.
    pub fn translated(&self) -> bool {
        self.group == view::EVENTS
    }

    /// A stored object as this kind shows it.
    pub fn shown<'a>(&self, stored: &'a Value) -> Cow<'a, Value> {
        if self.translated() { Cow::Owned(event::view(stored)) } else { Cow::Borrowed(stored) }
    }

    /// Whether its objects have a `spec`, whose changes count as generations.
    pub fn has_spec(&self) -> bool {
        self.schema["properties"].get("spec").is_some()
    }

    /// Whether its objects say which generation of them was looked at.
    pub fn observed(&self) -> bool {
        self.schema.pointer("/properties/status/properties/observedGeneration").is_some()
    }

    /// Fills in defaults and drops null; see [`schema::default`]. Says whether that changed it.
    pub fn default(&self, object: &mut Value) -> bool {
        let filled = schema::default(&self.schema, object);
        filled | (self.group == crate::rbac::GROUP && crate::rbac::complete(object))
    }

    /// Removes unknown fields; returns their paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        schema::prune(&self.schema, object)
    }

    /// Paths of unknown fields.
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        schema::unknown(&self.schema, object)
    }

    /// Everything that keeps `new` from being stored over `old`; see [`validate::validate`].
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validate::validate(self, new, old)
    }

    /// The cells of an object, one per column.
    pub fn row(&self, object: &Value, now: DateTime<Utc>) -> Vec<Value> {
        self.columns.iter().map(|column| column.render(object, now)).collect()
    }

    /// Whether a field selector may name this field.
    pub fn selectable(&self, field: &str) -> bool {
        field == "metadata.name"
            || (self.namespaced && field == "metadata.namespace")
            || self.selectable_fields.contains(&field)
    }

    /// The text of a field as field selectors compare it; empty when it is not there.
    pub fn field_text(&self, object: &Value, field: &str) -> String {
        let at = if self.kind == "Event" && field == "source" { "source.component" } else { field };
        match path::get(object, at) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}
