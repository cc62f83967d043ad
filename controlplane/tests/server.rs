//! The store, authentication and the API: on a real Postgres, and with real kubectl. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "server/api.rs"]
mod api;
#[path = "server/auth.rs"]
mod auth;
#[path = "server/client.rs"]
mod client;
#[path = "server/database.rs"]
mod database;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/kubectl.rs"]
mod kubectl;
#[path = "server/store.rs"]
mod store;
