//! Secrets as they lie in the database: all but their names and labels is sealed, bound to table, row and column.
//!
//! Owns the crossing between memory, where Secrets are open, and rows, where they are not; every statement that reads or writes the body of a
//! Secret passes here, and every one whose reader is a client: it gets the defaults of fields that the writer did not know.
//! Annotations are sealed too: kubectl keeps there what it applied last, values and all.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use torch_remote_api::by_plural;
use uuid::Uuid;

use super::{Error, Key, Resource};
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
    fn place(self, row: &str) -> Place<'_> {
        let (table, column) = match self {
            Self::Object => ("object", "body"),
            Self::Log => ("object_log", "body"),
            Self::Before => ("object_log", "prev"),
        };
        Place { table, row, column }
    }
}

/// The body as it may lie in that column.
///
/// # Errors
/// It is a Secret, and there is no key, or no randomness.
pub(super) fn close<'a>(
    sealer: Option<&Sealer>,
    key: &Key,
    column: Column,
    body: &'a Value,
) -> Result<Cow<'a, Value>, Error> {
    if key.resource != Resource::SECRETS {
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
    let sealed =
        sealer.seal(column.place(&row(key, uid(body))), text.as_bytes()).map_err(|source| Error::Seal { source })?;
    open.insert(SEALED.to_owned(), STANDARD.encode(sealed).into());
    Ok(Cow::Owned(Value::Object(open)))
}

/// The body that lies in that column of the row with that key, and with that uid where the table has a column for it; with the defaults of fields that the
/// release which wrote it did not know.
///
/// # Errors
/// It is a Secret that was sealed for another row or column, or with another key.
pub(super) fn open(
    sealer: Option<&Sealer>,
    key: &Key,
    uid: Option<Uuid>,
    column: Column,
    mut body: Value,
) -> Result<Value, Error> {
    if key.resource != Resource::SECRETS {
        complete(key.resource, &mut body);
        return Ok(body);
    }
    let sealer = sealer.ok_or(Error::NoKey)?;
    let uid = uid.map_or_else(|| self::uid(&body).to_owned(), |uid| uid.to_string());
    let row = row(key, &uid);
    let other = || Error::Seal { source: seal::Error::OtherKey { place: shown(column, key) } };
    // What lies open is not sealed, but it does not name another row.
    let named = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
    if (named("uid"), named("namespace"), named("name")) != (&*uid, &*key.namespace, &*key.name) {
        return Err(other());
    }
    let sealed = body[SEALED].as_str().and_then(|text| STANDARD.decode(text).ok()).ok_or_else(other)?;
    let inside = sealer.unseal(column.place(&row), &sealed).map_err(|_| other())?;
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
    complete(key.resource, &mut body);
    Ok(body)
}

/// Fills in defaults, so that whoever reads an object of an older release sees what one sees who writes it again. Says whether there were any to fill in.
pub(super) fn complete(resource: Resource, body: &mut Value) -> bool {
    by_plural(resource.group, resource.plural).is_some_and(|kind| kind.default(body))
}

/// What can be read of a body that cannot be opened: enough to delete it. Its key is the row's.
pub(super) fn open_half(key: &Key, uid: Option<Uuid>, mut body: Value) -> Value {
    if !body["metadata"].is_object() {
        body = json!({"metadata": {}});
    }
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    // Else it were no Secret that could be let go of.
    body["type"] = "Opaque".into();
    body["metadata"]["name"] = key.name.as_str().into();
    body["metadata"]["namespace"] = key.namespace.as_str().into();
    if let Some(uid) = uid {
        body["metadata"]["uid"] = uid.to_string().into();
    }
    body
}

/// What a ciphertext is bound to, from the columns: a body that is moved whole names another row.
fn row(key: &Key, uid: &str) -> String {
    [&key.namespace, &key.name, uid].join("\0")
}

fn shown(column: Column, key: &Key) -> String {
    column.place(&format!("{}/{}", key.namespace, key.name)).to_string()
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
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (of_one, of_two) = (secret(&one.to_string()), secret(&two.to_string()));
        let key = Key::new(Resource::SECRETS, "default", "db");
        let close = |body: &Value, column| super::close(Some(&sealer), &key, column, body).unwrap().into_owned();
        let open = |body: Value, uid, column| super::open(Some(&sealer), &key, uid, column, body);
        let closed = close(&of_one, Column::Object);
        let text = closed.to_string();
        assert!(!text.contains("aHVudGVyMg") && !text.contains("hunter2") && !text.contains("Opaque"), "{text}");
        let metadata = json!({"name": "db", "namespace": "default", "uid": one.to_string(), "labels": {"a": "b"}});
        assert_eq!(closed["metadata"], metadata);
        assert_eq!(open(closed.clone(), Some(one), Column::Object).unwrap(), of_one);
        assert_eq!(open(closed.clone(), None, Column::Object).unwrap(), of_one);
        let refused = |opened: Result<Value, Error>| matches!(opened, Err(Error::Seal { .. }));
        for column in [Column::Log, Column::Before] {
            assert!(refused(open(closed.clone(), Some(one), column)), "{column:?}");
        }
        let mut swapped = close(&of_two, Column::Object);
        swapped[SEALED] = closed[SEALED].clone();
        assert!(refused(open(swapped, Some(two), Column::Object)));
        assert!(refused(open(of_one.clone(), Some(one), Column::Object)), "one that nobody sealed");
        assert!(matches!(super::close(None, &key, Column::Log, &of_one), Err(Error::NoKey)));

        // The whole body, uid and all, in another row; and there under that row's name.
        for other in [Key::new(Resource::SECRETS, "default", "other"), Key::new(Resource::SECRETS, "vision", "db")] {
            let mut renamed = closed.clone();
            renamed["metadata"]["name"] = other.name.as_str().into();
            renamed["metadata"]["namespace"] = other.namespace.as_str().into();
            for moved in [closed.clone(), renamed] {
                for uid in [Some(one), None] {
                    assert!(refused(super::open(Some(&sealer), &other, uid, Column::Object, moved.clone())), "{other}");
                }
            }
        }
        assert!(refused(open(closed.clone(), Some(two), Column::Object)), "an older one of that name");
        let mut renamed = closed;
        renamed["metadata"]["name"] = "other".into();
        assert!(refused(open(renamed, Some(one), Column::Object)), "the name that lies open was changed");
    }
}
