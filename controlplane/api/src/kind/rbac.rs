//! Kinds of rbac.authorization.k8s.io/v1.

use serde_json::Value;

use super::Kind;
use crate::{
    column::{Cell, Column},
    rbac::{Binding, ClusterRole, GROUP, Role},
    schema::{object_schema, structural},
    validate::{self, Rule},
};

pub(super) fn kinds() -> Vec<Kind> {
    let role = "What may be done in a namespace.";
    let cluster_role = "What may be done everywhere, or in the namespaces it is bound in.";
    let binding = "Who has a role in a namespace.";
    let cluster_binding = "Who has a ClusterRole everywhere.";
    vec![
        kind("Role", "roles", schema(role, &structural::<Role>()), role_columns(), validate::role),
        kind(
            "ClusterRole",
            "clusterroles",
            schema(cluster_role, &structural::<ClusterRole>()),
            role_columns(),
            validate::cluster_role,
        ),
        kind(
            "RoleBinding",
            "rolebindings",
            schema(binding, &structural::<Binding>()),
            binding_columns(),
            validate::role_binding,
        ),
        kind(
            "ClusterRoleBinding",
            "clusterrolebindings",
            schema(cluster_binding, &structural::<Binding>()),
            binding_columns(),
            validate::cluster_role_binding,
        ),
    ]
}

fn kind(name: &'static str, plural: &'static str, schema: Value, columns: Vec<Column>, rule: Rule) -> Kind {
    Kind {
        group: GROUP,
        version: "v1",
        kind: name,
        plural,
        singular: &plural[..plural.len() - 1],
        short_names: &[],
        categories: &[],
        namespaced: !name.starts_with("Cluster"),
        read_only: false,
        served: true,
        has_status: false,
        subresources: &[],
        selectable_fields: &[],
        columns,
        schema,
        rule,
    }
}

/// Of an object whose fields lie beside its metadata.
fn schema(description: &str, own: &Value) -> Value {
    let mut schema = object_schema(description, Vec::new());
    if let (Some(all), Some(own)) = (schema["properties"].as_object_mut(), own["properties"].as_object()) {
        all.extend(own.clone());
    }
    if let Some(required) = own.get("required") {
        schema["required"] = required.clone();
    }
    schema
}

fn role_columns() -> Vec<Column> {
    let made = Column::text("Created At", "When it was made.", ".metadata.creationTimestamp");
    vec![Column::name(), Column { column_type: "date", ..made }]
}

fn binding_columns() -> Vec<Column> {
    let role = |binding: &Value| {
        let part = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", part("kind"), part("name"))
    };
    vec![
        Column::name(),
        Column::text("Role", "Kind and name of the role.", "").of(Cell::Made(role)),
        Column::age(),
        Column::text("Users", "Users who have it.", "").of(Cell::Made(|binding| subjects(binding, "User"))).wide(),
        Column::text("Groups", "Groups that have it.", "").of(Cell::Made(|binding| subjects(binding, "Group"))).wide(),
        Column::text("ServiceAccounts", "Service accounts that have it.", "")
            .of(Cell::Made(|binding| subjects(binding, "ServiceAccount")))
            .wide(),
    ]
}

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = binding["subjects"].as_array().into_iter().flatten().filter(|subject| subject["kind"] == kind);
    let text = |subject: &Value, field: &str| subject[field].as_str().unwrap_or_default().to_owned();
    let names = of_kind.map(|subject| match kind {
        "ServiceAccount" => format!("{}/{}", text(subject, "namespace"), text(subject, "name")),
        _ => text(subject, "name"),
    });
    names.collect::<Vec<_>>().join(", ")
}
