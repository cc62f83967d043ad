//! Roles and who has them (rbac.authorization.k8s.io/v1), and what they allow.
//!
//! Owns the types of the four kinds, the roles every installation has, and the decision. Leaves to the server where the objects come from and what is
//! made of a refusal. Invariant: what no rule allows is denied; [`MASTERS`] alone need no rule.

pub mod builtin;
pub mod policy;
pub mod rule;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use policy::{Change, Decision, Policy, Rules, may_grant};
pub use rule::{Action, Target, User};

/// API group of the four kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// Group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// Group of every caller with a token.
pub const AUTHENTICATED: &str = "system:authenticated";

/// Role: what may be done in its namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Role {
    /// What it allows; no rule forbids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyRule>,
}

/// ClusterRole: what may be done everywhere, or in the namespace it is bound in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRole {
    /// What it allows; no rule forbids. Of a role that takes up others they do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyRule>,
    /// It allows what other ClusterRoles with such labels do, and those that they take up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation_rule: Option<AggregationRule>,
}

/// RoleBinding and ClusterRoleBinding: who has a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Users, groups and service accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// The role; cannot be changed: delete the binding and make another.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub role_ref: RoleRef,
}

/// Something that is allowed: verbs on resources, or on paths that are no resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// What may be done, such as `get`; `*`: everything.
    pub verbs: Vec<String>,
    /// API groups of the resources; empty text: core; `*`: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Plurals, also with a subresource: `deviceleases/token`; `*`: all; `*/scale`: that subresource of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only objects of these names; none: all. What has no name yet (create, list without a selector for one name) is then not allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources, such as `/metrics`; a `*` at the end stands for all that begin so.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

/// Which ClusterRoles another one takes up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregationRule {
    /// One of these must select it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_role_selectors: Vec<Selector>,
}

/// Requirements on labels; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// More requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// For In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Who has a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// User, Group or ServiceAccount.
    pub kind: String,
    /// rbac.authorization.k8s.io for users and groups, nothing for service accounts; filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Its name.
    pub name: String,
    /// Of a service account; in a RoleBinding that of the binding, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Which role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRef {
    /// rbac.authorization.k8s.io.
    #[serde(default = "group")]
    pub api_group: String,
    /// Role or ClusterRole.
    pub kind: String,
    /// Its name.
    pub name: String,
}

fn group() -> String {
    GROUP.to_owned()
}

impl Selector {
    /// Whether these labels fulfil it. One without requirements selects everything.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let there = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        there && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// Fills in the API groups of subjects, which depend on their kinds.
pub(crate) fn complete(object: &mut serde_json::Value) -> bool {
    let mut completed = false;
    for subject in object.get_mut("subjects").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        let absent = subject["apiGroup"].as_str().is_none_or(str::is_empty);
        let named = matches!(subject["kind"].as_str(), Some("User" | "Group"));
        if let Some(fields) = subject.as_object_mut().filter(|_| absent) {
            if named {
                fields.insert("apiGroup".to_owned(), GROUP.into());
                completed = true;
            } else if fields.get("apiGroup").is_some_and(|group| group == "") {
                fields.remove("apiGroup");
                completed = true;
            }
        }
    }
    completed
}
