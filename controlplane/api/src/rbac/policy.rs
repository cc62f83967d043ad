//! [`Policy`]: all roles and bindings, indexed by who has them; decides.
//!
//! Kept up to date object by object: a binding costs its subjects, a role nothing but itself (of ClusterRoles that take up others, what they take up is
//! gathered anew), and a question the bindings of who asks.

mod bindings;
mod roles;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::rule::{self, Action, MOST, User};
use super::{Binding, MASTERS, PolicyRule, RoleRef};
use bindings::{Bindings, Bound};
use roles::Roles;
pub use roles::Rules;

/// Whether an action is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// By what.
    Allowed(String),
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

/// All roles and bindings at one time. Empty: denies everybody but [`MASTERS`].
#[derive(Debug, Default)]
pub struct Policy {
    roles: Roles,
    bindings: Bindings,
}

/// A role or a binding that changed.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// It is there, and so.
    Is(&'a Value),
    /// It is gone; this is what it was.
    Gone(&'a Value),
}

/// Where an object is: namespace (empty: it is in none) and name.
type Place = (String, String);

impl Policy {
    /// From objects of the four kinds, in any order. One that cannot be read grants nothing.
    pub fn new<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut policy = Self::default();
        policy.change(objects.into_iter().map(Change::Is));
        policy
    }

    /// Takes up changes of objects of the four kinds, in their order; others are passed over.
    pub fn change<'a>(&mut self, changes: impl IntoIterator<Item = Change<'a>>) {
        for change in changes {
            let (Change::Is(object) | Change::Gone(object)) = change;
            let present = matches!(change, Change::Is(_)).then_some(object);
            let at = place(object);
            match (object["kind"].as_str(), at.0.is_empty()) {
                (Some("Role"), false) => self.roles.put(at, present.and_then(read)),
                (Some("ClusterRole"), true) => self.roles.put_cluster(at.1, object, present.and_then(read)),
                (Some("RoleBinding"), false) | (Some("ClusterRoleBinding"), true) => {
                    let binding = present.and_then(read::<Binding>);
                    self.bindings.put(&at, binding.map(|binding| Bound { at: at.clone(), binding }));
                }
                _ => {}
            }
        }
        self.roles.aggregate();
    }

    /// What a role allows, bound in this namespace (empty: in the whole cluster); none when there is no such role.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<Rules> {
        self.roles.rules(role, namespace).cloned()
    }

    /// Whether the user may.
    pub fn decide(&self, user: User<'_>, action: &Action<'_>) -> Decision {
        if master(user) {
            return Decision::Allowed(format!("the group {MASTERS} may do everything"));
        }
        let mut absent: Vec<String> = Vec::new();
        for grant in self.bindings.of(user, action.namespace()) {
            match self.roles.rules(grant.role(), grant.namespace()) {
                Some(rules) if rules.iter().any(|rule| rule.allows(action)) => {
                    return Decision::Allowed(grant.words());
                }
                Some(_) => {}
                None => {
                    let words = roles::absent(grant.role());
                    if !absent.contains(&words) {
                        absent.push(words);
                    }
                }
            }
        }
        match absent.as_slice() {
            [] => Decision::Denied(String::new()),
            [one] => Decision::Denied(format!("RBAC: {one}")),
            all => Decision::Denied(format!("RBAC: [{}]", all.join(", "))),
        }
    }

    /// All that the user may do in a namespace, by role; no rule is copied.
    pub fn rules_of(&self, user: User<'_>, namespace: &str) -> Vec<Rules> {
        static EVERYTHING: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(|| {
            let star = || vec!["*".to_owned()];
            let resources =
                PolicyRule { verbs: star(), api_groups: star(), resources: star(), ..PolicyRule::default() };
            [resources, PolicyRule { verbs: star(), non_resource_urls: star(), ..PolicyRule::default() }].into()
        });
        if master(user) {
            return vec![EVERYTHING.clone()];
        }
        let grants = self.bindings.of(user, namespace);
        grants.filter_map(|grant| self.roles.rules(grant.role(), grant.namespace())).cloned().collect()
    }
}

/// What keeps a user that has these rules from giving these rights to others, in words: those it does not have itself, or that they are too many to compare.
///
/// # Errors
/// The words.
pub fn may_grant(user: User<'_>, held: &[Rules], wanted: &[PolicyRule]) -> Result<(), String> {
    let count = wanted.iter().map(PolicyRule::count).fold(0, usize::saturating_add);
    if count > MOST {
        return Err(format!(
            "the role gives more than {MOST} rights (verbs times resources times names), which are too many to compare with those of user {:?}: split it into several roles",
            user.name
        ));
    }
    let held: Vec<&PolicyRule> = held.iter().flat_map(|rules| &**rules).collect();
    let missing = rule::missing(&held, wanted);
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

fn master(user: User<'_>) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

fn place(object: &Value) -> Place {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn read<T: DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}

#[cfg(test)]
mod tests;
