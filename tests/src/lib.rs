//! Placeholder contents page; see the package description.
