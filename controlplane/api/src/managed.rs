//! [`Owners`]: who owns which fields of an object (`metadata.managedFields`), and how a write changes that.
//!
//! Owns the rules of Kubernetes' field managers: what an update takes over, what an apply may change, removes and shares. Leaves the notation
//! and comparison of fields to [`crate::fields`]. Invariants: a field that nobody owns conflicts with nobody; an apply that repeats itself
//! changes nothing, times included; what the server keeps in metadata is owned by nobody.

mod apply;
mod last_applied;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::fields::{Comparison, FieldSet, Malformed, compare};
use crate::kind::Kind;

pub use apply::{Applied, Conflict};

/// Owners by update that are kept apart; of more, the oldest are taken together.
const MOST_UPDATERS: usize = 10;
/// Name of the oldest updaters taken together.
const ANCIENT: &str = "ancient-changes";
/// Name for whoever wrote an object that nobody kept owners of.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Bytes that a writer's name may have.
const LONGEST_NAME: usize = 128;
/// Bytes that a subresource's name may have.
const LONGEST_SUBRESOURCE: usize = 256;

/// How fields came to be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By a configuration that names them.
    Apply,
    /// By any other write that changed them.
    Update,
}

impl Operation {
    const fn word(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One owner and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What the writer calls itself.
    pub name: String,
    /// How it came to own them.
    pub operation: Operation,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: String,
    /// The version of the kind that the fields are of.
    pub api_version: String,
    /// When what it owns last changed, as RFC 3339 writes it.
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
}

impl Owner {
    fn is(&self, other: &Self) -> bool {
        (&self.name, self.operation, &self.subresource) == (&other.name, other.operation, &other.subresource)
    }

    fn seconds(&self) -> i64 {
        let time = self.time.as_deref().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        time.map_or(0, |time| time.timestamp())
    }

    fn decode(entry: &Value) -> Result<Self, Malformed> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err(Malformed("operation must be `Apply` or `Update`".to_owned())),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err(Malformed("apiVersion must not be empty".to_owned()));
        }
        if entry["fieldsType"] != "FieldsV1" {
            return Err(Malformed(format!("invalid fieldsType {:?}", text("fieldsType"))));
        }
        let (name, subresource) = (text("manager"), text("subresource"));
        if name.len() > LONGEST_NAME || name.chars().chain(subresource.chars()).any(char::is_control) {
            return Err(Malformed(format!("manager must be at most {LONGEST_NAME} printable bytes")));
        }
        if subresource.len() > LONGEST_SUBRESOURCE {
            return Err(Malformed(format!("subresource must be at most {LONGEST_SUBRESOURCE} bytes")));
        }
        let time = match &entry["time"] {
            Value::Null => None,
            Value::String(time) if DateTime::parse_from_rfc3339(time).is_ok() => Some(time.clone()),
            other => return Err(Malformed(format!("time must be as RFC 3339 writes it, not {other}"))),
        };
        Ok(Self { name, operation, subresource, api_version, time, fields: FieldSet::decode(&entry["fieldsV1"])? })
    }

    fn encode(&self) -> Value {
        let mut entry = json!({
            "manager": self.name, "operation": self.operation.word(), "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.encode(),
        });
        if let Some(time) = &self.time {
            entry["time"] = time.as_str().into();
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }
}

/// Everyone who owns fields of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners(Vec<Owner>);

/// What a client says in `managedFields` of an object it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Nothing, or nothing that can be understood: who owned goes on owning.
    Nothing,
    /// `[]` or `[{}]`: nobody is to own anything.
    Reset,
    /// These own.
    These(Owners),
}

impl Given {
    /// Reads it.
    pub fn read(managed_fields: &Value) -> Self {
        match managed_fields.as_array().map(Vec::as_slice) {
            Some([]) => Self::Reset,
            Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty) => Self::Reset,
            _ => Owners::decode(managed_fields)
                .ok()
                .filter(|owners| !owners.is_empty())
                .map_or(Self::Nothing, Self::These),
        }
    }
}

impl Owners {
    /// Reads `managedFields`; null is nobody.
    ///
    /// # Errors
    /// An entry is malformed.
    pub fn decode(managed_fields: &Value) -> Result<Self, Malformed> {
        let entries = managed_fields.as_array().into_iter().flatten();
        let mut owners = Self::default();
        for owner in entries.map(Owner::decode) {
            owners.add(owner?);
        }
        Ok(owners)
    }

    /// Those of a stored object.
    pub fn of(object: &Value) -> Self {
        Self::decode(&object["metadata"]["managedFields"]).unwrap_or_default()
    }

    /// Writes `managedFields`; `None`: nobody owns anything.
    pub fn encode(&self) -> Option<Value> {
        let mut sorted: Vec<&Owner> = self.0.iter().collect();
        sorted.sort_by_key(|owner| {
            (owner.operation, owner.seconds(), &owner.name, &owner.api_version, &owner.subresource)
        });
        (!sorted.is_empty()).then(|| sorted.into_iter().map(Owner::encode).collect())
    }

    /// Whether the same own the same; since when does not matter.
    pub fn agree(&self, others: &Self) -> bool {
        let has = |owner: &Owner| others.find(owner).is_some_and(|other| other.fields == owner.fields);
        self.0.len() == others.0.len() && self.0.iter().all(has)
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Owner> {
        self.0.iter()
    }

    fn find(&self, like: &Owner) -> Option<&Owner> {
        self.0.iter().find(|owner| owner.is(like))
    }

    /// Adds one; one who is there already owns both.
    fn add(&mut self, owner: Owner) {
        match self.0.iter_mut().find(|there| there.is(&owner)) {
            Some(there) => {
                there.fields = std::mem::take(&mut there.fields).union(&owner.fields);
                there.time = owner.time;
            }
            None => self.0.push(owner),
        }
    }

    /// Takes fields away from everyone but `except`.
    fn take(&mut self, fields: &FieldSet, except: Option<&Owner>) {
        for owner in self.0.iter_mut().filter(|owner| except.is_none_or(|except| !owner.is(except))) {
            owner.fields = owner.fields.minus(fields);
        }
        self.0.retain(|owner| !owner.fields.is_empty());
    }

    /// Takes the oldest updaters together until there are few enough.
    fn cap(&mut self, api_version: &str) {
        let mut updaters: Vec<Owner> = Vec::new();
        let mut kept = Vec::new();
        for owner in std::mem::take(&mut self.0) {
            if owner.operation == Operation::Update { updaters.push(owner) } else { kept.push(owner) }
        }
        if updaters.len() > MOST_UPDATERS {
            updaters.sort_by_key(|owner| (owner.seconds(), owner.name.clone(), owner.subresource.clone()));
            let oldest: Vec<Owner> = updaters.drain(..=updaters.len() - MOST_UPDATERS).collect();
            let mut ancient = Owner {
                name: ANCIENT.to_owned(),
                operation: Operation::Update,
                subresource: String::new(),
                api_version: api_version.to_owned(),
                time: None,
                fields: FieldSet::default(),
            };
            for owner in oldest {
                ancient.fields = ancient.fields.union(&owner.fields);
                ancient.time = owner.time;
            }
            let mut capped = Self(updaters);
            capped.add(ancient);
            updaters = capped.0;
        }
        kept.append(&mut updaters);
        self.0 = kept;
    }
}

/// Who writes, what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The kind of the object.
    pub kind: &'a Kind,
    /// What the writer calls itself.
    pub name: &'a str,
    /// The subresource it writes through; empty for the object itself.
    pub subresource: &'a str,
    /// Now.
    pub now: DateTime<Utc>,
}

impl Writer<'_> {
    /// Who owns what after a write other than apply. `old` is null for an object that was made.
    pub fn update(&self, mut owners: Owners, old: &Value, new: &Value) -> Owners {
        self.drop_other_versions(&mut owners);
        let difference = self.compare(old, new);
        let changed = difference.changed();
        owners.take(&changed, None);
        owners.take(&difference.removed, None);
        let mine = self.owner(Operation::Update, changed);
        if !mine.fields.is_empty() {
            owners.add(mine);
        }
        owners.cap(&self.kind.api_version());
        owners
    }

    fn owner(&self, operation: Operation, fields: FieldSet) -> Owner {
        let name = if self.name.is_empty() { "unknown" } else { self.name };
        Owner {
            name: name.to_owned(),
            operation,
            subresource: self.subresource.to_owned(),
            api_version: self.kind.api_version(),
            time: Some(self.now.to_rfc3339_opts(SecondsFormat::Secs, true)),
            fields: fields.minus(&kept_by_server()),
        }
    }

    /// There is one version of each kind: what is of another can no longer be read.
    fn drop_other_versions(&self, owners: &mut Owners) {
        let version = self.kind.api_version();
        owners.0.retain(|owner| owner.api_version == version);
    }

    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        let nothing = json!({});
        let old = if old.is_null() { &nothing } else { old };
        let Comparison { added, modified, removed } = compare(&self.kind.schema, old, new);
        Comparison { added: self.within(&added), modified: self.within(&modified), removed: self.within(&removed) }
    }

    /// What this writer can write: status through its own path alone.
    fn within(&self, fields: &FieldSet) -> FieldSet {
        match self.subresource {
            "status" => fields.at("status", true),
            _ if self.kind.has_status => fields.at("status", false),
            _ => fields.clone(),
        }
    }
}

/// Fields that nobody owns.
fn kept_by_server() -> FieldSet {
    let metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let mut paths: Vec<Vec<&str>> = vec![vec!["apiVersion"], vec!["kind"], vec!["metadata"]];
    paths.extend(metadata.map(|field| vec!["metadata", field]));
    FieldSet::from_paths(paths.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests;
