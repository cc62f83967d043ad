//! Laws over schemas and over manifests that nobody wrote.

use proptest::prelude::*;
use serde_json::{Value, json};
use torch_remote_api::{
    audit::AuditEvent, column::Cell, device::Device, event::Event, kinds, lease::DeviceLease, machine::RemoteMachine,
    namespace::Namespace, object::ObjectMeta, path, pool::MachinePool, provider::Provider, quota::GpuQuota, rbac,
    schema, secret::Secret, service_account::ServiceAccount, tensor::Tensor,
};

use crate::support::{full, good, judged, kind, merge};

/// Any JSON, small.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..100).prop_map(Value::from),
        (-5.0f64..100.0).prop_map(Value::from),
        prop_oneof![Just("H100"), Just("8h"), Just("Shared"), Just(""), Just("*"), Just("2Gi")].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

/// A value that fits a schema in type, and in range where the schema says one.
fn fitting(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(allowed) = schema["enum"].as_array() {
        return prop::sample::select(allowed.clone()).boxed();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("object"), _) => fitting_object(schema),
        (Some("array"), _) => {
            let least = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
            // One item at most where items must differ.
            prop::collection::vec(fitting(&schema["items"]), least..=least.max(1)).prop_map(Value::from).boxed()
        }
        (Some("boolean"), _) => any::<bool>().prop_map(Value::from).boxed(),
        (Some("integer"), _) => {
            let least = schema["minimum"].as_i64().unwrap_or(-100);
            (least..=schema["maximum"].as_i64().unwrap_or(1000)).prop_map(Value::from).boxed()
        }
        (_, Some("duration")) => (1u64..86_400).prop_map(|seconds| format!("{seconds}s").into()).boxed(),
        (_, Some("money")) => {
            (0u32..1000).prop_map(|cents| format!("{}.{:02}", cents / 100, cents % 100).into()).boxed()
        }
        (_, Some("quantity")) => {
            prop_oneof![(1u32..100).prop_map(Value::from), (1u32..100).prop_map(|n| format!("{n}Gi").into())].boxed()
        }
        (_, Some("date-time")) => Just(json!("2026-01-01T00:00:00Z")).boxed(),
        (_, Some("uri")) => Just(json!("https://example.com")).boxed(),
        (Some("string"), _) => match schema["pattern"].as_str() {
            Some(pattern) if pattern.starts_with("^(none") => Just(json!("none")).boxed(),
            Some(pattern) => pattern.trim_matches(['^', '$']).prop_map_text(),
            None => "[a-z]{1,8}".prop_map(Value::from).boxed(),
        },
        _ => Just(json!({})).boxed(),
    }
}

trait PatternText {
    fn prop_map_text(&self) -> BoxedStrategy<Value>;
}

impl PatternText for str {
    fn prop_map_text(&self) -> BoxedStrategy<Value> {
        prop::string::string_regex(self).unwrap().prop_map(Value::from).boxed()
    }
}

fn fitting_object(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema.get("additionalProperties") {
        return prop::collection::btree_map("[a-z]{1,5}", fitting(values), 0..3).prop_map(|map| json!(map)).boxed();
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let named = name.clone();
            let given = fitting(property).prop_map(move |value| Some((named.clone(), value)));
            if required.contains(&name.as_str()) { given.boxed() } else { prop_oneof![Just(None), given].boxed() }
        })
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

/// A kind, and a spec and status that fit its schema.
fn fitting_kind() -> impl Strategy<Value = (&'static str, Value)> {
    let plurals: Vec<&'static str> =
        kinds().iter().filter(|kind| kind.plural != "events").map(|kind| kind.plural).collect();
    prop::sample::select(plurals).prop_flat_map(|plural| {
        let parts: Vec<BoxedStrategy<(String, Value)>> = ["spec", "status"]
            .into_iter()
            .filter_map(|part| Some((part, kind(plural).schema["properties"].get(part)?)))
            .map(|(part, schema)| fitting(schema).prop_map(move |value| (part.to_owned(), value)).boxed())
            .collect();
        parts.prop_map(move |parts| (plural, Value::Object(parts.into_iter().collect())))
    })
}

/// A kind whose fields lie beside its metadata.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flat<T> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    #[serde(flatten)]
    own: T,
}

/// Reads the object as the kind's Rust type, and writes it again.
fn through_type(plural: &str, object: Value) -> Result<Value, String> {
    fn pass<T: serde::Serialize + serde::de::DeserializeOwned>(object: Value) -> Result<Value, String> {
        let typed: T = serde_json::from_value(object).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(typed).unwrap())
    }
    match plural {
        "namespaces" => pass::<Namespace>(object),
        "events" => pass::<Event>(object),
        "secrets" => pass::<Secret>(object),
        "serviceaccounts" => pass::<ServiceAccount>(object),
        "providers" => pass::<Provider>(object),
        "remotemachines" => pass::<RemoteMachine>(object),
        "machinepools" => pass::<MachinePool>(object),
        "deviceleases" => pass::<DeviceLease>(object),
        "gpuquotas" => pass::<GpuQuota>(object),
        "devices" => pass::<Device>(object),
        "tensors" => pass::<Tensor>(object),
        "roles" => pass::<Flat<rbac::Role>>(object),
        "clusterroles" => pass::<Flat<rbac::ClusterRole>>(object),
        "rolebindings" | "clusterrolebindings" => pass::<Flat<rbac::Binding>>(object),
        "auditevents" => pass::<Flat<AuditEvent>>(object),
        "customresourcedefinitions" => Ok(object),
        other => Err(format!("no type for {other}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn filling_in_defaults_twice_changes_nothing_more((plural, parts) in fitting_kind(), noise in json_value()) {
        let mut object = good(plural);
        merge(&mut object, &parts);
        object["spec"]["noise"] = noise;
        let given = object.clone();
        let filled = kind(plural).default(&mut object);
        let once = object.clone();
        prop_assert_eq!(filled, once != given, "it says whether anything was missing");
        prop_assert!(!kind(plural).default(&mut object));
        prop_assert_eq!(object, once);
    }

    #[test]
    fn pruning_leaves_nothing_unknown_and_loses_nothing_known((plural, parts) in fitting_kind(), noise in json_value()) {
        let mut object = good(plural);
        merge(&mut object, &parts);
        let clean = object.clone();
        object["metadata"]["noise"] = noise.clone();
        object["noise"] = noise;
        prop_assert_eq!(kind(plural).prune(&mut object), ["metadata.noise", "noise"]);
        prop_assert_eq!(&object, &clean);
        prop_assert!(kind(plural).unknown_fields(&object).is_empty());
    }

    #[test]
    fn what_fits_the_schema_is_valid_by_it_and_becomes_the_type((plural, parts) in fitting_kind()) {
        let mut object = good(plural);
        merge(&mut object, &parts);
        kind(plural).default(&mut object);
        prop_assert_eq!(schema::check(&kind(plural).schema, &object), []);
        let typed = through_type(plural, object.clone());
        prop_assert!(typed.is_ok(), "{}: {:?}", object, typed);
    }

    #[test]
    fn a_valid_object_is_one_the_type_can_read((plural, parts) in fitting_kind(), field in "[a-z]{2,8}", noise in json_value()) {
        let mut object = good(plural);
        merge(&mut object, &parts);
        // Noise in the place of a known field, when there is one of that name, else an unknown field.
        let known: Vec<String> = object["spec"].as_object().map(|spec| spec.keys().cloned().collect()).unwrap_or_default();
        let place = known.get(field.len() % known.len().max(1)).cloned().unwrap_or(field);
        merge(&mut object, &json!({"spec": {place: noise}}));
        kind(plural).default(&mut object);
        kind(plural).prune(&mut object);
        if kind(plural).validate(&object, None).is_empty() {
            let typed = through_type(plural, object.clone());
            prop_assert!(typed.is_ok(), "{}: {:?}", object, typed);
        }
    }

    #[test]
    fn no_json_at_all_makes_the_server_panic(plural in prop::sample::select(kinds().iter().map(|kind| kind.plural).collect::<Vec<_>>()), spec in json_value(), metadata in json_value(), whole in json_value()) {
        judged(kind(plural), json!({"metadata": metadata, "spec": spec.clone(), "status": spec}), None);
        judged(kind(plural), whole.clone(), Some(&whole));
        kind(plural).row(&whole, chrono::DateTime::UNIX_EPOCH);
    }
}

#[test]
fn a_good_object_of_each_kind_is_valid_and_keeps_its_fields_through_its_type() {
    // The newer notation of events is made, and read by nobody here.
    for kind in kinds().iter().filter(|kind| kind.group != "events.k8s.io") {
        for mut object in [good(kind.plural), full(kind.plural)] {
            if object["status"]["devices"].is_array() {
                object["status"]["devices"] = json!([{
                    "machine": "default/m", "machineUID": "u", "index": 0, "slot": 0, "epoch": 1, "gpu": "H100",
                    "endpoints": [{"kind": "unix", "address": "/run/s0", "tls": "none"}],
                }]);
            }
            if kind.plural == "events" {
                object["involvedObject"]["namespace"] = "default".into();
            }
            assert_eq!(judged(kind, object.clone(), None), "ok", "{}", kind.kind);
            kind.default(&mut object);
            let typed = through_type(kind.plural, object.clone()).unwrap();
            let lost = lost_fields(&object, &typed, "");
            assert_eq!(lost, Vec::<String>::new(), "{}", kind.kind);
        }
    }
}

/// Paths of `before` whose value is other in `after`.
fn lost_fields(before: &Value, after: &Value, path: &str) -> Vec<String> {
    match before {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| lost_fields(value, &after[name], &format!("{path}.{name}")))
            .collect(),
        _ if before == after => Vec::new(),
        // Hours are the largest unit written, money has two decimals: the same value in other words.
        _ => vec![format!("{path}: {before} became {after}")],
    }
}

#[test]
fn each_schema_is_structural_and_each_pattern_and_default_is_good() {
    fn walk(schema: &Value, at: &str) {
        let Some(object) = schema.as_object() else { panic!("{at} is no schema") };
        for keyword in ["$ref", "anyOf", "oneOf", "allOf", "not", "const", "title", "$schema", "nullable"] {
            assert!(!object.contains_key(keyword), "{at} has {keyword}");
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            assert!(regex::Regex::new(pattern).is_ok(), "{at}: {pattern}");
        }
        let typed = schema["type"].is_string()
            || schema["x-kubernetes-int-or-string"] == true
            || schema["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(typed, "{at} has no type");
        if let Some(default) = schema.get("default") {
            assert!(!at.contains(".status"), "{at}: status is never defaulted");
            assert_eq!(schema::check(schema, default), [], "the default at {at}");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{at}.{name} has no description");
            walk(property, &format!("{at}.{name}"));
        }
        for inner in ["items", "additionalProperties"].into_iter().filter_map(|keyword| schema.get(keyword)) {
            walk(inner, &format!("{at}[]"));
        }
    }
    for kind in kinds() {
        walk(&kind.schema, kind.kind);
    }
}

#[test]
fn columns_and_selectable_fields_name_fields_that_exist() {
    fn exists(schema: &Value, at: &str) -> bool {
        let plain = ["[0]", r#"[?(@.type=="Ready")]"#, r#"[?(@.type=="Enforced")]"#]
            .iter()
            .fold(at.to_owned(), |at, part| at.replace(part, ""));
        let mut schema = schema;
        for step in plain.trim_start_matches('.').split('.') {
            schema = schema["properties"]
                .get(step)
                .or_else(|| schema["items"]["properties"].get(step))
                .unwrap_or(&Value::Null);
        }
        schema.is_object()
    }
    for kind in kinds() {
        for column in &kind.columns {
            if let Cell::Path(at) | Cell::Since(at) | Cell::Until(at) = column.cell {
                assert!(exists(&kind.schema, at), "{} {at}", kind.kind);
            }
        }
        for field in kind.selectable_fields {
            assert!(exists(&kind.schema, field), "{} {field}", kind.kind);
        }
    }
    assert!(path::get(&full("remotemachines"), ".status.phase").is_some());
}
