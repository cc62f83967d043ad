//! What a client that sends an object requires of the one that is stored.

use serde_json::Value;

use super::failure::Failure;
use crate::store::Preconditions;

/// By `metadata.uid` and `metadata.resourceVersion` of what it sent.
///
/// # Errors
/// 400: one of them is no text, or no version of ours.
pub fn of(body: &Value) -> Result<Preconditions, Failure> {
    let uid = text_of(&body["metadata"]["uid"], "metadata.uid")?.map(str::to_owned);
    Ok(Preconditions { version: version_of(body)?, uid })
}

/// `metadata.resourceVersion` of what a client sent.
///
/// # Errors
/// It is none of ours.
fn version_of(body: &Value) -> Result<Option<i64>, Failure> {
    match text_of(&body["metadata"]["resourceVersion"], "metadata.resourceVersion")? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Failure::bad_request(format!(
                "metadata.resourceVersion: Invalid value: {text:?}: must be one that this server gave"
            ))
        }),
    }
}

/// A text that may be left out. One of another type is no text left out: what it was to guard would go unguarded.
pub fn text_of<'a>(value: &'a Value, field: &str) -> Result<Option<&'a str>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        other => {
            Err(Failure::bad_request(format!("{field}: Invalid value: {other}: must be a string; put it in quotes")))
        }
    }
}
