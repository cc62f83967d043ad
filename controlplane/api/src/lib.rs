//! The nouns of torch-remote: resources of `torchremote.dev/v1alpha1` with their schemas, defaults and validation; agent configuration; token claims.
//!
//! Owns what things are and which values are allowed. Leaves storage, transport and decisions to others. Invariant: no IO, no clock, no randomness.
//!
//! Values in manifests: [`duration`], [`money`], [`quantity`], [`gpu`], [`time`]. Every object: [`object`], [`condition`].
//! Kinds: [`provider`], [`machine`], [`pool`], [`lease`], [`quota`], [`device`], [`tensor`], [`namespace`], [`event`],
//! [`secret`], [`service_account`], [`definition`], [`rbac`], [`audit`]; all of them in [`kind`].
//! Judging objects: [`schema`], [`validate`], [`field`], [`format`]; who owns their fields: [`fields`], [`managed`]. Showing them: [`column`], [`table`], [`age`], [`path`].
//! The server's documents: [`status`], [`discovery`], [`openapi`]; what clients select by: [`selector`].

pub mod age;
pub mod agent;
pub mod audit;
pub mod column;
pub mod condition;
pub mod definition;
pub mod device;
pub mod discovery;
pub mod duration;
pub mod event;
pub mod field;
pub mod fields;
pub mod format;
pub mod gpu;
pub mod kind;
pub mod lease;
pub mod machine;
pub mod managed;
pub mod money;
pub mod namespace;
pub mod object;
pub mod openapi;
pub mod path;
pub mod pool;
pub mod provider;
pub mod quantity;
pub mod quota;
pub mod rbac;
pub mod schema;
pub mod secret;
pub mod selector;
pub mod service_account;
pub mod status;
pub mod suggest;
pub mod table;
pub mod tensor;
pub mod time;
pub mod token;
pub mod validate;

pub use kind::{Kind, by_any_name, by_kind, by_plural, kinds};
