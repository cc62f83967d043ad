//! Names of stored things: [`Resource`] (group and plural) and [`Key`] (one object).

use std::fmt;

use torch_remote_api::rbac;

/// A kind of stored object, by its API group and plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for core.
    pub group: &'static str,
    /// Lower-case plural, as in URLs.
    pub plural: &'static str,
}

impl Resource {
    /// Machine manifests.
    pub const MACHINES: Self = Self { group: "torchremote.dev", plural: "remotemachines" };
    /// Leases of devices.
    pub const LEASES: Self = Self { group: "torchremote.dev", plural: "deviceleases" };
    /// Where machines come from (cluster-scoped).
    pub const PROVIDERS: Self = Self { group: "torchremote.dev", plural: "providers" };
    /// Machines of one template.
    pub const POOLS: Self = Self { group: "torchremote.dev", plural: "machinepools" };
    /// What a team may hold and spend.
    pub const QUOTAS: Self = Self { group: "torchremote.dev", plural: "gpuquotas" };
    /// Teams (cluster-scoped).
    pub const NAMESPACES: Self = Self { group: "", plural: "namespaces" };
    /// What happened.
    pub const EVENTS: Self = Self { group: "", plural: "events" };
    /// What may be done in a namespace.
    pub const ROLES: Self = Self { group: rbac::GROUP, plural: "roles" };
    /// What may be done everywhere, or where it is bound (cluster-scoped).
    pub const CLUSTER_ROLES: Self = Self { group: rbac::GROUP, plural: "clusterroles" };
    /// Who has a role in a namespace.
    pub const ROLE_BINDINGS: Self = Self { group: rbac::GROUP, plural: "rolebindings" };
    /// Who has a role everywhere (cluster-scoped).
    pub const CLUSTER_ROLE_BINDINGS: Self = Self { group: rbac::GROUP, plural: "clusterrolebindings" };
    /// Values that are kept sealed.
    pub const SECRETS: Self = Self { group: "", plural: "secrets" };
    /// Who programs are.
    pub const SERVICE_ACCOUNTS: Self = Self { group: "", plural: "serviceaccounts" };
    /// All that are stored.
    pub const ALL: [Self; 13] = [
        Self::MACHINES,
        Self::LEASES,
        Self::PROVIDERS,
        Self::POOLS,
        Self::QUOTAS,
        Self::NAMESPACES,
        Self::EVENTS,
        Self::ROLES,
        Self::CLUSTER_ROLES,
        Self::ROLE_BINDINGS,
        Self::CLUSTER_ROLE_BINDINGS,
        Self::SECRETS,
        Self::SERVICE_ACCOUNTS,
    ];

    /// The stored resource of this group and plural, if there is one.
    pub fn find(group: &str, plural: &str) -> Option<Self> {
        // Two notations of the same objects.
        let group = if (group, plural) == ("events.k8s.io", Self::EVENTS.plural) { Self::EVENTS.group } else { group };
        Self::ALL.into_iter().find(|resource| resource.group == group && resource.plural == plural)
    }

    /// Whether `metadata.generation` counts changes of the spec.
    pub fn has_generation(self) -> bool {
        self.group == "torchremote.dev"
    }

    /// Whether status is written only through `/status`.
    pub fn has_status(self) -> bool {
        ![Self::EVENTS, Self::SECRETS, Self::SERVICE_ACCOUNTS].contains(&self) && !self.decides()
    }

    /// Whether its objects say who may do what.
    pub fn decides(self) -> bool {
        self.group == rbac::GROUP
    }

    /// Whether objects lie in a namespace.
    pub fn namespaced(self) -> bool {
        ![Self::NAMESPACES, Self::PROVIDERS, Self::CLUSTER_ROLES, Self::CLUSTER_ROLE_BINDINGS].contains(&self)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

/// One object's place. Ordered: transactions that lock several lock them in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub resource: Resource,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// An object in a namespace; pass an empty one for cluster-scoped kinds.
    pub fn new(resource: Resource, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { resource, namespace: namespace.into(), name: name.into() }
    }

    /// A cluster-scoped object.
    pub fn cluster(resource: Resource, name: impl Into<String>) -> Self {
        Self::new(resource, "", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.resource, self.name)
    }
}

#[cfg(test)]
mod tests {
    use torch_remote_api::{by_plural, kinds};

    use super::*;

    #[test]
    fn every_kind_that_can_be_written_is_stored_as_the_registry_says() {
        for kind in kinds().iter().filter(|kind| kind.served && !kind.read_only) {
            assert!(Resource::find(kind.group, kind.plural).is_some(), "{}", kind.resource());
        }
        for resource in Resource::ALL {
            let kind = by_plural(resource.group, resource.plural).unwrap();
            assert_eq!(
                (resource.namespaced(), resource.has_status()),
                (kind.namespaced, kind.has_status),
                "{resource}"
            );
            assert_eq!(resource.to_string(), kind.resource());
        }
    }
}
