//! Reconcilers, the Control client and the lease endpoints: on a real Postgres, with a scripted provider and agents that speak Control over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "reconcile/agent.rs"]
mod agent;
#[path = "reconcile/claims.rs"]
mod claims;
#[path = "reconcile/leases.rs"]
mod leases;
#[path = "reconcile/machines.rs"]
mod machines;
#[path = "reconcile/pools.rs"]
mod pools;
#[path = "reconcile/readings.rs"]
mod readings;
#[path = "reconcile/refusals.rs"]
mod refusals;
#[path = "reconcile/rest.rs"]
mod rest;
#[path = "reconcile/world.rs"]
mod world;
