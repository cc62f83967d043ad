//! [`Writer::apply`]: a configuration laid over an object, as far as no other owner objects.

use serde_json::{Map, Value, json};

use super::last_applied;
use super::{BEFORE_FIRST_APPLY, Operation, Owner, Owners, Writer};
use crate::fields::{FieldSet, merge, remove};

/// An object after an apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object, before defaults.
    pub object: Value,
    /// Who owns what.
    pub owners: Owners,
}

/// A field that the configuration would change and another owns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The other, as errors name it: `"bob" using torchremote.dev/v1alpha1`.
    pub owner: String,
    /// The field, such as `.spec.timeout`.
    pub field: String,
}

impl Writer<'_> {
    /// Applies a configuration. `live` is null when there is no object yet. What the configuration named the last time and no longer does is
    /// removed, unless another owns it; what others own is changed only with `force`, and is theirs no more.
    ///
    /// # Errors
    /// Every conflict, in order of owner.
    pub fn apply(
        &self,
        mut owners: Owners,
        live: &Value,
        config: &Value,
        force: bool,
    ) -> Result<Applied, Vec<Conflict>> {
        let schema = &self.kind.schema;
        self.drop_other_versions(&mut owners);
        if owners.is_empty() && !live.is_null() {
            owners = Writer { name: BEFORE_FIRST_APPLY, ..*self }.update(owners, &Value::Null, live);
        }
        let config = self.configured(config);
        let nothing = json!({});
        let old = if live.is_null() { &nothing } else { live };
        let all = self.within(&FieldSet::of(schema, &config));
        let mine = self.owner(Operation::Apply, all.clone());
        let before = owners.find(&mine).cloned();

        let mut object = merge(schema, old, &config);
        if let Some(before) = &before {
            let held = owners.iter().filter(|owner| !owner.is(&mine));
            let held = held.fold(all, |held, owner| held.union(&owner.fields));
            let dropped = before.fields.with_parents(schema, false).minus(&held.with_parents(schema, true));
            object = remove(schema, &object, &self.within(&dropped), &held);
        }
        let difference = self.compare(old, &object);
        let changed = difference.changed();
        let conflicts = conflicts(&owners, &mine, &changed);
        if !force && !conflicts.is_empty() {
            let disputed = self.disputed(live, conflicts);
            if !disputed.is_empty() {
                return Err(shown(disputed));
            }
        }
        owners.take(&changed, Some(&mine));
        owners.take(&difference.removed, Some(&mine));
        owners.0.retain(|owner| !owner.is(&mine));
        let unchanged = before.filter(|before| before.fields == mine.fields && difference.is_empty());
        let mine = unchanged.unwrap_or(mine);
        if !mine.fields.is_empty() {
            owners.0.push(mine);
        }
        if self.name == last_applied::APPLIER && self.subresource.is_empty() {
            last_applied::refresh(&mut object, &config);
        }
        Ok(Applied { object, owners })
    }

    /// The part of the configuration that this writer can write.
    fn configured(&self, config: &Value) -> Value {
        let fields = config.as_object().cloned().unwrap_or_default();
        let kept: Map<String, Value> = match self.subresource {
            // Metadata says which object and version is meant.
            "status" => {
                fields.into_iter().filter(|(name, _)| ["metadata", "status"].contains(&name.as_str())).collect()
            }
            _ if self.kind.has_status => fields.into_iter().filter(|(name, _)| name != "status").collect(),
            _ => fields,
        };
        Value::Object(kept)
    }

    /// What is left of the conflicts when kubectl goes on server-side with what it applied from the client.
    fn disputed(&self, live: &Value, conflicts: Vec<(Owner, FieldSet)>) -> Vec<(Owner, FieldSet)> {
        if self.name != last_applied::APPLIER {
            return conflicts;
        }
        let own = last_applied::fields(self.kind, live);
        let left = conflicts.into_iter().map(|(owner, fields)| (owner, fields.minus(&own)));
        left.filter(|(_, fields)| !fields.is_empty()).collect()
    }
}

fn conflicts(owners: &Owners, mine: &Owner, changed: &FieldSet) -> Vec<(Owner, FieldSet)> {
    let others = owners.iter().filter(|owner| !owner.is(mine));
    let disputed = others.map(|owner| (owner.clone(), owner.fields.intersection(changed)));
    disputed.filter(|(_, fields)| !fields.is_empty()).collect()
}

fn shown(mut conflicts: Vec<(Owner, FieldSet)>) -> Vec<Conflict> {
    let of = |owner: &Owner| {
        let subresource = match owner.subresource.as_str() {
            "" => String::new(),
            part => format!(" with subresource {part:?}"),
        };
        let version = match owner.operation {
            Operation::Apply => String::new(),
            Operation::Update => format!(" using {}", owner.api_version),
        };
        format!("{:?}{subresource}{version}", owner.name)
    };
    conflicts.sort_by_key(|(owner, _)| of(owner));
    let each = conflicts.iter().flat_map(|(owner, fields)| fields.paths().into_iter().map(|field| (of(owner), field)));
    each.map(|(owner, field)| Conflict { owner, field }).collect()
}
