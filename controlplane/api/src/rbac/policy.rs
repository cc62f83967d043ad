//! [`Policy`]: all roles and bindings, indexed by who has them; decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::rule::{self, Action, User};
use super::{AggregationRule, Binding, ClusterRole, GROUP, MASTERS, PolicyRule, Role, RoleRef, Subject};

/// Whether an action is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// By what.
    Allowed(Arc<str>),
    /// Beside that nothing allows it; may be empty.
    Denied(String),
}

impl Decision {
    /// Whether it may be done.
    pub fn allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allowed(by) => by,
            Self::Denied(why) => why,
        }
    }
}

type Rules = Arc<[PolicyRule]>;
/// What a subject was given, by the namespace it is for; empty: everywhere.
type Given = HashMap<String, Vec<Grant>>;

/// All roles and bindings at one time. Empty: denies everybody but [`MASTERS`].
#[derive(Debug, Default)]
pub struct Policy {
    cluster_roles: HashMap<String, Rules>,
    roles: HashMap<(String, String), Rules>,
    users: HashMap<String, Given>,
    groups: HashMap<String, Given>,
}

/// A role that somebody has.
#[derive(Debug, Clone)]
struct Grant {
    /// None: the role does not exist.
    rules: Option<Rules>,
    /// The binding in words; of a role that does not exist, that.
    words: Arc<str>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn read<T: DeserializeOwned>(object: &Value) -> Option<(Metadata, T)> {
    let metadata = Metadata::deserialize(&object["metadata"]).ok()?;
    Some((metadata, T::deserialize(object).ok()?))
}

impl Policy {
    /// From objects of the four kinds, in any order. One that cannot be read grants nothing.
    pub fn new<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let (mut policy, mut cluster, mut bindings) = (Self::default(), Vec::new(), Vec::new());
        for object in objects {
            match object["kind"].as_str() {
                Some("Role") => {
                    if let Some((at, role)) = read::<Role>(object) {
                        policy.roles.insert((at.namespace, at.name), role.rules.into());
                    }
                }
                Some("ClusterRole") => cluster.extend(read::<ClusterRole>(object)),
                Some("RoleBinding") => bindings.extend(read::<Binding>(object).map(|binding| ("RoleBinding", binding))),
                Some("ClusterRoleBinding") => {
                    bindings.extend(read::<Binding>(object).map(|binding| ("ClusterRoleBinding", binding)));
                }
                _ => {}
            }
        }
        for (at, role) in &cluster {
            let rules = match &role.aggregation_rule {
                None => role.rules.clone(),
                Some(aggregation) => aggregated(role, aggregation, &cluster),
            };
            policy.cluster_roles.insert(at.name.clone(), rules.into());
        }
        // So that the reason given is the same each time.
        bindings.sort_by(|(_, (a, _)), (_, (b, _))| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for (kind, (at, binding)) in &bindings {
            policy.bind(kind, at, binding);
        }
        policy
    }

    fn bind(&mut self, kind: &str, at: &Metadata, binding: &Binding) {
        let rules = self.rules(&binding.role_ref, &at.namespace);
        for subject in &binding.subjects {
            let place = if at.namespace.is_empty() { at.name.clone() } else { format!("{}/{}", at.name, at.namespace) };
            let words = match &rules {
                Some(_) => format!(
                    "RBAC: allowed by {kind} {place:?} of {} {:?} to {}",
                    binding.role_ref.kind,
                    binding.role_ref.name,
                    describe(subject, &at.namespace)
                ),
                None => absent(&binding.role_ref),
            };
            let grant = Grant { rules: rules.clone(), words: words.into() };
            let given = match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()).or_default(),
                "Group" => self.groups.entry(subject.name.clone()).or_default(),
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().filter(|name| !name.is_empty());
                    let namespace = namespace.unwrap_or(&at.namespace);
                    if namespace.is_empty() {
                        continue;
                    }
                    self.users.entry(format!("system:serviceaccount:{namespace}:{}", subject.name)).or_default()
                }
                _ => continue,
            };
            given.entry(at.namespace.clone()).or_default().push(grant);
        }
    }

    /// What a role allows, bound in this namespace (empty: in the whole cluster); none when there is no such role.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<Rules> {
        match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name).cloned(),
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())).cloned(),
            _ => None,
        }
    }

    fn grants<'a>(&'a self, user: User<'a>, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let of_groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let given = self.users.get(user.name).into_iter().chain(of_groups);
        let places = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        given.flat_map(move |given| places.into_iter().flatten().filter_map(move |place| given.get(place)).flatten())
    }

    /// Whether the user may.
    pub fn decide(&self, user: User<'_>, action: &Action<'_>) -> Decision {
        if master(user) {
            return Decision::Allowed(format!("the group {MASTERS} may do everything").into());
        }
        let mut absent: Vec<&str> = Vec::new();
        for grant in self.grants(user, action.namespace()) {
            match &grant.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(action)) => {
                    return Decision::Allowed(grant.words.clone());
                }
                Some(_) => {}
                None if absent.contains(&&*grant.words) => {}
                None => absent.push(&grant.words),
            }
        }
        match absent.as_slice() {
            [] => Decision::Denied(String::new()),
            [one] => Decision::Denied(format!("RBAC: {one}")),
            all => Decision::Denied(format!("RBAC: [{}]", all.join(", "))),
        }
    }

    /// All that the user may do in a namespace.
    pub fn rules_of<'a>(&'a self, user: User<'a>, namespace: &'a str) -> Vec<&'a PolicyRule> {
        static EVERYTHING: std::sync::LazyLock<[PolicyRule; 2]> = std::sync::LazyLock::new(|| {
            let star = || vec!["*".to_owned()];
            let resources =
                PolicyRule { verbs: star(), api_groups: star(), resources: star(), ..PolicyRule::default() };
            [resources, PolicyRule { verbs: star(), non_resource_urls: star(), ..PolicyRule::default() }]
        });
        if master(user) {
            return EVERYTHING.iter().collect();
        }
        self.grants(user, namespace).filter_map(|grant| grant.rules.as_deref()).flatten().collect()
    }

    /// What keeps the user from giving these rights to others in a namespace, in words: those it does not have itself.
    ///
    /// # Errors
    /// The words.
    pub fn may_grant(&self, user: User<'_>, namespace: &str, wanted: &[PolicyRule]) -> Result<(), String> {
        let missing = rule::missing(&self.rules_of(user, namespace), wanted);
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            rule::quoted(user.groups),
            missing.join("\n")
        ))
    }
}

fn master(user: User<'_>) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

fn aggregated(role: &ClusterRole, aggregation: &AggregationRule, all: &[(Metadata, ClusterRole)]) -> Vec<PolicyRule> {
    let selected =
        |at: &Metadata| aggregation.cluster_role_selectors.iter().any(|selector| selector.matches(&at.labels));
    let mut rules = role.rules.clone();
    for (_, other) in all.iter().filter(|(at, _)| selected(at)) {
        let new: Vec<PolicyRule> = other.rules.iter().filter(|rule| !rules.contains(rule)).cloned().collect();
        rules.extend(new);
    }
    rules
}

fn absent(role: &RoleRef) -> String {
    format!("{}.{GROUP} {:?} not found", role.kind.to_lowercase(), role.name)
}

fn describe(subject: &Subject, namespace: &str) -> String {
    if subject.kind != "ServiceAccount" {
        return format!("{} {:?}", subject.kind, subject.name);
    }
    let own = subject.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
    format!("{} {:?}", subject.kind, format!("{}/{own}", subject.name))
}

#[cfg(test)]
mod tests;
