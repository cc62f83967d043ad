//! Roles and bindings, as `kubectl create role` and its like send them.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};
use serde_json::{Value, json};

use super::metadata::{ObjectMeta, metadata};
use super::present;

#[derive(Clone, PartialEq, Message)]
struct Role {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<Rule>,
    /// Of a ClusterRole.
    #[prost(message, optional, tag = "3")]
    aggregation: Option<Aggregation>,
}

#[derive(Clone, PartialEq, Message)]
struct Rule {
    #[prost(string, repeated, tag = "1")]
    verbs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    api_groups: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    resources: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    non_resource_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Aggregation {
    #[prost(message, repeated, tag = "1")]
    selectors: Vec<Selector>,
}

#[derive(Clone, PartialEq, Message)]
struct Selector {
    #[prost(btree_map = "string, string", tag = "1")]
    labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    expressions: Vec<Expression>,
}

#[derive(Clone, PartialEq, Message)]
struct Expression {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Binding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<Subject>,
    #[prost(message, optional, tag = "3")]
    role: Option<Reference>,
}

#[derive(Clone, PartialEq, Message)]
struct Subject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

fn lists<const N: usize>(fields: [(&str, Vec<String>); N]) -> Value {
    let there = fields.into_iter().filter(|(_, list)| !list.is_empty());
    Value::Object(there.map(|(name, list)| (name.to_owned(), json!(list))).collect())
}

/// A Role or ClusterRole.
pub(super) fn role(raw: &[u8]) -> Result<Value, DecodeError> {
    let role = Role::decode(raw)?;
    let rules = role.rules.into_iter().map(|rule| {
        lists([
            ("verbs", rule.verbs),
            ("apiGroups", rule.api_groups),
            ("resources", rule.resources),
            ("resourceNames", rule.resource_names),
            ("nonResourceURLs", rule.non_resource_urls),
        ])
    });
    let mut object = json!({"metadata": metadata(role.metadata), "rules": rules.collect::<Vec<_>>()});
    if let Some(aggregation) = role.aggregation {
        let selectors: Vec<Value> = aggregation.selectors.into_iter().map(selector).collect();
        object["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
    }
    Ok(object)
}

fn selector(selector: Selector) -> Value {
    let expressions = selector
        .expressions
        .into_iter()
        .map(|expression| json!({"key": expression.key, "operator": expression.operator, "values": expression.values}));
    json!({"matchLabels": selector.labels, "matchExpressions": expressions.collect::<Vec<_>>()})
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn binding(raw: &[u8]) -> Result<Value, DecodeError> {
    let binding = Binding::decode(raw)?;
    let subjects = binding.subjects.into_iter().map(|subject| {
        present([
            ("kind", subject.kind),
            ("apiGroup", subject.group),
            ("name", subject.name),
            ("namespace", subject.namespace),
        ])
    });
    let role = binding.role.unwrap_or_default();
    Ok(json!({
        "metadata": metadata(binding.metadata), "subjects": subjects.collect::<Vec<_>>(),
        "roleRef": present([("apiGroup", role.group), ("kind", role.kind), ("name", role.name)]),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_and_a_binding_say_in_protobuf_what_they_say_in_json() {
        let named = || Some(ObjectMeta { name: "x".into(), ..ObjectMeta::default() });
        let rule = Rule {
            verbs: vec!["get".into()],
            resources: vec!["events".into()],
            api_groups: vec![String::new()],
            ..Rule::default()
        };
        let sent = Role { metadata: named(), rules: vec![rule], aggregation: None };
        let read = role(&sent.encode_to_vec()).unwrap();
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["events"]}]);
        assert_eq!(read, json!({"metadata": {"name": "x"}, "rules": rules}));
        let reference = Reference { group: "g".into(), kind: "ClusterRole".into(), name: "user".into() };
        let subject = Subject {
            kind: "ServiceAccount".into(),
            name: "bot".into(),
            namespace: "team".into(),
            ..Subject::default()
        };
        let sent = Binding { metadata: named(), subjects: vec![subject], role: Some(reference) };
        let read = binding(&sent.encode_to_vec()).unwrap();
        assert_eq!(read["subjects"], json!([{"kind": "ServiceAccount", "name": "bot", "namespace": "team"}]));
        assert_eq!(read["roleRef"], json!({"apiGroup": "g", "kind": "ClusterRole", "name": "user"}));
    }
}
