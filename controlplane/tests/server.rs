//! The store, authentication and the API: on a real Postgres, and with real kubectl. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "server/accounts.rs"]
mod accounts;
#[path = "server/any_input.rs"]
mod any_input;
#[path = "server/apply.rs"]
mod apply;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/audit.rs"]
mod audit;
#[path = "server/auth.rs"]
mod auth;
#[path = "server/client.rs"]
mod client;
#[path = "server/database.rs"]
mod database;
#[path = "server/gitops.rs"]
mod gitops;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/history.rs"]
mod history;
#[path = "server/issuer.rs"]
mod issuer;
#[path = "server/kinds.rs"]
mod kinds;
#[path = "server/kube_rs.rs"]
mod kube_rs;
#[path = "server/kubectl.rs"]
mod kubectl;
#[path = "server/kubectl_apply.rs"]
mod kubectl_apply;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/log.rs"]
mod log;
#[path = "server/login.rs"]
mod login;
#[path = "server/matrix.rs"]
mod matrix;
#[path = "server/namespaces.rs"]
mod namespaces;
#[path = "server/objects.rs"]
mod objects;
#[path = "server/owners.rs"]
mod owners;
#[path = "server/program.rs"]
mod program;
#[path = "server/reads.rs"]
mod reads;
#[path = "server/refusals.rs"]
mod refusals;
#[path = "server/roles.rs"]
mod roles;
#[path = "server/routes.rs"]
mod routes;
#[path = "server/sample.rs"]
mod sample;
#[path = "server/schemas.rs"]
mod schemas;
#[path = "server/secrets.rs"]
mod secrets;
#[path = "server/semantics.rs"]
mod semantics;
#[path = "server/store.rs"]
mod store;
#[path = "server/swap.rs"]
mod swap;
#[path = "server/verbs.rs"]
mod verbs;
#[path = "server/watches.rs"]
mod watches;
