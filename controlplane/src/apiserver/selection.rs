//! [`Selection`]: which objects of a kind a request is about, by namespace, labels and fields.

use serde_json::Value;
use torch_remote_api::Kind;
use torch_remote_api::selector::{FieldSelector, LabelSelector};
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::parameters::Parameters;
use crate::store::State;

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub struct Selection {
    kind: &'static Kind,
    /// One namespace, or all.
    pub namespace: Option<String>,
    labels: LabelSelector,
    /// Requirements on fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// From the URL and its query.
    ///
    /// # Errors
    /// A selector is malformed, or names a field the kind is not selected by.
    pub fn parse(kind: &'static Kind, namespace: Option<String>, parameters: &Parameters) -> Result<Self, Failure> {
        let text = |name| parameters.get(name).unwrap_or("");
        let (labels, fields) = (text("labelSelector"), text("fieldSelector"));
        let malformed = |error: torch_remote_api::selector::Error| Failure::bad_request(error.to_string());
        let selection = Self {
            kind,
            namespace,
            labels: labels.parse().map_err(malformed)?,
            fields: fields.parse().map_err(malformed)?,
        };
        match selection.fields.not_selectable(kind) {
            None => Ok(selection),
            Some(field) => Err(Status::field_not_selectable(kind, labels, fields, field).into()),
        }
    }

    /// Whether it is about this object.
    pub fn accepts(&self, state: &State) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| state.key().namespace == *namespace)
            && self.labels.matches_by(|label| state.label(label))
            && self.fields.matches_by(|field| state.field(self.kind, field))
    }

    /// Whether it is about this object, which no cache holds.
    pub fn accepts_body(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
            && self.matches(object)
    }

    /// Whether the selectors take this object, wherever it lies.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object)
            && (self.fields.is_empty() || self.fields.matches(self.kind, &self.kind.shown(object)))
    }

    /// Whether there are no selectors.
    pub fn everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}
