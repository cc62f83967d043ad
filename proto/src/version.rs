//! Protocol numbers, and what changed with each.

/// Spoken by this build on the data path. 1: first.
pub const DATA_PROTOCOL: u32 = 1;
/// Spoken by this build on the control path. 1: first.
pub const CONTROL_PROTOCOL: u32 = 1;
