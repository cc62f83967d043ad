//! Server-side apply and who owns which field, over HTTP.

use crate::harness::Api;
use crate::sample::{MACHINES, created, machine};
use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

const APPLY: [(&str, &str); 1] = [("content-type", "application/apply-patch+yaml")];
const M1: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/remotemachines/m1";

/// Applies as `who`; `more` are further parameters.
async fn apply(api: &Api, uri: &str, who: &str, more: &str, body: &Value) -> (StatusCode, Value) {
    let (code, _, body) = api.ask("PATCH", &format!("{uri}?fieldManager={who}{more}"), &APPLY, body.to_string()).await;
    (code, body)
}

async fn applied(api: &Api, who: &str, body: &Value) -> Value {
    let (code, object) = apply(api, M1, who, "", body).await;
    assert!(code.is_success(), "{object}");
    object
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = machine("m1");
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body
}

/// `(name, operation, subresource)` of each owner.
fn owners(object: &Value) -> Vec<(&str, &str, &str)> {
    let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let of = |field: &str| entry[field].as_str().unwrap_or_default();
            (of("manager"), of("operation"), of("subresource"))
        })
        .collect()
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test]
async fn an_apply_makes_an_object_and_again_changes_nothing() {
    let api = Api::start().await;
    let (code, object) = apply(&api, M1, "flux", "", &machine("m1")).await;
    assert_eq!(code, StatusCode::CREATED, "{object}");
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(owners(&object), [("flux", "Apply", "")]);
    assert_eq!(entry["apiVersion"], "torchremote.dev/v1alpha1");
    assert!(entry["time"].as_str().unwrap().ends_with('Z'));
    let spec = json!({"f:gpu": {"f:count": {}, "f:type": {}}, "f:provider": {}});
    assert_eq!(entry["fieldsV1"], json!({"f:spec": spec}), "neither defaults nor the server's finalizer are owned");
    assert_eq!(object["metadata"]["finalizers"], json!(["torchremote.dev/machine"]));
    let mut events =
        api.watch(&format!("{MACHINES}?watch=1&resourceVersion={}", version(&object)), "application/json").await;
    for _ in 0..3 {
        let (code, again) = apply(&api, M1, "flux", "", &machine("m1")).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(again, object);
    }
    let changed = applied(&api, "flux", &with("/spec/timeout", json!("3h"))).await;
    assert_eq!(changed["metadata"]["generation"], 2);
    let event = events.next().await.unwrap();
    assert_eq!(event["object"], changed, "the first thing a watcher hears of");
}

#[tokio::test]
async fn yaml_is_applied_too() {
    let api = Api::start().await;
    let text = "apiVersion: torchremote.dev/v1alpha1\nkind: RemoteMachine\nmetadata: {creationTimestamp: null}\nspec: {provider: local, gpu: {type: CPU}}\n";
    let (code, _, object) = api.ask("PATCH", &format!("{M1}?fieldManager=me"), &APPLY, text).await;
    assert_eq!((code, &object["metadata"]["name"]), (StatusCode::CREATED, &json!("m1")), "{object}");
}

#[tokio::test]
async fn a_conflict_names_each_owner_and_field_and_force_takes_them() {
    let api = Api::start().await;
    applied(&api, "bob", &with("/spec/timeout", json!("3h"))).await;
    let (code, status) = apply(&api, M1, "ann", "", &with("/spec/timeout", json!("4h"))).await;
    assert_eq!((code, &status["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
    assert_eq!(status["message"], r#"Apply failed with 1 conflict: conflict with "bob": .spec.timeout"#);
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"bob\"", "field": ".spec.timeout"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    let (code, _) = api.send("PATCH", &format!("{M1}?fieldManager=edit"), json!({"spec": {"idleTimeout": "7m"}})).await;
    assert_eq!(code, StatusCode::OK);
    let mut config = with("/spec/timeout", json!("4h"));
    config["spec"]["idleTimeout"] = json!("8m");
    let (_, status) = apply(&api, M1, "ann", "", &config).await;
    let says = "Apply failed with 2 conflicts: conflicts with \"bob\":\n- .spec.timeout\nconflicts with \"edit\" using torchremote.dev/v1alpha1:\n- .spec.idleTimeout";
    assert_eq!(status["message"], says);
    let (code, object) = apply(&api, M1, "ann", "&force=true", &config).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!((&object["spec"]["timeout"], &object["spec"]["idleTimeout"]), (&json!("4h"), &json!("8m")));
    // The elder entry comes first, by whole seconds.
    let mut held = owners(&object);
    held.sort_unstable();
    assert_eq!(held, [("ann", "Apply", ""), ("bob", "Apply", "")], "bob still shares the rest");
}

#[tokio::test]
async fn what_is_no_longer_applied_goes_and_what_the_server_added_stays() {
    let api = Api::start().await;
    let mut config = with("/spec/timeout", json!("3h"));
    config["metadata"]["labels"] = json!({"a": "1"});
    config["metadata"]["finalizers"] = json!(["example.com/mine"]);
    config["spec"]["env"] = json!([{"name": "A", "value": "1"}]);
    applied(&api, "ann", &config).await;
    let mut other =
        json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"labels": {"b": "2"}}});
    other["spec"] = json!({"env": [{"name": "B", "value": "2"}]});
    let both = applied(&api, "bob", &other).await;
    assert_eq!(both["metadata"]["finalizers"], json!(["example.com/mine", "torchremote.dev/machine"]));
    let object = applied(&api, "ann", &machine("m1")).await;
    assert_eq!(object["metadata"]["labels"], json!({"b": "2"}));
    assert_eq!(object["metadata"]["finalizers"], json!(["torchremote.dev/machine"]));
    assert_eq!(object["spec"]["env"], json!([{"name": "B", "value": "2"}]));
    assert_ne!(object["spec"]["timeout"], "3h", "the default is back");
}

#[tokio::test]
async fn other_writes_take_what_they_change() {
    let api = Api::start().await;
    let agent = [("content-type", "application/json"), ("user-agent", "curl/8.5 (linux)")];
    let (_, _, object) = api.ask("POST", MACHINES, &agent, with("/spec/timeout", json!("3h")).to_string()).await;
    assert_eq!(owners(&object), [("curl", "Update", "")]);
    let merge = [("content-type", "application/merge-patch+json"), ("user-agent", "curl/8.5 (linux)")];
    let change = json!({"metadata": {"labels": {"a": "1"}}}).to_string();
    let (_, _, object) = api.ask("PATCH", &format!("{M1}?fieldManager=label"), &merge, change).await;
    assert_eq!(owners(&object), [("curl", "Update", ""), ("label", "Update", "")]);
    let mut whole = object.clone();
    whole["spec"]["timeout"] = json!("5h");
    whole["metadata"].as_object_mut().unwrap().remove("managedFields");
    let (code, object) = api.send("PUT", &format!("{M1}?fieldManager=put"), whole).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(owners(&object).len(), 3, "to leave the owners out is to keep them");
    let (_, object) =
        api.send("PATCH", &format!("{M1}/status?fieldManager=s"), json!({"status": {"phase": "Ready"}})).await;
    assert!(owners(&object).contains(&("s", "Update", "status")), "{object}");
    let (_, status) = apply(&api, M1, "ann", "", &with("/spec/timeout", json!("9h"))).await;
    let says = r#"Apply failed with 1 conflict: conflict with "put" using torchremote.dev/v1alpha1: .spec.timeout"#;
    assert_eq!(status["message"], says);
}

#[tokio::test]
async fn owners_can_be_reset_and_replaced() {
    let api = Api::start().await;
    let object = applied(&api, "ann", &machine("m1")).await;
    for nobody in [json!([]), json!([{}])] {
        let (_, object) = api.send("PATCH", M1, json!({"metadata": {"managedFields": nobody}})).await;
        assert_eq!(object["metadata"]["managedFields"], Value::Null);
    }
    let (code, status) = apply(&api, M1, "bob", "", &with("/spec/gpu/count", json!(2))).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(status["message"].as_str().unwrap().contains(r#"conflict with "before-first-apply" using"#), "{status}");
    let entry = |who: &str| {
        let mut entry = object["metadata"]["managedFields"][0].clone();
        entry["manager"] = json!(who);
        entry
    };
    let operations = json!([{"op": "add", "path": "/metadata/managedFields", "value": [entry("carl")]}]);
    let json = [("content-type", "application/json-patch+json")];
    let (code, _, object) = api.ask("PATCH", M1, &json, operations.to_string()).await;
    assert_eq!((code, owners(&object)), (StatusCode::OK, vec![("carl", "Apply", "")]));
    let wrong = json!({"metadata": {"managedFields": [{"manager": "x"}]}});
    let (_, kept) = api.send("PATCH", M1, wrong).await;
    assert_eq!(kept, object, "what cannot be understood changes nothing");
    let (_, kept) = api.send("PATCH", &format!("{M1}/status"), json!({"metadata": {"managedFields": []}})).await;
    assert_eq!(kept, object, "nor does what comes through a subresource");
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_write() {
    let api = Api::start().await;
    let object = created(&api, MACHINES, machine("m1")).await;
    let mut events =
        api.watch(&format!("{MACHINES}?watch=1&resourceVersion={}", version(&object)), "application/json").await;
    let json = [("content-type", "application/json-patch+json")];
    let replace = r#"[{"op":"replace","path":"/spec/provider","value":"local"}]"#;
    let (_, _, after) = api.ask("PATCH", &format!("{M1}?fieldManager=other"), &json, replace).await;
    assert_eq!(after, object);
    let (_, after) =
        api.send("PATCH", M1, json!({"metadata": {"annotations": {}, "labels": {}, "ownerReferences": []}})).await;
    assert_eq!(after, object);
    let (_, after) = api.send("PATCH", M1, json!({"spec": {"provider": "local", "gpu": {"count": 1.0}}})).await;
    assert_eq!(after, object);
    let (_, after) = api.send("PUT", M1, object.clone()).await;
    assert_eq!(after, object);
    let (_, after) = api.send("PATCH", &format!("{M1}/status"), json!({"spec": {"provider": "x"}})).await;
    assert_eq!(after, object);
    // One who shares all of it is written down once.
    let shared = applied(&api, "ann", &machine("m1")).await;
    assert_eq!(owners(&shared).len(), 2);
    assert_eq!(applied(&api, "ann", &machine("m1")).await, shared);
    assert_eq!(events.next().await.unwrap()["object"], shared, "the first thing a watcher hears of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_and_applies_without_a_version_all_succeed_however_many_come_at_once() {
    let api = Api::start().await;
    let label = |number: usize| json!({"metadata": {"labels": {format!("l{number}"): "x"}}});
    let applies = (0..20).map(|number| {
        let mut config = machine("m1");
        config["metadata"]["labels"] = label(number)["metadata"]["labels"].clone();
        let api = &api;
        async move { apply(api, M1, &format!("a{number}"), "", &config).await }
    });
    let answers = join_all(applies).await;
    assert_eq!(answers.iter().filter(|(code, _)| *code == StatusCode::CREATED).count(), 1);
    assert!(answers.iter().all(|(code, _)| code.is_success()), "{answers:?}");
    let patches = (20..40).map(|number| {
        let (api, change) = (&api, label(number));
        async move { api.send("PATCH", &format!("{M1}?fieldManager=p{number}"), change).await }
    });
    let answers = join_all(patches).await;
    assert!(answers.iter().all(|(code, _)| *code == StatusCode::OK), "{answers:?}");
    let (_, object) = api.get(M1).await;
    assert_eq!(object["metadata"]["labels"].as_object().unwrap().len(), 40);
    let updaters = owners(&object).into_iter().filter(|(_, operation, _)| *operation == "Update").collect::<Vec<_>>();
    assert_eq!((updaters.len(), updaters.contains(&("ancient-changes", "Update", ""))), (10, true), "{updaters:?}");
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused_with_kubernetes_words() {
    let api = Api::start().await;
    let mut typed = machine("m1");
    typed["spec"]["colour"] = json!("red");
    let strict = r#"failed to create typed patch object (default/m1; torchremote.dev/v1alpha1, Kind=RemoteMachine): .spec.colour: field not declared in schema"#;
    let uid = "uid mismatch: the provided object specified uid u, and no existing object was found";
    let required =
        r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#;
    let long = format!("?fieldManager={}", "x".repeat(129));
    let rows = [
        ("", machine("m1"), 422, "Invalid", required),
        (long.as_str(), machine("m1"), 422, "Invalid", "fieldManager: Too long: may not be more than 128 bytes"),
        ("?fieldManager=a%07", machine("m1"), 422, "Invalid", "invalid character U+0007 (at position 1)"),
        (
            "?fieldManager=a",
            with("/metadata/managedFields", json!([])),
            400,
            "BadRequest",
            "metadata.managedFields must be nil",
        ),
        ("?fieldManager=a", with("/metadata/uid", json!("u")), 409, "Conflict", uid),
        (
            "?fieldManager=a",
            with("/metadata/resourceVersion", json!("5")),
            400,
            "BadRequest",
            "resourceVersion should not be set",
        ),
        (
            "?fieldManager=a",
            with("/metadata/generateName", json!("m-")),
            422,
            "Invalid",
            "metadata.generateName: Forbidden",
        ),
        (
            "?fieldManager=a",
            machine("m2"),
            400,
            "BadRequest",
            "the name of the object (m2) does not match the name on the URL (m1)",
        ),
        (
            "?fieldManager=a",
            with("/kind", json!("Pod")),
            400,
            "BadRequest",
            "the kind in the data (Pod) does not match",
        ),
        ("?fieldManager=a&fieldValidation=Strict", typed.clone(), 400, "BadRequest", strict),
        ("?fieldManager=a", with("/spec/gpu/type", json!("A1000")), 422, "Invalid", "spec.gpu.type: Unsupported value"),
        (
            "?fieldManager=a",
            with("/spec/env", json!([{"name": "A"}, {"name": "A"}])),
            422,
            "Invalid",
            "Duplicate value",
        ),
        ("/status?fieldManager=a", machine("m1"), 404, "NotFound", r#"remotemachines.torchremote.dev "m1" not found"#),
        ("?fieldManager=a", json!([]), 400, "BadRequest", "the body must be an object"),
    ];
    for (query, body, code, reason, words) in rows {
        let (got, _, status) = api.ask("PATCH", &format!("{M1}{query}"), &APPLY, body.to_string()).await;
        assert!(status["message"].as_str().unwrap_or_default().contains(words), "{query} {body}: {status}");
        assert_eq!((got.as_u16(), &status["reason"]), (code, &json!(reason)), "{query} {body}: {status}");
    }
    assert_eq!(api.get(M1).await.0, StatusCode::NOT_FOUND, "nothing half-done");
    let (code, headers, object) = api.ask("PATCH", &format!("{M1}?fieldManager=a"), &APPLY, typed.to_string()).await;
    assert_eq!(
        (code, &headers["warning"]),
        (StatusCode::CREATED, &r#"299 - "unknown field \"spec.colour\"""#.parse().unwrap())
    );
    assert_eq!(object["spec"]["colour"], Value::Null);
    for (pointer, value, words) in [
        ("/metadata/resourceVersion", json!("1"), "the object has been modified"),
        ("/metadata/uid", json!("other"), "Precondition failed: UID in precondition: other"),
    ] {
        let (code, status) = apply(&api, M1, "a", "", &with(pointer, value)).await;
        assert!(code == StatusCode::CONFLICT && status["message"].as_str().unwrap().contains(words), "{status}");
    }
    let (code, status) = api.send("PATCH", &format!("{M1}?force=true"), json!({})).await;
    let forbidden =
        r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#;
    assert_eq!((code, &status["message"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(forbidden)));
    let (code, status) =
        api.send("PATCH", &format!("{M1}?fieldValidation=Strict"), json!({"spec": {"colour": 1}})).await;
    let strict = r#" "" is invalid: patch: Invalid value: "{\"spec\":{\"colour\":1}}": strict decoding error: unknown field "spec.colour""#;
    assert_eq!((code, &status["message"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(strict)));
    let many = json!(vec![json!({"op": "test", "path": "/kind", "value": "x"}); 10_001]);
    let (code, _, _) = api.ask("PATCH", M1, &[("content-type", "application/json-patch+json")], many.to_string()).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_status_is_applied_through_its_own_path() {
    let api = Api::start().await;
    applied(&api, "ann", &machine("m1")).await;
    let mut config = with("/spec/provider", json!("other"));
    config["status"] = json!({"phase": "Ready"});
    let (code, object) = apply(&api, &format!("{M1}/status"), "controller", "", &config).await;
    assert_eq!(
        (code, &object["status"]["phase"], &object["spec"]["provider"]),
        (StatusCode::OK, &json!("Ready"), &json!("local"))
    );
    assert_eq!(owners(&object), [("ann", "Apply", ""), ("controller", "Apply", "status")]);
    let (_, same) = apply(&api, &format!("{M1}/status"), "controller", "", &config).await;
    assert_eq!(same, object);
    config["status"]["phase"] = json!("Failed");
    let (_, status) = apply(&api, &format!("{M1}/status"), "other", "", &config).await;
    let says = r#"Apply failed with 1 conflict: conflict with "controller" with subresource "status": .status.phase"#;
    assert_eq!(status["message"], says);
    config["spec"]["provider"] = json!("local");
    let main = applied(&api, "ann", &config).await;
    assert_eq!(main, object, "on the object's own path a status says nothing");
}

#[tokio::test]
async fn a_dry_run_of_an_apply_keeps_nothing() {
    let api = Api::start().await;
    let (code, object) = apply(&api, M1, "ann", "&dryRun=All", &machine("m1")).await;
    assert_eq!((code, owners(&object)), (StatusCode::CREATED, vec![("ann", "Apply", "")]));
    assert_eq!(api.get(M1).await.0, StatusCode::NOT_FOUND);
    let before = applied(&api, "ann", &machine("m1")).await;
    let (_, changed) = apply(&api, M1, "ann", "&dryRun=All", &with("/spec/timeout", json!("3h"))).await;
    assert_eq!(changed["spec"]["timeout"], "3h");
    assert_eq!(api.get(M1).await.1, before);
}

#[tokio::test]
async fn a_scale_is_owned_and_applied_through_its_own_path() {
    let api = Api::start().await;
    let pool = "/apis/torchremote.dev/v1alpha1/namespaces/default/machinepools/p";
    let template = json!({"spec": machine("x")["spec"]});
    let body = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "MachinePool", "metadata": {"name": "p"},
        "spec": {"template": template, "replicas": {"min": 1, "max": 5}},
    });
    let (code, object) = apply(&api, pool, "ann", "", &body).await;
    assert_eq!(code, StatusCode::CREATED, "{object}");
    let scale = |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "p"}, "spec": {"replicas": replicas}});
    let (_, status) = apply(&api, &format!("{pool}/scale"), "scaler", "", &scale(3)).await;
    assert_eq!(status["message"], r#"Apply failed with 1 conflict: conflict with "ann": .spec.replicas"#);
    let (code, scaled) = apply(&api, &format!("{pool}/scale"), "scaler", "&force=true", &scale(3)).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (StatusCode::OK, &json!(3)), "{scaled}");
    let (_, object) = api.get(pool).await;
    assert_eq!(owners(&object), [("ann", "Apply", ""), ("scaler", "Apply", "scale")]);
    let (_, again) = apply(&api, &format!("{pool}/scale"), "scaler", "", &scale(3)).await;
    assert_eq!(again, scaled);
    let (_, _) =
        api.send("PATCH", &format!("{pool}/scale?fieldManager=kubectl"), json!({"spec": {"replicas": 2}})).await;
    let (_, object) = api.get(pool).await;
    assert_eq!(owners(&object), [("ann", "Apply", ""), ("kubectl", "Update", "scale")]);
    let (_, status) = apply(&api, pool, "ann", "", &body).await;
    let says = r#"Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using torchremote.dev/v1alpha1: .spec.replicas.min"#;
    assert_eq!(status["message"], says);
}

#[tokio::test]
async fn a_secret_is_applied_in_either_notation_for_one_write() {
    let api = Api::start().await;
    let uri = "/api/v1/namespaces/default/secrets/s";
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "1"}, "data": {"b": "Mg=="}});
    let (code, object) = apply(&api, uri, "ann", "", &body).await;
    assert_eq!((code, &object["data"]), (StatusCode::CREATED, &json!({"a": "MQ==", "b": "Mg=="})), "{object}");
    assert_eq!(object["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(apply(&api, uri, "ann", "", &body).await, (StatusCode::OK, object));
}

#[tokio::test]
async fn what_is_not_yaml_is_refused_and_nothing_is_made() {
    let api = Api::start().await;
    for text in ["a: [", "{\"a\": ", "\t- a", ""] {
        let (code, _, status) = api.ask("PATCH", &format!("{M1}?fieldManager=a"), &APPLY, text).await;
        assert_eq!((code.as_u16(), &status["reason"]), (400, &json!("BadRequest")), "{text:?}: {status}");
    }
    assert_eq!(api.get(M1).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_creates_an_object_owns_all_of_it_whatever_it_says_of_others() {
    let api = Api::start().await;
    let fields = json!({"f:spec": {"f:provider": {}}});
    let entry = json!({
        "manager": "flux", "operation": "Apply", "apiVersion": "torchremote.dev/v1alpha1", "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": fields,
    });
    for (name, given) in [("a", json!([entry])), ("b", json!([{}])), ("c", json!([]))] {
        let mut body = machine(name);
        body["metadata"]["managedFields"] = given;
        let object = created(&api, &format!("{MACHINES}?fieldManager=me"), body).await;
        assert_eq!(owners(&object), [("me", "Update", "")]);
        assert_eq!(object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:provider"], json!({}));
    }
}
