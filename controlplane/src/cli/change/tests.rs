use proptest::prelude::*;

use super::*;

fn patch(last: Value, live: Value, wanted: Value) -> Value {
    Value::Object(merge_patch(&last, &live, &wanted))
}

#[test]
fn what_others_set_stays_and_what_was_taken_out_goes() {
    let last = json!({"spec": {"gpu": {"type": "T4"}, "timeout": "1h"}});
    let live =
        json!({"spec": {"gpu": {"type": "T4", "count": 1}, "timeout": "1h", "cpu": "2"}, "status": {"phase": "Ready"}});
    let wanted = json!({"spec": {"gpu": {"type": "L4"}}});
    assert_eq!(patch(last, live, wanted), json!({"spec": {"gpu": {"type": "L4"}, "timeout": null}}));
}

#[test]
fn a_document_carries_itself_for_the_next_apply() {
    let kinds = Kinds::of(&json!({"items": [{"metadata": {"name": "g"}, "versions": [{"version": "v1", "resources": [
        {"resource": "things", "scope": "Namespaced", "responseKind": {"kind": "Thing"}}]}]}]}));
    let kind = kinds.named("things").expect("known");
    for annotations in [Value::Null, json!({"mine": "kept"})] {
        let mut body = json!({"apiVersion": "g/v1", "kind": "Thing", "metadata": {"name": "x"}});
        if annotations.is_object() {
            body["metadata"]["annotations"] = annotations.clone();
        }
        let document = Document {
            place: "x.yaml: document 1".into(),
            api_version: "g/v1".into(),
            kind: "Thing".into(),
            name: "x".into(),
            namespace: None,
            body: body.clone(),
        };
        let wanted = Change { kind, document: &document, namespace: "default".into() }.wanted("default");
        let last = wanted["metadata"]["annotations"][LAST_APPLIED].as_str().expect("the annotation is there");
        body["metadata"]["namespace"] = json!("default");
        if annotations.is_null() {
            body["metadata"]["annotations"] = json!({});
        }
        assert_eq!(serde_json::from_str::<Value>(last).expect("JSON"), body);
    }
}

#[test]
fn lists_are_replaced_whole() {
    let live = json!({"regions": ["a", "b"]});
    assert_eq!(patch(Value::Null, live.clone(), json!({"regions": ["a"]})), json!({"regions": ["a"]}));
    assert_eq!(patch(Value::Null, live, json!({"regions": ["a", "b"]})), json!({}));
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![any::<u8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::hash_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_the_second_time(last in tree(), live in tree(), wanted in tree()) {
        let (mut live, wanted) = (json!({"x": live}), json!({"x": wanted}));
        let first = patch(json!({"x": last}), live.clone(), wanted.clone());
        json_patch::merge(&mut live, &first);
        prop_assert_eq!(patch(wanted.clone(), live, wanted), json!({}));
    }
}
