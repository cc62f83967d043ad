//! Schemas of kinds: made from the Rust types, in Kubernetes' structural form, and what is done with them.
//!
//! One schema feeds defaulting ([`default`]), pruning ([`prune`]), validation ([`check`]) and OpenAPI. Formats beyond Kubernetes' own:
//! `duration` (with `x-torchremote-range`), `money`, `quantity`, `name`, `namespace`, `namespace-or-star`.

pub mod check;
pub mod fill;
pub mod prune;
pub mod structural;

pub use check::check;
pub use fill::default;
pub use prune::{prune, unknown};
pub use structural::{flat_schema, object_schema, structural};

/// `parent.child`, or `child` at the root.
pub(crate) fn join(parent: &str, child: &str) -> String {
    if parent.is_empty() { child.to_owned() } else { format!("{parent}.{child}") }
}
