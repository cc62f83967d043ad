//! Nobody grants what it does not have: roles and bindings are judged against the rights of who writes them.

use serde_json::Value;
use torch_remote_api::rbac::{self, Action, Binding, Decision, PolicyRule, Role, builtin};
use torch_remote_api::status::Status;
use torch_remote_api::{Kind, by_plural};

use super::failure::Failure;
use super::objects::Call;
use crate::store::Resource;

impl Call {
    /// Whether the caller, who may patch the object, may make it, which is not there.
    ///
    /// # Errors
    /// 403.
    pub(super) fn may_make(&self) -> Result<(), Failure> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let action = Action::on("create", (self.kind.group, self.kind.plural), namespace, &self.name);
        match self.server.policies().decide(self.caller.user(), &action) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(why) => Err(Status::denied(&self.caller.name, &action, &why).into()),
        }
    }

    /// Whether the caller may write this role or binding over `old`; of other kinds always. Who has the verb `escalate` on a role, or `bind` on the role of a
    /// binding, need not have its rights.
    ///
    /// # Errors
    /// 403: rights would be granted that the caller does not have; 404: the role to bind does not exist.
    pub(super) fn may_grant(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        if !self.resource.decides() || self.caller.administrator() {
            return Ok(());
        }
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let at = |object: &Value, field: &str| object.pointer(field).cloned().unwrap_or_default();
        let same = |fields: &[&str]| old.is_some_and(|old| fields.iter().all(|field| at(old, field) == at(new, field)));
        match self.resource {
            // Labels decide which other roles take its rules up.
            Resource::ROLES | Resource::CLUSTER_ROLES if same(&["/rules", "/aggregationRule", "/metadata/labels"]) => {
                Ok(())
            }
            Resource::ROLES | Resource::CLUSTER_ROLES => self.may_write_role(name, new),
            _ if same(&["/roleRef", "/subjects"]) => Ok(()),
            _ => self.may_bind(name, new),
        }
    }

    fn may_write_role(&self, name: &str, role: &Value) -> Result<(), Failure> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let escalate = Action::on("escalate", (self.kind.group, self.kind.plural), namespace, name);
        if self.server.policies().decide(self.caller.user(), &escalate).allowed() {
            return Ok(());
        }
        let mut rules = read::<Role>(role)?.rules;
        rules.extend(restored(self.resource == Resource::CLUSTER_ROLES, name));
        self.has(namespace, &rules).map_err(|why| self.forbidden(name, &why))?;
        if !role["aggregationRule"].is_null() {
            let star = || vec!["*".to_owned()];
            let everything =
                PolicyRule { verbs: star(), api_groups: star(), resources: star(), ..PolicyRule::default() };
            let why = "must have cluster-admin privileges to use the aggregationRule";
            self.has("", &[everything]).map_err(|_| self.forbidden(name, why))?;
        }
        Ok(())
    }

    fn may_bind(&self, name: &str, binding: &Value) -> Result<(), Failure> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let role = read::<Binding>(binding)?.role_ref;
        let plural = if role.kind == "Role" { Resource::ROLES.plural } else { Resource::CLUSTER_ROLES.plural };
        let bind = Action::on("bind", (self.kind.group, plural), namespace, &role.name);
        if self.server.policies().decide(self.caller.user(), &bind).allowed() {
            return Ok(());
        }
        let rules = self.server.policies().current().rules(&role, namespace);
        let Some(mut rules) = rules.map(|rules| rules.to_vec()) else {
            let kind: &Kind = by_plural(self.kind.group, plural).unwrap_or(self.kind);
            return Err(Status::not_found(kind, &role.name).into());
        };
        rules.extend(restored(plural == Resource::CLUSTER_ROLES.plural, &role.name));
        self.has(namespace, &rules).map_err(|why| self.forbidden(name, &why))
    }

    /// Whether the caller has all these rights in the namespace. They are compared when nobody waits for the policy any more: it takes a while.
    fn has(&self, namespace: &str, rules: &[PolicyRule]) -> Result<(), String> {
        let held = self.server.policies().current().rules_of(self.caller.user(), namespace);
        rbac::may_grant(self.caller.user(), &held, rules)
    }

    fn forbidden(&self, name: &str, why: &str) -> Failure {
        Status::forbidden(self.kind, name, why).into()
    }
}

/// The rules that the next start gives a built-in role back, whatever it says now: who writes or binds it deals in them.
fn restored(cluster: bool, name: &str) -> Vec<PolicyRule> {
    let roles = builtin::objects().into_iter().filter(|object| cluster && object["kind"] == "ClusterRole");
    let own = roles.filter(|role| role["metadata"]["name"] == name);
    own.filter_map(|role| read::<Role>(&role).ok()).flat_map(|role| role.rules).collect()
}

fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T, Failure> {
    T::deserialize(object).map_err(|error| Failure::bad_request(format!("the object is not of its kind: {error}")))
}
