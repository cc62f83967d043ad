//! [`State`]: one version of one object as the watch cache keeps it: its text, which is sent as it is, and what selectors look at.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};
use torch_remote_api::{Kind, by_plural};

use super::{Error, Key, secret};

/// One version of one object. Takes about the bytes of its text.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    key: Key,
    version: i64,
    text: Bytes,
    labels: Box<[(Box<str>, Box<str>)]>,
    /// Values of its kind's selectable fields, in their order.
    fields: Box<[Box<str>]>,
}

impl State {
    /// From the text of its JSON, with the defaults of fields that the release which wrote it did not know.
    ///
    /// # Errors
    /// [`Error::Malformed`]: it is none.
    pub fn of(key: Key, text: String) -> Result<Self, Error> {
        let mut body: Value = serde_json::from_str(&text)
            .map_err(|source| Error::Malformed { key: format!("{}/{}", key.namespace, key), source })?;
        let text = if secret::complete(key.resource, &mut body) { body.to_string() } else { text };
        Ok(Self::new(key, &body, text))
    }

    /// From its JSON.
    pub fn from_body(key: Key, body: &Value) -> Self {
        Self::new(key, body, body.to_string())
    }

    fn new(key: Key, body: &Value, text: String) -> Self {
        let labels = body["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into()))).collect();
        let fields = by_plural(key.resource.group, key.resource.plural).into_iter();
        let fields = fields.flat_map(|kind| kind.selectable_fields.iter().map(|field| kind.field_text(body, field)));
        let fields = fields.map(String::into_boxed_str).collect();
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.and_then(|version| version.parse().ok()).unwrap_or(0);
        Self { key, version, text: text.into(), labels, fields }
    }

    /// Where it is stored.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The version it got.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Its JSON.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Its JSON, read.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.text).expect("it was read, or written, when this was made")
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| **label == *name).map(|(_, value)| &**value)
    }

    /// The text of a field as the selectors of a kind that shows this object compare it.
    pub fn field(&self, kind: &Kind, field: &str) -> Cow<'_, str> {
        match field {
            "metadata.name" => return self.key.name.as_str().into(),
            "metadata.namespace" => return self.key.namespace.as_str().into(),
            _ => {}
        }
        let own = (kind.group, kind.plural) == (self.key.resource.group, self.key.resource.plural);
        let kept = kind.selectable_fields.iter().position(|selectable| *selectable == field).filter(|_| own);
        match kept.and_then(|place| self.fields.get(place)) {
            Some(value) => Cow::Borrowed(value),
            None => kind.field_text(&kind.shown(&self.body()), field).into(),
        }
    }

    /// The same with the version of the change that took it out of view.
    pub(super) fn gone_at(&self, version: i64) -> Self {
        let mut body = self.body();
        body["metadata"]["resourceVersion"] = json!(version.to_string());
        Self::from_body(self.key.clone(), &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Resource;

    #[test]
    fn selectors_see_of_a_state_what_they_see_of_the_object_also_in_another_notation() {
        let body = json!({
            "apiVersion": "v1", "kind": "Event", "reason": "Ready", "type": "Normal", "message": "it is",
            "metadata": {"name": "m.1", "namespace": "vision", "resourceVersion": "7", "labels": {"team": "vision", "odd": 1}},
            "involvedObject": {"kind": "RemoteMachine", "name": "m"}, "source": {"component": "machine-reconciler"},
        });
        let state = State::of(Key::new(Resource::EVENTS, "vision", "m.1"), body.to_string()).expect("an event");
        assert_eq!((state.body(), state.version()), (body.clone(), 7));
        assert_eq!((state.label("team"), state.label("odd"), state.label("none")), (Some("vision"), None, None));
        for group in ["", "events.k8s.io"] {
            let kind = by_plural(group, "events").expect("a kind");
            let shown = kind.shown(&body).into_owned();
            let fields = kind.selectable_fields.iter().copied().chain(["metadata.name", "metadata.namespace"]);
            for field in fields {
                assert_eq!(state.field(kind, field), kind.field_text(&shown, field), "{group} {field}");
            }
        }
        let left = state.gone_at(9).body();
        assert_eq!((&left["metadata"]["resourceVersion"], &left["reason"]), (&json!("9"), &json!("Ready")));
        assert!(matches!(State::of(state.key().clone(), "{".to_owned()), Err(Error::Malformed { .. })));
    }
}
