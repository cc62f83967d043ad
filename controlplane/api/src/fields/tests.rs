#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn schema() -> Value {
    let item = json!({"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}, "more": {"type": "string"}}});
    json!({"type": "object", "properties": {
        "text": {"type": "string"},
        "either": {"x-kubernetes-int-or-string": true},
        "struct": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "list": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item},
    }})
}

fn paths(value: Value) -> Vec<String> {
    FieldSet::of(&schema(), &value).paths()
}

fn set(value: Value) -> FieldSet {
    FieldSet::decode(&value).unwrap()
}

#[test]
fn a_value_has_the_fields_its_schema_takes_it_apart_into() {
    for (value, expected) in [
        (json!({"text": "x", "either": 5}), vec![".either", ".text"]),
        (json!({"struct": {"a": "x", "b": 1}}), vec![".struct.a", ".struct.b"]),
        (json!({"struct": {}}), vec![".struct"]),
        (json!({"struct": "of a wrong type"}), vec![".struct"]),
        (json!({"whole": {"a": "x"}}), vec![".whole"]),
        (json!({"map": {"k": "v", "l": "w"}}), vec![".map.k", ".map.l"]),
        (json!({"map": {}}), vec![".map"]),
        (json!({"free": {"a": {"b": [1], "c": null}}}), vec![".free.a", ".free.a.b", ".free.a.c"]),
        (json!({"list": ["a", "b"]}), vec![".list"]),
        (json!({"list": []}), vec![".list"]),
        (json!({"set": ["b", "a"]}), vec![r#".set[="a"]"#, r#".set[="b"]"#]),
        (json!({"set": []}), vec![]),
        (
            json!({"keyed": [{"name": "x", "value": "1"}]}),
            vec![r#".keyed[name="x"]"#, r#".keyed[name="x"].name"#, r#".keyed[name="x"].value"#],
        ),
        (json!({"keyed": [{"value": "1"}]}), vec![".keyed[0]", ".keyed[0].value"]),
        (json!({"set": ["a", "a"]}), vec![r#".set[="a"]"#, ".set[1]"]),
        (json!({"unknown": {"x": 1}}), vec![".unknown", ".unknown.x"]),
    ] {
        assert_eq!(paths(value.clone()), expected, "{value}");
    }
}

#[test]
fn sets_are_written_as_kubernetes_writes_them() {
    let value = json!({"text": "x", "map": {"a/b": "1"}, "set": ["<a>"], "keyed": [{"name": "x", "value": "1"}]});
    let written = json!({
        "f:text": {}, "f:map": {"f:a/b": {}}, "f:set": {"v:\"\\u003ca\\u003e\"": {}},
        "f:keyed": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:value": {}}},
    });
    let of_value = FieldSet::of(&schema(), &value);
    assert_eq!(of_value.encode(), written);
    assert_eq!(set(written), of_value);
    let two_keys = json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}});
    assert_eq!(set(json!({"k:{\"protocol\": \"TCP\", \"port\": 80}": {}})).encode(), two_keys, "keys are sorted");
    assert_eq!(set(json!({"f:a": {"x:later": {}}})).paths(), [".a"], "what later versions add is dropped");
    assert_eq!(set(json!({"f:a": {".": {}, "i:0": {}}})).paths(), [".a", ".a[0]"]);
    for wrong in
        [json!([]), json!({"a": {}}), json!({"v:x": {}}), json!({"k:[]": {}}), json!({"i:x": {}}), json!({"f:a": 1})]
    {
        assert!(FieldSet::decode(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sets_are_joined_cut_and_subtracted_field_by_field() {
    let a = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
    let b = set(json!({"f:a": {"f:b": {}, "f:d": {}}}));
    assert_eq!(a.clone().union(&b).paths(), [".a", ".c", ".a.b", ".a.d"]);
    assert_eq!(a.intersection(&b).paths(), [".a.b"]);
    assert_eq!(a.minus(&b).paths(), [".a", ".c"]);
    assert_eq!(b.minus(&a).paths(), [".a.d"]);
    assert!(a.minus(&a).is_empty());
    assert_eq!(a.at("a", true).paths(), [".a", ".a.b"]);
    assert_eq!(a.at("a", false).paths(), [".c"]);
}

#[test]
fn states_differ_in_single_fields_and_in_what_came_and_went_whole() {
    let old = json!({"text": "x", "map": {"a": "1", "b": "2"}, "set": ["p"], "keyed": [{"name": "x", "value": "1"}], "struct": {"a": "1"}});
    let new = json!({"text": "y", "map": {"a": "1", "c": "3"}, "set": ["q"], "keyed": [{"name": "y"}, {"name": "x", "value": "2"}], "list": []});
    let found = compare(&schema(), &old, &new);
    assert_eq!(found.modified.paths(), [".text", r#".keyed[name="x"].value"#]);
    assert_eq!(
        found.added.paths(),
        [".list", r#".keyed[name="y"]"#, r#".keyed[name="y"].name"#, ".map.c", r#".set[="q"]"#]
    );
    assert_eq!(found.removed.paths(), [".struct", ".map.b", r#".set[="p"]"#, ".struct.a"]);
    assert!(compare(&schema(), &old, &old).is_empty());
}

#[test]
fn a_merge_keeps_what_the_configuration_does_not_speak_of() {
    for (live, config, expected) in [
        (json!({"struct": {"a": "1", "b": 2}}), json!({"struct": {"a": "x"}}), json!({"struct": {"a": "x", "b": 2}})),
        (json!({"list": ["a"]}), json!({"list": ["b"]}), json!({"list": ["b"]})),
        (json!({"whole": {"a": "1"}}), json!({"whole": {}}), json!({"whole": {}})),
        (json!({"map": {"a": "1"}}), json!({"map": {}}), json!({"map": {"a": "1"}})),
        (json!({"set": ["a", "b"]}), json!({"set": ["c", "a"]}), json!({"set": ["c", "a", "b"]})),
        (json!({"set": ["a", "s"]}), json!({"set": ["c", "s"]}), json!({"set": ["a", "c", "s"]})),
        (json!({"set": ["a", "b", "c"]}), json!({"set": ["c", "a"]}), json!({"set": ["b", "c", "a"]})),
        (
            json!({"keyed": [{"name": "x", "value": "1", "more": "m"}, {"name": "z"}]}),
            json!({"keyed": [{"name": "y"}, {"name": "x", "value": "2"}]}),
            json!({"keyed": [{"name": "y"}, {"name": "x", "value": "2", "more": "m"}, {"name": "z"}]}),
        ),
        (json!({}), json!({"set": ["a", "a"]}), json!({"set": ["a", "a"]})),
    ] {
        assert_eq!(merge(&schema(), &live, &config), expected, "{live} with {config}");
    }
}

#[test]
fn what_is_removed_takes_empty_parents_with_it() {
    let value = json!({"text": "x", "struct": {"a": "1", "b": 2}, "map": {"a": "1"}, "set": ["p", "q"], "keyed": [{"name": "x", "value": "1"}]});
    let left = |fields: Value| remove(&schema(), &value, &set(fields), &FieldSet::default());
    assert_eq!(left(json!({"f:struct": {"f:a": {}}}))["struct"], json!({"b": 2}));
    assert_eq!(left(json!({"f:struct": {}})).get("struct"), None);
    assert_eq!(left(json!({"f:map": {"f:a": {}}})).get("map"), None);
    assert_eq!(left(json!({"f:set": {"v:\"p\"": {}}}))["set"], json!(["q"]));
    assert_eq!(left(json!({"f:keyed": {"k:{\"name\":\"x\"}": {"f:value": {}}}}))["keyed"], json!([{"name": "x"}]));
    assert_eq!(left(json!({"f:keyed": {"k:{\"name\":\"x\"}": {}}})).get("keyed"), None);
    assert_eq!(left(json!({"f:none": {}})), value);
    let kept = set(json!({"f:map": {}}));
    assert_eq!(remove(&schema(), &value, &set(json!({"f:map": {"f:a": {}}})), &kept)["map"], json!({}));
}

fn any_set() -> impl Strategy<Value = FieldSet> {
    let element = prop_oneof![
        "[a-c./<]{1,2}".prop_map(Element::Field),
        any::<bool>().prop_map(|value| Element::Item(Scalar::from(&json!(value)))),
        "[a-c\"]{1,2}".prop_map(|text| Element::Item(Scalar::from(&json!(text)))),
        "[a-c]".prop_map(|text| Element::Key([("name".to_owned(), Scalar::from(&json!(text)))].into())),
        (0usize..3).prop_map(Element::Index),
    ];
    let path = prop::collection::vec(element, 1..4);
    prop::collection::vec(path, 0..8).prop_map(|paths| {
        let mut set = FieldSet::default();
        paths.iter().for_each(|path| set.insert(path));
        set
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(vec!["a", "b", "c"]);
    let words = || prop::collection::btree_set(word(), 0..3);
    let map = prop::collection::btree_map(word(), word(), 0..3);
    let keyed = prop::collection::btree_map(word(), word(), 0..3);
    (
        prop::option::of(word()),
        prop::option::of(map),
        prop::option::of(words()),
        prop::option::of(words()),
        prop::option::of(keyed),
    )
        .prop_map(|(text, map, list, set, keyed)| {
            let keyed = keyed.map(|keyed| {
                keyed.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
            });
            let mut object = json!({"text": text, "map": map, "list": list, "set": set, "keyed": keyed});
            object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            object
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(set in any_set()) {
        prop_assert_eq!(FieldSet::decode(&set.encode()).unwrap(), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in any_set(), b in any_set()) {
        prop_assert_eq!(a.minus(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
        prop_assert!(a.minus(&b).intersection(&b).is_empty());
        prop_assert!(a.paths().len() == a.minus(&b).paths().len() + a.intersection(&b).paths().len());
    }

    #[test]
    fn after_a_merge_every_field_of_the_configuration_is_as_it_says(live in any_object(), config in any_object()) {
        let schema = schema();
        let merged = merge(&schema, &live, &config);
        let difference = compare(&schema, &config, &merged);
        prop_assert!(difference.modified.is_empty(), "{:?}", difference.modified);
        prop_assert!(FieldSet::of(&schema, &config).intersection(&difference.removed).is_empty());
        prop_assert_eq!(merge(&schema, &merged, &config), merged);
    }

    #[test]
    fn a_comparison_says_how_to_get_from_one_to_the_other(old in any_object(), new in any_object()) {
        let schema = schema();
        let difference = compare(&schema, &old, &new);
        let rest = remove(&schema, &old, &difference.removed, &FieldSet::of(&schema, &new));
        let again = compare(&schema, &merge(&schema, &rest, &new), &new);
        prop_assert!(again.is_empty(), "{again:?}");
        let other_way = compare(&schema, &new, &old);
        prop_assert_eq!((&other_way.added, &other_way.removed, &other_way.modified), (&difference.removed, &difference.added, &difference.modified));
    }
}
