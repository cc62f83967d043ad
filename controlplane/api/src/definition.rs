//! CustomResourceDefinition, as the server shows its own kinds to tools that find kinds by it. Read-only: the kinds are those of the program.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::column::{Cell, Column};
use crate::kind::{Kind, kinds};
use crate::object::GROUP;

/// The definitions of the group's served kinds, by name. `since`: when the installation was made; `version`: a resourceVersion it had by then.
pub fn definitions(since: &str, version: &str) -> Vec<Value> {
    let own = kinds().iter().filter(|kind| kind.served && kind.group == GROUP);
    let mut all: Vec<Value> = own.map(|kind| definition(kind, since, version)).collect();
    all.sort_by(|a, b| a["metadata"]["name"].as_str().cmp(&b["metadata"]["name"].as_str()));
    all
}

fn definition(kind: &Kind, since: &str, version: &str) -> Value {
    let names = names(kind);
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.resource(), "uid": uid(&kind.resource()), "resourceVersion": version, "generation": 1, "creationTimestamp": since,
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "conversion": {"strategy": "None"},
            "versions": [served(kind)],
        },
        "status": {
            "acceptedNames": names,
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
            "storedVersions": [kind.version],
        },
    })
}

fn names(kind: &Kind) -> Value {
    let mut names =
        json!({"plural": kind.plural, "singular": kind.singular, "kind": kind.kind, "listKind": kind.list_kind()});
    for (field, list) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !list.is_empty() {
            names[field] = json!(list);
        }
    }
    names
}

fn served(kind: &Kind) -> Value {
    let mut schema = kind.schema.clone();
    structural(&mut schema);
    schema["properties"]["metadata"] = json!({"type": "object"});
    let mut version = json!({
        "name": kind.version, "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": kind.columns.iter().skip(1).filter_map(column).collect::<Vec<_>>(),
    });
    let mut parts = Map::new();
    if kind.has_status {
        parts.insert("status".to_owned(), json!({}));
    }
    if kind.subresources.iter().any(|part| part.name == "scale") {
        let paths = json!({"specReplicasPath": ".spec.replicas.min", "statusReplicasPath": ".status.replicas"});
        parts.insert("scale".to_owned(), paths);
    }
    if !parts.is_empty() {
        version["subresources"] = parts.into();
    }
    if !kind.selectable_fields.is_empty() {
        let fields = kind.selectable_fields.iter().map(|field| json!({"jsonPath": format!(".{field}")}));
        version["selectableFields"] = fields.collect();
    }
    version
}

/// Columns that are made from several fields have no path, so they are left out.
fn column(column: &Column) -> Option<Value> {
    let (path, kind) = match column.cell {
        Cell::Path(path) => (path, column.column_type),
        Cell::Since(path) | Cell::Until(path) => (path, "date"),
        Cell::Made(_) => return None,
    };
    let mut shown = json!({"name": column.name, "type": kind, "jsonPath": path, "description": column.description});
    if column.priority > 0 {
        shown["priority"] = column.priority.into();
    }
    Some(shown)
}

/// Takes out what Kubernetes' own schemas do not have.
fn structural(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|keyword, _| !keyword.starts_with("x-torchremote"));
            object.values_mut().for_each(structural);
        }
        Value::Array(list) => list.iter_mut().for_each(structural),
        _ => {}
    }
}

/// The same in every installation and release.
fn uid(name: &str) -> String {
    let digest = Sha256::digest(name);
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-5{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_served_kind_of_the_group_has_a_definition_that_names_it() {
        let all = definitions("2026-01-01T00:00:00Z", "3");
        let names: Vec<&str> = all.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
        assert!(names.contains(&"remotemachines.torchremote.dev") && names.contains(&"machinepools.torchremote.dev"));
        for one in &all {
            assert!(
                one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"]["type"] == "object"
            );
            assert_eq!(one["metadata"]["uid"].as_str().map(str::len), Some(36));
            assert!(!one.to_string().contains("x-torchremote"));
        }
        let pool = all.iter().find(|one| one["spec"]["names"]["kind"] == "MachinePool").expect("pools are served");
        let version = &pool["spec"]["versions"][0];
        assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.replicas.min");
        assert_eq!(version["additionalPrinterColumns"][0]["jsonPath"], ".spec.replicas.min", "{version}");
    }
}
