//! Patches: a change to an object instead of an object.

mod operations;
mod strategic;

use http::HeaderMap;
use serde_json::Value;
use torch_remote_api::Kind;
use torch_remote_api::field::FieldError;
use torch_remote_api::status::{Details, Reason, STRATEGIC_PATCH, Status, StatusCause};

use super::body;
use super::failure::Failure;
use crate::document::Document;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// A configuration to apply; see [`super::apply`].
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Operations that a JSON patch may have.
const MOST_OPERATIONS: usize = 10_000;

/// A change.
#[derive(Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, for its own kinds.
    Strategic(Value),
}

impl Patch {
    /// Reads a patch; the second part are its fields given twice.
    ///
    /// # Errors
    /// It is of a type that is not taken for this kind, or malformed.
    pub fn read(kind: &Kind, headers: &HeaderMap, bytes: &[u8]) -> Result<(Self, Vec<String>), Failure> {
        let media_type = body::media_type(headers);
        let Document { value, duplicates } = match media_type {
            JSON_PATCH | MERGE_PATCH => body::json(bytes)?,
            STRATEGIC_PATCH if kind.built_in() => body::json(bytes)?,
            _ => return Err(Status::unsupported_media_type(&kind.patch_types()).into()),
        };
        let operations = value.as_array().map_or(0, Vec::len);
        if operations > MOST_OPERATIONS {
            let message =
                format!("The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {operations}");
            return Err(Status::failure(Reason::RequestEntityTooLarge, message).into());
        }
        let patch = match media_type {
            JSON_PATCH => {
                let patch = serde_json::from_value(value);
                Self::Json(
                    patch.map_err(|error| Failure::bad_request(format!("the body is not a JSON patch: {error}")))?,
                )
            }
            _ if !value.is_object() => {
                return Err(Failure::bad_request("the body is not a merge patch: it must be an object".to_owned()));
            }
            STRATEGIC_PATCH => Self::Strategic(value),
            _ => Self::Merge(value),
        };
        Ok((patch, duplicates))
    }

    /// The object as the patch makes it.
    ///
    /// # Errors
    /// The patch does not fit the object.
    pub fn apply(&self, object: &Value) -> Result<Value, Failure> {
        let mut patched = object.clone();
        match self {
            Self::Merge(patch) => json_patch::merge(&mut patched, patch),
            Self::Json(patch) => operations::apply(&mut patched, patch)?,
            Self::Strategic(patch) => strategic::apply(&mut patched, patch)?,
        }
        Ok(patched)
    }
}

/// What strict validation says of a patch that leads to such fields, in Kubernetes' words: 422, on which `kubectl edit` opens the file again.
/// The patch is shown and not the object, which not everyone who may patch may read.
pub fn strict(bytes: &[u8], unknown: &[String], duplicates: &[String]) -> Failure {
    let unknown = unknown.iter().map(|field| format!("unknown field {field:?}"));
    let duplicates = duplicates.iter().map(|field| format!("duplicate field {field:?}"));
    let all: Vec<String> = unknown.chain(duplicates).collect();
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let error = FieldError::invalid("patch", shown.into(), format!("strict decoding error: {}", all.join(", ")));
    let mut status = Status::failure(Reason::Invalid, format!(" \"\" is invalid: {error}"));
    let cause =
        StatusCause { reason: error.cause.reason().to_owned(), message: error.body(), field: error.field.clone() };
    status.details = Some(Details { causes: vec![cause], ..Details::default() });
    status.into()
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use serde_json::json;
    use torch_remote_api::by_kind;

    use super::*;

    fn read(kind: (&str, &str), media_type: &str, body: &str) -> Result<Patch, Failure> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]);
        Patch::read(by_kind(kind.0, kind.1).unwrap(), &headers, body.as_bytes()).map(|(patch, _)| patch)
    }

    #[test]
    fn each_notation_changes_the_object() {
        let object = json!({"a": {"b": 1, "c": 2}});
        let machine = ("torchremote.dev", "RemoteMachine");
        let merged = read(machine, MERGE_PATCH, r#"{"a":{"b":null,"d":3}}"#).unwrap().apply(&object).unwrap();
        assert_eq!(merged, json!({"a": {"c": 2, "d": 3}}));
        let operations = r#"[{"op":"test","path":"/a/b","value":1},{"op":"replace","path":"/a/b","value":5}]"#;
        assert_eq!(read(machine, JSON_PATCH, operations).unwrap().apply(&object).unwrap()["a"]["b"], 5);
        let strategic = read(("", "Namespace"), STRATEGIC_PATCH, r#"{"a":{"b":7,"$setElementOrder/x":[]}}"#).unwrap();
        assert_eq!(strategic.apply(&object).unwrap(), json!({"a": {"b": 7, "c": 2}}));
        read(("events.k8s.io", "Event"), STRATEGIC_PATCH, "{}").unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_right_code() {
        let machine = ("torchremote.dev", "RemoteMachine");
        let failed =
            read(machine, JSON_PATCH, r#"[{"op":"test","path":"/a","value":1}]"#).unwrap().apply(&json!({"a": 2}));
        assert_eq!(failed.unwrap_err().status().http_code(), 422);
        for (media_type, body, code) in [
            (STRATEGIC_PATCH, "{}", 415),
            (MERGE_PATCH, "[]", 400),
            (MERGE_PATCH, "{", 400),
            (JSON_PATCH, r#"[{"op":"fly"}]"#, 400),
        ] {
            assert_eq!(read(machine, media_type, body).unwrap_err().status().http_code(), code, "{media_type} {body}");
        }
    }
}
