//! Secrets as they lie in the database: all but their names and labels is sealed, bound to table, uid and column.
//!
//! Owns the crossing between memory, where Secrets are open, and rows, where they are not; every statement that reads or writes a body passes here.
//! Annotations are sealed too: kubectl keeps there what it applied last, values and all.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Error, Resource};
use crate::auth::seal::{self, Place, Sealer};

/// Field of a stored Secret that holds the rest of it.
const SEALED: &str = "sealed";

/// A column with bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// `object.body`.
    Object,
    /// `object_log.body`.
    Log,
    /// `object_log.prev`.
    Before,
}

impl Column {
    fn place(self, uid: &str) -> Place<'_> {
        let (table, column) = match self {
            Self::Object => ("object", "body"),
            Self::Log => ("object_log", "body"),
            Self::Before => ("object_log", "prev"),
        };
        Place { table, row: uid, column }
    }
}

/// The body as it may lie in that column.
///
/// # Errors
/// It is a Secret, and there is no key, or no randomness.
pub(super) fn close<'a>(
    sealer: Option<&Sealer>,
    resource: Resource,
    column: Column,
    body: &'a Value,
) -> Result<Cow<'a, Value>, Error> {
    if resource != Resource::SECRETS {
        return Ok(Cow::Borrowed(body));
    }
    let sealer = sealer.ok_or(Error::NoKey)?;
    let (mut open, mut inside) = (Map::new(), Map::new());
    for (field, value) in body.as_object().into_iter().flatten() {
        match field.as_str() {
            "apiVersion" | "kind" => open.insert(field.clone(), value.clone()),
            "metadata" => {
                let mut metadata = value.clone();
                if let Some(annotations) = metadata.as_object_mut().and_then(|fields| fields.remove("annotations")) {
                    inside.insert("annotations".to_owned(), annotations);
                }
                open.insert(field.clone(), metadata)
            }
            _ => inside.insert(field.clone(), value.clone()),
        };
    }
    let text = Value::Object(inside).to_string();
    let sealed = sealer.seal(column.place(uid(body)), text.as_bytes()).map_err(|source| Error::Seal { source })?;
    open.insert(SEALED.to_owned(), STANDARD.encode(sealed).into());
    Ok(Cow::Owned(Value::Object(open)))
}

/// The body that lies in that column.
///
/// # Errors
/// It is a Secret that was sealed for another row or column, or with another key.
pub(super) fn open(
    sealer: Option<&Sealer>,
    resource: Resource,
    column: Column,
    mut body: Value,
) -> Result<Value, Error> {
    if resource != Resource::SECRETS {
        return Ok(body);
    }
    let sealer = sealer.ok_or(Error::NoKey)?;
    let place = column.place(uid(&body)).to_string();
    let other = || Error::Seal { source: seal::Error::OtherKey { place: place.clone() } };
    let sealed = body[SEALED].as_str().and_then(|text| STANDARD.decode(text).ok()).ok_or_else(other)?;
    let inside = sealer.unseal(column.place(uid(&body)), &sealed).map_err(|source| Error::Seal { source })?;
    let Ok(Value::Object(inside)) = serde_json::from_slice(&inside) else { return Err(other()) };
    let fields = body.as_object_mut().ok_or_else(other)?;
    fields.remove(SEALED);
    for (field, value) in inside {
        if field == "annotations" {
            fields.entry("metadata").or_insert_with(|| json!({}))["annotations"] = value;
        } else {
            fields.insert(field, value);
        }
    }
    Ok(body)
}

fn uid(body: &Value) -> &str {
    body.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(uid: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"password": "aHVudGVyMg=="},
            "metadata": {"name": "db", "namespace": "default", "uid": uid, "labels": {"a": "b"}, "annotations": {"applied": "hunter2"}},
        })
    }

    #[test]
    fn a_secret_is_closed_for_one_row_and_one_column() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
        let close =
            |body: &Value, column| super::close(Some(&sealer), Resource::SECRETS, column, body).unwrap().into_owned();
        let open = |body: Value, column| super::open(Some(&sealer), Resource::SECRETS, column, body);
        let closed = close(&secret("1"), Column::Object);
        let text = closed.to_string();
        assert!(!text.contains("aHVudGVyMg") && !text.contains("hunter2") && !text.contains("Opaque"), "{text}");
        assert_eq!(closed["metadata"], json!({"name": "db", "namespace": "default", "uid": "1", "labels": {"a": "b"}}));
        assert_eq!(open(closed.clone(), Column::Object).unwrap(), secret("1"));
        for column in [Column::Log, Column::Before] {
            assert!(matches!(open(closed.clone(), column), Err(Error::Seal { .. })), "{column:?}");
        }
        let mut swapped = close(&secret("2"), Column::Object);
        swapped[SEALED] = closed[SEALED].clone();
        assert!(matches!(open(swapped, Column::Object), Err(Error::Seal { .. })));
        assert!(open(secret("1"), Column::Object).is_err(), "one that nobody sealed");
        assert!(matches!(super::close(None, Resource::SECRETS, Column::Log, &secret("1")), Err(Error::NoKey)));
    }
}
