//! RFC 6902 within bounds: a short patch must not make an object that fills the memory or is too deep to be walked.

use json_patch::PatchOperation;
use serde_json::Value;
use torch_remote_api::status::{Reason, Status};

use crate::apiserver::failure::Failure;
use crate::store::bounds::{DEEPEST, LARGEST, depth, weight};

/// Bytes that all copies and moves of a patch may carry together; Kubernetes' bound on copies is the same.
const MOST_COPIED: usize = LARGEST;

/// Does the operations in order.
///
/// # Errors
/// One does not fit, or goes beyond the bounds. The object is then half-changed.
pub fn apply(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Failure> {
    let mut copied = 0;
    for operation in &patch.0 {
        let path = operation.path();
        let (from, given) = match operation {
            PatchOperation::Copy(copy) => (Some(&copy.from), None),
            PatchOperation::Move(moved) => (Some(&moved.from), None),
            PatchOperation::Add(add) => (None, Some(&add.value)),
            PatchOperation::Replace(replace) => (None, Some(&replace.value)),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => (None, None),
        };
        let source = from.and_then(|from| object.pointer(from.as_str()));
        if let Some(source) = source {
            copied += weight(source, MOST_COPIED);
            if copied > MOST_COPIED {
                let message = format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MOST_COPIED}"
                );
                return Err(Status::failure(Reason::RequestEntityTooLarge, message).into());
            }
        }
        let below = source.or(given).map_or(0, depth);
        if path.as_str().matches('/').count() + below > DEEPEST {
            let message =
                format!("the patch does not fit the object: {path:?} would be more than {DEEPEST} levels deep");
            return Err(Status::failure(Reason::Invalid, message).into());
        }
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
            Failure::from(Status::failure(Reason::Invalid, format!("the patch does not fit the object: {error}")))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(object: &Value, operations: Value) -> (u16, String) {
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        let failure = apply(&mut object.clone(), &patch).unwrap_err();
        (failure.status().http_code(), failure.status().message.clone())
    }

    #[test]
    fn copies_that_double_an_object_are_refused_before_they_fill_the_memory() {
        let object = json!({"labels": {"a": "some text that is not short"}});
        let doubling: Vec<Value> =
            (0..40).map(|n| json!({"op": "copy", "from": "/labels", "path": format!("/labels/x{n}")})).collect();
        let (code, message) = refusal(&object, doubling.into());
        assert_eq!(code, 413);
        assert!(message.contains("exceeding the limit 3145728"), "{message}");
    }

    #[test]
    fn what_would_be_too_deep_to_walk_is_refused() {
        let deep = (0..90).fold(json!(1), |inner, _| json!({"a": inner}));
        let path = "/a".repeat(90);
        let onto_the_leaf = json!([{"op": "add", "path": path, "value": deep}]);
        let (code, message) = refusal(&deep, onto_the_leaf);
        assert_eq!(code, 422);
        assert!(message.contains("levels deep"), "{message}");
        let onto_itself = json!([{"op": "copy", "from": "/a", "path": "/a".repeat(90)}]);
        assert_eq!(refusal(&deep, onto_itself).0, 422);
    }

    #[test]
    fn an_ordinary_patch_does_what_it_says() {
        let mut object = json!({"a": {"b": 1}, "c": [1]});
        let patch = json!([
            {"op": "copy", "from": "/a", "path": "/d"}, {"op": "move", "from": "/a/b", "path": "/e"},
            {"op": "add", "path": "/c/-", "value": 2}, {"op": "remove", "path": "/a"},
        ]);
        apply(&mut object, &serde_json::from_value(patch).unwrap()).unwrap();
        assert_eq!(object, json!({"d": {"b": 1}, "e": 1, "c": [1, 2]}));
    }
}
