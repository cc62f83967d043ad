//! Strategic merge patches, which kubectl and typed clients send for kinds of Kubernetes' own: a merge that knows how some lists are merged.
//!
//! Source: k8s.io/apimachinery/pkg/util/strategicpatch, and the patchStrategy tags of the core/v1 types.

use serde_json::{Map, Value, json};

use crate::apiserver::failure::Failure;

/// Lists that are merged, and by which field; empty: by the items themselves.
const MERGED: [(&str, &str); 4] = [
    ("/metadata/finalizers", ""),
    ("/metadata/ownerReferences", "uid"),
    ("/secrets", "name"),
    ("/imagePullSecrets", "name"),
];

/// The object as the patch makes it.
///
/// # Errors
/// The patch has a directive that nothing here understands, or an item without its key.
pub fn apply(object: &mut Value, patch: &Value) -> Result<(), Failure> {
    let mut patch = patch.clone();
    let mut lists = Vec::new();
    for (pointer, key) in MERGED {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        let Some(fields) = patch.pointer_mut(parent).and_then(Value::as_object_mut) else { continue };
        let deleted = fields.remove(&format!("$deleteFromPrimitiveList/{name}"));
        let given = if fields.get(name).is_some_and(Value::is_array) { fields.remove(name) } else { None };
        if given.is_some() || deleted.is_some() {
            let before = object.pointer(pointer).cloned().unwrap_or_else(|| json!([]));
            let items = merged(before, given.unwrap_or_else(|| json!([])), key, deleted.unwrap_or_else(|| json!([])))?;
            lists.push((parent, name, items));
        }
    }
    json_patch::merge(object, &without_order(patch)?);
    for (parent, name, items) in lists {
        if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            if items.is_empty() {
                fields.remove(name)
            } else {
                fields.insert(name.to_owned(), items.into())
            };
        }
    }
    Ok(())
}

fn merged(before: Value, given: Value, key: &str, deleted: Value) -> Result<Vec<Value>, Failure> {
    let list = |value: Value| if let Value::Array(list) = value { list } else { Vec::new() };
    let (mut items, deleted) = (list(before), list(deleted));
    for mut item in list(given) {
        if key.is_empty() {
            if !items.contains(&item) {
                items.push(item);
            }
            continue;
        }
        let Some(name) = item.get(key).filter(|name| name.is_string()).cloned() else {
            return Err(Failure::bad_request(format!("the patch has an item without its merge key {key:?}: {item}")));
        };
        let at = items.iter().position(|there| there.get(key) == Some(&name));
        let directive = item.as_object_mut().and_then(|fields| fields.remove("$patch"));
        match (directive.as_ref().map(Value::as_str), at) {
            (None, Some(at)) => json_patch::merge(&mut items[at], &item),
            (None, None) => items.push(item),
            (Some(Some("delete")), Some(at)) => drop(items.remove(at)),
            (Some(Some("delete")), None) => {}
            (Some(_), _) => return Err(unknown("$patch")),
        }
    }
    items.retain(|item| !deleted.contains(item));
    Ok(items)
}

/// Where an item goes in a list that is set anew as a whole says nothing, nor does which fields to retain of one that is merged.
fn without_order(value: Value) -> Result<Value, Failure> {
    let Value::Object(fields) = value else { return Ok(value) };
    let mut kept = Map::new();
    for (name, value) in fields {
        match name.strip_prefix('$') {
            None => drop(kept.insert(name, without_order(value)?)),
            Some(order) if order.starts_with("setElementOrder/") || order == "retainKeys" => {}
            Some(_) => return Err(unknown(&name)),
        }
    }
    Ok(Value::Object(kept))
}

fn unknown(directive: &str) -> Failure {
    Failure::bad_request(format!(
        "the strategic merge patch has the directive {directive:?}, which means nothing here; send a merge patch or a JSON patch instead"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(patch: Value) -> Result<Value, u16> {
        let mut object = json!({
            "metadata": {"finalizers": ["a/x", "b/y"], "ownerReferences": [{"uid": "1", "name": "one"}, {"uid": "2", "name": "two"}]},
            "secrets": [{"name": "s"}],
        });
        apply(&mut object, &patch).map_err(|failure| failure.status().http_code())?;
        Ok(object)
    }

    #[test]
    fn lists_that_belong_to_many_are_merged_and_not_replaced() {
        let finalizers =
            after(json!({"metadata": {"finalizers": ["c/z"], "$setElementOrder/finalizers": ["c/z", "a/x", "b/y"]}}));
        assert_eq!(finalizers.unwrap()["metadata"]["finalizers"], json!(["a/x", "b/y", "c/z"]));
        let fewer = after(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"]}}));
        assert_eq!(fewer.unwrap()["metadata"]["finalizers"], json!(["b/y"]));
        let owners =
            json!([{"uid": "2", "$patch": "delete"}, {"uid": "1", "controller": true}, {"uid": "3", "name": "three"}]);
        let owners = after(json!({"metadata": {"ownerReferences": owners}})).unwrap();
        let expected = json!([{"uid": "1", "name": "one", "controller": true}, {"uid": "3", "name": "three"}]);
        assert_eq!(owners["metadata"]["ownerReferences"], expected);
        assert_eq!(
            after(json!({"secrets": [{"name": "t"}]})).unwrap()["secrets"],
            json!([{"name": "s"}, {"name": "t"}])
        );
        let gone = after(json!({"metadata": {"finalizers": null}, "secrets": null})).unwrap();
        assert!(gone["metadata"]["finalizers"].is_null() && gone["secrets"].is_null());
    }

    #[test]
    fn a_directive_that_nothing_understands_is_refused_and_not_passed_over() {
        for patch in [
            json!({"$patch": "replace", "metadata": {}}),
            json!({"metadata": {"labels": {"$patch": "delete"}}}),
            json!({"metadata": {"ownerReferences": [{"uid": "1", "$patch": "replace"}]}}),
            json!({"metadata": {"ownerReferences": [{"name": "one"}]}}),
        ] {
            assert_eq!(after(patch.clone()).unwrap_err(), 400, "{patch}");
        }
    }
}
