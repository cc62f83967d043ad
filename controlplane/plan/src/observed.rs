//! What was looked at. "Absent" is a value of `T`; "could not look" is [`Observed::Unknown`].

/// A fact about the world outside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed<T> {
    /// Looked, and saw this.
    Known(T),
    /// Could not look. Nothing destructive follows from it.
    Unknown,
}
