//! Providers: where machines come from.
//!
//! Owns the contract that each provider keeps, and the providers. Leaves when to ask to `torch_remote_plan`. Invariants of the contract: an instance is known
//! by the token of its intent; a second create with the same token makes no second instance; `find` answers only when it could look; an instance is gone
//! only when the provider says so.

#[cfg(test)]
mod contract;
pub mod fake;
pub mod local;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use torch_remote_api::agent::Listen;
use torch_remote_api::machine::RemoteMachineSpec;
use torch_remote_api::provider::ProviderType;
use torch_remote_plan::machine::Refusal;

pub use fake::Fake;
pub use local::Local;

/// Why a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses, and made nothing: asking again changes nothing.
    #[error("{provider} refused to {operation}: {message}")]
    Refused {
        /// Which provider.
        provider: &'static str,
        /// What was asked.
        operation: &'static str,
        /// Why, and what to do.
        message: String,
    },
    /// It did not answer, or not in a way that says what happened.
    #[error("{provider} did not answer when asked to {operation}")]
    Unknown {
        /// Which provider.
        provider: &'static str,
        /// What was asked.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// An instance to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Names the instance for good.
    pub token: String,
    /// `metadata.uid` of the machine.
    pub machine_uid: String,
    /// `namespace/name`.
    pub machine: String,
    /// What is asked for.
    pub spec: RemoteMachineSpec,
    /// What its agent is told.
    pub agent: AgentTerms,
}

/// The parts of an agent's configuration that do not depend on the provider.
#[derive(Debug, Clone)]
pub struct AgentTerms {
    /// Expected `iss` of every token.
    pub issuer: String,
    /// Keys to start with.
    pub jwks: serde_json::Value,
    /// Milliseconds without contact and live lease after which it exits.
    pub dead_man_ms: u64,
    /// Milliseconds between two reports.
    pub heartbeat_ms: u64,
    /// OTLP endpoint.
    pub otlp: Option<String>,
}

/// What a provider says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It runs.
    Running(Running),
    /// There is none.
    Absent {
        /// What is known of its end; empty if nothing.
        why: String,
    },
}

/// A running instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its name at the provider.
    pub provider_id: String,
    /// Where its agent's Control service listens.
    pub control: Listen,
}

/// A place where machines can be made. All calls are safe to repeat.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Whether it could make such a machine.
    ///
    /// # Errors
    /// Why not, and what to do.
    fn check(&self, spec: &RemoteMachineSpec) -> Result<(), Refusal>;

    /// The parts of a spec that an instance is made from: where they differ, another instance is wanted.
    fn made_from(&self, spec: &RemoteMachineSpec) -> serde_json::Value;

    /// Looks for the instance of a token. An error means that it could not look.
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Sighting, Error>>;

    /// Makes an instance unless there is one of that token.
    fn create<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<(), Error>>;

    /// Asks the instance to end; `force`: without its agreement. Returns before it is gone.
    fn terminate<'a>(&'a self, token: &'a str, force: bool) -> BoxFuture<'a, Result<(), Error>>;

    /// The machine of that uid is gone for good, and its instances with it: what was kept of them, such as logs, may go.
    fn forget<'a>(&'a self, machine_uid: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Tokens of all instances that carry our tags. Complete, or an error.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;
}

/// Of what its provider makes an instance from: where it differs, another instance is wanted. Times, retries and who may use it can change under a running
/// one.
pub fn launch_hash(spec: &RemoteMachineSpec, provider: Option<&dyn Provider>) -> String {
    let made_from = serde_json::json!([spec.provider, provider.map(|provider| provider.made_from(spec))]);
    hex::encode(&Sha256::digest(made_from.to_string())[..8])
}

/// The providers this process can speak to, by type.
#[derive(Debug, Clone, Default)]
pub struct Providers(BTreeMap<&'static str, Arc<dyn Provider>>);

impl Providers {
    /// With one more.
    #[must_use]
    pub fn with(mut self, provider_type: ProviderType, provider: Arc<dyn Provider>) -> Self {
        self.0.insert(provider_type.as_str(), provider);
        self
    }

    /// The one of that type.
    pub fn get(&self, provider_type: ProviderType) -> Option<Arc<dyn Provider>> {
        self.0.get(provider_type.as_str()).cloned()
    }

    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.values()
    }
}
