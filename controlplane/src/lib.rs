//! The control plane of torch-remote, and its kubectl-like client: one binary over this library.
//!
//! Owns the API server, the reconcilers, their storage in Postgres and the client commands. Leaves what things are to `torch-remote-api`, decisions to
//! `torch-remote-plan`, and the wire to `torch-remote-proto`. Tensor traffic never passes here.

pub mod agents;
pub mod apiserver;
pub mod auth;
pub mod cli;
pub mod config;
pub mod document;
pub mod explain;
pub mod kubeconfig;
pub mod outbound;
pub mod postgres;
pub mod provider;
pub mod reconcile;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod up;

/// Client of the agents' Control service, generated over [`torch_remote_proto::v1`].
#[allow(missing_docs, clippy::all)]
pub mod grpc {
    tonic::include_proto!("torchremote.agent.v1");
}
