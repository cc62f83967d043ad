//! One rule against one action, and rules against rules: who would grant a right must have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::PolicyRule;

/// Rights that are compared with those of who would grant them. Each is an allocation or more, and a role of a few pages may name a million.
pub const MOST: usize = 50_000;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// Name.
    pub name: &'a str,
    /// Groups.
    pub groups: &'a [String],
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or one of a kind's own.
    pub verb: &'a str,
    /// On what.
    pub target: Target<'a>,
}

/// What an action is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Objects.
    Resource {
        /// API group; empty for core.
        group: &'a str,
        /// Plural.
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty: all of them, or the kind has none.
        namespace: &'a str,
        /// Empty: all of them, or it has none yet.
        name: &'a str,
    },
    /// A path that is no resource.
    Path(&'a str),
}

impl<'a> Action<'a> {
    /// A verb on an object.
    pub fn on(verb: &'a str, (group, resource): (&'a str, &'a str), namespace: &'a str, name: &'a str) -> Self {
        Self { verb, target: Target::Resource { group, resource, subresource: "", namespace, name } }
    }

    /// The namespace whose bindings count beside those for the whole cluster; empty: none.
    pub fn namespace(&self) -> &'a str {
        match self.target {
            Target::Resource { namespace, .. } => namespace,
            Target::Path(_) => "",
        }
    }

    /// `User "bob" cannot get resource "deviceleases/token" in API group "torchremote.dev" in the namespace "team"`.
    pub fn refusal(&self, user: &str) -> String {
        let verb = self.verb;
        match self.target {
            Target::Path(path) => format!("User {user:?} cannot {verb} path {path:?}"),
            Target::Resource { group, resource, subresource, namespace, .. } => {
                let whole =
                    if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
                let place = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {namespace:?}")
                };
                format!("User {user:?} cannot {verb} resource {whole:?} in API group {group:?} {place}")
            }
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn has_or_star(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl PolicyRule {
    /// Whether it allows the action.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        if !has_or_star(&self.verbs, action.verb) {
            return false;
        }
        match action.target {
            Target::Path(path) => self.non_resource_urls.iter().any(|pattern| path_matches(pattern, path)),
            Target::Resource { group, resource, subresource, name, .. } => {
                has_or_star(&self.api_groups, group)
                    && self.resources.iter().any(|pattern| resource_matches(pattern, resource, subresource))
                    && (self.resource_names.is_empty() || has(&self.resource_names, name))
            }
        }
    }

    /// How many [`rights`](Self::rights) it has.
    pub(super) fn count(&self) -> usize {
        let named = self.resource_names.len().max(1);
        let on_resources = self.api_groups.len().saturating_mul(self.resources.len()).saturating_mul(named);
        self.verbs.len().saturating_mul(on_resources.saturating_add(self.non_resource_urls.len()))
    }

    /// Its rights one by one: a verb on a resource (of a name), or on a path.
    fn rights(&self) -> Vec<Self> {
        let mut rights = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let right = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        rights.push(right);
                    } else {
                        let named = |name: &String| Self { resource_names: vec![name.clone()], ..right.clone() };
                        rights.extend(self.resource_names.iter().map(named));
                    }
                }
            }
            let on_path = |path: &String| Self {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![path.clone()],
                ..Self::default()
            };
            rights.extend(self.non_resource_urls.iter().map(on_path));
        }
        rights
    }

    /// Whether it allows all that `right`, one of [`rights`](Self::rights), does.
    fn covers(&self, right: &Self) -> bool {
        let verbs = right.verbs.iter().all(|verb| has_or_star(&self.verbs, verb));
        let groups = right.api_groups.iter().all(|group| has_or_star(&self.api_groups, group));
        let resources = right.resources.iter().all(|resource| {
            let (plural, part) = resource.split_once('/').unwrap_or((resource, ""));
            self.resources.iter().any(|pattern| resource_matches(pattern, plural, part))
        });
        let names = self.resource_names.is_empty()
            || (!right.resource_names.is_empty()
                && right.resource_names.iter().all(|name| has(&self.resource_names, name)));
        let paths = right.non_resource_urls.iter().all(|path| {
            self.non_resource_urls.iter().any(|pattern| {
                pattern == path || pattern.strip_suffix('*').is_some_and(|start| path.starts_with(start))
            })
        });
        verbs && groups && resources && names && paths
    }
}

fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((plural, part)) => !subresource.is_empty() && part == subresource && (plural == "*" || plural == resource),
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || (pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*')))
}

/// `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`, as Go prints it.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts = parts.into_iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// What of `wanted` is not in `held`, verbs on one resource together; in order of text.
pub fn missing<'a>(held: &[&PolicyRule], wanted: impl IntoIterator<Item = &'a PolicyRule>) -> Vec<String> {
    let lacking =
        wanted.into_iter().flat_map(PolicyRule::rights).filter(|right| !held.iter().any(|rule| rule.covers(right)));
    let (mut simple, mut texts) = (BTreeMap::<(String, String), Vec<String>>::new(), BTreeSet::new());
    for right in lacking {
        match (right.api_groups.as_slice(), right.resources.as_slice(), right.resource_names.as_slice()) {
            ([group], [resource], []) => {
                let verbs = simple.entry((group.clone(), resource.clone())).or_default();
                if !verbs.contains(&right.verbs[0]) {
                    verbs.extend(right.verbs);
                }
            }
            _ => {
                texts.insert(right.to_string());
            }
        }
    }
    for ((group, resource), verbs) in simple {
        let rule = PolicyRule { verbs, api_groups: vec![group], resources: vec![resource], ..PolicyRule::default() };
        texts.insert(rule.to_string());
    }
    texts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(value: Value) -> PolicyRule {
        serde_json::from_value(value).expect("a rule")
    }

    fn on<'a>(verb: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Action<'a> {
        Action { verb, target: Target::Resource { group: "g", resource, subresource, namespace: "n", name } }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        let one = rule(
            json!({"verbs": ["get"], "apiGroups": ["g"], "resources": ["a", "b/c", "*/scale"], "resourceNames": ["x"]}),
        );
        for (verb, resource, part, name, allowed) in [
            ("get", "a", "", "x", true),
            ("get", "a", "", "y", false),
            ("get", "a", "", "", false),
            ("list", "a", "", "x", false),
            ("get", "a", "status", "x", false),
            ("get", "b", "", "x", false),
            ("get", "b", "c", "x", true),
            ("get", "z", "scale", "x", true),
            ("get", "scale", "", "x", false),
        ] {
            assert_eq!(one.allows(&on(verb, resource, part, name)), allowed, "{verb} {resource}/{part} {name}");
        }
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(all.allows(&on("escalate", "a", "status", "")));
        assert!(!all.allows(&Action { verb: "get", target: Target::Path("/metrics") }));
        let other = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["a"]}));
        assert!(!other.allows(&on("get", "a", "", "x")));
    }

    #[test]
    fn a_star_at_the_end_of_a_path_stands_for_what_begins_so() {
        let paths = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/api/*", "/version"]}));
        for (path, allowed) in
            [("/api/v1", true), ("/api/", true), ("/api", false), ("/version", true), ("/version/x", false)]
        {
            assert_eq!(paths.allows(&Action { verb: "get", target: Target::Path(path) }), allowed, "{path}");
        }
        let everywhere = rule(json!({"verbs": ["get"], "nonResourceURLs": ["*"]}));
        assert!(everywhere.allows(&Action { verb: "get", target: Target::Path("/anything") }));
    }

    #[test]
    fn rights_are_counted_without_being_made() {
        for value in [
            json!({"verbs": ["get", "list"], "apiGroups": ["", "g"], "resources": ["a", "b", "c"], "nonResourceURLs": ["/x"]}),
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["a"], "resourceNames": ["x", "y"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["/x", "/y"]}),
            json!({"verbs": [], "apiGroups": [""], "resources": ["a"]}),
        ] {
            let rule = rule(value);
            assert_eq!(rule.count(), rule.rights().len(), "{rule}");
        }
    }

    #[test]
    fn what_is_missing_is_named_verbs_of_one_resource_together() {
        let held = rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets", "*/status"]}));
        let wanted = [
            rule(
                json!({"verbs": ["get", "create", "delete"], "apiGroups": [""], "resources": ["secrets", "pods/status"]}),
            ),
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]})),
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]})),
        ];
        let said = missing(&[&held], &wanted);
        assert_eq!(
            said,
            [
                r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}"#,
                r#"{APIGroups:[""], Resources:["pods/status"], Verbs:["create" "delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["create" "delete"]}"#,
                r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#,
            ]
        );
        let named =
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}));
        assert!(missing(&[&held], [&named]).is_empty(), "all names hold one name");
        assert_eq!(missing(&[&named], [&held]).len(), 2, "one name does not hold all names");
        let star = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(missing(&[&star], &wanted[..2]).is_empty());
        assert_eq!(missing(&[&held], [&star]), [r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#]);
    }
}
