//! [`DeleteOptions`]: what a client says about a deletion, in the body or in the query.

use serde_json::Value;
use torch_remote_api::field::{Cause, FieldError};

use super::body;
use super::failure::Failure;
use super::objects::Call;
use super::parameters;
use super::preconditions::text_of;
use crate::store::{Preconditions, Propagation};

/// How something is to be deleted.
pub struct DeleteOptions {
    /// What must be so of the object.
    pub require: Preconditions,
    /// What becomes of what it owns.
    pub propagation: Propagation,
    /// Nothing is kept.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// From the body and the query.
    ///
    /// # Errors
    /// An option is not of its form, or none that there is.
    pub fn parse(call: &Call, bytes: &[u8]) -> Result<Self, Failure> {
        let body = if bytes.is_empty() { Value::Null } else { body::object(&call.headers, bytes)?.value };
        if !body.is_null() && !body.is_object() {
            return Err(Failure::bad_request("the body of a delete must be DeleteOptions".to_owned()));
        }
        let asked: Vec<&str> = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let text = |field: &str| text_of(&body["preconditions"][field], &format!("preconditions.{field}"));
        let version = text("resourceVersion")?.map(|version| {
            version.parse().map_err(|_| {
                Failure::bad_request(format!(
                    "preconditions.resourceVersion: {version:?} is not one that this server gave"
                ))
            })
        });
        let dry_run = parameters::dry_run(call.options(), &asked)? || call.parameters.dry_run(call.options())?;
        if let Some(record) = call.record.as_ref().filter(|_| dry_run) {
            record.dry_run();
        }
        Ok(Self {
            require: Preconditions { uid: text("uid")?.map(str::to_owned), version: version.transpose()? },
            propagation: propagation(call, &body)?,
            dry_run,
        })
    }
}

/// By `propagationPolicy`, or by `orphanDependents` as older clients say it.
fn propagation(call: &Call, body: &Value) -> Result<Propagation, Failure> {
    let word = body["propagationPolicy"].as_str().or_else(|| call.parameters.get("propagationPolicy"));
    let word = word.filter(|word| !word.is_empty());
    let orphan = body["orphanDependents"]
        .as_bool()
        .or_else(|| call.parameters.get("orphanDependents").map(|_| call.parameters.flag("orphanDependents")));
    let refused = |error: FieldError| Failure::invalid_options("DeleteOptions", &[error]);
    match (word, orphan) {
        (Some(word), Some(_)) => Err(refused(FieldError::invalid(
            "propagationPolicy",
            word.into(),
            "orphanDependents and deletionPropagation cannot be both set",
        ))),
        (Some("Background"), None) | (None, Some(false)) => Ok(Propagation::Background),
        (Some("Foreground"), None) => Ok(Propagation::Foreground),
        (Some("Orphan"), None) | (None, Some(true)) => Ok(Propagation::Orphan),
        (Some(word), None) => Err(refused(FieldError::new(
            Cause::NotSupported,
            "propagationPolicy",
            word.into(),
            r#"supported values: "Foreground", "Background", "Orphan", "nil""#,
        ))),
        (None, None) => Ok(Propagation::Unsaid),
    }
}
