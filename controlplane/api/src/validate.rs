//! Whether an object may be stored: schema, metadata, and rules over several fields or over time.

mod metadata;
mod rbac;
mod rules;

use serde_json::Value;

pub use metadata::check as metadata;
pub(crate) use rbac::{cluster_role, cluster_role_binding, role, role_binding};
pub use rules::Rule;
pub(crate) use rules::{budget, event, holder_and_lease, machine, namespace, none, pool, provider};

use crate::{field::FieldError, kind::Kind, schema};

/// Everything that keeps `new` from being stored over `old` (`None`: it is created). Defaults must be filled in before.
///
/// Rules over several fields are only asked when each field is right by itself.
pub fn validate(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = metadata::check(kind, new, old);
    errors.extend(schema::check(&kind.schema, new));
    if errors.is_empty() {
        errors.extend((kind.rule)(new, old));
    }
    errors
}
