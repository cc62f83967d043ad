//! The annotation in which `kubectl apply` keeps what it applied from the client, for those who go over to server-side apply and back.

use serde_json::Value;

use crate::fields::{FieldSet, compare};
use crate::kind::Kind;

/// The one applier that means by its name that it goes on where the client left off.
pub(super) const APPLIER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of annotations that an object may have; a larger configuration is not written down.
const MOST_BYTES: usize = 256 * 1024;

/// Fields that the client applied and that still are as it did.
pub(super) fn fields(kind: &Kind, live: &Value) -> FieldSet {
    let text = live["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    let Ok(applied) = serde_json::from_str::<Value>(text) else { return FieldSet::default() };
    if applied["apiVersion"] != kind.api_version() {
        return FieldSet::default();
    }
    let since = compare(&kind.schema, &applied, live);
    FieldSet::of(&kind.schema, &applied).minus(&since.changed()).minus(&since.removed)
}

/// Writes what was applied into the annotation, if there is one.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    let Some(annotation) = object.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(ANNOTATION)) else {
        return;
    };
    let config = without_annotation(config.clone());
    let text = format!("{config}\n");
    let old = annotation.as_str().unwrap_or_default();
    let same = serde_json::from_str(old).is_ok_and(|old| without_annotation(old) == config);
    if !old.is_empty() && !same && text.len() < MOST_BYTES {
        *annotation = text.into();
    }
}

fn without_annotation(mut config: Value) -> Value {
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(ANNOTATION);
        }
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    config
}
