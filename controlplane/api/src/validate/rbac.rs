//! Rules of roles and bindings, in Kubernetes' texts.

use serde_json::Value;

use crate::{
    field::{Cause, FieldError},
    format,
    rbac::GROUP,
    schema::check::not_supported,
};

pub(crate) fn role(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    rules(new, true)
}

pub(crate) fn cluster_role(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = rules(new, false);
    let aggregation = &new["aggregationRule"];
    if aggregation.is_null() {
        return errors;
    }
    let selectors = aggregation["clusterRoleSelectors"].as_array();
    let path = "aggregationRule.clusterRoleSelectors";
    if selectors.is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(
            path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    for (index, selector) in selectors.into_iter().flatten().enumerate() {
        check_selector(&format!("{path}[{index}]"), selector, &mut errors);
    }
    errors
}

pub(crate) fn role_binding(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    binding(new, old, true)
}

pub(crate) fn cluster_role_binding(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    binding(new, old, false)
}

fn empty(value: &Value) -> bool {
    value.as_array().is_none_or(Vec::is_empty)
}

fn rules(new: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, rule) in new["rules"].as_array().into_iter().flatten().enumerate() {
        let path = |field: &str| format!("rules[{index}].{field}");
        if empty(&rule["verbs"]) {
            errors.push(FieldError::required(path("verbs"), "verbs must contain at least one value"));
        }
        let urls = &rule["nonResourceURLs"];
        if !empty(urls) {
            let mut wrong =
                |detail: &str| errors.push(FieldError::invalid(path("nonResourceURLs"), urls.clone(), detail));
            if namespaced {
                wrong("namespaced rules cannot apply to non-resource URLs");
            }
            if !["apiGroups", "resources", "resourceNames"].iter().all(|field| empty(&rule[*field])) {
                wrong("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if empty(&rule["apiGroups"]) {
            errors.push(FieldError::required(path("apiGroups"), "resource rules must supply at least one api group"));
        }
        if empty(&rule["resources"]) {
            errors.push(FieldError::required(path("resources"), "resource rules must supply at least one resource"));
        }
    }
    errors
}

fn check_selector(path: &str, selector: &Value, errors: &mut Vec<FieldError>) {
    for (index, requirement) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = empty(&requirement["values"]);
        match requirement["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !values => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{path}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{path}.operator"), requirement["operator"].clone(), detail));
            }
        }
        let key = requirement["key"].as_str().unwrap_or_default();
        let wrong = format::qualified_name(key).into_iter();
        errors.extend(wrong.map(|detail| FieldError::invalid(format!("{path}.key"), key.into(), detail)));
    }
}

fn binding(new: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let role = &new["roleRef"];
    let mut errors = Vec::new();
    if role["apiGroup"] != GROUP {
        errors.push(not_supported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]));
    }
    let kinds: &[&str] = if namespaced { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
    if !kinds.iter().any(|kind| role["kind"] == *kind) {
        errors.push(not_supported("roleRef.kind", &role["kind"], kinds));
    }
    match role["name"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => {
            let wrong = format::path_segment(name).into_iter();
            errors.extend(wrong.map(|detail| FieldError::invalid("roleRef.name", name.into(), detail)));
        }
    }
    for (index, subject) in new["subjects"].as_array().into_iter().flatten().enumerate() {
        check_subject(&format!("subjects[{index}]"), subject, namespaced, &mut errors);
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        errors.push(FieldError::invalid("roleRef", role.clone(), "cannot change roleRef"));
    }
    errors
}

fn check_subject(path: &str, subject: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    let name = subject["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = subject["apiGroup"].as_str().unwrap_or_default();
    match subject["kind"].as_str().unwrap_or_default() {
        "ServiceAccount" => {
            let wrong = Some(name).filter(|name| !name.is_empty()).map(format::subdomain).unwrap_or_default();
            errors.extend(
                wrong.into_iter().map(|detail| FieldError::invalid(format!("{path}.name"), name.into(), detail)),
            );
            if !group.is_empty() {
                let supported = "supported values: \"\"";
                errors.push(FieldError::new(Cause::NotSupported, format!("{path}.apiGroup"), group.into(), supported));
            }
            if !namespaced && subject["namespace"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(not_supported(&format!("{path}.apiGroup"), &group.into(), &[GROUP]));
            }
        }
        _ => {
            errors.push(not_supported(&format!("{path}.kind"), &subject["kind"], &["ServiceAccount", "User", "Group"]))
        }
    }
}
