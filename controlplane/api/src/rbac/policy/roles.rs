//! [`Roles`]: what each role allows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Place, read};
use crate::rbac::{ClusterRole, GROUP, PolicyRule, Role, RoleRef};

/// The rules of a role.
pub type Rules = Arc<[PolicyRule]>;

/// Roles by namespace, ClusterRoles under the empty one.
#[derive(Debug, Default)]
pub(super) struct Roles {
    rules: HashMap<String, HashMap<String, Rules>>,
    /// By name, so that what one takes up always has the same order.
    cluster: BTreeMap<String, Labelled>,
    /// ClusterRoles changed since it was gathered what some of them take up.
    stale: bool,
}

#[derive(Debug)]
struct Labelled {
    labels: BTreeMap<String, String>,
    role: ClusterRole,
}

impl Labelled {
    /// Whether this role, which takes up others, does this one.
    fn takes(&self, other: &Self) -> bool {
        let selectors = self.role.aggregation_rule.iter().flat_map(|rule| &rule.cluster_role_selectors);
        selectors.into_iter().any(|selector| selector.matches(&other.labels))
    }
}

impl Roles {
    /// The Role there is at this place now.
    pub(super) fn put(&mut self, (namespace, name): Place, role: Option<Role>) {
        match role {
            Some(role) => {
                self.rules.entry(namespace).or_default().insert(name, role.rules.into());
            }
            None => self.forget(&namespace, &name),
        }
    }

    /// The ClusterRole of this name there is now. Call [`aggregate`](Self::aggregate) before the next question.
    pub(super) fn put_cluster(&mut self, name: String, object: &Value, role: Option<ClusterRole>) {
        self.forget("", &name);
        self.cluster.remove(&name);
        if let Some(role) = role {
            self.rules.entry(String::new()).or_default().insert(name.clone(), role.rules.clone().into());
            let labels = read(&object["metadata"]["labels"]).unwrap_or_default();
            self.cluster.insert(name, Labelled { labels, role });
        }
        self.stale = true;
    }

    fn forget(&mut self, namespace: &str, name: &str) {
        let Some(roles) = self.rules.get_mut(namespace) else { return };
        roles.remove(name);
        if roles.is_empty() {
            self.rules.remove(namespace);
        }
    }

    /// What a role allows, bound in this namespace.
    pub(super) fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&Rules> {
        let namespace = match role.kind.as_str() {
            "ClusterRole" => "",
            "Role" if !namespace.is_empty() => namespace,
            _ => return None,
        };
        self.rules.get(namespace)?.get(&role.name)
    }

    /// Gathers what those ClusterRoles allow that take up others: the rules of all that they take up, and that those do, each once, in order of names. What
    /// such a role says itself does not count, as Kubernetes' controller overwrites it.
    pub(super) fn aggregate(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let taking = self.cluster.iter().filter(|(_, labelled)| labelled.role.aggregation_rule.is_some());
        let takes: BTreeMap<&str, Vec<&str>> = taking
            .map(|(name, taker)| {
                let taken = self.cluster.iter().filter(|(_, other)| taker.takes(other));
                (name.as_str(), taken.map(|(name, _)| name.as_str()).collect())
            })
            .collect();
        for taker in takes.keys() {
            let mut seen = HashSet::new();
            let plain = reached(&takes, taker).into_iter().filter(|name| !takes.contains_key(name));
            let rules = plain.flat_map(|name| &self.cluster[name].role.rules).filter(|rule| seen.insert(*rule));
            let rules: Rules = rules.cloned().collect();
            self.rules.entry(String::new()).or_default().insert((*taker).to_owned(), rules);
        }
    }
}

/// All that can be reached from one, itself included; cycles end.
fn reached<'a>(takes: &BTreeMap<&'a str, Vec<&'a str>>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(taker) = open.pop() {
        open.extend(takes.get(taker).into_iter().flatten().filter(|taken| seen.insert(taken)));
    }
    seen
}

/// `role.rbac.authorization.k8s.io "x" not found`.
pub(super) fn absent(role: &RoleRef) -> String {
    format!("{}.{GROUP} {:?} not found", role.kind.to_lowercase(), role.name)
}
