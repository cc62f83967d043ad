//! Placeholder: compiles csrc/ once it is there.
fn main() {}
