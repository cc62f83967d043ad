//! Kinds of rbac.authorization.k8s.io/v1.

use serde_json::Value;

use super::Kind;
use crate::{
    column::{Cell, Column},
    rbac::{Binding, ClusterRole, GROUP, Role},
    schema::flat_schema,
    validate,
};

pub(super) fn kinds() -> Vec<Kind> {
    let base = |kind, plural| Kind::base(GROUP, "v1", kind, plural);
    vec![
        Kind {
            columns: role_columns(),
            schema: flat_schema::<Role>("What may be done in a namespace."),
            rule: validate::role,
            ..base("Role", "roles")
        },
        Kind {
            namespaced: false,
            columns: role_columns(),
            schema: flat_schema::<ClusterRole>("What may be done everywhere, or in the namespaces it is bound in."),
            rule: validate::cluster_role,
            ..base("ClusterRole", "clusterroles")
        },
        Kind {
            columns: binding_columns(),
            schema: flat_schema::<Binding>("Who has a role in a namespace."),
            rule: validate::role_binding,
            ..base("RoleBinding", "rolebindings")
        },
        Kind {
            namespaced: false,
            columns: binding_columns(),
            schema: flat_schema::<Binding>("Who has a ClusterRole everywhere."),
            rule: validate::cluster_role_binding,
            ..base("ClusterRoleBinding", "clusterrolebindings")
        },
    ]
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
