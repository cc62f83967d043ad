//! The nouns as the server and its clients see them: documents, texts and tables against golden files, and laws over all manifests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod documents;
mod golden;
mod laws;
mod manifests;
mod support;
