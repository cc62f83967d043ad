#![allow(clippy::unwrap_used, reason = "a test may panic")]

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::by_kind;

fn writer<'a>(name: &'a str, second: i64) -> Writer<'a> {
    Writer {
        kind: by_kind("torchremote.dev", "RemoteMachine").unwrap(),
        name,
        subresource: "",
        now: DateTime::from_timestamp(second, 0).unwrap(),
    }
}

fn machine(spec: Value) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine",
        "metadata": {"name": "box", "namespace": "default"}, "spec": spec,
    })
}

/// An object and its owners, after writes.
#[derive(Clone, Default)]
struct State {
    object: Value,
    owners: Owners,
}

impl State {
    fn apply(&mut self, name: &str, second: i64, config: &Value) -> Result<(), Vec<Conflict>> {
        self.apply_as(writer(name, second), config, false)
    }

    fn apply_as(&mut self, writer: Writer<'_>, config: &Value, force: bool) -> Result<(), Vec<Conflict>> {
        let Applied { object, owners } = writer.apply(self.owners.clone(), &self.object, config, force)?;
        *self = Self { object, owners };
        Ok(())
    }

    fn update(&mut self, name: &str, second: i64, object: Value) {
        self.owners = writer(name, second).update(std::mem::take(&mut self.owners), &self.object, &object);
        self.object = object;
    }

    fn fields(&self, name: &str, operation: Operation) -> Vec<String> {
        let owner = self.owners.iter().find(|owner| owner.name == name && owner.operation == operation);
        owner.map(|owner| owner.fields.paths()).unwrap_or_default()
    }

    fn names(&self) -> Vec<&str> {
        self.owners.iter().map(|owner| owner.name.as_str()).collect()
    }
}

fn shown(conflicts: &[Conflict]) -> Vec<(&str, &str)> {
    conflicts.iter().map(|conflict| (conflict.owner.as_str(), conflict.field.as_str())).collect()
}

#[test]
fn whoever_makes_an_object_owns_what_it_set_and_nothing_of_the_servers() {
    let mut state = State::default();
    let mut object = machine(json!({"provider": "local", "gpu": {"type": "CPU"}}));
    object["metadata"]["labels"] = json!({"team": "a"});
    object["metadata"]["uid"] = json!("u");
    object["status"] = json!({"phase": "Ready"});
    state.update("curl", 1, object);
    let expected =
        [".spec", ".metadata.labels", ".metadata.labels.team", ".spec.gpu", ".spec.provider", ".spec.gpu.type"];
    assert_eq!(state.fields("curl", Operation::Update), expected);
    let encoded = state.owners.encode().unwrap();
    assert_eq!(encoded[0]["time"], "1970-01-01T00:00:01Z");
    assert_eq!(encoded[0]["fieldsV1"]["f:metadata"], json!({"f:labels": {".": {}, "f:team": {}}}));
    assert_eq!(Owners::decode(&encoded).unwrap(), state.owners);
}

#[test]
fn an_update_takes_what_it_changed_from_everyone() {
    let mut state = State::default();
    state.apply("ann", 1, &machine(json!({"provider": "local", "timeout": "1h", "regions": ["a", "b"]}))).unwrap();
    state.update("bob", 2, machine(json!({"provider": "local", "timeout": "2h", "regions": ["a"]})));
    assert_eq!(state.fields("bob", Operation::Update), [".spec.timeout"]);
    assert_eq!(state.fields("ann", Operation::Apply), [".spec.provider", r#".spec.regions[="a"]"#]);
    let before = state.owners.clone();
    let same = state.object.clone();
    state.update("carl", 3, same);
    assert_eq!(state.owners, before, "a write that changes nothing gives nothing to anyone");
}

#[test]
fn an_apply_conflicts_with_the_owner_of_what_it_would_change_and_force_takes_it() {
    let mut state = State::default();
    state.apply("bob", 1, &machine(json!({"timeout": "1h", "image": {"python": "3.12"}}))).unwrap();
    state.update("edit", 2, machine(json!({"timeout": "1h", "image": {"python": "3.11"}, "maxPricePerHour": "1"})));
    let config =
        machine(json!({"timeout": "2h", "image": {"python": "3.10"}, "maxPricePerHour": "2", "provider": "local"}));
    let conflicts = state.apply("ann", 3, &config).unwrap_err();
    let update = r#""edit" using torchremote.dev/v1alpha1"#;
    assert_eq!(
        shown(&conflicts),
        [(r#""bob""#, ".spec.timeout"), (update, ".spec.maxPricePerHour"), (update, ".spec.image.python")]
    );
    state.apply_as(writer("ann", 4), &config, true).unwrap();
    assert_eq!(state.names(), ["ann"]);
    assert_eq!(state.object["spec"], config["spec"]);
}

#[test]
fn an_equal_value_is_owned_together_and_stays_until_the_last_owner_drops_it() {
    let mut state = State::default();
    let timeout = machine(json!({"timeout": "1h"}));
    state.apply("ann", 1, &machine(json!({"timeout": "1h", "provider": "local"}))).unwrap();
    state.apply("bob", 2, &timeout).unwrap();
    assert_eq!(state.names(), ["ann", "bob"]);
    state.apply("ann", 3, &machine(json!({"provider": "local"}))).unwrap();
    assert_eq!(state.object["spec"]["timeout"], "1h");
    state.apply("bob", 4, &machine(json!({}))).unwrap();
    assert_eq!(state.object["spec"], json!({"provider": "local"}));
    assert_eq!(state.fields("bob", Operation::Apply), [".spec"], "an empty object is said, too");
}

#[test]
fn what_nobody_owns_is_neither_disputed_nor_lost() {
    let mut state = State::default();
    let mut config = machine(json!({"provider": "local"}));
    config["metadata"]["finalizers"] = json!(["mine"]);
    config["metadata"]["labels"] = json!({"a": "1"});
    state.apply("ann", 1, &config).unwrap();
    // The server completes the object: a finalizer, a label and a default.
    state.object["metadata"]["finalizers"] = json!(["mine", "torchremote.dev/machine"]);
    state.object["metadata"]["labels"]["server"] = json!("x");
    state.object["spec"]["timeout"] = json!("1h");
    let mut set = config.clone();
    set["spec"]["timeout"] = json!("5h");
    state.clone().apply("bob", 2, &set).unwrap();
    state.apply("ann", 2, &machine(json!({"provider": "local"}))).unwrap();
    assert_eq!(state.object["metadata"]["finalizers"], json!(["torchremote.dev/machine"]));
    assert_eq!(state.object["metadata"]["labels"], json!({"server": "x"}));
    assert_eq!(state.object["spec"], json!({"provider": "local", "timeout": "1h"}));
}

#[test]
fn a_struct_goes_with_the_defaults_in_it() {
    let mut state = State::default();
    state.apply("ann", 1, &machine(json!({"provider": "local", "gpu": {"type": "CPU"}}))).unwrap();
    state.object["spec"]["gpu"]["count"] = json!(1);
    state.apply("ann", 2, &machine(json!({"provider": "local"}))).unwrap();
    assert_eq!(state.object["spec"], json!({"provider": "local"}));
}

#[test]
fn items_of_keyed_lists_have_owners_each() {
    let mut state = State::default();
    let env = |list: Value| machine(json!({"env": list}));
    state.apply("ann", 1, &env(json!([{"name": "A", "value": "1"}]))).unwrap();
    state.apply("bob", 2, &env(json!([{"name": "B", "value": "2"}]))).unwrap();
    assert_eq!(state.object["spec"]["env"], json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]));
    let conflicts = state.apply("bob", 3, &env(json!([{"name": "A", "value": "3"}]))).unwrap_err();
    assert_eq!(shown(&conflicts), [(r#""ann""#, r#".spec.env[name="A"].value"#)]);
    state.apply("ann", 4, &machine(json!({}))).unwrap();
    assert_eq!(state.object["spec"]["env"], json!([{"name": "B", "value": "2"}]));
}

#[test]
fn an_object_without_owners_was_written_before_the_first_apply() {
    let mut state = State { object: machine(json!({"provider": "local", "timeout": "1h"})), owners: Owners::default() };
    let conflicts = state.apply("ann", 5, &machine(json!({"timeout": "2h"}))).unwrap_err();
    assert_eq!(shown(&conflicts), [(r#""before-first-apply" using torchremote.dev/v1alpha1"#, ".spec.timeout")]);
    state.apply("ann", 5, &machine(json!({"timeout": "1h"}))).unwrap();
    assert_eq!(state.names(), ["before-first-apply", "ann"]);
}

#[test]
fn a_list_owned_as_a_whole_is_owned_with_its_defaults() {
    let kind = by_kind("torchremote.dev", "DeviceLease").unwrap();
    let lease = |name| Writer { kind, ..writer(name, 1) };
    let config = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": {"name": "l"}, "spec": {"gpu": [{"type": "CPU"}]},
    });
    let mut state = State::default();
    state.apply_as(lease("ann"), &config, false).unwrap();
    kind.default(&mut state.object);
    let before = state.clone();
    state.apply_as(Writer { now: DateTime::from_timestamp(9, 0).unwrap(), ..lease("ann") }, &config, false).unwrap();
    assert_eq!((state.object.clone(), state.owners.clone()), (before.object, before.owners));
    state.apply_as(lease("bob"), &config, false).unwrap();
    assert_eq!(state.names(), ["ann", "bob"], "the same value is shared");
}

#[test]
fn status_is_written_and_owned_through_its_own_path() {
    let mut state = State::default();
    state.apply("ann", 1, &machine(json!({"provider": "local"}))).unwrap();
    let mut config = machine(json!({"provider": "cloud"}));
    config["status"] = json!({"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]});
    state.apply_as(Writer { subresource: "status", ..writer("ann", 2) }, &config, false).unwrap();
    assert_eq!(state.object["spec"]["provider"], "local");
    let parts: Vec<(&str, usize)> =
        state.owners.iter().map(|owner| (owner.subresource.as_str(), owner.fields.paths().len())).collect();
    assert_eq!(parts, [("", 1), ("status", 4)]);
    config["status"]["phase"] = json!("Failed");
    let conflicts =
        state.clone().apply_as(Writer { subresource: "status", ..writer("bob", 3) }, &config, false).unwrap_err();
    assert_eq!(shown(&conflicts), [(r#""ann" with subresource "status""#, ".status.phase")]);
    state.apply("ann", 3, &config).unwrap();
    assert_eq!(
        (&state.object["spec"]["provider"], &state.object["status"]["phase"]),
        (&json!("cloud"), &json!("Ready"))
    );
}

#[test]
fn the_oldest_of_many_updaters_are_taken_together() {
    let mut state = State::default();
    let mut object = machine(json!({}));
    for second in 0..14_i64 {
        object["metadata"]["labels"][format!("l{second}")] = json!("x");
        state.update(&format!("u{second:02}"), second, object.clone());
    }
    let names = state.names();
    assert_eq!(names.len(), 10);
    assert!(names.contains(&"ancient-changes") && names.contains(&"u13") && names.contains(&"u05"), "{names:?}");
    assert_eq!(state.fields("ancient-changes", Operation::Update).len(), 1 + 1 + 5, "{:?}", state.owners);
}

#[test]
fn a_client_may_keep_reset_or_replace_the_owners() {
    let entry = json!({
        "manager": "x", "operation": "Update", "apiVersion": "torchremote.dev/v1alpha1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:timeout": {}}},
    });
    assert_eq!(Given::read(&Value::Null), Given::Nothing);
    assert_eq!(Given::read(&json!([])), Given::Reset);
    assert_eq!(Given::read(&json!([{}])), Given::Reset);
    assert!(matches!(Given::read(&json!([entry])), Given::These(_)));
    for (field, value) in [("operation", "Delete"), ("apiVersion", ""), ("fieldsType", "FieldsV2")] {
        let mut wrong = entry.clone();
        wrong[field] = json!(value);
        assert_eq!(Given::read(&json!([wrong])), Given::Nothing, "{field}");
    }
    let old_version = json!([{
        "manager": "x", "operation": "Update", "apiVersion": "torchremote.dev/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}},
    }]);
    let owners = Owners::decode(&old_version).unwrap();
    assert!(writer("y", 1).update(owners, &machine(json!({})), &machine(json!({}))).is_empty());
}

#[test]
fn kubectl_goes_on_server_side_with_what_it_applied_from_the_client() {
    let mut state = State::default();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut object = machine(json!({"provider": "local", "timeout": "1h"}));
    let text = object.to_string();
    object["metadata"]["annotations"] = json!({annotation: text});
    state.update("kubectl-client-side-apply", 1, object);
    let config = machine(json!({"provider": "local", "timeout": "2h"}));
    state.clone().apply("flux", 2, &config).unwrap_err();
    state.apply("kubectl", 2, &config).unwrap();
    let written = state.object["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(written).unwrap(), config);
    let before = state.object.clone();
    state.apply("kubectl", 3, &config).unwrap();
    assert_eq!(state.object, before);
    state.update("edit", 4, {
        let mut edited = state.object.clone();
        edited["spec"]["timeout"] = json!("9h");
        edited
    });
    state.apply("kubectl", 5, &config).unwrap_err();
}

/// A configuration made of some of these fields.
fn config(fields: Vec<(&'static str, Value)>) -> impl Strategy<Value = Value> {
    prop::sample::subsequence(fields.clone(), 0..=fields.len()).prop_map(|fields| {
        let mut spec = json!({});
        for (pointer, value) in fields {
            match pointer {
                "env" | "regions" => {
                    let mut list = spec[pointer].as_array().cloned().unwrap_or_default();
                    list.push(value);
                    spec[pointer] = list.into();
                }
                _ => spec[pointer] = value,
            }
        }
        machine(spec)
    })
}

fn anns() -> Vec<(&'static str, Value)> {
    vec![
        ("timeout", json!("1h")),
        ("regions", json!("a")),
        ("env", json!({"name": "A", "value": "1"})),
        ("image", json!({"python": "3.12"})),
        ("maxPricePerHour", json!("1")),
    ]
}

fn bobs() -> Vec<(&'static str, Value)> {
    vec![
        ("provider", json!("local")),
        ("regions", json!("b")),
        ("env", json!({"name": "B", "value": "2"})),
        ("gpu", json!({"type": "CPU"})),
        ("idleTimeout", json!("5m")),
    ]
}

proptest! {
    #[test]
    fn an_apply_that_repeats_itself_changes_nothing(live in config(bobs()), first in config(anns()), second in config(anns())) {
        let mut state = State::default();
        state.update("bob", 1, live);
        for config in [&first, &second] {
            state.apply("ann", 2, config).unwrap();
            let before = state.clone();
            state.apply("ann", 3, config).unwrap();
            prop_assert_eq!(&state.object, &before.object);
            prop_assert_eq!(&state.owners, &before.owners);
        }
    }

    #[test]
    fn two_who_share_no_field_never_conflict_and_do_not_see_each_other(
        one in config(anns()), two in config(anns()), other in config(bobs()), another in config(bobs()),
    ) {
        let mut state = State::default();
        let mut alone = State::default();
        state.apply("ann", 1, &one).unwrap();
        state.apply("bob", 2, &other).unwrap();
        state.apply("ann", 3, &two).unwrap();
        state.apply("bob", 4, &another).unwrap();
        alone.apply("ann", 1, &two).unwrap();
        alone.apply("bob", 2, &another).unwrap();
        let schema = &writer("", 0).kind.schema;
        let difference = compare(schema, &state.object, &alone.object);
        let spec = FieldSet::from_paths([["spec"].as_slice()]);
        prop_assert!(difference.changed().minus(&spec).is_empty() && difference.removed.minus(&spec).is_empty(), "{difference:?}");
    }

    #[test]
    fn what_an_applier_drops_is_gone_unless_another_has_it(first in config(anns()), second in config(anns()), shared in config(anns())) {
        let mut state = State::default();
        state.apply("ann", 1, &first).unwrap();
        state.apply("carl", 2, &shared).unwrap();
        state.apply("ann", 3, &second).unwrap();
        let schema = &writer("", 0).kind.schema;
        let of = |value: &Value| FieldSet::of(schema, value);
        let spec = FieldSet::from_paths([["spec"].as_slice()]);
        let expected = of(&second).union(&of(&shared)).minus(&spec);
        prop_assert!(expected.minus(&of(&state.object)).is_empty());
        let left = of(&state.object).minus(&expected);
        prop_assert!(left.intersection(&of(&first)).minus(&kept_by_server()).minus(&spec).is_empty(), "{:?}", left.paths());
    }
}

#[test]
fn an_annotation_that_is_no_configuration_keeps_nobody_from_applying() {
    for text in ["1", "[]", "\"x\"", "null", "{", ""] {
        let mut live = machine(json!({"provider": "a"}));
        live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
        let mut state = State { object: live, ..State::default() };
        state.apply("kubectl", 1, &machine(json!({"provider": "a"}))).unwrap();
        assert_eq!(state.object["spec"]["provider"], "a", "{text}");
    }
}

#[test]
fn a_client_s_entries_that_would_break_readers_count_as_none() {
    let entry = |field: &str, value: Value| {
        let mut entry = json!({"manager": "m", "operation": "Update", "apiVersion": "torchremote.dev/v1alpha1", "fieldsType": "FieldsV1",
                               "fieldsV1": {"f:spec": {"f:provider": {}}}, "time": "2026-01-01T00:00:00Z"});
        entry[field] = value;
        Given::read(&json!([entry]))
    };
    assert!(matches!(entry("manager", json!("other")), Given::These(_)));
    assert!(matches!(entry("time", Value::Null), Given::These(_)));
    let deep = (0..100).fold(json!({}), |inner, _| json!({"f:a": inner}));
    for (field, value) in [
        ("time", json!("yesterday")),
        ("time", json!(7)),
        ("manager", json!("m".repeat(129))),
        ("manager", json!("a\nb")),
        ("subresource", json!("s".repeat(257))),
        ("fieldsV1", deep),
    ] {
        assert_eq!(entry(field, value.clone()), Given::Nothing, "{field} {value}");
    }
}
