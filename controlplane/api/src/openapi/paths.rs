//! Paths and operations of a kind.

use serde_json::{Map, Value, json};

use super::{META, SCALE, reference, root, schema_name, version_kind};
use crate::kind::Kind;

/// Adds the paths of a kind.
pub(super) fn add(kind: &Kind, paths: &mut Map<String, Value>) {
    let root = format!("/{}", root(kind.group, kind.version));
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let all = format!("{root}{scope}/{}", kind.plural);
    let one = format!("{all}/{{name}}");
    let mut collection = json!({"get": list(kind, kind.namespaced), "parameters": parameters(kind, false)});
    let mut item =
        json!({"get": operation(kind, "get", "read", "", &["pretty"]), "parameters": parameters(kind, true)});
    if !kind.read_only {
        collection["post"] = write(kind, "post", "create", "");
        collection["delete"] = delete(kind, true);
        item["put"] = write(kind, "put", "replace", "");
        item["patch"] = patch(kind, "");
        item["delete"] = delete(kind, false);
    }
    paths.insert(all, collection);
    paths.insert(one.clone(), item);
    if kind.has_status {
        let status = json!({
            "get": operation(kind, "get", "read", "Status", &["pretty"]),
            "put": write(kind, "put", "replace", "Status"),
            "patch": patch(kind, "Status"),
            "parameters": parameters(kind, true),
        });
        paths.insert(format!("{one}/status"), status);
    }
    if kind.subresources.iter().any(|part| part.name == "scale") {
        paths.insert(format!("{one}/scale"), scale(kind));
    }
    if kind.namespaced {
        paths.insert(format!("{root}/{}", kind.plural), json!({"get": list(kind, false)}));
    }
}

/// The subresource `scale`, which speaks of a kind of its own.
fn scale(kind: &Kind) -> Value {
    let mut path = json!({
        "get": operation(kind, "get", "read", "Scale", &["pretty"]),
        "put": write(kind, "put", "replace", "Scale"),
        "patch": patch(kind, "Scale"),
    });
    let schema = reference(SCALE);
    for method in ["get", "put", "patch"] {
        path[method]["responses"]["200"] = answer(SCALE);
        path[method]["x-kubernetes-group-version-kind"] =
            json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    }
    path["put"]["requestBody"]["content"]["application/json"]["schema"] = schema;
    path["parameters"] = parameters(kind, true);
    path
}

fn parameter(name: &str) -> Value {
    let (schema, description) = match name {
        "limit" | "timeoutSeconds" => ("integer", "A bound on the answer."),
        "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "force" => ("boolean", "Turns it on."),
        "dryRun" => ("string", "All: everything is checked, nothing is stored."),
        "fieldManager" => ("string", "Who writes."),
        "fieldValidation" => (
            "string",
            "What to do with unknown and duplicate fields: Strict refuses, Warn drops and warns, Ignore drops.",
        ),
        "labelSelector" => ("string", "Only objects with such labels."),
        "fieldSelector" => ("string", "Only objects with such fields."),
        "resourceVersion" | "resourceVersionMatch" => ("string", "How fresh the answer must be."),
        "propagationPolicy" => ("string", "Background, Foreground or Orphan."),
        "continue" => ("string", "Where the answer before ended."),
        _ => ("string", "Accepted and not used."),
    };
    json!({"name": name, "in": "query", "description": description, "schema": {"type": schema, "uniqueItems": true}})
}

fn parameters(kind: &Kind, one: bool) -> Value {
    let in_path = |name: &str, description: &str| json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string", "uniqueItems": true}});
    let name = one.then(|| in_path("name", "Name of the object."));
    let namespace = kind.namespaced.then(|| in_path("namespace", "Namespace of the object."));
    name.into_iter().chain(namespace).collect()
}

fn operation(kind: &Kind, method: &str, verb: &str, part: &str, query: &[&str]) -> Value {
    let action = if method == "get" || method == "delete" || method == "patch" { method } else { verb };
    json!({
        "operationId": format!("{verb}{}{}{part}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind),
        "description": format!("{verb} {}{} of kind {}", if part.is_empty() { "" } else { "the status of " }, "an object", kind.kind),
        "tags": [format!("{}_{}", if kind.group.is_empty() { "core" } else { kind.group }, kind.version)],
        "parameters": query.iter().map(|name| parameter(name)).collect::<Vec<_>>(),
        "responses": {"200": answer(&schema_name(kind)), "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": version_kind(kind, kind.kind),
    })
}

fn answer(schema: &str) -> Value {
    json!({"description": "OK", "content": {"application/json": {"schema": reference(schema)}}})
}

fn list(kind: &Kind, in_namespace: bool) -> Value {
    let query = [
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
    ];
    let mut list = operation(kind, "get", "list", "", if kind.watchable() { &query } else { &query[1..7] });
    list["x-kubernetes-action"] = "list".into();
    list["description"] = format!("list objects of kind {}", kind.kind).into();
    list["responses"]["200"] = answer(&format!("{}List", schema_name(kind)));
    if kind.namespaced && !in_namespace {
        list["operationId"] = format!("list{}ForAllNamespaces", kind.kind).into();
    }
    list
}

fn write(kind: &Kind, method: &str, verb: &str, part: &str) -> Value {
    let mut write = operation(kind, method, verb, part, &["dryRun", "fieldManager", "fieldValidation"]);
    write["x-kubernetes-action"] = method.into();
    write["requestBody"] =
        json!({"required": true, "content": {"application/json": {"schema": reference(&schema_name(kind))}}});
    if method == "post" {
        write["responses"]["201"] = answer(&schema_name(kind));
    }
    write
}

fn patch(kind: &Kind, part: &str) -> Value {
    let mut patch = operation(kind, "patch", "patch", part, &["dryRun", "fieldManager", "fieldValidation", "force"]);
    let schema = json!({"schema": reference(&format!("{META}.Patch"))});
    let types = kind.patch_types().into_iter();
    let content: Map<String, Value> = types.map(|media| (media.to_owned(), schema.clone())).collect();
    patch["requestBody"] = json!({"required": true, "content": content});
    if part.is_empty() {
        // What is applied and is not there is made.
        patch["responses"]["201"] = answer(&schema_name(kind));
    }
    patch
}

fn delete(kind: &Kind, collection: bool) -> Value {
    let mut delete = operation(kind, "delete", "delete", "", &["dryRun", "propagationPolicy"]);
    delete["requestBody"] =
        json!({"content": {"application/json": {"schema": reference(&format!("{META}.DeleteOptions"))}}});
    let status = format!("{META}.Status");
    delete["responses"]["200"] = answer(&status);
    if !collection {
        // What finalizers keep is answered as it is.
        delete["responses"]["200"]["content"]["application/json"]["schema"] =
            json!({"anyOf": [reference(&status), reference(&schema_name(kind))]});
    } else {
        delete["operationId"] =
            format!("deleteCollection{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind).into();
        delete["x-kubernetes-action"] = "deletecollection".into();
        delete["description"] = format!("delete objects of kind {}", kind.kind).into();
        let selectors = ["fieldSelector", "labelSelector"].map(parameter);
        if let Some(parameters) = delete["parameters"].as_array_mut() {
            parameters.extend(selectors);
        }
    }
    delete
}
