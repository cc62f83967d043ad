//! [`Bindings`]: who has which roles, where.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Place;
use crate::rbac::rule::User;
use crate::rbac::{Binding, RoleRef, Subject};

/// By who has them.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    all: HashMap<Place, Arc<Bound>>,
    /// Service accounts are users.
    users: HashMap<String, Given>,
    groups: HashMap<String, Given>,
}

/// What a subject was given: by the namespace it is for (empty: everywhere), and by the binding's name, so that the reason given is the same each time.
type Given = HashMap<String, BTreeMap<String, Grant>>;

/// A binding.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) at: Place,
    pub(super) binding: Binding,
}

/// A role that somebody has.
#[derive(Debug)]
pub(super) struct Grant {
    by: Arc<Bound>,
    /// Which of its subjects.
    subject: usize,
}

/// Whom a subject means.
enum Who {
    User(String),
    Group(String),
}

impl Bindings {
    /// The binding there is at this place now.
    pub(super) fn put(&mut self, at: &Place, bound: Option<Bound>) {
        if let Some(before) = self.all.remove(at) {
            self.unindex(&before);
        }
        if let Some(bound) = bound {
            let bound = Arc::new(bound);
            self.index(&bound);
            self.all.insert(at.clone(), bound);
        }
    }

    fn index(&mut self, bound: &Arc<Bound>) {
        let (namespace, name) = &bound.at;
        for (subject, who) in bound.subjects() {
            let given = match who {
                Who::User(name) => self.users.entry(name).or_default(),
                Who::Group(name) => self.groups.entry(name).or_default(),
            };
            let here = given.entry(namespace.clone()).or_default();
            here.entry(name.clone()).or_insert_with(|| Grant { by: bound.clone(), subject });
        }
    }

    fn unindex(&mut self, bound: &Bound) {
        for (_, who) in bound.subjects() {
            let (all, who) = match who {
                Who::User(name) => (&mut self.users, name),
                Who::Group(name) => (&mut self.groups, name),
            };
            // A subject may be named twice.
            let Some(given) = all.get_mut(&who) else { continue };
            let Some(here) = given.get_mut(&bound.at.0) else { continue };
            here.remove(&bound.at.1);
            if here.is_empty() {
                given.remove(&bound.at.0);
            }
            if given.is_empty() {
                all.remove(&who);
            }
        }
    }

    /// What a user has in a namespace, in order: everywhere first.
    pub(super) fn of<'a>(&'a self, user: User<'a>, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let of_groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let given = self.users.get(user.name).into_iter().chain(of_groups);
        let places = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        let here = given.flat_map(move |given| places.into_iter().flatten().filter_map(move |place| given.get(place)));
        here.flat_map(BTreeMap::values)
    }
}

impl Bound {
    fn subjects(&self) -> impl Iterator<Item = (usize, Who)> {
        let subjects = self.binding.subjects.iter().enumerate();
        subjects.filter_map(|(index, subject)| Some((index, who(subject, &self.at.0)?)))
    }
}

impl Grant {
    /// The role; it may not exist.
    pub(super) fn role(&self) -> &RoleRef {
        &self.by.binding.role_ref
    }

    /// Where it was given; empty: everywhere.
    pub(super) fn namespace(&self) -> &str {
        &self.by.at.0
    }

    /// The binding in words.
    pub(super) fn words(&self) -> String {
        let Bound { at: (namespace, name), binding } = &*self.by;
        let (kind, place) = match namespace.as_str() {
            "" => ("ClusterRoleBinding", name.clone()),
            _ => ("RoleBinding", format!("{name}/{namespace}")),
        };
        format!(
            "RBAC: allowed by {kind} {place:?} of {} {:?} to {}",
            binding.role_ref.kind,
            binding.role_ref.name,
            describe(&binding.subjects[self.subject], namespace)
        )
    }
}

fn who(subject: &Subject, namespace: &str) -> Option<Who> {
    match subject.kind.as_str() {
        "User" => Some(Who::User(subject.name.clone())),
        "Group" => Some(Who::Group(subject.name.clone())),
        "ServiceAccount" => {
            let own = account_namespace(subject, namespace);
            (!own.is_empty()).then(|| Who::User(format!("system:serviceaccount:{own}:{}", subject.name)))
        }
        _ => None,
    }
}

fn account_namespace<'a>(subject: &'a Subject, namespace: &'a str) -> &'a str {
    subject.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace)
}

fn describe(subject: &Subject, namespace: &str) -> String {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            format!("ServiceAccount {:?}", format!("{}/{}", subject.name, account_namespace(subject, namespace)))
        }
        kind => format!("{kind} {:?}", subject.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Change, Policy};
    use super::*;

    fn binding(number: usize, user: &str) -> Value {
        json!({
            "kind": "RoleBinding", "metadata": {"namespace": "a", "name": format!("b{number}")},
            "subjects": [{"kind": "User", "name": user}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        })
    }

    fn user(name: &str) -> User<'_> {
        User { name, groups: &[] }
    }

    #[test]
    fn a_change_touches_what_its_own_subjects_have_and_a_question_what_the_asker_has() {
        let all: Vec<Value> = (0..100).map(|number| binding(number, &format!("user{number}"))).collect();
        let mut policy = Policy::new(&all);
        let others = |bindings: &Bindings| -> Vec<*const Bound> {
            let names = (0..100).filter(|number| *number != 50).map(|number| format!("user{number}"));
            names
                .flat_map(|name| bindings.of(user(&name), "a").map(|grant| Arc::as_ptr(&grant.by)).collect::<Vec<_>>())
                .collect()
        };
        let before = others(&policy.bindings);
        assert_eq!(before.len(), 99, "each asks through one binding");
        policy.change([Change::Is(&binding(50, "ana"))]);
        let bindings = &policy.bindings;
        assert_eq!(others(bindings), before, "those of others are the very same, and not read again");
        assert_eq!((bindings.of(user("ana"), "a").count(), bindings.of(user("user50"), "a").count()), (1, 0));
        assert_eq!((bindings.all.len(), bindings.users.len()), (100, 100), "nothing is left of the one before");
        policy.change([Change::Gone(&binding(50, "ana"))]);
        let bindings = &policy.bindings;
        assert_eq!((bindings.all.len(), bindings.users.len()), (99, 99));
    }
}
