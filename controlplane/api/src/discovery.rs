//! Discovery: which resources the server has, in the three forms that clients ask for.

use serde_json::{Value, json};

use crate::kind::{Kind, Subresource, kinds};

/// `Accept` and `Content-Type` of aggregated discovery, newest first, with the version each names.
pub const AGGREGATED: [(&str, &str); 2] = [
    ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "v2"),
    ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", "v2beta1"),
];

/// A resource as discovery shows it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// API group; empty for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name in URLs.
    pub plural: &'static str,
    /// Name of one.
    pub singular: &'static str,
    /// Short names.
    pub short_names: &'static [&'static str],
    /// Categories.
    pub categories: &'static [&'static str],
    /// Lives in a namespace.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Parts with their own URL.
    pub subresources: Vec<Subresource>,
}

impl From<&Kind> for Resource {
    fn from(kind: &Kind) -> Self {
        let status =
            Subresource { name: "status", kind: kind.kind, group: "", version: "", verbs: &["get", "patch", "update"] };
        let subresources = kind.has_status.then_some(status).into_iter().chain(kind.subresources.iter().copied());
        Self {
            group: kind.group,
            version: kind.version,
            kind: kind.kind,
            plural: kind.plural,
            singular: kind.singular,
            short_names: kind.short_names,
            categories: kind.categories,
            namespaced: kind.namespaced,
            verbs: kind.verbs(),
            subresources: subresources.collect(),
        }
    }
}

/// Questions about who one is, what one or another may do, and whose token one is, asked by POST. A server that answers them adds them to its [`Discovery`].
pub fn self_reviews() -> Vec<Resource> {
    let review = |group, kind, plural, singular| Resource {
        group,
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: &["create"],
        subresources: Vec::new(),
    };
    let local = review(
        "authorization.k8s.io",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
    );
    vec![
        Resource { namespaced: true, ..local },
        review("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview"),
        review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"),
        review("authentication.k8s.io", "TokenReview", "tokenreviews", "tokenreview"),
        review(
            "authorization.k8s.io",
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
        ),
        review("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"),
    ]
}

/// `services` of core/v1, always empty: without it `kubectl cluster-info` fails.
pub fn services() -> Resource {
    Resource {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &[],
        namespaced: true,
        verbs: &["get", "list"],
        subresources: Vec::new(),
    }
}

/// All resources of a server, by group and version in a fixed order.
#[derive(Debug, Clone)]
pub struct Discovery {
    resources: Vec<Resource>,
}

impl Discovery {
    /// The served kinds, and resources that the server has beside them.
    pub fn new(beside: impl IntoIterator<Item = Resource>) -> Self {
        let mut resources: Vec<Resource> = kinds().iter().filter(|kind| kind.served).map(Resource::from).collect();
        resources.extend(beside);
        resources.sort_by_key(|resource| (resource.group, resource.version));
        Self { resources }
    }

    /// Groups and their versions, core excepted.
    fn groups(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in self.resources.iter().filter(|resource| !resource.group.is_empty()) {
            match groups.last_mut() {
                Some((group, versions)) if *group == resource.group => {
                    if !versions.contains(&resource.version) {
                        versions.push(resource.version);
                    }
                }
                _ => groups.push((resource.group, vec![resource.version])),
            }
        }
        groups
    }

    fn of(&self, group: &str, version: &str) -> Vec<&Resource> {
        self.resources.iter().filter(|resource| resource.group == group && resource.version == version).collect()
    }

    /// The answer to `/api` in aggregated form; `version` as in [`AGGREGATED`].
    pub fn aggregated_core(&self, version: &str) -> Value {
        list(version, vec![self.aggregated_group("", &["v1"])])
    }

    /// The answer to `/apis` in aggregated form; `version` as in [`AGGREGATED`].
    pub fn aggregated_groups(&self, version: &str) -> Value {
        list(version, self.groups().iter().map(|(group, versions)| self.aggregated_group(group, versions)).collect())
    }

    fn aggregated_group(&self, group: &str, versions: &[&str]) -> Value {
        let versions = versions.iter().map(|version| {
            let resources: Vec<Value> = self.of(group, version).into_iter().map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        });
        let metadata = if group.is_empty() {
            json!({"creationTimestamp": null})
        } else {
            json!({"name": group, "creationTimestamp": null})
        };
        json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
    }

    /// The answer to `/api` for clients that do not ask for the aggregated form.
    pub fn api_versions(&self) -> Value {
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]})
    }

    /// The answer to `/apis` for clients that do not ask for the aggregated form.
    pub fn group_list(&self) -> Value {
        let groups: Vec<Value> = self.groups().iter().map(|(group, versions)| api_group(group, versions)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// The answer to `/apis/{group}`.
    pub fn group(&self, group: &str) -> Option<Value> {
        let groups = self.groups();
        let (group, versions) = groups.iter().find(|(name, _)| *name == group)?;
        let mut answer = api_group(group, versions);
        answer["kind"] = "APIGroup".into();
        answer["apiVersion"] = "v1".into();
        Some(answer)
    }

    /// The answer to `/api/v1` (group empty) and `/apis/{group}/{version}`.
    pub fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let resources = self.of(group, version);
        if resources.is_empty() {
            return None;
        }
        let rows: Vec<Value> = resources.into_iter().flat_map(legacy_rows).collect();
        Some(
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": rows}),
        )
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn list(version: &str, items: Vec<Value>) -> Value {
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

/// Group and version of a subresource's own kind.
fn own_version<'a>(resource: &'a Resource, part: &'a Subresource) -> (&'a str, &'a str) {
    if part.version.is_empty() { (resource.group, resource.version) } else { (part.group, part.version) }
}

fn aggregated_resource(resource: &Resource) -> Value {
    let parts = resource.subresources.iter().map(|part| {
        let (group, version) = own_version(resource, part);
        json!({
            "subresource": part.name,
            "responseKind": {"group": group, "version": version, "kind": part.kind},
            "verbs": part.verbs,
        })
    });
    let parts: Vec<Value> = parts.collect();
    let mut row = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    let lists = [
        ("shortNames", json!(resource.short_names)),
        ("categories", json!(resource.categories)),
        ("subresources", json!(parts)),
    ];
    for (field, value) in lists.into_iter().filter(|(_, value)| *value != json!([])) {
        row[field] = value;
    }
    row
}

fn legacy_rows(resource: &Resource) -> Vec<Value> {
    let mut row = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    for (field, names) in [("shortNames", resource.short_names), ("categories", resource.categories)] {
        if !names.is_empty() {
            row[field] = json!(names);
        }
    }
    let parts = resource.subresources.iter().map(|part| {
        let mut row = json!({
            "name": format!("{}/{}", resource.plural, part.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": part.kind,
            "verbs": part.verbs,
        });
        if !part.version.is_empty() {
            row["group"] = part.group.into();
            row["version"] = part.version.into();
        }
        row
    });
    std::iter::once(row).chain(parts).collect()
}
